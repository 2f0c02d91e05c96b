//! Why a node cannot take its operands, in the words of the standard.
//!
//! Products apart, it is asked only about nodes whose output's shape cannot be found: what is not known here
//! refuses nothing.

use nvcim_ir::shape;

use crate::analyse::Fact;
use crate::attributes;
use crate::proto::{AttributeProto, AttributeType, NodeProto};

/// The most integers of a constant that a message lists.
const MAX_LISTED: usize = 8;

/// What tensors must have in common that meet element by element.
const BROADCAST: &str = "counted from the last axis, lengths must be equal or 1";

/// Says what a node was given, with which attributes, and what is wrong with it where that is known.
///
/// With an open batch, `N` stands for axis 0 of tensors that vary.
pub(crate) fn explain(
    node: &NodeProto,
    operands: &[Option<Fact>],
    open_batch: bool,
    why: Option<String>,
) -> String {
    let operand = |(name, fact): (&String, &Option<Fact>)| {
        Some(format!("`{name}` {}", describe_fact(fact.as_ref()?, open_batch)))
    };
    let operands_listed: Vec<_> = node.input.iter().zip(operands).filter_map(operand).collect();
    let taken = match operands_listed.as_slice() {
        [] => "stand without operands".to_owned(),
        listed => format!("take {}", listed.join(", ")),
    };
    let attributes: Vec<_> = node.attribute.iter().filter_map(describe_attribute).collect();
    let with = match attributes.as_slice() {
        [] => String::new(),
        listed => format!(" with {}", listed.join(", ")),
    };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("cannot {taken}{with}{why}")
}

fn describe_fact(fact: &Fact, open_batch: bool) -> String {
    match fact {
        Fact::Constant(value) => match value.ints() {
            Some(ints) if ints.len() <= MAX_LISTED => format!("of values {ints:?}"),
            _ => format!("of shape {:?}", value.shape()),
        },
        Fact::Varying { shape, .. } if open_batch => {
            let sample = shape.iter().skip(1).map(|length| format!(", {length}"));
            format!("of shape [N{}]", sample.collect::<String>())
        }
        Fact::Varying { shape, .. } => format!("of shape {shape:?}"),
    }
}

