//! Every shared network: ours agrees with the float reference, or is refused with good reasons.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use ndarray::{Axis, IxDyn, Slice};
use nvcim::data::{Dataset, Preprocess};
use nvcim::model::Model;
use nvcim_ir::diag::{Diagnostic, Kind, Warned};
use nvcim_onnx::survey::Fate;
use nvcim_ops::run_graph::run_graph;
use nvcim_ops::tensor::Tensor;
use nvcim_tests::Tolerance;

/// Inputs on which a network is compared.
const SAMPLES: usize = 64;

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
    /// No data of its own: CIFAR-10 resized to 96x96, `u8 / 255`.
    CifarAsPhoto,
    /// No data of its own: CIFAR-10 resized to 240 lines of 320 pixels, `u8 / 255`.
    CifarAsScene,
    /// No data of its own: the first 640 values of CIFAR-10 resized to 16x16, `u8 / 255`.
    CifarAsSpectrum,
}

/// The networks made of supported operators.
const SUPPORTED: &[(&str, Recipe)] = &[
    ("lenet5-ccoltong", Recipe::MnistNormalized),
    ("lenet5-jinsoo", Recipe::MnistResized),
    ("mnist-8", Recipe::MnistRaw),
    ("cifar10-resnet20-aka", Recipe::CifarNormalized),
    ("cifar10-resnet32-aka", Recipe::CifarNormalized),
    ("cifar10-resnet20-sandia", Recipe::CifarNormalized),
    ("mlperf-tiny-ic-resnet8-f32", Recipe::CifarRaw),
    ("mlperf-tiny-vww", Recipe::CifarAsPhoto),
    ("mlperf-tiny-ad-autoencoder", Recipe::CifarAsSpectrum),
    ("tfc-2w2a-std", Recipe::MnistRaw),
    ("ultraface-rfb-320", Recipe::CifarAsScene),
];

/// The networks that are refused, each with an operator that must be among the reasons.
const UNSUPPORTED: &[(&str, &str)] = &[("mlperf-tiny-ic-resnet8-int8", "QuantizeLinear")];

/// One test per network.
pub(crate) fn trials(shared: &Path) -> Vec<Trial> {
    let agree = SUPPORTED.iter().map(|&(name, recipe)| {
        let shared = shared.to_path_buf();
        Trial::test(format!("agrees_with_the_reference::{name}"), move || {
            compare_with_reference(&shared, name, recipe)
        })
    });
    let refused = UNSUPPORTED.iter().map(|&(name, op)| {
        let shared = shared.to_path_buf();
        Trial::test(format!("is_refused_with_reasons::{name}"), move || {
            check_refusal(&shared, name, op)
        })
    });
    agree.chain(refused).collect()
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

/// Runs both executors and compares every output of every sample, class [`Tolerance::Close`].
fn compare_with_reference(shared: &Path, name: &str, recipe: Recipe) -> Result<(), Failed> {
    let model = open_model(shared, name)?;
    let Warned { output: graph, .. } = model.import().map_err(fail)?;
    let inputs = read_inputs(shared, recipe, &graph.node(graph.input()).shape)?;
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
        for (sample, (ours, reference)) in ours.outer_iter().zip(reference.outer_iter()).enumerate()
        {
            let ours: Vec<f32> = ours.iter().copied().collect();
            let reference: Vec<f32> = reference.iter().copied().collect();
            Tolerance::Close
                .check(&ours, &reference)
                .map_err(|mismatch| format!("output {output}, sample {sample}: {mismatch}"))?;
        }
    }
    Ok(())
}

fn debug(value: &[usize]) -> String {
    format!("{value:?}")
}

/// Every unsupported node is listed once, with reason and remedy, and import says the same.
fn check_refusal(shared: &Path, name: &str, culprit: &str) -> Result<(), Failed> {
    let model = open_model(shared, name)?;
    let survey = model.survey().map_err(fail)?;
    if survey.graph.is_some() {
        return Err("the survey made a graph".into());
    }
    let mut culprits = 0;
    for node in &survey.nodes {
        if let Fate::Unsupported { reason, hint } = &node.fate {
            culprits += usize::from(node.op_type == culprit);
            if reason.is_empty() || hint.is_empty() {
                return Err(format!("`{}` lacks a reason or a hint", node.name).into());
            }
        }
    }
    if culprits == 0 {
        return Err(format!("no `{culprit}` node is among the unsupported").into());
    }
    let problems = match model.import() {
        Ok(_) => return Err("the import passes".into()),
        Err(problems) => problems,
    };
    match problems.iter().find(|it| it.kind != Kind::Unsupported || it.hints.is_empty()) {
        Some(problem) => Err(format!("not a refusal with a remedy: {problem}").into()),
        None => Ok(()),
    }
}
