#!/usr/bin/env python3
"""Other people's code on exported models: PyTorch with torchvision loads the safetensors and the TorchScript of
each architecture and must say what the model says. Exits with 77, having said so, where there is no PyTorch.

    pip install torch torchvision safetensors timm
    TORCH_PYTHON=VENV/bin/python scripts/oracles/model_export.py
"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEARNER = ROOT / "target" / "release" / "ssl-learner"
CASES = ["resnet18 small", "resnet18 large", "resnet50 large", "minicnn-40 large", "vit-tiny small"]


def main() -> None:
    python = os.environ.get("TORCH_PYTHON", sys.executable)

    def has(module: str) -> bool:
        return subprocess.run([python, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0

    if not (has("torch") and has("torchvision") and has("safetensors")):
        print(f"skipped: {python} has no torch, torchvision and safetensors; give one as TORCH_PYTHON")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        tiles = place / "tiles"
        for number in range(40):
            path = tiles / ("ab"[number % 2]) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(path, number)
        for case in CASES:
            arch, stem = case.split()
            if arch == "vit-tiny" and not has("timm"):
                print("skipped: no timm")
                continue
            model, tuned, exported = (place / f"{name} {case}" for name in ("model", "tuned", "exported"))
            flags = ["--input-size", "64", "--batch-size", "16", "--epochs", "1", "--arch", arch, "--stem", stem]
            run(LEARNER, "train", tiles, "-o", model, *flags)
            run(LEARNER, "finetune", tiles, "--model", model, "-o", tuned)
            run(LEARNER, "export", tuned, "-o", exported)
            print(case)
            print(run(python, exported / "encoder.py", "--check"), end="")
            # Any number of pictures, not only as many as were traced.
            code = f"import torch; print(torch.jit.load('{exported / 'encoder.pt'}')(torch.rand(5, 3, 64, 64)).shape)"
            assert "torch.Size([5," in run(python, "-c", code)
    print("PyTorch says the same")


def picture(path: pathlib.Path, number: int) -> None:
    """Stripes of the number, without a library for pictures."""
    import struct
    import zlib

    side = 48
    rows = b"".join(
        b"\0" + bytes((x * (number + 1) * (1 + band) + y * (number % 2) * 7) % 256 for x in range(side) for band in range(3))
        for y in range(side)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{words}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
