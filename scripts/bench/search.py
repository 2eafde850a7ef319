#!/usr/bin/env python3
"""Builds and searches an index of many vectors, beside Python's FAISS and FAISS behind FastAPI.

    scripts/bench/search.py --like REAL.npy --rows 1000000 --dims 128 --keep out/search
    scripts/bench/search.py --like REAL.npy --rows 5000000 --dims 512 --keep out/search --no-peers

REAL.npy has real embeddings, such as `embeddings.npy` of an index; its principal components are taken where it has
more than --dims numbers. A vector is drawn near a real one: a normal step in the plane of its ten nearest, so long
that as many vectors as there are real ones have the same median cosine with the nearest as those. Printed beside one
another for both: that cosine, and the participation ratio of the spectrum. The rows stand in --parts layers.

Searched for is what is like 200 rows, which are themselves no answers. What is true is found by FAISS's flat search.
`embed-indexer` is searched in process (examples/latency.rs) and over HTTP, in a control group of --memory GB that counts
the page cache, cold (nothing cached) and warm. Needs root for both; without, it says so and goes on.

The python that runs it needs numpy, faiss-cpu, pyarrow, fastapi and uvicorn.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import threading
import time

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
GROUP = pathlib.Path("/sys/fs/cgroup/memory/curator-bench")
QUERIES, K, BLOCK, NEAR = 200, 10, 100_000, 10
FASTAPI = """
import sys, faiss, numpy as np, uvicorn
from fastapi import FastAPI
faiss.omp_set_num_threads(1)
index = faiss.read_index(sys.argv[1])
faiss.downcast_index(index.base_index).nprobe, index.k_factor = int(sys.argv[2]), int(sys.argv[3])
queries = np.load(sys.argv[4])
ids = [f"tile {i}" for i in range(index.ntotal)]
app = FastAPI()
@app.get("/search")
def search(like: int, k: int = 10):
    scores, rows = index.search(queries[like:like + 1], k)
    return {"hits": [{"row": int(r), "score": float(s), "tile_id": ids[r]} for r, s in zip(rows[0], scores[0])]}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[5]), log_level="error")
