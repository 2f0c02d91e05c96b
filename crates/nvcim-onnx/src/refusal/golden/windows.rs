//! Convolutions and pools whose windows do not fit.

use super::{Case, case, single};
use crate::proto::AttributeProto;
use crate::testing::{TestModel, int, ints, string};

fn conv(input: &[i64], weight: &[i64], attributes: &[AttributeProto]) -> TestModel {
    let model = TestModel::new(18, input).weight("w", weight);
    model.node("Conv", "x w", "y", attributes).output("y")
}

fn transposed(input: &[i64], weight: &[i64], attributes: &[AttributeProto]) -> TestModel {
    let model = TestModel::new(18, input).weight("w", weight);
    model.node("ConvTranspose", "x w", "y", attributes).output("y")
}

fn pool(input: &[i64], attributes: &[AttributeProto]) -> TestModel {
    single(input, "MaxPool", attributes)
}

pub(super) fn cases() -> Vec<Case> {
    let image = &[0, 2, 6, 6];
    let kernel = || ints("kernel_shape", &[3, 3]);
    let far = i64::MAX / 2;
    vec![
        case("a convolution for other channels", conv(image, &[4, 3, 3, 3], &[])),
        case("a convolution of other groups", conv(image, &[4, 2, 3, 3], &[int("group", 2)])),
        case("filters that groups do not divide", conv(image, &[3, 1, 3, 3], &[int("group", 2)])),
        case("a kernel of other axes", conv(image, &[4, 2, 3], &[])),
        case("a kernel of another length than stated", conv(image, &[4, 2, 3, 2], &[kernel()])),
        case("a kernel beyond its image", conv(image, &[4, 2, 9, 9], &[])),
        case("too few strides", conv(image, &[4, 2, 3, 3], &[ints("strides", &[1])])),
        case("too few pads", conv(image, &[4, 2, 3, 3], &[ints("pads", &[1, 1])])),
        case("an enormous dilation", conv(image, &[4, 2, 3, 3], &[ints("dilations", &[far, far])])),
        case("an enormous dilation that is padded", {
            let same = string("auto_pad", "SAME_UPPER");
            conv(image, &[4, 2, 3, 3], &[ints("dilations", &[far, far]), same])
        }),
        case("a bias that does not fit", {
            let model = TestModel::new(18, image).weight("w", &[4, 2, 3, 3]).weight("b", &[5]);
            model.node("Conv", "x w b", "y", &[]).output("y")
        }),
        case("four axes of pixels", conv(&[0, 1, 3, 3, 3, 3], &[1, 1, 2, 2, 2, 2], &[])),
        case("a volume padded automatically", {
            conv(&[0, 1, 4, 4, 4], &[1, 1, 2, 2, 2], &[string("auto_pad", "SAME_UPPER")])
        }),
        case("a volume with too few strides", {
            conv(&[0, 1, 4, 4, 4], &[1, 1, 2, 2, 2], &[ints("strides", &[1, 1])])
        }),
        case("a volume with an enormous dilation", {
            conv(&[0, 1, 4, 4, 4], &[1, 1, 2, 2, 2], &[ints("dilations", &[1, far, 1])])
        }),
        case("a pool over a volume", pool(&[0, 1, 4, 4, 4], &[ints("kernel_shape", &[2, 2, 2])])),
        case("a pool without a window", pool(&[0, 1, 4, 4], &[])),
        case("a pool over one axis of two", pool(&[0, 1, 4, 4], &[ints("kernel_shape", &[2])])),
        case("a pool of vectors", pool(&[0, 4], &[ints("kernel_shape", &[2])])),
        case("a pool of a batch of its own", {
            let model = TestModel::new(18, &[1, 2, 4, 4]);
            let model = model.node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2, 3])]);
            let model = model.node("MaxPool", "t", "y", &[ints("kernel_shape", &[2, 2])]);
            // As a network that keeps a batch it would have two problems.
            model
                .node("Transpose", "x", "z", &[ints("perm", &[1, 0, 2, 3])])
                .output("y")
                .output("z")
        }),
        case("a transposed convolution for other channels", transposed(image, &[3, 2, 3, 3], &[])),
        case("a transposed convolution of other groups", {
            transposed(&[0, 3, 6, 6], &[3, 2, 3, 3], &[int("group", 2)])
        }),
        case("a transposed convolution of other axes", transposed(image, &[2, 2, 3], &[])),
        case("a transposed convolution that pads all away", {
            transposed(image, &[2, 2, 1, 1], &[ints("pads", &[3, 3, 3, 3])])
        }),
        case("a transposed convolution with an enormous stride", {
            transposed(image, &[2, 2, 3, 3], &[ints("strides", &[far, far])])
        }),
        case("a transposed convolution with an enormous dilation", {
            transposed(image, &[2, 2, 3, 3], &[ints("dilations", &[far, far])])
        }),
    ]
}
