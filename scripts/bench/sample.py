#!/usr/bin/env python3
"""Choosing tiles: speed against other people's code, memory at a million, and what the samples are worth.

    scripts/bench/sample.py speed [--steps 1000]       k-center against numpy, BLAS and small-text
    scripts/bench/sample.py million [--count 1000000]  time and peak memory of `sample` and `dedupe`
    scripts/bench/sample.py classes IMAGES             balance of classes of samples of a skewed mixture
    scripts/bench/sample.py train IMAGES [--epochs 60] retrieval by models trained on such samples

Each prints a Markdown table. IMAGES is a folder of class folders. With `--model` tiles are compared by its embeddings
besides descriptors. `--common CLASS` makes the mixture as skewed as archives are: ten crops of every picture of that
class beside a few pictures of each other. Needs `pip install numpy pillow small-text pyarrow`; small-text may be left
out. It compares all rows with all picks at every step, so what its first steps take, times their number, is a lower
bound of its time.
"""

import argparse
import json
import math
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
METHODS = ["random", "k-center", "stratified", "k-means-balanced", "typical"]


def call(*words: object) -> str:
    words = [str(word) for word in words]
    print("$", " ".join(words), file=sys.stderr)
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def example(name: str) -> pathlib.Path:
    call("cargo", "build", "--quiet", "--release", "--manifest-path", ROOT / "Cargo.toml", "--workspace",
         "--example", name)
    return RELEASE / "examples" / name


# Speed.

def matrices(out: pathlib.Path, some: str):
    """Name and `[N, D]` of each: no structure at all, clusters, and a plane that only looks high-dimensional."""
    import numpy as np

    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape, dtype=np.float32)  # noqa: E731
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    clusters = lambda n, d, k: unit(normal(k, d)[rng.integers(0, k, n)] + 0.3 * normal(n, d))  # noqa: E731
    made = [
        ("sphere, 100,000 × 512", lambda: unit(normal(100_000, 512))),
        ("500 clusters, 100,000 × 512", lambda: clusters(100_000, 512, 500)),
        ("one-hot (worst case), 100,000 × 512", lambda: np.eye(512, dtype=np.float32)[np.arange(100_000) % 512]
            + np.float32(1e-4) * normal(100_000, 512)),
        ("sphere, 1,000,000 × 128", lambda: unit(normal(1_000_000, 128))),
        ("2,000 clusters, 1,000,000 × 128", lambda: clusters(1_000_000, 128, 2000)),
        ("plane, 1,000,000 × 128", lambda: rng.random((1_000_000, 2), dtype=np.float32)
            @ np.linalg.qr(normal(128, 128))[0][:2]),
    ]
    for name, make in made:
        if some not in name:
            continue
        path = out / "matrix.npy"
        np.save(path, np.ascontiguousarray(make(), dtype=np.float32))
        yield name, path


def bandwidth() -> float:
    """Bytes a second that all cores read together, best of five."""
    import numpy as np
    from concurrent.futures import ThreadPoolExecutor

    cores = os.cpu_count() or 1
    blocks = [np.ones(32 << 20, dtype=np.float32) for _ in range(cores)]
    best = 0.0
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(5):
            begun = time.perf_counter()
            list(pool.map(np.max, blocks))
            best = max(best, cores * blocks[0].nbytes / (time.perf_counter() - begun))
    return best


def loop(x, steps: int) -> float:
    import numpy as np

    begun, center, near = time.perf_counter(), 0, np.full(len(x), np.inf, dtype=np.float32)
    for _ in range(steps):
        near = np.minimum(near, ((x - x[center]) ** 2).sum(1))
        center = int(near.argmax())
    return time.perf_counter() - begun


def blas(x, steps: int) -> float:
    import numpy as np

    begun, center, near = time.perf_counter(), 0, np.full(len(x), np.inf, dtype=np.float32)
    squares = np.einsum("ij,ij->i", x, x)
    for _ in range(steps):
        near = np.minimum(near, squares + squares[center] - 2 * (x @ x[center]))
        center = int(near.argmax())
    return time.perf_counter() - begun


def small_text(x, steps: int) -> float | None:
    try:
        import numpy as np
        from small_text.query_strategies.coresets import greedy_coreset
    except ImportError:
        return None
    begun = time.perf_counter()
    greedy_coreset(x, np.arange(1, len(x)), np.array([0]), steps, distance_metric="euclidean", normalized=True)
    return time.perf_counter() - begun


