#!/usr/bin/env python3
"""TensorFlow reads our records, and we read TensorFlow's, plain and GZIP.

    scripts/oracles/tfrecord.py     needs tensorflow in this python; exit code 77 where it is absent
"""

import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
try:
    import tensorflow as tf
except ImportError:
    print("skipped: no tensorflow")
    sys.exit(77)

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "data-preprocessor"


def convert(source: pathlib.Path, output: pathlib.Path, to: str) -> None:
    subprocess.run([PROGRAM, "convert", source, "-o", output, "--to", to, "--quiet"], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        pictures = {}
        for name in ("sea/a.png", "sea/b c.png", "land/ä.jpg"):
            pixels = tf.cast(tf.random.uniform((20, 31, 3), maxval=256, dtype=tf.int32), tf.uint8)
            encode = tf.io.encode_png if name.endswith("png") else tf.io.encode_jpeg
            pictures[name] = encode(pixels).numpy()
            (place / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "in" / name).write_bytes(pictures[name])

        convert(place / "in", place / "ours", "records")
        schema = {name: tf.io.FixedLenFeature([], kind) for name, kind in
                  {"image_raw": tf.string, "tile_id": tf.string, "class": tf.string, "format": tf.string,
                   "width": tf.int64, "height": tf.int64, "bands": tf.int64}.items()}
        found = {}
        for record in tf.data.TFRecordDataset(sorted(map(str, (place / "ours/records").iterdir()))):
            example = {name: value.numpy() for name, value in tf.io.parse_single_example(record, schema).items()}
            assert (example["width"], example["height"], example["bands"]) == (31, 20, 3), example
            assert tf.io.decode_image(example["image_raw"]).shape == (20, 31, 3)
            found[example["tile_id"].decode()] = example["image_raw"]
            assert example["class"].decode() == example["tile_id"].decode().split("/")[0]
        assert found == pictures

        feature = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for compression in ("", "GZIP"):
            theirs = place / f"theirs{compression}.tfrecord"
            with tf.io.TFRecordWriter(str(theirs), compression) as writer:
                for name, picture in pictures.items():
                    features = {"image/encoded": feature(picture), "image/class/text": feature(name[:3].encode())}
                    example = tf.train.Example(features=tf.train.Features(feature=features))
                    writer.write(example.SerializeToString())
            convert(theirs, place / f"out{compression}", "folders")
            written = [path for path in (place / f"out{compression}" / "pictures").rglob("*") if path.is_file()]
            assert sorted(path.read_bytes() for path in written) == sorted(pictures.values())
            assert {path.parent.name for path in written} == {"sea", "lan"}
    print("TensorFlow", tf.__version__, "reads our records, and we read its own, plain and GZIP")


if __name__ == "__main__":
    main()
