#!/usr/bin/env python3
"""Gaps: how well they are found over dark water, and what filling them is worth.

    pip install numpy pillow pyarrow
    scripts/bench/gaps.py masks                                  IoU of the mask after JPEG, by shape and quality
    scripts/bench/gaps.py retrieval ../shared/data/ucmerced --model model/
    scripts/bench/gaps.py retrieval ../shared/data/ucmerced --epochs 40

`retrieval` is the experiment of Chen et al. 2021 (arXiv 2106.07113): half of the pictures get gaps, random polygons
that cover a share of each, which `data-preprocessor tile --fill` fills. All are embedded, and every picture looks for
those of its class among all others. A model may be given; with `--epochs` one is trained without labels for every
filler, on the pictures that it filled. Each prints a Markdown table.
"""

import argparse
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image, ImageDraw

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "target" / "release"
FILLERS = ["none", "random-rgb", "random-pixel", "neighbor", "nearest", "inpaint"]


def call(*words: object) -> None:
    words = [str(word) for word in words]
    print("$", " ".join(words), file=sys.stderr)
    done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"failed: {' '.join(words)}")


# Masks.

SIDE = 1024
QUALITIES = [60, 75, 85, 95]
# Colour, deviation of the swell, and deviation of the noise of every pixel.
WATERS = {
    "black": ((2, 6, 11), 1.0, 1.5),
    "deep": ((3, 10, 22), 1.5, 1.8),
    "smooth": ((4, 12, 24), 2.0, 0.4),
    "open": ((7, 16, 30), 2.0, 2.0),
    "coast": ((14, 30, 44), 5.0, 2.5),
}


def band(draw: ImageDraw.ImageDraw, left: float, width: float, slope: float, lens: bool = False) -> None:
    """A swath gap that runs down the picture; a lens is widest in the middle, as they are beside the equator."""
    steps = numpy.arange(-20, SIDE + 20)
    half = width / 2 * (1 - ((steps - SIDE / 2) / (0.7 * SIDE)) ** 2 if lens else numpy.ones(len(steps)))
    middle = left + width / 2 + slope * steps
    outline = list(zip(middle - half, steps)) + list(zip(middle + half, steps))[::-1]
    draw.polygon([(float(x), float(y)) for x, y in outline], fill=255)


def polygon(generator: numpy.random.Generator, size: tuple[int, int], radius: float) -> list[tuple[float, float]]:
    """A random star-shaped polygon."""
    corners = int(generator.integers(5, 12))
    angles = numpy.sort(generator.uniform(0, 2 * numpy.pi, corners))
    reach = radius * generator.uniform(0.5, 1.3, corners)
    x, y = generator.uniform(0, size[0]), generator.uniform(0, size[1])
    return [(float(x + r * numpy.cos(a)), float(y + r * numpy.sin(a))) for a, r in zip(angles, reach)]


def shape(name: str, generator: numpy.random.Generator) -> numpy.ndarray:
    sheet = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(sheet)
    start = float(generator.uniform(40, 120))
    match name:
        case "lens, 160 px":
            band(draw, start, 160, 0.25, lens=True)
            band(draw, start + 500, 160, 0.25, lens=True)
        case "swath, 60 px" | "swath, 30 px" | "swath, 20 px" | "swath, 12 px":
            width = int(name.split()[1])
            for number in range(4):
                band(draw, start + 230 * number, width, -0.1 + 0.12 * number)
        case "teeth of scans":
            for y in range(0, SIDE, 20):
                left = 200 + 0.3 * y + generator.integers(-6, 7)
                draw.rectangle((left, y, left + 90 + generator.integers(-8, 9), y + 19), fill=255)
        case "polygons":
            for _ in range(10):
                draw.polygon(polygon(generator, (SIDE, SIDE), 90), fill=255)
        case "corners":
            draw.polygon([(0, 0), (210, 0), (0, 160)], fill=255)
            draw.polygon([(SIDE, SIDE), (SIDE - 330, SIDE), (SIDE, SIDE - 120)], fill=255)
    return numpy.asarray(sheet) > 0


SHAPES = ["lens, 160 px", "swath, 60 px", "swath, 30 px", "swath, 20 px", "swath, 12 px", "teeth of scans", "polygons",
          "corners", "no gap"]


def water(kind: str, generator: numpy.random.Generator) -> numpy.ndarray:
    color, swell, noise = WATERS[kind]
    waves = numpy.zeros((SIDE, SIDE))
    for octave in range(5):
        cells = 5 * 2**octave
        coarse = Image.fromarray(generator.standard_normal((cells, cells)).astype(numpy.float32))
        waves += numpy.asarray(coarse.resize((SIDE, SIDE), Image.BICUBIC)) * 0.6**octave
    waves = swell * (waves - waves.mean()) / waves.std()
    samples = numpy.array(color) + waves[..., None] * (0.5, 0.8, 1.0)
    samples += noise * generator.standard_normal((SIDE, SIDE, 1)) + noise / 2 * generator.standard_normal((SIDE, SIDE, 3))
    return numpy.clip(samples, 0, 255)


