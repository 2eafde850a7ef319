#!/usr/bin/env python3
"""Embeds pictures with the encoder beside this file; classifies them where there is a classifier.

    pip install torch torchvision pillow safetensors      # timm for transformers, tifffile for other bands than RGB
    python encoder.py photo.jpg other.png                  # name, then the embedding or the likeliest class
    python encoder.py --check                              # do both forms give the numbers they should?

`network()` is the encoder as PyTorch code with `encoder.safetensors`; `encoder.pt` is the same as TorchScript,
which needs PyTorch alone and takes pictures [N, C, S, S] in 0...1 to embeddings [N, D] of length 1.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text())


class MiniCnn(torch.nn.Module):
    """Four convolutions and a linear layer."""

    def __init__(self, bands: int, features: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(bands, 16, 3, 1, 1)
        self.conv2 = torch.nn.Conv2d(16, 32, 3, 2, 1)
        self.conv3 = torch.nn.Conv2d(32, 48, 3, 2, 1)
        self.conv4 = torch.nn.Conv2d(48, 64, 5, 2, 2)
        self.linear = torch.nn.Linear(64 * 4 * 4, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = torch.nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        x = torch.nn.functional.adaptive_avg_pool2d(self.conv3(x).relu(), 16)
        x = torch.nn.functional.max_pool2d(self.conv4(x).relu(), 2)
        return self.linear(x.flatten(1))


def network() -> torch.nn.Module:
    """Normalised pictures [N, C, S, S] to features [N, D]."""
    arch, stem, bands, size = (CONFIG[key] for key in ("arch", "stem", "bands", "input_size"))
    if arch.startswith("resnet"):
        import torchvision

        net = getattr(torchvision.models, arch)()
        net.fc = torch.nn.Identity()
        kernel, stride, padding = {"large": (7, 2, 3), "small": (3, 2, 1), "tiny": (3, 1, 1)}[stem]
        net.conv1 = torch.nn.Conv2d(bands, 64, kernel, stride, padding, bias=False)
        if stem != "large":
            net.maxpool = torch.nn.Identity()
    elif arch == "vit-tiny":
        import timm

        net = timm.create_model(
            "vit_tiny_patch16_224", img_size=size, patch_size={"large": 16, "small": 8, "tiny": 4}[stem],
            in_chans=bands, num_classes=0)
    else:
        net = MiniCnn(bands, CONFIG["embedding_size"])
    state = load_file(HERE / "encoder.safetensors")
    missing, unexpected = net.load_state_dict(state, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]
    assert not left and not unexpected, (left, unexpected)
    return net.eval()


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [N, C, S, S] in 0...1 as the network wants them."""
    mean, std = (torch.tensor(CONFIG[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return (pictures - mean) / std


def probabilities(features: torch.Tensor) -> torch.Tensor:
    """Of each class of `head.json`."""
    head, layer = json.loads((HERE / "head.json").read_text()), load_file(HERE / "head.safetensors")
    return ((features @ layer["weight"].T + layer["bias"]) / head["temperature"]).softmax(1)


def bands(path: str) -> list:
    """The bands that the network looks at, [H, W] each in 0...255, as images."""
    import numpy
    from PIL import Image

    if not CONFIG.get("look"):
        return list(Image.open(path).convert("RGB").split())
    if path.lower().endswith((".tif", ".tiff")):
        import tifffile

        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            aside = [axis for axis, name in enumerate(series.axes) if name not in "YX"]
            samples = series.asarray().astype("float64")
            samples = numpy.moveaxis(samples, aside[0], 0) if aside else samples[None]
    else:
        samples = numpy.asarray(Image.open(path).convert("RGB"), dtype="float64").transpose(2, 0, 1)
    found = []
    for band in CONFIG["look"]:
        black, white = band["black"], band["white"]
        share = numpy.nan_to_num((samples[band["number"] - 1] - black) / (white - black), nan=0.0)
        found.append(Image.fromarray(numpy.rint(share.clip(0, 1) * 255).astype("uint8")))
    return found


def read(path: str) -> torch.Tensor:
    """A picture of any size as [C, S, S] in 0...1."""
    from PIL import Image

    size = CONFIG["input_size"]
    resized = [band.resize((size, size), Image.Resampling.BILINEAR) for band in bands(path)]
    data = torch.stack([torch.frombuffer(bytearray(band.tobytes()), dtype=torch.uint8) for band in resized])
    return data.reshape(len(resized), size, size).float() / 255


@torch.no_grad()
def check() -> None:
    """Compares the code with safetensors, and TorchScript, with what the encoder said when it was exported."""
    kept = load_file(HERE / "check.safetensors")
    pictures = kept["pictures"].permute(0, 3, 1, 2).float() / 255
    features = network()(normalised(pictures))
    pairs = [
        ("encoder.safetensors", torch.nn.functional.normalize(features), kept["embeddings"]),
        ("encoder.pt", torch.jit.load(str(HERE / "encoder.pt"))(pictures), kept["embeddings"]),
    ]
    if "probabilities" in kept:
        pairs += [
            ("head.safetensors", probabilities(features), kept["probabilities"]),
            ("classifier.pt", torch.jit.load(str(HERE / "classifier.pt"))(pictures), kept["probabilities"]),
        ]
    worst = 0.0
    for name, found, expected in pairs:
        difference = float((found - expected).abs().max())
        print(f"{name}: differs by {difference:.1e}")
        worst = max(worst, difference)
    if worst > 1e-4:
        sys.exit("the numbers differ")


@torch.no_grad()
def main() -> None:
    if sys.argv[1:] == ["--check"]:
        return check()
    if not sys.argv[1:]:
        sys.exit(__doc__)
    features = network()(normalised(torch.stack([read(path) for path in sys.argv[1:]])))
    if (HERE / "head.json").exists():
        classes = json.loads((HERE / "head.json").read_text())["classes"]
        for path, row in zip(sys.argv[1:], probabilities(features)):
            print(path, classes[int(row.argmax())], f"{float(row.max()):.3f}")
    else:
        for path, row in zip(sys.argv[1:], torch.nn.functional.normalize(features)):
            print(path, *(f"{x:.6f}" for x in row.tolist()))


if __name__ == "__main__":
    main()
