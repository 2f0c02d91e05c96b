//! Graphs that do not hang together, their inputs and outputs, and operators that cannot run.

use super::{Case, case, single};
use crate::proto::{TensorProto, TypeProto, ValueInfoProto};
use crate::testing::{TestModel, int, ints};

fn relu(input: &[i64]) -> TestModel {
    single(input, "Relu", &[])
}

/// A model whose input is declared as `change` says.
fn declared(change: impl FnOnce(&mut ValueInfoProto)) -> TestModel {
    let mut model = relu(&[0, 4]);
    change(&mut model.graph.input[0]);
    model
}

/// A model whose input has elements of this `TensorProto.DataType`.
fn typed(elem_type: i32) -> TestModel {
    declared(|input| {
        let kind = input.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
        kind.expect("the builder declares a tensor").elem_type = elem_type;
    })
}

fn with_input(mut model: TestModel, name: &str) -> TestModel {
    let input = ValueInfoProto { name: name.into(), ..model.graph.input[0].clone() };
    model.graph.input.push(input);
    model
}

/// A model whose last node is called `name`.
fn called(mut model: TestModel, name: &str) -> TestModel {
    model.graph.node.last_mut().expect("a node was added").name = name.into();
    model
}

pub(super) fn cases() -> Vec<Case> {
    [structure(), inputs(), nodes()].into_iter().flatten().collect()
}

fn structure() -> Vec<Case> {
    let open = || TestModel::new(18, &[0, 4]);
    let unnamed = TensorProto { dims: vec![1], data_type: 1, ..TensorProto::default() };
    let mut mute = relu(&[0, 4]).node("Relu", "lost", "z", &[]);
    mute.graph.node[1].output.clear();
    mute.graph.node[1].name.clear();
    let mut second = open().node("Split", "x", "-", &[int("axis", 1)]).further("y").output("y");
    second.graph.node[0].name = "halves".into();
    vec![
        case("no node and no output", open()),
        case("an initialiser without a name", relu(&[0, 4]).initializer(unnamed)),
        case("two initialisers of one name", relu(&[0, 4]).weight("w", &[1]).weight("w", &[1])),
        case("an input without a name", with_input(relu(&[0, 4]), "")),
        case("two inputs of one name", with_input(relu(&[0, 4]), "x")),
        case(
            "a tensor made by two nodes",
            called(relu(&[0, 4]).node("Tanh", "x", "y", &[]), "tanh"),
        ),
        case("a tensor given and made", called(relu(&[0, 4]).node("Tanh", "y", "x", &[]), "tanh")),
        case("a tensor that nothing makes", relu(&[0, 4]).node("Relu", "lost", "z", &[])),
        case("a tensor that nothing makes, read by a node without outputs", mute),
        case("an output that nothing makes", relu(&[0, 4]).output("lost")),
        case(
            "a cycle",
            relu(&[0, 4]).node("Add", "x b", "a", &[]).node("Relu", "a", "b", &[]).output("b"),
        ),
        case("a node whose first output has no name", second),
    ]
}

fn inputs() -> Vec<Case> {
    let constant = TestModel::new(18, &[4]).weight("x", &[4]).node("Relu", "x", "y", &[]);
    vec![
        case("no input", constant.output("y")),
        case("two inputs", with_input(relu(&[0, 4]), "mask")),
        case("an input without a type", declared(|input| input.r#type = None)),
        case(
            "an input that is no tensor",
            declared(|input| input.r#type = Some(TypeProto::default())),
        ),
        case("an input of float16", typed(10)),
        case("an input of int16", typed(5)),
        case("an input of texts", typed(8)),
        case(
            "an input without a shape",
            declared(|input| {
                let kind = input.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
                kind.expect("the builder declares a tensor").shape = None;
            }),
        ),
        case("an input of a batch alone", relu(&[0])),
        case("an input with a second open axis", relu(&[0, 0, 4])),
        case("an input of negative length", relu(&[0, -4])),
        case("an input beyond the limit", relu(&[0, 1 << 40])),
        case(
            "an output that is constant",
            relu(&[0, 4]).weight("w", &[4]).node("Relu", "w", "c", &[]).output("c"),
        ),
        case("a negation of numbers", relu(&[0, 4]).node("Not", "y", "n", &[]).output("n")),
    ]
}

fn nodes() -> Vec<Case> {
    let mut foreign = single(&[0, 4], "FusedGelu", &[]);
    foreign.graph.node[0].domain = "com.microsoft".into();
    let unnamed = |op_type: &str| called(single(&[0, 4], op_type, &[]), "");
    let pool = single(&[0, 1, 4, 4], "MaxPool", &[ints("kernel_shape", &[2, 2])]);
    vec![
        case("an operator of a foreign domain", foreign),
        case("an operator that no standard has", unnamed("Frobnicate")),
        case("a loop over time", unnamed("Loop")),
        case("a search for the largest", single(&[0, 4], "NonMaxSuppression", &[])),
        case("a product of integers", single(&[0, 4], "MatMulInteger", &[])),
        case("the indices of a pool", pool.further("indices").output("indices")),
        case("nodes behind refused ones, and one that nothing reads", {
            TestModel::new(18, &[0, 4])
                .node("NonZero", "x", "a", &[])
                .node("Relu", "a", "b", &[])
                .node("Tanh", "b", "c", &[])
                .node("Relu", "x", "unread", &[])
                .output("c")
        }),
        case("a node that reads a second output", {
            TestModel::new(18, &[0, 1, 4, 4])
                .node("MaxPool", "x", "pool", &[ints("kernel_shape", &[2, 2])])
                .further("indices")
                .node("Relu", "indices", "y", &[])
                .output("y")
        }),
    ]
}
