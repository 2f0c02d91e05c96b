"""The digital program between the arrays: single precision, operator by operator.

Shapes and axes of a manifest leave the batch out; tensors here have it in front.
"""

import numpy as np


def run_program(manifest, export, images, multiply):
    """The first output for `images`; `multiply(layer, x)` stands for a layer, x [rows, columns]."""
    tensors = {}
    for step in manifest["steps"]:
        operands = [tensors[name] for name in step["operands"]]
        op, attributes, shape = step["op"], step["attributes"], step["shape"]
        if op == "matrix":
            tensors[step["id"]] = apply_layer(attributes, operands[0], shape, multiply)
        elif op == "input":
            tensors[step["id"]] = images
        elif op == "const":
            value = export[attributes["value"]]
            tensors[step["id"]] = np.broadcast_to(value, (len(images), *shape))
        else:
            tensors[step["id"]] = OPERATORS[op](attributes, shape, *operands)
        got = tensors[step["id"]]
        assert got.shape[1:] == tuple(shape) and got.dtype == np.float32, (step, got.shape, got.dtype)
    return tensors[manifest["outputs"][0]]


def apply_layer(attributes, x, shape, multiply):
    if attributes["lowering"] == "dense":
        return multiply(attributes["layer"], x.reshape(-1, x.shape[-1]).T).T.reshape(len(x), *shape)
    windows = cut_windows(x, attributes["window"], shape[1:], np.float32(0))
    # [images, channels, kh, kw, oh, ow] to [channels kh kw, images oh ow]
    columns = windows.transpose(1, 2, 3, 0, 4, 5)
    columns = columns.reshape(np.prod(columns.shape[:3]), -1)
    out = multiply(attributes["layer"], columns)
    return out.reshape(shape[0], len(x), *shape[1:]).transpose(1, 0, 2, 3)


def cut_windows(x, window, out, filler):
    """[images, channels, kh, kw, oh, ow]: what every tap of a window sees at every position."""
    (top, left), (bottom, right) = window["pads_begin"], window["pads_end"]
    (kh, kw), (sh, sw), (dh, dw) = window["kernel"], window["strides"], window["dilations"]
    # A pool that rounds its size up hangs over the padding.
    over = [max(0, (o - 1) * s + (k - 1) * d + 1 - n) for o, s, k, d, n in (
        (out[0], sh, kh, dh, x.shape[2] + top + bottom), (out[1], sw, kw, dw, x.shape[3] + left + right))]
    pads = (0, 0), (0, 0), (top, bottom + over[0]), (left, right + over[1])
    x = np.pad(x, pads, constant_values=filler)
    taps = [
        [x[:, :, i * dh :, j * dw :][:, :, : out[0] * sh : sh, : out[1] * sw : sw][:, :, : out[0], : out[1]]
         for j in range(kw)]
        for i in range(kh)
    ]
    return np.stack([np.stack(row, axis=2) for row in taps], axis=2)


def max_pool(attributes, shape, x):
    windows = cut_windows(x, attributes["window"], shape[1:], np.float32(-np.inf))
    return windows.max(axis=(2, 3))


def average_pool(attributes, shape, x):
    """Taps are added one by one, kernel row by kernel row, then divided."""
    window = attributes["window"]
    windows = cut_windows(x, window, shape[1:], np.float32(0))
    ones = np.ones_like(x[:1, :1])
    counts = cut_windows(ones, window, shape[1:], np.float32(attributes["count_pad"])).sum(axis=(2, 3))
    total = np.zeros_like(windows[:, :, 0, 0])
    for i in range(windows.shape[2]):
        for j in range(windows.shape[3]):
            total = total + windows[:, :, i, j]
    return total / np.maximum(counts, np.float32(1))


def softmax(attributes, _, x, logarithm=False):
    axis = attributes["axis"] + 1
    shifted = x - x.max(axis=axis, keepdims=True)
    terms = np.exp(shifted)
    total = terms.sum(axis=axis, keepdims=True)
    return shifted - np.log(total) if logarithm else terms / total


def clip(attributes, _, x):
    lo = np.float32(-np.inf if attributes["lo"] is None else attributes["lo"])
    hi = np.float32(np.inf if attributes["hi"] is None else attributes["hi"])
    return np.minimum(np.maximum(x, lo), hi)


def leaky_relu(attributes, _, x):
    return np.where(x < 0, np.float32(attributes["alpha"]) * x, x)


OPERATORS = {
    "relu": lambda _, shape, x: np.where(x < 0, np.float32(0), x),
    "clip": clip,
    "leaky_relu": leaky_relu,
    "tanh": lambda _, shape, x: np.tanh(x.astype(np.float64)).astype(np.float32),
    "sigmoid": lambda _, shape, x: np.float32(1) / (np.float32(1) + np.exp(-x)),
    "add": lambda _, shape, x, y: x + y,
    "sub": lambda _, shape, x, y: x - y,
    "mul": lambda _, shape, x, y: x * y,
    "div": lambda _, shape, x, y: x / y,
    "max_pool": max_pool,
    "average_pool": average_pool,
    "softmax": softmax,
    "log_softmax": lambda attributes, shape, x: softmax(attributes, shape, x, logarithm=True),
    "reshape": lambda _, shape, x: x.reshape(len(x), *shape),
    "transpose": lambda attributes, _, x: x.transpose(0, *(axis + 1 for axis in attributes["perm"])),
}
