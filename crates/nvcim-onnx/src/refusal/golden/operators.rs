//! Operators that move, select, reduce or combine elements in a way that does not run here.

use super::{Case, case, single};
use crate::proto::AttributeProto;
use crate::testing::{TestModel, float, int, ints, string};

fn open(input: &[i64]) -> TestModel {
    TestModel::new(18, input)
}

/// A model with one node that reads its input `[N, 4, 4]` and lists of integers, called a, b, c and so on.
fn with_lists(op_type: &str, lists: &[&[i64]], attributes: &[AttributeProto]) -> TestModel {
    let names = ["a", "b", "c", "d"];
    let model = names
        .iter()
        .zip(lists)
        .fold(open(&[0, 4, 4]), |model, (name, list)| model.ints(name, list));
    let inputs =
        names[..lists.len()].iter().fold("x".to_owned(), |all, name| format!("{all} {name}"));
    model.node(op_type, &inputs, "y", attributes).output("y")
}

pub(super) fn cases() -> Vec<Case> {
    [combined(), moved(), selected(), padded(), resized()].into_iter().flatten().collect()
}

fn combined() -> Vec<Case> {
    let pair = |a: &[i64], op_type: &str, b: &[i64]| {
        open(a).weight("c", b).node(op_type, "x c", "y", &[]).output("y")
    };
    vec![
        case("tensors that do not broadcast", pair(&[0, 3, 4], "Add", &[5])),
        case("tensors of unequal rank", {
            let mean = [ints("axes", &[1]), int("keepdims", 0)];
            let model = TestModel::new(13, &[0, 4, 4]).node("ReduceMean", "x", "m", &mean);
            model.node("Sub", "x m", "y", &[]).output("y")
        }),
        case("tensors of unequal rank that broadcast", {
            let mean = [ints("axes", &[1]), int("keepdims", 0)];
            let model = TestModel::new(13, &[0, 1, 4]).node("ReduceMean", "x", "m", &mean);
            let model = model.ints("shape", &[0, 1, 1, 4]).node("Reshape", "x shape", "r", &[]);
            model.node("Add", "r x", "y", &[]).output("y")
        }),
        case("no tensor to add up", open(&[0, 4]).node("Sum", "", "s", &[]).output("s")),
        case("three tensors that do not broadcast", {
            let model = open(&[0, 3, 4]).weight("c", &[3, 1]).weight("d", &[5]);
            model.node("Max", "x c d", "y", &[]).output("y")
        }),
        case("a condition computed from the input", {
            let model = open(&[0, 4]).weight("c", &[4]);
            model.node("Where", "x x c", "y", &[]).output("y")
        }),
        case("a bound that is no number", {
            let bounds = [float("min", f32::NAN), float("max", 1.0)];
            TestModel::new(9, &[0, 4]).node("Clip", "x", "y", &bounds).output("y")
        }),
        case("a mean over the batch", single(&[0, 4], "ReduceMean", &[])),
        case("a mean over an axis that is not there", {
            TestModel::new(13, &[0, 4])
                .node("ReduceMean", "x", "y", &[ints("axes", &[7])])
                .output("y")
        }),
        case("a softmax over the batch", single(&[0, 4], "Softmax", &[int("axis", 0)])),
        case("a softmax of old over the batch", {
            TestModel::new(11, &[0, 4]).node("Softmax", "x", "y", &[int("axis", 0)]).output("y")
        }),
        case(
            "a softmax over an axis that is not there",
            single(&[0, 4], "Softmax", &[int("axis", 7)]),
        ),
    ]
}

fn moved() -> Vec<Case> {
    vec![
        case("dropout in training", {
            let model = open(&[0, 4]).floats("ratio", &[], &[0.5]).floats("one", &[], &[1.0]);
            let model = model.node("Cast", "one", "training", &[int("to", 9)]);
            model.node("Dropout", "x ratio training", "y", &[]).output("y")
        }),
        case("a moved batch", single(&[0, 4, 4], "Transpose", &[ints("perm", &[1, 0, 2])])),
        case(
            "a permutation of too few axes",
            single(&[0, 4, 4], "Transpose", &[ints("perm", &[0, 1])]),
        ),
        case("a permutation that names an axis twice", {
            single(&[0, 4, 4], "Transpose", &[ints("perm", &[0, 1, 1])])
        }),
        case("a flattened batch", single(&[0, 4, 4], "Flatten", &[int("axis", 0)])),
        case("a shape of other elements", {
            open(&[0, 2, 3]).ints("shape", &[0, 4]).node("Reshape", "x shape", "y", &[]).output("y")
        }),
        case("a shape computed from the input", {
            open(&[0, 4]).node("Reshape", "x x", "y", &[]).output("y")
        }),
        case("a reshape without a shape", open(&[0, 4]).node("Reshape", "x", "y", &[]).output("y")),
        case("a joined batch", {
            open(&[0, 4]).node("Concat", "x x", "y", &[int("axis", 0)]).output("y")
        }),
        case("joined tensors that do not fit", {
            let model = open(&[0, 4, 2]).weight("c", &[1, 3, 3]);
            model.node("Concat", "x c", "y", &[int("axis", 1)]).output("y")
        }),
        case("blocks of no size", single(&[0, 4, 4, 4], "DepthToSpace", &[])),
        case(
            "blocks that do not divide",
            single(&[0, 6, 4, 4], "DepthToSpace", &[int("blocksize", 2)]),
        ),
        case("blocks of pixels that do not divide", {
            single(&[0, 1, 5, 4], "SpaceToDepth", &[int("blocksize", 2)])
        }),
        case("blocks of rows", single(&[0, 4, 4], "SpaceToDepth", &[int("blocksize", 2)])),
    ]
}

