//! An image against the float network: layer by layer, and as a whole.
//!
//! Two questions per layer. *Single*: fed with the float network's own inputs, how well does the layer
//! do? *Entire*: fed with whatever the layers before it made, how well does it do then? The float values
//! come from the digital executor on the imported graph, accuracies and speed of the reference from
//! tract. Everything streams: at no time are more than a few images' activations held.

use std::collections::BTreeMap;
use std::time::Instant;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{IdVec, LayerId, StepId};
use nvcim_ir::program::{StepOp, list_uses};
use nvcim_onnx::reference::FloatReference;
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::machine::Machine;
use rayon::prelude::*;

use crate::data::Dataset;
use crate::fidelity::{FloatLayers, Sums, list_layers};
use crate::model::Model;
use crate::simulate::{classify, count_correct, run_data};

/// Images compared layer by layer, from the start of the data; more change no figure noticeably.
pub const IMAGES_COMPARED: usize = 256;

/// Images whose activations are held at once while layers are compared.
pub(crate) const IMAGES_HELD: usize = 16;

/// Images of the timing passes, and of each warm-up.
const IMAGES_TIMED: usize = 512;

/// Images that one task of the float reference runs.
const IMAGES_PER_TASK: usize = 64;

/// One matrix layer against the float network.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerCheck {
    /// The name of the ONNX node.
    pub name: String,
    /// Signal-to-noise ratio in dB, fed with the float network's inputs.
    pub snr_single_db: f64,
    /// Signal-to-noise ratio in dB, fed with the image's own inputs.
    pub snr_entire_db: f64,
    /// Cosine between the image's own and the float network's outputs.
    pub cosine: f64,
    /// Share of the layer's conversions that clipped, fed with the image's own inputs.
    pub clip_fraction: f64,
}

/// An image against its model.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The matrix layers, in program order.
    pub layers: Vec<LayerCheck>,
    /// Share of images on which image and float network choose the same class, in percent.
    pub agreement: f64,
    /// Accuracy of the float network in percent; `None` without labels.
    pub float_accuracy: Option<f64>,
    /// Accuracy of the image in percent; `None` without labels.
    pub accuracy: Option<f64>,
    /// Images per second of one core: the plain image pass.
    pub images_per_second: f64,
    /// Images per second of one core: the float reference on the same images.
    pub reference_images_per_second: f64,
}

/// Verifies an image that was loaded onto a die; `progress` hears of every image.
///
/// # Errors
/// A model that is not the image's, or data that does not suit it.
pub fn verify_image(
    image: &Image,
    machine: &Machine,
    model: &Model,
    data: &Dataset,
    progress: &dyn Fn(usize),
) -> Result<Verified> {
    if image.provenance.model_hash != model.hash()? {
        let message =
            format!("is not the model that the image was compiled from: `{}`", model.name);
        let hint = "give the same file, or compile again";
        return Err(Diagnostic::bad_input("--model", message).hint(hint).into());
    }
    let graph = model.import()?.output;
    let reference = model.reference()?;
    let layers = compare_layers(image, machine, &graph, data)?;
    let run = run_data(machine, data, progress)?;
    let sample = machine.input_shape();
    let float = run_reference(&reference, data, sample)?;
    let same = classify(&run.outputs).zip(classify(&float)).filter(|(a, b)| a == b).count();
    let n = data.len() as f64;
    let timed = data.head(IMAGES_TIMED, sample)?;
    Ok(Verified {
        layers,
        agreement: 100.0 * same as f64 / n,
        float_accuracy: data
            .labels(0..data.len())
            .map(|labels| 100.0 * count_correct(&float, labels) as f64 / n),
        accuracy: run.accuracy,
        images_per_second: time_one_core(&timed, || drop(machine.run(&timed, 0)))?,
        reference_images_per_second: {
            let mut failed = None;
            let speed = time_one_core(&timed, || failed = reference.run(&timed).err())?;
            failed.map_or(Ok(speed), Err)?
        },
    })
}

/// Accuracy of the model in float, in percent; `None` without labels.
///
/// # Errors
/// A model that the reference cannot run, or data that does not suit it.
pub fn float_accuracy(model: &Model, data: &Dataset) -> Result<Option<f64>> {
    let graph = model.import()?.output;
    let sample = &graph.node(graph.input()).shape;
    let Some(labels) = data.labels(0..data.len()) else { return Ok(None) };
    let outputs = run_reference(&model.reference()?, data, sample)?;
    Ok(Some(100.0 * count_correct(&outputs, labels) as f64 / data.len() as f64))
}

