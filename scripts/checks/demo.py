#!/usr/bin/env python3
"""Checks what a run of the demo left behind: `demo.py OUT`."""

import csv
import json
import pathlib
import sys


def main(out: pathlib.Path) -> None:
    for stage in ["scenes", "tiles", "model", "index", "labels", "curated"]:
        manifest = json.loads((out / stage / "manifest.json").read_text())
        assert manifest["format"].startswith("curator."), stage
    truth = {row["tile_id"]: row["label"] for row in csv.DictReader((out / "truth.csv").open())}
    labels = list(csv.DictReader((out / "curated" / "labels.csv").open()))
    assert labels and set(labels[0]) == {
        "tile_id", "label", "class", "source", "probability", "labelled_by", "labelled_at",
    }, labels[:1]
    human = [row for row in labels if row["source"] == "human"]
    assert human, "nobody answered"
    wrong = [row["tile_id"] for row in human if row["label"] != truth[row["tile_id"]]]
    assert not wrong, f"labels that differ from the truth: {wrong[:3]}"
    positives = sum(label == "positive" for label in truth.values())
    found = sum(row["label"] == "positive" for row in human)
    by_chance = positives * len(human) / len(truth)
    assert found > by_chance, f"{found} positives in {len(human)} labels, chance finds {by_chance:.1f}"
    pictures = sum(1 for path in (out / "curated" / "positive").rglob("*") if path.is_file())
    assert pictures >= found, f"{pictures} pictures of {found} positives"
    report = (out / "report.html").read_text()
    for part in ["<svg", "data:image/jpeg", "recall"]:
        assert part in report, f"the report lacks {part}"
    print(f"demo: {len(truth)} tiles, {positives} islands, {found} found with {len(human)} labels")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
