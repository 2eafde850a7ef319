#!/usr/bin/env python3
"""Composites and cloud masks against known truth, and against the per-pixel median and minimum.

    pip install numpy pillow scikit-image
    scripts/bench/clouds.py [--data ../shared/data] [-o out/bench/clouds] [--days 8] [--pictures]

Two kinds of sequences: the procedural Earth of `gibs-standin`, whose clouds are known, and crops of NASA's Blue
Marble under synthetic clouds of five octaves of noise with their shadows, with light that changes by up to 6 % a day. Both are
served by `gibs-standin`, fetched, and composed by the program. Prints PSNR and SSIM of the composites where they
have data, and IoU of the masks of clouds (truth: opacity of at least 0.3) with the mean confidence of right and of
wrong pixels. `--pictures` also lays the two California days and the MODIS mosaics beside their composites.
"""

import argparse
import datetime
import pathlib
import re
import shutil
import subprocess
import sys

import numpy
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

Image.MAX_IMAGE_PIXELS = None
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "target" / "release"
OPAQUE = 0.3
FIRST = datetime.date(2020, 9, 10)
# Degrees a pixel of the levels of the grids, and the names of the grids.
PIXEL = {5: 0.5625 / 32, 8: 0.5625 / 256}
PLACES = {  # west and north corner in tiles of level 5 (9 degrees a tile), 2 by 2 tiles
    "coast of Brazil": (15, 10),
    "Sahara": (20, 7),
    "Congo": (22, 9),
    "Indonesia": (33, 9),
    "Himalaya": (28, 6),
}


def run(*command: object) -> None:
    words = [str(word) for word in command]
    print("$", " ".join(words), file=sys.stderr)
    done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"failed with {done.returncode}: {' '.join(words)}")


