//! An existing image on its die at another time: ranges, gains and offsets anew, no cell touched.
//!
//! What drift and ageing do to an array is the same in all its columns to a large part, so digital gains and
//! offsets and ADC ranges make up for much of it. The die is measured as [`crate::pipeline`] measures it after
//! programming, starting from the scales that the image has.

use nvcim_chip::die;
use nvcim_chip::record::DieRecord;
use nvcim_correct::after::{AfterOptions, LayerFit, Scales, correct_after};
use nvcim_correct::known::Known;
use nvcim_correct::outcome::Outcome;
use nvcim_correct::plan::{Correction, Plan};
use nvcim_correct::samples::Teacher;
use nvcim_image::codec;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::programmed::ProgrammedNet;
use nvcim_ir::tiled::TiledNet;
use nvcim_map::map_graph::lower_only;
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::die::SimDie;

use crate::model::Model;
use crate::pipeline::{hash_tensor, name_effects, stamp_die};
use crate::simulate::check_stamp;

/// An image that was measured again.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// The image, as it is stored.
    pub bytes: Vec<u8>,
    /// The image, as it reads back.
    pub image: Image,
    /// Errors of each layer before and after, in the order of the program.
    pub fits: Vec<LayerFit>,
    /// What each correction did, in the order in which they ran.
    pub outcomes: Vec<Outcome>,
    /// Readouts whose range, scale or shift is another now.
    pub readouts_changed: usize,
}

/// Repeats the corrections after programming that an image was compiled with, all that its chip holds where it
/// had none, on `die` under `conditions`.
///
/// `images`, `[samples, sample shape...]`, are unlabelled.
///
/// # Errors
/// A model that the image was not compiled from, a die that it was not compiled for or of another chip, a chip
/// that holds no such correction, a time beyond what is known of the devices.
pub fn calibrate_image(
    image: &Image,
    model: &Model,
    die: &DieRecord,
    images: &Tensor,
    conditions: Conditions,
) -> Result<Warned<Calibrated>> {
    let Image { chip, net, provenance } = image;
    check_origin(image, model, die)?;
    let (plan, scales) = plan_again(image)?;
    let mut warnings: Vec<_> = conditions.check_time(chip)?;
    let tiled = rebuild(image, model, &mut warnings)?;

    let mut sim = SimDie::new(chip, die, conditions);
    die::program_net(&mut sim, net, &chip.cell)?;
    // Scales that were never measured are worth what cells were meant to be at the time of the image.
    let at_s = if scales == Scales::Fitted { conditions.at_s } else { provenance.at_s };
    let known = Known { chip, die: Some(die), effects: conditions.effects, at_s, use_s: None };
    let options = AfterOptions { scales, ..plan.into() };
    let teacher = Teacher::new(&tiled, images);
    let fitted = correct_after(&tiled, net.clone(), &known, &mut sim, &teacher, options)?;

    let readouts_changed = count_changed(net, &fitted.net);
    let provenance = Provenance {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_hash: provenance.model_hash,
        calibration_hash: Some(hash_tensor(images)),
        die: Some(stamp_die(die)),
        corrections: plan.names(),
        effects: name_effects(conditions.effects, chip),
        at_s: conditions.at_s,
    };
    let bytes = codec::encode_image(&Image { chip: chip.clone(), net: fitted.net, provenance })?;
    let image = codec::decode_image(&bytes)?;
    let (fits, outcomes) = (fitted.layers, fitted.outcomes);
    Ok(Warned { output: Calibrated { bytes, image, fits, outcomes, readouts_changed }, warnings })
}

fn check_origin(image: &Image, model: &Model, die: &DieRecord) -> Result<()> {
    if image.provenance.model_hash != model.hash()? {
        let message = "is not the file that the image was compiled from";
        let hint = "give that file with `--model`, or compile this one";
        return Err(Diagnostic::bad_input(&model.name, message).hint(hint).into());
    }
    if die.chip_hash != nvcim_chip::file::hash_chip(&image.chip) {
        let message = format!("die `{}` belongs to another chip than the image", die.name);
        let hint = format!("give a die of `{}`", image.chip.name);
        return Err(Diagnostic::bad_input("--die", message).hint(hint).into());
    }
    check_stamp(image, die)
}

/// The corrections of the image, with all that its chip holds after programming where it had none of those,
/// and whether its scales were fitted.
fn plan_again(image: &Image) -> Result<(Plan, Scales)> {
    let names = image.provenance.corrections.iter();
    let made = names.filter_map(|name| Correction::find(name)).fold(Plan::NONE, Plan::with);
    let scales = if made.has(Correction::Scale) { Scales::Fitted } else { Scales::Nominal };
    if made.measures() {
        return Ok((made, scales));
    }
    let plan = [Correction::Ranges, Correction::Scale, Correction::Offset]
        .into_iter()
        .fold(made, Plan::with)
        .limited_to(&image.chip);
    if plan.measures() {
        return Ok((plan, scales));
    }
    let message =
        format!("chip `{}` holds no range, gain or offset that could be set anew", image.chip.name);
    let hint = "see `[holds]` in the chip file for what a chip can hold";
    Err(Diagnostic::bad_input("image", message).hint(hint).into())
}

/// The program and the layers that the image came from, without tiles, which are its own; its inputs are driven as
/// the image says.
fn rebuild(image: &Image, model: &Model, warnings: &mut Vec<Diagnostic>) -> Result<TiledNet> {
    let graph = model.import()?.unload(warnings);
    let mut tiled = lower_only(&graph, &image.chip)?;
    let shapes = tiled.layers.iter().map(|layer| layer.shape());
    let same_layers = shapes.eq(image.net.layers.iter().map(|layer| layer.shape));
    if !same_layers || tiled.program != image.net.program {
        let message = format!(
            "was compiled by version {}, which maps the model otherwise",
            image.provenance.tool_version
        );
        return Err(Diagnostic::bad_input("image", message).hint("compile it anew").into());
    }
    for (layer, programmed) in tiled.layers.iter_mut().zip(&image.net.layers) {
        layer.input = programmed.input;
    }
    Ok(tiled)
}

fn count_changed(before: &ProgrammedNet, after: &ProgrammedNet) -> usize {
    let readouts = |net: &ProgrammedNet| -> Vec<_> {
        net.tiles.iter().flat_map(|tile| tile.readouts.clone()).collect()
    };
    readouts(before).iter().zip(&readouts(after)).filter(|(a, b)| a != b).count()
}