fn describe_attribute(attribute: &AttributeProto) -> Option<String> {
    let AttributeProto { name, i, f, s, ints, floats, .. } = attribute;
    let kind = AttributeType::ALL.into_iter().find(|kind| *kind as i32 == attribute.r#type)?;
    let value = match kind {
        AttributeType::Int => i.to_string(),
        AttributeType::Float => f.to_string(),
        AttributeType::String => format!("`{}`", String::from_utf8_lossy(s)),
        AttributeType::Ints => format!("{ints:?}"),
        AttributeType::Floats => format!("{floats:?}"),
        _ => return None,
    };
    Some(format!("`{name}` {value}"))
}

/// What is wrong with the operands' shapes, if it is one of the common mistakes.
pub(crate) fn find_reason(
    node: &NodeProto,
    operands: &[Option<Fact>],
    open_batch: bool,
) -> Option<String> {
    let shapes: Vec<Option<&[usize]>> = operands
        .iter()
        .map(|operand| match operand.as_ref()? {
            Fact::Constant(value) => Some(value.shape()),
            Fact::Varying { shape, .. } => Some(shape.as_slice()),
        })
        .collect();
    let shape = |slot: usize| shapes.get(slot).copied().flatten();
    let batch = operands.iter().flatten().find_map(|operand| match operand {
        Fact::Varying { shape, .. } if open_batch => shape.first().copied().filter(|&len| len > 1),
        _ => None,
    });
    let first = shape(0)?;
    if let Some(why) = find_axis(node, first.len()) {
        return Some(why);
    }
    match node.op_type.as_str() {
        "Conv" => check_conv(node, first, shape(1)?, shape(2)),
        "ConvTranspose" => match (first, shape(1)?) {
            ([_, channels, ..], [inputs, ..]) if channels != inputs => {
                Some(format!("its weight is for {inputs} channels, its input has {channels}"))
            }
            _ => None,
        },
        "Gemm" => check_gemm(node, first, shape(1)?, batch),
        "MatMul" => match (first, shape(1)?) {
            ([.., columns], [rows] | [.., rows, _]) if columns != rows => {
                Some(refuse_product(*columns, *rows, batch))
            }
            _ => None,
        },
        "Reshape" if matches!(operands.get(1), Some(Some(Fact::Constant(_)))) => {
            Some("its elements do not fill that shape".to_owned())
        }
        "Expand" if matches!(operands.get(1), Some(Some(Fact::Constant(_)))) => {
            Some(BROADCAST.into())
        }
        "Concat" => check_concat(node, first, &shapes),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" | "Min" | "Max" | "Sum" | "Mean"
        | "Where" | "Equal" | "Greater" | "Less" | "Mod" => {
            let mut given = shapes.iter().flatten();
            let start = given.next()?.to_vec();
            let all = given.try_fold(start, |so_far, next| shape::broadcast(&so_far, next));
            all.is_none().then(|| BROADCAST.into())
        }
        _ => None,
    }
}

/// An `axis` or one of `axes` that a tensor of this rank does not have.
fn find_axis(node: &NodeProto, rank: usize) -> Option<String> {
    let axis = |name| attributes::int(node, name, 0).ok();
    let axes = attributes::ints(node, "axes").ok()?.unwrap_or_default();
    let has = |axis: i64| (-(rank as i64)..rank as i64).contains(&axis);
    // These count axes of their output or places between axes.
    if matches!(node.op_type.as_str(), "Unsqueeze" | "Flatten" | "OneHot") {
        return None;
    }
    let named = axes.iter().copied().chain(axis("axis"));
    let wrong = named.into_iter().find(|&axis| axis != 0 && !has(axis))?;
    Some(format!("it names axis {wrong} of {rank}"))
}

fn check_conv(
    node: &NodeProto,
    input: &[usize],
    weight: &[usize],
    bias: Option<&[usize]>,
) -> Option<String> {
    let groups = usize::try_from(attributes::int(node, "group", 1).ok()?).ok()?;
    let ([_, channels, lengths @ ..], [filters, inputs, kernel @ ..]) = (input, weight) else {
        return None;
    };
    if lengths.len() != kernel.len() {
        let (have, want) = (kernel.len(), lengths.len());
        return Some(format!(
            "its kernel has {have} axes, its input has {want} behind the channels"
        ));
    }
    if inputs.checked_mul(groups) != Some(*channels) {
        return Some(format!(
            "its weight is for {inputs} channels in each of {groups} groups, its input has {channels}"
        ));
    }
    match bias {
        Some(bias) if bias != [*filters] => {
            Some(format!("its bias must have one number for each of {filters} filters"))
        }
        _ => None,
    }
}

fn check_gemm(node: &NodeProto, a: &[usize], b: &[usize], batch: Option<usize>) -> Option<String> {
    let turned = |name| Some(attributes::int(node, name, 0).ok()? != 0);
    let ([a_rows, a_columns], [b_rows, b_columns]) = (a, b) else {
        return Some("its first two operands must be matrices".to_owned());
    };
    let columns = if turned("transA")? { a_rows } else { a_columns };
    let rows = if turned("transB")? { b_columns } else { b_rows };
    (columns != rows).then(|| refuse_product(*columns, *rows, batch))
}

/// With an open batch its length, which stands for any, is called `N`.
fn refuse_product(columns: usize, rows: usize, batch: Option<usize>) -> String {
    let name = |len: usize| if batch == Some(len) { "N".to_owned() } else { len.to_string() };
    let (columns, rows) = (name(columns), name(rows));
    format!("rows of {columns} elements do not fit columns of {rows}")
}

fn check_concat(node: &NodeProto, first: &[usize], shapes: &[Option<&[usize]>]) -> Option<String> {
    let axis = attributes::int(node, "axis", 1).ok()?;
    let axis = if axis < 0 { axis.checked_add(first.len() as i64)? } else { axis };
    let axis = usize::try_from(axis).ok()?;
    let others = |shape: &[usize]| -> Vec<usize> {
        let kept = shape.iter().enumerate().filter(|&(at, _)| at != axis);
        kept.map(|(_, &length)| length).collect()
    };
    let fits = |shape: &&[usize]| shape.len() == first.len() && others(shape) == others(first);
    (!shapes.iter().flatten().all(fits))
        .then(|| format!("all axes but axis {axis} must have equal lengths"))
}
