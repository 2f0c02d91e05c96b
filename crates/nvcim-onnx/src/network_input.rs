//! The one input of a network and the batch with which shapes are found.

use std::collections::BTreeSet;

use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::shape::{MAX_ELEMENTS, count_elements};
use tract_onnx::prelude::{Datum, DatumType};

use crate::decode::Model;
use crate::proto::{DimensionValue, ValueInfoProto};
use crate::refusal::broken_file;
use crate::site::{FED, may_be_fed};
use crate::tensor_data;

/// How the samples of a run lie in the file's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batching {
    /// Axis 0 of every tensor counts samples; shapes are found with this many.
    Axis(usize),
    /// Every tensor belongs to one sample, all its axes included; an open batch is 1.
    Whole,
}

impl Batching {
    /// How many leading axes of every tensor are the batch.
    pub(crate) fn lead(self) -> usize {
        match self {
            Batching::Axis(_) => 1,
            Batching::Whole => 0,
        }
    }

    /// The shape in which one sample of an input or output of the whole `shape` is fed or fetched.
    ///
    /// An axis of 1 in front was meant for a batch, even where the network does not keep it there.
    pub(crate) fn sample_of(self, shape: &[usize]) -> &[usize] {
        match (self, shape) {
            (Batching::Axis(_), [_, sample @ ..]) => sample,
            (Batching::Whole, [1, sample @ ..]) if !sample.is_empty() => sample,
            _ => shape,
        }
    }
}

/// A network's input.
#[derive(Debug, Clone)]
pub(crate) struct NetworkInput {
    /// Its name.
    pub(crate) name: String,
    /// The whole shape, batch axis included; empty where it is unknown.
    pub(crate) shape: Vec<usize>,
    /// The type of its elements.
    pub(crate) datum: DatumType,
    /// How samples lie in it.
    pub(crate) batching: Batching,
    /// Why it cannot be fed, if so.
    pub(crate) problem: Option<Diagnostic>,
}

/// The batches to find shapes with, the best first.
///
/// A file that fixes the batch is taken at its word. Otherwise a prime that occurs nowhere else in the
/// file tells the batch axis from all others; and 1 serves files that are open in name only. Where the
/// file fixes axis 0 and the network does not keep it apart, as recurrent networks and attention exported
/// for one sequence do, the whole tensor is the sample.
pub(crate) fn candidates(model: &Model<'_>) -> Vec<Batching> {
    let axes = find_input(model).and_then(dimensions).map_or(0, |dimensions| dimensions.len());
    match fixed_batch(model) {
        Some(_) if axes == 1 => vec![Batching::Whole],
        Some(batch) => vec![Batching::Axis(batch), Batching::Whole],
        None => vec![many(model), Batching::Axis(1)],
    }
}

/// A batch of several samples that no other axis is as long as.
pub(crate) fn many(model: &Model<'_>) -> Batching {
    Batching::Axis(distinctive_batch(model))
}

/// The batch that the file fixes, if it does.
pub(crate) fn fixed_batch(model: &Model<'_>) -> Option<usize> {
    match dimensions(find_input(model)?)?.first()? {
        Dimension::Fixed(batch) => usize::try_from(*batch).ok(),
        Dimension::Open => None,
    }
}

/// Reads the input's declaration; an open batch axis gets the length that `batching` says.
///
/// An error where the declaration is broken or there is not exactly one input; what is merely
/// unsupported stands in [`NetworkInput::problem`].
pub(crate) fn read_input(model: &Model<'_>, batching: Batching) -> Result<NetworkInput> {
    let Some(input) = find_input(model) else {
        let names: Vec<_> = inputs(model).map(|input| format!("`{}`", input.name)).collect();
        let message = match names.as_slice() {
            [] => "has no input, must have 1".to_owned(),
            _ => format!("has {} inputs ({}), must have 1", names.len(), names.join(", ")),
        };
        return Err(Diagnostic::unsupported("graph", message)
            .hint("export the network with one input; make the others constants")
            .into());
    };
    let at = format!("input `{}`", input.name);
    let kind = input.r#type.as_ref().ok_or_else(|| broken_file(&at, "has no type"))?;
    let kind = kind.tensor_type.as_ref().ok_or_else(|| {
        Diagnostic::unsupported(&at, "is a sequence, a map or an optional, must be a tensor")
            .hint("export the network with a tensor as its input")
    })?;
    let mut read = NetworkInput {
        name: input.name.clone(),
        shape: Vec::new(),
        datum: f32::datum_type(),
        batching,
        problem: None,
    };
    let refuse =
        |message: String, hint: &str| Some(Diagnostic::unsupported(&at, message).hint(hint));
    match datum_of(kind.elem_type) {
        Some(datum) if may_be_fed(datum) => read.datum = datum,
        other => {
            let name = tensor_data::type_name(kind.elem_type);
            let hint = "export the network in 32-bit floats (`model.float()` in PyTorch)";
            read.problem = refuse(format!("has type {name}, must be {FED}"), hint);
            let Some(datum) = other else { return Ok(read) };
            read.datum = datum;
        }
    }
    let Some(dimensions) = dimensions(input) else {
        read.problem = refuse("has no shape".into(), "export the network with its input's shape");
        return Ok(read);
    };
    if dimensions.len() <= batching.lead() {
        let message =
            format!("has rank {}, must have a batch and the axes of a sample", dimensions.len());
        read.problem = refuse(message, "export the network with a batch as axis 0 of its input");
        return Ok(read);
    }
    for (axis, dimension) in dimensions.iter().enumerate() {
        match (*dimension, axis, batching) {
            (Dimension::Fixed(length), ..) => match usize::try_from(length) {
                Ok(length) if length > 0 => read.shape.push(length),
                _ => {
                    let message = format!("has length {length} on axis {axis}, must be at least 1");
                    return Err(broken_file(&at, message).into());
                }
            },
            (Dimension::Open, 0, Batching::Axis(batch)) => read.shape.push(batch),
            (Dimension::Open, 0, Batching::Whole) => read.shape.push(1),
            (Dimension::Open, ..) => {
                read.shape.clear();
                let message = format!("leaves the length of axis {axis} open");
                let hint = "export with fixed lengths; only the batch, axis 0, may stay open (`dynamic_axes`)";
                read.problem = refuse(message, hint);
                return Ok(read);
            }
        }
    }
    if count_elements(&read.shape).is_none() {
        let sample = batching.sample_of(&read.shape);
        let message = format!("has samples of shape {sample:?}, above {MAX_ELEMENTS} elements");
        let problem = Diagnostic::bad_input(&at, message);
        return Err(problem.hint("export the network with a smaller input").into());
    }
    Ok(read)
}