class Standin:
    """The stand-in server while the block runs."""

    def __init__(self, *options: object):
        words = [str(PROGRAMS / "gibs-standin"), "serve", "--port", "0", *map(str, options)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self) -> str:
        for line in self.process.stdout:
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                return found.group()
        sys.exit("gibs-standin did not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def noise(size: int, octaves: int, coarsest: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """Fractal noise of mean 0 and deviation 1."""
    total = numpy.zeros((size, size))
    for octave in range(octaves):
        cells = size // coarsest * 2**octave + 2
        coarse = Image.fromarray(generator.standard_normal((cells, cells)).astype(numpy.float32))
        total += numpy.asarray(coarse.resize((size, size), Image.BICUBIC)) * 0.55**octave
    return (total - total.mean()) / total.std()


def clouded(ground: numpy.ndarray, day: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The ground under the clouds of a day, and their opacity."""
    generator = numpy.random.default_rng([seed, day])
    size = ground.shape[0]
    shape = noise(size, 5, 256, generator)
    cover = generator.uniform(0.2, 0.65)
    threshold = numpy.quantile(shape, 1 - cover)
    opacity = numpy.clip((shape - threshold) / 0.9 + 0.15, 0, 0.97) * (shape > threshold - 0.13)
    white = 228 + 12 * noise(size, 3, 64, generator)
    light = generator.uniform(0.94, 1.06)
    # The sun stands in the south-east: shadows fall 12 pixels to the north-west.
    shadow = 1 - 0.45 * numpy.roll(opacity, (-12, -12), (0, 1))
    seen = ground * light * shadow[..., None] * (1 - opacity[..., None]) + white[..., None] * opacity[..., None]
    seen += generator.standard_normal(seen.shape) * 1.5
    return numpy.clip(seen, 2, 255).astype(numpy.uint8), opacity


def read(root: pathlib.Path, layer: str, day: str, level: int, corner: tuple[int, int], mode: str) -> numpy.ndarray:
    """Two by two native tiles of a layer."""
    folder = next((root / "native" / layer / day).glob(f"*/{level}"))
    rows = []
    for row in (corner[1], corner[1] + 1):
        tiles = [next(folder.glob(f"{row}_{column}.*")) for column in (corner[0], corner[0] + 1)]
        rows.append(numpy.hstack([numpy.asarray(Image.open(tile).convert(mode)) for tile in tiles]))
    return numpy.vstack(rows)


def measure(name: str, ground: numpy.ndarray, days: list, seen: list, truth: list, out: pathlib.Path,
            layer: str, level: int, corner: tuple[int, int]) -> list[str]:
    """Rows of the tables for one sequence; `seen` are the days as served, `truth` opacities."""
    times = [str(FIRST + datetime.timedelta(day)) for day in days]
    composite = read(out, f"{layer}_Composite", times[0], level, corner, "RGB")
    empty = read(out, f"{layer}_Composite_Data_No_Data", times[0], level, corner, "LA")[..., 1] > 0
    stack = numpy.stack(seen).astype(numpy.float32)
    # Swath gaps are black: nothing was seen there.
    unseen = stack.max(-1) < 3
    masked = numpy.where(unseen[..., None], numpy.nan, stack)
    everywhere = ~unseen.all(0)
    with numpy.errstate(all="ignore"):
        median = numpy.nan_to_num(numpy.nanmedian(masked, 0))
        darkest = numpy.nanargmin(numpy.where(unseen.all(0), 0, masked.sum(-1)), 0)
    minimum = numpy.take_along_axis(stack, darkest[None, ..., None], 0)[0]
    cells = []
    for picture in (composite, median, minimum):
        both = everywhere & ~empty
        flat = [numpy.where(both[..., None], image, 0).astype(numpy.uint8) for image in (ground, picture)]
        psnr = peak_signal_noise_ratio(flat[0][both], flat[1][both], data_range=255)
        ssim = structural_similarity(*flat, channel_axis=2, data_range=255)
        cells.append(f"{psnr:.1f} · {ssim:.3f}")
    both_sum = either_sum = 0
    single_both = single_either = 0
    right, wrong = [], []
    for time, opacity, picture in zip(times, truth, seen):
        found = read(out, f"{layer}_Cloud_Probability", time, level, corner, "LA")
        known, probability = found[..., 1] > 0, found[..., 0] / 250
        cloudy, mask = opacity >= OPAQUE, probability >= 0.5
        both_sum += (known & cloudy & mask).sum()
        either_sum += (known & (cloudy | mask)).sum()
        low, high = picture.min(-1).astype(int), picture.max(-1).astype(int)
        bright = low >= 135 + 0.9 * (high - low)
        single_both += (known & cloudy & bright).sum()
        single_either += (known & (cloudy | bright)).sum()
        confidence = numpy.abs(2 * probability - 1)
        right.append(confidence[known & (cloudy == mask)])
        wrong.append(confidence[known & (cloudy != mask)])
    right, wrong = numpy.concatenate(right), numpy.concatenate(wrong)
    empty_share = 100 * empty.mean()
    return [name, *cells, f"{empty_share:.1f} %", f"{both_sum / max(either_sum, 1):.3f}",
            f"{single_both / max(single_either, 1):.3f}", f"{right.mean():.2f} · {wrong.mean():.2f}"]


def procedural(out: pathlib.Path, count: int) -> list[list[str]]:
    layer, ground_layer, truth_layer = ("MODIS_Terra_CorrectedReflectance_TrueColor",
                                        "BlueMarble_ShadedRelief_Bathymetry", "Procedural_Cloud_Opacity")
    level, corner = 8, (144, 70)
    span = PIXEL[level] * 512
    west, north = -180 + corner[0] * span, 90 - corner[1] * span
    bbox = f"--bbox={west},{north - 2 * span},{west + 2 * span},{north}"
    last = FIRST + datetime.timedelta(count - 1)
    place = out / "procedural"
    dates = ["--from", FIRST, "--to", last]
    with Standin() as url:
        run(PROGRAMS / "gibs-downloader", "fetch", layer, bbox, *dates, "-o", place / "scenes", "--endpoint", url)
        run(PROGRAMS / "gibs-downloader", "fetch", truth_layer, bbox, *dates, "-o", place / "truth", "--endpoint", url)
    run(PROGRAMS / "data-preprocessor", "composite", place / "scenes", "-o", place / "composite")
    days = list(range(count))
    times = [str(FIRST + datetime.timedelta(day)) for day in days]
    seen = [read(place / "scenes", layer, time, level, corner, "RGB") for time in times]
    truth = [read(place / "truth", truth_layer, time, level, corner, "L") / 255 for time in times]
    # Haze and light change every day, so the true ground is known up to them: the mean of clear days.
    stack = numpy.stack(seen).astype(float)
    clear = (numpy.stack(truth) < 0.02) & (stack.max(-1) >= 3)
    with numpy.errstate(all="ignore"):
        ground = (stack * clear[..., None]).sum(0) / clear.sum(0)[..., None]
    known = clear.any(0)
    ground = numpy.where(known[..., None], ground, 0)
    seen = [numpy.where(known[..., None], picture, 0) for picture in seen]
    row = measure("procedural Earth", ground, days, seen, truth, place / "composite", layer, level, corner)
    return [row]


def marble(data: pathlib.Path, out: pathlib.Path, count: int) -> list[list[str]]:
    globe = Image.open(data / "gibs" / "bluemarble_small.jpg").convert("RGB")
    place, level = out / "marble", 5
    pictures = place / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    span, rows = PIXEL[level] * 512, []
    truths = {}
    for number, (name, corner) in enumerate(PLACES.items()):
        west, north = -180 + corner[0] * span, 90 - corner[1] * span
        scale = globe.width / 360
        box = ((west + 180) * scale, (90 - north) * scale, (west + 180 + 2 * span) * scale, (90 - north + 2 * span) * scale)
        ground = numpy.asarray(globe.resize((1024, 1024), Image.LANCZOS, box=box)).astype(float)
        layer = re.sub("[^A-Za-z]", "", name)
        truths[name] = (layer, corner, ground, [])
        for day in range(count):
            seen, opacity = clouded(ground, day, number)
            truths[name][3].append(opacity)
            path = pictures / f"{layer}_{FIRST + datetime.timedelta(day)}.png"
            Image.fromarray(seen).save(path)
            pixel = PIXEL[level]
            path.with_suffix(".wld").write_text(f"{pixel}\n0\n0\n{-pixel}\n{west + pixel / 2}\n{north - pixel / 2}\n")
    last = FIRST + datetime.timedelta(count - 1)
    with Standin("--images", pictures) as url:
        for layer, corner, _, _ in truths.values():
            west, north = -180 + corner[0] * span, 90 - corner[1] * span
            bbox = f"--bbox={west},{north - 2 * span},{west + 2 * span},{north}"
            run(PROGRAMS / "gibs-downloader", "fetch", layer, bbox, "--from", FIRST, "--to", last, "-o",
                place / "scenes", "--endpoint", url)
    run(PROGRAMS / "data-preprocessor", "composite", place / "scenes", "-o", place / "composite")
    for name, (layer, corner, ground, opacities) in truths.items():
        times = [str(FIRST + datetime.timedelta(day)) for day in range(count)]
        seen = [read(place / "scenes", layer, time, level, corner, "RGB") for time in times]
        rows.append(measure(name, ground, list(range(count)), seen, opacities, place / "composite", layer, level, corner))
        sheet = [seen[0], seen[1], read(place / "composite", f"{layer}_Composite", times[0], level, corner, "RGB")]
        probability = read(place / "composite", f"{layer}_Cloud_Probability", times[0], level, corner, "LA")[..., 0]
        sheet.append(numpy.repeat(probability[..., None], 3, 2))
        Image.fromarray(numpy.hstack(sheet)[::2, ::2].astype(numpy.uint8)).save(out / f"{layer}.png")
    return rows


def mosaic(root: pathlib.Path, layer: str, time: str, mode: str) -> Image.Image:
    """All native tiles of a layer and time."""
    folder = next((root / "native" / layer / time).glob("*/*"))
    tiles = {tuple(map(int, path.stem.split("_"))): path for path in folder.iterdir()}
    top, left = min(row for row, _ in tiles), min(column for _, column in tiles)
    bottom, right = max(row for row, _ in tiles), max(column for _, column in tiles)
    sheet = Image.new(mode, ((right - left + 1) * 512, (bottom - top + 1) * 512))
    for (row, column), path in tiles.items():
        sheet.paste(Image.open(path).convert(mode), ((column - left) * 512, (row - top) * 512))
    return sheet


def beside(data: pathlib.Path, out: pathlib.Path) -> None:
    """Real days beside what came of them."""
    place = out / "real"
    pictures = place / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    days = sorted((data / "gibs" / "california_two_days").glob("*.jpeg"))
    pixel = PIXEL[8] * 1.0
    for day, path in enumerate(days):
        name = pictures / f"California_{FIRST + datetime.timedelta(day)}.jpg"
        shutil.copyfile(path, name)
        name.chmod(0o644)
        name.with_suffix(".wld").write_text(f"{pixel}\n0\n0\n{-pixel}\n-124.2\n40.3\n")
    for day, path in enumerate(sorted((data / "gibs" / "multiday_global_1200x600").glob("*.png"))):
        # The undated one stands for another day of the same September.
        name = pictures / f"Globe_{FIRST + datetime.timedelta(day)}.png"
        Image.open(path).convert("RGB").save(name)
    with Standin("--images", pictures) as url:
        last = FIRST + datetime.timedelta(2)
        run(PROGRAMS / "gibs-downloader", "fetch", "California", "--bbox=-124.2,37.1,-121.1,40.3", "--from", FIRST, "--to",
            FIRST + datetime.timedelta(1), "-o", place / "scenes", "--endpoint", url)
        run(PROGRAMS / "gibs-downloader", "fetch", "Globe", "--bbox=-180,-90,180,90", "--from", FIRST, "--to", last, "-o",
            place / "scenes", "--endpoint", url)
    run(PROGRAMS / "data-preprocessor", "composite", place / "scenes", "-o", place / "composite")
    strips = [strip(place, "California", 2, 340), strip(place, "Globe", 3, 340)]
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips) + 6), "white")
    sheet.paste(strips[0], (0, 0))
    sheet.paste(strips[1], (0, strips[0].height + 6))
    sheet.save(out / "composites.jpg", quality=82)
    print(f"wrote {out / 'composites.jpg'}: two days, the composite of all, and the second day's probabilities of cloud",
          file=sys.stderr)


