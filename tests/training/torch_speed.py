"""How many images per second plain PyTorch trains with on one thread: no chip, no noise, random images and weights.

    python tests/training/torch_speed.py lenet5|resnet8 [BATCH] [IMAGES]

The networks have the layers of `lenet5-ccoltong.onnx` and of `mlperf-tiny-ic-resnet8-f32.onnx`, whose norms are folded.
A step is what `nvcim train` does by default: forward, backward, gradients of limited length, AdamW. The first steps are
not counted. Prints one number.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


class Block(nn.Module):
    """Two convolutions beside a way round them, which is a convolution of its own where the size changes."""

    def __init__(self, before, channels):
        super().__init__()
        grows = before != channels
        # TensorFlow pads an even image at its end only.
        pad = nn.ZeroPad2d((0, 1, 0, 1)) if grows else nn.ZeroPad2d(1)
        self.main = nn.Sequential(
            pad, nn.Conv2d(before, channels, 3, stride=1 + grows), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))
        self.way_round = nn.Conv2d(before, channels, 1, stride=2) if grows else nn.Identity()

    def forward(self, x):
        return (self.main(x) + self.way_round(x)).relu()


def resnet8():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), Block(16, 16), Block(16, 32), Block(32, 64),
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10),
    )


NETWORKS = {"lenet5": (lenet5, (1, 28, 28)), "resnet8": (resnet8, (3, 32, 32))}
WARM_UP = 5

build, shape = NETWORKS[sys.argv[1]]
batch, n_images = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((2, 64), (3, 6400)))
torch.set_num_threads(1)
torch.manual_seed(0)
net = build()
optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
images, labels = torch.randn(n_images, *shape), torch.randint(10, (n_images,))
steps = list(zip(images.split(batch), labels.split(batch)))
for at, (x, wanted) in enumerate(steps[:WARM_UP] + steps):
    if at == WARM_UP:
        start = time.perf_counter()
    loss = functional.cross_entropy(net(x), wanted)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimiser.step()
print(round(n_images / (time.perf_counter() - start)))