#[derive(Debug, Clone, Copy)]
enum Dimension {
    Fixed(i64),
    Open,
}

/// The inputs that need data; old files list initialisers too.
fn inputs<'m>(model: &'m Model<'_>) -> impl Iterator<Item = &'m ValueInfoProto> {
    let initializers: BTreeSet<&str> =
        model.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    model.graph.input.iter().filter(move |input| !initializers.contains(input.name.as_str()))
}

pub(crate) fn find_input<'m>(model: &'m Model<'_>) -> Option<&'m ValueInfoProto> {
    let mut inputs = inputs(model);
    inputs.next().filter(|_| inputs.next().is_none())
}

fn dimensions(input: &ValueInfoProto) -> Option<Vec<Dimension>> {
    let shape = input.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    let read = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::DimValue(length)) => Dimension::Fixed(*length),
        Some(DimensionValue::DimParam(_)) | None => Dimension::Open,
    };
    Some(shape.dim.iter().map(|dim| read(&dim.value)).collect())
}

/// tract's name for a `TensorProto.DataType`.
pub(crate) fn datum_of(data_type: i32) -> Option<DatumType> {
    Some(match data_type {
        1 => DatumType::F32,
        2 => DatumType::U8,
        3 => DatumType::I8,
        4 => DatumType::U16,
        5 => DatumType::I16,
        6 => DatumType::I32,
        7 => DatumType::I64,
        9 => DatumType::Bool,
        10 => DatumType::F16,
        11 => DatumType::F64,
        _ => return None,
    })
}

/// The smallest prime above 5 that is no length and no small integer constant of the file.
fn distinctive_batch(model: &Model<'_>) -> usize {
    const PRIMES: [usize; 12] = [7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47];
    let graph = &model.graph;
    let input = find_input(model).and_then(dimensions).unwrap_or_default();
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    let tensors = attributes().filter_map(|attribute| attribute.t.as_ref());
    let mut taken: BTreeSet<i64> = attributes().flat_map(|a| a.ints.clone()).collect();
    let raws = model.raws.iter().copied();
    let tensors = tensors.map(|tensor| (tensor, tensor.raw_data.as_slice()));
    for (tensor, raw) in graph.initializer.iter().zip(raws).chain(tensors) {
        taken.extend(&tensor.dims);
        taken.extend(tensor.int64_data.iter().take(64));
        let (words, _) = raw.as_chunks::<8>();
        taken.extend(words.iter().take(64).map(|&word| i64::from_le_bytes(word)));
    }
    taken.extend(input.iter().filter_map(|dimension| match dimension {
        Dimension::Fixed(length) => Some(*length),
        Dimension::Open => None,
    }));
    PRIMES.into_iter().find(|&prime| !taken.contains(&(prime as i64))).unwrap_or(53)
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::proto::ValueInfoProto;
    use crate::testing::TestModel;

    fn relu(input: &[i64]) -> TestModel {
        TestModel::new(13, input).node("Relu", "x", "y", &[]).output("y")
    }

    #[test]
    fn inputs_that_cannot_be_fed_are_refused() {
        relu(&[7, 7]).agree();
        relu(&[7]).agree();
        relu(&[0]).refuse(Kind::Unsupported, "must have a batch");
        relu(&[0, 0, 4]).refuse(Kind::Unsupported, "leaves the length of axis 1 open");
        relu(&[0, -4]).refuse(Kind::BadInput, "length -4");
        relu(&[0, 1 << 40]).refuse(Kind::BadInput, "above");
        let mut two = relu(&[0, 4]);
        two.graph.input.push(ValueInfoProto { name: "x2".into(), ..two.graph.input[0].clone() });
        two.refuse(Kind::Unsupported, "has 2 inputs");
    }

    #[test]
    fn initialisers_may_be_listed_as_inputs() {
        let mut model =
            TestModel::new(13, &[0, 4]).weight("w", &[4]).node("Mul", "x w", "y", &[]).output("y");
        model.graph.input.push(ValueInfoProto { name: "w".into(), ..model.graph.input[0].clone() });
        model.agree();
    }

    #[test]
    fn inputs_of_other_types_are_refused() {
        let mut model = relu(&[0, 4]);
        let kind = model.graph.input[0].r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
        kind.expect("the builder declares a tensor").elem_type = 5;
        let problems = model.import().unwrap_err();
        assert!(problems[0].to_string().contains("has type int16"), "{problems:?}");
    }
}
