#!/usr/bin/env python3
"""Labels needed: every class of a set of class folders in turn as the target, one starter picture, several seeds.

    scripts/bench/active_learning.py compare IMAGES --model model/ -o out/bench [--kinds ssl,random,statistics]
    scripts/bench/active_learning.py peers out/bench [--kinds ssl]
    scripts/bench/active_learning.py classes out/bench/ssl
    scripts/bench/active_learning.py scale --like out/bench/index [--sizes 10000x512,1000000x512]
    scripts/bench/active_learning.py rare out/bench [--rarity 1000,10000]

`compare` builds one index and simulates all strategies on three kinds of embeddings: those of the model, those of
the same architecture with random weights, and channel statistics. `peers` gives the same starters, embeddings and
batches to modAL and scikit-activeml around scikit-learn's logistic regression. Rows that need pretrained weights
(ImageNet) are run when a model made of them is given as `--model`.

Needs numpy, pillow, for `peers` scikit-learn, modAL-python and scikit-activeml, for `scale` and `rare` pyarrow.
"""

import argparse
import collections
import csv
import json
import math
import pathlib
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "target" / "release"
LABELS = [50, 100, 200, 400]
MASK = (1 << 64) - 1


def run(*command: object) -> str:
    words = [str(word) for word in command]
    print("$", " ".join(words), file=sys.stderr)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"failed with {done.returncode}: {' '.join(words)}")
    return done.stdout


