#!/usr/bin/env python3
"""Figures of the labelling server: speed, memory, kill -9, power loss. Standard library only.

    scripts/bench/labelling.py start     [--tiles 1000000]
    scripts/bench/labelling.py load      [--tiles 1000000 --clients 100 --seconds 20]
    scripts/bench/labelling.py kill      [--kills 100]
    scripts/bench/labelling.py powerloss [--losses 20]      (needs a C compiler)

Needs `cargo build --release -p swipe-labeler -p curator-testkit`. Prints a table; exits 1 when an answer is
lost or a picture was given twice at once.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = HERE.parents[1] / "target" / "release"


def png(seed: int, side: int = 256) -> bytes:
    """A smooth picture that compresses to about 20 kB."""
    noise = random.Random(seed)
    steps = [[noise.randrange(256) for _ in range(3)] for _ in range(side)]
    rows = b"".join(b"\0" + bytes((c + x // 2) & 255 for x in range(side) for c in steps[y // 8 * 8]) for y in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_tiles(place: pathlib.Path, count: int) -> pathlib.Path:
    """Files are hard links to a few pictures: listing sees a million names, the disk a few pictures."""
    tiles = place / "tiles"
    originals = place / "originals"
    originals.mkdir(parents=True)
    each = 30_000  # links that file systems allow
    for i in range(-(-count // each)):
        (originals / f"{i}.png").write_bytes(png(i))
    for i in range(count):
        folder = tiles / f"{i // 1000:04}"
        if i % 1000 == 0:
            folder.mkdir(parents=True)
        os.link(originals / f"{i // each}.png", folder / f"{i:07}.png")
    return tiles


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """swipe-labeler on a port of its own; `link` as it printed it."""

    def __init__(self, tiles: pathlib.Path, labels: pathlib.Path, port: int, env=None, flags=()):
        self.begun = time.perf_counter()
        command = [PROGRAMS / "swipe-labeler", "serve", tiles, "-o", labels, "--port", str(port), "--rate", "0", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.link, self.lines = None, []
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("open"):
                self.link = line.split()[1]
                break
        if not self.link:
            sys.exit("the server did not start: " + "".join(self.lines))
        self.started = time.perf_counter() - self.begun
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def memory(self) -> float:
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def first_picture(link: str, timeout: float = 60) -> float:
    """Seconds until the first picture can be asked for, as a browser would."""
    begun = time.perf_counter()
    jar = urllib.request.HTTPCookieProcessor()
    opener = urllib.request.build_opener(jar)
    opener.open(link).read()
    base = link.split("/?")[0]
    while time.perf_counter() - begun < timeout:
        body = json.dumps({"who": "first", "tab": "tab-first", "n": 1}).encode()
        request = urllib.request.Request(base + "/api/cards", body, {"content-type": "application/json"})
        if json.load(opener.open(request))["cards"]:
            body = json.dumps({"who": "first", "tab": "tab-first"}).encode()
            opener.open(urllib.request.Request(base + "/api/release", body, {"content-type": "application/json"}))
            return time.perf_counter() - begun
        time.sleep(0.02)
    sys.exit("no picture came")


def load(link: str, log: pathlib.Path, clients: int, seconds: float, pictures: bool = False) -> subprocess.Popen:
    command = [PROGRAMS / "labelling-load", link, "--clients", str(clients), "--seconds", str(int(seconds)), "--log", log]
    return subprocess.Popen(command + (["--pictures"] if pictures else []), stdout=subprocess.PIPE, text=True)


def lines_of(log: pathlib.Path):
    return [line.split("\t") for line in log.read_text().splitlines()]


def stored_keys(labels: pathlib.Path) -> collections.Counter:
    store = sqlite3.connect(f"file:{labels / 'labels.sqlite'}?mode=ro", uri=True)
    keys = collections.Counter(row[0] for row in store.execute("SELECT key FROM events WHERE kind = 'answer'"))
    store.close()
    return keys


def hold_against(log: pathlib.Path, labels: pathlib.Path) -> tuple:
    """Acknowledged answers, how many of them are lost, and how many were refused."""
    seen = lines_of(log)
    acknowledged = {line[3] for line in seen if line[0] == "stored"}
    refused = sum(line[0] == "refused" for line in seen)
    keys = stored_keys(labels)
    twice = sum(count > 1 for count in keys.values())
    return len(acknowledged), len(acknowledged - set(keys)), refused + twice


def given_twice(log: pathlib.Path) -> int:
    holders = collections.defaultdict(set)
    for line in lines_of(log):
        if line[0] == "deal":
            holders[line[2]].add(line[1])
    return sum(len(people) > 1 for people in holders.values())


def table(rows: list) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"| {name.ljust(width)} | {value} |")


def measure_start(options) -> int:
    """From the start of the program to the first picture, and to the whole list."""
    place = pathlib.Path(tempfile.mkdtemp(dir=options.place))
    try:
        folder, tiles = make_tiles(place, options.tiles), place / "tiles of parquet"
        subprocess.run([PROGRAMS / "labelling-tiles", tiles, "--count", str(options.tiles)], check=True)
        print("| | page is up | first picture | all listed | memory |")
        for name, source, order in [("folder", folder, "name"), ("folder, `--order random`", folder, "random"),
                                    ("`tiles/`", tiles, "name"), ("`tiles/`, `--order random`", tiles, "random")]:
            labels = place / f"labels {name}".replace("/", "")
            server = Server(source, labels, free_port(), flags=["--order", order])
            first = server.started + first_picture(server.link)
            while not any(line.endswith("pictures\n") for line in server.lines):
                time.sleep(0.01)
            listed = time.perf_counter() - server.begun
            print(f"| {name} | {server.started:.2f} s | {first:.2f} s | {listed:.1f} s | {server.memory():.0f} MB |", flush=True)
            server.stop()
        return 0
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure_load(options) -> int:
    place = pathlib.Path(tempfile.mkdtemp(dir=options.place))
    try:
        tiles = make_tiles(place, options.tiles)
        failures = 0
        for pictures in (False, True):
            labels = place / f"labels-{pictures}"
            server = Server(tiles, labels, free_port())
            first = first_picture(server.link)
            before = server.memory()
            client = load(server.link, place / "log", options.clients, options.seconds, pictures)
            memory = []
            while client.poll() is None:
                time.sleep(0.5)
                memory.append(server.memory())
            result = json.loads(client.stdout.read())
            server.stop()
            acknowledged, lost, wrong = hold_against(place / "log", labels)
            twice = given_twice(place / "log")
            failures += lost + wrong + twice
            half = len(memory) // 2
            print(f"\n{options.tiles:,} pictures, {options.clients} people, "
                  f"{'every picture fetched' if pictures else 'pictures not fetched'}")
            table([
                ("server answers after", f"{server.started:.2f} s"),
                ("first picture after", f"{server.started + first:.2f} s"),
                ("answers acknowledged", f"{acknowledged:,} in {result['seconds']:.0f} s"),
                ("answers a second", f"{result['answers_per_second']:,.0f}"),
                ("answer on the disk, p50 / p99", "{p50_ms:.1f} / {p99_ms:.1f} ms".format(**result["answer"])),
                ("next pictures handed out, p50 / p99", "{p50_ms:.1f} / {p99_ms:.1f} ms".format(**result["cards"])),
                *([("picture fetched, p50 / p99", "{p50_ms:.1f} / {p99_ms:.1f} ms".format(**result["picture"]))] if pictures else []),
                ("memory before / half-way / at the end", f"{before:.0f} / {memory[half]:.0f} / {memory[-1]:.0f} MB"),
                ("answers lost", lost),
                ("pictures given to two people at once", twice),
                ("answers refused or stored twice", wrong),
            ])
        return failures
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure_kill(options) -> int:
    place = pathlib.Path(tempfile.mkdtemp(dir=options.place))
    try:
        tiles, labels, port = make_tiles(place, options.tiles), place / "labels", free_port()
        server = Server(tiles, labels, port)
        client = load(server.link, place / "log", 50, options.kills * 3 + 60)
        chance, begun = random.Random(7), time.perf_counter()
        for _ in range(options.kills):
            time.sleep(chance.uniform(0.05, 0.9))
            server.kill()
            server = Server(tiles, labels, port)
            first_picture(server.link)
        time.sleep(2)
        client.send_signal(signal.SIGINT)
        client.wait()
        server.stop()
        acknowledged, lost, wrong = hold_against(place / "log", labels)
        verified = subprocess.run([PROGRAMS / "swipe-labeler", "verify", labels], capture_output=True, text=True)
        table([
            ("kill -9 under load", options.kills),
            ("seconds", f"{time.perf_counter() - begun:.0f}"),
            ("answers acknowledged", f"{acknowledged:,}"),
            ("answers lost", lost),
            ("answers refused or stored twice", wrong),
            ("pictures given to two people at once", given_twice(place / "log")),
            ("verify", verified.stdout.strip() or verified.stderr.strip()),
        ])
        return lost + wrong + given_twice(place / "log") + verified.returncode
    finally:
        shutil.rmtree(place, ignore_errors=True)


def after_power_loss(journal: pathlib.Path, target: pathlib.Path, chance: random.Random) -> int:
    """The files as a power failure leaves them: what was synced, and of the rest any part, torn anywhere.
    Returns the bytes that were dropped."""
    data, at = journal.read_bytes(), 0
    durable, pending, dropped = collections.defaultdict(bytearray), collections.defaultdict(list), 0

    def apply(file: bytearray, kind: str, offset: int, content: bytes) -> None:
        if kind == "T":
            del file[offset:]
            file.extend(bytes(offset - len(file)))
        else:
            file.extend(bytes(max(0, offset + len(content) - len(file))))
            file[offset:offset + len(content)] = content

    while at + 3 <= len(data):
        kind = chr(data[at])
        size, = struct.unpack_from("<H", data, at + 1)
        if at + 3 + size + 12 > len(data):
            break
        name = data[at + 3:at + 3 + size].decode()
        offset, length = struct.unpack_from("<QI", data, at + 3 + size)
        begin = at + 3 + size + 12
        content = data[begin:begin + length]
        if len(content) < length:
            break
        at = begin + length
        if kind == "S":
            for operation in pending.pop(name, []):
                apply(durable[name], *operation)
        elif kind == "U":
            durable.pop(name, None)
            pending.pop(name, None)
        else:
            pending[name].append((kind, offset, content))
    for name, operations in pending.items():
        for kind, offset, content in operations:
            luck = chance.random()
            if luck < 0.4:
                dropped += len(content)
                continue
            if luck < 0.6 and content:
                kept = chance.randrange(len(content))
                dropped += len(content) - kept
                content = content[:kept]
            apply(durable[name], kind, offset, content)
    target.mkdir(parents=True)
    for name, content in durable.items():
        (target / name).write_bytes(content)
    return dropped


def measure_powerloss(options) -> int:
    place = pathlib.Path(tempfile.mkdtemp(dir=options.place))
    try:
        layer = place / "powerloss.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-w", HERE / "powerloss.c", "-o", layer, "-ldl", "-lpthread"], check=True)
        tiles, chance = make_tiles(place, 50_000), random.Random(7)
        acknowledged = lost = wrong = damaged = dropped = 0
        for i in range(options.losses):
            labels, journal, log = place / f"labels-{i}", place / f"journal-{i}", place / f"log-{i}"
            env = {"LD_PRELOAD": str(layer), "POWERLOSS_JOURNAL": str(journal)}
            server = Server(tiles, labels, free_port(), env)
            client = load(server.link, log, 30, 3)
            time.sleep(chance.uniform(0.7, 2.6))
            server.kill()
            client.wait()
            left = place / f"left-{i}"
            dropped += after_power_loss(journal, left, chance)
            shutil.copy(labels / "manifest.json", left)
            verified = subprocess.run([PROGRAMS / "swipe-labeler", "verify", left], capture_output=True, text=True)
            damaged += verified.returncode != 0
            if verified.returncode:
                print(verified.stdout, verified.stderr)
            got = hold_against(log, left)
            acknowledged, lost, wrong = acknowledged + got[0], lost + got[1], wrong + got[2]
            for leftover in (labels, left):
                shutil.rmtree(leftover)
            journal.unlink()
        table([
            ("power failures under load", options.losses),
            ("bytes that were written but not synced, dropped", f"{dropped:,}"),
            ("answers acknowledged", f"{acknowledged:,}"),
            ("answers lost", lost),
            ("answers refused or stored twice", wrong),
            ("labels damaged", damaged),
        ])
        return lost + wrong + damaged + (acknowledged == 0)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["start", "load", "kill", "powerloss"])
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--losses", type=int, default=20)
    parser.add_argument("--place", type=pathlib.Path, help="where temporary files go")
    options = parser.parse_args()
    failures = {"start": measure_start, "load": measure_load, "kill": measure_kill, "powerloss": measure_powerloss}[options.what](options)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
