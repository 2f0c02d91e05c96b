"""Writes large networks with random weights, node by node as exporters write them, for `cargo bench` and tests.

    python3 -m venv venv && venv/bin/pip install onnx
    venv/bin/python tests/large/make_networks.py target/large-networks [--external] [NAME...]

Shapes, operators and their order are those of the published networks; weights are drawn with the deviation
that keeps activations of one size, from a seed for each name. What exporters do differently is done
differently here, so that each way is met:

* resnet-18, resnet-50, vgg-16: BatchNormalization stands behind its convolution; the batch is open; flattening
  is a Flatten.
* mobilenet-v2: normalisation is folded into convolutions; ReLU6 is a Clip with constant operands; the mean over
  the plane is a ReduceMean.
* vit-tiny: exported for one image; query, key and value are one product, cut apart by a Transpose of five axes
  and Gathers; LayerNormalization is one node; the class token is expanded to the batch.
* bert-base: open batch, sequences of 128; three products for query, key and value; shapes are computed at run
  time; LayerNorm and Gelu are spelled out; masked scores are chosen by a Where. Its input is embedded words:
  looking words up is no matrix product.

Beside each network lie two inputs of noise, `NAME-inputs.npz`, for `nvcim compile --calib`. `--external` keeps
weights in one file beside the network, as files above 2 GB must.
"""

import math
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


# Inputs that are written for calibration.
SAMPLES = 2


