#!/usr/bin/env python3
"""Makes maps of an index, beside umap-learn's of the same neighbours.

    scripts/bench/map.py --like REAL.npy [--rows 0,100000,1000000] [--dims 128] [--peers seeded,threads]

REAL.npy are real embeddings, such as `embeddings.npy` of an index. 0 rows are those themselves; other numbers are
drawn like them, as `search.py` draws. The index is built before the clock starts, with its neighbours up to 200,000 rows; beyond, `map` finds them itself, and
the peers get those of FAISS's lists (4·√N of them, 8 visited), found before their clock starts. Both start from the
two directions of largest variance.

Trustworthiness (15 near ones) is scikit-learn's, among 5,000 rows evenly taken. Memory is the largest resident set of
the whole process, mapped files included. Needs numpy, faiss-cpu, umap-learn and scikit-learn in the python that runs it.
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

import faiss
import numpy as np

import search

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "embed-indexer"
KEPT_UP_TO = 200_000
K = 15
PEER = """
import sys, time, json, resource, warnings
warnings.filterwarnings("ignore")
import numpy as np, umap
place, way = sys.argv[1:]
x, rows, distances = (np.load(f"{place}/{name}.npy") for name in ("x", "near", "distances"))
# Compiled before the clock starts.
umap.UMAP(n_neighbors=15, init="pca", n_epochs=2, random_state=1 if way == "seeded" else None).fit(x[:2000])
begun = time.time()
model = umap.UMAP(n_neighbors=15, init="pca", metric="cosine", random_state=1 if way == "seeded" else None,
                  precomputed_knn=(rows, distances, None), force_approximation_algorithm=True)
places = model.fit_transform(x)
print(json.dumps({"seconds": time.time() - begun, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
np.save(f"{place}/{way}.npy", places)
"""


def neighbours(x, index):
    kept = index / "neighbours.npy"
    if kept.exists():
        near = np.load(kept)[:, :K - 1]
    else:
        lists = int(4 * len(x) ** 0.5)
        found = faiss.index_factory(x.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        found.train(x[:: max(1, len(x) // (64 * lists))])
        found.add(x)
        found.nprobe = 8
        near = found.search(x, K)[1]
        own = np.arange(len(x))[:, None]
        # Itself is left out, or the last one where it was not found.
        drop = np.where((near == own).any(1), (near == own).argmax(1), K - 1)
        near = np.delete(near.ravel(), np.arange(len(x)) * K + drop).reshape(len(x), K - 1)
    distances = np.empty(near.shape, "f4")
    for start in range(0, len(x), 10_000):
        block = slice(start, start + 10_000)
        distances[block] = 1 - np.einsum("nd,nkd->nk", x[block], x[near[block]])
    own = np.arange(len(x), dtype=near.dtype)[:, None]
    return np.hstack([own, near]), np.hstack([np.zeros((len(x), 1), "f4"), np.maximum(distances, 0)])


def trust(x, places):
    from sklearn.manifold import trustworthiness
    some = np.arange(min(5000, len(x))) * len(x) // min(5000, len(x))
    return trustworthiness(x[some], places[some], n_neighbors=K, metric="cosine")


def ours(index, place, rows):
    words = [PROGRAM, "map", index, "-o", place / "map", "--json", "--thumbnails", "0"]
    shutil.rmtree(place / "map", ignore_errors=True)
    begun = time.time()
    pid = os.posix_spawn(words[0], list(map(str, words)), os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, place / "report.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)])
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, status
    seconds = time.time() - begun
    import pyarrow.parquet as pq
    table = pq.read_table(place / "map" / "points.parquet")
    places = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], 1)
    page = (place / "map" / "index.html").stat().st_size / 1e6
    return seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, page, places


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--like", required=True)
    arguments.add_argument("--rows", default="0,100000")
    arguments.add_argument("--dims", type=int, default=128)
    arguments.add_argument("--peers", default="seeded,threads")
    arguments.add_argument("--keep", help="folder for vectors and indexes, used again when it has them")
    a = arguments.parse_args()
    likeness = search.Likeness(a.like, a.dims)
    real = likeness.real
    print(f"{'rows':>9} {'by':>20} {'seconds':>8} {'MB':>6} {'trustworthiness':>16} {'page MB':>8}")
    for rows in map(int, a.rows.split(",")):
        place = pathlib.Path(a.keep or tempfile.mkdtemp()) / str(rows)
        place.mkdir(parents=True, exist_ok=True)
        index = place / "index"
        if not (index / "manifest.json").exists():
            np.save(place / "x.npy", likeness.draw(rows, np.random.default_rng(1)) if rows else real)
            subprocess.run([PROGRAM, "build", "--embeddings", place / "x.npy", "-o", index, "-q", "--neighbours",
                            str(32 if (rows or len(real)) <= KEPT_UP_TO else 0)], check=True)
        x = np.load(place / "x.npy")
        seconds, mb, cpu, page, places = ours(index, place, len(x))
        print(f"{len(x):>9,} {'embed-indexer map':>20} {seconds:>8.1f} {mb:>6.0f} {trust(x, places):>16.3f} {page:>8.1f}   {cpu:.0f} s of CPU", flush=True)
        for peer in filter(None, a.peers.split(",")):
            if not (place / "near.npy").exists():
                for name, values in zip(("near", "distances"), neighbours(x, index)):
                    np.save(place / f"{name}.npy", values)
            done = subprocess.run([sys.executable, "-c", PEER, place, peer], stdout=subprocess.PIPE, text=True, check=True)
            report = json.loads(done.stdout.splitlines()[-1])
            name = f"umap-learn, {peer}"
            print(f"{len(x):>9,} {name:>20} {report['seconds']:>8.1f} {report['mb']:>6.0f} {trust(x, np.load(place / f'{peer}.npy')):>16.3f}", flush=True)


if __name__ == "__main__":
    main()
