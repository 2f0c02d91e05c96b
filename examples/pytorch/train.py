"""Trains the LeNet in PyTorch, with or without a chip in the loop, and exports it.

    python examples/pytorch/train.py -o plain.onnx
    python examples/pytorch/train.py --chip stress-b --at 1y -o better.onnx

The first half of the epochs is the same for both: without a chip. The second half runs every step on a die of its own,
and keeps weights within some standard deviations of their layer, since the largest one takes the whole conductance
range. No test image is looked at.
"""

import argparse
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional

import analog
import lenet

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("-o", "--output", required=True, help="the ONNX file to write")
parser.add_argument("--chip", help="preset or chip file")
parser.add_argument("--at", default="0s", help="time since programming: 1h, 1d, 1y")
parser.add_argument("--without", default="", help="effects to leave out, comma separated")
parser.add_argument("--epochs", type=int, default=120)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--rate", type=float, default=4e-3)
parser.add_argument("--weight-decay", type=float, default=0.05)
parser.add_argument("--clip-weights", type=float, default=3.0, help="standard deviations, with a chip")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(options.seed)
chip = options.chip and analog.read_chip(options.chip, options.at, options.without.split(","))
images, labels = lenet.read_digits("train")
net = lenet.build()
layers = [layer for layer in net if isinstance(layer, (nn.Linear, nn.Conv2d))]
optimiser = torch.optim.AdamW([
    {"params": [layer.weight for layer in layers], "weight_decay": options.weight_decay},
    {"params": [layer.bias for layer in layers], "weight_decay": 0.0},
], lr=options.rate)
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimiser, options.rate, epochs=options.epochs, steps_per_epoch=-(-len(images) // options.batch))


@torch.no_grad()
def clip_weights():
    for layer in layers:
        most = options.clip_weights * layer.weight.std()
        layer.weight.clamp_(-most, most)


for epoch in range(options.epochs):
    sees_chip = chip and epoch >= options.epochs // 2
    total = 0.0
    with analog.on_chip(net, chip, images[:256]) if sees_chip else nullcontext():
        for batch in torch.randperm(len(images)).split(options.batch):
            loss = functional.cross_entropy(net(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(batch)
            if sees_chip:
                clip_weights()
    if (epoch + 1) % 20 == 0:
        print(f"epoch {epoch + 1} of {options.epochs}: loss {total / len(images):.4f}", flush=True)
lenet.save(net, options.output)
