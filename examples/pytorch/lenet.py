"""The network and the images of this example, and its way to ONNX and back."""

import gzip
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

DIGITS = Path(__file__).resolve().parents[2] / "onnx-models" / "digits"


def build():
    """A LeNet for images of 8 x 8."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 8, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),   # 8 x 4 x 4
        conv2=nn.Conv2d(8, 16, 3, padding=1), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),  # 16 x 2 x 2
        flatten=nn.Flatten(), fc1=nn.Linear(64, 32), relu3=nn.ReLU(), fc2=nn.Linear(32, 10),
    ))


def read_digits(part):
    """Images [N, 1, 8, 8] in 0..1 and labels [N] of `train` or `t10k`."""
    raw = [gzip.decompress((DIGITS / f"{part}-{name}-ubyte.gz").read_bytes())
           for name in ("images-idx3", "labels-idx1")]
    images = np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 1, 8, 8).astype(np.float32) / np.float32(255)
    labels = np.frombuffer(raw[1], np.uint8, offset=8).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)


def save(net, path):
    """Writes `net` as one ONNX file that takes any number of images."""
    example, any_number = torch.zeros(2, 1, 8, 8), {0: torch.export.Dim("batch")}
    torch.onnx.export(net.eval(), (example,), path, input_names=["image"], output_names=["scores"],
                      dynamic_shapes=(any_number,), external_data=False, verbose=False)


def load(path):
    """The network with the weights of an ONNX file that `save` or, after it, `nvcim train` has written."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    net = build()
    # Exporters add constants of their own, such as the shape that `Flatten` makes.
    net.load_state_dict({name: torch.from_numpy(tensors[name].copy()) for name in net.state_dict()})
    return net.eval()


@torch.no_grad()
def accuracy(net, images, labels):
    """Percent of images that `net` gets right."""
    return 100 * (net(images).argmax(1) == labels).double().mean().item()
