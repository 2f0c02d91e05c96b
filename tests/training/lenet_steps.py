"""Two steps of training of a small LeNet in PyTorch and double precision: a second opinion on gradients and optimisers.

Weights, images and labels follow from the generator below, which the test of `nvcim-train` repeats.

    python tests/training/lenet_steps.py > crates/nvcim-train/src/tests/golden/lenet_steps.txt
"""

import numpy as np
import torch
from torch.nn import functional

MASK = (1 << 64) - 1


def numbers(seed, *shape):
    """Numbers between -1 and 1 that look random."""
    state = (seed * 2 + 1) & MASK
    out = []
    for _ in range(int(np.prod(shape)) + 4):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        out.append(np.float32(state >> 40) / np.float32(1 << 23) - np.float32(1))
    return np.array(out[4:]).reshape(shape)


def parameters():
    """Kernels and biases by layer, in the order in which the test's graph is built, rounded to f32 as there."""
    out = []
    for layer, shape in enumerate([(4, 1, 5, 5), (6, 4, 3, 3), (12, 24), (5, 12)]):
        scale = np.float32(1) / np.sqrt(np.float32(np.prod(shape[1:])))
        out.append(scale * numbers(2 + 2 * layer, *shape))
        out.append(np.float32(0.3) * numbers(3 + 2 * layer, shape[0]))
    return [torch.from_numpy(part).double().requires_grad_() for part in out]


def scores(x, w1, b1, w2, b2, w3, b3, w4, b4):
    x = functional.max_pool2d(functional.conv2d(x, w1, b1, padding=2).relu(), 2)
    x = functional.max_pool2d(functional.conv2d(x, w2, b2).relu(), 2)
    return functional.linear(functional.linear(x.flatten(1), w3, b3).relu(), w4, b4)


for name, optimiser, options in [("sgd", torch.optim.SGD, {"momentum": 0.9}), ("adamw", torch.optim.AdamW, {})]:
    parts = parameters()
    groups = [{"params": parts[::2], "weight_decay": 0.01}, {"params": parts[1::2], "weight_decay": 0.0}]
    descent = optimiser(groups, lr=0.1, **options)
    images, labels = torch.from_numpy(numbers(40, 8, 1, 12, 12)).double(), torch.arange(8) % 5
    losses = []
    for _ in range(2):
        loss = functional.cross_entropy(scores(images, *parts), labels)
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
    print(name, *(f"{loss:.7f}" for loss in losses))
    for part in parts:
        # Weights as a matrix holds them: rows are inputs, columns outputs.
        values = part.detach().flatten(1).T if part.ndim > 1 else part.detach()
        print(*(f"{value:.6f}" for value in values.flatten()))