def masks(options: argparse.Namespace) -> None:
    scenes, tiles = options.output / "scenes", options.output / "tiles"
    truth: dict[str, numpy.ndarray] = {}
    rows = []
    # By the colours' subsampling as well: that of most encoders, and none.
    for number, name in enumerate(SHAPES):
        for other, kind in enumerate(WATERS):
            generator = numpy.random.default_rng([number, other])
            gap = shape(name, generator)
            picture = numpy.where(gap[..., None], 0, water(kind, generator)).round().astype(numpy.uint8)
            for quality in QUALITIES:
                layer = f"Water_{number}_{other}_{quality}"
                truth[layer] = gap
                for row in (0, 1):
                    for column in (0, 1):
                        piece = Image.fromarray(picture[row * 512:row * 512 + 512, column * 512:column * 512 + 512])
                        file = io.BytesIO()
                        piece.save(file, "JPEG", quality=quality, subsampling=options.subsampling)
                        rows.append(native(scenes, layer, (10 + row, 18 + column), file.getvalue()))
    finish(scenes, rows)
    call(PROGRAMS / "data-preprocessor", "tile", scenes, "-o", tiles, "--size", 512, "--max-gap", 1, "--fill", "nearest",
         "-q")
    found = {layer: numpy.zeros((SIDE, SIDE), bool) for layer in truth}
    for part in sorted(tiles.glob("tiles-*.parquet")):
        table = pyarrow.parquet.read_table(part, columns=["tile_id", "gap_mask"]).to_pylist()
        for row in table:
            if row["gap_mask"]:
                layer, place = row["tile_id"].split("/")[0], row["tile_id"].split("/")[-1]
                x, y = (int(n) for n in place.split("_")[:2])
                mask = numpy.asarray(Image.open(io.BytesIO(row["gap_mask"])).convert("L")) > 0
                y, x = y - 10 * 512, x - 18 * 512
                found[layer][y:y + 512, x:x + 512] = mask
    print(f"Mean IoU over {len(WATERS)} kinds of dark water (lowest in brackets).\n")
    print("| gap | " + " | ".join(f"quality {quality}" for quality in QUALITIES) + " |")
    print("|---" * (len(QUALITIES) + 1) + "|")
    for number, name in enumerate(SHAPES):
        cells = []
        for quality in QUALITIES:
            layers = [f"Water_{number}_{other}_{quality}" for other in range(len(WATERS))]
            if name == "no gap":
                wrong = sum(int(found[layer].sum()) for layer in layers)
                cells.append(f"{wrong} pixels taken for gap")
                continue
            scores = [(found[a] & truth[a]).sum() / (found[a] | truth[a]).sum() for a in layers]
            cells.append(f"{numpy.mean(scores):.3f} ({min(scores):.3f})")
            if options.verbose:
                print(name, quality, dict(zip(WATERS, numpy.round(scores, 3).tolist())), file=sys.stderr)
        print(f"| {name} | " + " | ".join(cells) + " |")


def native(scenes: pathlib.Path, layer: str, place: tuple[int, int], data: bytes) -> dict:
    path = f"native/{layer}/2020-09-12/2km/5/{place[0]}_{place[1]}.jpg"
    (scenes / path).parent.mkdir(parents=True, exist_ok=True)
    (scenes / path).write_bytes(data)
    return {"layer_asked": layer, "layer": layer, "time_asked": "2020-09-12", "time": "2020-09-12", "matrix_set": "2km",
            "level": 5, "row": place[0], "column": place[1], "path": path, "offset": 0, "length": len(data),
            "media_type": "image/jpeg", "etag": "", "sha256": hashlib.sha256(data).hexdigest(),
            "empty_share": float((numpy.asarray(Image.open(io.BytesIO(data))).max(-1) <= 4).mean())}


def finish(scenes: pathlib.Path, rows: list[dict]) -> None:
    """The table and the manifest of a `scenes/` directory."""
    rows.sort(key=lambda row: (row["layer"], row["time"], row["matrix_set"], row["level"], row["row"], row["column"]))
    kinds = {"level": "uint32", "row": "uint32", "column": "uint32", "offset": "uint64", "length": "uint64",
             "empty_share": "float32"}
    fields = [pyarrow.field(name, getattr(pyarrow, kinds.get(name, "string"))(), False) for name in rows[0]]
    name = "scenes-00000.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, pyarrow.schema(fields)), scenes / name,
                                compression="zstd")
    digest = hashlib.sha256((scenes / name).read_bytes()).hexdigest()
    pixel = 0.5625 / 32
    matrix = {"projection": 4326, "origin": [-180, 90], "pixel": [pixel, pixel], "tile": [512, 512], "columns": 40,
              "rows": 20}
    manifest = {"format": "curator.scenes", "version": 2, "created_by": "gaps.py", "created_at": "2020-09-12T00:00:00Z",
                "config": {"matrices": {"2km/5": matrix}}, "inputs": [],
                "parts": [{"path": name, "rows": len(rows), "digest": digest}], "counts": {}}
    (scenes / "manifest.json").write_text(json.dumps(manifest))


