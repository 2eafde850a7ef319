#!/usr/bin/env python3
"""From one picture to a curated dataset in a real browser: the page asks, a person answers, the model learns
between cards, the server is killed and goes on, the result is written and applied. Standard library only.

Needs chromium and chromedriver; `scripts/setup.sh --test` installs them. Exit code 77 when they are absent.
"""

import csv
import json
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from browser import Browser, needed
from pipeline import PROGRAMS, images, run

READY = "document.querySelector('.card.top img')?.naturalWidth > 0"
POSITIVE = "a disc's $class"


class Live:
    """`active-labeler run`, and a browser on its page."""

    def __init__(self, place: pathlib.Path, *flags: str):
        reference = place / "photos" / POSITIVE / "picture 3.png"
        command = [PROGRAMS / "active-labeler", "run", place / "index", "--reference", reference, "--labels",
                   place / "labels", "-o", place / "curated", "--question", "Is it a disc?", "--no-progress", *flags]
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("open"):
                self.link = line.split()[1]
                return
        sys.exit("the server did not start")


def labels(place: pathlib.Path) -> list:
    store = sqlite3.connect(f"file:{place / 'labels' / 'labels.sqlite'}?mode=ro", uri=True)
    found = store.execute("SELECT tile_id, label, reason FROM events WHERE kind = 'answer' ORDER BY seq").fetchall()
    store.close()
    return found


def answer(browser: Browser, place: pathlib.Path, count: int) -> None:
    """Answers as somebody who knows a disc when they see one."""
    for _ in range(count):
        browser.wait(READY, "a picture")
        tile = browser.run("return document.querySelector('.card.top img').alt")
        before = len(labels(place))
        browser.press("right" if "disc" in tile else "left")
        for _ in range(200):
            if len(labels(place)) > before:
                break
            time.sleep(0.02)


def main(place: pathlib.Path) -> None:
    images(place / "photos")
    run("ssl-learner", "train", place / "photos", "-o", place / "model", "--arch", "minicnn", "--input-size", 32,
        "--epochs", 3, "--batch-size", 16, "-q")
    run("embed-indexer", "build", place / "photos", "--model", place / "model", "-o", place / "index", "-q")
    live, browser = Live(place), Browser(1200, 900)
    try:
        browser.open(live.link)
        browser.wait("document.getElementById('hello')?.open", "the question for a name")
        browser.run("document.getElementById('name').value = 'Ann'; document.querySelector('#hello button').click()")
        answer(browser, place, 12)
        panel = "document.getElementById('panel').textContent"
        browser.wait(f"{panel}.includes('Probably left') && {panel}.includes('Found of all')", "the meter")
        browser.wait("document.querySelectorAll('#chart image').length > 0", "the newest finds")
        # Another evening: the laptop was shut without a word.
        live.process.send_signal(signal.SIGKILL)
        live.process.wait()
        before = labels(place)
        live = Live(place)
        browser.open(live.link)
        browser.wait("document.getElementById('hello')?.open", "the question for a name")
        browser.run("document.getElementById('name').value = 'Ann'; document.querySelector('#hello button').click()")
        answer(browser, place, 20)
        after = labels(place)
        tiles = [tile for tile, _, _ in after]
        assert after[:12] == before[:12], ("lost", before, after)
        assert len(set(tiles)) == len(tiles), ("asked twice", after)
        assert all(reason for _, _, reason in after), "a card without a reason"
        found = sum(label == "positive" for _, label, _ in after)
        assert found > 16, f"{found} of 24 discs in {len(after)} labels of 48"
        browser.click("#finish")
        browser.wait("document.getElementById('finish-dialog').open", "the question before the end")
        browser.click("#finish-yes")
        assert live.process.wait(60) == 0, "the run failed"
        # A server that was killed cannot be reached; nothing else goes wrong.
        errors = [error for error in browser.errors() if "net::ERR" not in error]
        assert not errors, errors
    finally:
        browser.close()
        live.process.kill()

    curated = place / "curated"
    rows = list(csv.DictReader((curated / "labels.csv").open()))
    human = [row for row in rows if row["source"] == "human"]
    assert len(rows) == 48 and len(human) == len(after), (len(rows), len(human))
    assert {row["label"] for row in human} == {"positive", "negative"} and all(row["labelled_by"] == "Ann" for row in human)
    passport = json.loads((curated / "dataset.json").read_text())
    missed = passport["missed"]
    assert missed["interval"][0] <= missed["estimate"] <= missed["interval"][1], missed
    assert passport["threshold"]["recall"]["low"] <= passport["threshold"]["recall"]["estimate"], passport["threshold"]
    assert len(list((curated / "positive").iterdir())) >= found
    assert (curated / "doubted.csv").is_file() and (curated / "report.html").is_file()

    # The classifier for reuse finds the same in the same index, and only in one of the same model.
    run("active-labeler", "apply", curated, place / "index", "-o", place / "found", "-q")
    scores = {row["tile_id"]: float(row["probability"]) for row in csv.DictReader((place / "found" / "scores.csv").open())}
    discs = sorted(p for tile, p in scores.items() if "disc" in tile)
    bars = sorted(p for tile, p in scores.items() if "disc" not in tile)
    assert len(scores) == 48 and discs[len(discs) // 2] > bars[len(bars) // 2], (discs, bars)
    run("ssl-learner", "train", place / "photos", "-o", place / "other", "--arch", "minicnn", "--input-size", 32,
        "--epochs", 1, "--seed", 9, "-q")
    run("embed-indexer", "build", place / "photos", "--model", place / "other", "-o", place / "index2", "-q")
    assert "model" in run("active-labeler", "apply", curated, place / "index2", "-o", place / "x", "-q", code=1).stderr
    # Labels survive an index of another model.
    reference = place / "photos" / POSITIVE / "picture 3.png"
    report = json.loads(run("active-labeler", "simulate", place / "index2", "--reference", reference, "--truth", "folders",
                            "--labels", place / "labels", "-o", place / "curated2", "--budget", 40, "--json", "-q").stdout)
    assert report["labels"] == 40 and report["counts"]["human_positive"] >= found, report
    print(f"active page: {found} of 24 found with {len(after)} labels, killed once, finished, applied")


if __name__ == "__main__":
    needed()
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        main(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
