//! One network on one chip, at the times of correction and of use: what every measurement of a study runs on.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::EffectSet;
use nvcim_chip::record::DieRecord;
use nvcim_correct::plan::Plan;
use nvcim_image::layout::Image;
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;

use crate::data::Dataset;
use crate::model::Model;
use crate::pipeline::{CompileOptions, Compiled, compile_model};
use crate::simulate::{DieChoice, load_image, resolve_die, run_data};

/// A network on a chip.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// The network.
    pub model: &'a Model,
    /// Unlabelled calibration images, `[n, sample shape...]`.
    pub calibration: &'a Tensor,
    /// Labelled test images.
    pub data: &'a Dataset,
    /// The chip.
    pub chip: &'a Chip,
    /// Seconds after programming at which a die is measured and corrected.
    pub corrected_at_s: f64,
    /// Seconds after programming at which it is used.
    pub used_at_s: f64,
    /// Seed of the noise of every run.
    pub run_seed: u64,
}

impl Cell<'_> {
    /// The image that all dies share: no correction, nothing known of a die.
    ///
    /// # Errors
    /// Whatever compilation reports.
    pub fn compile_naive(&self) -> Result<Warned<Compiled>> {
        self.compile(None, Plan::NONE)
    }

    /// The image for one die, which is compiled for with every effect of the chip.
    ///
    /// # Errors
    /// Whatever compilation reports.
    pub fn compile_for(&self, die: &DieRecord, plan: Plan) -> Result<Warned<Compiled>> {
        self.compile(Some(die), plan)
    }

    fn compile(&self, die: Option<&DieRecord>, plan: Plan) -> Result<Warned<Compiled>> {
        let conditions = self.conditions(EffectSet::ALL, self.corrected_at_s);
        let use_s = (self.corrected_at_s != self.used_at_s).then_some([self.used_at_s; 2]);
        // Only a plan for a die looks at the time of use, and says so where it is given in vain.
        let use_s = use_s.filter(|_| die.is_some());
        let calibration = Some(self.calibration);
        let options =
            CompileOptions { die, calibration, plan, conditions, base: None, use_s, pack: None };
        compile_model(self.model, self.chip, &options)
    }

    /// The die of a seed, as many arrays as `naive` needs where the chip does not say.
    pub fn draw_die(&self, naive: &Image, seed: u64) -> DieRecord {
        resolve_die(naive, DieChoice::Seed(seed))
    }

    /// Images whose class is right on a die at the time of use, with these effects.
    ///
    /// # Errors
    /// An image for another die, or data without labels.
    pub fn count_right(&self, image: &Image, die: &DieRecord, effects: EffectSet) -> Result<usize> {
        let machine = load_image(image, die, self.conditions(effects, self.used_at_s))?;
        let run = run_data(&machine, self.data, &|_| ())?;
        run.right.ok_or_else(|| unlabelled().into())
    }

    /// Conditions at a time of this cell.
    pub fn conditions(&self, effects: EffectSet, at_s: f64) -> Conditions {
        Conditions { effects, at_s, extrapolate: false, run_seed: self.run_seed }
    }
}

/// What is said of images without labels.
pub(super) fn unlabelled() -> Diagnostic {
    let hint = "give a folder with a labels file, or an `.npz` with `y`";
    Diagnostic::bad_input("test images", "have no labels").hint(hint)
}