class Net:
    """A graph under construction; `self.x` is the tensor made last."""

    def __init__(self, name, opset, shape):
        self.name, self.opset = name, opset
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self.input = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        self.x = "input"

    def add(self, op, *inputs, scope="", **attributes):
        """Appends a node on `inputs`, `self.x` where none are named, and makes its output the last one."""
        self.x = self.append(op, list(inputs) or [self.x], scope, **attributes)
        return self.x

    def append(self, op, inputs, scope="", **attributes):
        """Appends a node; its output."""
        name = f"{scope}/{op}_{len(self.nodes)}"
        made = f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [made], name, **attributes))
        return made

    def value(self, name, array):
        """An initialiser."""
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values):
        """A `Constant` node of integers on one axis."""
        return self.constant(np.array(values, dtype=np.int64))

    def constant(self, array):
        """A `Constant` node."""
        return self.append("Constant", [], value=numpy_helper.from_array(np.asarray(array)))

    def weight(self, name, shape, fan_in, gain=2.0):
        """Normal weights that turn `fan_in` inputs of size 1 into outputs of size 1; gain 2 in front of a ReLU."""
        values = self.random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(math.sqrt(gain / fan_in))
        return self.value(name, values)

    def vector(self, name, length, mean=0.0, deviation=0.02):
        values = self.random.standard_normal(length, dtype=np.float32)
        return self.value(name, np.float32(mean) + np.float32(deviation) * values)

    def conv(self, scope, n_in, n_out, kernel, stride=1, pad=None, groups=1, bias=False, gain=2.0):
        pad = kernel // 2 if pad is None else pad
        fan_in = n_in // groups * kernel * kernel
        weight = self.weight(f"{scope}.weight", (n_out, n_in // groups, kernel, kernel), fan_in, gain)
        inputs = [self.x, weight] + ([self.vector(f"{scope}.bias", n_out)] if bias else [])
        return self.add(
            "Conv", *inputs, scope=f"/{scope}", dilations=[1, 1], group=groups,
            kernel_shape=[kernel, kernel], pads=[pad] * 4, strides=[stride, stride],
        )

    def norm(self, scope, n, scale=1.0):
        inputs = [
            self.vector(f"{scope}.weight", n, scale),
            self.vector(f"{scope}.bias", n),
            self.vector(f"{scope}.running_mean", n),
            self.value(f"{scope}.running_var", np.ones(n, dtype=np.float32)),
        ]
        return self.add("BatchNormalization", self.x, *inputs, scope=f"/{scope}", epsilon=1e-5, momentum=0.9)

    def dense(self, scope, n_in, n_out, gain=2.0):
        """A fully connected layer of one row to a sample: Gemm with the weight as frameworks keep it."""
        inputs = [self.weight(f"{scope}.weight", (n_out, n_in), n_in, gain), self.vector(f"{scope}.bias", n_out)]
        return self.add("Gemm", self.x, *inputs, scope=f"/{scope}", alpha=1.0, beta=1.0, transB=1)

    def project(self, scope, x, n_in, n_out, gain=1.0):
        """A fully connected layer over a sequence: MatMul with the turned weight, then Add."""
        product = self.add("MatMul", x, self.weight(f"onnx::MatMul_{scope}", (n_in, n_out), n_in, gain), scope=f"/{scope}")
        return self.add("Add", self.vector(f"{scope}.bias", n_out), product, scope=f"/{scope}")

    def save(self, folder, external):
        output = helper.make_tensor_value_info(self.x, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, self.name, [self.input], [output], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        weights = sum(int(np.prod(tensor.dims)) for tensor in self.initializers)
        path = folder / f"{self.name}{'-external' if external else ''}.onnx"
        if external:
            data = path.with_suffix(".onnx.data")
            data.unlink(missing_ok=True)
            onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=1024)
        else:
            onnx.save(model, path)
        np.savez(folder / f"{self.name}-inputs.npz", x=self.samples())
        print(f"{path}: {len(self.nodes)} nodes, {weights / 1e6:.1f} million weights")

    def samples(self):
        """Inputs to calibrate on: noise of size 1."""
        sample = [axis.dim_value for axis in self.input.type.tensor_type.shape.dim][1:]
        random = np.random.default_rng(zlib.crc32(f"{self.name} inputs".encode()))
        return random.standard_normal((SAMPLES, *sample), dtype=np.float32)


def resnet(name, blocks, bottleneck):
    """He et al., "Deep residual learning for image recognition", CVPR 2016, table 1."""
    net = Net(name, 13, ["batch", 3, 224, 224])
    net.conv("conv1", 3, 64, 7, 2)
    net.norm("bn1", 64)
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=0)
    n_in = 64
    for stage, (width, n_blocks) in enumerate(zip([64, 128, 256, 512], blocks), 1):
        for block in range(n_blocks):
            scope, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            n_out = 4 * width if bottleneck else width
            shortcut = net.x
            layers = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
            channels = [n_in] + [width] * (len(layers) - 1) + [n_out]
            for at, (kernel, step) in enumerate(layers):
                last = at + 1 == len(layers)
                net.conv(f"{scope}.conv{at + 1}", channels[at], channels[at + 1], kernel, step)
                # A small share for each block, so that sums do not grow.
                net.norm(f"{scope}.bn{at + 1}", channels[at + 1], 0.3 if last else 1.0)
                if not last:
                    net.add("Relu")
            branch = net.x
            if stride != 1 or n_in != n_out:
                net.x = shortcut
                net.conv(f"{scope}.downsample.0", n_in, n_out, 1, stride, gain=1.0)
                shortcut = net.norm(f"{scope}.downsample.1", n_out)
            net.add("Add", branch, shortcut, scope=f"/{scope}")
            net.add("Relu", scope=f"/{scope}")
            n_in = n_out
    net.add("GlobalAveragePool")
    net.add("Flatten", axis=1)
    net.dense("fc", n_in, 1000, 1.0)
    return net


def vgg_16():
    """Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015, table 1, column D, normalised."""
    net = Net("vgg-16", 13, ["batch", 3, 224, 224])
    n_in, at = 3, 0
    for width, n_layers in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(n_layers):
            net.conv(f"features.{at}", n_in, width, 3, bias=True)
            net.norm(f"features.{at + 1}", width)
            net.add("Relu")
            n_in, at = width, at + 3
        net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, ceil_mode=0)
        at += 1
    net.add("Flatten", axis=1)
    for at, (rows, columns) in enumerate([(25088, 4096), (4096, 4096)]):
        net.dense(f"classifier.{3 * at}", rows, columns)
        net.add("Relu")
    net.dense("classifier.6", 4096, 1000, 1.0)
    return net


