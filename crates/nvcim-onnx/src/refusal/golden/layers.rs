//! Layers with weights, normalisation and quantisation.

use super::{Case, case, single};
use crate::proto::{AttributeProto, TensorProto};
use crate::testing::{TestModel, int};

/// Numbers of `TensorProto.DataType`.
const INT8: i32 = 3;
const INT16: i32 = 5;
const BOOL: i32 = 9;

fn open(input: &[i64]) -> TestModel {
    TestModel::new(18, input)
}

fn product(input: &[i64], matrix: &[i64]) -> TestModel {
    open(input).weight("w", matrix).node("MatMul", "x w", "y", &[]).output("y")
}

fn gemm(input: &[i64], bias: &[i64], attribute: &[AttributeProto]) -> TestModel {
    let model = open(input).weight("w", &[4, 3]).weight("b", bias);
    model.node("Gemm", "x w b", "y", attribute).output("y")
}

pub(super) fn cases() -> Vec<Case> {
    [products(), normalised(), quantised()].into_iter().flatten().collect()
}

fn products() -> Vec<Case> {
    vec![
        case("a product that does not fit", product(&[0, 4], &[5, 3])),
        case("a product of vectors", product(&[0, 4], &[5])),
        case("a layer that does not fit", gemm(&[0, 5], &[3], &[])),
        case("a layer of an image", gemm(&[0, 2, 4], &[3], &[])),
        case("a layer that turns the batch", {
            let model = open(&[0, 4]).weight("w", &[1, 3]);
            model.node("Gemm", "x w", "y", &[int("transA", 1)]).output("y")
        }),
        case("a bias for each sample", gemm(&[7, 4], &[7, 1], &[])),
        case("a product of two vectors of each sample", {
            open(&[0, 4]).node("MatMul", "x x", "y", &[]).output("y")
        }),
        case("a product of two vectors of length 1", {
            open(&[0, 1]).node("MatMul", "x x", "y", &[]).output("y")
        }),
        case("a product over a batch of 1", {
            open(&[0, 4]).weight("w", &[1, 1]).node("MatMul", "w x", "y", &[]).output("y")
        }),
        case("a product over the batch", {
            open(&[0, 4]).weight("w", &[3, 1]).node("MatMul", "w x", "y", &[]).output("y")
        }),
    ]
}

fn normalised() -> Vec<Case> {
    let channels = |model: TestModel, names: &[&str], length: i64| {
        names.iter().fold(model, |model, name| model.weight(name, &[length]))
    };
    let batch = |attribute: &[AttributeProto], opset| {
        let model = channels(TestModel::new(opset, &[0, 3, 2]), &["s", "b", "m", "v"], 3);
        model.node("BatchNormalization", "x s b m v", "y", attribute).output("y")
    };
    let group = |groups: i64, length: i64| {
        let model = channels(TestModel::new(21, &[0, 6, 4]), &["s", "b"], length);
        let groups = int("num_groups", groups);
        model.node("GroupNormalization", "x s b", "y", &[groups]).output("y")
    };
    vec![
        case("statistics of the batch", batch(&[int("training_mode", 1)], 15)),
        case("statistics of each pixel", batch(&[int("spatial", 0)], 7)),
        case("statistics that do not fit", {
            let model = channels(open(&[0, 3, 2]), &["s", "b", "m", "v"], 4);
            model.node("BatchNormalization", "x s b m v", "y", &[]).output("y")
        }),
        case("groups that do not divide the channels", group(4, 6)),
        case("scales that do not divide the channels", group(3, 4)),
        case("a normalisation without channels", {
            let model = channels(open(&[0, 1]), &["s", "b"], 1).ints("axis", &[1]);
            let model = model.node("Squeeze", "x axis", "t", &[]);
            model.node("InstanceNormalization", "t s b", "y", &[]).output("y")
        }),
        case("a normalisation over the batch", {
            let model = channels(open(&[0, 3, 2]), &["s"], 2);
            model.node("LayerNormalization", "x s", "y", &[int("axis", 0)]).output("y")
        }),
    ]
}

fn quantised() -> Vec<Case> {
    let zero = |name: &str, data_type: i32, count: usize| TensorProto {
        name: name.into(),
        dims: if count == 1 { Vec::new() } else { vec![count as i64] },
        data_type,
        int32_data: vec![0; count],
        ..TensorProto::default()
    };
    let quantise = |scales: &[f32], data_type: i32, attributes: &[AttributeProto]| {
        let dims = if scales.len() == 1 { Vec::new() } else { vec![scales.len() as i64] };
        let model = TestModel::new(21, &[0, 6]).floats("s", &dims, scales);
        let model = model.initializer(zero("z", data_type, scales.len()));
        model.node("QuantizeLinear", "x s z", "q", attributes).output("q")
    };
    vec![
        case("a quantisation to 16 bits", quantise(&[0.5], INT16, &[])),
        case("a quantisation to truth values", quantise(&[0.5], BOOL, &[])),
        case("a quantisation of blocks", quantise(&[0.5], INT8, &[int("block_size", 2)])),
        case("a negative scale", quantise(&[-0.5], INT8, &[])),
        case("scales that do not fit", quantise(&[0.5, 0.25], INT8, &[int("axis", 1)])),
        case("scales of the batch", quantise(&[0.5, 0.25], INT8, &[int("axis", 0)])),
        case("a layer of integers", {
            let model = TestModel::new(21, &[0, 6]).floats("s", &[], &[0.5]);
            let model = model.initializer(zero("z", INT8, 1));
            let model = model.node("QuantizeLinear", "x s z", "q", &[]);
            model.node("Relu", "q", "y", &[]).output("y")
        }),
        case("a cast to a type still to come", single(&[0, 6], "Cast", &[int("to", 1 << 40)])),
    ]
}
