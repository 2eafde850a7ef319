#!/usr/bin/env python3
"""Time and memory of planning: `gibs-downloader fetch --dry-run` of the whole globe, without a network.

    scripts/bench/plan.py [--repeat 3]

Nothing is fetched or written.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "gibs-downloader"
LAYER = "MODIS_Terra_CorrectedReflectance_TrueColor"
CIRCLE = ["--point=-16.5,28.3", "--radius", "2000"]
PLANS = [
    ("a box, a day", ["--bbox=-18,-9,0,9", "--from", "2020-09-12"]),
    ("a circle of 2,000 km, a month", [*CIRCLE, "--from", "2020-09-01", "--to", "2020-09-30"]),
    ("the globe, a day", ["--globe", "--from", "2020-09-12"]),
    ("the globe, 30 days", ["--globe", "--from", "2020-09-01", "--to", "2020-09-30"]),
    ("the globe, every day of 20 years", ["--globe", "--from", "2001-01-01", "--to", "2020-12-31"]),
    ("the Arctic, 30 days", ["--globe", "--projection", "arctic", "--from", "2020-09-01", "--to", "2020-09-30"]),
]


def measure(arguments: list, place: str) -> tuple:
    """Tiles, seconds, and the largest resident size in MB."""
    command = [PROGRAM, "fetch", LAYER, *arguments, "--dry-run", "--offline", "--json", "-o", f"{place}/scenes"]
    begun = time.perf_counter()
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    assert status == 0, command
    return json.loads(text)["planned"], seconds, usage.ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print("| plan | tiles | seconds | MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for name, flags in PLANS:
            runs = [measure(flags, place) for _ in range(arguments.repeat)]
            seconds = statistics.median(run[1] for run in runs)
            print(f"| {name} | {runs[0][0]:,} | {seconds:.2f} | {max(run[2] for run in runs):.0f} |")


if __name__ == "__main__":
    main()
