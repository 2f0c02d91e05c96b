//! One network on several dies of one chip: naive against corrected, each die compiled for anew.

use nvcim_chip::describe::Chip;
use nvcim_correct::plan::Plan;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;

use crate::data::Dataset;
use crate::model::Model;
use crate::pipeline::{CompileOptions, Compiled, compile_model};
use crate::recovery::{Recovery, recover};
use crate::simulate::{self, DieChoice, load_image, resolve_die, run_data};
use crate::verify::float_accuracy;

/// What to run.
#[derive(Clone, Copy)]
pub struct Campaign<'a> {
    /// The network.
    pub model: &'a Model,
    /// The chip.
    pub chip: &'a Chip,
    /// Unlabelled calibration images, `[n, sample shape...]`.
    pub calibration: &'a Tensor,
    /// Labelled test images.
    pub data: &'a Dataset,
    /// The corrections whose worth is asked for.
    pub plan: Plan,
    /// The effects, time and seed of every run.
    pub conditions: Conditions,
    /// Dies 0 to this, exclusive.
    pub dies: u64,
}

/// One die, before and after correction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DieOutcome {
    /// The die's seed.
    pub seed: u64,
    /// Accuracy of the naive mapping in percent.
    pub naive: f64,
    /// Accuracy with corrections in percent.
    pub corrected: f64,
}

/// Every number of a campaign, accuracies in percent.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The ONNX file in float.
    pub float_accuracy: f64,
    /// The naive image without any effect, converters included.
    pub ideal_accuracy: f64,
    /// One entry per die.
    pub dies: Vec<DieOutcome>,
    /// Recovery from naive, where anything was lost.
    pub recovery: Option<Recovery>,
    /// The image without corrections.
    pub naive: Compiled,
    /// The image for the last die.
    pub corrected: Compiled,
    /// Warnings of the compilations, each once.
    pub warnings: Vec<Diagnostic>,
}

impl Campaign<'_> {
    /// Runs it; `progress` hears of every image simulated, of [`Campaign::images`] in all.
    ///
    /// # Errors
    /// Whatever compilation or simulation reports, and data without labels.
    pub fn run(&self, progress: &dyn Fn(usize)) -> Result<Outcome> {
        let mut warnings = Vec::new();
        let options = CompileOptions {
            die: None,
            calibration: Some(self.calibration),
            plan: Plan::NONE,
            conditions: self.conditions,
            base: None,
            use_s: None,
            pack: None,
        };
        let naive = compile_model(self.model, self.chip, &options)?.unload(&mut warnings);
        let perfect = resolve_die(&naive.image, DieChoice::Perfect);
        let machine = load_image(&naive.image, &perfect, simulate::ideal_conditions())?;
        let ideal_accuracy = labelled(run_data(&machine, self.data, progress)?.accuracy)?;

        let mut corrected = naive.clone();
        let mut dies = Vec::new();
        for seed in 0..self.dies {
            let die = resolve_die(&naive.image, DieChoice::Seed(seed));
            let run = |compiled: &Compiled| -> Result<f64> {
                let machine = load_image(&compiled.image, &die, self.conditions)?;
                labelled(run_data(&machine, self.data, progress)?.accuracy)
            };
            let before = run(&naive)?;
            let options = CompileOptions { die: Some(&die), plan: self.plan, ..options };
            corrected = compile_model(self.model, self.chip, &options)?.unload(&mut warnings);
            dies.push(DieOutcome { seed, naive: before, corrected: run(&corrected)? });
        }
        warnings.dedup();
        let float_accuracy = labelled(float_accuracy(self.model, self.data)?)?;
        let column = |pick: fn(&DieOutcome) -> f64| dies.iter().map(pick).collect::<Vec<_>>();
        let recovery =
            recover(float_accuracy, &column(|die| die.naive), &column(|die| die.corrected));
        Ok(Outcome { float_accuracy, ideal_accuracy, dies, recovery, naive, corrected, warnings })
    }

    /// Images simulated by a whole run.
    pub fn images(&self) -> usize {
        self.data.len() * (1 + 2 * self.dies as usize)
    }
}

fn labelled(accuracy: Option<f64>) -> Result<f64> {
    let hint = "give a folder with a labels file, or an `.npz` with `y`";
    accuracy.ok_or_else(|| Diagnostic::bad_input("--data", "has no labels").hint(hint).into())
}
