#!/usr/bin/env python3
"""Exported labels opened by the programs they are for: COCO by pycocotools, Parquet by pyarrow, ImageFolder as
torchvision lists it; Label Studio's tasks by its own SDK and FiftyOne's form by fiftyone where they are installed
(hundreds of megabytes each), else held against their documentation. And back: every form is imported and says the
same.

Run by .deps/clients, which `scripts/setup.sh --test` makes. Exit code 77 when the packages are absent.
"""

import collections
import contextlib
import csv
import importlib.util
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

try:
    import pyarrow.parquet
    from PIL import Image
    from pycocotools.coco import COCO
except ImportError as missing:
    print(f"skipped: {missing}; `scripts/setup.sh --test` brings what is needed")
    sys.exit(77)

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "swipe-labeler"
CLASSES = ["beach", "river <&>", "it's $HOME"]


def run(*arguments) -> None:
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"


def make(place: pathlib.Path) -> dict:
    """Pictures in odd folders, two people who judged them; what holds, by tile."""
    holds = {}
    rows = collections.defaultdict(list)
    for i in range(24):
        tile = f"a folder/{'ab'[i % 2]}/é {i:02}.png"
        path = place / "tiles" / tile
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + i, 16), (10 * i, 90, 200)).save(path)
        label, name = [("negative", ""), ("unsure", ""), *(("positive", c) for c in CLASSES)][i % 5]
        holds[tile] = name or label
        for who in ["Ann", "Bob"][: 1 + i % 2]:
            rows[who].append([tile, label, name, who, f"2026-01-02T03:04:{i:02}Z"])
    for who, said in rows.items():
        table = place / f"{who}.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([["tile_id", "label", "class", "labelled_by", "labelled_at"], *said])
        run("import", table, "--from", "csv", "--tiles", place / "tiles", "-o", place / "labels")
    return holds


def is_picture(path: pathlib.Path, width: int) -> None:
    with Image.open(path) as image:
        assert image.size == (width, 16), path


def width_of(tile: str) -> int:
    return 8 + int(tile[-6:-4])


def coco(place: pathlib.Path) -> dict:
    with contextlib.redirect_stdout(io.StringIO()):
        opened = COCO(str(place / "labels.json"))
    names = {c["id"]: c["name"] for c in opened.loadCats(opened.getCatIds())}
    said = {}
    for image in opened.loadImgs(opened.getImgIds()):
        is_picture(place / "data" / image["file_name"], image["width"])
        (annotation,) = opened.loadAnns(opened.getAnnIds(imgIds=image["id"]))
        assert opened.annToMask(annotation).sum() == annotation["area"] == image["width"] * image["height"]
        said[image["tile_id"]] = names[annotation["category_id"]]
    return said


def label_studio(place: pathlib.Path) -> dict:
    """An annotation a person; those of a tile agree here."""
    tasks = json.loads((place / "tasks.json").read_text())
    assert sum(len(task["annotations"]) for task in tasks) == 36, "everybody's answers"
    view = xml.etree.ElementTree.parse(place / "label-config.xml").getroot()
    (choices,), (image,) = view.findall("Choices"), view.findall("Image")
    allowed = {choice.get("value") for choice in choices}
    said = {}
    for task in tasks:
        names = set()
        for result in (r for annotation in task["annotations"] for r in annotation["result"]):
            assert (result["from_name"], result["to_name"], result["type"]) == (choices.get("name"), image.get("name"), "choices")
            names.update(result["value"]["choices"])
        assert names <= allowed and image.get("value") == "$image", names
        relative = task["data"]["image"].removeprefix("/data/local-files/?d=")
        found = place / relative if (place / relative).exists() else place.parent / relative
        is_picture(found, width_of(task["data"]["tile_id"]))
        (said[task["data"]["tile_id"]],) = names
    if importlib.util.find_spec("label_studio_sdk"):
        assert label_studio_sdk_says(place, tasks) == said
        print("Label Studio's SDK took its tasks in")
    return said


