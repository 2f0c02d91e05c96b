//! Under which conditions a die is used: effects, time and the seed of noise.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::EffectSet;
use nvcim_ir::diag::{Diagnostic, Result};

/// Under which conditions a die is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// The effects that act; those that the chip does not describe are absent anyway.
    pub effects: EffectSet,
    /// Seconds from the reference read after programming to the time of use; not negative.
    pub at_s: f64,
    /// Whether `at_s` may lie beyond what is known of the chip's devices.
    pub extrapolate: bool,
    /// Keys the noise of this run, and the hidden part of a die that has no seed of its own.
    pub run_seed: u64,
}

impl Conditions {
    /// Checks that what is known of the chip's devices reaches to the time of use. Answers with a warning
    /// for every effect that is extrapolated; no warning says that nothing is.
    ///
    /// # Errors
    /// The same, where extrapolation was not asked for.
    pub fn check_time(&self, chip: &Chip) -> Result<Vec<Diagnostic>> {
        chip.check_time(self.at_s, self.effects, self.extrapolate)
    }
}
