#!/usr/bin/env python3
"""Tiles cut a second at 512 pixels, against Pillow and GDAL, and a million tiles with flat memory.

    scripts/bench/tile.py [--images ../shared/data/gibs] [--days 60] [--million] [--python PYTHON]

`gibs-standin` serves a real picture of the globe where `--images` has `bluemarble_small.jpg`, else the
procedural Earth; its level 3, where the grid is coarser than the picture, is fetched for some days: 50 native tiles
a day. Everything lies on a memory file system where there is one. PYTHON needs Pillow and numpy, and tensorflow for
the predecessor's records.

- *predecessor, files*: one process, the region of a day decoded whole, every tile cropped and saved with Pillow's
  defaults in a folder of its cell; of the first five days.
- *predecessor, records*: that, and then every file read again, decoded for its size and written as TFRecord, which is
  what our `tile` ends with.
- *gdal_translate*: one process a tile, from the virtual raster of the scene; 100 tiles are measured.
- *Pillow, all cores*: a process a core, native tiles decoded once a row, JPEG of quality 95, 4:2:0.
- *codec*: what libjpeg-turbo alone does, decoding each native tile once and encoding four windows of it.

Rates are by the clock and, in brackets, by the CPU time of all cores: what they would be if nothing else ran and no
core ever waited. Ratios are of the latter: the clock of a shared machine measures the others. The predecessor has one
process: its rates by CPU time are those of one core, and ours of all.
"""

import argparse
import datetime
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
import resource
kind, native, out, stride = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4])
paths = {(p.parents[2].name, *map(int, p.stem.split("_"))): p for p in native.rglob("*.jp*g")}
days = sorted({p[0] for p in paths})[:5]
rows, columns = (1 + max(p[i] for p in paths) for i in (1, 2))
starts = lambda n: range(0, n * 512 - 511, stride)
out.mkdir(parents=True)

def load(day, row):
    return np.concatenate([np.asarray(Image.open(paths[day, row, c])) for c in range(columns)], axis=1)

