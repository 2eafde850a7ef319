#!/usr/bin/env python3
"""SimCLR as a Python user has it: PyTorch, lightly's transform, loss and head, a DataLoader with all cores,
bf16 and channels-last. What representations.py and ssl_speed.py compare with.

    pip install torch==2.11.0 torchvision lightly safetensors
    scripts/bench/simclr_peer.py train IMAGES -o model/ --cpu-minutes 12     a model directory, for `ssl-learner evaluate`
    scripts/bench/simclr_peer.py speed IMAGES --size 64 --seconds 40         images a second, of the step and of the data alone

IMAGES is any folder of pictures, nested or not.
"""

import argparse
import json
import math
import pathlib
import time

import torch
import torchvision
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from PIL import Image

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Pictures(torch.utils.data.Dataset):
    """The two views of each picture below a folder."""

    def __init__(self, folder: pathlib.Path, size: int) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif"))
        # lightly's defaults with what its documentation adds for pictures from above and for small ones.
        self.views = SimCLRTransform(input_size=size, vf_prob=0.5, rr_prob=0.5, gaussian_blur=0.0 if size < 96 else 0.5)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> list:
        with Image.open(self.paths[number]) as picture:
            return self.views(picture.convert("RGB"))


def network(stem: str) -> torch.nn.Module:
    """ResNet-18 without its classifier."""
    network = torchvision.models.resnet18()
    network.fc = torch.nn.Identity()
    if stem != "large":
        network.conv1 = torch.nn.Conv2d(3, 64, 3, 2 if stem == "small" else 1, 1, bias=False)
        network.maxpool = torch.nn.Identity()
    return network.to(memory_format=torch.channels_last)


def loader(pictures: Pictures, batch: int) -> torch.utils.data.DataLoader:
    workers = torch.get_num_threads()
    return torch.utils.data.DataLoader(pictures, batch, shuffle=True, drop_last=True, num_workers=workers,
                                       persistent_workers=True)


class Step:
    """One update of everything."""

    def __init__(self, stem: str, temperature: float, optimizer) -> None:
        self.network, self.head = network(stem), SimCLRProjectionHead(512, 512, 128)
        self.loss = NTXentLoss(temperature=temperature)
        parameters = list(self.network.parameters()) + list(self.head.parameters())
        self.optimizer = optimizer(parameters)

    def __call__(self, views: list) -> float:
        both = torch.cat(views).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.network(both)
        first, second = self.head(features.float()).chunk(2)
        loss = self.loss(first, second)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def cpu_seconds(workers: bool = True) -> float:
    """Of this process and those of the loader."""
    seconds = time.process_time()
    if workers:
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == int(pathlib.Path("/proc/self").resolve().name):
                seconds += (int(fields[11]) + int(fields[12])) / 100
    return seconds


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    if options.recipe == "lightly":  # its SimCLR tutorial and benchmarks
        step = Step(options.stem, 0.5, lambda p: torch.optim.SGD(p, lr=0.06, momentum=0.9, weight_decay=5e-4))
        peak = 0.06
    else:  # ours
        step = Step(options.stem, 0.2, lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-4))
        peak = 1e-3
    budget, steps, losses = options.cpu_minutes * 60, 0, []
    batches = loader(Pictures(options.images, options.size), options.batch)
    done = 0.0
    while done < 1:
        for views in batches:
            done = cpu_seconds() / budget
            if done >= 1:
                break
            warm = min(done / 0.05, 1)
            for group in step.optimizer.param_groups:
                group["lr"] = peak * max(warm, 0.01) * 0.5 * (1 + math.cos(math.pi * done))
            losses.append(step(views))
            steps += 1
        print(f"{steps} steps, {cpu_seconds():.0f} CPU s, loss {sum(losses[-20:]) / len(losses[-20:]):.3f}", flush=True)
    save(step.network, options)
    print(json.dumps({"steps": steps, "images": steps * options.batch, "cpu_seconds": cpu_seconds()}))


def save(network: torch.nn.Module, options: argparse.Namespace) -> None:
    """As a model directory that our programs read."""
    from safetensors.torch import save_file

    options.output.mkdir(parents=True, exist_ok=True)
    state = {n: t.contiguous() for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(state, options.output / "encoder.safetensors")
    config = {"arch": "resnet18", "stem": options.stem, "bands": 3, "input_size": options.size, "mean": MEAN,
              "std": STD, "embedding_size": 512, "method": "simclr", "resolution": None}
    (options.output / "config.json").write_text(json.dumps(config))


def speed(options: argparse.Namespace) -> None:
    """Images a second: end to end, the step alone on views that are there, and the data alone."""
    step = Step(options.stem, 0.2, lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-4))

    def rate(batches, work, seconds: float) -> float:
        images, begun = 0, None
        while True:
            for views in batches:
                work(views)
                if begun is None:  # the first batch warms up
                    begun = time.perf_counter()
                    continue
                images += len(views[0])
                if time.perf_counter() - begun > seconds:
                    return images / (time.perf_counter() - begun)

    batches = loader(Pictures(options.images, options.size), options.batch)
    parts = options.parts.split(",")
    result = {}
    if "whole" in parts:
        result["whole"] = rate(batches, step, options.seconds)
    if "data" in parts:
        result["data"] = rate(batches, lambda views: None, options.seconds)
    if "step" in parts:
        fixed = next(iter(batches))
        del batches
        result["step"] = rate([fixed] * 4, step, options.seconds)
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "speed"])
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("model"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--stem", default="large")
    parser.add_argument("--recipe", choices=["lightly", "ours"], default="lightly")
    parser.add_argument("--cpu-minutes", type=float, default=12)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--parts", default="whole,data,step")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    {"train": train, "speed": speed}[options.what](options)


if __name__ == "__main__":
    main()