/// The reference's first output for every image.
pub(crate) fn run_reference(
    reference: &FloatReference,
    data: &Dataset,
    sample: &[usize],
) -> Result<Tensor> {
    let starts: Vec<usize> = (0..data.len()).step_by(IMAGES_PER_TASK).collect();
    let parts: Vec<Tensor> = starts
        .into_par_iter()
        .map(|first| {
            let range = first..(first + IMAGES_PER_TASK).min(data.len());
            let outputs = reference.run(&data.batch(range, sample)?)?;
            Ok(outputs.into_iter().next().expect("a verified graph has an output"))
        })
        .collect::<Result<_>>()?;
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(ndarray::concatenate(Axis(0), &views).expect("every batch has the same output shape"))
}

/// Images per second of one core, after a warm-up.
fn time_one_core(images: &Tensor, mut pass: impl FnMut() + Send) -> Result<f64> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|error| Diagnostic::internal("timing", error.to_string()))?;
    pool.install(|| {
        pass();
        let start = Instant::now();
        pass();
        Ok(images.len_of(Axis(0)) as f64 / start.elapsed().as_secs_f64())
    })
}

/// Every matrix layer against the float network's, on the first images of `data`.
pub(crate) fn compare_layers(
    image: &Image,
    machine: &Machine,
    graph: &Graph,
    data: &Dataset,
) -> Result<Vec<LayerCheck>> {
    let program = &image.net.program;
    let uses = list_uses(program);
    let steps: BTreeMap<_, _> = uses.iter().map(|it| ((it.layer, it.number), it.step)).collect();
    let truth = FloatLayers::new(graph, program);
    let blank = || image.net.layers.iter().map(|_| Sums::default()).collect::<IdVec<LayerId, _>>();
    let (mut single, mut entire) = (blank(), blank());
    let mut engine = machine.engine();
    let n = data.len().min(IMAGES_COMPARED);
    for first in (0..n).step_by(IMAGES_HELD) {
        let input = data.batch(first..(first + IMAGES_HELD).min(n), machine.input_shape())?;
        let wanted = truth.run(&input)?;
        let first = first as u64;
        let mut alone = machine.engine();
        let mut fed = FedWithReference {
            chip: &mut alone,
            wanted: &wanted,
            steps: &steps,
            sums: &mut single,
            first,
        };
        run_program(program, &input, first, &mut fed, &mut |_, _| ());
        run_program(program, &input, first, &mut engine, &mut |id, tensor| {
            if let StepOp::Matrix { layer, .. } = program.steps[id].op {
                entire[layer].add_all(&wanted[&id], tensor);
            }
        });
    }
    let clips = engine.clips().layers;
    let check = |layer: &LayerId| {
        let (single, entire, clips) = (single[*layer], entire[*layer], clips[*layer]);
        LayerCheck {
            name: image.net.layers[*layer].name.clone(),
            snr_single_db: single.snr_db(),
            snr_entire_db: entire.snr_db(),
            cosine: entire.cosine(),
            clip_fraction: clips.fraction(),
        }
    };
    Ok(list_layers(program).iter().map(check).collect())
}

/// Runs each layer on the chip, notes how far it is off, and passes the float values on.
struct FedWithReference<'a, E> {
    chip: &'a mut E,
    wanted: &'a BTreeMap<StepId, Tensor>,
    /// The step of each layer's uses, by their numbers.
    steps: &'a BTreeMap<(LayerId, u32), StepId>,
    sums: &'a mut IdVec<LayerId, Sums>,
    first: u64,
}

impl<E: MatrixEngine> MatrixEngine for FedWithReference<'_, E> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        let mut got = Array2::zeros(out.dim());
        let first = (columns.first_sample - self.first) as usize;
        let count = x.ncols() / columns.per_sample;
        self.chip.multiply(layer, columns, x, got.view_mut());
        let step = self.steps[&(layer, columns.layer_use.number)];
        let wanted = self.wanted[&step].slice_axis(Axis(0), (first..first + count).into());
        for (sample, wanted) in wanted.outer_iter().enumerate() {
            let span = sample * columns.per_sample..(sample + 1) * columns.per_sample;
            let mut out = out.slice_mut(s![.., span.clone()]);
            let got = got.slice(s![.., span]);
            // A convolution's sample is [m, positions]; a dense layer's is [rows, m].
            let conv = wanted.ndim() == 3 && wanted.len_of(Axis(0)) == out.nrows();
            let shape = if conv { out.dim() } else { (out.ncols(), out.nrows()) };
            let flat = wanted.to_shape(shape).expect("a verified step has its layer's shape");
            let flat = if conv { flat.view() } else { flat.t() };
            out.assign(&flat);
            for (want, got) in flat.iter().zip(got) {
                self.sums[layer].add(*want, *got);
            }
        }
    }
}
