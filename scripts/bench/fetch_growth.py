#!/usr/bin/env python3
"""How time and memory of gibs-downloader grow with the number of tiles.

    scripts/bench/fetch_growth.py [--tiles 1000,10000,100000] [-o FOLDER]

`gibs-standin --same-tile` serves one picture for all. Columns: packed into a file a scene, seconds of the download and
of the whole run, largest resident size; then what a second run takes to see that nothing is to be done for a box a
little smaller; then planning alone, of the globe at 250 m for 30 days. 100,000 tiles need about 6 GB of disk.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
LAYER = "MODIS_Terra_CorrectedReflectance_TrueColor"
SPAN = 288 / 2**8


def run(*command) -> tuple[dict, float, float]:
    """The report, seconds, and the largest resident size in MB."""
    begun = time.monotonic()
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}: {text}")
    return json.loads(text), time.monotonic() - begun, usage.ru_maxrss / 1024


def box(tiles: int, days: int) -> str:
    """About so many tiles a day, columns × rows like 2 × 1."""
    rows = max(1, round((tiles / days / 2) ** 0.5))
    return f"--bbox=-180,{90 - min(rows, 160) * SPAN},{-180 + min(2 * rows, 320) * SPAN},90"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", default="1000,10000,100000")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=None, help="where to put tiles for a while")
    options = parser.parse_args()
    place = pathlib.Path(tempfile.mkdtemp(dir=options.output))
    server = subprocess.Popen([PROGRAMS / "gibs-standin", "serve", "--same-tile"], stdout=subprocess.PIPE, text=True)
    try:
        endpoint = ["--endpoint", server.stdout.readline().strip(), "--quiet", "--json"]
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        fetch = [PROGRAMS / "gibs-downloader", "fetch", LAYER]
        print("| tiles | download | whole run | largest size | again | largest size | files |\n|---|---|---|---|---|---|---|")
        for tiles in map(int, options.tiles.split(",")):
            days = 4
            dates = ["--from", "2020-09-01", "--to", f"2020-09-{days:02}"]
            out = place / str(tiles)
            order = [*fetch, box(tiles, days), *dates, "-o", out, "--layout", "packed", *endpoint]
            report, seconds, memory = run(*order)
            inner = [order[0], *order[1:3], box(tiles * 9 // 10, days), *order[4:]]
            _, again, memory_again = run(*inner)
            files = sum(1 for path in out.rglob("*") if path.is_file())
            print(f"| {report['fetched']:,} | {report['seconds']:.1f} s | {seconds:.1f} s | {memory:.0f} MB "
                  f"| {again:.2f} s | {memory_again:.0f} MB | {files} |", flush=True)
            shutil.rmtree(out)
        globe = [*fetch, "--bbox=-180,-90,180,90", "--from", "2020-09-01", "--to", "2020-09-30", "-o", place / "globe",
                 "--dry-run", *endpoint]
        report, seconds, memory = run(*globe)
        print(f"\nplanning {report['planned']:,} tiles: {seconds:.2f} s, {memory:.0f} MB")
    finally:
        server.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