"""


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def participation(x):
    values = np.linalg.eigvalsh(np.cov(x[:20_000].T))
    return values.sum() ** 2 / (values ** 2).sum()


def nearest(x):
    """The median cosine with the nearest other row."""
    flat = faiss.IndexFlatIP(x.shape[1])
    flat.add(x)
    return float(np.median(flat.search(x, 2)[0][:, 1]))


class Likeness:
    """Draws vectors that are spread as real ones."""

    def __init__(self, path, dims):
        real = np.load(path).astype("f4")
        if dims < real.shape[1]:
            real = real - real.mean(0)
            real = real @ np.linalg.eigh(np.cov(real.T))[1][:, ::-1][:, :dims].astype("f4")
        self.real = np.ascontiguousarray(unit(real).astype("f4"))
        flat = faiss.IndexFlatIP(self.real.shape[1])
        flat.add(self.real)
        self.near = flat.search(self.real, NEAR + 1)[1][:, 1:]
        wanted, (low, high) = nearest(self.real), (0.0, 4.0)
        for _ in range(12):
            self.step = (low + high) / 2
            found = nearest(self.draw(len(self.real), np.random.default_rng(0)))
            low, high = (self.step, high) if found > wanted else (low, self.step)

    def draw(self, count, random):
        rows = []
        for start in range(0, count, 5_000):
            own = random.integers(0, len(self.real), min(5_000, count - start))
            steps = self.real[self.near[own]] - self.real[own][:, None]
            weights = random.standard_normal((len(own), 1, NEAR), dtype="f4") * self.step / NEAR ** 0.5
            rows.append(unit(self.real[own] + (weights @ steps)[:, 0]))
        return np.concatenate(rows)


def vectors(options, table):
    """Draws the table of embeddings once, and what is true."""
    truth = table.with_suffix(".npz")
    if truth.exists():
        return np.load(truth)
    likeness, random = Likeness(options.like, options.dims), np.random.default_rng(1)
    sample = likeness.draw(len(likeness.real), np.random.default_rng(2))
    print(f"{len(sample):,} drawn, and real: nearest {nearest(sample):.3f} {nearest(likeness.real):.3f}, directions "
          f"{participation(sample):.1f} {participation(likeness.real):.1f}", flush=True)
    asked = np.sort(random.choice(min(BLOCK, options.rows), QUERIES, replace=False))
    best, queries, writer = None, None, None
    for start in range(0, options.rows, BLOCK):
        block = likeness.draw(min(BLOCK, options.rows - start), random)
        numbers = np.arange(start, start + len(block))
        queries = block[asked] if queries is None else queries
        scores, rows = faiss.knn(queries, block, K + 1, metric=faiss.METRIC_INNER_PRODUCT)
        if best is not None:
            scores, rows = np.hstack([best[0], scores]), np.hstack([best[1], rows + start])
            order = np.argsort(-scores, 1)[:, :K + 1]
            scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
        best = scores, rows
        parts = numbers * options.parts // options.rows
        lists = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), block.shape[1])
        columns = pa.table({"tile_id": [f"tile {i}" for i in numbers], "embedding": lists,
                            "layer": [f"Layer{p:02}" for p in parts], "time": ["2020-09-12"] * len(block),
                            "resolution": ["250m"] * len(block)})
        writer = writer or pq.ParquetWriter(table, columns.schema, compression="none", use_dictionary=["layer"])
        writer.write_table(columns)
    writer.close()
    np.savez(truth, asked=asked, queries=queries, scores=best[0], rows=best[1])
    return np.load(truth)


def recall(found, true):
    """Of the ten nearest that are not the row itself; what ties with the last counts."""
    right = 0
    for own, rows, wanted in zip(true["asked"], found, true["rows"]):
        right += len(set(list(dict.fromkeys(r for r in rows if r != own))[:K]) & set(wanted[wanted != own][:K]))
    return right / K / len(found)


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def cold():
    """Whether the page cache could be emptied."""
    try:
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def grouped(command, memory):
    """The command, run in a group that may have so many GB, the page cache counted."""
    try:
        GROUP.mkdir(exist_ok=True)
        (GROUP / "memory.limit_in_bytes").write_text(str(memory << 30))
        return ["sh", "-c", f'echo $$ > {GROUP}/cgroup.procs; exec "$@"', "sh", *map(str, command)]
    except OSError as error:
        print(f"without a limit of memory: {error}", file=sys.stderr)
        return list(map(str, command))


def peak():
    try:
        return int((GROUP / "memory.max_usage_in_bytes").read_text()) / 2 ** 30
    except OSError:
        return float("nan")


def in_process(index, true, memory):
    command = grouped([RELEASE / "examples" / "latency", index, K + 1], memory)
    asked = "\n".join(map(str, true["asked"]))
    emptied = cold()
    run = json.loads(subprocess.run(command, input=asked, check=True, stdout=subprocess.PIPE, text=True).stdout)
    for name, times in ("cold" if emptied else "not cold", run["first"]), ("warm", run["again"]):
        print(f"| in process, {name} | {recall(run['rows'], true):.3f} | {percentile(times, 0.5):.2f} | "
              f"{percentile(times, 0.99):.2f} | opened in {run['opened']:.1f} s |", flush=True)


def ask(connection, path, headers):
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status == 200, (reply.status, body[:200])
    return body


def over_http(name, port, path, headers, keys):
    """Single requests, then as many as four clients get answered in five seconds."""
    connection, times = http.client.HTTPConnection("127.0.0.1", port), []
    for key in keys:
        begun = time.perf_counter()
        ask(connection, path(key), headers)
        times.append((time.perf_counter() - begun) * 1000)
    rate = load(port, [path(key) for key in keys], headers)
    print(f"| {name} | | {percentile(times, 0.5):.2f} | {percentile(times, 0.99):.2f} | {rate:,.0f} requests/s |",
          flush=True)


def load(port, paths, headers, seconds=5):
    """Requests a second of four connections, by wrk where it is there: Python's own clients are slower than servers."""
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt-get install wrk")
    script = pathlib.Path("/tmp/paths.lua")
    lines = ",".join(json.dumps(path) for path in paths)
    heads = "".join(f"wrk.headers[{json.dumps(k)}]={json.dumps(v)}\n" for k, v in headers.items())
    script.write_text(f"paths={{{lines}}}\nat=0\n{heads}"
                      "request=function() at=at%#paths+1 return wrk.format('GET', paths[at]) end\n")
    said = subprocess.run(["wrk", "-t1", "-c4", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "Non-2xx" not in said, said
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))


def served(index, true, memory):
    command = grouped([RELEASE / "embed-indexer", "serve", index, "--rate", "0"], memory)
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        link = next(line.split()[1] for line in server.stderr if line.startswith("open"))
        port, token = re.search(r":(\d+)/\?token=(\S+)", link).groups()
        connection = http.client.HTTPConnection("127.0.0.1", int(port))
        connection.request("GET", f"/?token={token}")
        reply = connection.getresponse()
        reply.read()
        cookie = {"cookie": reply.getheader("set-cookie").split(";")[0]}
        over_http("HTTP", int(port), lambda row: f"/api/search?like={row}&k={K}", cookie, true["asked"].tolist())
        status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
        memory = {name: int(re.search(rf"{name}:\s+(\d+)", status).group(1)) >> 10 for name in ["RssAnon", "RssFile"]}
        print(f"| | | | | {memory['RssAnon']} MB of its own, {memory['RssFile']} MB mapped; with the page cache "
              f"at most {peak():.2f} GB |", flush=True)
    finally:
        server.terminate()
        server.wait()


