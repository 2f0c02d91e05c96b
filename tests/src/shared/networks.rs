//! Every shared network: ours agrees with the float reference.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use ndarray::{Axis, IxDyn, Slice};
use nvcim::data::{Dataset, Preprocess};
use nvcim::model::Model;
use nvcim_ir::diag::{Diagnostic, Warned};
use nvcim_ops::run_graph::run_graph;
use nvcim_ops::tensor::Tensor;
use nvcim_tests::Tolerance;

/// Inputs on which a network is compared.
const SAMPLES: usize = 64;

/// Samples of a quantised network that may be further apart: where a sum comes near the middle of two integers, its
/// rounding decides, and later layers make more of it.
const STRAYS: usize = SAMPLES / 20;

const MNIST: &str = "datasets/mnist:t10k";
const CIFAR: &str = "datasets/cifar10-jpeg75:test";

/// The preprocessing that a network was trained with, as the manifest gives it.
#[derive(Clone, Copy)]
enum Recipe {
    /// MNIST, `(u8 / 255 - 0.1307) / 0.3081`.
    MnistNormalized,
    /// MNIST, resized to 32x32, `u8 / 255`.
    MnistResized,
    /// MNIST, raw 0 to 255.
    MnistRaw,
    /// CIFAR-10 with the channel statistics of ImageNet.
    CifarNormalized,
    /// CIFAR-10, raw 0 to 255.
    CifarRaw,
    /// CIFAR-10 as signed bytes, raw less 128; outputs are whole numbers.
    CifarBytes,
    /// No data of its own: CIFAR-10 resized to 96x96, `u8 / 255`.
    CifarAsPhoto,
    /// No data of its own: CIFAR-10 resized to 240 lines of 320 pixels, `u8 / 255`.
    CifarAsScene,
    /// No data of its own: the first 640 values of CIFAR-10 resized to 16x16, `u8 / 255`.
    CifarAsSpectrum,
}

/// The networks.
const NETWORKS: &[(&str, Recipe)] = &[
    ("lenet5-ccoltong", Recipe::MnistNormalized),
    ("lenet5-jinsoo", Recipe::MnistResized),
    ("mnist-8", Recipe::MnistRaw),
    ("cifar10-resnet20-aka", Recipe::CifarNormalized),
    ("cifar10-resnet32-aka", Recipe::CifarNormalized),
    ("cifar10-resnet20-sandia", Recipe::CifarNormalized),
    ("mlperf-tiny-ic-resnet8-f32", Recipe::CifarRaw),
    ("mlperf-tiny-ic-resnet8-int8", Recipe::CifarBytes),
    ("mlperf-tiny-vww", Recipe::CifarAsPhoto),
    ("mlperf-tiny-ad-autoencoder", Recipe::CifarAsSpectrum),
    ("tfc-2w2a-std", Recipe::MnistRaw),
    ("ultraface-rfb-320", Recipe::CifarAsScene),
];

/// One test per network.
pub(crate) fn trials(shared: &Path) -> Vec<Trial> {
    let agree = NETWORKS.iter().map(|&(name, recipe)| {
        let shared = shared.to_path_buf();
        Trial::test(format!("agrees_with_the_reference::{name}"), move || {
            compare_with_reference(&shared, name, recipe)
        })
    });
    agree.collect()
}

fn open_model(shared: &Path, name: &str) -> Result<Model, Failed> {
    Model::open(&shared.join(format!("models/{name}.onnx"))).map_err(fail)
}

pub(crate) fn fail(problems: Vec<Diagnostic>) -> Failed {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").into()
}

/// The first inputs of the network's own data, or of the stand-in that its recipe names.
fn read_inputs(shared: &Path, recipe: Recipe, sample: &[usize]) -> Result<Tensor, Failed> {
    let plain = Preprocess::default;
    let (data, preprocess) = match recipe {
        Recipe::MnistNormalized => {
            (MNIST, Preprocess { mean: vec![0.1307], std: vec![0.3081], ..plain() })
        }
        Recipe::MnistResized => (MNIST, Preprocess { resize: Some((32, 32)), ..plain() }),
        Recipe::MnistRaw => (MNIST, Preprocess { scale: Some(1.0), ..plain() }),
        Recipe::CifarNormalized => {
            let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
            (CIFAR, Preprocess { mean, std, ..plain() })
        }
        Recipe::CifarRaw => (CIFAR, Preprocess { scale: Some(1.0), ..plain() }),
        Recipe::CifarBytes => (CIFAR, Preprocess { scale: Some(1.0), shift: -128.0, ..plain() }),
        Recipe::CifarAsPhoto => (CIFAR, Preprocess { resize: Some((96, 96)), ..plain() }),
        Recipe::CifarAsScene => (CIFAR, Preprocess { resize: Some((240, 320)), ..plain() }),
        Recipe::CifarAsSpectrum => (CIFAR, Preprocess { resize: Some((16, 16)), ..plain() }),
    };
    let data = Dataset::open(&shared.join(data).to_string_lossy(), preprocess).map_err(fail)?;
    if !matches!(recipe, Recipe::CifarAsSpectrum) {
        return data.head(SAMPLES, sample).map_err(fail);
    }
    let images = data.head(SAMPLES, &[3, 16, 16]).map_err(fail)?;
    let flat = images.into_shape_with_order(IxDyn(&[SAMPLES, 3 * 16 * 16]))?;
    Ok(flat.slice_axis(Axis(1), Slice::from(..sample[0])).as_standard_layout().into_owned())
}

/// Runs both executors and compares every output of every sample, class [`Tolerance::Close`], or
/// [`Tolerance::OneStep`] where outputs are quantised.
fn compare_with_reference(shared: &Path, name: &str, recipe: Recipe) -> Result<(), Failed> {
    let model = open_model(shared, name)?;
    let Warned { output: graph, .. } = model.import().map_err(fail)?;
    let inputs = read_inputs(shared, recipe, &graph.node(graph.input()).shape)?;
    let whole = matches!(recipe, Recipe::CifarBytes);
    let (tolerance, strays) =
        if whole { (Tolerance::OneStep, STRAYS) } else { (Tolerance::Close, 0) };
    let ours = run_graph(&graph, &inputs, &mut |_, _| ());
    let reference = model.reference().map_err(fail)?.run(&inputs).map_err(fail)?;
    if ours.len() != reference.len() {
        return Err(format!("{} outputs, the reference has {}", ours.len(), reference.len()).into());
    }
    for (output, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
        if ours.shape() != reference.shape() {
            let shapes = (ours.shape(), reference.shape());
            return Err(format!(
                "output {output} has shape {}, not {}",
                debug(shapes.0),
                debug(shapes.1)
            )
            .into());
        }
        let mut apart = Vec::new();
        for (sample, (ours, reference)) in ours.outer_iter().zip(reference.outer_iter()).enumerate()
        {
            let ours: Vec<f32> = ours.iter().copied().collect();
            let reference: Vec<f32> = reference.iter().copied().collect();
            if let Err(mismatch) = tolerance.check(&ours, &reference) {
                apart.push(format!("output {output}, sample {sample}: {mismatch}"));
            }
        }
        if apart.len() > strays {
            return Err(apart.join("\n").into());
        }
    }
    Ok(())
}

fn debug(value: &[usize]) -> String {
    format!("{value:?}")
}
