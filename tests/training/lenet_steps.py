"""Two steps of training of a small LeNet, in NumPy and double precision: a second opinion on gradients and optimisers.

Written from the definitions, without a framework: convolution, rectifier, pool, dense layers, cross-entropy; SGD with
momentum as PyTorch documents it (`torch.optim.SGD`, weight decay added to the gradient), and AdamW (`torch.optim.AdamW`,
decoupled decay). Weights, images and labels follow from the generator below, which the test of `nvcim-train` repeats.

    python tests/training/lenet_steps.py > crates/nvcim-train/src/tests/golden/lenet_steps.txt
"""

import numpy as np

MASK = (1 << 64) - 1


def numbers(seed, count):
    """Numbers between -1 and 1 that look random."""
    state = (seed * 2 + 1) & MASK
    out = []
    for at in range(count + 4):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        value = np.float32(state >> 40) / np.float32(1 << 23) - np.float32(1)
        if at >= 4:
            out.append(value)
    return np.array(out, dtype=np.float64)


def weights():
    """Kernels and biases, in the order in which the test's graph is built."""
    shapes = [(4, 1, 5, 5), (6, 4, 3, 3), (12, 24), (5, 12)]
    seed, layers = 1, []
    for shape in shapes:
        scale = np.float32(1) / np.sqrt(np.float32(np.prod(shape[1:])))
        seed += 1
        raw = numbers(seed, int(np.prod(shape))).astype(np.float32)
        weight = (scale * raw).astype(np.float64).reshape(shape)
        seed += 1
        bias = (np.float32(0.3) * numbers(seed, shape[0]).astype(np.float32)).astype(np.float64)
        layers.append([weight, bias])
    return layers


def conv(x, weight, bias, pad):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k = weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    return np.einsum("nchwij,mcij->nmhw", windows, weight) + bias[:, None, None], windows


def conv_back(grad, windows, weight, pad, shape):
    of_weight = np.einsum("nmhw,nchwij->mcij", grad, windows)
    k, (height, width) = weight.shape[2], grad.shape[2:]
    of_x = np.zeros((shape[0], shape[1], shape[2] + 2 * pad, shape[3] + 2 * pad))
    for i in range(k):
        for j in range(k):
            part = np.einsum("nmhw,mc->nchw", grad, weight[:, :, i, j])
            of_x[:, :, i : i + height, j : j + width] += part
    return of_weight, grad.sum((0, 2, 3)), of_x[:, :, pad : pad + shape[2], pad : pad + shape[3]]


def pool(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def pool_back(grad, x):
    pooled = pool(x).repeat(2, 2).repeat(2, 3)
    return np.where(x == pooled, grad.repeat(2, 2).repeat(2, 3), 0.0)


def loss_and_gradients(layers, images, labels):
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = layers
    c1, v1 = conv(images, w1, b1, 2)
    p1 = pool(np.maximum(c1, 0))
    c2, v2 = conv(p1, w2, b2, 0)
    p2 = pool(np.maximum(c2, 0))
    flat = p2.reshape(len(images), -1)
    d3 = flat @ w3.T + b3
    a3 = np.maximum(d3, 0)
    scores = a3 @ w4.T + b4
    logs = scores - scores.max(1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(1, keepdims=True))
    loss = -logs[np.arange(len(labels)), labels].mean()
    grad = np.exp(logs)
    grad[np.arange(len(labels)), labels] -= 1
    grad /= len(labels)
    g4 = [grad.T @ a3, grad.sum(0)]
    grad = (grad @ w4) * (d3 > 0)
    g3 = [grad.T @ flat, grad.sum(0)]
    grad = (grad @ w3).reshape(p2.shape)
    grad = pool_back(grad, np.maximum(c2, 0)) * (c2 > 0)
    gw2, gb2, grad = conv_back(grad, v2, w2, 0, p1.shape)
    grad = pool_back(grad, np.maximum(c1, 0)) * (c1 > 0)
    gw1, gb1, _ = conv_back(grad, v1, w1, 2, images.shape)
    return loss, [[gw1, gb1], [gw2, gb2], g3, g4]


def run(step):
    layers = weights()
    images = numbers(40, 8 * 144).reshape(8, 1, 12, 12)
    labels = np.arange(8) % 5
    memory = [[[np.zeros_like(p), np.zeros_like(p)] for p in layer] for layer in layers]
    losses = []
    for t in (1, 2):
        loss, gradients = loss_and_gradients(layers, images, labels)
        losses.append(loss)
        for layer, gradient, remembered in zip(layers, gradients, memory):
            for at in range(2):
                decay = 0.01 if at == 0 else 0.0
                layer[at] = step(layer[at], gradient[at], remembered[at], decay, t)
    return losses, layers


def sgd(p, g, memory, decay, t):
    memory[0] = 0.9 * memory[0] + g + decay * p
    return p - 0.1 * memory[0]


def adamw(p, g, memory, decay, t):
    memory[0] = 0.9 * memory[0] + 0.1 * g
    memory[1] = 0.999 * memory[1] + 0.001 * g * g
    m, v = memory[0] / (1 - 0.9**t), memory[1] / (1 - 0.999**t)
    return p - 0.1 * (m / (np.sqrt(v) + 1e-8) + decay * p)


for name, step in (("sgd", sgd), ("adamw", adamw)):
    losses, layers = run(step)
    print(name, *(f"{loss:.7f}" for loss in losses))
    for weight, bias in layers:
        # As a matrix holds it: rows are inputs, columns outputs.
        matrix = weight.reshape(len(weight), -1).T
        print(*(f"{value:.6f}" for value in matrix.ravel()))
        print(*(f"{value:.6f}" for value in bias))
