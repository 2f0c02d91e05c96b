"""Loads an ONNX file back into PyTorch and measures it there: in float, and on ten dies that PyTorch draws.

    python examples/pytorch/measure.py better.onnx --chip stress-b --at 1y
"""

import argparse

import torch

import analog
import lenet

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model")
parser.add_argument("--chip", help="preset or chip file")
parser.add_argument("--at", default="0s", help="time since programming: 1h, 1d, 1y")
parser.add_argument("--without", default="", help="effects to leave out, comma separated")
parser.add_argument("--dies", type=int, default=10)
options = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(0)
net = lenet.load(options.model)
images, labels = lenet.read_digits("t10k")
said = f"{options.model}: float {lenet.accuracy(net, images, labels):.2f} %"
if options.chip:
    chip = analog.read_chip(options.chip, options.at, options.without.split(","))
    with analog.on_chip(net, chip, lenet.read_digits("train")[0][:256]):
        seen = torch.tensor([lenet.accuracy(net, images, labels) for _ in range(options.dies)])
    said += f", {options.chip} at {options.at} {seen.mean():.2f} % (sd {seen.std():.2f} over {options.dies} dies)"
print(said)