def mix(seed: int, *items: int) -> int:
    """As `curator_core::seed::mix`: the starters are those of `simulate`."""

    def finalize(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return x ^ (x >> 31)

    state = finalize(seed)
    for item in items:
        state = finalize(state ^ ((item + 0x9E3779B97F4A7C15) & MASK))
    return state


def random_model(model: pathlib.Path, to: pathlib.Path) -> None:
    """The same architecture with He's random weights; normalisation layers as they begin."""
    to.mkdir(parents=True, exist_ok=True)
    shutil.copy(model / "config.json", to)
    data = (model / "encoder.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    head, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    generator = np.random.default_rng(0)
    for name, tensor in head.items():
        if name == "__metadata__" or tensor["dtype"] != "F32":
            continue
        shape, (begin, end) = tensor["shape"], tensor["data_offsets"]
        if len(shape) > 1:
            values = generator.normal(0, math.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            values = np.ones(shape) if name.endswith(("weight", "running_var")) else np.zeros(shape)
        body[begin:end] = values.astype("<f4").tobytes()
    (to / "encoder.safetensors").write_bytes(data[: 8 + length] + bytes(body))
    files = [{"path": name, "rows": 0, "digest": ""} for name in ("encoder.safetensors", "config.json")]
    manifest = json.loads((model / "manifest.json").read_text())
    (to / "manifest.json").write_text(json.dumps({**manifest, "parts": files}))


def channel_statistics(images: pathlib.Path, ids: list[str]) -> np.ndarray:
    """Mean, deviation and five quantiles of each band, scaled."""
    from PIL import Image

    rows = []
    for name in ids:
        bands = np.asarray(Image.open(images / name).convert("RGB").resize((64, 64)), dtype=np.float32).reshape(-1, 3)
        quantiles = np.quantile(bands, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        rows.append(np.concatenate([bands.mean(0), bands.std(0), quantiles.ravel()]))
    x = np.array(rows)
    x = (x - x.mean(0)) / x.std(0)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("<f4")


def ids_of(index: pathlib.Path, images: pathlib.Path) -> list[str]:
    """The index lists a folder's pictures by their paths, sorted."""
    endings = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}
    ids = sorted(str(p.relative_to(images)) for p in images.rglob("*") if p.suffix.lower() in endings)
    rows = sum(part["rows"] for part in json.loads((index / "manifest.json").read_text())["parts"]
               if part["path"].endswith("rows.parquet"))
    assert rows == len(ids), f"{rows} rows, {len(ids)} pictures"
    return ids


def compare(options: argparse.Namespace) -> None:
    out, images = options.output, options.images
    index = out / "index"
    run(PROGRAMS / "embed-indexer", "build", images, "--model", options.model, "-o", index, "-q")
    ids = ids_of(index, images)
    (out / "classes.txt").write_text("\n".join(pathlib.Path(name).parent.name for name in ids))
    for kind in options.kinds.split(","):
        numbers = out / f"{kind}.npy"
        if kind == "ssl":
            parts = sorted((index / "parts").glob("*/embeddings.npy"))
            np.save(numbers, np.concatenate([np.load(part) for part in parts]))
        elif kind == "random" and not numbers.exists():
            random_model(options.model, out / "random-model")
            run(PROGRAMS / "embed-indexer", "build", images, "--model", out / "random-model", "-o", out / "random-index",
                "-q")
            parts = sorted((out / "random-index" / "parts").glob("*/embeddings.npy"))
            np.save(numbers, np.concatenate([np.load(part) for part in parts]))
        elif kind == "statistics" and not numbers.exists():
            np.save(numbers, channel_statistics(images, ids))
        elif kind == "both":
            # The model's embeddings and the statistics side by side.
            both = [np.load(out / "ssl.npy"), 0.3 * np.load(out / "statistics.npy")]
            np.save(numbers, np.concatenate(both, axis=1).astype("<f4"))
        begun, used = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        given = [] if kind == "ssl" else ["--embeddings", numbers]
        print(f"\n**{images.name}, {kind}**\n")
        print(run(PROGRAMS / "active-labeler", "simulate", index, "--truth", "folders", "--classes", "all",
                  "--strategies", options.strategies, "--seeds", options.seeds, "-o", out / kind, "-q", *given))
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        print(f"{time.time() - begun:.0f} s, {cpu:.0f} CPU seconds", flush=True)


def peers(options: argparse.Namespace) -> None:
    """Peers ask in batches of ten, after the starter and pictures at random until one is negative."""
    import warnings

    from modAL.batch import uncertainty_batch_sampling
    from modAL.models import ActiveLearner
    from modAL.uncertainty import entropy_sampling, margin_sampling
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import Badge, ProbCover, TypiClust, UncertaintySampling
    from sklearn.linear_model import LogisticRegression

    warnings.filterwarnings("ignore")
    classes = (options.place / "classes.txt").read_text().split("\n")

    def model() -> LogisticRegression:
        return LogisticRegression(class_weight="balanced", C=options.c, max_iter=1000)

    def top(learner, pool):
        return np.argsort(-learner.predict_proba(pool)[:, 1], kind="stable")[:10]

    def picked_by(sampling):
        # Newer versions return the scores too.
        def pick(learner, pool):
            answer = sampling(learner, pool, n_instances=10)
            return np.asarray(answer[0] if isinstance(answer, tuple) else answer)

        return pick

    modal = {
        "modAL margin": picked_by(margin_sampling),
        "modAL entropy": picked_by(entropy_sampling),
        "modAL ranked batch": picked_by(uncertainty_batch_sampling),
        "scikit-learn most probable": top,
    }
    skactive = {
        "scikit-activeml margin": lambda seed: UncertaintySampling(method="margin_sampling", random_state=seed),
        "scikit-activeml TypiClust": lambda seed: TypiClust(random_state=seed),
        "scikit-activeml ProbCover": lambda seed: ProbCover(random_state=seed),
        "scikit-activeml BADGE": lambda seed: Badge(random_state=seed),
    }
    wanted = options.peers.split(",") if options.peers else [*modal, *skactive]
    for kind in options.kinds.split(","):
        x = np.load(options.place / f"{kind}.npy").astype(np.float64)
        budget = -(-len(x) // 3)
        print(f"\n**{options.place.name}, {kind}**\n\n| peer | labels a positive to 90 %, mean | median class | recall "
              "after 50 / 100 / 200 / 400 labels |\n|---|---|---|---|")
        for peer in wanted:
            found, needs = [], collections.defaultdict(list)
            begun = time.process_time()
            for name in sorted(set(classes)):
                y = np.array([c == name for c in classes])
                positives = np.flatnonzero(y)
                for seed in range(options.seeds):
                    starter = int(positives[mix(seed, 0x7374, len(positives)) % len(positives)])
                    order = [starter]
                    generator = np.random.default_rng(seed)
                    while y[order].all():
                        order.append(int(generator.choice(np.setdiff1d(np.arange(len(y)), order))))
                    needed = math.ceil(0.9 * len(positives))
                    while y[order].sum() < needed and len(order) < budget:
                        rest = np.setdiff1d(np.arange(len(y)), order)
                        if peer in modal:
                            learner = ActiveLearner(model(), X_training=x[order], y_training=y[order].astype(int))
                            picked = rest[modal[peer](learner, x[rest])]
                        else:
                            labels = np.full(len(y), np.nan)
                            labels[order] = y[order]
                            query = skactive[peer](seed)
                            given = {}
                            if isinstance(query, (UncertaintySampling, Badge)):
                                given = {"clf": SklearnClassifier(model(), classes=[0, 1])}
                            picked = query.query(x, labels, batch_size=10, **given)
                        order += [int(i) for i in picked]
                    hits = np.cumsum(y[order])
                    reached = np.searchsorted(hits, needed) + 1 if hits[-1] >= needed else budget
                    needs[name].append(reached / len(positives))
                    found.append([hits[min(n, len(hits)) - 1] / len(positives) for n in LABELS])
            means = [statistics.mean(each) for each in needs.values()]
            recall = " / ".join(f"{r:.2f}" for r in np.mean(found, axis=0))
            print(f"| {peer} | {statistics.mean(means):.2f} | {statistics.median(means):.2f} | {recall} |"
                  f" {time.process_time() - begun:.0f} CPU s", flush=True)


def classes(options: argparse.Namespace) -> None:
    """Each class: what `auto` needs, nearest-neighbour order, and the best other strategy."""
    needs = collections.defaultdict(lambda: collections.defaultdict(list))
    rows = list(csv.DictReader((options.place / "runs.csv").open()))
    budget = max(int(row["labels"]) for row in rows)
    for row in rows:
        labels = int(row["labels_to_90"] or budget)
        needs[row["class"]][row["strategy"]].append(labels / int(row["positives"]))
    print("| class | auto | neighbours | best single strategy | auto to best |\n|---|---|---|---|---|")
    worse = []
    for name, own in sorted(needs.items()):
        mean = {strategy: statistics.mean(values) for strategy, values in own.items()}
        best = min((s for s in mean if s != "auto"), key=lambda s: mean[s])
        ratio = mean["auto"] / mean[best]
        print(f"| {name} | {mean['auto']:.2f} | {mean.get('neighbours', math.nan):.2f} | {best} {mean[best]:.2f} | "
              f"{ratio:.2f} |")
        if ratio > 1.05:
            worse.append(name)
    print(f"\nmore than 5 % above the best single strategy: {', '.join(worse) or 'none'}")


def write_index(place: pathlib.Path, like: pathlib.Path, names: list[str], numbers: np.ndarray, neighbours=None) -> None:
    """An index of made-up pictures, with the columns of an index that is there."""
    import pyarrow
    import pyarrow.parquet

    part = place / "parts" / "all"
    part.mkdir(parents=True, exist_ok=True)
    rows = pyarrow.parquet.read_table(next((like / "parts").glob("*/rows.parquet"))).slice(0, 1)
    many = rows.take(pyarrow.array(np.zeros(len(names), dtype=np.int64)))
    many = many.set_column(many.schema.get_field_index("tile_id"), many.schema.field("tile_id"),
                           pyarrow.array(names, many.schema.field("tile_id").type))
    pyarrow.parquet.write_table(many, part / "rows.parquet", row_group_size=65536, compression="zstd")
    np.save(part / "embeddings.npy", numbers)
    if neighbours is not None:
        np.save(place / "neighbours.npy", neighbours)
    manifest = json.loads((like / "manifest.json").read_text())
    root = manifest["config"]["tiles_root"]
    manifest["config"]["tiles_root"] = str((like / root).resolve())
    manifest["parts"] = [{"path": "parts/all/rows.parquet", "rows": len(names), "digest": ""}]
    (place / "manifest.json").write_text(json.dumps(manifest))


def simulate(
    index: pathlib.Path, truth: pathlib.Path, out: pathlib.Path, *flags: object, seeds: int = 1
) -> tuple[float, float, float]:
    """Seconds, CPU seconds and megabytes."""
    begun, used = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["/usr/bin/env", "time", "-f", "%M", PROGRAMS / "active-labeler", "simulate", index, "--truth", truth,
             "--classes", "positive", "--seeds", seeds, "-o", out, "-q", *flags]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return time.time() - begun, cpu, int(done.stderr.split()[-1]) / 1024


def scale(options: argparse.Namespace) -> None:
    """Seconds a round of 10 labels, from two budgets, so that opening does not count; made-up embeddings."""
    print("| rows × numbers | strategy | opened in | seconds a round | CPU seconds a round | memory |\n|---|---|---|---|---|---|")
    for size in options.sizes.split(","):
        rows, dim = map(int, size.split("x"))
        place = options.output / size
        if not (place / "manifest.json").exists():
            generator = np.random.default_rng(0)
            centers = generator.normal(size=(1000, dim)).astype("<f4")
            numbers = np.lib.format.open_memmap("/tmp/scale.npy", "w+", "<f4", (rows, dim))
            for begin in range(0, rows, 100_000):
                end = min(begin + 100_000, rows)
                block = centers[np.arange(begin, end) % 1000] + generator.normal(size=(end - begin, dim), scale=1.5)
                numbers[begin:end] = block / np.linalg.norm(block, axis=1, keepdims=True)
            near = generator.integers(0, rows, (rows, 32), dtype=np.int32)
            names = [f"{i:08}.jpg" for i in range(rows)]
            write_index(place, options.like, names, numbers, near)
            pathlib.Path("/tmp/scale.npy").unlink()
            with (place / "truth.csv").open("w") as file:
                file.write("tile_id,label\n")
                file.writelines(f"{name},{'positive' if i % 1000 == 7 else 'negative'}\n" for i, name in enumerate(names))
        for strategy in options.strategies.split(","):
            flags = ["--strategies", strategy]
            short = simulate(place, place / "truth.csv", place / "o", *flags, "--budget", 50)
            long = simulate(place, place / "truth.csv", place / "o", *flags, "--budget", 250)
            print(f"| {rows:,} × {dim} | {strategy} | {short[0] - (long[0] - short[0]) / 4:.1f} s | "
                  f"{(long[0] - short[0]) / 20:.3f} | {(long[1] - short[1]) / 20:.3f} | {long[2]:.0f} MB |", flush=True)


def rare(options: argparse.Namespace) -> None:
    """Every class in turn made rare: the others many times, each copy a little different."""
    x = np.load(options.place / "ssl.npy")
    classes = np.array((options.place / "classes.txt").read_text().split("\n"))
    wanted = options.classes.split(",") if options.classes else sorted(set(classes))
    print("| one in | rows | positives | strategy | found after 50 / 100 / 200 labels |\n|---|---|---|---|---|")
    for rarity in map(int, options.rarity.split(",")):
        found = collections.defaultdict(list)
        count = options.rows // rarity
        for name in wanted:
            generator = np.random.default_rng(0)
            own, others = np.flatnonzero(classes == name)[:count], np.flatnonzero(classes != name)
            drawn = generator.choice(others, options.rows - len(own))
            noise = generator.normal(size=(len(drawn), x.shape[1])) * options.noise / math.sqrt(x.shape[1])
            many = np.concatenate([x[own], x[drawn] + noise]).astype("<f4")
            many /= np.linalg.norm(many, axis=1, keepdims=True)
            place = options.place / "rare"
            write_index(place, options.place / "index", [f"{i:07}.jpg" for i in range(len(many))], many)
            with (place / "truth.csv").open("w") as file:
                file.write("tile_id,label\n")
                file.writelines(f"{i:07}.jpg,{'positive' if i < len(own) else 'negative'}\n" for i in range(len(many)))
            simulate(place, place / "truth.csv", place / "o", "--strategies", "auto,neighbours,margin", "--budget", 200,
                     seeds=2)
            for row in csv.DictReader((place / "o" / "curves.csv").open()):
                if int(row["labels"]) in (50, 100, 200):
                    found[row["strategy"], int(row["labels"])].append(int(row["positives_found"]))
        for strategy in ("auto", "margin", "neighbours"):
            numbers = [f"{statistics.mean(found[strategy, n]):.1f}" for n in (50, 100, 200)]
            print(f"| {rarity:,} | {options.rows:,} | {count} | {strategy} | {' / '.join(numbers)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("compare")
    one.add_argument("images", type=pathlib.Path)
    one.add_argument("--model", type=pathlib.Path, required=True)
    one.add_argument("-o", "--output", type=pathlib.Path, required=True)
    one.add_argument("--kinds", default="ssl,random,statistics")
    one.add_argument("--strategies", default="all")
    one.add_argument("--seeds", type=int, default=3)
    one.set_defaults(work=compare)
    one = commands.add_parser("peers")
    one.add_argument("place", type=pathlib.Path)
    one.add_argument("--kinds", default="ssl")
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--peers", default="")
    one.add_argument("-c", type=float, default=1.0, help="inverse regularisation strength")
    one.set_defaults(work=peers)
    one = commands.add_parser("classes")
    one.add_argument("place", type=pathlib.Path)
    one.set_defaults(work=classes)
    one = commands.add_parser("scale")
    one.add_argument("--sizes", default="10000x512,1000000x512,5000000x64")
    one.add_argument("--strategies", default="auto,margin,badge")
    one.add_argument("--like", type=pathlib.Path, required=True, help="an index, for the columns of its rows")
    one.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("out/scale"))
    one.set_defaults(work=scale)
    one = commands.add_parser("rare")
    one.add_argument("place", type=pathlib.Path)
    one.add_argument("--rarity", default="1000,10000")
    one.add_argument("--rows", type=int, default=100_000)
    one.add_argument("--noise", type=float, default=0.3)
    one.add_argument("--classes", default="")
    one.set_defaults(work=rare)
    options = parser.parse_args()
    options.work(options)


if __name__ == "__main__":
    main()
