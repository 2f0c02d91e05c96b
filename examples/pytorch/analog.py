"""Runs the Linear and Conv2d layers of a PyTorch network as an nvcim chip does, on a die that every call draws anew.

    chip = read_chip("stress-b", at="1y")
    with on_chip(net, chip, images[:256]):
        loss = criterion(net(images), labels)

The network itself stays as it is: outside the block it is the plain one again, ready for export. Every number comes
from `nvcim chip show CHIP --json`; formulas are those of docs/models.md. Conductances and currents are in units of one
cell at g_max under a full-scale drive. A chip that asks for more than is written here is refused.

Rounding lets gradients through as if it were not there, clipping stops them. Weights get their gradients as if cells
held them exactly, inputs from the cells as they are on the drawn die.
"""

import json
import os
import subprocess
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn import functional

# Keys that the formulas below use as numbers, with what stands for an absent one.
NUMBERS = {
    "arrays.rows": None,
    "cell.g_min_siemens": None,
    "cell.g_max_siemens": None,
    "dac.bits": None,
    "adc.bits": None,
    "adc.lo_cells": None,
    "adc.hi_cells": None,
    "effects.programming.sd_of_range": 0.0,
    "effects.drift.nu_mean": 0.0,
    "effects.drift.nu_sd": 0.0,
    "effects.drift.t0_seconds": 1.0,
    "effects.stuck.stuck_gmin": 0.0,
    "effects.stuck.stuck_gmax": 0.0,
    "effects.read.sd_of_g": 0.0,
    "effects.column_gain.sd": 0.0,
    "effects.column_offset.sd_lsb": 0.0,
    "effects.output_noise.sd_lsb": 0.0,
    "effects.output_noise.current_sd_cells": 0.0,
}
# Keys that the formulas hold for some values of only; anything else is refused.
CHOICES = {
    "arrays.spare_rows": [0],
    "arrays.reserved_rows": [0],
    "arrays.pairs": ["columns"],
    "arrays.subtract": ["analog"],
    "arrays.max_active_rows": ["all"],
    "cell.levels": ["continuous"],
    "weights.coding": ["pairs"],
    "weights.slices": [1],
    "dac.drive": ["amplitude", "pulse-width"],
    "dac.negative": ["sign-magnitude"],
    "dac.jitter_sd_steps": [0],
    "dac.gain_sd": [0],
    "dac.offset_sd_steps": [0],
    "dac.inl_steps": [[]],
    "adc.range_per": ["column", "tile", "layer"],
    "adc.coding": ["binary"],
    "adc.kind": ["ideal"],
    "adc.shared_by": [1],
    "adc.capacitor_sd": [0],
    "adc.inl_lsb": [0],
    "effects.column_gain.drift_sd_per_decade": [0],
}
# Keys without a say in what one forward pass computes: one slice makes the others of `weights` idle, too.
IDLE = ["schema", "kind", "name", "description", "holds.", "cost.", "arrays.count", "arrays.columns", "arrays.topology",
        "arrays.spare_columns", "arrays.reserved_columns", "weights."]
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "y": 365.25 * 86400.0}


def read_chip(chip, at="0s", without=()):
    """The numbers of a preset or chip file `at` a time since programming, as a dictionary by key.

    Effects in `without` are left out, as by `nvcim --without`. Raises ValueError, with every key that is not understood.
    """
    command = [os.environ.get("NVCIM", "nvcim"), "chip", "show", chip, "--json"]
    shown = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    stated = {key["key"]: key["value"] for key in shown["keys"]}
    problems, numbers = [], {key: value for key, value in NUMBERS.items() if value is not None}
    for key, value in stated.items():
        if any(key.startswith(f"effects.{effect}.") for effect in without):
            continue
        if key in NUMBERS and isinstance(value, (int, float)):
            numbers[key] = value
        elif key in CHOICES and value in CHOICES[key]:
            numbers[key] = value
        elif key in NUMBERS or key in CHOICES or not any(key.startswith(idle) for idle in IDLE):
            problems.append(f"`{key} = {value}`")
    if problems:
        raise ValueError(f"chip `{chip}` has what this script does not know: {', '.join(problems)}; "
                         "write it, or leave out its effect with --without")
    numbers["at_s"] = float(at[:-1]) * SECONDS[at[-1]]
    return numbers


@contextmanager
def on_chip(net, chip, images):
    """Inside the block, every Linear and Conv2d of `net` computes as `chip` does.

    Full scales of drives and ranges of converters are set once, on what `images` do in the plain network.
    """
    layers = []
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or isinstance(layer.padding, str)
                                                 or layer.padding_mode != "zeros"):
                raise ValueError(f"`{name}`: groups, padding by name and padding other than zeros are not written here")
            layers.append(layer)
        elif any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False)):
            raise ValueError(f"`{name}`: of layers with weights, this script knows Linear and Conv2d")
    settings = calibrate(net, layers, chip, images)
    for layer in layers:
        layer.forward = partial(run, layer, chip, *settings[layer])
    try:
        yield net
    finally:
        for layer in layers:
            del layer.forward


