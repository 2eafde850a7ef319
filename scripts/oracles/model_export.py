#!/usr/bin/env python3
"""Exported models told by others: each architecture written out in NumPy, with the tensors of
`encoder.safetensors` by torchvision's and timm's names, must say what the model says; where there is PyTorch with
torchvision, so must the code that is exported, with the safetensors and with the TorchScript. Exits with 77, having
said so, where there is no NumPy.

    .deps/clients/bin/python scripts/oracles/model_export.py
    pip install torch torchvision safetensors timm
    TORCH_PYTHON=VENV/bin/python scripts/oracles/model_export.py
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print(f"skipped: {sys.executable} has no NumPy; `scripts/setup.sh --test` brings it")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEARNER = ROOT / "target" / "release" / "ssl-learner"
CASES = ["resnet18 small", "resnet18 large", "resnet50 large", "minicnn-40 large", "vit-tiny small"]
TOLERANCE = 1e-4


def main() -> None:
    python = os.environ.get("TORCH_PYTHON", sys.executable)

    def has(module: str) -> bool:
        return subprocess.run([python, "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0

    torch = has("torch") and has("torchvision") and has("safetensors")
    if not torch:
        print("without PyTorch (TORCH_PYTHON has none): NumPy alone")
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        tiles = place / "tiles"
        for number in range(40):
            path = tiles / ("ab"[number % 2]) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(path, number)
        for case in CASES:
            arch, stem = case.split()
            model, tuned, exported = (place / f"{name} {case}" for name in ("model", "tuned", "exported"))
            flags = ["--input-size", "64", "--batch-size", "16", "--epochs", "1", "--arch", arch, "--stem", stem]
            run(LEARNER, "train", tiles, "-o", model, *flags)
            run(LEARNER, "finetune", tiles, "--model", model, "-o", tuned)
            run(LEARNER, "export", tuned, "-o", exported)
            for name, difference in by_numpy(exported).items():
                print(f"{case}: NumPy's {name} differ by {difference:.1e}")
                assert difference < TOLERANCE
            if not torch or (arch == "vit-tiny" and not has("timm")):
                continue
            print(run(python, exported / "encoder.py", "--check"), end="")
            # Any number of pictures, not only as many as were traced.
            code = f"import torch; print(torch.jit.load('{exported / 'encoder.pt'}')(torch.rand(5, 3, 64, 64)).shape)"
            assert "torch.Size([5," in run(python, "-c", code)
    print("NumPy and PyTorch say the same" if torch else "NumPy says the same")


def by_numpy(exported: pathlib.Path) -> dict[str, float]:
    """Largest differences of embeddings and probabilities from what was kept when the model was exported."""
    config = json.loads((exported / "config.json").read_text())
    kept = read_safetensors(exported / "check.safetensors")
    pictures = kept["pictures"].transpose(0, 3, 1, 2) / 255.0
    mean, std = (np.array(config[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    net = Network({n: t.astype(np.float64) for n, t in read_safetensors(exported / "encoder.safetensors").items()})
    x = (pictures - mean) / std
    if config["arch"].startswith("resnet"):
        features = net.resnet(x, config["stem"])
    elif config["arch"] == "vit-tiny":
        features = net.transformer(x, heads=3)
    else:
        features = net.minicnn(x)
    head, layer = json.loads((exported / "head.json").read_text()), read_safetensors(exported / "head.safetensors")
    probabilities = softmax((features @ layer["weight"].T.astype(np.float64) + layer["bias"]) / head["temperature"])
    embeddings = features / np.linalg.norm(features, axis=1, keepdims=True)
    return {
        "embeddings": float(abs(embeddings - kept["embeddings"]).max()),
        "probabilities": float(abs(probabilities - kept["probabilities"]).max()),
    }


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """As the format is described: the length of a JSON header, the header, the numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "u1"}
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            numbers = np.frombuffer(data[start + first : start + last], kinds[about["dtype"]])
            tensors[name] = numbers.reshape(about["shape"])
    return tensors


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def windows(x: np.ndarray, size: int, stride: int, padding: int, value: float) -> np.ndarray:
    """[N, C, H, W] to [N, C, H', W', size, size]."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=value)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]


def max_pool(x: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    return windows(x, size, stride, padding, -np.inf).max((4, 5))


class Network:
    """Layers by the names of their tensors, in 64 bits."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors

    def conv(self, x: np.ndarray, name: str, stride: int, padding: int) -> np.ndarray:
        weight = self.tensors[f"{name}.weight"]
        y = np.tensordot(windows(x, weight.shape[2], stride, padding, 0.0), weight, ([1, 4, 5], [1, 2, 3]))
        return (y + self.tensors.get(f"{name}.bias", 0.0)).transpose(0, 3, 1, 2)

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def batch_norm(self, x: np.ndarray, name: str) -> np.ndarray:
        w, b, mean, var = (self.tensors[f"{name}.{part}"].reshape(1, -1, 1, 1)
                           for part in ("weight", "bias", "running_mean", "running_var"))
        return (x - mean) / np.sqrt(var + 1e-5) * w + b

    def layer_norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def resnet(self, x: np.ndarray, stem: str) -> np.ndarray:
        relu = lambda y: np.maximum(y, 0)
        stride, padding = {"large": (2, 3), "small": (2, 1), "tiny": (1, 1)}[stem]
        x = relu(self.batch_norm(self.conv(x, "conv1", stride, padding), "bn1"))
        if stem == "large":
            x = max_pool(x, 3, 2, 1)
        for stage in range(1, 5):
            block = 0
            while f"layer{stage}.{block}.conv1.weight" in self.tensors:
                name = f"layer{stage}.{block}"
                first = 2 if stage > 1 and block == 0 else 1
                if f"{name}.conv3.weight" in self.tensors:  # a bottleneck, with its stride in the middle
                    layers = [(1, 0, 1), (first, 1, 2), (1, 0, 3)]
                else:
                    layers = [(first, 1, 1), (1, 1, 2)]
                y = x
                for stride, padding, number in layers:
                    y = self.batch_norm(self.conv(y, f"{name}.conv{number}", stride, padding), f"{name}.bn{number}")
                    y = relu(y) if number < len(layers) else y
                if f"{name}.downsample.0.weight" in self.tensors:
                    x = self.batch_norm(self.conv(x, f"{name}.downsample.0", first, 0), f"{name}.downsample.1")
                x = relu(x + y)
                block += 1
        return x.mean((2, 3))

    def transformer(self, x: np.ndarray, heads: int) -> np.ndarray:
        gelu = np.vectorize(lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))))
        patch = self.tensors["patch_embed.proj.weight"].shape[2]
        x = self.conv(x, "patch_embed.proj", patch, 0)
        n, width = x.shape[:2]
        x = x.reshape(n, width, -1).transpose(0, 2, 1)
        x = np.concatenate([np.repeat(self.tensors["cls_token"], n, 0), x], 1) + self.tensors["pos_embed"]
        block = 0
        while f"blocks.{block}.norm1.weight" in self.tensors:
            name = f"blocks.{block}"
            qkv = self.linear(self.layer_norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
            q, k, v = qkv.reshape(n, -1, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
            mixed = softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(width // heads)) @ v
            x = x + self.linear(mixed.transpose(0, 2, 1, 3).reshape(n, -1, width), f"{name}.attn.proj")
            hidden = gelu(self.linear(self.layer_norm(x, f"{name}.norm2"), f"{name}.mlp.fc1"))
            x = x + self.linear(hidden, f"{name}.mlp.fc2")
            block += 1
        return self.layer_norm(x, "norm")[:, 0]

    def minicnn(self, x: np.ndarray) -> np.ndarray:
        relu = lambda y: np.maximum(y, 0)
        x = max_pool(relu(self.conv(x, "conv1", 1, 1)), 2, 2, 0)
        x = max_pool(relu(self.conv(x, "conv2", 2, 1)), 2, 2, 0)
        x = relu(self.conv(x, "conv3", 2, 1))
        side = x.shape[2]
        ranges = [slice(i * side // 16, -(-(i + 1) * side // 16)) for i in range(16)]
        x = np.stack([np.stack([x[:, :, a, b].mean((2, 3)) for b in ranges], -1) for a in ranges], -2)
        x = max_pool(relu(self.conv(x, "conv4", 2, 2)), 2, 2, 0)
        return self.linear(x.reshape(len(x), -1), "linear")


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