def speed(options) -> None:
    import numpy as np

    program, out = example("kcenter"), pathlib.Path(options.output)
    out.mkdir(parents=True, exist_ok=True)
    limit = bandwidth()
    print(f"{os.cpu_count()} cores read {limit / 1e9:.1f} GB/s. {options.steps} picks; peers extrapolated from "
          f"{options.peer_steps} steps.\n")
    print("| rows | here | numpy loop | numpy with BLAS | small-text | N·d·k·4 at full bandwidth | 100 candidates a step |"
          " their radius |")
    print("|---|---|---|---|---|---|---|---|")
    for name, path in matrices(out, options.rows):
        x = np.load(path)
        scale = options.steps / options.peer_steps
        peers = [f(x, options.peer_steps) for f in (loop, blas, small_text)]
        bound = x.nbytes * options.steps / limit
        del x
        times = [call(program, path, options.steps).split()[:2] for _ in range(options.repeats)]
        here, radius = min(float(t[0]) for t in times), float(times[0][1])
        some = call(program, path, options.steps, 100).split()[:2]
        cells = [f"{p * scale:.0f} s ({p * scale / here:.1f}×)" if p is not None else "–" for p in peers]
        cells[2] = cells[2].replace("(", "(at least ")
        print(f"| {name} | {here:.2f} s | {' | '.join(cells)} | {bound:.1f} s ({bound / here:.1f}×) | "
              f"{float(some[0]):.2f} s | {float(some[1]) / radius:.3f}× |", flush=True)
        path.unlink()


# A million.

