//! The life of one cell: from its target to the conductance that currents see.
//!
//! Order: target, nearest reachable conductance, then every cell effect of the chip in the order of the
//! effects' list (programming error, drift, ...), clip at 0, and last the stuck override: an absolute
//! conductance, possibly outside the range, with neither error nor drift.

use crate::describe::{Cell, Chip};
use crate::effects::{Effect, EffectSet};

/// What a cell effect may look at beside the conductance it starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellState {
    /// The cell.
    pub cell: Cell,
    /// The reachable conductance it was programmed to, in siemens.
    pub target: f64,
    /// Seconds from the reference read after programming to the time of use.
    pub at_s: f64,
}

/// An effect that changes the conductance of one cell.
pub trait CellEffect {
    /// The conductance after the effect, in siemens, from the one before it and the cell's own standard
    /// normal draw, which stays the same from read to read.
    fn apply(&self, g: f64, z: f64, state: &CellState) -> f64;
}

/// The cell effects of a chip that are switched on, in order.
pub struct CellChain<'a> {
    cell: Cell,
    at_s: f64,
    stuck: bool,
    links: Vec<(Effect, &'a dyn CellEffect)>,
}

impl<'a> CellChain<'a> {
    /// The chain of `chip` with the effects of `set`, at `at_s` seconds after the reference read.
    pub fn new(chip: &'a Chip, set: EffectSet, at_s: f64) -> Self {
        let models = chip.effects.models().into_iter().filter(|&(effect, _)| set.has(effect));
        let links = models.filter_map(|(effect, model)| Some((effect, model.on_cells()?)));
        Self { cell: chip.cell, at_s, stuck: set.has(Effect::Stuck), links: links.collect() }
    }

    /// The effects of the chain; each needs a normal draw per cell.
    pub fn effects(&self) -> impl ExactSizeIterator<Item = Effect> {
        self.links.iter().map(|&(effect, _)| effect)
    }

    /// The conductance in siemens of a cell told to reach `target`. `z` holds the cell's draw for each
    /// entry of [`CellChain::effects`]; `stuck` is what the die's fault map says.
    pub fn conductance(&self, target: f64, z: &[f64], stuck: Option<f64>) -> f64 {
        if let (true, Some(g)) = (self.stuck, stuck) {
            return g;
        }
        let target = self.cell.snap(target);
        let state = CellState { cell: self.cell, target, at_s: self.at_s };
        let links = self.links.iter().zip(z);
        links.fold(target, |g, (&(_, effect), &z)| effect.apply(g, z, &state)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::CellChain;
    use crate::describe::{Cell, Chip};
    use crate::effects::drift::Drift;
    use crate::effects::programming::Programming;
    use crate::effects::{Effect, EffectSet};
    use crate::testing::plain_chip;

    fn chip() -> Chip {
        let mut chip = plain_chip();
        chip.cell = Cell { g_min: 0.0, g_max: 100e-6, n_levels: Some(11) };
        chip.effects.programming = Some(Programming { sd_of_range: 0.1 });
        chip.effects.drift = Some(Drift { nu_mean: 1.0, nu_sd: 0.0, t0_s: 1.0 });
        chip
    }

    #[test]
    fn a_cell_snaps_errs_then_drifts() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::ALL, 1.0);
        let effects: Vec<_> = chain.effects().collect();
        assert_eq!(effects, [Effect::Programming, Effect::Drift]);
        // 42 uS snaps to 40, errs by 2 x 10 to 60, and halves.
        let g = chain.conductance(42e-6, &[2.0, 0.5], None);
        assert!((g - 30e-6).abs() < 1e-15, "{g}");
    }

    #[test]
    fn conductances_never_turn_negative() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::ALL, 0.0);
        assert_eq!(chain.conductance(0.0, &[-3.0, 0.0], None), 0.0);
    }

    #[test]
    fn a_stuck_cell_neither_errs_nor_drifts_nor_keeps_to_the_range() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::ALL, 1e6);
        assert_eq!(chain.conductance(50e-6, &[1.0, 1.0], Some(3e-4)), 3e-4);
        let whole = CellChain::new(&chip, EffectSet::ALL.without(Effect::Stuck), 0.0);
        assert_eq!(whole.conductance(50e-6, &[0.0, 0.0], Some(3e-4)), 50e-6);
    }

    #[test]
    fn effects_left_out_take_no_draws() {
        let chip = chip();
        let chain = CellChain::new(&chip, EffectSet::NONE.with(Effect::Drift), 1.0);
        assert_eq!(chain.effects().len(), 1);
        assert!((chain.conductance(80e-6, &[0.0], None) - 40e-6).abs() < 1e-15);
    }
}
