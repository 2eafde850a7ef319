"""What tests of the labelling page share: pictures, a server, its labels, and the question for a name."""

import json
import pathlib
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import zlib

from browser import Browser

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
READY = "document.querySelector('.card.top img')?.naturalWidth > 0"


def png(color: tuple, side: int = 64) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((c + (x ^ y)) & 255 for x in range(side) for c in color) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_tiles(place: pathlib.Path, count: int, broken: int = 0) -> pathlib.Path:
    folder = place / "it's $HOME" / "a class"
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"tile {i:03}.png").write_bytes(png((20 * i & 255, 90, 255 - (20 * i & 255))))
    for i in range(broken):
        (folder / f"zz broken {i}.png").write_bytes(png((1, 2, 3))[:60])
    return place / "it's $HOME"


class Server:
    def __init__(self, tiles: pathlib.Path, labels: pathlib.Path, *flags: str):
        command = [PROGRAMS / "swipe-labeler", "serve", tiles, "-o", labels, "--question", "Is there an island?", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.labels, self.link = labels, None
        for line in self.process.stderr:
            if line.startswith("open"):
                self.link = line.split()[1]
                return
        sys.exit("the server did not start")

    @property
    def base(self) -> str:
        return self.link.split("/?")[0]

    def link_for(self, role: str) -> str:
        made = subprocess.run([PROGRAMS / "swipe-labeler", "links", "add", self.labels, "--role", role, "--json"],
                              capture_output=True, text=True, check=True)
        time.sleep(1.2)  # a server looks once a second
        return f"{self.base}/?token={json.loads(made.stdout)['token']}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def query(labels: pathlib.Path, what: str) -> list:
    store = sqlite3.connect(f"file:{labels / 'labels.sqlite'}?mode=ro", uri=True)
    found = store.execute(
        f"SELECT {what} FROM events e WHERE kind IN ('answer', 'skip') AND NOT EXISTS "
        "(SELECT 1 FROM events u WHERE u.undoes = e.seq) ORDER BY seq").fetchall()
    store.close()
    return [row[0] if len(row) == 1 else row for row in found]


def expect(labels: pathlib.Path, wanted: list, what: str = "coalesce(label, kind)") -> None:
    for _ in range(100):
        if query(labels, what) == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"labels are {query(labels, what)}, expected {wanted}")


def enter(browser: Browser, name: str, ready: str = READY) -> None:
    """Answers the question for a name; another port is another page to the browser, which asks again."""
    browser.wait("document.getElementById('hello')?.open", "the question for a name")
    browser.run(f"document.getElementById('name').value = '{name}'; document.querySelector('#hello button').click()")
    browser.wait(ready, "a picture")
