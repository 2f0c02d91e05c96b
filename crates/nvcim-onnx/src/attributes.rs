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
    let found = found.map_or("something else", AttributeType::describe);
    Err(format!("has {found} as attribute `{}`, must have {}", attribute.name, kind.describe()))
}
