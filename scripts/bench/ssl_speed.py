#!/usr/bin/env python3
"""Images a second of SimCLR's training step beside PyTorch with lightly, at the same size, batch and network.

    scripts/bench/ssl_speed.py ../shared/data/aid --size 64 --seconds 30 --python VENV/bin/python
    scripts/bench/ssl_speed.py ../shared/data/aid --size 64 --parts ours         # a part: ours, peer
    scripts/bench/ssl_speed.py start [--count 1000000]                           # seconds to the first step

Both sides: ResNet-18, batches of 128, both views, AdamW, bf16 convolutions, channels-last, all cores. *whole* is end to
end from JPEG files: of ours `ssl-learner train`, all of its time but the first measuring of health and the verdict,
decoding the files once as it does; *step* computes on views that are there already; *data* decodes and makes views,
and computes nothing: of ours with the files decoded every time, and with kept pixels. The peer decodes always, in
worker processes. What this machine's matrix products reach says what the limit is. --python needs what simclr_peer.py needs.
"""

import argparse
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
# Billions of multiplications with additions of a ResNet-18 (stem for ImageNet) on a picture of 64 pixels: 1.814 at 224.
GMAC_64 = 1.814 * (64 / 224) ** 2


def text_of(*words: object) -> str:
    words = [str(word) for word in words]
    print("$", " ".join(words), file=sys.stderr)
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def ours(options: argparse.Namespace) -> dict:
    parts = json.loads(text_of(RELEASE / "examples" / "step", options.images, options.size, options.batch,
                               options.seconds / 2))
    with tempfile.TemporaryDirectory() as place:
        model = pathlib.Path(place) / "model"
        text_of(RELEASE / "ssl-learner", "train", options.images, "-o", model, "--input-size", options.size,
                "--batch-size", options.batch, "--max-minutes", options.seconds / 60)
        lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    whole = lines[0]["images_per_second"]  # of the first epoch, whose pictures are decoded already
    pictures = sum(1 for path in pathlib.Path(options.images).rglob("*") if path.is_file())
    # Decoding once is spread over ten epochs, fewer than anybody trains.
    whole = 1 / (1 / whole + 1 / parts["decode"] / 10)
    data = 1 / (1 / parts["decode"] + 1 / parts["views"])
    print(f"{pictures} pictures: decoding {parts['decode']:.0f}/s, views of kept pixels {parts['views']:.0f}/s, step with "
          f"views {parts['step_with_views']:.0f}/s", file=sys.stderr)
    return {"whole": whole, "step": parts["step"], "data": data, "kept": parts["views"], "matrix": parts["matrix"]}


def speed(options: argparse.Namespace) -> None:
    rows = {}
    if "ours" in options.parts:
        text_of("cargo", "build", "--quiet", "--release", "--workspace", "--example", "step")
        rows["ours"] = ours(options)
    if "peer" in options.parts:
        script = ROOT / "scripts/bench/simclr_peer.py"
        rows["PyTorch, lightly"] = json.loads(text_of(
            options.python, script, "speed", options.images, "--size", options.size, "--batch", options.batch,
            "--seconds", options.seconds).splitlines()[-1])
    print(json.dumps(rows), file=sys.stderr)
    print("| | whole | step | data | whole / step |\n|---|---|---|---|---|")
    for name, row in rows.items():
        kept = f", {row['kept']:.0f} from kept pixels" if "kept" in row else ""
        print(f"| {name} | {row['whole']:.0f} | {row['step']:.0f} | {row['data']:.0f}{kept} "
              f"| {row['whole'] / row['step']:.2f} |")
    if len(rows) == 2:
        a, b = rows.values()
        print(f"| ratio | {a['whole'] / b['whole']:.2f}× | {a['step'] / b['step']:.2f}× | {a['data'] / b['data']:.1f}×, "
              f"{a['kept'] / b['data']:.1f}× | |")
    if "ours" in rows:
        matrix = rows["ours"]["matrix"]
        # Two views, forward and twice that backward, two operations a multiplication and addition.
        used = rows["ours"]["step"] * 2 * 3 * 2 * GMAC_64 * (options.size / 64) ** 2 / 1000
        print(f"\nmatrix products: {matrix['bf16']:.2f} TFLOP/s in bf16, {matrix['fp32']:.2f} in fp32; the step reaches "
              f"{used:.2f} TFLOP/s, {used / matrix['bf16']:.0%} of that in bf16")


def start(options: argparse.Namespace) -> None:
    """From the command to the first step on so many records, and on a folder of as many files."""
    with tempfile.TemporaryDirectory(dir=options.output) as place:
        place = pathlib.Path(place)
        pictures = sorted(options.images.rglob("*.jpg"))[:100]
        tiles, folder = place / "tiles", place / "folder"
        for number in range(options.count):
            source = pictures[number % len(pictures)]
            target = folder / f"{number // 1000:04}" / f"{number}.jpg"
            if number % 1000 == 0:
                target.parent.mkdir(parents=True)
            if number < len(pictures):
                shutil.copy(source, target)
            else:
                first = number % len(pictures)
                os.link(folder / f"{first // 1000:04}" / f"{first}.jpg", target)
        text_of(RELEASE / "data-preprocessor", "convert", folder, "-o", tiles, "--to", "records")
        for name, source in (("records", tiles), ("files", folder)):
            model = place / f"model-{name}"
            # On a terminal progress is shown at once.
            ours, theirs = pty.openpty()
            begun = time.time()
            child = subprocess.Popen(
                [RELEASE / "ssl-learner", "train", source, "-o", model, "--arch", "minicnn", "--input-size", "32",
                 "--cache-mb", "0", "--max-minutes", "5"], stderr=theirs)
            shown = b""
            while b"loss" not in shown and child.poll() is None:
                shown += os.read(ours, 4096)
            first = time.time() - begun
            child.kill()
            child.wait()
            print(f"| {options.count:,} {name} | {first:.1f} s |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=str)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--parts", default="ours,peer")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("out"))
    options = parser.parse_args()
    if options.images == "start":
        options.images = pathlib.Path(os.environ.get("CURATOR_SHARED_DATA", ROOT / "../shared/data")) / "aid"
        start(options)
    else:
        speed(options)


if __name__ == "__main__":
    main()
