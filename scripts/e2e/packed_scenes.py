#!/usr/bin/env python3
"""GDAL opens packed scenes as they are: the pixels of every tile are those of the JPEG or PNG that was served.

Two runs of overlapping areas, so that a scene is in two packs. Needs gdalinfo and
gdal_translate (`scripts/setup.sh --test` installs them; exit code 77 when they are absent).
"""

import json
import pathlib

import gdal

LAYER, DAY = "MODIS_Terra_CorrectedReflectance_TrueColor", "2020-09-12"
PNGS = ("MODIS_Terra_Data_No_Data",)
FIRST, SECOND = (-20.25, 1.125, -18, 3.375), (-19.125, 2.25, -16.875, 5.625)
SPAN, EDGE = 288 / 2**8, 512


def fetch(url: str, out: pathlib.Path, layer: str, box: tuple, layout: str) -> None:
    box = ",".join(map(str, box))
    gdal.output(gdal.PROGRAMS / "gibs-downloader", "fetch", layer, f"--bbox={box}", "--from", DAY, "-o", out,
                "--endpoint", url, "--level", 8, "--layout", layout, "--quiet")


def tiles(west: float, south: float, east: float, north: float) -> set:
    columns = range(int((west + 180) / SPAN), -int(-(east + 180) // SPAN))
    rows = range(int((90 - north) / SPAN), -int(-(90 - south) // SPAN))
    return {(row, column) for row in rows for column in columns}


def compared(url: str, layer: str, place: pathlib.Path) -> tuple[list, int]:
    """Fetches a layer packed and as single files, and holds what GDAL sees of one against the other."""
    packed, single = place / layer / "packed", place / layer / "single"
    for box in (FIRST, SECOND):
        fetch(url, packed, layer, box, "packed")
        fetch(url, single, layer, box, "files")
    packs = sorted((packed / "packs").iterdir())
    assert len(packs) == 2 and not (packed / "native").exists(), packs
    scene, other = (next((folder / "vrt").glob("*.vrt")) for folder in (packed, single))
    about, plain = (json.loads(gdal.output("gdalinfo", "-json", vrt)) for vrt in (scene, other))
    assert about["size"] == plain["size"] and about["geoTransform"] == plain["geoTransform"], (about, plain)
    left, top = about["geoTransform"][0], about["geoTransform"][3]
    natives = {tuple(map(int, path.stem.split("_"))): path for path in single.glob("native/**/*_*.*")}
    assert set(natives) == tiles(*FIRST) | tiles(*SECOND), sorted(natives)
    for (row, column), native in sorted(natives.items()):
        x, y = (column * SPAN - 180 - left) / SPAN * EDGE, (top - 90 + row * SPAN) / SPAN * EDGE
        window = ["-srcwin", round(x), round(y), EDGE, EDGE]
        bands = len(about["bands"])
        packed_one = gdal.pixels(scene, place, *window, bands=bands)
        assert packed_one == gdal.pixels(native, place, bands=bands), f"another picture at {row}, {column}"
    return packs, len(natives)


def main() -> None:
    with gdal.standin() as (url, place):
        packs, count = compared(url, LAYER, place)
        for layer in PNGS:
            dat, seen = compared(url, layer, place)
            assert all(pack.name.endswith("-png.dat") for pack in dat), dat
            count += seen
        # A pack is a picture of its own, with its own place.
        pack = json.loads(gdal.output("gdalinfo", "-json", packs[0]))
        west, north = pack["geoTransform"][0], pack["geoTransform"][3]
        assert (west, north) == (-20.25, 3.375), (west, north)
        assert pack["metadata"]["IMAGE_STRUCTURE"]["COMPRESSION"] == "YCbCr JPEG", pack["metadata"]
        assert 'ID["EPSG",4326]' in pack["coordinateSystem"]["wkt"]
        print(f"packed scenes: GDAL sees the pixels of {count} tiles of {1 + len(PNGS)} layers")


if __name__ == "__main__":
    main()
