"""Writes small networks as PyTorch exports them, with what PyTorch computes, for the test target `parity`.

    python3 -m venv venv && venv/bin/pip install torch onnx onnxscript
    venv/bin/python tests/parity/torch_networks.py target/torch-networks

Each network is exported by both exporters, the one that traces (operator sets 13 to 20) and the one that captures a
graph (18 to 20, the oldest it writes being 18), with a batch of free size and of size 1. What PyTorch itself refuses
to export is counted, and left out. The folder is laid out as `node_cases.py` lays out its own.
"""

import collections
import contextlib
import io
import json
import logging
import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Self-attention, written out with `scaled_dot_product_attention`, as many networks do."""

    def __init__(self, width=16, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class ByHand(nn.Module):
    """The same from products and a softmax, with a causal mask."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        batch, tokens, width = x.shape

        def split(part):
            return part.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
        future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        return (weights @ value).transpose(1, 2).reshape(batch, tokens, width)


class Multihead(nn.Module):
    """`nn.MultiheadAttention` on itself."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Vision(nn.Module):
    """A vision transformer of one layer: patches, a class token, places, attention, a head."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 5, 16))
        self.layer = nn.TransformerEncoderLayer(
            16, 4, 32, activation="gelu", batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.layer(x))[:, 0])


class Residual(nn.Module):
    """A residual block with norms, a stride and a pooled head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.skip = nn.Sequential(nn.Conv2d(3, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = functional.relu(self.second(self.first(x)) + self.skip(x))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Last(nn.Module):
    """The last answer of a recurrent network."""

    def __init__(self, kind):
        super().__init__()
        self.recurrent = kind(6, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


class Gated(nn.Module):
    """The feed-forward half of many language networks: a norm by the root mean square and a gated product."""

    def __init__(self):
        super().__init__()
        self.norm = nn.RMSNorm(16)
        self.gate, self.up, self.down = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        y = self.norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Words(nn.Module):
    """A network over numbers of words: looked up, placed, mixed by attention, averaged."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(20, 16), nn.Embedding(5, 16)
        self.mix, self.head = Attention(), nn.Linear(16, 3)

    def forward(self, x):
        places = torch.arange(x.shape[1], device=x.device)
        return self.head(self.mix(self.words(x) + self.places(places)).mean(1))


def encoder(**options):
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options)


NETWORKS = {
    "attention": (Attention, (5, 16)),
    "attention-by-hand": (ByHand, (5, 16)),
    "multihead-attention": (Multihead, (5, 16)),
    "encoder": (encoder, (5, 16)),
    "encoder-gelu-norm-first": (lambda: encoder(activation="gelu", norm_first=True), (5, 16)),
    "vision-transformer": (Vision, (3, 8, 8)),
    "words": (Words, (5,)),
    "gated": (Gated, (5, 16)),
    "residual": (Residual, (3, 8, 8)),
    "lstm": (lambda: Last(nn.LSTM), (5, 6)),
    "gru": (lambda: Last(nn.GRU), (5, 6)),
    "group-norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU()), (3, 6, 6)),
    "instance-norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True)), (3, 6, 6)),
    "upsample": (lambda: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 4, 3), nn.PReLU(4)), (3, 4, 4)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.Hardswish()), (3, 4, 4)),
    "depthwise": (lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1)), (8, 6, 6)),
    "sequence": (lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.ELU(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(24, 4)), (3, 8)),
}


def export(network, sample, opset, captures, free):
    """The bytes of an ONNX file, or None where PyTorch refuses."""
    file = io.BytesIO()
    options = {
        "input_names": ["x"], "output_names": ["y"], "opset_version": opset, "dynamo": captures,
        "verbose": False,
    }
    if captures:
        if free:
            options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    elif free:
        options["dynamic_axes"] = {"x": {0: "batch"}, "y": {0: "batch"}}
    sample = sample if free else sample[:1]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if captures:
                torch.onnx.export(network, (sample,), **options).save(file)
            else:
                torch.onnx.export(network, (sample,), file, **options)
    except Exception as error:  # Whatever the exporter says is printed.
        return None, str(error).strip().splitlines()[0][:100]
    return file.getvalue(), None


def main(folder):
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    refusals = collections.Counter()
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, (build, shape) in NETWORKS.items():
        torch.manual_seed(0)
        network = build().eval()
        sample = torch.randint(20, (2, *shape)) if name == "words" else torch.randn(2, *shape)
        for captures, opsets in ((False, range(13, 21)), (True, range(18, 21))):
            for opset in opsets:
                for free in (True, False):
                    how = "captured" if captures else "traced"
                    case = f"{name}.{how}-{opset}.{'free' if free else 'one'}"
                    data, refusal = export(network, sample, opset, captures, free)
                    if data is None:
                        refusals[f"{name}, {how}: {refusal}"] += 1
                        continue
                    fed = sample if free else sample[:1]
                    with torch.no_grad():
                        wanted = network(fed)
                    (folder / f"{case}.onnx").write_bytes(data)
                    fed.numpy().astype("<f4").tofile(folder / f"{case}.input")
                    wanted.numpy().astype("<f4").tofile(folder / f"{case}.output0")
                    cases.append({
                        "name": case, "op": name, "input": list(fed.shape),
                        "outputs": [{"type": "float32", "shape": list(wanted.shape)}],
                        "rtol": 1e-3, "atol": 1e-5,
                    })
    (folder / "cases.json").write_text(json.dumps(cases, indent=1))
    for reason, times in sorted(refusals.items()):
        print(f"PyTorch does not export {times} x {reason}")
    print(f"{len(cases)} networks in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
