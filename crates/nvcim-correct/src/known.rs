//! What corrections may know of a die before they measure it: its design, what a lab has found, its use.

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::record::DieRecord;
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::ids::ArrayId;

use crate::plan::{Correction, Plan};

/// The measurable part of a die, the statistics of its design, and how it is going to be used.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The design.
    pub chip: &'a Chip,
    /// What was measured of the die; none where any die of the design is meant.
    pub die: Option<&'a DieRecord>,
    /// The effects that act.
    pub effects: EffectSet,
    /// Seconds from the reference read after programming to the time of measuring.
    pub at_s: f64,
    /// First and last time of use, where that is not the time of measuring.
    pub use_s: Option<[f64; 2]>,
}

impl<'a> Known<'a> {
    /// First and last time of use.
    pub(crate) fn span_s(&self) -> [f64; 2] {
        self.use_s.unwrap_or([self.at_s; 2])
    }

    /// The time that cells aim at: the middle of the time of use on the scale of drift, its logarithm since
    /// programming.
    pub(crate) fn aim_s(&self) -> f64 {
        let [from, to] = self.span_s();
        let t0 = self.t0_s();
        if from == to { from } else { ((from + t0) * (to + t0)).sqrt() - t0 }
    }

    /// Seconds from programming to the reference read.
    pub(crate) fn t0_s(&self) -> f64 {
        self.chip.effects.drift.as_ref().map_or(1.0, |drift| drift.t0_s())
    }

    /// The die's fault map, where it is known, faults act, and `plan` acts on them.
    pub(crate) fn faults(&self, plan: Plan) -> Option<&'a DieRecord> {
        self.die.filter(|_| self.effects.has(Effect::Stuck) && plan.has(Correction::Closest))
    }

    /// The arrays on which no cell can be written, where `plan` acts on the fault map.
    pub fn dead_arrays(&self, plan: Plan) -> Vec<ArrayId> {
        self.faults(plan).map_or_else(Vec::new, |die| die.dead_arrays(&self.chip.arrays))
    }

    /// What cells are expected to be at a time, as far as `plan` reckons with their effects.
    pub(crate) fn expect_cells(&self, plan: Plan, at_s: f64) -> CellStatistics {
        let effects = if plan.has(Correction::Drift) { self.effects } else { EffectSet::NONE };
        CellStatistics::new(self.chip, effects, at_s)
    }
}
