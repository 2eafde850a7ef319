#!/usr/bin/env python3
"""Tiles cut a second at 512 pixels, against Pillow and GDAL, and a million tiles with flat memory.

    scripts/bench/tile.py [--images ../shared/data/gibs] [--days 5] [--million] [--python PYTHON]

`gibs-standin` serves a real picture of the globe where `--images` has `bluemarble_small.jpg`, else the
procedural Earth; its level 4 is fetched for some days: 200 native tiles a day. Everything lies on a memory
file system where there is one. PYTHON needs Pillow and numpy.

- *predecessor*: one process, the region as one array, every tile cropped and saved with Pillow's defaults.
- *gdal_translate*: one process a tile, from the virtual raster of the scene; 100 tiles are measured.
- *Pillow, all cores*: a process a core, native tiles decoded once a row, JPEG of quality 95, 4:2:0.
- *codec*: what libjpeg-turbo alone does, decoding each native tile once and encoding each window.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "target" / "release"
LAYER = "MODIS_Terra_CorrectedReflectance_TrueColor"
SIZE = 512

PILLOW = """
import io, multiprocessing, os, pathlib, sys, time
import numpy as np
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
kind, native, out, stride = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4])
paths = {tuple(map(int, p.stem.split("_"))): p for p in native.rglob("*.jp*g")}
rows, columns = (1 + max(p[i] for p in paths) for i in (0, 1))
starts = lambda n: range(0, n * 512 - 511, stride)
out.mkdir(parents=True)

def load(row):
    return np.concatenate([np.asarray(Image.open(paths[row, c])) for c in range(columns)], axis=1)

