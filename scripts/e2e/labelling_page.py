#!/usr/bin/env python3
"""Labels in a real browser: keys, buttons, undo, a reload, a killed server. Standard library only.

    scripts/e2e/labelling_page.py [--tiles DIR] [--screenshots DIR]

Needs chromium and chromedriver; `scripts/setup.sh --test` installs them. Exit code 77 when they are absent.
"""

import argparse
import base64
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
KEYS = {"right": "\ue014", "left": "\ue012", "down": "\ue015", "backspace": "\ue003"}


class Browser:
    """A WebDriver session."""

    def __init__(self, width: int, height: int):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = None
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                port = line.rsplit(" ", 1)[1].strip(" .\n")
                break
        self.base = f"http://127.0.0.1:{port}"
        self.profile = tempfile.mkdtemp()
        options = {"args": [*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"]}
        reply = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.base += f"/session/{reply['sessionId']}"

    def call(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["value"]

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    def run(self, script: str):
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, condition: str, what: str):
        for _ in range(100):
            value = self.run(f"return {condition}")
            if value:
                return value
            time.sleep(0.1)
        sys.exit(f"waited in vain for {what}")

    def press(self, key: str) -> None:
        actions = [{"type": "keyDown", "value": KEYS.get(key, key)}, {"type": "keyUp", "value": KEYS.get(key, key)}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def swipe(self, dx: int) -> None:
        x, y = self.run("const r = document.getElementById('card').getBoundingClientRect();"
                        "return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)]")
        moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 0}, {"type": "pointerDown", "button": 0}]
        moves += [{"type": "pointerMove", "x": x + dx * i // 5, "y": y, "duration": 30} for i in range(1, 6)]
        moves += [{"type": "pointerUp", "button": 0}]
        kind = {"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}, "actions": moves}
        self.call("POST", "/actions", {"actions": [kind]})

    def save(self, path: pathlib.Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self) -> None:
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


def png(color: tuple) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(color) * 32) * 32
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def serve(tiles: pathlib.Path, labels: pathlib.Path) -> tuple:
    command = [PROGRAMS / "swipe-labeler", "serve", tiles, "-o", labels, "--question", "Is there an island?"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if line.startswith("open"):
            return server, line.split()[1]
    sys.exit("the server did not start")


def labels_in(labels: pathlib.Path) -> list:
    store = sqlite3.connect(f"file:{labels / 'labels.sqlite'}?mode=ro", uri=True)
    query = ("SELECT label FROM events e WHERE kind = 'answer' AND NOT EXISTS "
             "(SELECT 1 FROM events u WHERE u.undoes = e.seq) ORDER BY seq")
    found = [row[0] for row in store.execute(query)]
    store.close()
    return found


def expect(labels: pathlib.Path, wanted: list) -> None:
    for _ in range(50):
        if labels_in(labels) == wanted:
            return
        time.sleep(0.1)
    sys.exit(f"labels are {labels_in(labels)}, expected {wanted}")


def enter(browser: Browser, name: str) -> None:
    """Answers the question for a name; another port is another page to the browser, which asks again."""
    browser.wait("document.getElementById('hello').open", "the question for a name")
    browser.run(f"document.getElementById('name').value = '{name}'; document.querySelector('#hello button').click()")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiles", type=pathlib.Path)
    parser.add_argument("--screenshots", type=pathlib.Path)
    options = parser.parse_args()
    if not (shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome"))):
        print("skipped: no chromium or chromedriver; `scripts/setup.sh --test` installs them")
        sys.exit(77)
    place = pathlib.Path(tempfile.mkdtemp())
    tiles = options.tiles
    if tiles is None:
        tiles = place / "it's $HOME" / "a class"
        tiles.mkdir(parents=True)
        for i in range(12):
            (tiles / f"tile {i}.png").write_bytes(png((20 * i, 90, 255 - 20 * i)))
        tiles = place / "it's $HOME"
    labels = place / "labels"
    server, link = serve(tiles, labels)
    browser = Browser(1100, 900)
    try:
        browser.open(link)
        assert "token" not in browser.run("return location.href"), "the token stays in the address"
        enter(browser, "Ann")
        ready = "document.getElementById('picture').complete && document.getElementById('picture').naturalWidth > 0"
        browser.wait(ready, "a picture")
        browser.press("right")
        browser.press("x")
        browser.press("down")
        expect(labels, ["positive", "negative", "unsure"])
        browser.press("backspace")
        expect(labels, ["positive", "negative"])
        browser.run("document.querySelector('#buttons .yes').click()")
        expect(labels, ["positive", "negative", "positive"])
        browser.swipe(-220)
        expect(labels, ["positive", "negative", "positive", "negative"])
        browser.wait("document.getElementById('counts').textContent.startsWith('4 of')", "the count")
        if options.screenshots:
            options.screenshots.mkdir(parents=True, exist_ok=True)
            time.sleep(1)
            browser.save(options.screenshots / "labelling.png")
        # Whatever happens to the server, what was acknowledged is there, and the next run goes on.
        server.send_signal(signal.SIGKILL)
        server.wait()
        server, link = serve(tiles, labels)
        browser.open(link)
        enter(browser, "Ann")
        browser.wait(ready, "a picture after the server was killed")
        browser.press("a")
        expect(labels, ["positive", "negative", "positive", "negative", "positive"])
        if options.screenshots:
            browser.close()
            browser = Browser(500, 900)
            browser.open(link)
            enter(browser, "Bob")
            browser.wait(ready, "a picture on the phone")
            time.sleep(1)
            browser.save(options.screenshots / "labelling-phone.png")
        print("labelling page: keys, button, swipe, undo and restart work in a real browser")
    finally:
        browser.close()
        server.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    main()