def mobilenet_v2():
    """Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2."""
    net = Net("mobilenet-v2", 13, ["batch", 3, 224, 224])

    def conv(scope, *shape, clip=True, **options):
        net.conv(scope, *shape, bias=True, gain=2.0 if clip else 1.0, **options)
        if clip:
            bounds = [net.constant(np.float32(bound)) for bound in (0.0, 6.0)]
            net.add("Clip", net.x, *bounds, scope=f"/{scope}")

    conv("features.0.0", 3, 32, 3, 2)
    n_in, at = 32, 1
    for expansion, n_out, n_blocks, stride in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:
        for block in range(n_blocks):
            scope, step, shortcut, wide = f"features.{at}.conv", stride if block == 0 else 1, net.x, expansion * n_in
            if expansion > 1:
                conv(f"{scope}.0.0", n_in, wide, 1)
            conv(f"{scope}.1.0", wide, wide, 3, step, groups=wide)
            conv(f"{scope}.2", wide, n_out, 1, clip=False)
            if step == 1 and n_in == n_out:
                net.add("Add", shortcut, net.x)
            n_in, at = n_out, at + 1
    conv(f"features.{at}.0", 320, 1280, 1)
    net.add("ReduceMean", axes=[2, 3], keepdims=0)
    net.dense("classifier.1", 1280, 1000, 1.0)
    return net


