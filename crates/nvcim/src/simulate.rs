//! An image on dies: outputs, accuracy, throughput.

use std::io::Cursor;

use ndarray::{Axis, concatenate};
use ndarray_npy::NpzWriter;
use nvcim_chip::effects::EffectSet;
use nvcim_chip::real::Real;
use nvcim_chip::record::{ArrayRecord, DieRecord};
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::LayerId;
use nvcim_ir::programmed::count_arrays;
use nvcim_ops::tensor::Tensor;
use nvcim_sim::clips::ClipCount;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::machine::Machine;
use nvcim_sim::sample::sample_die;

use crate::data::Dataset;

/// Images handed to the simulator at once: bounds memory, not results.
const IMAGES_AT_ONCE: usize = 512;

/// Which die an image runs on.
#[derive(Debug, Clone, Copy)]
pub enum DieChoice<'a> {
    /// The die drawn from this seed.
    Seed(u64),
    /// A die from a file.
    Record(&'a DieRecord),
    /// A die without any fault or variation.
    Perfect,
}

/// One pass of a data set over one die.
#[derive(Debug, Clone)]
pub struct DieRun {
    /// The first output for every image, `[images, output shape...]`.
    pub outputs: Tensor,
    /// Images whose largest output is the label's; `None` without labels.
    pub right: Option<usize>,
    /// Their share in percent.
    pub accuracy: Option<f64>,
    /// Share of conversions that clipped.
    pub clip_fraction: f64,
}

/// The die record that a choice stands for, with as many arrays as the image needs.
pub fn resolve_die(image: &Image, choice: DieChoice<'_>) -> DieRecord {
    let needed = image.chip.arrays.count.unwrap_or_else(|| count_arrays(&image.net));
    match choice {
        DieChoice::Seed(seed) => sample_die(&image.chip, seed, needed),
        DieChoice::Record(record) => record.clone(),
        DieChoice::Perfect => DieRecord {
            name: "perfect".to_owned(),
            seed: None,
            chip_hash: nvcim_chip::file::hash_chip(&image.chip),
            arrays: (0..needed).map(|_| ArrayRecord::default()).collect(),
        },
    }
}

/// Puts an image onto a die.
///
/// # Errors
/// A die of another chip or with too few arrays; an image that was compiled for another die.
pub fn load_image(image: &Image, die: &DieRecord, conditions: Conditions) -> Result<Machine> {
    load_image_as(image, die, conditions)
}

/// [`load_image`] for conversions in a type of choice, f64 for what other programs are to reproduce.
///
/// # Errors
/// As [`load_image`].
pub fn load_image_as<T: Real>(
    image: &Image,
    die: &DieRecord,
    conditions: Conditions,
) -> Result<Machine<T>> {
    if die.chip_hash != nvcim_chip::file::hash_chip(&image.chip) {
        let message = format!("die `{}` belongs to another chip than the image", die.name);
        let hint = format!("sample or import a die of `{}`", image.chip.name);
        return Err(Diagnostic::bad_input("--die", message).hint(hint).into());
    }
    Machine::load_as(image, die, conditions)
}

/// Refuses to run an image on a die that it was not compiled for.
///
/// # Errors
/// The image names another die.
pub fn check_stamp(image: &Image, die: &DieRecord) -> Result<()> {
    match &image.provenance.die {
        Some(stamp) if stamp.hash != crate::pipeline::hash_die(die) => {
            let message =
                format!("was compiled for die `{}`, which is not die `{}`", stamp.name, die.name);
            let hint = format!("give the die file of `{}`, or compile for this die", stamp.name);
            Err(Diagnostic::bad_input("image", message).hint(hint).into())
        }
        _ => Ok(()),
    }
}

