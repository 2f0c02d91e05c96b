//! Attributes of the wrong type, twice, without a value, or with a value that no operator knows.

use super::{Case, case, single};
use crate::proto::{AttributeProto, AttributeType};
use crate::testing::{TestModel, attribute, float, floats, int, ints, string, tensor};

/// A softmax whose `axis` is of another type.
fn axis(kind: AttributeType) -> TestModel {
    single(&[0, 4], "Softmax", &[attribute("axis", kind)])
}

pub(super) fn cases() -> Vec<Case> {
    [types(), uses(), choices()].into_iter().flatten().collect()
}

fn types() -> Vec<Case> {
    use AttributeType as Is;
    let constant = |given: AttributeProto| {
        let model = TestModel::new(18, &[0, 2]).node("Constant", "", "c", &[given]);
        model.node("Add", "x c", "y", &[]).output("y")
    };
    let unknown = AttributeProto { r#type: 99, ..int("axis", 1) };
    vec![
        case("a float for an integer", single(&[0, 4], "Softmax", &[float("axis", 1.0)])),
        case("a text for an integer", axis(Is::String)),
        case("a tensor for an integer", axis(Is::Tensor)),
        case("a graph for an integer", axis(Is::Graph)),
        case("floats for an integer", axis(Is::Floats)),
        case("integers for an integer", single(&[0, 4], "Softmax", &[ints("axis", &[1])])),
        case("texts for an integer", axis(Is::Strings)),
        case("tensors for an integer", axis(Is::Tensors)),
        case("graphs for an integer", axis(Is::Graphs)),
        case("a sparse tensor for an integer", axis(Is::SparseTensor)),
        case("sparse tensors for an integer", axis(Is::SparseTensors)),
        case("a type for an integer", axis(Is::TypeProto)),
        case("types for an integer", axis(Is::TypeProtos)),
        case("a type still to come for an integer", single(&[0, 4], "Softmax", &[unknown])),
        case("an integer for a float", single(&[0, 4], "LeakyRelu", &[int("alpha", 1)])),
        case("an integer for a text", single(&[0, 4], "Gelu", &[int("approximate", 1)])),
        case("an integer for integers", single(&[0, 4, 4], "Transpose", &[int("perm", 1)])),
        case("an integer for a tensor", constant(int("value", 1))),
        case("an integer for floats", constant(int("value_floats", 1))),
        case("an integer for texts", constant(int("value_strings", 1))),
        case("an integer for a sparse tensor", constant(int("sparse_value", 1))),
        case("a float where only the rounding of a window is asked for", {
            let kernel = ints("kernel_shape", &[2, 2]);
            single(&[0, 1, 4, 4], "MaxPool", &[kernel, float("ceil_mode", 1.0)])
        }),
    ]
}

fn uses() -> Vec<Case> {
    let conv = |attribute: AttributeProto| {
        let model = TestModel::new(18, &[0, 2, 4, 4]).weight("w", &[3, 2, 3, 3]);
        model.node("Conv", "x w", "y", &[attribute]).output("y")
    };
    let outer = AttributeProto { ref_attr_name: "axis_of_function".into(), ..int("axis", 1) };
    vec![
        case("an attribute twice", single(&[0, 4], "Softmax", &[int("axis", 1), int("axis", 1)])),
        case("an attribute of a function", single(&[0, 4], "Softmax", &[outer])),
        case("a stride of 0", conv(ints("strides", &[0, 1]))),
        case("a negative pad", conv(ints("pads", &[-1, 0, 0, 0]))),
        case("no group", conv(int("group", 0))),
    ]
}

fn choices() -> Vec<Case> {
    let resize = |attribute: AttributeProto| {
        let model = TestModel::new(18, &[0, 1, 2, 2]).floats("s", &[4], &[1., 1., 2., 2.]);
        model.node("Resize", "x - s", "y", &[attribute]).output("y")
    };
    let depth = [int("blocksize", 2), string("mode", "RGB")];
    let kernel = ints("kernel_shape", &[2, 2]);
    vec![
        case(
            "an unknown approximation",
            single(&[0, 4], "Gelu", &[string("approximate", "exact")]),
        ),
        case("an unknown order of blocks", single(&[0, 4, 2, 2], "DepthToSpace", &depth)),
        case("an unknown padding", {
            single(&[0, 1, 4, 4], "MaxPool", &[kernel, string("auto_pad", "SAME")])
        }),
        case("an unknown way to resize", resize(string("mode", "lanczos"))),
        case("an unknown rounding to the nearest", resize(string("nearest_mode", "banker"))),
        case("an unknown place of pixels", {
            resize(string("coordinate_transformation_mode", "tf_crop_and_resize"))
        }),
        case("smoothing while shrinking", resize(int("antialias", 1))),
        case("a kept aspect ratio", resize(string("keep_aspect_ratio_policy", "not_larger"))),
        case("attributes of every kind that a message lists", {
            let listed = [
                int("axis", 9),
                float("epsilon", 0.5),
                string("note", "of a vendor"),
                ints("sizes", &[1, 2]),
                floats("factors", &[0.5, 2.0]),
                tensor("value", &[1]),
            ];
            single(&[0, 4], "Softmax", &listed)
        }),
    ]
}