def vit_tiny():
    """Touvron et al., "Training data-efficient image transformers", ICML 2021, table 1."""
    width, heads, tokens = 192, 3, 197
    net = Net("vit-tiny", 17, [1, 3, 224, 224])
    image = net.conv("patch_embed.proj", 3, width, 16, 16, 0, bias=True, gain=1.0)
    shape = net.add("Slice", net.add("Shape"), net.ints(0), net.ints(2), net.ints(0))
    net.add("Reshape", image, net.add("Concat", shape, net.ints(tokens - 1), axis=0))
    patches = net.add("Transpose", perm=[0, 2, 1])
    token = net.value("cls_token", net.random.standard_normal((1, 1, width), dtype=np.float32))
    token = net.add("Expand", token, net.ints(1, 1, width))
    net.add("Concat", token, patches, axis=1)
    position = net.value("pos_embed", 0.02 * net.random.standard_normal((1, tokens, width), dtype=np.float32))
    net.add("Add", net.x, position)

    def layer_norm(scope):
        scale, bias = net.vector(f"{scope}.weight", width, 1.0), net.vector(f"{scope}.bias", width)
        return net.add("LayerNormalization", net.x, scale, bias, scope=f"/{scope}", axis=-1, epsilon=1e-6)

    for block in range(12):
        scope, entry = f"blocks.{block}", net.x
        layer_norm(f"{scope}.norm1")
        net.project(f"{scope}.attn.qkv", net.x, width, 3 * width)
        net.add("Reshape", net.x, net.ints(1, tokens, 3, heads, width // heads))
        parts = net.add("Transpose", perm=[2, 0, 3, 1, 4])
        query, key, value = [net.add("Gather", parts, net.constant(np.int64(at)), axis=0) for at in range(3)]
        query = net.add("Mul", query, net.constant(np.float32((width // heads) ** -0.5)))
        key = net.add("Transpose", key, perm=[0, 1, 3, 2])
        net.add("MatMul", query, key)
        net.add("Softmax", axis=-1)
        net.add("MatMul", net.x, value)
        net.add("Transpose", perm=[0, 2, 1, 3])
        net.add("Reshape", net.x, net.ints(1, tokens, width))
        net.project(f"{scope}.attn.proj", net.x, width, width)
        entry = net.add("Add", entry, net.x)
        layer_norm(f"{scope}.norm2")
        net.project(f"{scope}.mlp.fc1", net.x, width, 4 * width)
        gelu(net, f"{scope}.mlp.act")
        net.project(f"{scope}.mlp.fc2", net.x, 4 * width, width)
        net.add("Add", entry, net.x)
    layer_norm("norm")
    net.add("Gather", net.x, net.constant(np.int64(0)), axis=1)
    net.dense("head", width, 1000, 1.0)
    return net


def bert_base():
    """Devlin et al., "BERT: pre-training of deep bidirectional transformers", NAACL 2019: width 768, 12 layers."""
    width, heads, length = 768, 12, 128
    net = Net("bert-base", 14, ["batch", length, width])
    table = net.value("embeddings.position_embeddings.weight", 0.02 * net.random.standard_normal((512, width), dtype=np.float32))
    positions = net.add("Slice", table, net.ints(0), net.ints(length), net.ints(0))
    net.add("Add", "input", positions)
    # The last quarter of every sequence is padding.
    allowed = net.value("attention_mask", np.arange(length).reshape(1, 1, 1, length) < 3 * length // 4)

    def layer_norm(scope):
        """Opset 14 has no node for it."""
        x = net.x
        mean = net.add("ReduceMean", x, scope=f"/{scope}", axes=[-1], keepdims=1)
        centred = net.add("Sub", x, mean, scope=f"/{scope}")
        square = net.add("Pow", centred, net.constant(np.float32(2.0)), scope=f"/{scope}")
        variance = net.add("ReduceMean", square, scope=f"/{scope}", axes=[-1], keepdims=1)
        variance = net.add("Add", variance, net.constant(np.float32(1e-12)), scope=f"/{scope}")
        deviation = net.add("Sqrt", variance, scope=f"/{scope}")
        normal = net.add("Div", centred, deviation, scope=f"/{scope}")
        scaled = net.add("Mul", normal, net.vector(f"{scope}.weight", width, 1.0), scope=f"/{scope}")
        return net.add("Add", scaled, net.vector(f"{scope}.bias", width), scope=f"/{scope}")

    def reshape(x, *inner):
        """`[batch, length, inner...]`, whose first lengths are asked for at run time."""
        lengths = []
        for axis in (0, 1):
            asked = net.add("Gather", net.add("Shape", x), net.constant(np.int64(axis)), axis=0)
            lengths.append(net.add("Unsqueeze", asked, net.ints(0)))
        shape = net.add("Concat", *lengths, *[net.ints(length) for length in inner], axis=0)
        return net.add("Reshape", x, shape)

    def split_heads(x, perm):
        return net.add("Transpose", reshape(x, heads, width // heads), perm=perm)

    layer_norm("embeddings.LayerNorm")
    for layer in range(12):
        scope, entry = f"encoder.layer.{layer}", net.x
        query, key, value = [
            net.project(f"{scope}.attention.self.{part}", entry, width, width) for part in ("query", "key", "value")
        ]
        query = split_heads(query, [0, 2, 1, 3])
        key, value = split_heads(key, [0, 2, 3, 1]), split_heads(value, [0, 2, 1, 3])
        net.add("MatMul", query, key)
        net.add("Div", net.x, net.constant(np.float32(math.sqrt(width // heads))))
        net.add("Where", allowed, net.x, net.constant(np.float32(np.finfo(np.float32).min)))
        net.add("Softmax", axis=-1)
        net.add("MatMul", net.x, value)
        reshape(net.add("Transpose", perm=[0, 2, 1, 3]), width)
        net.project(f"{scope}.attention.output.dense", net.x, width, width)
        net.add("Add", net.x, entry)
        entry = layer_norm(f"{scope}.attention.output.LayerNorm")
        net.project(f"{scope}.intermediate.dense", net.x, width, 4 * width)
        gelu(net, f"{scope}.intermediate")
        net.project(f"{scope}.output.dense", net.x, 4 * width, width)
        net.add("Add", net.x, entry)
        layer_norm(f"{scope}.output.LayerNorm")
    net.add("Gather", net.x, net.constant(np.int64(0)), axis=1)
    net.dense("pooler.dense", width, width, 1.0)
    net.add("Tanh")
    net.dense("classifier", width, 2, 1.0)
    return net


def gelu(net, scope):
    """x (1 + erf(x / sqrt 2)) / 2, spelled out."""
    x = net.x
    scaled = net.add("Div", x, net.constant(np.float32(math.sqrt(2.0))), scope=f"/{scope}")
    error = net.add("Erf", scaled, scope=f"/{scope}")
    share = net.add("Add", error, net.constant(np.float32(1.0)), scope=f"/{scope}")
    product = net.add("Mul", x, share, scope=f"/{scope}")
    return net.add("Mul", product, net.constant(np.float32(0.5)), scope=f"/{scope}")


NETWORKS = {
    "resnet-18": lambda: resnet("resnet-18", [2, 2, 2, 2], False),
    "resnet-50": lambda: resnet("resnet-50", [3, 4, 6, 3], True),
    "vgg-16": vgg_16,
    "mobilenet-v2": mobilenet_v2,
    "vit-tiny": vit_tiny,
    "bert-base": bert_base,
}


def main(arguments):
    external = "--external" in arguments
    folder, *names = [argument for argument in arguments if argument != "--external"] or ["target/large-networks"]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or NETWORKS:
        NETWORKS[name]().save(folder, external)


if __name__ == "__main__":
    main(sys.argv[1:])