def label_studio_sdk_says(place: pathlib.Path, tasks: list) -> dict:
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.label_interface import LabelInterface

    config = (place / "label-config.xml").read_text()
    interface = LabelInterface(config)
    interface.validate()
    # Label Studio numbers tasks and annotations when it takes them in.
    for i, task in enumerate(tasks):
        assert interface.validate_task({"data": task["data"]}), task
        task["id"] = i
        for j, annotation in enumerate(task["annotations"]):
            assert interface.validate_annotation(annotation), annotation
            annotation["id"] = 100 * i + j
    taken_in, converted = place / "taken-in.json", place / "converted"
    taken_in.write_text(json.dumps(tasks))
    Converter(config=config, project_dir=str(place), download_resources=False).convert_to_json_min(
        str(taken_in), str(converted), is_dir=False)
    rows = json.loads(next(converted.glob("*.json")).read_text())
    return {row["tile_id"]: row["label"] for row in rows}


def fiftyone(place: pathlib.Path) -> dict:
    document = json.loads((place / "labels.json").read_text())
    files = {path.stem: path for path in (place / "data").iterdir()}
    assert set(files) == set(document["labels"]), "labels are by file name without its ending"
    said = {}
    for stem, number in document["labels"].items():
        tile = document["tile_ids"][stem]
        is_picture(files[stem], width_of(tile))
        said[tile] = document["classes"][number]
    if importlib.util.find_spec("fiftyone"):
        # Its reader of this form, which unlike a whole dataset needs no database.
        from fiftyone.utils.data import FiftyOneImageClassificationDatasetImporter

        with FiftyOneImageClassificationDatasetImporter(dataset_dir=str(place)) as opened:
            theirs = {pathlib.Path(path).stem: label.label for path, _, label in opened}
        assert theirs == {stem: document["classes"][n] for stem, n in document["labels"].items()}
        print("fiftyone opened its own form")
    return said


def table(rows: list) -> dict:
    return {row["tile_id"]: row["class"] or row["label"] for row in rows}


def image_folder(place: pathlib.Path) -> dict:
    """A folder a class, as torchvision lists it; only the widths tell which picture is which."""
    found = {}
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        for path in folder.rglob("*.png"):
            with Image.open(path) as image:
                found[image.size[0]] = folder.name
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        holds = make(place)
        read = {
            "coco": coco, "label-studio": label_studio, "fiftyone": fiftyone,
            "parquet": lambda path: table(pyarrow.parquet.read_table(path).to_pylist()),
            "csv": lambda path: table(list(csv.DictReader(path.open(encoding="utf-8")))),
            "imagefolder": image_folder, "folders": image_folder,
        }
        for form, reader in read.items():
            output = place / f"to {form}" if form not in ("csv", "parquet") else place / f"labels.{form}"
            run("export", place / "labels", "--tiles", place / "tiles", "--to", form, "-o", output)
            said = reader(output)
            if reader is image_folder:
                kept = {t: h for t, h in holds.items() if form == "folders" or h != "unsure"}
                assert set(said) == {width_of(t) for t in kept}, (form, said)
                groups = collections.defaultdict(set)
                for tile, what in kept.items():
                    groups[what].add(width_of(tile))
                mine = collections.defaultdict(set)
                for width, folder in said.items():
                    mine[folder].add(width)
                assert sorted(map(sorted, mine.values())) == sorted(map(sorted, groups.values())), form
            else:
                assert said == holds, (form, said, holds)
            # And back.
            again = place / f"again {form}"
            run("import", output, "--from", form, "--tiles", place / "tiles", "-o", again)
            run("export", again, "--to", "csv", "-o", place / f"again-{form}.csv")
            back = table(list(csv.DictReader((place / f"again-{form}.csv").open(encoding="utf-8"))))
            wanted = {t: h for t, h in holds.items() if form != "imagefolder" or h != "unsure"}
            assert back == wanted, (form, back)
    print("exports: COCO, Label Studio, FiftyOne, Parquet, CSV and folders are what their programs expect, and come back")


if __name__ == "__main__":
    main()
