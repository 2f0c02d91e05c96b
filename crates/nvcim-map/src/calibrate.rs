//! Converter ranges: what drives a layer at full scale, and what current each conversion must cover.
//!
//! Two sources give the same result type. [`observe_ranges`] runs calibration images through float
//! matrices and watches clean currents; [`bound_ranges`] takes the worst case for inputs within
//! [`INPUT_BOUND`] where there are no images. "Clean" means the chip without its flaws but with its
//! converters: cells at their reachable targets, drives as the DAC makes them, because a coarse DAC or
//! few levels move the extremes that a range is there to cover.
//!
//! A signed input on a chip that drives its positive and negative parts one after the other is converted
//! twice, so its ranges cover both passes, each of which sees currents of one drive polarity only.

mod bound;
mod currents;
mod interval;
mod observe;
mod ranges;
mod span;

use nvcim_chip::describe::{Chip, NegativeInputs};
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::program::Program;
use nvcim_ir::tiled::{InputCoding, MatrixLayer, Readout};
use nvcim_ops::tensor::Tensor;

use crate::cut::Cut;

/// The magnitude that network inputs are taken to stay within where no calibration images are given.
pub const INPUT_BOUND: f32 = 1.0;

/// What ranges are wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The program round the layers.
    pub program: &'a Program,
    /// The layers; their input coding is not looked at.
    pub layers: &'a IdVec<LayerId, MatrixLayer>,
    /// The tiles to be.
    pub cuts: &'a [Cut],
    /// The chip.
    pub chip: &'a Chip,
}

/// Ranges for every converter.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// How each layer's inputs are driven.
    pub inputs: IdVec<LayerId, InputCoding>,
    /// The conversions of each cut, by column, positive before negative.
    pub readouts: Vec<Vec<Readout>>,
}

/// Observes ranges on `images`, `[samples, input shape...]`.
///
/// Full scale is the `percentile` of all drive magnitudes of a layer, 100 for their largest. ADC ranges
/// go from the least to the largest current seen.
///
/// # Errors
/// Images of the wrong shape, none at all, values that are not finite, or a percentile outside 0 to 100.
pub fn observe_ranges(task: &Task<'_>, images: &Tensor, percentile: f64) -> Result<Calibration> {
    check_images(task.program, images)?;
    if !(percentile > 0.0 && percentile <= 100.0) {
        let message = format!("is {percentile}, must be above 0 and at most 100");
        return Err(Diagnostic::bad_input("calibration percentile", message).into());
    }
    let inputs = observe::scan_inputs(task, images, percentile)?;
    let currents = observe::scan_currents(task, images, &inputs);
    Ok(Calibration { readouts: ranges::set_ranges(task, currents), inputs })
}

/// Bounds ranges for every input within plus and minus [`INPUT_BOUND`], with a warning.
pub fn bound_ranges(task: &Task<'_>) -> Warned<Calibration> {
    let (inputs, unbounded) = bound::bound_inputs(task);
    let currents = bound::bound_currents(task, &inputs);
    let remedy = "give calibration images with `--calib DATA`";
    let message = format!(
        "no images given, so converter ranges cover the worst case for inputs within [-{INPUT_BOUND}, {INPUT_BOUND}], \
         which wastes most of their resolution"
    );
    let mut warnings = vec![Diagnostic::bad_input("calibration", message).hint(remedy)];
    if let Some(layer) = unbounded {
        let name = format!("layer `{}`", task.layers[layer].name);
        let message = "has no useful worst case, the image will not compute anything sensible";
        warnings.push(Diagnostic::bad_input(name, message).hint(remedy));
    }
    let readouts = ranges::set_ranges(task, currents);
    Warned { output: Calibration { readouts, inputs }, warnings }
}

impl Task<'_> {
    /// Whether inputs of this coding take one pass for their positive and one for their negative part.
    fn takes_two_passes(&self, input: InputCoding) -> bool {
        input.signed && self.chip.dac.negative == NegativeInputs::TwoPass
    }
}

fn check_images(program: &Program, images: &Tensor) -> Result<()> {
    let want = program.steps.iter().next().map(|step| step.shape.as_slice()).unwrap_or_default();
    let message = match images.shape() {
        [0, ..] | [] => "hold no image".into(),
        [_, shape @ ..] if shape != want => {
            format!("have shape {shape:?}, the network's input has {want:?}")
        }
        _ if !images.iter().fold(true, |all, value| all & value.is_finite()) => {
            "hold a value that is not finite".into()
        }
        _ => return Ok(()),
    };
    let hint = "give images of the network's input shape with `--calib DATA`";
    Err(Diagnostic::bad_input("calibration images", message).hint(hint).into())
}
