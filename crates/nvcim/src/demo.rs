//! The bundled demonstration: a small LeNet on the NOR-flash preset, with and without correction.

use nvcim_chip::effects::EffectSet;
use nvcim_chip::presets;
use nvcim_correct::plan::Plan;
use nvcim_ir::diag::Result;
use nvcim_sim::conditions::Conditions;

use crate::campaign::{Campaign, Outcome};
use crate::data::{Dataset, Preprocess};
use crate::model::Model;
use crate::pipeline::CALIBRATION_IMAGES;
use crate::report::{Page, write_page};

/// The bundled network.
pub const MODEL: (&str, &[u8]) =
    ("lenet-digits.onnx", include_bytes!("../../../onnx-models/lenet-digits.onnx"));

/// The preset that it runs on.
pub const CHIP: &str = "nor-flash-lenet";

/// Dies 0 to this, exclusive.
pub const DIES: u64 = 10;

/// A finished demonstration.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Its numbers.
    pub outcome: Outcome,
    /// Test images per die.
    pub images: usize,
    /// The HTML report.
    pub report: String,
}

/// Images that the demonstration simulates, for progress.
///
/// # Errors
/// Never with the bundled data.
pub fn count_images() -> Result<usize> {
    Ok(Dataset::open("digits", Preprocess::default())?.len() * (1 + 2 * DIES as usize))
}

/// Compiles, verifies on ten dies with and without correction, and writes the report.
///
/// # Errors
/// Never with the bundled files; whatever a stage reports is passed on.
pub fn run_demo(run_seed: u64, progress: &dyn Fn(usize)) -> Result<Demo> {
    let model = Model::from_bytes(MODEL.0, MODEL.1);
    let chip = presets::find_preset(CHIP)?;
    let calibration = Dataset::open("digits:train", Preprocess::default())?;
    let calibration = calibration.head(CALIBRATION_IMAGES, &model.input_shape()?)?;
    let data = Dataset::open("digits", Preprocess::default())?;
    let campaign = Campaign {
        model: &model,
        chip: &chip,
        calibration: &calibration,
        data: &data,
        plan: Plan::FULL,
        conditions: Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed },
        dies: DIES,
    };
    let outcome = campaign.run(progress)?;
    let report = write_page(&Page {
        title: "LeNet on NOR flash",
        model: &model,
        chip: &chip,
        outcome: &outcome,
        images: data.len(),
        command: &format!("nvcim demo --seed {run_seed}"),
    });
    Ok(Demo { outcome, images: data.len(), report })
}