# Retrieval.

def punched(picture: Image.Image, share: float, generator: numpy.random.Generator) -> Image.Image:
    """The picture with polygons cut out of it that cover about a share."""
    width, height = picture.size
    sheet = Image.new("L", picture.size)
    draw = ImageDraw.Draw(sheet)
    covered = 0.0
    while covered < share:
        left = (share - covered) * width * height
        before = sheet.copy()
        draw.polygon(polygon(generator, picture.size, min(0.25 * min(picture.size), (left / 2) ** 0.5 + 3)), fill=255)
        covered = (numpy.asarray(sheet) > 0).mean()
        if covered > share * 1.15:
            sheet = before
            draw = ImageDraw.Draw(sheet)
            covered = (numpy.asarray(sheet) > 0).mean()
    pixels = numpy.array(picture.convert("RGBA"))
    gap = numpy.asarray(sheet) > 0
    pixels[gap] = 0
    return Image.fromarray(pixels)


def broken(images: pathlib.Path, share: float, place: pathlib.Path) -> set[str]:
    """Writes all pictures as PNG, every second of a class with gaps; returns the names of those."""
    with_gaps = set()
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for number, path in enumerate(files):
        picture = Image.open(path).convert("RGB")
        name = f"{path.parent.name}/{path.stem}.png"
        if share > 0 and number % 2:
            picture = punched(picture, share, numpy.random.default_rng([7, number]))
            with_gaps.add(name)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(place / name, compress_level=1)
    return with_gaps


def measure(index: pathlib.Path, with_gaps: set[str]) -> list[str]:
    """Precision of the ten nearest, mean average precision, and the share of gaps beside gaps."""
    (part,) = (index / "parts").iterdir()
    x = numpy.load(part / "embeddings.npy")
    ids = pyarrow.parquet.read_table(part / "rows.parquet", columns=["tile_id"])["tile_id"].to_pylist()
    names = ["/".join(i.split("/")[-2:]) for i in ids]
    _, labels = numpy.unique([name.split("/")[0] for name in names], return_inverse=True)
    gaps = numpy.array([name in with_gaps for name in names])
    similar = x @ x.T
    numpy.fill_diagonal(similar, -numpy.inf)
    order = numpy.argsort(-similar, axis=1, kind="stable")[:, :-1]
    same = labels[order] == labels[:, None]
    precision = same.cumsum(1) / numpy.arange(1, same.shape[1] + 1)
    average = (precision * same).sum(1) / same.sum(1)
    ten = same[:, :10].mean(1)
    cells = [f"{ten.mean():.3f}", f"{average.mean():.3f}"]
    if gaps.any():
        cells += [f"{ten[gaps].mean():.3f}", f"{gaps[order[gaps, :10]].mean():.3f}"]
    return cells


def retrieval(options: argparse.Namespace) -> None:
    print("| gaps cover | filler | precision@10 | mAP | precision@10 of those with gaps | gaps among their ten nearest |",
          "|---|---|---|---|---|---|", sep="\n")
    for share in [0.0, *options.shares]:
        pictures = options.output / f"pictures-{share}"
        with_gaps = broken(options.images, share, pictures)
        for filler in options.fillers if share else ["–"]:
            place = options.output / f"{share}-{filler}"
            words = ["--fill", filler] if share else []
            call(PROGRAMS / "data-preprocessor", "tile", pictures, "-o", place / "tiles", "--max-gap", 1, "-q", *words)
            model = options.model
            if model is None:
                model = place / "model"
                call(PROGRAMS / "ssl-learner", "train", place / "tiles", "-o", model, "--epochs", options.epochs, "-q")
            call(PROGRAMS / "embed-indexer", "build", place / "tiles", "--model", model, "-o", place / "index", "-q")
            cells = measure(place / "index", with_gaps)
            cells += ["–"] * (4 - len(cells))
            print(f"| {f'{share:.0%} of every second' if share else 'nothing'} | {filler} | {' | '.join(cells)} |", flush=True)
            shutil.rmtree(place)
        shutil.rmtree(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "out" / "bench" / "gaps")
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("masks")
    part.add_argument("--subsampling", default="4:2:0", help="of the JPEG's colours: 4:2:0 or 4:4:4")
    part.add_argument("--verbose", action="store_true", help="every kind of water")
    part = parts.add_parser("retrieval")
    part.add_argument("images", type=pathlib.Path)
    part.add_argument("--model", type=pathlib.Path)
    part.add_argument("--epochs", type=int)
    part.add_argument("--shares", type=lambda text: [float(share) for share in text.split(",")], default=[0.1, 0.3])
    part.add_argument("--fillers", type=lambda text: text.split(","), default=FILLERS)
    options = parser.parse_args()
    if options.part == "retrieval" and (options.model is None) == (options.epochs is None):
        parser.error("give either --model or --epochs")
    shutil.rmtree(options.output, ignore_errors=True)
    {"masks": masks, "retrieval": retrieval}[options.part](options)


if __name__ == "__main__":
    main()