def band(row):
    # The windows that begin in one native row; the next one is needed for those that reach over.
    lines = load(row) if row + 1 == rows or stride == 512 else np.concatenate([load(row), load(row + 1)])
    n = 0
    for y in (y for y in starts(rows) if y // 512 == row):
        for x in starts(columns):
            tile = lines[y - row * 512:, x:][:512, :512]
            Image.fromarray(tile).save(out / f"{y}_{x}.jpeg", quality=95, subsampling="4:2:0")
            n += 1
    return n

if kind == "predecessor":
    region = io.BytesIO()
    Image.fromarray(np.concatenate([load(r) for r in range(rows)])).save(region, "jpeg", quality=90)
    region.seek(0)
    begun, n = time.monotonic(), 0
    pixels = np.array(Image.open(region))
    for x in starts(columns):
        for y in starts(rows):
            Image.fromarray(pixels[y:y + 512, x:x + 512]).save(out / f"{y}_{x}.jpeg")
            n += 1
else:
    begun = time.monotonic()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        n = sum(pool.imap_unordered(band, range(rows)))
print(n / (time.monotonic() - begun))
"""


def say(*words) -> None:
    print(*words, file=sys.stderr, flush=True)


def run(*command) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def fetch(images: pathlib.Path | None, days: int, place: pathlib.Path) -> pathlib.Path:
    serve = [PROGRAMS / "gibs-standin", "serve"]
    if images and (images / "bluemarble_small.jpg").is_file():
        pictures = place / "pictures"
        pictures.mkdir()
        for day in range(days):
            (pictures / f"{LAYER}_2020-09-{day + 1:02}.jpg").symlink_to((images / "bluemarble_small.jpg").resolve())
        serve += ["--images", pictures]
    server = subprocess.Popen(list(map(str, serve)), stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        scenes = place / "scenes"
        run(PROGRAMS / "gibs-downloader", "fetch", LAYER, "--bbox=-180,-90,180,90", "--from", "2020-09-01", "--to",
            f"2020-09-{days:02}", "--level", 4, "-o", scenes, "--endpoint", url + "/wmts/epsg4326/best", "--quiet")
        return scenes
    finally:
        server.kill()


def ours(scenes: pathlib.Path, place: pathlib.Path, *flags) -> tuple[float, int, int]:
    """Tiles a second, tiles, and the largest memory in MB."""
    out = place / "tiles"
    shutil.rmtree(out, ignore_errors=True)
    begun = time.monotonic()
    command = [PROGRAMS / "data-preprocessor", "tile", scenes, "-o", out, "--json", "--quiet", *flags]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    if status:
        sys.exit(f"{command}: {status}")
    shutil.rmtree(out, ignore_errors=True)
    tiles = json.loads(text)["tiles"]
    return tiles / seconds, tiles, usage.ru_maxrss // 1024


def pillow(kind: str, python: str, native: pathlib.Path, place: pathlib.Path, stride: int) -> float:
    try:
        return float(run(python, "-c", PILLOW, kind, native, place / "pillow", stride))
    finally:
        shutil.rmtree(place / "pillow", ignore_errors=True)


def gdal(scenes: pathlib.Path, place: pathlib.Path) -> float | None:
    vrt = next(iter(sorted(scenes.rglob("*.vrt"))), None)
    if not shutil.which("gdal_translate") or vrt is None:
        return None
    begun = time.monotonic()
    for i in range(100):
        window = [256 * (i % 30), 256 * (i // 30 + 4), SIZE, SIZE]
        run("gdal_translate", "-q", "-of", "JPEG", "-srcwin", *window, vrt, place / "gdal.jpg")
    return 100 / (time.monotonic() - begun)


def million(scenes: pathlib.Path, place: pathlib.Path, days: int) -> None:
    print("\n| tiles of 16 pixels | stored as | tiles a second | memory |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        one = fetch(None, 1, pathlib.Path(folder))
        for name, flags in (("records", []), ("places (`--virtual`)", ["--virtual"])):
            for source in (one, scenes):
                rate, tiles, memory = ours(source, place, "--size", 16, "--max-gap", 1, *flags)
                print(f"| {tiles:,} | {name} | {rate:,.0f} | {memory} MB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("CURATOR_SHARED_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--images", type=pathlib.Path, default=pathlib.Path(shared) / "gibs")
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--million", action="store_true", help="a million small tiles instead")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = pathlib.Path(tempfile.mkdtemp(dir=memory))
    try:
        scenes = fetch(options.images, options.days, place)
        if options.million:
            return million(scenes, place, options.days)
        day = next(path for path in sorted((scenes / "native").rglob("2020-09-01")) if path.is_dir())
        codecs = lambda codec, encodes, threads: float(run(
            PROGRAMS / "examples" / "codecs", codec, day, "--encodes", encodes, "--threads", threads))
        cores = os.cpu_count()
        predecessor = pillow("predecessor", options.python, day, place, 256)
        again, tiles, peak = ours(scenes, place, "--size", SIZE, "--overlap", 0.5)
        raw = codecs("turbo", 4, cores)
        all_cores = pillow("all", options.python, day, place, 256)
        passed, passed_tiles, _ = ours(scenes, place, "--size", SIZE)
        aligned = pillow("predecessor", options.python, day, place, 512)
        by_process = gdal(scenes, place)
        print(f"{cores} cores; {tiles} tiles at overlap 0.5, {passed_tiles} at 0; tiles a second\n")
        print("| | overlap 0.5, encoded anew | overlap 0, passed through |\n|---|---|---|")
        print(f"| `data-preprocessor tile` | {again:.0f} | {passed:.0f} |")
        print(f"| predecessor (Pillow, one process) | {predecessor:.0f} ({again / predecessor:.1f}×) "
              f"| {aligned:.0f} ({passed / aligned:.1f}×) |")
        if by_process:
            print(f"| `gdal_translate` a tile | {by_process:.0f} ({again / by_process:.1f}×) "
                  f"| {by_process:.0f} ({passed / by_process:.1f}×) |")
        print(f"| Pillow, all cores, quality 95 | {all_cores:.0f} ({again / all_cores:.2f}×) | |")
        print(f"| libjpeg-turbo alone | {raw:.0f} ({again / raw:.2f}×) | |")
        print(f"\nMemory at overlap 0.5: {peak} MB.\n")
        print("| codec, one core | decode, pictures a second | encode at quality 95 |\n|---|---|---|")
        for name, title in (("turbo", "libjpeg-turbo"), ("image", "zune-jpeg, `image`")):
            # Encoding alone is what eight more encodings cost.
            decode, nine = codecs(name, 0, 1), codecs(name, 8, 1)
            print(f"| {title} | {decode:.0f} | {1 / (1 / nine - 1 / (8 * decode)):.0f} |")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
