//! Typed access to a node's attributes.

use crate::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};
use crate::refusal::Refusal;

type Result<T> = std::result::Result<T, Refusal>;

/// An integer, or `default` where there is none.
pub(crate) fn int(node: &NodeProto, name: &str, default: i64) -> Result<i64> {
    Ok(find(node, name, AttributeType::Int)?.map_or(default, |attribute| attribute.i))
}

/// A number, or `default` where there is none.
pub(crate) fn float(node: &NodeProto, name: &str, default: f32) -> Result<f32> {
    Ok(find(node, name, AttributeType::Float)?.map_or(default, |attribute| attribute.f))
}

/// A list of integers, if there is one.
pub(crate) fn ints<'n>(node: &'n NodeProto, name: &str) -> Result<Option<&'n [i64]>> {
    Ok(find(node, name, AttributeType::Ints)?.map(|attribute| attribute.ints.as_slice()))
}

/// A list of numbers, if there is one.
pub(crate) fn floats<'n>(node: &'n NodeProto, name: &str) -> Result<Option<&'n [f32]>> {
    Ok(find(node, name, AttributeType::Floats)?.map(|attribute| attribute.floats.as_slice()))
}

/// A text, or `default` where there is none.
pub(crate) fn string(node: &NodeProto, name: &str, default: &str) -> Result<String> {
    Ok(find(node, name, AttributeType::String)?
        .map_or(default.into(), |attribute| String::from_utf8_lossy(&attribute.s).into_owned()))
}

/// A list of texts, if there is one.
pub(crate) fn strings(node: &NodeProto, name: &str) -> Result<Option<Vec<String>>> {
    let text = |text: &Vec<u8>| String::from_utf8_lossy(text).into_owned();
    Ok(find(node, name, AttributeType::Strings)?
        .map(|attribute| attribute.strings.iter().map(text).collect()))
}

/// A tensor, if there is one.
pub(crate) fn tensor<'n>(node: &'n NodeProto, name: &str) -> Result<Option<&'n TensorProto>> {
    Ok(find(node, name, AttributeType::Tensor)?.and_then(|attribute| attribute.t.as_ref()))
}

/// Whether the node has an attribute of this name, whatever its type.
pub(crate) fn has(node: &NodeProto, name: &str) -> bool {
    node.attribute.iter().any(|attribute| attribute.name == name)
}

fn find<'n>(
    node: &'n NodeProto,
    name: &str,
    kind: AttributeType,
) -> Result<Option<&'n AttributeProto>> {
    let found = node.attribute.iter().find(|attribute| attribute.name == name);
    if let Some(attribute) = found {
        check_type(attribute, kind).map_err(Refusal::broken)?;
    }
    Ok(found)
}

/// Refuses an attribute of another type.
pub(crate) fn check_type(
    attribute: &AttributeProto,
    kind: AttributeType,
) -> std::result::Result<(), String> {
    // The first files of the format left the type out.
    if attribute.r#type == 0 || attribute.r#type == kind as i32 {
        return Ok(());
    }
    let found = AttributeType::ALL.into_iter().find(|found| *found as i32 == attribute.r#type);
    let found = found.map_or("something unknown", AttributeType::describe);
    Err(format!("has {found} as attribute `{}`, must have {}", attribute.name, kind.describe()))
}

/// The type that the standard gives an attribute of this name; `None` where operators differ or none has it.
///
/// What no converter reads goes to tract, which must not find another type there either.
pub(crate) fn known_type(op_type: &str, name: &str) -> Option<AttributeType> {
    match (op_type, name) {
        ("Constant" | "ConstantOfShape", "value") => Some(AttributeType::Tensor),
        ("Pad", "value") => Some(AttributeType::Float),
        ("Upsample" | "Resize", "scales") => Some(AttributeType::Floats),
        _ => {
            let at = TYPES.binary_search_by_key(&name, |&(known, _)| known).ok()?;
            Some(TYPES[at].1)
        }
    }
}

/// Attributes that have one type in every standard operator that runs, by name.
const TYPES: &[(&str, AttributeType)] = {
    use AttributeType::{Float, Floats, Int, Ints, SparseTensor, String, Strings};
    &[
        ("allowzero", Int),
        ("alpha", Float),
        ("antialias", Int),
        ("approximate", String),
        ("auto_pad", String),
        ("axes", Ints),
        ("axis", Int),
        ("beta", Float),
        ("block_size", Int),
        ("blocksize", Int),
        ("ceil_mode", Int),
        ("coordinate_transformation_mode", String),
        ("count_include_pad", Int),
        ("cubic_coeff_a", Float),
        ("dilations", Ints),
        ("end", Int),
        ("ends", Ints),
        ("epsilon", Float),
        ("exclude_outside", Int),
        ("extrapolation_value", Float),
        ("fmod", Int),
        ("gamma", Float),
        ("group", Int),
        ("keep_aspect_ratio_policy", String),
        ("keepdims", Int),
        ("kernel_shape", Ints),
        ("max", Float),
        ("min", Float),
        ("mode", String),
        ("momentum", Float),
        ("nearest_mode", String),
        ("noop_with_empty_axes", Int),
        ("num_groups", Int),
        ("num_outputs", Int),
        ("output_padding", Ints),
        ("output_shape", Ints),
        ("pads", Ints),
        ("perm", Ints),
        ("ratio", Float),
        ("saturate", Int),
        ("sparse_value", SparseTensor),
        ("spatial", Int),
        ("split", Ints),
        ("start", Int),
        ("starts", Ints),
        ("storage_order", Int),
        ("strides", Ints),
        ("to", Int),
        ("training_mode", Int),
        ("transA", Int),
        ("transB", Int),
        ("value_float", Float),
        ("value_floats", Floats),
        ("value_int", Int),
        ("value_ints", Ints),
        ("value_string", String),
        ("value_strings", Strings),
    ]
};

#[cfg(test)]
mod tests {
    use super::TYPES;

    #[test]
    fn attributes_are_sorted_so_that_they_are_found() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
