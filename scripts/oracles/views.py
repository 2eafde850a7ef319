#!/usr/bin/env python3
"""Prints the numbers that crates/curator-nn/tests/views.rs compares with: torchvision's operations on the
same parameters. Hue is turned in YIQ with numpy, as torchvision turns it in HSV.

    pip install torch==2.11.0 torchvision numpy
    scripts/oracles/views.py
"""

import math

import numpy
import torch
import torchvision.transforms.v2.functional as F

SIZE = 20
index = torch.arange(3 * SIZE * SIZE, dtype=torch.float64)
waves = torch.sin(index * 12.9898) * 43758.5453
picture = (0.4 + 0.2 * (waves - waves.floor())).reshape(3, SIZE, SIZE)


def show(name: str, view: torch.Tensor) -> None:
    """Five samples away from the border."""
    places = [(0, 10, 10), (1, 7, 12), (2, 12, 8), (0, 8, 9), (1, 11, 13)]
    print(name, [float(f"{view[place]:.7g}") for place in places])


bilinear = F.InterpolationMode.BILINEAR
# Left 3, top 5, width 12, height 10 of 20.
crop = F.resized_crop(picture, 5, 3, 10, 12, [SIZE, SIZE], interpolation=bilinear, antialias=False)
show("crop", crop)
show("rotation by 30 degrees, anticlockwise", F.rotate(picture, 30, interpolation=bilinear))
show("mirrored left to right", F.horizontal_flip(picture))
show("mirrored top to bottom", F.vertical_flip(picture))
show("brightness 1.2", F.adjust_brightness(picture, 1.2))
show("contrast 1.3", F.adjust_contrast(picture, 1.3))
show("saturation 0.4", F.adjust_saturation(picture, 0.4))
show("grey", F.rgb_to_grayscale(picture, 3))
mixed = F.adjust_saturation(F.adjust_contrast(F.adjust_brightness(picture, 1.1), 0.8), 1.4)
show("brightness 1.1, contrast 0.8, saturation 1.4", mixed)
show("blur 0.8", F.gaussian_blur(picture, [7, 7], [0.8, 0.8]))
show("blur 2", F.gaussian_blur(picture, [13, 13], [2.0, 2.0]))

yiq = numpy.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
angle = math.radians(40)
turn = numpy.eye(3)
turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
matrix = torch.from_numpy(numpy.linalg.solve(yiq, turn @ yiq))
show("hue 40 degrees", torch.einsum("ij,jhw->ihw", matrix, picture))
