"""Makes the bundled networks and the bundled digits; `--check` measures what is here.

    python onnx-models/train.py            # digits/, lenet-digits.onnx, lenet5-mnist.onnx
    python onnx-models/train.py --check    # accuracy, hash and weight spread of each file

Images are u8 in IDX files and enter a network as u8 / 255, shape [N, 1, height, width].
Every setting is fixed below, and no test image is looked at before the weights are written.
"""

import argparse
import gzip
import hashlib
import os
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
SEED = 0
OPSET = 13
# The IR version that came with opset 13, so that readers of that age accept the file.
IR_VERSION = 7


# Networks -----------------------------------------------------------------------------------


def build_lenet_digits():
    """LeNet for 8x8 images: two 3x3 convolutions, each pooled, and two dense layers."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 8, 3, padding=1),   # 8 x 8 x 8
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),                 # 8 x 4 x 4
        conv2=nn.Conv2d(8, 16, 3, padding=1),  # 16 x 4 x 4
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),                 # 16 x 2 x 2
        flatten=nn.Flatten(),
        fc1=nn.Linear(64, 32),
        relu3=nn.ReLU(),
        fc2=nn.Linear(32, 10),
    ))


def build_lenet5():
    """LeNet-5 (LeCun et al. 1998) with ReLU, max-pooling and a full second convolution."""
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 6, 5, padding=2),   # 6 x 28 x 28
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),                 # 6 x 14 x 14
        conv2=nn.Conv2d(6, 16, 5),             # 16 x 10 x 10
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),                 # 16 x 5 x 5
        flatten=nn.Flatten(),
        fc1=nn.Linear(400, 120),
        relu3=nn.ReLU(),
        fc2=nn.Linear(120, 84),
        relu4=nn.ReLU(),
        fc3=nn.Linear(84, 10),
    ))


@dataclass(frozen=True)
class Recipe:
    """One network and how it is trained; distances are in pixels, angles in degrees."""

    file: str
    title: str
    build: Callable[[], nn.Sequential]
    image_shape: tuple[int, int, int]
    epochs: int
    batch: int
    peak_rate: float
    # Keeps the largest weight, which sets the conductance scale of a layer, near the others.
    weight_decay: float
    rotate: float
    zoom: float
    shift: float


DIGITS = Recipe("lenet-digits.onnx", "8x8 digits", build_lenet_digits, (1, 8, 8), epochs=120,
                batch=32, peak_rate=4e-3, weight_decay=0.05, rotate=8, zoom=0.08, shift=0.5)
MNIST = Recipe("lenet5-mnist.onnx", "MNIST", build_lenet5, (1, 28, 28), epochs=25,
               batch=128, peak_rate=4e-3, weight_decay=0.05, rotate=8, zoom=0.08, shift=1.5)


# Data ---------------------------------------------------------------------------------------


def read_idx(path):
    """The u8 array of a gzipped IDX file."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(path, array):
    """Writes a u8 array as gzipped IDX; the gzip header holds neither name nor time."""
    head = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(head + array.astype(np.uint8).tobytes())


