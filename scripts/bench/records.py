#!/usr/bin/env python3
"""TFRecords written and read, MB a second, against TensorFlow's own.

    scripts/bench/records.py [--python PYTHON] [--mb 2000] [--disk out/bench]

PYTHON needs tensorflow (`pip install tensorflow-cpu`); without it only our numbers are printed. Pictures of
100 kB in shards of 100 MB. TensorFlow gets its examples serialised beforehand; ours are made of a tile and its
picture on the way. All checksums are written and verified by both. Best of three; every number of one core is
with the process bound to it.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDS = ROOT / "target" / "release" / "examples" / "records"
BYTES = 100_000
TILES = 1000

TENSORFLOW = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from concurrent.futures import ThreadPoolExecutor
action, folder, shards, cores = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
picture = os.urandom(100_000)
feature = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
example = tf.train.Example(features=tf.train.Features(feature={
    "image_raw": feature(picture), "tile_id": feature(b"layer/2020-09-12/250m/8/0_0_512x512")})).SerializeToString()
paths = [f"{folder}/{i:05}.tfrecord" for i in range(shards)]
def write(path):
    with tf.io.TFRecordWriter(path) as writer:
        for _ in range(1000):
            writer.write(example)
begun = time.monotonic()
if action == "write":
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(write, paths))
else:
    records = tf.data.TFRecordDataset(paths, buffer_size=1 << 20, num_parallel_reads=cores)
    assert int(records.reduce(0, lambda n, _: n + 1)) == shards * 1000
print(shards * 1000 * 100_000 / 1e6 / (time.monotonic() - begun))
"""


def best(*command, times: int = 3, clean: pathlib.Path | None = None) -> float:
    rates = []
    for _ in range(times):
        if clean:
            shutil.rmtree(clean, ignore_errors=True)
            clean.mkdir(parents=True)
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout}{done.stderr}")
        rates.append(float(done.stdout.split()[-1]))
    return max(rates)


def raw(folder: pathlib.Path, shards: int) -> float:
    """Zeros would be compressed by some disks: random bytes, written and flushed as one file a shard."""
    block = os.urandom(TILES * BYTES)
    rates = []
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        begun = time.monotonic()
        for shard in range(shards):
            with open(folder / str(shard), "wb", buffering=0) as file:
                file.write(block)
                os.fsync(file.fileno())
        rates.append(shards * len(block) / 1e6 / (time.monotonic() - begun))
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--disk", type=pathlib.Path, default=ROOT / "out" / "bench")
    options = parser.parse_args()
    shards = max(2, options.mb * 1_000_000 // (TILES * BYTES))
    has_tensorflow = subprocess.run([options.python, "-c", "import tensorflow"], capture_output=True).returncode == 0
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = pathlib.Path(tempfile.mkdtemp(dir=memory))
    rows = {}
    try:
        for action in ("write", "read"):
            for cores in (1, 2):
                bound = ["taskset", "-c", "0"] if cores == 1 else []
                fresh = (place / "ours") if action == "write" else None
                mine = [RECORDS, action, place / "ours", "--shards", shards, "--threads", cores]
                rows[action, cores, "ours"] = best(*bound, *mine, clean=fresh)
            shutil.rmtree(place / "ours", ignore_errors=True) if action == "read" else None
        for action in ("write", "read") if has_tensorflow else ():
            for cores in (1, 2):
                bound = ["taskset", "-c", "0"] if cores == 1 else []
                fresh = (place / "theirs") if action == "write" else None
                theirs = [options.python, "-c", TENSORFLOW, action, place / "theirs", shards, cores]
                rows[action, cores, "tensorflow"] = best(*bound, *theirs, clean=fresh)
        print("| memory file system | ours, 1 core | TensorFlow, 1 core | ours, 2 cores | TensorFlow, 2 cores |")
        print("|---|---|---|---|---|")
        for action in ("write", "read"):
            cells = []
            for cores in (1, 2):
                mine, theirs = rows[action, cores, "ours"], rows.get((action, cores, "tensorflow"))
                scale = f", {mine / rows[action, 1, 'ours']:.2f}× of one" if cores == 2 else ""
                cells.append(f"{mine:.0f} MB/s{scale}")
                cells.append(f"{theirs:.0f} MB/s ({mine / theirs:.2f}×)" if theirs else "–")
            print(f"| {action} | " + " | ".join(cells) + " |")
        few = min(shards, 5)
        plain = raw(options.disk / "raw", few)
        folder = options.disk / "ours"
        ours = best(RECORDS, "write", folder, "--shards", few, "--ahead", clean=folder)
        print(f"\nOn disk, flushed: {ours:.0f} MB/s, {ours / plain:.2f} of a raw write ({plain:.0f} MB/s).")
    finally:
        shutil.rmtree(place, ignore_errors=True)
        for name in ("raw", "ours"):
            shutil.rmtree(options.disk / name, ignore_errors=True)


if __name__ == "__main__":
    main()
