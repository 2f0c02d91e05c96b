//! The life of one cell: from its target to the conductance that currents see.
//!
//! Order: target, nearest reachable conductance, then every cell effect of the chip in the order of the
//! effects' list (programming error, gradient, drift, temperature, ...), clip at 0, and last the stuck
//! override: an absolute conductance, possibly outside the range, with neither error nor drift.
//! Numbers stay finite: a description can be so far from any device that a formula overflows.

use crate::describe::{Cell, Chip};
use crate::effects::draws::{CellDraws, CellPlace, Draw};
use crate::effects::programming::Programming;
use crate::effects::{Effect, EffectSet};

/// What a cell effect may look at beside the conductance it starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellState {
    /// The cell.
    pub cell: Cell,
    /// The reachable conductance it was programmed to, in siemens.
    pub target: f64,
    /// The conductance just after programming, in siemens; before that, the target.
    pub programmed: f64,
    /// The chip's programming error, whether the effect is switched on or not.
    pub programming: Option<Programming>,
    /// Seconds from the reference read after programming to the time of use.
    pub at_s: f64,
    /// Where the cell sits between the edges of its array, -0.5 to 0.5 along rows and columns.
    pub position: [f64; 2],
}

impl CellState {
    /// Standard deviation of the chip's programming error at this target, in siemens; 0 without one.
    pub fn programming_sd(&self) -> f64 {
        self.programming.map_or(0.0, |error| error.moments(self.target, &self.cell).1)
    }
}

/// An effect that changes the conductance of one cell.
pub trait CellEffect: Sync {
    /// The draws that the effect needs, at most 256.
    fn draws(&self) -> &'static [Draw];

    /// The conductance after the effect, in siemens, from the one before it. `z` holds one number per
    /// entry of [`CellEffect::draws`].
    fn apply(&self, g: f64, z: &[f64], state: &CellState) -> f64;
}

/// Conductances of one cell, in siemens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellLife {
    /// Just after programming.
    pub programmed: f64,
    /// At the time of use, before read noise.
    pub used: f64,
}

struct Link<'a> {
    effect: Effect,
    model: &'a dyn CellEffect,
    draws: &'static [Draw],
}

/// The cell effects of a chip that are switched on, in order.
pub struct CellChain<'a> {
    chip: &'a Chip,
    at_s: f64,
    stuck: bool,
    links: Vec<Link<'a>>,
}

impl<'a> CellChain<'a> {
    /// The chain of `chip` with the effects of `set`, at `at_s` seconds after the reference read.
    pub fn new(chip: &'a Chip, set: EffectSet, at_s: f64) -> Self {
        let models = chip.effects.models().into_iter().filter(|&(effect, _)| set.has(effect));
        let links = models.filter_map(|(effect, model)| {
            let model = model.on_cells()?;
            Some(Link { effect, model, draws: model.draws() })
        });
        Self { chip, at_s, stuck: set.has(Effect::Stuck), links: links.collect() }
    }

    /// The effects of the chain.
    pub fn effects(&self) -> impl ExactSizeIterator<Item = Effect> {
        self.links.iter().map(|link| link.effect)
    }

    /// The kinds of the draws that the chain needs, in order.
    pub(crate) fn kinds(&self) -> Vec<Draw> {
        self.links.iter().flat_map(|link| link.draws.iter().copied()).collect()
    }

    /// The draws that the chain needs, on the die that `die_seed` draws.
    pub fn draws(&self, die_seed: u64) -> CellDraws {
        CellDraws::new(die_seed, self.links.iter().map(|link| (link.effect, link.draws)))
    }

    /// The life of a cell at `place` that is told to reach `target` siemens. `z` holds the cell's draws,
    /// as [`CellDraws::fill`] gives them; `stuck` is what the die's fault map says.
    pub fn follow(&self, target: f64, place: CellPlace, z: &[f64], stuck: Option<f64>) -> CellLife {
        if let (true, Some(g)) = (self.stuck, stuck) {
            return CellLife { programmed: g, used: g };
        }
        let mut state = self.fresh_state(target, place);
        let (mut g, mut z) = (state.target, z);
        for link in &self.links {
            let (own, rest) = z.split_at(link.draws.len().min(z.len()));
            g = link.model.apply(g, own, &state);
            z = rest;
            if link.effect < Effect::Drift {
                state.programmed = state.cell.confine(g);
            }
        }
        CellLife { programmed: state.programmed, used: state.cell.confine(g) }
    }

