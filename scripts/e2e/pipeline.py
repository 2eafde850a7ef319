#!/usr/bin/env python3
"""The programs on awkward input: bad pictures, wrong flags, second runs, kill -9. Standard library only."""

import hashlib
import json
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"


def png(width: int, height: int, rows: bytes, depth: int = 8, color: int = 2, palette: bytes = b"") -> bytes:
    """A PNG from filtered rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    colors = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + header + colors + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture(generator: random.Random, disc: bool) -> bytes:
    """A bright disc, or a bright bar, somewhere on dark noise, 32 pixels a side."""
    x0, y0 = generator.randint(10, 22), generator.randint(10, 22)
    rows = bytearray()
    for y in range(32):
        rows.append(0)
        for x in range(32):
            inside = (x - x0) ** 2 + (y - y0) ** 2 < 49 if disc else abs(y - y0) < 3
            level = 200 if inside else 40
            rows += bytes(max(0, min(255, level + generator.randint(-20, 20))) for _ in range(3))
    return png(32, 32, bytes(rows))


def images(folder: pathlib.Path) -> None:
    generator = random.Random(1)
    for name, disc in [("a disc's $class", True), ("bars", False)]:
        (folder / name).mkdir(parents=True)
        for i in range(24):
            (folder / name / f"picture {i}.png").write_bytes(picture(generator, disc))


def odd_images(folder: pathlib.Path) -> int:
    """Adds pictures that must be read, and others that must be skipped; returns the number of the latter."""
    whole = picture(random.Random(2), True)
    grey16 = b"".join(b"\0" + b"\x80\x80" * 8 for _ in range(8))
    indexed = b"".join(b"\0" + bytes([0, 1] * 4) for _ in range(8))
    readable = {
        "one pixel.png": png(1, 1, b"\0\x10\x20\x30"),
        "grey 16 bit.png": png(8, 8, grey16, depth=16, color=0),
        "palette.png": png(8, 8, indexed, color=3, palette=b"\xff\0\0\0\0\xff"),
    }
    unreadable = {
        "truncated.png": whole[: len(whole) // 2],
        "zero bytes.jpg": b"",
        "text.jpg": b"<html>404</html>",
        "bomb.png": png(60000, 60000, b"\0"),
    }
    for name, data in (readable | unreadable).items():
        (folder / "bars" / name).write_bytes(data)
    return len(unreadable)


def run(program: str, *arguments, code: int = 0, before=None) -> subprocess.CompletedProcess:
    command = [str(PROGRAMS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=before)
    if done.returncode != code or "panicked" in done.stderr:
        sys.exit(f"{' '.join(command)}\nexit code {done.returncode}, expected {code}\n{done.stdout}\n{done.stderr}")
    return done


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_when(command: list, path: pathlib.Path) -> None:
    """Starts a command and ends it with SIGKILL as soon as a file is there."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def full_disk() -> None:
    """For `preexec_fn`: no file may grow beyond 8 kB; a write beyond that is an error instead of a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def main(place: pathlib.Path) -> None:
    photos, model, index = place / "photos", place / "model", place / "index"
    images(photos)
    train = ["train", photos, "-o", model, "--arch", "minicnn", "--input-size", 32, "--epochs", 4,
             "--batch-size", 16, "-j", 1, "-q"]
    run("ssl-learner", *train)
    assert "up to date" in run("ssl-learner", *train).stdout, "a second run trains again"
    assert "--force" in run("ssl-learner", *train, "--seed", 5, code=2).stderr, "no hint at another configuration"

    # Killed after its first checkpoint and continued, training ends with the same weights.
    again = [*train[:3], place / "killed", *train[4:]]
    kill_when([PROGRAMS / "ssl-learner", *again], place / "killed" / "checkpoints" / "last.safetensors")
    run("ssl-learner", *again)
    assert digest(model / "encoder.safetensors") == digest(place / "killed" / "encoder.safetensors"), "weights differ"

    build = ["build", photos, "--model", model, "-o", index, "-q"]
    run("embed-indexer", *build)
    assert "up to date" in run("embed-indexer", *build).stdout
    reference = photos / "a disc's $class" / "picture 3.png"
    hits = json.loads(run("embed-indexer", "search", index, reference, "-k", 1, "--json").stdout)["hits"]
    assert hits[0]["tile_id"] == "a disc's $class/picture 3.png" and hits[0]["score"] > 0.999, hits

    # The loop, from a reference outside the folder and of another size.
    outside = place / "outside.png"
    rows = bytearray()
    for y in range(50):
        rows.append(0)
        for x in range(50):
            rows += bytes([200 if (x - 25) ** 2 + (y - 25) ** 2 < 144 else 40]) * 3
    outside.write_bytes(png(50, 50, bytes(rows)))
    loop = ["simulate", index, "--reference", outside, "--truth", "folders", "--class", "a disc's $class", "--budget", 30]
    report = json.loads(run("active-labeler", *loop, "--labels", place / "l", "-o", place / "c", "--json", "-q").stdout)
    assert report["positives_found"] > 15, report
    kill = [PROGRAMS / "active-labeler", *loop, "--labels", place / "l2", "-o", place / "c2", "-q"]
    kill_when(kill, place / "l2" / "labels.sqlite-wal")
    run(*["active-labeler", *kill[1:]])
    assert digest(place / "c" / "labels.csv") == digest(place / "c2" / "labels.csv"), "the killed simulation differs"

    # A folder of images through records, killed or not, is the same bytes.
    run("data-preprocessor", "tile", photos, "-o", place / "tiles", "-q")
    run("data-preprocessor", "tile", photos, "-o", place / "tiles1", "-q", "-j", 1)
    records = "records/tiles-00000.tfrecord"
    assert digest(place / "tiles" / records) == digest(place / "tiles1" / records), "threads change the records"
    run("data-preprocessor", "sample", place / "tiles", "-o", place / "subset", "-n", 10, "-q")
    run("ssl-learner", "train", place / "subset", "-o", place / "m2", "--arch", "minicnn", "--input-size", 32,
        "--epochs", 1, "-q")

    # A full disk is said to be one, and with space again the same command finishes.
    for arguments in [
        ["data-preprocessor", "tile", photos, "-o", place / "tiles2", "-q"],
        ["ssl-learner", *train[:3], place / "m4", *train[4:]],
        ["embed-indexer", "build", photos, "--model", model, "-o", place / "i4", "-q"],
    ]:
        error = run(*arguments, code=1, before=full_disk).stderr
        assert "cannot write" in error, error
        run(*arguments)
    assert digest(place / "tiles2" / records) == digest(place / "tiles" / records)
    assert digest(place / "m4" / "encoder.safetensors") == digest(model / "encoder.safetensors")

    # Bad pictures among good ones are reported and skipped, and the exit code says so.
    bad = odd_images(photos)
    done = run("ssl-learner", *train[:3], place / "m3", *train[4:], code=3)
    assert done.stderr.count("skipped") == bad, done.stderr
    done = run("embed-indexer", "build", photos, "--model", place / "m3", "-o", place / "i3", "-q", "--json", code=3)
    assert json.loads(done.stdout)["skipped"] == bad, done.stdout
    run("data-preprocessor", "tile", photos, "-o", place / "tiles3", "-q", code=3)

    # Wrong input: a clear error with a hint, nothing half-written.
    (place / "empty").mkdir()
    for arguments, code, words in [
        (["ssl-learner", "train", place / "empty", "-o", place / "x"], 1, "no images"),
        (["ssl-learner", "train", place / "nowhere", "-o", place / "x"], 1, "does not exist"),
        (["ssl-learner", "train", photos, "-o", place / "x", "--device", "cuda:9"], 2, "--device"),
        (["ssl-learner", "train", photos], 2, "--output"),
        (["embed-indexer", "build", photos, "--model", photos, "-o", place / "x"], 1, "does not exist"),
        (["embed-indexer", "search", model, outside], 1, "curator.index"),
        (["embed-indexer", "search", index, photos / "bars" / "truncated.png"], 1, "cannot decode"),
        (["active-labeler", "simulate", index, "--reference", outside, "--truth", "folders", "--labels", place / "y",
          "-o", place / "x"], 2, "--class"),
        (["swipe-labeler", "export", place / "nowhere", "--to", "csv", "-o", place / "x"], 1, "does not exist"),
        (["data-preprocessor", "tile", place / "empty", "-o", place / "x"], 1, "no images"),
    ]:
        done = run(*arguments, code=code)
        assert words in done.stderr, (arguments, done.stderr)
    assert not (place / "x" / "manifest.json").exists()
    (index / "parts" / "all" / "rows.arrow").write_bytes(b"ARROW1")
    assert "damaged" in run("embed-indexer", "search", index, outside, code=1).stderr
    for program in ["gibs-downloader", "data-preprocessor", "ssl-learner", "embed-indexer", "swipe-labeler", "active-labeler"]:
        run(program, "doctor")
        run(program, "completions", "bash")
        run(program, "man")
    print("pipeline: bad input, second runs and kill -9 end as they should")


if __name__ == "__main__":
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        main(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