def read_part(folder, part):
    """Images [N, 1, height, width] as f32 in 0..1 and labels [N] of `train` or `t10k`."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    return images[:, None].astype(np.float32) / np.float32(255), labels


def write_digits(folder):
    """Splits scikit-learn's digits 75 : 25 by class and stores both parts as IDX.

    A pixel counts 0..16 dots; stored as round(255 / 16 * pixel), the usual division by 255
    gives pixel / 16 to within 1/510.
    """
    digits = load_digits()
    pixels = np.floor(digits.images * 255 / 16 + 0.5).astype(np.uint8)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, digits.target, test_size=0.25, stratify=digits.target, random_state=SEED)
    folder.mkdir(exist_ok=True)
    for part, images, labels in [("train", train_x, train_y), ("t10k", test_x, test_y)]:
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


# Training -----------------------------------------------------------------------------------


def distort(images, recipe):
    """Each image turned, zoomed and shifted at random within the recipe's limits."""
    count, size = len(images), images.shape[-1]

    def spread(limit):
        return (2 * torch.rand(count) - 1) * limit

    angle = torch.deg2rad(spread(recipe.rotate))
    scale = 1 + spread(recipe.zoom)
    # `affine_grid` measures in half images.
    shift_x, shift_y = spread(2 * recipe.shift / size), spread(2 * recipe.shift / size)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], 1).reshape(count, 2, 3)
    grid = functional.affine_grid(theta, images.shape, align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(recipe, folder):
    """The network of `recipe`, trained on the `train` part of `folder` with AdamW."""
    torch.manual_seed(SEED)
    images, labels = read_part(folder, "train")
    images, labels = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    net = recipe.build()
    weights = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW([
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ], lr=recipe.peak_rate)
    steps = -(-len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_rate, epochs=recipe.epochs, steps_per_epoch=steps)
    for epoch in range(recipe.epochs):
        total = 0.0
        for batch in torch.randperm(len(images)).split(recipe.batch):
            loss = functional.cross_entropy(net(distort(images[batch], recipe)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"{recipe.file}: epoch {epoch + 1} of {recipe.epochs}, "
              f"loss {total / len(images):.4f}", flush=True)
    return net


# ONNX ---------------------------------------------------------------------------------------


def describe_layer(layer):
    """ONNX operator and attributes of one layer."""
    match layer:
        case nn.Conv2d():
            return "Conv", {"kernel_shape": layer.kernel_size, "strides": layer.stride,
                            "pads": layer.padding * 2}
        case nn.Linear():
            return "Gemm", {"transB": 1}
        case nn.MaxPool2d():
            return "MaxPool", {"kernel_shape": [layer.kernel_size] * 2,
                               "strides": [layer.stride] * 2}
        case nn.ReLU():
            return "Relu", {}
        case nn.Flatten():
            return "Flatten", {"axis": layer.start_dim}
    raise TypeError(f"no ONNX operator for `{type(layer).__name__}`")


def write_onnx(path, net, image_shape):
    """Writes `net` node by node: a node and its output share the name of the layer.

    Written by hand because torch's exporter chooses the names itself.
    """
    nodes, initializers, value = [], [], "image"
    layers = list(net.named_children())
    for name, layer in layers:
        op_type, attributes = describe_layer(layer)
        inputs = [value]
        for part, parameter in layer.named_parameters():
            inputs.append(f"{name}.{part}")
            initializers.append(numpy_helper.from_array(parameter.detach().numpy(), inputs[-1]))
        value = "logits" if name == layers[-1][0] else name
        nodes.append(helper.make_node(op_type, inputs, [value], name, **attributes))
    graph = helper.make_graph(
        nodes, path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *image_shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        initializers)
    model = helper.make_model(graph, ir_version=IR_VERSION,
                              opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


# Measuring ----------------------------------------------------------------------------------


def check(recipe, folder):
    """Prints size, hash, weight spread and float accuracy of one file as onnxruntime sees it."""
    path = HERE / recipe.file
    content = path.read_bytes()
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    print(f"{recipe.file}: {len(content)} bytes, {sum(t.size for t in tensors.values())} parameters")
    print(f"  sha256 {hashlib.sha256(content).hexdigest()}")
    for name, tensor in tensors.items():
        if tensor.ndim > 1:
            print(f"  {name}: largest {abs(tensor).max():.3f}, "
                  f"{abs(tensor).max() / tensor.std():.1f} standard deviations")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for part in ["t10k", "train"]:
        images, labels = read_part(folder, part)
        # A batch that does not divide the set also proves that the batch size is free.
        batches = np.split(images, range(256, len(images), 256))
        logits = np.concatenate([session.run(None, {"image": b})[0] for b in batches])
        right = int((logits.argmax(1) == labels).sum())
        print(f"  {recipe.title} {part}: {100 * right / len(labels):.2f} % "
              f"({right} of {len(labels)})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="train nothing, measure the files")
    parser.add_argument("--only", choices=["digits", "mnist"], help="one of the two networks")
    parser.add_argument(
        "--shared", type=Path, metavar="DIR",
        default=Path(os.environ.get("NVCIM_SHARED", HERE.parent.parent / "shared")),
        help="folder with datasets/mnist (default: $NVCIM_SHARED, else ../shared)")
    options = parser.parse_args()

    # One thread fixes the order of every sum, and with it the files on one kind of CPU.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    jobs = []
    if options.only != "mnist":
        jobs.append((DIGITS, HERE / "digits"))
    if options.only != "digits":
        mnist = options.shared / "datasets" / "mnist"
        if not mnist.is_dir():
            parser.error(f"no folder `{mnist}`; name the one with MNIST by `--shared`, "
                         "or leave it out by `--only digits`")
        jobs.append((MNIST, mnist))

    for recipe, folder in jobs:
        if not options.check:
            if recipe is DIGITS:
                write_digits(folder)
            net = train(recipe, folder)
            write_onnx(HERE / recipe.file, net, recipe.image_shape)
        check(recipe, folder)


if __name__ == "__main__":
    main()