@torch.no_grad()
def calibrate(net, layers, chip, images):
    """By layer: its largest input, and the least and largest current of each tile's converters without a flaw."""
    settings = {}

    def watch(layer, inputs):
        if layer in settings:
            raise ValueError("a layer that is used twice is not written here")
        x = as_rows(layer, inputs[0])
        full_scale = x.abs().max().clamp(min=1e-12)
        currents = [(drives @ cells.T).flatten(0, -2) for drives, cells in cut_tiles(layer, chip, full_scale, x)]
        extremes = [(y.amin(0), y.amax(0)) for y in currents]
        if chip["adc.range_per"] == "tile":
            extremes = [(lo.min(), hi.max()) for lo, hi in extremes]
        elif chip["adc.range_per"] == "layer":
            extremes = [(min(lo.min() for lo, _ in extremes), max(hi.max() for _, hi in extremes))] * len(extremes)
        settings[layer] = full_scale, extremes

    hooks = [layer.register_forward_pre_hook(watch) for layer in layers]
    net(images)
    for hook in hooks:
        hook.remove()
    return settings


def run(layer, chip, full_scale, ranges, x):
    """What stands in for the layer's `forward`: a matrix product on a fresh die, and the bias in digital."""
    tiles = cut_tiles(layer, chip, full_scale, as_rows(layer, x))
    y = sum(convert(*tile, *limits, chip) for tile, limits in zip(tiles, ranges))
    y = y * (full_scale * largest_weight(layer) / span(chip))
    y = y if layer.bias is None else y + layer.bias
    if isinstance(layer, nn.Linear):
        return y
    extents = zip(x.shape[2:], layer.padding, layer.dilation, layer.kernel_size, layer.stride)
    height, width = ((size + 2 * pad - spread * (taps - 1) - 1) // step + 1 for size, pad, spread, taps, step in extents)
    return y.transpose(1, 2).unflatten(2, (height, width))


def as_rows(layer, x):
    """Inputs as the word lines see them, [..., rows]: those of a convolution have a row per channel and tap."""
    if isinstance(layer, nn.Linear):
        return x
    return functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)


def cut_tiles(layer, chip, full_scale, x):
    """Drives [..., rows] within -1 and 1, and what each pair should hold, [columns, rows], tile by tile.

    The largest weight takes the whole conductance range.
    """
    steps = 2 ** chip["dac.bits"] - 1
    drives = round_through((x / full_scale).clamp(-1, 1) * steps) / steps
    cells = layer.weight.flatten(1) * (span(chip) / largest_weight(layer))
    n_tiles = -(-cells.shape[1] // chip["arrays.rows"])
    return list(zip(drives.tensor_split(n_tiles, -1), cells.tensor_split(n_tiles, -1)))


def largest_weight(layer):
    return layer.weight.detach().abs().max().clamp(min=1e-12)


def span(chip):
    return 1 - chip["cell.g_min_siemens"] / chip["cell.g_max_siemens"]


def convert(drives, cells, lo, hi, chip):
    """The currents of one tile as its converters report them; `cells` [columns, rows] is what each pair should hold."""
    n_columns = len(cells)
    gain = 1 + chip["effects.column_gain.sd"] * torch.randn(n_columns, 1)
    pairs = gain * draw_pairs(cells.detach(), chip)
    drawn = cells + (pairs[0] - pairs[1] - cells).detach()
    y = drives @ drawn.T

    nominal_lsb = (chip["adc.hi_cells"] - chip["adc.lo_cells"]) / (2 ** chip["adc.bits"] - 1)
    y = y + chip["effects.column_offset.sd_lsb"] * nominal_lsb * torch.randn(n_columns)
    read = chip["effects.read.sd_of_g"] ** 2 * (drives.detach() ** 2 @ (pairs ** 2).sum(0).T)
    output = (chip["effects.output_noise.sd_lsb"] * nominal_lsb) ** 2 + chip["effects.output_noise.current_sd_cells"] ** 2
    y = y + (read + output).sqrt() * torch.randn_like(y)

    max_code = 2 ** chip["adc.bits"] - 1
    lsb = (hi - lo).clamp(min=1e-4) / max_code
    return lo + lsb * round_through(((y - lo) / lsb).clamp(0, max_code))


@torch.no_grad()
def draw_pairs(cells, chip):
    """Both cells of every pair on a fresh die, [2, columns, rows]: written, drifted, some of them stuck."""
    g_min = chip["cell.g_min_siemens"] / chip["cell.g_max_siemens"]
    g = g_min + torch.stack([cells, -cells]).clamp(min=0)
    g = g + chip["effects.programming.sd_of_range"] * (1 - g_min) * torch.randn_like(g)
    nu = (chip["effects.drift.nu_mean"] + chip["effects.drift.nu_sd"] * torch.randn_like(g)).abs()
    g = (g * (1 + chip["at_s"] / chip["effects.drift.t0_seconds"]) ** -nu).clamp(min=0)
    at_gmin, at_gmax = chip["effects.stuck.stuck_gmin"], chip["effects.stuck.stuck_gmax"]
    luck = torch.rand_like(g)
    g = torch.where(luck < at_gmin, g_min, g)
    return torch.where((luck >= at_gmin) & (luck < at_gmin + at_gmax), 1.0, g)


def round_through(x):
    return x + (x.round() - x).detach()