def measured(*words: object) -> tuple[float, float]:
    """Seconds and peak megabytes of a program."""
    print("$", " ".join(map(str, words)), file=sys.stderr)
    begun = time.perf_counter()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {status}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def million(options) -> None:
    program, out = example("many_tiles"), pathlib.Path(options.output)
    print("| tiles | command | seconds | peak memory, MB | of it mapped files at most, MB |")
    print("|---|---|---|---|---|")
    for count in [options.count // 10, options.count]:
        tiles, made = out / f"tiles-{count}", out / f"made-{count}"
        if not tiles.exists():
            call(program, tiles, count)
        commands = [("sample", ["-n", "1000"], count * 67 * 4), ("dedupe", ["--list"], 0)]
        for name, words, mapped in commands:
            if name not in options.commands.split(","):
                continue
            shutil.rmtree(made, ignore_errors=True)
            seconds, memory = measured(RELEASE / "data-preprocessor", name, tiles, "-o", made, "-q", *words)
            print(f"| {count:,} | {name} | {seconds:.1f} | {memory:.0f} | {mapped / 2**20:.0f} |", flush=True)
            if name == "dedupe":
                rows = (made / "duplicates.csv").read_text().count("\n") - 1
                print(f"{count:,}: {rows:,} tiles in groups, of {count // 100 * 2:,} that are made so", file=sys.stderr)
            shutil.rmtree(made)


# What samples are worth.

def mixture(images: pathlib.Path, place: pathlib.Path, common: str | None) -> tuple[pathlib.Path, pathlib.Path]:
    """Half of each class for the mixture, of which class i keeps a share that falls to 1/20; the rest to
    measure retrieval on. With a common class all others fall from 15 pictures to 5, and it has ten turned crops of
    each of its pictures."""
    mixed, held = place / "mixture", place / "held-out"
    for folder in (mixed, held):
        shutil.rmtree(folder, ignore_errors=True)
    classes = sorted(p for p in images.iterdir() if p.is_dir())
    random.Random(0).shuffle(classes)
    for i, folder in enumerate(classes):
        files = sorted(p for p in folder.iterdir() if p.is_file())
        random.Random(folder.name).shuffle(files)
        half = len(files) // 2
        keep = max(3, round(half * 20 ** (-i / max(1, len(classes) - 1))))
        if common:
            keep = max(5, round(15 * 3 ** (-i / max(1, len(classes) - 1))))
        for target, some in ((mixed, files[:keep]), (held, files[half:])):
            (target / folder.name).mkdir(parents=True)
            for file in some:
                (target / folder.name / file.name).symlink_to(file.resolve())
        if folder.name == common:
            shutil.rmtree(mixed / common)
            crops(files[:half], mixed / common)
    return mixed, held


def crops(files: list[pathlib.Path], target: pathlib.Path) -> None:
    from PIL import Image

    target.mkdir()
    for number, file in enumerate(files):
        picture, draw = Image.open(file).convert("RGB"), random.Random(number)
        for crop in range(10):
            side = draw.randint(picture.width // 2, picture.width)
            x, y = draw.randint(0, picture.width - side), draw.randint(0, picture.height - side)
            piece = picture.crop((x, y, x + side, y + side)).rotate(90 * draw.randrange(4)).resize(picture.size)
            piece.save(target / f"{file.stem}-{crop}.jpg", quality=92)


def counts(subset: pathlib.Path) -> list[int]:
    """Tiles of each class, from the list of the chosen."""
    import csv

    found: dict[str, int] = {}
    with open(subset / "chosen.csv", newline="") as file:
        for row in csv.DictReader(file):
            name = row["tile_id"].split("/")[-2]
            found[name] = found.get(name, 0) + 1
    return sorted(found.values())


def balance(sizes: list[int], classes: int) -> float:
    total = sum(sizes)
    return -sum(n / total * math.log(n / total) for n in sizes if n) / math.log(classes)


def samples(options, place: pathlib.Path, mixed: pathlib.Path, seeds: list[int]):
    sources = [("descriptors", [])]
    if options.model:
        index = place / "index"
        shutil.rmtree(index, ignore_errors=True)
        call(RELEASE / "embed-indexer", "build", mixed, "--model", options.model, "-o", index, "-q")
        sources.append(("embeddings", ["--embeddings", index]))
    for source, words in sources:
        for method in options.methods.split(","):
            if method == "random" and source == "embeddings":
                continue
            for seed in seeds:
                subset = place / "samples" / f"{source}-{method}-{seed}"
                shutil.rmtree(subset, ignore_errors=True)
                call(RELEASE / "data-preprocessor", "sample", mixed, "-o", subset, "-n", options.size, "--method", method,
                     "--seed", seed, "-q", *words)
                yield source, method, seed, subset


def classes(options) -> None:
    place = pathlib.Path(options.output)
    mixed, _ = mixture(options.images, place, options.common)
    all_sizes = sorted(len(list(folder.iterdir())) for folder in mixed.iterdir())
    k = len(all_sizes)
    print(f"{sum(all_sizes)} pictures of {k} classes, {all_sizes[0]} to {all_sizes[-1]} each, balance "
          f"{balance(all_sizes, k):.3f}; samples of {options.size}, mean of 5 seeds.\n")
    print("| compared by | method | balance of classes | smallest class | classes missed |")
    print("|---|---|---|---|---|")
    table: dict[tuple[str, str], list[list[int]]] = {}
    for source, method, _, subset in samples(options, place, mixed, list(range(5))):
        table.setdefault((source, method), []).append(counts(subset))
    for (source, method), runs in table.items():
        mean = lambda values: sum(values) / len(runs)  # noqa: E731
        print(f"| {source} | {method} | {mean([balance(r, k) for r in runs]):.3f} | "
              f"{mean([r[0] if len(r) == k else 0 for r in runs]):.1f} | {mean([k - len(r) for r in runs]):.1f} |")


def train(options) -> None:
    place = pathlib.Path(options.output)
    mixed, held = mixture(options.images, place, options.common)
    print("| sample | 10-NN accuracy | mAP |")
    print("|---|---|---|")
    for source, method, _, subset in samples(options, place, mixed, [0]):
        if (source == "descriptors") == bool(options.model) and method != "random":
            continue
        model = place / "models" / f"{source}-{method}"
        shutil.rmtree(model, ignore_errors=True)
        call(RELEASE / "ssl-learner", "train", subset, "-o", model, "--epochs", options.epochs, "--batch-size", 64, "-q")
        index = place / "indexes" / f"{source}-{method}"
        shutil.rmtree(index, ignore_errors=True)
        call(RELEASE / "embed-indexer", "build", held, "--model", model, "-o", index, "-q")
        nearest, mean_precision = retrieval(index)
        print(f"| {options.size} by {method} ({source}) | {nearest:.3f} | {mean_precision:.3f} |", flush=True)


def retrieval(index: pathlib.Path) -> tuple[float, float]:
    """Share of pictures whose ten nearest vote for their class, and the mean average precision of the ranking
    of all others by similarity."""
    import numpy as np
    import pyarrow.parquet

    (part,) = (index / "parts").iterdir()
    x = np.load(part / "embeddings.npy")
    ids = pyarrow.parquet.read_table(part / "rows.parquet", columns=["tile_id"])["tile_id"].to_pylist()
    _, labels = np.unique([i.split("/")[-2] for i in ids], return_inverse=True)
    similar = x @ x.T
    np.fill_diagonal(similar, -np.inf)
    order = np.argsort(-similar, axis=1)[:, :-1]
    same = labels[order] == labels[:, None]
    votes = np.array([np.bincount(labels[row[:10]]).argmax() for row in order])
    precision = same.cumsum(1) / np.arange(1, same.shape[1] + 1)
    return float((votes == labels).mean()), float(((precision * same).sum(1) / same.sum(1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default="out/bench/sample")
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("speed")
    part.add_argument("--steps", type=int, default=1000)
    part.add_argument("--peer-steps", type=int, default=20)
    part.add_argument("--repeats", type=int, default=2)
    part.add_argument("--rows", default="", help="only matrices with this in their name")
    part = parts.add_parser("million")
    part.add_argument("--count", type=int, default=1_000_000)
    part.add_argument("--commands", default="sample,dedupe")
    for name in ("classes", "train"):
        part = parts.add_parser(name)
        part.add_argument("images", type=pathlib.Path)
        part.add_argument("--size", default="150")
        part.add_argument("--model", type=pathlib.Path)
        part.add_argument("--common", metavar="CLASS")
        part.add_argument("--methods", default=",".join(METHODS))
    part.add_argument("--epochs", default="60")
    options = parser.parse_args()
    {"speed": speed, "million": million, "classes": classes, "train": train}[options.part](options)


if __name__ == "__main__":
    main()
