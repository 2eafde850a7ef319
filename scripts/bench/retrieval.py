#!/usr/bin/env python3
"""How well an index retrieves: pictures of a class, and scenes by a part of them.

    scripts/bench/retrieval.py --model MODEL classes ../shared/data/ucmerced ../shared/data/aid
    scripts/bench/retrieval.py --model MODEL scenes ../shared/data/ucmerced

*classes*: mean average precision and precision at 10, every picture a query against all others, by cosines of the index's own
embeddings. *scenes*: scenes of 4×4 pictures of any class, and queries of 2×2 other pictures of the classes of a part of one
scene. Sought is that scene: image-based, scenes and query embedded whole; tile-based, `embed-indexer search --scenes`
on tiles of one picture each.

Needs numpy, pyarrow and pillow.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

RELEASE = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
SIDE, ACROSS = 128, 4


def program(name, *words):
    command = [RELEASE / name, *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def classes(options):
    print("| pictures | embedded in s | mAP | precision@10 | by chance |\n|---|---|---|---|---|")
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as place:
            index = pathlib.Path(place) / "index"
            begun = time.monotonic()
            rows = json.loads(program("embed-indexer", "build", folder, "--model", options.model, "-o", index,
                                      "--neighbours", "0", "--json", "-q"))["rows"]
            spent = time.monotonic() - begun
            x = np.load(index / "parts/all/embeddings.npy")
            labels = pq.read_table(index / "parts/all/rows.parquet", columns=["class"])["class"].to_pylist()
            labels = np.array(labels)
            precisions, tens, chance = [], [], []
            for row in range(len(x)):
                order = np.argsort(-(x @ x[row]), kind="stable")
                same = (labels[order] == labels[row])[order != row]
                precisions.append((np.cumsum(same)[same] / (np.flatnonzero(same) + 1)).mean())
                tens.append(same[:10].mean())
                chance.append(same.mean())
            print(f"| {pathlib.Path(folder).name}, {rows:,} | {spent:.1f} | {np.mean(precisions):.3f} | "
                  f"{np.mean(tens):.3f} | {np.mean(chance):.3f} |", flush=True)


def mosaic(pictures, path):
    """Rows of pictures as one."""
    sheet = Image.new("RGB", (SIDE * len(pictures[0]), SIDE * len(pictures)))
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            with Image.open(picture) as image:
                sheet.paste(image.convert("RGB").resize((SIDE, SIDE), Image.LANCZOS), (x * SIDE, y * SIDE))
    sheet.save(path)


def scenes(options):
    draw = random.Random(0)
    pictures = {}
    for path in sorted(p for p in pathlib.Path(options.folders[0]).rglob("*") if p.is_file()):
        pictures.setdefault(path.parent.name, []).append(path)
    shown = {name: files[:len(files) * 7 // 10] for name, files in pictures.items()}
    asked = {name: files[len(files) * 7 // 10:] for name, files in pictures.items()}
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        for name in ("scenes", "queries"):
            (place / name).mkdir()
        layouts = [[[draw.choice(list(pictures)) for _ in range(ACROSS)] for _ in range(ACROSS)]
                   for _ in range(options.scenes)]
        for number, layout in enumerate(layouts):
            mosaic([[draw.choice(shown[name]) for name in row] for row in layout], place / f"scenes/{number:04}.png")
        sought = draw.sample(range(options.scenes), options.queries)
        for number in sought:
            x, y = draw.randrange(ACROSS - 1), draw.randrange(ACROSS - 1)
            part = [layouts[number][y + dy][x:x + 2] for dy in (0, 1)]
            mosaic([[draw.choice(asked[name]) for name in row] for row in part], place / f"queries/{number:04}.png")
        program("data-preprocessor", "tile", place / "scenes", "-o", place / "tiles", "--size", SIDE, "--overlap", 0, "-q")
        for source, index in (("tiles", "by-tile"), ("scenes", "whole")):
            program("embed-indexer", "build", place / source, "--model", options.model, "-o", place / index, "-q")
        print("| | first | among the first 10 | mean reciprocal rank |\n|---|---|---|---|")
        for name, index, flags in (("image-based", "whole", []), ("tile-based", "by-tile", ["--scenes", "--patch", SIDE])):
            ranks = []
            for number in sought:
                query = place / f"queries/{number:04}.png"
                found = json.loads(program("embed-indexer", "search", place / index, query, "-k", options.scenes,
                                           "--json", "-q", *flags))
                answers = found.get("scenes") or found["hits"]
                ids = [str(answer.get("scene") or answer["tile_id"]) for answer in answers]
                ranks.append(next((rank for rank, own in enumerate(ids, 1) if f"{number:04}" in own), 10 ** 9))
            ranks = np.array(ranks)
            print(f"| {name} | {(ranks == 1).mean():.3f} | {(ranks <= 10).mean():.3f} | {(1 / ranks).mean():.3f} |",
                  flush=True)
        print(f"\nby chance {10 / options.scenes:.3f} among the first 10")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["classes", "scenes"])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    (classes if options.what == "classes" else scenes)(options)


if __name__ == "__main__":
    main()
