#!/usr/bin/env python3
"""Tiles a second: gibs-downloader against GDAL, aria2c and curl, from one server on loopback, same tiles.

    scripts/bench/fetch.py [--tiles 1024] [--latencies 0,50] [--repeat 3] [--place /dev/shm] [--budget]
    cargo build --release -p gibs-downloader -p curator-testkit --bins --examples   # before it

`gibs-standin --same-tile` serves one picture for all, so that clients are measured and not the server. GDAL
reads the region as its users do, `gdal_translate` from a tiled source (the WMS driver's TMS pattern) to one
JPEG; aria2c and curl are given the list of addresses. We validate, hash and record every tile, they do not.
What is absent here is left out. Medians; clients take turns, so that a busy moment hits all of them; nothing is
cached from one run to the next. All write to `--place`, memory by default (tmpfs): clients are measured, not the
disk, which ours alone waits for. On a disk each is measured until its bytes are there (`sync`).

Three limits are measured in the same turns (gibs-downloader/examples/decoding_limit.rs): `decoding whole` and
`decoding small` are how many tiles a second all cores decode when they do nothing else, there being no server, at full
size and at an eighth of it; `receiving and decoding small` is how many the leanest client there is gets from the same
server and decodes at an eighth, keeping nothing.

`--budget` tells what a tile costs in microseconds of processor time, ours and the server's, by `perf`.
"""

import argparse
import json
import os
import signal
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
PARALLEL = 32
LIMITS = ("receiving and decoding small", "decoding small", "decoding whole")

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


def run(name: str, base: str, side: int, above: pathlib.Path) -> float:
    """Tiles a second of one run, everything fetched afresh."""
    place = pathlib.Path(tempfile.mkdtemp(dir=above))
    on_disk = subprocess.run(["stat", "-f", "-c", "%T", above], capture_output=True, text=True).stdout.strip() != "tmpfs"
    os.sync()  # what the client before has left to write is not this one's
    try:
        command = clients(base, base, side, place)[name]
        begun = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        if on_disk:
            os.sync()
        seconds = time.monotonic() - begun
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return side * side / seconds
    finally:
        if not on_disk:  # on a disk it is removed at the end: files that were just removed make new ones slow
            shutil.rmtree(place, ignore_errors=True)


def limit(which: str, base: str, place: pathlib.Path, count: int) -> float:
    """Tiles a second that nothing that validates can exceed."""
    what = f"{base}/wmts/epsg4326/best/{LAYER}/default/{DAY}/250m/{LEVEL}/{ROW}/{COLUMN}.jpeg"
    if which != LIMITS[0]:
        tile = place / "tile.jpg"
        tile.write_bytes(urllib.request.urlopen(what).read())
        what = tile
    command = [PROGRAMS / "examples" / "decoding_limit", *["--whole"] * (which == LIMITS[2]), what, count, PARALLEL]
    return float(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)


# What a function does, by words in its name; the first that fits.
PARTS = {
    "decoding": ["decode_mcu", "idct", "decompress_onepass", "jpeg_", "jsimd", "ycc", "_dht", "huff", "read_markers",
                 "Filter<I,P>"],
    "digest": ["sha2::", "digest"],
    "storing": ["ext4", "folio", "shmem", "vfs_write", "jbd2", "iov_iter", "filemap"],
    "network in the kernel": ["tcp", "skb", "sock", "inet", "copy_to_iter", "_copy_from_iter", "ip_", "net", "softirq"],
    "waking and waiting": ["sched", "futex", "epoll", "finish_task", "spin_unlock", "switch", "wake", "park", "idle"],
    "memory": ["malloc", "free", "memmove", "memset", "memcpy", "page", "realloc", "alloc"],
}


def budget(base: str, server: int, side: int, above: pathlib.Path) -> None:
    """What a tile costs, part by part, in microseconds of processor time."""
    place = pathlib.Path(tempfile.mkdtemp(dir=above))
    try:
        command = clients(base, base, side, place)["gibs-downloader"]
        record = ["perf", "record", "-q", "-F", "2500", "-e", "task-clock", "-o"]
        of_server = subprocess.Popen([*record, place / "server", "-p", str(server)], stderr=subprocess.DEVNULL)
        subprocess.run([*record, place / "client", *command], capture_output=True, check=True)
        of_server.send_signal(signal.SIGINT)
        of_server.wait()
        columns = {}
        for who in ("client", "server"):
            report = ["perf", "report", "-i", place / who, "--no-children", "-g", "none", "-F", "period,symbol", "-t", "|"]
            lines = subprocess.run(report, capture_output=True, text=True, check=True).stdout.splitlines()
            spent = columns.setdefault(who, dict.fromkeys([*PARTS, "HTTP and all else"], 0.0))
            for period, symbol in (line.split("|", 1) for line in lines if "|" in line and not line.startswith("#")):
                fits = (part for part, words in PARTS.items() if any(word in symbol for word in words))
                spent[next(fits, "HTTP and all else")] += int(period) / 1000 / side**2
        print("| microseconds a tile | gibs-downloader | server |\n|---|---|---|")
        for part in columns["client"]:
            print(f"| {part} | {columns['client'][part]:.0f} | {columns['server'][part]:.0f} |")
        print("| together | " + " | ".join(f"{sum(spent.values()):.0f}" for spent in columns.values()) + " |")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=1024)
    parser.add_argument("--latencies", default="0,50")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--place", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    parser.add_argument("--budget", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    side = max(1, round(options.tiles**0.5))
    results = {}
    for latency in map(int, options.latencies.split(",")):
        command = [PROGRAMS / "gibs-standin", "serve", "--same-tile", "--latency", str(latency)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        base = server.stdout.readline().strip()
        try:
            with tempfile.TemporaryDirectory(dir=options.place) as folder:
                above = pathlib.Path(folder)
                names = list(clients(base, base, 1, above))
                for name in names:
                    run(name, base, 2, above)
                if options.budget:
                    budget(base, server.pid, side, above)
                    continue
                turns = {name: [] for name in [*names, *LIMITS]}
                for _ in range(options.repeat):
                    for name in names:
                        turns[name].append(run(name, base, side, above))
                    for which in LIMITS:
                        turns[which].append(limit(which, base, above, side * side))
            results[latency] = {name: statistics.median(rates) for name, rates in turns.items()}
        finally:
            server.kill()
    if options.budget:
        return
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
