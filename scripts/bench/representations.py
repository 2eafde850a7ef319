#!/usr/bin/env python3
"""What representations learnt without labels are worth, beside lightly's of the same budget of CPU seconds.

    scripts/bench/representations.py ../shared/data -o out/bench/ssl --cpu-minutes 16 --python VENV/bin/python
    scripts/bench/representations.py ../shared/data -o out/bench/ssl --parts ours,table      # some of it

Trains on all pictures of `ucmerced` and `aid` below the folder, without their classes: `ours` with ssl-learner's
defaults, `lightly` with `simclr_peer.py` (PyTorch, lightly's transform, its recipe; `peer-ours`: with our optimiser
and temperature). Then `ssl-learner evaluate` measures all of them, random weights and channel statistics on both
sets. Ours stops after whole epochs: their number is found from the speed of the first one. --python needs
`pip install torch==2.11.0 torchvision lightly safetensors`; --weights adds a row of imported weights (ResNet-18).
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEARNER = ROOT / "target" / "release" / "ssl-learner"


def call(*words: object) -> tuple[str, float]:
    """What it prints, and the CPU seconds it took."""
    words = [str(word) for word in words]
    print("$", " ".join(words), file=sys.stderr)
    before = os.times()
    text = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = os.times()
    return text, sum(after[i] - before[i] for i in (2, 3))


def ours(options: argparse.Namespace, images: pathlib.Path) -> dict:
    model = options.output / "ours"
    if options.epochs is None:
        probe = options.output / "probe"
        shutil.rmtree(probe, ignore_errors=True)
        base = ["train", images, "-o", probe, "--input-size", options.size, "--epochs", 1, *options.flags]
        seconds = call(LEARNER, *base)[1]
        options.epochs = max(1, round(options.cpu_minutes * 60 / seconds))
    shutil.rmtree(model, ignore_errors=True)
    words = ["train", images, "-o", model, "--input-size", options.size, "--epochs", options.epochs, "--json", *options.flags]
    text, seconds = call(LEARNER, *words)
    report = json.loads(text)
    return {"images": report["steps"] * 128, "cpu_seconds": seconds, "model": str(model)}


def peer(options: argparse.Namespace, images: pathlib.Path, recipe: str) -> dict:
    model = options.output / recipe
    shutil.rmtree(model, ignore_errors=True)
    words = [options.python, ROOT / "scripts/bench/simclr_peer.py", "train", images, "-o", model, "--size", options.size,
             "--cpu-minutes", options.cpu_minutes, "--recipe", "lightly" if recipe == "lightly" else "ours"]
    text, _ = call(*words)
    return json.loads(text.splitlines()[-1]) | {"model": str(model)}


def table(options: argparse.Namespace, trained: dict) -> None:
    models = [(name, trained[name]["model"]) for name in ("ours", "lightly", "peer-ours") if name in trained]
    if options.weights:
        imported = options.output / "imported"
        call(LEARNER, "import", options.weights, "--arch", "resnet18", "--input-size", options.size, "-o", imported)
        models.append(("imported weights", str(imported)))
    for name, result in trained.items():
        print(f"{name}: {result['images']:,} pictures seen in {result['cpu_seconds']:.0f} CPU seconds")
    print("\n| | " + " | ".join(f"{s} 20-NN | probe | mAP | P@10" for s in ("UC Merced", "AID")) + " |\n" + "|---" * 9 + "|")
    rows: dict[str, list] = {}
    for folder in ("ucmerced", "aid"):
        words = [LEARNER, "evaluate", options.data / folder, "-o", options.output / folder, "--json"]
        for _, path in models:
            words += ["--model", path]
        report = json.loads(call(*words)[0])
        names = [name for name, _ in models] + ["random weights", "channel statistics"]
        for name, row in zip(names, report["representations"]):
            cells = rows.setdefault(name, [])
            for measure in ("knn", "probe", "map", "precision_at_10"):
                value = row[measure]
                cells.append(f"{value['value']:.3f} ± {(value['high'] - value['low']) / 2:.3f}")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--cpu-minutes", type=float, default=16)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--parts", default="ours,lightly,table")
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--flags", type=str.split, default=[], help="more flags of `ssl-learner train`")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    images = options.output / "unlabelled"
    if not images.is_dir():
        for folder in ("ucmerced", "aid"):
            shutil.copytree(options.data / folder, images / folder)
    results = options.output / "trained.json"
    trained = json.loads(results.read_text()) if results.is_file() else {}
    for part in options.parts.split(","):
        if part == "ours":
            trained["ours"] = ours(options, images)
        elif part in ("lightly", "peer-ours"):
            trained[part] = peer(options, images, part)
        results.write_text(json.dumps(trained))
    if "table" in options.parts.split(","):
        table(options, trained)


if __name__ == "__main__":
    begun = time.time()
    main()
    print(f"{time.time() - begun:.0f} s", file=sys.stderr)