def strip(place: pathlib.Path, layer: str, count: int, width: int) -> Image.Image:
    """Two days, the composite of all, and the second day's clouds, beside each other, without what is empty around."""
    times = [str(FIRST + datetime.timedelta(day)) for day in range(count)]
    days = [mosaic(place / "scenes", layer, time, "RGB") for time in times]
    box = days[1].point(lambda sample: 255 if sample > 12 else 0).getbbox()
    shown = [*days[:2], mosaic(place / "composite", f"{layer}_Composite", times[0], "RGB"),
             mosaic(place / "composite", f"{layer}_Cloud_Probability", times[1], "LA").convert("RGB")]
    height = (box[3] - box[1]) * width // (box[2] - box[0])
    sheet = Image.new("RGB", (len(shown) * (width + 4) - 4, height), "white")
    for number, picture in enumerate(shown):
        sheet.paste(picture.crop(box).resize((width, height), Image.LANCZOS), (number * (width + 4), 0))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / ".." / "shared" / "data")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "out" / "bench" / "clouds")
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--pictures", action="store_true")
    options = parser.parse_args()
    shutil.rmtree(options.output, ignore_errors=True)
    options.output.mkdir(parents=True)
    rows = procedural(options.output, options.days)
    if (options.data / "gibs").is_dir():
        rows += marble(options.data, options.output, options.days)
    else:
        print(f"skipped: no {options.data}/gibs", file=sys.stderr)
    print(f"{options.days} days. PSNR in dB · SSIM; confidence of right · wrong pixels.\n")
    print("| place | composite | median | minimum | left empty | IoU of masks | IoU of one day's | confidence |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if options.pictures and (options.data / "gibs").is_dir():
        beside(options.data, options.output)


if __name__ == "__main__":
    main()