fn selected() -> Vec<Case> {
    let split = |lens: &[i64], axis: i64| {
        let model = open(&[0, 4, 6]).ints("lens", lens);
        model
            .node("Split", "x lens", "y", &[int("axis", axis)])
            .further("z")
            .output("y")
            .output("z")
    };
    let slice = |lists: &[&[i64]]| with_lists("Slice", lists, &[]);
    let gather = |list: &[i64], axis: i64| with_lists("Gather", &[list], &[int("axis", axis)]);
    vec![
        case("samples picked from the batch", gather(&[0], 0)),
        case("an element that is not there", gather(&[4], 1)),
        case("no element", gather(&[], 1)),
        case("elements picked by nothing", single(&[0, 4], "Gather", &[int("axis", 1)])),
        case("elements picked by the input", {
            open(&[0, 4]).node("Gather", "x x", "y", &[int("axis", 1)]).output("y")
        }),
        case("an empty part", split(&[6, 0], 2)),
        case("parts of more than there is", split(&[4, 4], 2)),
        case("parts of the batch", split(&[1, 1], 0)),
        case("part of the batch", slice(&[&[0], &[1], &[0]])),
        case("a slice without a start", single(&[0, 4], "Slice", &[])),
        case("a slice without an end", with_lists("Slice", &[&[0]], &[])),
        case("a slice of uneven bounds", slice(&[&[0, 0], &[1], &[1]])),
        case("a slice by no step", slice(&[&[0], &[1], &[1], &[0]])),
        case("a slice of nothing", slice(&[&[3], &[3], &[1]])),
        case("a slice of an axis that is not there", slice(&[&[0], &[1], &[7]])),
        case("a slice of old without bounds", {
            TestModel::new(9, &[0, 4]).node("Slice", "x", "y", &[]).output("y")
        }),
        case("a slice of old without ends", {
            TestModel::new(9, &[0, 4]).node("Slice", "x", "y", &[ints("starts", &[0])]).output("y")
        }),
        case("a table looked up across its entries", {
            let model = open(&[0, 4]).weight("words", &[5, 3]);
            let model = model.node("Cast", "x", "numbers", &[int("to", 7)]);
            model.node("Gather", "words numbers", "y", &[int("axis", 1)]).output("y")
        }),
        case("a triangle of a batch", single(&[0, 3], "Trilu", &[])),
        case("a batch that moves and is worked along", {
            let model = open(&[0, 4, 3]).node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])]);
            model.node("Softmax", "t", "y", &[int("axis", 1)]).output("y")
        }),
        case("a batch repeated", with_lists("Tile", &[&[2, 1, 1]], &[])),
        case("an axis repeated no times", with_lists("Tile", &[&[1, 0, 1]], &[])),
        case("too few axes repeated", with_lists("Tile", &[&[1, 1]], &[])),
        case("repeated by nothing", single(&[0, 4], "Tile", &[])),
        case("a tensor beyond the limit", with_lists("Tile", &[&[1, 1 << 20, 1 << 20]], &[])),
        case("a shape that no tensor expands to", with_lists("Expand", &[&[1, 3, 4]], &[])),
    ]
}

fn padded() -> Vec<Case> {
    let pad = |pads: &[i64], attributes: &[AttributeProto]| with_lists("Pad", &[pads], attributes);
    vec![
        case("padding by mirrors", pad(&[0, 1, 0, 0, 0, 0], &[string("mode", "reflect")])),
        case("padding by less than nothing", pad(&[0, -1, 0, 0, 0, 0], &[])),
        case("a padded batch", pad(&[1, 0, 0, 0, 0, 0], &[])),
        case("padding of too few axes", pad(&[0, 1, 0], &[])),
        case("padding by nothing given", single(&[0, 4], "Pad", &[])),
        case("padding of old by nothing given", {
            TestModel::new(9, &[0, 4]).node("Pad", "x", "y", &[]).output("y")
        }),
        case("padding of an axis that is not there", {
            let model = open(&[0, 4]).ints("pads", &[1, 1]).ints("axes", &[5]);
            model.node("Pad", "x pads - axes", "y", &[]).output("y")
        }),
    ]
}

fn resized() -> Vec<Case> {
    let scaled = |scales: &[f32]| {
        let model = open(&[0, 1, 4, 4]).floats("s", &[scales.len() as i64], scales);
        model.node("Resize", "x - s", "y", &[]).output("y")
    };
    vec![
        case("a resized batch", scaled(&[2.0, 1.0, 1.0, 1.0])),
        case("resized by too few scales", scaled(&[1.0, 2.0])),
        case("resized by too few scales for its axes", {
            let model = open(&[0, 1, 4, 4]).floats("s", &[1], &[2.0]);
            model.node("Resize", "x - s", "y", &[ints("axes", &[2, 3])]).output("y")
        }),
        case("resized by a negative scale", scaled(&[1.0, 1.0, -2.0, 1.0])),
        case("resized by no scale", scaled(&[1.0, 1.0, 0.0, 1.0])),
        case("resized to nothing", scaled(&[1.0, 1.0, 0.1, 1.0])),
        case("resized by nothing", single(&[0, 1, 4, 4], "Resize", &[])),
    ]
}