def peers(options, table, true, report, place):
    """The same kind of index in one piece, by Python: as it is, and with its candidates compared as ours are."""
    path = place / f"peer-{options.rows}-{options.dims}-{options.kind}.faiss"
    rows = pq.ParquetFile(table)

    def blocks():
        for batch in rows.iter_batches(65_536, columns=["embedding"]):
            yield batch.column(0).flatten().to_numpy().reshape(len(batch), -1)

    if not path.exists():
        begun = time.process_time(), time.monotonic()
        index = faiss.index_factory(options.dims, report["factory"], faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 10
        every = max(1, options.rows // 262_144)
        index.train(np.concatenate([block[::every] for block in blocks()]))
        refined = faiss.IndexRefineFlat(index)
        for block in blocks():
            refined.add(block)
        faiss.write_index(refined, str(path))
        print(f"| faiss-cpu, building | | | | {time.monotonic() - begun[1]:.0f} s, {time.process_time() - begun[0]:.0f} s "
              "of processors |", flush=True)
        del index, refined
    refined = faiss.read_index(str(path))
    index = faiss.downcast_index(refined.base_index)
    index.nprobe, refined.k_factor = report["probes"], report["rerank"]
    for name, own in (("faiss-cpu, the same lists", index), ("faiss-cpu, the same, candidates compared", refined)):
        found, times = [], []
        for query in true["queries"]:
            begun = time.perf_counter()
            found.append(own.search(query[None], K + 1)[1][0])
            times.append((time.perf_counter() - begun) * 1000)
        print(f"| {name} | {recall(found, true):.3f} | {percentile(times, 0.5):.2f} | {percentile(times, 0.99):.2f} | |",
              flush=True)
    del refined, index
    np.save(place / "queries.npy", true["queries"])
    (place / "peer.py").write_text(FASTAPI)
    server = subprocess.Popen([sys.executable, place / "peer.py", path, str(report["probes"]), str(report["rerank"]),
                               place / "queries.npy", "8765"])
    try:
        for _ in range(300):
            try:
                ask(http.client.HTTPConnection("127.0.0.1", 8765), "/search?like=0", {})
                break
            except OSError:
                time.sleep(0.2)
        over_http("FastAPI, candidates compared", 8765, lambda i: f"/search?like={i}&k={K}", {}, list(range(QUERIES)))
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, help="real embeddings, .npy")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--parts", type=int, default=30)
    parser.add_argument("--kind", default="ivf-sq8")
    parser.add_argument("--float", default="float32")
    parser.add_argument("--recall", type=float, default=0.95, help="what `build` is to reach by its own measure")
    parser.add_argument("--memory", type=int, default=4, help="GB of the control group")
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("out/search"))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--steps", default="draw,build,process,serve,peers", help="those to do")
    options = parser.parse_args()
    place = options.keep
    place.mkdir(parents=True, exist_ok=True)
    table = place / f"vectors-{options.rows}-{options.dims}.parquet"
    index = place / f"index-{options.rows}-{options.dims}-{options.kind}-{options.float}"
    steps = options.steps.split(",")
    true = vectors(options, table)
    begun = time.monotonic()
    command = [RELEASE / "embed-indexer", "build", "--embeddings", table, "-o", index, "--kind", options.kind, "--float",
               options.float, "--recall", options.recall, "--neighbours", "0", "--json", "-q"]
    command = [str(word) for word in command]
    if "build" in steps:
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        (place / f"{index.name}.json").write_text(json.dumps(report))
        size = lambda pattern: sum(f.stat().st_size for f in index.glob(pattern)) / 1e9
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2 ** 20
        print(f"{options.rows:,} x {options.dims}: built in {time.monotonic() - begun:.0f} s, {used:.1f} GB resident; "
              f"lists {size('parts/*/index.faiss'):.2f} GB, all {size('**/*.*'):.2f} GB; {report['factory']}, "
              f"{report['probes']} probes, rerank {report['rerank']}; its own measure: recall@10 "
              f"{report['quality']['recall_at_10']:.3f} in {report['quality']['median_ms']:.2f} ms", flush=True)
    report = json.loads((place / f"{index.name}.json").read_text())
    print("| | recall@10 | p50, ms | p99, ms | |\n|---|---|---|---|---|")
    if "process" in steps:
        in_process(index, true, options.memory)
    if "serve" in steps:
        served(index, true, options.memory)
    if "peers" in steps and not options.no_peers:
        peers(options, table, true, report, place)


if __name__ == "__main__":
    main()
