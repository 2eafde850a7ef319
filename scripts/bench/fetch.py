#!/usr/bin/env python3
"""Tiles a second: gibs-downloader against GDAL, aria2c and curl, from one server on loopback, same tiles.

    scripts/bench/fetch.py [--tiles 1024] [--latencies 0,50] [--repeat 3]
    cargo build --release -p gibs-downloader -p curator-testkit --bins --examples   # before it

`gibs-standin --same-tile` serves one picture for all, so that clients are measured and not the server. GDAL
reads the region as its users do, `gdal_translate` from a tiled source (the WMS driver's TMS pattern) to one
JPEG; aria2c and curl are given the list of addresses. We validate, hash and record every tile, they do not.
What is absent here is left out. Medians; clients take turns, so that a busy moment hits all of them; nothing is
cached from one run to the next, and the disk is at rest before each. `decoding limit` is how many tiles a second all
cores validate when they do nothing
else, measured in the same turns (gibs-downloader/examples/decoding_limit.rs).
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
LAYER, DAY, LEVEL = "MODIS_Terra_CorrectedReflectance_TrueColor", "2020-09-12", 8
SPAN = 288 / 2**LEVEL
COLUMN, ROW = 100, 60  # the region's first tile
PARALLEL = 16

WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/{layer}/default/{day}/250m/${{z}}/${{y}}/${{x}}.jpeg</ServerUrl>
</Service><DataWindow><UpperLeftX>-180</UpperLeftX><UpperLeftY>90</UpperLeftY><LowerRightX>396</LowerRightX>
<LowerRightY>-198</LowerRightY><TileLevel>{level}</TileLevel><TileCountX>2</TileCountX><TileCountY>1</TileCountY>
<YOrigin>top</YOrigin></DataWindow><Projection>EPSG:4326</Projection><BlockSizeX>512</BlockSizeX>
<BlockSizeY>512</BlockSizeY><BandsCount>3</BandsCount></GDAL_WMS>"""


def clients(base: str, endpoint: str, side: int, place: pathlib.Path) -> dict:
    """Command lines that fetch `side` × `side` tiles into `place`."""
    service = f"{base}/wmts/epsg4326/best"
    west, north = COLUMN * SPAN - 180, 90 - ROW * SPAN
    east, south = west + side * SPAN, north - side * SPAN
    addresses = [f"{service}/{LAYER}/default/{DAY}/250m/{LEVEL}/{ROW + r}/{COLUMN + c}.jpeg"
                 for r in range(side) for c in range(side)]
    (place / "aria2.txt").write_text("".join(f"{a}\n  out={i}.jpg\n" for i, a in enumerate(addresses)))
    (place / "curl.txt").write_text("".join(f'url="{a}"\noutput="{place}/curl/{i}.jpg"\n'
                                            for i, a in enumerate(addresses)))
    (place / "wms.xml").write_text(WMS.format(url=service, layer=LAYER, day=DAY, level=LEVEL))
    commands = {
        "gibs-downloader": [PROGRAMS / "gibs-downloader", "fetch", LAYER, f"--bbox={west},{south},{east},{north}",
                            "--from", DAY, "-o", place / "ours", "--endpoint", endpoint,
                            "--concurrency", PARALLEL, "--quiet"],
        "aria2c": ["aria2c", "-q", "-j", PARALLEL, "-d", place / "aria2", "-i", place / "aria2.txt",
                   "--file-allocation=none"],
        "curl --parallel": ["curl", "-s", "--create-dirs", "--parallel", "--parallel-max", PARALLEL,
                            "-K", place / "curl.txt"],
        "gdal_translate": ["gdal_translate", "-q", "-of", "JPEG", "-co", "QUALITY=90", "-projwin", west, north,
                           east, south, place / "wms.xml", place / "gdal.jpg"],
    }
    return {name: list(map(str, command)) for name, command in commands.items()
            if pathlib.Path(command[0]).exists() or shutil.which(command[0])}


def run(name: str, base: str, endpoint: str, side: int) -> float:
    """Tiles a second of one run, everything fetched afresh."""
    place = pathlib.Path(tempfile.mkdtemp())
    os.sync()  # what the client before has left to write is not this one's
    try:
        command = clients(base, endpoint, side, place)[name]
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.monotonic() - begun
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return side * side / seconds
    finally:
        shutil.rmtree(place, ignore_errors=True)


def decoding_limit(base: str, place: pathlib.Path) -> float:
    tile = place / "tile.jpg"
    if not tile.exists():
        address = f"{base}/wmts/epsg4326/best/{LAYER}/default/{DAY}/250m/{LEVEL}/{ROW}/{COLUMN}.jpeg"
        tile.write_bytes(urllib.request.urlopen(address).read())
    return float(subprocess.run([PROGRAMS / "examples" / "decoding_limit", tile, "2000"],
                                capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=1024)
    parser.add_argument("--latencies", default="0,50")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    side = max(1, round(options.tiles**0.5))
    results = {}
    for latency in map(int, options.latencies.split(",")):
        command = [PROGRAMS / "gibs-standin", "serve", "--same-tile", "--latency", str(latency)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        base = server.stdout.readline().strip()
        try:
            with tempfile.TemporaryDirectory() as folder:
                names = list(clients(base, base, 1, pathlib.Path(folder)))
            # GDAL would answer the second run from its own cache.
            for name in names:
                run(name, base, base, 2)
            turns = {name: [] for name in names + ["decoding limit"]}
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(options.repeat):
                    for name in names:
                        turns[name].append(run(name, base, base, side))
                    turns["decoding limit"].append(decoding_limit(base, pathlib.Path(folder)))
            results[latency] = {name: statistics.median(rates) for name, rates in turns.items()}
        finally:
            server.kill()
    if options.json:
        print(json.dumps(results))
        return
    print(f"{side * side} tiles, {PARALLEL} at a time, tiles a second (ours as a multiple)\n")
    names = next(iter(results.values()))
    print("| latency | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for latency, rates in results.items():
        ours = rates["gibs-downloader"]
        cells = [f"{rate:.0f} ({ours / rate:.2f}×)" if name != "gibs-downloader" else f"{rate:.0f}"
                 for name, rate in rates.items()]
        print(f"| {latency} ms | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
