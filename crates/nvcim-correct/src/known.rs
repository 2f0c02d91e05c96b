//! What corrections may know of a die before they measure it: its design, what a lab has found, its use.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::record::DieRecord;

/// The measurable part of a die, the statistics of its design, and how it is going to be used.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The design.
    pub chip: &'a Chip,
    /// What was measured of the die; none where any die of the design is meant.
    pub die: Option<&'a DieRecord>,
    /// The effects that act.
    pub effects: EffectSet,
    /// Seconds from the reference read after programming to the time of use.
    pub at_s: f64,
}

impl<'a> Known<'a> {
    /// The die's fault map, where it is known and faults act.
    pub(crate) fn faults(&self) -> Option<&'a DieRecord> {
        self.die.filter(|_| self.effects.has(Effect::Stuck))
    }
}