    fn fresh_state(&self, target: f64, place: CellPlace) -> CellState {
        let cell = self.chip.cell;
        let target = cell.snap(target);
        let arrays = &self.chip.arrays;
        // A single line sits in the middle of its array.
        let between = |line: u32, n_lines: usize| match n_lines {
            0 | 1 => 0.0,
            _ => f64::from(line) / (n_lines - 1) as f64 - 0.5,
        };
        CellState {
            cell,
            target,
            programmed: target,
            programming: self.chip.effects.programming,
            at_s: self.at_s,
            position: [between(place.row, arrays.n_rows), between(place.col, arrays.n_cols)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CellChain, CellLife};
    use crate::describe::{Cell, Chip};
    use crate::effects::draws::CellPlace;
    use crate::effects::drift::Drift;
    use crate::effects::programming::{Programming, ThresholdError};
    use crate::effects::subthreshold::Subthreshold;
    use crate::effects::{Effect, EffectSet};
    use crate::testing::plain_chip;

    const PLACE: CellPlace = CellPlace { array: 0, row: 0, col: 0 };

    fn chip() -> Chip {
        let mut chip = plain_chip();
        chip.cell = Cell { g_min: 0.0, g_max: 100e-6, n_levels: Some(11) };
        chip.effects.programming = Some(Programming::Range { sd_of_range: 0.1 });
        chip.effects.drift = Some(Drift::power(1.0, 0.0, 1.0));
        chip
    }

    fn follow(chain: &CellChain<'_>, target: f64, z: &[f64], stuck: Option<f64>) -> CellLife {
        chain.follow(target, PLACE, z, stuck)
    }

    #[test]
    fn a_cell_snaps_errs_then_drifts() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::ALL, 1.0);
        let effects: Vec<_> = chain.effects().collect();
        assert_eq!(effects, [Effect::Programming, Effect::Drift]);
        // 42 uS snaps to 40, errs by 2 x 10 to 60, and halves.
        let life = follow(&chain, 42e-6, &[2.0, 0.5], None);
        assert!((life.programmed - 60e-6).abs() < 1e-15, "{life:?}");
        assert!((life.used - 30e-6).abs() < 1e-15, "{life:?}");
    }

    #[test]
    fn conductances_never_turn_negative() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::ALL, 0.0);
        let life = follow(&chain, 0.0, &[-3.0, 0.0], None);
        assert_eq!(life, CellLife { programmed: 0.0, used: 0.0 });
    }

    #[test]
    fn no_description_makes_a_conductance_that_is_no_number() {
        let mut chip = chip();
        let swing = Subthreshold { slope_factor: 1.0, reference_celsius: -200.0 };
        let error = ThresholdError { swing, sd_v: 1.0, overshoot_v: 0.0, detrapping_v: 1.0 };
        chip.effects.programming = Some(Programming::Threshold(error));
        let chain = CellChain::new(&chip, EffectSet::ALL, 0.0);
        let used = |target| follow(&chain, target, &[-6.0, 0.0, 6.0, 0.0], None).used;
        assert_eq!((used(0.0), used(100e-6)), (0.0, 100.0));
    }

    #[test]
    fn a_stuck_cell_neither_errs_nor_drifts_nor_keeps_to_the_range() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::ALL, 1e6);
        assert_eq!(follow(&chain, 50e-6, &[1.0, 1.0], Some(3e-4)).used, 3e-4);
        let whole = CellChain::new(&chip, EffectSet::ALL.without(Effect::Stuck), 0.0);
        assert_eq!(follow(&whole, 50e-6, &[0.0, 0.0], Some(3e-4)).used, 50e-6);
    }

    #[test]
    fn effects_left_out_take_no_draws() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::NONE.with(Effect::Drift), 1.0);
        assert_eq!(chain.effects().len(), 1);
        let mut z = Vec::new();
        chain.draws(1).fill(PLACE, 0, &mut z);
        assert_eq!(z.len(), 1);
        assert!((follow(&chain, 80e-6, &[0.0], None).used - 40e-6).abs() < 1e-15);
    }
}
