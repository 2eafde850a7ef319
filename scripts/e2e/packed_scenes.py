#!/usr/bin/env python3
"""GDAL opens packed scenes as they are: the pixels of every tile are those of the JPEG that was served.

Two runs of overlapping areas, so that a scene is in two packs, and a refreshed one. Needs gdalinfo and
gdal_translate (`scripts/setup.sh --test` installs them; exit code 77 when they are absent).
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
LAYER, DAY, LEVEL = "MODIS_Terra_CorrectedReflectance_TrueColor", "2020-09-12", 8
SPAN, EDGE = 288 / 2**LEVEL, 512


def output(*command) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode or "ERROR" in done.stderr or "Warning" in done.stderr:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def pixels(source, place: pathlib.Path, *window) -> bytes:
    """RGB samples, band after band, as GDAL reads them."""
    raw = place / "window.raw"
    output("gdal_translate", "-q", "-of", "ENVI", "-co", "INTERLEAVE=BSQ", "-b", 1, "-b", 2, "-b", 3, *window, source, raw)
    return raw.read_bytes()


def fetch(url: str, out: pathlib.Path, box: tuple, *more) -> dict:
    box = ",".join(map(str, box))
    return json.loads(output(PROGRAMS / "gibs-downloader", "fetch", LAYER, f"--bbox={box}", "--from", DAY, "-o", out,
                             "--endpoint", url, "--quiet", "--json", *more))


def tiles(west: float, south: float, east: float, north: float) -> set:
    columns = range(int((west + 180) / SPAN), -int(-(east + 180) // SPAN))
    rows = range(int((90 - north) / SPAN), -int(-(90 - south) // SPAN))
    return {(row, column) for row in rows for column in columns}


def main() -> None:
    if not (shutil.which("gdalinfo") and shutil.which("gdal_translate")):
        print("skipped: no gdalinfo and gdal_translate here")
        sys.exit(77)
    place = pathlib.Path(tempfile.mkdtemp())
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    server = subprocess.Popen([PROGRAMS / "gibs-standin", "serve"], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        first, second = (-20.25, 1.125, -18, 3.375), (-19.125, 2.25, -16.875, 5.625)
        packed, single = place / "packed", place / "single"
        fetch(url, packed, first, "--layout", "packed")
        fetch(url, packed, second, "--layout", "packed")
        fetch(url, single, first, "--layout", "files")
        fetch(url, single, second, "--layout", "files")
        packs = sorted((packed / "packs").iterdir())
        assert len(packs) == 2 and not (packed / "native").exists(), packs
        scene = next((packed / "vrt").iterdir())
        about, plain = (json.loads(output("gdalinfo", "-json", vrt)) for vrt in (scene, next((single / "vrt").iterdir())))
        assert about["size"] == plain["size"] and about["geoTransform"] == plain["geoTransform"], (about, plain)
        left, top = about["geoTransform"][0], about["geoTransform"][3]
        wanted = tiles(*first) | tiles(*second)
        natives = {tuple(map(int, path.stem.split("_"))): path for path in single.glob("native/**/*.jpg")}
        assert set(natives) == wanted, (len(natives), len(wanted))
        for (row, column), native in sorted(natives.items()):
            x, y = (column * SPAN - 180 - left) / SPAN * EDGE, (top - 90 + row * SPAN) / SPAN * EDGE
            window = ["-srcwin", round(x), round(y), EDGE, EDGE]
            assert pixels(scene, place, *window) == pixels(native, place), f"another picture at {row}, {column}"
        # A pack is a picture of its own, with its own place.
        pack = json.loads(output("gdalinfo", "-json", packs[0]))
        west, north = pack["geoTransform"][0], pack["geoTransform"][3]
        assert (west, north) == (-20.25, 3.375), (west, north)
        assert pack["metadata"]["IMAGE_STRUCTURE"]["COMPRESSION"] == "YCbCr JPEG", pack["metadata"]
        assert 'ID["EPSG",4326]' in pack["coordinateSystem"]["wkt"]
        print(f"packed scenes: GDAL sees the pixels of {len(natives)} tiles in {len(packs)} packs")
    finally:
        server.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
