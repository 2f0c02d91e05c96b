//! The float reference: the file as tract runs it, independent of the import.
//!
//! tract is fastest on one sample at a time, so that is what it gets wherever the file allows; a file
//! whose inner shapes fix another batch is run in blocks of that batch, the last one filled with zeros.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn};
use nvcim_ir::diag::{Diagnostic, Result};
use prost::Message;
use tract_onnx::pb;
use tract_onnx::prelude::*;

use crate::decode::{self, Model};
use crate::import;
use crate::network_input::{self, Batching, NetworkInput};
use crate::proto::{
    DimensionProto, DimensionValue, GraphProto, ModelProto, OperatorSetIdProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::tensor_data::{self, ExternalData};
use crate::{spell_out, validate};

/// A network that tract has optimised; [`FloatReference::run`] may be called from many threads.
pub struct FloatReference {
    plan: Arc<TypedRunnableModel>,
    /// Samples that one call of the plan takes.
    block: usize,
    /// The whole shape that the plan takes.
    whole: Vec<usize>,
    /// The shape of one sample.
    sample: Vec<usize>,
    /// The shapes of one sample of each output.
    outputs: Vec<Vec<usize>>,
    /// The type of the input's elements.
    datum: DatumType,
}

impl FloatReference {
    /// Prepares the network of an ONNX file.
    ///
    /// # Errors
    /// What [`import::import_model`] says of the file, and what tract cannot run.
    pub fn new(bytes: &[u8], external: &dyn ExternalData) -> Result<Self> {
        // The import has checked everything on which tract is known to stumble.
        let imported = import::import_file(bytes, external)?;
        if imported.graph.is_none() {
            return Err(imported.problems);
        }
        let model = decode::decode_model(bytes)?;
        let mut reasons = Vec::new();
        for batching in batchings(&model, imported.batching) {
            let NetworkInput { shape, datum, .. } = network_input::read_input(&model, batching)?;
            let whole = match batching {
                Batching::Axis(batch) => [&[batch], batching.sample_of(&shape)].concat(),
                Batching::Whole => shape,
            };
            let mut clean = clean_model(&model, &whole, external)?;
            let spelled = clean
                .graph
                .as_ref()
                .and_then(|graph| spell_out::spell_out(graph, &imported.sequences, model.opset));
            let in_floats = spelled.as_ref().is_some_and(|it| it.in_floats);
            let datum = if in_floats { DatumType::F32 } else { datum };
            clean.graph = spelled.map(|it| it.graph).or(clean.graph);
            match prepare(clean).and_then(|plan| Self::wrap(plan, batching, (whole, datum))) {
                Ok(reference) => return Ok(reference),
                Err(why) => reasons.push(format!("{batching:?}: {why}")),
            }
        }
        let message = format!("cannot be run by the float reference ({})", reasons.join("; "));
        Err(Diagnostic::unsupported("model", message).into())
    }

    fn wrap(
        plan: Arc<TypedRunnableModel>,
        batching: Batching,
        (whole, datum): (Vec<usize>, DatumType),
    ) -> std::result::Result<Self, String> {
        let outlets = plan.model().output_outlets().map_err(|error| error.to_string())?.to_vec();
        let shape = |outlet| {
            let fact = plan.model().outlet_fact(outlet).map_err(|error| error.to_string())?;
            let shape = fact.shape.as_concrete().ok_or("has an output of open shape")?;
            match (batching, shape.first()) {
                (Batching::Axis(block), first) if first != Some(&block) => {
                    Err(format!("has an output of shape {shape:?}"))
                }
                _ => Ok(batching.sample_of(shape).to_vec()),
            }
        };
        let outputs = outlets.into_iter().map(shape).collect::<std::result::Result<_, _>>()?;
        let block = match batching {
            Batching::Axis(block) => block,
            Batching::Whole => 1,
        };
        let sample = batching.sample_of(&whole).to_vec();
        Ok(Self { plan, block, whole, sample, outputs, datum })
    }

    /// Runs samples `[n, sample...]`; one `[n, ...]` per output, in the file's order.
    ///
    /// # Errors
    /// [`nvcim_ir::diag::Kind::BadInput`] where the samples do not have the network's shape.
    pub fn run(&self, input: &ArrayD<f32>) -> Result<Vec<ArrayD<f32>>> {
        if input.ndim() == 0 || input.shape()[1..] != self.sample {
            let message = format!("has shape {:?}, must be [n] + {:?}", input.shape(), self.sample);
            return Err(Diagnostic::bad_input("input", message).into());
        }
        let samples = input.len_of(Axis(0));
        let mut outputs: Vec<ArrayD<f32>> = (self.outputs.iter())
            .map(|shape| {
                let whole: Vec<usize> = std::iter::once(samples).chain(shape.clone()).collect();
                ArrayD::zeros(IxDyn(&whole))
            })
            .collect();
        for start in (0..samples).step_by(self.block) {
            let end = samples.min(start + self.block);
            let made = self.run_block(input, start, end).map_err(|error| {
                Diagnostic::internal("float reference", error.root_cause().to_string())
            })?;
            for (output, block) in outputs.iter_mut().zip(&made) {
                let used = block.slice_axis(Axis(0), (0..end - start).into());
                output.slice_axis_mut(Axis(0), (start..end).into()).assign(&used);
            }
        }
        Ok(outputs)
    }

    fn run_block(
        &self,
        input: &ArrayD<f32>,
        start: usize,
        end: usize,
    ) -> TractResult<Vec<ArrayD<f32>>> {
        let whole: Vec<usize> = std::iter::once(self.block).chain(self.sample.clone()).collect();
        let mut block = ArrayD::<f32>::zeros(IxDyn(&whole));
        block
            .slice_axis_mut(Axis(0), (0..end - start).into())
            .assign(&input.slice_axis(Axis(0), (start..end).into()));
        let block = block.into_shape_with_order(self.whole.as_slice())?;
        let input = match self.datum {
            DatumType::F32 => Tensor::from(block),
            whole => Tensor::from(block.mapv(f32::round)).cast_to_dt(whole)?.into_owned(),
        };
        let outputs = self.plan.run(tvec![input.into_tvalue()])?;
        let as_samples = |(output, sample): (&TValue, &Vec<usize>)| {
            let output = output.cast_to::<f32>()?;
            let output = output.to_plain_array_view::<f32>()?.as_standard_layout().into_owned();
            Ok(output.into_shape_with_order(IxDyn(&[&[self.block], &sample[..]].concat()))?)
        };
        outputs.iter().zip(&self.outputs).map(as_samples).collect()
    }
}

/// How the file may be run, the best way first: one sample at a time, else in blocks of its own batch.
fn batchings(model: &Model<'_>, imported: Batching) -> Vec<Batching> {
    match imported {
        Batching::Whole => vec![Batching::Whole],
        Batching::Axis(_) => {
            let fixed = network_input::fixed_batch(model).filter(|&batch| batch != 1);
            std::iter::once(1).chain(fixed).map(Batching::Axis).collect()
        }
    }
}

/// The model with its input's shape fixed, all data inside, no node that no output needs, and nothing that could contradict them.
fn clean_model(
    model: &Model<'_>,
    input: &[usize],
    external: &dyn ExternalData,
) -> Result<ModelProto> {
    let GraphProto { node, name, initializer, input: inputs, output, sparse_initializer: _ } =
        &model.graph;
    let layout = validate::check_graph(&model.graph)?;
    let live = node.iter().zip(&layout.live).filter(|(_, live)| **live);
    let initializer = (initializer.iter().zip(&model.raws))
        .filter(|(proto, _)| layout.reads.contains_key(&proto.name))
        .map(|(proto, raw)| tensor_data::inline_tensor(proto, raw, external))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let network_input = network_input::find_input(model).map(|input| input.name.as_str());
    let inputs = inputs
        .iter()
        .filter(|declared| Some(declared.name.as_str()) == network_input)
        .map(|declared| declare(declared, input))
        .collect();
    let output = output
        .iter()
        .map(|output| ValueInfoProto { name: output.name.clone(), r#type: None })
        .collect();
    let graph = GraphProto {
        node: live.map(|(node, _)| node.clone()).collect(),
        name: name.clone(),
        initializer,
        input: inputs,
        output,
        sparse_initializer: Vec::new(),
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: model.opset };
    Ok(ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![opset] })
}

/// A declaration with its name, its type, and another shape.
fn declare(declared: &ValueInfoProto, shape: &[usize]) -> ValueInfoProto {
    let tensor_type = declared.r#type.as_ref().and_then(|it| it.tensor_type.as_ref());
    let elem_type = tensor_type.map_or(crate::proto::FLOAT, |it| it.elem_type);
    let dim =
        |&length: &usize| DimensionProto { value: Some(DimensionValue::DimValue(length as i64)) };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor_type = Some(TensorTypeProto { elem_type, shape: Some(shape) });
    ValueInfoProto { name: declared.name.clone(), r#type: Some(TypeProto { tensor_type }) }
}

fn prepare(model: ModelProto) -> std::result::Result<Arc<TypedRunnableModel>, String> {
    let guarded = AssertUnwindSafe(|| -> TractResult<_> {
        let proto = pb::ModelProto::decode(model.encode_to_vec().as_slice())?;
        let parsed = tract_onnx::onnx().parse(&proto, None)?;
        parsed.model.into_optimized()?.into_runnable()
    });
    match catch_unwind(guarded) {
        Ok(Ok(plan)) => Ok(plan),
        Ok(Err(error)) => Err(error.root_cause().to_string()),
        Err(_) => Err("tract gave up".into()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Axis, IxDyn};

    use super::FloatReference;
    use crate::tensor_data::NoExternalData;
    use crate::testing::{TestModel, tiny_lenet};

    #[test]
    fn samples_do_not_depend_on_their_neighbours() {
        let reference = FloatReference::new(&tiny_lenet().bytes(), &NoExternalData).unwrap();
        let x = ArrayD::from_shape_fn(IxDyn(&[6, 1, 8, 8]), |at| {
            (at[0] * 64 + at[2] * 8 + at[3]) as f32
        });
        let all = reference.run(&x).unwrap();
        let part = x.slice_axis(Axis(0), (4..6).into()).to_owned();
        let some = reference.run(&part).unwrap();
        assert_eq!(all[0].slice_axis(Axis(0), (4..6).into()), some[0]);
        assert_eq!(
            reference.run(&x.slice_axis(Axis(0), (0..0).into()).to_owned()).unwrap()[0].len(),
            0
        );
    }

    #[test]
    fn a_wrong_shape_is_an_error() {
        let reference = FloatReference::new(&tiny_lenet().bytes(), &NoExternalData).unwrap();
        for shape in [&[2, 8, 8][..], &[2, 1, 8, 9], &[]] {
            assert!(reference.run(&ArrayD::zeros(IxDyn(shape))).is_err());
        }
    }

    #[test]
    fn threads_may_share_it() {
        let reference = FloatReference::new(&tiny_lenet().bytes(), &NoExternalData).unwrap();
        let x = ArrayD::<f32>::ones(IxDyn(&[3, 1, 8, 8]));
        let want = reference.run(&x).unwrap();
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| reference.run(&x).unwrap())).collect();
            for run in runs {
                assert_eq!(run.join().expect("no thread panics"), want);
            }
        });
    }

    #[test]
    fn a_file_that_fixes_the_batch_runs_in_blocks() {
        let model = TestModel::new(13, &[4, 2, 3])
            .ints("target", &[4, 6])
            .node("Reshape", "x target", "y", &[])
            .output("y");
        let reference = FloatReference::new(&model.bytes(), &NoExternalData).unwrap();
        let x =
            ArrayD::from_shape_fn(IxDyn(&[6, 2, 3]), |at| (at[0] * 6 + at[1] * 3 + at[2]) as f32);
        let y = reference.run(&x).unwrap();
        assert_eq!(y[0], x.into_shape_with_order(IxDyn(&[6, 6])).unwrap());
    }
}
