#!/usr/bin/env python3
"""Cold start from an object store on loopback: time to the first answer, bytes read against the index's size.

    scripts/bench/stream.py [--rows 200000] [--dims 128] [--latency 0,30] [--queries 7] [-o out/bench/stream]

Embeddings whose spectrum falls as those of trained networks do (variance of the i-th component 1/i), without neat
clusters, in 30 partitions. The published index is served with ranges; every query is a new process with an empty
cache. `--latency` is what the server waits before each answer, in milliseconds, as a store at some distance does.
Needs numpy and pyarrow (exit code 77 without them).
"""

import argparse
import http.server
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "embed-indexer"


class Ranges(http.server.BaseHTTPRequestHandler):
    """Serves a folder, ranges too, and counts."""

    protocol_version = "HTTP/1.1"
    folder = pathlib.Path()
    latency = 0.0
    requests = 0
    sent = 0
    lock = threading.Lock()

    def do_GET(self):
        time.sleep(self.latency)
        try:
            file = open(self.folder / self.path.lstrip("/"), "rb")
        except OSError:
            self.send_error(404)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, end = (int(asked[1]), min(int(asked[2]), size - 1)) if asked else (0, size - 1)
            file.seek(start)
            body = file.read(end - start + 1)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        with Ranges.lock:
            Ranges.requests += 1
            Ranges.sent += len(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def write_embeddings(path: pathlib.Path, rows: int, dims: int) -> None:
    import numpy
    import pyarrow
    import pyarrow.parquet

    draw = numpy.random.default_rng(7)
    numbers = draw.standard_normal((rows, dims), dtype=numpy.float32)
    numbers /= numpy.sqrt(numpy.arange(1, dims + 1, dtype=numpy.float32))
    mix, _ = numpy.linalg.qr(draw.standard_normal((dims, dims)))
    numbers = numbers @ mix.astype(numpy.float32)
    numbers /= numpy.linalg.norm(numbers, axis=1, keepdims=True)
    part = numpy.arange(rows) * 30 // rows
    place = numpy.arange(rows) * 30 % rows // 30
    west, south = place % 700 * 0.5 - 175.0, place // 700 % 300 * 0.5 - 75.0
    table = pyarrow.table(
        {
            "tile_id": [f"MODIS_Terra/2020-{1 + p % 12:02}-10/250m/6/{i}" for i, p in enumerate(part)],
            "layer": [["MODIS_Terra", "MODIS_Aqua", "VIIRS_SNPP"][p // 12] for p in part],
            "time": [f"2020-{1 + p % 12:02}-10" for p in part],
            "resolution": ["250m"] * rows,
            "west": west, "south": south, "east": west + 0.5, "north": south + 0.5,
            "cloud_fraction": draw.random(rows, dtype=numpy.float32),
            "embedding": pyarrow.FixedSizeListArray.from_arrays(numbers.ravel(), dims),
        }
    )
    pyarrow.parquet.write_table(table, path, compression="zstd")


def size_of(folder: pathlib.Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(*arguments) -> tuple:
    """What a command prints, and its seconds."""
    begun = time.perf_counter()
    done = subprocess.run([PROGRAM, *map(str, arguments), "--no-progress", "--json"], capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{arguments}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--kinds", default="ivf-flat,ivf-sq8,ivf-pq")
    parser.add_argument("--latency", default="0,30", help="milliseconds, separated by commas")
    parser.add_argument("--queries", type=int, default=7)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "out" / "bench" / "stream")
    parser.add_argument("--build-only", action="store_true", help="make the indexes, measure later")
    arguments = parser.parse_args()
    try:
        import numpy  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    place = arguments.output
    place.mkdir(parents=True, exist_ok=True)
    embeddings = place / f"{arguments.rows}x{arguments.dims}.parquet"
    if not embeddings.exists():
        write_embeddings(embeddings, arguments.rows, arguments.dims)
    server = Server(("127.0.0.1", 0), Ranges)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    if not arguments.build_only:
        print("| kind | published, MB | lists visited | store's latency, ms | to open: requests, MB | "
              "first answers: requests, MB | of the index | seconds, median (worst) | the index on this machine |")
        print("|---|---|---|---|---|---|---|---|---|")
    for kind in arguments.kinds.split(","):
        index, published = (place / f"{name}-{arguments.rows}x{arguments.dims}-{kind}" for name in ("index", "published"))
        run("build", "--embeddings", embeddings, "--kind", kind, "--neighbours", 0, "-o", index)
        run("publish", index, "-o", published)
        if arguments.build_only:
            continue
        Ranges.folder, total = published, size_of(published)
        probes = json.loads((index / "index.json").read_text())["probes"]
        ids = [f"MODIS_Terra/2020-{1 + (row * 30 // arguments.rows) % 12:02}-10/250m/6/{row}"
               for row in range(11, arguments.rows, arguments.rows // arguments.queries)][: arguments.queries]
        query = lambda where, tile: run("search", where, "--tile-id", tile, "-k", 20)  # noqa: E731
        local = {tile: query(index, tile) for tile in ids}
        for latency in arguments.latency.split(","):
            Ranges.latency = float(latency) / 1000
            seconds, requests, read = [], [], []
            for tile in ids:
                before = Ranges.requests, Ranges.sent
                found, took = query(address, tile)
                assert found["hits"] == local[tile][0]["hits"], tile
                said = found["traffic"]
                assert (said["requests"], said["bytes"]) == (Ranges.requests - before[0], Ranges.sent - before[1])
                seconds.append(took)
                requests.append(said["requests"])
                read.append(said["bytes"])
            opened = opening(published)
            print(f"| {kind} | {total / 1e6:.0f} | {probes} | {latency} | {opened[0]}, {opened[1] / 1e6:.2f} "
                  f"| {statistics.median(requests):.0f}, {statistics.median(read) / 1e6:.2f} "
                  f"| {statistics.median(read) / total:.1%} | {statistics.median(seconds):.2f} ({max(seconds):.2f}) "
                  f"| {statistics.median(run[1] for run in local.values()):.2f} |")


def opening(published: pathlib.Path) -> tuple:
    """Requests and bytes before the first query: whole files, and the head of each partition."""
    whole = [published / name for name in ("manifest.json", "stream.json", "quantiser.faiss", "lists/table.bin")]
    whole = [file for file in whole if file.exists()]
    parts = sorted((published / "parts").iterdir())
    rows = [part["rows"] for part in json.loads((published / "stream.json").read_text())["parts"]]
    heads = [32 + 12 * (-(-n // 64) + 8 * -(-n // 16384)) for n in rows]
    return len(whole) + len(parts), sum(file.stat().st_size for file in whole) + sum(heads)


if __name__ == "__main__":
    main()
