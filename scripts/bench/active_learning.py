#!/usr/bin/env python3
"""Labels needed with active learning, random order and nearest-neighbour order, on class folders.

    scripts/bench/active_learning.py IMAGES -o out/bench [--minutes 10] [--classes a,b,…] [--seeds 0,1,2]

Trains one representation, builds one index, then simulates each class as the target from each seed's
reference image, answered from the class folders. Prints a Markdown table: mean over the seeds of the
positives found and of the precision of what the classifier predicts, at several numbers of labels.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

STRATEGIES = ["auto", "neighbours", "random"]
LABELS = [50, 100, 200, 400]


def run(*command: object) -> str:
    words = [str(word) for word in command]
    print("$", " ".join(words), file=sys.stderr)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"failed with {done.returncode}: {' '.join(words)}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("out/bench"))
    parser.add_argument("--minutes", default="10")
    parser.add_argument("--classes", default="airplane,beach,denseresidential,harbor,river")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    options = parser.parse_args()
    programs = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
    out, images = options.output, options.images
    run(programs / "ssl-learner", "train", images, "-o", out / "model", "--max-minutes", options.minutes)
    run(programs / "embed-indexer", "build", images, "--model", out / "model", "-o", out / "index")
    strategies = options.strategies.split(",")
    print("| class | strategy | " + " | ".join(f"{n} labels" for n in LABELS) + " |")
    print("|---|---|" + "---|" * len(LABELS))
    totals = {strategy: [] for strategy in strategies}
    for name in options.classes.split(","):
        pictures = sorted(p for p in images.rglob("*") if p.parent.name == name and p.is_file())
        if not pictures:
            sys.exit(f"no class folder {name} in {images}")
        for strategy in strategies:
            curves = []
            for seed in map(int, options.seeds.split(",")):
                reference = random.Random(seed).choice(pictures)
                place = out / "runs" / f"{name}-{strategy}-{seed}"
                report = run(
                    programs / "active-labeler", "simulate", out / "index", "--reference", reference,
                    "--truth", "folders", "--class", name, "--labels", place / "labels",
                    "-o", place / "curated", "--strategy", strategy, "--seed", seed,
                    "--budget", max(LABELS), "--json", "-q",
                )
                curve = {point["labels"]: point for point in json.loads(report)["curve"]}
                curves.append([curve[n] for n in LABELS])
            totals[strategy].extend(curves)
            print(f"| {name} | {strategy} | {row(curves)} |", flush=True)
    for strategy in strategies:
        print(f"| **all** | **{strategy}** | {row(totals[strategy])} |")


def row(curves: list[list[dict]]) -> str:
    def mean(index: int, key: str) -> float:
        return sum(curve[index][key] for curve in curves) / len(curves)

    return " | ".join(
        f"{mean(i, 'positives_found'):.1f} · {mean(i, 'precision'):.2f}" for i in range(len(LABELS))
    )


if __name__ == "__main__":
    main()
