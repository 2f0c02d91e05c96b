//! Constants that cannot be read, in the file or beside it, and constants that no operator takes.

use super::{Case, case};
use crate::proto::{EXTERNAL, FLOAT, SparseTensorProto, StringStringEntryProto, TensorProto};
use crate::testing::{TestModel, int, tensor};

/// Numbers of `TensorProto.DataType`.
const UNDEFINED: i32 = 0;
const STRING: i32 = 8;
const DOUBLE: i32 = 11;
const COMPLEX: i32 = 14;
const BFLOAT16: i32 = 16;
const INT4: i32 = 22;

/// A model that adds the constant.
fn adds(constant: TensorProto) -> TestModel {
    let constant = TensorProto { name: "w".into(), ..constant };
    TestModel::new(18, &[0, 2]).initializer(constant).node("Add", "x w", "y", &[]).output("y")
}

/// A constant of two elements in eight bytes.
fn raw(data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto { dims: dims.into(), data_type, raw_data: vec![0; 8], ..TensorProto::default() }
}

/// A constant of two floats in the file that the entries name.
fn outside(entries: &[(&str, &str)]) -> TestModel {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    adds(TensorProto {
        dims: vec![2],
        data_type: FLOAT,
        data_location: EXTERNAL,
        external_data: entries.iter().map(entry).collect(),
        ..TensorProto::default()
    })
}

pub(super) fn cases() -> Vec<Case> {
    [inside(), beside(), computed(), taken()].into_iter().flatten().collect()
}

fn inside() -> Vec<Case> {
    let fields = |dims: &[i64]| TensorProto {
        raw_data: Vec::new(),
        float_data: vec![1.0],
        ..raw(FLOAT, dims)
    };
    let mut sparse = adds(raw(FLOAT, &[2]));
    sparse.graph.sparse_initializer.push(SparseTensorProto::default());
    vec![
        case("weights of bfloat16", adds(raw(BFLOAT16, &[4]))),
        case("weights of 4 bits", adds(raw(INT4, &[16]))),
        case("weights of complex numbers", adds(raw(COMPLEX, &[1]))),
        case("weights of texts", adds(raw(STRING, &[1]))),
        case("weights of a type still to come", adds(raw(99, &[1]))),
        case("weights of no type", adds(raw(UNDEFINED, &[1]))),
        case("weights of no type in a field", adds(TensorProto { data_type: 0, ..fields(&[1]) })),
        case("weights with too few bytes", adds(raw(FLOAT, &[3]))),
        case("weights with too few numbers", adds(fields(&[2]))),
        case("weights of negative length", adds(raw(FLOAT, &[-2]))),
        case("weights beyond the limit", adds(raw(FLOAT, &[1 << 20, 1 << 20]))),
        case("weights beyond the limit in a field", adds(fields(&[1 << 20, 1 << 20]))),
        case("sparse weights", sparse),
    ]
}

fn beside() -> Vec<Case> {
    let weights = ("location", "weights.bin");
    vec![
        case("a file of weights without a name", outside(&[])),
        case("a file of weights that is missing", outside(&[("location", "model.onnx.data")])),
        case("a file of weights outside the folder", outside(&[("location", "../weights.bin")])),
        case("a file of weights that ends early", outside(&[weights, ("offset", "4")])),
        case("a file of weights at no offset", outside(&[weights, ("offset", "four")])),
        case("a file of weights of another length", outside(&[weights, ("length", "12")])),
        case("a file of weights that cannot be read", outside(&[("location", "worn.bin")])),
    ]
}

fn computed() -> Vec<Case> {
    let open = || TestModel::new(18, &[0, 4]);
    let plus = |model: TestModel| model.node("Add", "x c", "y", &[]).output("y");
    let side = 1 << 20;
    let long = 1 << 17;
    vec![
        case("a constant without a value", plus(open().node("Constant", "", "c", &[]))),
        case("a constant whose value is damaged", {
            let mut value = tensor("value", &[1, 2]);
            value.t.as_mut().expect("a tensor attribute").dims = vec![3];
            plus(open().node("Constant", "", "c", &[value]))
        }),
        case("a constant of bfloat16", {
            let mut value = tensor("value", &[1, 2]);
            value.t.as_mut().expect("a tensor attribute").data_type = BFLOAT16;
            plus(open().node("Constant", "", "c", &[value]))
        }),
        case("a constant of too many elements, made at once", {
            plus(open().ints("shape", &[side, side]).node("ConstantOfShape", "shape", "c", &[]))
        }),
        case("a constant of too many elements, expanded", {
            let model = open().weight("one", &[1, 1]).ints("shape", &[side, side]);
            plus(model.node("Expand", "one shape", "c", &[]))
        }),
        case("a constant of too much work", {
            let model = open().ints("row", &[1, long]).ints("column", &[long, 1]);
            let model = model.node("ConstantOfShape", "row", "a", &[]);
            let model = model.node("ConstantOfShape", "column", "b", &[]);
            plus(model.node("MatMul", "a b", "c", &[]))
        }),
        case("a shape of no tensor", plus(open().node("Shape", "", "c", &[]))),
    ]
}

fn taken() -> Vec<Case> {
    let image = || TestModel::new(18, &[0, 2, 4, 4]);
    vec![
        case("data of a constant", {
            let model = TestModel::new(18, &[0, 4]).weight("c", &[1, 1]);
            model.node("Gemm", "c x", "y", &[]).output("y")
        }),
        case("a weight computed from the input", {
            let model = TestModel::new(18, &[1, 2, 4, 4]);
            model.node("Conv", "x x", "y", &[]).output("y")
        }),
        case("a weight of double", {
            let weight = TensorProto {
                name: "w".into(),
                dims: vec![4, 3],
                data_type: DOUBLE,
                double_data: vec![0.5; 12],
                ..TensorProto::default()
            };
            let model = TestModel::new(18, &[0, 4]).initializer(weight);
            model
                .node("Cast", "x", "d", &[int("to", 11)])
                .node("MatMul", "d w", "y", &[])
                .output("y")
        }),
        case("a weight that is missing", image().node("Conv", "x", "y", &[]).output("y")),
        case("two numbers for one", {
            let model = image().floats("lo", &[2], &[0.0, 1.0]);
            model.node("Clip", "x lo", "y", &[]).output("y")
        }),
        case("floats for integers", {
            let model = image().floats("starts", &[1], &[0.0]).floats("ends", &[1], &[1.0]);
            model.node("Slice", "x starts ends", "y", &[]).output("y")
        }),
        case("a weight that is not finite", {
            let model = TestModel::new(18, &[0, 1]).floats("w", &[1, 1], &[f32::NAN]);
            model.node("Gemm", "x w", "y", &[]).output("y")
        }),
        case("a constant that differs between samples", {
            let model =
                TestModel::new(18, &[2, 1, 3]).weight("c", &[2, 1, 3]).weight("w", &[1, 1, 2]);
            model.node("Add", "x c", "a", &[]).node("Conv", "a w", "y", &[]).output("y")
        }),
        case("a constant with an axis in front of the batch", {
            let model = TestModel::new(18, &[0, 2]).weight("c", &[3, 1, 2]);
            model.node("Add", "x c", "y", &[]).output("y")
        }),
    ]
}