/// Runs the first `data.len()` images; `progress` hears how many more are done.
///
/// # Errors
/// Data that does not suit the network's input; a layer's input or an answer that is no number.
pub fn run_data(machine: &Machine, data: &Dataset, progress: &dyn Fn(usize)) -> Result<DieRun> {
    let sample = machine.input_shape().to_vec();
    let mut parts = Vec::new();
    let mut correct = 0;
    let mut clips = ClipCount::default();
    for first in (0..data.len()).step_by(IMAGES_AT_ONCE) {
        let range = first..(first + IMAGES_AT_ONCE).min(data.len());
        let count = range.len();
        let run = machine.run(&data.batch(range.clone(), &sample)?, first as u64);
        let astray = run.astray.first().copied();
        let output = run.outputs.into_iter().next().expect("a verified program has an output");
        check_numbers(astray, &output, first)?;
        if let Some(labels) = data.labels(range) {
            correct += count_correct(&output, labels);
        }
        run.clips.layers.iter().for_each(|count| clips += *count);
        parts.push(output);
        progress(count);
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let outputs = concatenate(Axis(0), &views).expect("every batch has the same output shape");
    let right = data.labels(0..0).map(|_| correct);
    Ok(DieRun {
        outputs,
        right,
        accuracy: right.map(|right| 100.0 * right as f64 / data.len() as f64),
        clip_fraction: clips.fraction(),
    })
}

/// Refuses a layer's input, or outputs, that are no numbers; the first of the images is number `first` of the data.
fn check_numbers(astray: Option<LayerId>, outputs: &Tensor, first: usize) -> Result<()> {
    let last = first + outputs.len_of(Axis(0)) - 1;
    let message = match astray {
        Some(layer) => {
            format!(
                "gets an input that is no number in layer {layer}, for one of images {first} to {last}"
            )
        }
        None if outputs.fold(false, |any, value| any | value.is_nan()) => {
            format!("gives an answer that is no number for one of images {first} to {last}")
        }
        None => return Ok(()),
    };
    let hint = "look for values that the network does not take: numbers of words beyond its table, or what is no \
                number already";
    Err(Diagnostic::bad_input("network", message).hint(hint).into())
}

/// A warning of networks that a solver left before its tolerance; `None` where there is none.
pub fn warn_of_stalled(n_stalled: u64) -> Option<Diagnostic> {
    let message = format!(
        "{n_stalled} array networks were not solved to their tolerance, the currents reached last were used: \
         results are approximate"
    );
    let hint = "check the resistances of `effects.ir_drop` and the voltages of `effects.iv` in the chip \
                file: a network that does not settle is seldom meant";
    (n_stalled > 0).then(|| Diagnostic::bad_input("simulation", message).hint(hint))
}

/// Images whose largest output stands at the label's index.
pub fn count_correct(outputs: &Tensor, labels: &[i64]) -> usize {
    classify(outputs).zip(labels).filter(|(class, label)| class == *label).count()
}

/// The index of the largest output of each image; the first of equals counts. One output alone is the class
/// itself, as `ArgMax` makes it.
pub fn classify(outputs: &Tensor) -> impl Iterator<Item = i64> {
    outputs.outer_iter().map(|output| {
        let pick = |best: (i64, f32), (at, &value): (usize, &f32)| {
            if value > best.1 { (at as i64, value) } else { best }
        };
        match output.first() {
            Some(&class) if output.len() == 1 => class.round() as i64,
            _ => output.iter().enumerate().fold((0, f32::NEG_INFINITY), pick).0,
        }
    })
}

/// Conditions without any effect, converters included.
pub fn ideal_conditions() -> Conditions {
    Conditions { effects: EffectSet::NONE, at_s: 0.0, extrapolate: false, run_seed: 0 }
}

/// The outputs of several runs as `.npz` bytes: `outputs`, `[runs, images, output shape...]`.
///
/// # Errors
/// Runs of different shapes; a writer's failure is passed on.
pub fn write_outputs(runs: &[&Tensor]) -> Result<Vec<u8>> {
    let failed = |error: String| Diagnostic::internal("outputs", error);
    let views: Vec<_> = runs.iter().map(|run| run.view()).collect();
    let outputs = ndarray::stack(Axis(0), &views).map_err(|error| failed(error.to_string()))?;
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    npz.add_array("outputs", &outputs).map_err(|error| failed(error.to_string()))?;
    let file = npz.finish().map_err(|error| failed(error.to_string()))?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use nvcim_chip::presets::find_preset;

    use super::{DieChoice, ideal_conditions, load_image, resolve_die, run_data};
    use crate::data::{Dataset, Preprocess};
    use crate::demo;
    use crate::model::Model;
    use crate::pipeline::{CompileOptions, compile_model};

    #[test]
    fn what_is_no_number_is_not_counted() {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let chip = find_preset(demo::CHIP).unwrap();
        let image = compile_model(&model, &chip, &CompileOptions::default()).unwrap().output.image;
        let die = resolve_die(&image, DieChoice::Perfect);
        let machine = load_image(&image, &die, ideal_conditions()).unwrap();
        let preprocess =
            Preprocess { limit: Some(3), scale: Some(f32::NAN), ..Preprocess::default() };
        let data = Dataset::open("digits", preprocess).unwrap();
        let problems = run_data(&machine, &data, &|_| ()).unwrap_err();
        assert_eq!(
            problems[0].message,
            "gets an input that is no number in layer l0, for one of images 0 to 2"
        );
    }
}
