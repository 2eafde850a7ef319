#!/usr/bin/env python3
"""`--fill inpaint` against a slow, direct computation of the same method.

    scripts/oracles/inpaint.py     needs numpy and Pillow in this python; exit code 77 where they are absent

The method is Newson et al. 2017 (https://doi.org/10.5201/ipol.2017.189): patches of 7×7 pixels, a pyramid, in each
level rounds of nearest patches and of colours that they vote for. Here the nearest patches are found by comparing every
patch with every other, in the program by PatchMatch. What both minimise is measured on both results, again by comparing
everything: the mean distance of the patches that touch the gap to the nearest patch outside. The program's may be at
most a quarter above the direct computation's, must be below that of the nearest colours, and its error on a texture
that is known must not be larger than theirs.
"""

import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy
    from PIL import Image
except ImportError:
    print("skipped: no numpy or Pillow")
    sys.exit(77)

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "data-preprocessor"
REACH, COARSEST, ROUNDS = 3, 24, 8
SIDE = 64


def patches(image: numpy.ndarray) -> numpy.ndarray:
    """All patches that lie inside, `[height - 6, width - 6, 147]`."""
    windows = numpy.lib.stride_tricks.sliding_window_view(image, (2 * REACH + 1, 2 * REACH + 1), axis=(0, 1))
    return windows.reshape(*windows.shape[:2], -1)


def touched(gap: numpy.ndarray) -> numpy.ndarray:
    """Which patches touch the gap."""
    return patches(gap[..., None].astype(float)).max(-1) > 0


def nearest(image: numpy.ndarray, gap: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Corners of the patches that touch the gap, of the nearest ones outside, and their squared distances."""
    all_patches, mask = patches(image), touched(gap)
    targets, sources = numpy.argwhere(mask), numpy.argwhere(~mask)
    a, b = all_patches[mask], all_patches[~mask]
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    best = squared.argmin(1)
    return targets, sources[best], numpy.maximum(squared[numpy.arange(len(a)), best], 0)


def vote(image: numpy.ndarray, gap: numpy.ndarray, best_only: bool) -> numpy.ndarray:
    targets, sources, distances = nearest(image, gap)
    spread = max(numpy.percentile(distances, 75), 1.0)
    total, weights = numpy.zeros(image.shape), numpy.zeros(gap.shape)
    least, chosen = numpy.full(gap.shape, numpy.inf), image.copy()
    for (y, x), (v, u), distance in zip(targets, sources, distances):
        there, here = image[v:v + 7, u:u + 7], (slice(y, y + 7), slice(x, x + 7))
        weight = numpy.exp(-distance / (2 * spread))
        total[here] += weight * there
        weights[here] += weight
        better = least[here] > distance
        least[here][better] = distance
        chosen[here][better] = there[better]
    colors = chosen if best_only else total / numpy.maximum(weights, 1e-12)[..., None]
    return numpy.where(gap[..., None], colors, image)


def spread_in(image: numpy.ndarray, gap: numpy.ndarray) -> numpy.ndarray:
    """Every pixel of the gap gets the colour of the nearest one outside."""
    valid = numpy.argwhere(~gap)
    filled = image.copy()
    for y, x in numpy.argwhere(gap):
        filled[y, x] = image[tuple(valid[((valid - (y, x)) ** 2).sum(1).argmin()])]
    return filled


def direct(image: numpy.ndarray, gap: numpy.ndarray) -> numpy.ndarray:
    levels = [(image.astype(float), gap)]
    while min(levels[-1][1].shape) // 2 >= COARSEST:
        above, holes = levels[-1]
        weights = (~holes).reshape(holes.shape[0] // 2, 2, -1, 2).astype(float)
        sums = (above * ~holes[..., None]).reshape(holes.shape[0] // 2, 2, holes.shape[1] // 2, 2, 3).sum((1, 3))
        known = weights.sum((1, 3))
        levels.append((sums / numpy.maximum(known, 1)[..., None], known < 2))
    current = spread_in(*levels[-1])
    for depth in range(len(levels) - 1, -1, -1):
        known, holes = levels[depth]
        if current.shape != known.shape:
            current = current.repeat(2, 0).repeat(2, 1)
        current = numpy.where(holes[..., None], current, known)
        for number in range(ROUNDS):
            current = vote(current, holes, depth == 0 and number + 1 == ROUNDS)
    return current


def textures() -> dict[str, numpy.ndarray]:
    random = numpy.random.default_rng(3)
    y, x = numpy.mgrid[:SIDE, :SIDE]
    paint = lambda mask, a, b: numpy.where(mask[..., None], a, b).astype(float)  # noqa: E731
    bricks = (y % 8 == 0) | ((x + (y // 8 % 2) * 6) % 12 == 0)
    made = {
        "stripes": paint((x + y) % 10 < 5, (200, 180, 90), (20, 60, 110)),
        "bricks": paint(bricks, (210, 210, 200), (150, 60, 40)),
        "dots": paint(((x % 9 - 4) ** 2 + (y % 9 - 4) ** 2) < 8, (30, 90, 40), (170, 150, 110)),
    }
    return {name: numpy.clip(image + random.normal(0, 3, image.shape), 0, 255).round() for name, image in made.items()}


def energy(image: numpy.ndarray, gap: numpy.ndarray) -> float:
    return float(nearest(image.astype(float), gap)[2].mean())


def main() -> None:
    y, x = numpy.mgrid[:SIDE, :SIDE]
    gap = (abs(x - 30 - y / 8) < 7) & (y > 12) & (y < 52)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "in").mkdir()
        truth = textures()
        for name, image in truth.items():
            alpha = numpy.where(gap, 0, 255)[..., None]
            Image.fromarray(numpy.concatenate([image * ~gap[..., None], alpha], 2).astype(numpy.uint8)).save(
                place / "in" / f"{name}.png")
        subprocess.run([PROGRAM, "tile", place / "in", "-o", place / "out", "--fill", "inpaint", "--to", "folders",
                        "--quiet"], check=True)
        ours = {path.stem: numpy.asarray(Image.open(path).convert("RGB")).astype(float)
                for path in (place / "out" / "pictures").rglob("*.png")}
        print(f"{'':8} distance of patches: program, direct, nearest colours; error in the gap")
        for name, image in truth.items():
            broken = image * ~gap[..., None]
            results = [ours[name], direct(broken, gap), spread_in(broken, gap)]
            assert (results[0][~gap] == image[~gap]).all(), f"{name}: pixels outside the gap changed"
            energies = [energy(result, gap) for result in results]
            errors = [float(numpy.sqrt(((result - image)[gap] ** 2).mean())) for result in results]
            print(f"{name:8} {energies[0]:9.0f} {energies[1]:9.0f} {energies[2]:9.0f}    "
                  f"{errors[0]:5.1f} {errors[1]:5.1f} {errors[2]:5.1f}")
            failed |= energies[0] > 1.25 * energies[1] or energies[0] > energies[2] or errors[0] > errors[2]
    if failed:
        sys.exit("the program's filling is worse than the direct computation allows")


if __name__ == "__main__":
    main()
