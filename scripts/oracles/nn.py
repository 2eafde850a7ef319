#!/usr/bin/env python3
"""Prints the numbers that the tests of curator-nn compare with: torchvision's ResNets, timm's transformer,
lightly's losses and LARS, PyTorch's optimisers. All in 64 bits.

    pip install torch==2.11.0 torchvision lightly timm
    scripts/oracles/nn.py

Weights and inputs are a hash of their indices, so that both languages have the same ones.
"""

import math

import lightly.loss
import lightly.utils.lars
import timm
import torch
import torchvision


def noise(shape: tuple, phase: float, scale: float) -> torch.Tensor:
    """Numbers in -scale...scale that look random."""
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    waves = torch.sin(index * 12.9898 + phase) * 43758.5453
    return ((waves - waves.floor()) * 2 - 1).mul(scale).reshape(shape)


def fill(network: torch.nn.Module) -> None:
    """Weights by sorted name; running statistics so that every normalisation does something."""
    state = {name: t for name, t in network.state_dict().items() if t.is_floating_point()}
    for number, name in enumerate(sorted(state)):
        tensor = state[name]
        if name.endswith("running_var"):
            tensor.copy_(1.0 + noise(tensor.shape, number, 0.5))
        elif tensor.dim() > 1:
            tensor.copy_(noise(tensor.shape, number, 2.0 / math.sqrt(tensor[0].numel())))
        elif name.endswith("weight"):
            tensor.copy_(1.0 + noise(tensor.shape, number, 0.2))
        else:
            tensor.copy_(noise(tensor.shape, number, 0.2))


def network(arch: str, small: bool) -> torch.nn.Module:
    if arch == "vit":
        return timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, num_classes=0).double()
    network = getattr(torchvision.models, arch)()
    network.fc = torch.nn.Identity()
    if small:
        network.conv1 = torch.nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        network.maxpool = torch.nn.Identity()
    return network.double()


def show(name: str, values: torch.Tensor) -> None:
    print(name, [float(f"{v:.8g}") for v in values.flatten().tolist()])


images = noise((8, 3, 64, 64), 0.0, 1.0)
cases = [("resnet18", False), ("resnet18", True), ("resnet34", False), ("resnet50", False), ("vit", False)]
for arch, small in cases:
    model = network(arch, small)
    fill(model)
    with torch.no_grad():
        for mode in ("eval", "train"):
            features = getattr(model, mode)()(images)
            show(f"{arch} {'small' if small else 'large'} {mode}", features[1, :4])
        if arch != "vit":
            show("  running mean after", model.bn1.running_mean[:2])

losses = {
    "nt_xent": lightly.loss.NTXentLoss(temperature=0.2),
    "vicreg": lightly.loss.VICRegLoss(),
}
for name, criterion in losses.items():
    a, b = noise((6, 5), 0.0, 1.0).requires_grad_(), noise((6, 5), 1.0, 1.0).requires_grad_()
    loss = criterion(a, b)
    loss.backward()
    show(name, loss.detach())
    show("  gradient of a, row 0", a.grad[0])
    show("  gradient of b, row 5", b.grad[5])
a, b = noise((6, 5), 0.0, 1.0), noise((6, 5), 1.0, 1.0)
p1, p2 = noise((6, 5), 2.0, 1.0), noise((6, 5), 3.0, 1.0)
cosine = lightly.loss.NegativeCosineSimilarity()
show("simsiam", 0.5 * (cosine(p1, b) + cosine(p2, a)))

rules = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "lars": (lightly.utils.lars.LARS, {"momentum": 0.9, "trust_coefficient": 0.001}),
}
for name, (rule, options) in rules.items():
    weight, bias = noise((3, 4), 0.0, 1.0).requires_grad_(), noise((3,), 1.0, 1.0).requires_grad_()
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = rule(groups, lr=0.05, **options)
    for _ in range(10):
        optimizer.zero_grad()
        ((weight.sin() @ noise((4,), 2.0, 1.0) + bias) ** 2).sum().backward()
        optimizer.step()
    show(name, torch.cat([weight.detach()[1], bias.detach()]))


class Head(torch.nn.Module):
    """SimCLR's projection with the names that ours has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear0 = torch.nn.Linear(512, 512, bias=False)
        self.norm0 = torch.nn.BatchNorm1d(512)
        self.linear1 = torch.nn.Linear(512, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear1(self.norm0(self.linear0(x)).relu())


encoder, head = network("resnet18", True), Head().double()
fill(encoder)
fill(head)
decayed = [p for m in (encoder, head) for p in m.parameters() if p.dim() > 1]
others = [p for m in (encoder, head) for p in m.parameters() if p.dim() <= 1]
optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=1e-3)
criterion = lightly.loss.NTXentLoss(temperature=0.2)
curve = []
for step in range(8):
    first, second = (noise((8, 3, 32, 32), 10.0 * (step % 4) + view, 1.0) for view in (0, 1))
    projected = head(encoder(torch.cat([first, second])))
    loss = criterion(projected[:8], projected[8:])
    curve.append(loss.detach())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
show("SimCLR, 8 steps", torch.stack(curve))
