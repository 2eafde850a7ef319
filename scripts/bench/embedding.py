#!/usr/bin/env python3
"""Pictures embedded a second, beside torchvision with a DataLoader: the same network and weights, all cores.

    scripts/bench/embedding.py ../shared/data/ucmerced --model MODEL --python VENV/bin/python

Both read the files, decode, resize to the model's size, and compute in bf16 and channels-last where the processor has it. Ours
is `embed-indexer build`, all of its time, index and digests included, less that of a build of one batch. --python needs torch,
torchvision and safetensors.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

RELEASE = pathlib.Path(__file__).resolve().parents[2] / "target" / "release"
PEER = r"""
import json, sys, time, torch, torchvision
from safetensors.torch import load_file
from torchvision import transforms as T
folder, model = sys.argv[1:3]
config = json.load(open(f"{model}/config.json"))
net = torchvision.models.resnet18()
net.fc = torch.nn.Identity()
weights = load_file(f"{model}/encoder.safetensors")
known = net.state_dict()
weights = {k: v for k, v in weights.items() if k in known}
missing, unexpected = net.load_state_dict(weights, strict=False)
assert not [m for m in missing if not m.endswith("num_batches_tracked")], missing
net = net.eval().to(memory_format=torch.channels_last)
size = config["input_size"]
look = T.Compose([T.Resize((size, size)), T.ToTensor(), T.Normalize(config["mean"], config["std"])])
data = torchvision.datasets.ImageFolder(folder, look)
loader = torch.utils.data.DataLoader(data, 128, num_workers=2)
def run(limit):
    done = 0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for pictures, _ in loader:
            torch.nn.functional.normalize(net(pictures.to(memory_format=torch.channels_last)).float())
            done += len(pictures)
            if done >= limit:
                break
    return done
run(256)
begun = time.perf_counter()
print(run(10 ** 9) / (time.perf_counter() - begun))
"""


def built(folder, model, place):
    index = place / "index"
    shutil.rmtree(index, ignore_errors=True)
    begun = time.perf_counter()
    command = [RELEASE / "embed-indexer", "build", folder, "--model", model, "-o", index, "--neighbours", "0", "--json", "-q"]
    rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["rows"]
    return rows, time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        few = place / "few"
        few.mkdir()
        for path in sorted(p for p in options.folder.rglob("*") if p.is_file())[:128]:
            shutil.copy(path, few / f"{len(list(few.iterdir()))}{path.suffix}")
        start_rows, start = built(few, options.model, place)
        rows, spent = built(options.folder, options.model, place)
        ours = (rows - start_rows) / (spent - start)
        script = place / "peer.py"
        script.write_text(PEER)
        text = subprocess.run([options.python, script, options.folder, options.model], check=True, stdout=subprocess.PIPE)
        peer = float(text.stdout)
    size = json.loads((pathlib.Path(options.model) / "config.json").read_text())["input_size"]
    print("| pixels | embed-indexer | torchvision | ratio | five million take |\n|---|---|---|---|---|")
    print(f"| {size} | {ours:.0f}/s | {peer:.0f}/s | {ours / peer:.2f}× | {5e6 / ours / 3600:.1f} h |")


if __name__ == "__main__":
    main()