def band(task):
    # The windows that begin in one native row; the next one is needed for those that reach over.
    day, row = task
    lines = load(day, row)
    if row + 1 < rows and stride < 512:
        lines = np.concatenate([lines, load(day, row + 1)])
    n = 0
    for y in (y for y in starts(rows) if y // 512 == row):
        for x in starts(columns):
            tile = lines[y - row * 512:, x:][:512, :512]
            Image.fromarray(tile).save(out / f"{day}_{y}_{x}.jpeg", quality=95, subsampling="4:2:0")
            n += 1
    return n

def cpu():
    own, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime

def folder(x, y):
    # The cell of the MODIS grid, of the middle of the tile.
    lat, lon = 90 - (y + 256) / 256 * 18, (x + 256) / 256 * 18 - 180
    cell = f"h{int((lon * np.cos(np.radians(lat)) + 180) // 10):02}v{int((90 - lat) // 10):02}"
    path = out / cell
    if not os.path.exists(path):
        os.mkdir(path)
    return path

seconds = used = n = 0
if kind.startswith("predecessor"):
    if kind == "predecessor records":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import tensorflow as tf
        tf.image.decode_png(pathlib.Path(next(iter(paths.values()))).read_bytes())
        feature = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        number = lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        real = lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    for day in days:
        region = io.BytesIO()
        Image.fromarray(np.concatenate([load(day, r) for r in range(rows)])).save(region, "jpeg", quality=90)
        region.seek(0)
        begun, before = time.monotonic(), cpu()
        pixels = np.array(Image.open(region))
        for x in starts(columns):
            for y in starts(rows):
                Image.fromarray(pixels[y:y + 512, x:x + 512]).save(folder(x, y) / f"{day}_{y}_{x}.jpeg")
                n += 1
        if kind == "predecessor records":
            with tf.io.TFRecordWriter(str(out / f"{day}.tfrecord")) as writer:
                for path in out.rglob(f"{day}_*.jpeg"):
                    raw = open(path, "rb").read()
                    shape = tf.image.decode_png(raw).shape
                    writer.write(tf.train.Example(features=tf.train.Features(feature={
                        "date": feature(day.encode()), "image_raw": feature(raw), "width": number(shape[0]),
                        "height": number(shape[1]), "bottom_left_lat": real(0.0), "bottom_left_long": real(0.0),
                        "top_right_lat": real(0.0), "top_right_long": real(0.0)})).SerializeToString())
        seconds, used = seconds + time.monotonic() - begun, used + cpu() - before
else:
    begun, before = time.monotonic(), cpu()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        n = sum(pool.imap_unordered(band, [(day, row) for day in days for row in range(rows)]))
        pool.close()
        pool.join()
    seconds, used = time.monotonic() - begun, cpu() - before
print(n / seconds, n / used)
"""


def say(*words) -> None:
    print(*words, file=sys.stderr, flush=True)


def run(*command) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def dates(days: int) -> list[str]:
    first = datetime.date(2020, 7, 1)
    return [str(first + datetime.timedelta(day)) for day in range(days)]


def fetch(images: pathlib.Path | None, days: int, place: pathlib.Path) -> pathlib.Path:
    serve = [PROGRAMS / "gibs-standin", "serve"]
    if images and (images / "bluemarble_small.jpg").is_file():
        pictures = place / "pictures"
        pictures.mkdir()
        for day in dates(days):
            (pictures / f"{LAYER}_{day}.jpg").symlink_to((images / "bluemarble_small.jpg").resolve())
        serve += ["--images", pictures]
    server = subprocess.Popen(list(map(str, serve)), stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        scenes = place / "scenes"
        run(PROGRAMS / "gibs-downloader", "fetch", LAYER, "--bbox=-180,-90,180,90", "--from", dates(days)[0], "--to",
            dates(days)[-1], "--level", 3, "-o", scenes, "--endpoint", url + "/wmts/epsg4326/best", "--quiet")
        return scenes
    finally:
        server.kill()


def measured(*command) -> tuple[str, float, float, int]:
    """What a program says, seconds by the clock and of the CPU, and its largest memory in MB."""
    begun = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    if status:
        sys.exit(f"{command}: {status}")
    return text, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


class Rate:
    """Tiles a second by the clock, and by the CPU time of a number of cores."""

    def __init__(self, tiles: float, seconds: float, cpu: float, cores: int):
        self.clock, self.cpu = tiles / seconds, tiles / cpu * cores

    def __str__(self) -> str:
        return f"{self.clock:,.0f} ({self.cpu:,.0f})"

    def times(self, other: "Rate") -> str:
        return f"{other}: {self.cpu / other.cpu:.2f}×"


def ours(scenes: pathlib.Path, place: pathlib.Path, *flags) -> tuple[Rate, int, int]:
    """Tiles a second, tiles, and the largest memory in MB. The best of two runs: the first may wait for others."""
    out, best = place / "tiles", None
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        command = [PROGRAMS / "data-preprocessor", "tile", scenes, "-o", out, "--json", "--quiet", *flags]
        text, seconds, cpu, memory = measured(*command)
        tiles = json.loads(text)["tiles"]
        found = (Rate(tiles, seconds, cpu, os.cpu_count()), tiles, memory)
        best = found if best is None or found[0].cpu > best[0].cpu else best
    shutil.rmtree(out, ignore_errors=True)
    return best


def pillow(kind: str, python: str, native: pathlib.Path, place: pathlib.Path, stride: int) -> Rate:
    try:
        clock, cpu = map(float, run(python, "-c", PILLOW, kind, native, place / "pillow", stride).split())
        # The predecessor has one process, whatever the number of cores.
        return Rate(1, 1 / clock, 1 / cpu, os.cpu_count() if kind == "all cores" else 1)
    finally:
        shutil.rmtree(place / "pillow", ignore_errors=True)


def gdal(scenes: pathlib.Path, place: pathlib.Path) -> Rate | None:
    vrt = next(iter(sorted(scenes.rglob("*.vrt"))), None)
    if not shutil.which("gdal_translate") or vrt is None:
        return None
    seconds = cpu = 0
    for i in range(100):
        window = [256 * (i % 19), 256 * (i // 19), SIZE, SIZE]
        _, clock, used, _ = measured("gdal_translate", "-q", "-of", "JPEG", "-srcwin", *window, vrt, place / "gdal.jpg")
        seconds, cpu = seconds + clock, cpu + used
    return Rate(100, seconds, cpu, 1)


PILLOW_CODEC = """
import io, pathlib, sys, time
import numpy as np
from PIL import Image
files = [p.read_bytes() for p in pathlib.Path(sys.argv[1]).rglob("*.jp*g")][:50]
begun = time.process_time()
images = [Image.open(io.BytesIO(f)).convert("RGB") for f in files]
decode = len(files) / (time.process_time() - begun)
begun, size = time.process_time(), 0
squares = []
for image in images:
    out = io.BytesIO()
    image.save(out, "jpeg", quality=95, subsampling="4:2:0")
    size += out.tell()
    squares.append(out)
encode = len(files) / (time.process_time() - begun)
error = [np.mean((np.asarray(i, float) - np.asarray(Image.open(o), float)) ** 2) for i, o in zip(images, squares)]
print(decode, encode, size / len(files), 10 * np.log10(255 ** 2 / np.mean(error)))
"""


def codecs(name: str, native: pathlib.Path) -> tuple[float, float, float, float]:
    """Pictures decoded and encoded a second of one core, mean bytes and dB."""
    command = [PROGRAMS / "examples" / "codecs", name, native, "--threads", 1, "--encodes"]
    pictures = sum(1 for folder in native.iterdir() for _ in folder.rglob("*.jp*g"))
    (_, _, decoded, _), (text, _, both, _) = measured(*command, 0), measured(*command, 8)
    _, size, psnr = map(float, text.split())
    # Encoding alone is what eight encodings cost more.
    return pictures / decoded, 8 * pictures / (both - decoded), size, psnr


def resident(process: subprocess.Popen) -> int:
    """Memory in use in MB, 0 when the process is gone."""
    try:
        lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


def million(scenes: pathlib.Path, place: pathlib.Path, limit: int) -> None:
    print("| tiles of 16 pixels | stored as | seconds | memory in MB at a tenth, a half, nine tenths, the most |")
    print("|---|---|---|---|")
    out = place / "tiles"
    for name, flags in (("records", []), ("places (`--virtual`)", ["--virtual"])):
        shutil.rmtree(out, ignore_errors=True)
        command = [PROGRAMS / "data-preprocessor", "tile", scenes, "-o", out, "--json", "--quiet", "--size", 16,
                   "--max-gap", 1, *flags]
        begun, seen = time.monotonic(), []
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        while process.poll() is None and time.monotonic() - begun < limit:
            seen.append(resident(process))
            time.sleep(0.05)
        process.kill() if process.poll() is None else None
        seconds, text = time.monotonic() - begun, process.stdout.read()
        if process.returncode != 0 or not text:
            sys.exit(f"{command}: {process.returncode} after {seconds:.0f} s")
        seen = [memory for memory in seen if memory]
        at = [seen[len(seen) * tenths // 10] for tenths in (1, 5, 9)]
        memory = ", ".join(map(str, [*at, max(seen)]))
        print(f"| {json.loads(text)['tiles']:,} | {name} | {seconds:.1f} | {memory} |", flush=True)
    shutil.rmtree(out, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("CURATOR_SHARED_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--images", type=pathlib.Path, default=pathlib.Path(shared) / "gibs")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--million", action="store_true", help="a million small tiles of 20 days instead")
    parser.add_argument("--limit", type=int, default=280, help="seconds that a million tiles may take")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = pathlib.Path(tempfile.mkdtemp(dir=memory))
    try:
        scenes = fetch(options.images, 20 if options.million else options.days, place)
        if options.million:
            return million(scenes, place, options.limit)
        native, cores = scenes / "native", os.cpu_count()
        has_tensorflow = not subprocess.run([options.python, "-c", "import tensorflow"], capture_output=True).returncode
        kinds = {"predecessor": "files"} | ({"predecessor records": "records"} if has_tensorflow else {})
        predecessors = {title: [pillow(kind, options.python, native, place, stride) for stride in (256, 512)]
                        for kind, title in kinds.items()}
        again, tiles, peak = ours(scenes, place, "--size", SIZE, "--overlap", 0.5)
        command = [PROGRAMS / "examples" / "codecs", "turbo", native, "--encodes", 4, "--threads", cores]
        text, _, cpu, _ = measured(*command)
        encoded = 4 * sum(1 for _ in native.rglob("*.jp*g"))
        raw = Rate(encoded, encoded / float(text.split()[0]), cpu, cores)
        all_cores = pillow("all cores", options.python, native, place, 256)
        passed, passed_tiles, _ = ours(scenes, place, "--size", SIZE)
        by_process = gdal(scenes, place)
        print(f"{cores} cores; {tiles} tiles at overlap 0.5, {passed_tiles} at 0; tiles a second\n")
        print("| | overlap 0.5, encoded anew | overlap 0, passed through |\n|---|---|---|")
        print(f"| `data-preprocessor tile` | {again} | {passed} |")
        for title, (overlapping, aligned) in predecessors.items():
            print(f"| predecessor, {title} | {again.times(overlapping)} | {passed.times(aligned)} |")
        if by_process:
            print(f"| `gdal_translate` a tile | {again.times(by_process)} | {passed.times(by_process)} |")
        print(f"| Pillow, all cores, quality 95 | {again.times(all_cores)} | |")
        print(f"| libjpeg-turbo alone | {again.times(raw)} | |")
        print(f"\nMemory at overlap 0.5: {peak} MB.\n")
        print("| codec, one core, quality 95 | pictures decoded a second | encoded | bytes | PSNR |")
        print("|---|---|---|---|---|")
        some = place / "some"
        some.mkdir()
        for day in sorted(path for path in native.glob("*/*"))[:8]:
            (some / day.name).symlink_to(day)
        rows = [("libjpeg-turbo (`turbojpeg`), 4:2:0", codecs("turbo", some)), ("`image`", codecs("image", some))]
        rows.append(("Pillow, 4:2:0", tuple(map(float, run(options.python, "-c", PILLOW_CODEC, native).split()))))
        for title, (decode, encode, size, psnr) in rows:
            print(f"| {title} | {decode:.0f} | {encode:.0f} | {size:,.0f} | {psnr:.2f} dB |")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
