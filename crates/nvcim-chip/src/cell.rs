//! Weights and conductances: what a cell can be told, and the pair that stands for a weight.

use crate::describe::Cell;

impl Cell {
    /// The width of the programmable range, in siemens.
    pub fn range(&self) -> f64 {
        self.g_max - self.g_min
    }

    /// What is left of a computed conductance `g`, or of a spread: at least 0, and never so far beyond
    /// `g_max` that sums of squares overflow; 0 for what is no number.
    pub(crate) fn confine(&self, g: f64) -> f64 {
        // `max` answers with the number where the other is none.
        g.max(0.0).min(1e6 * self.g_max)
    }

    /// The reachable conductance nearest to `g`; halfway, the even level.
    pub fn snap(&self, g: f64) -> f64 {
        match self.level_of(g) {
            Some(level) => self.siemens_of(level),
            None => g.clamp(self.g_min, self.g_max),
        }
    }

    /// The level nearest to `g`, counted from `g_min`; `None` for a continuous range.
    pub fn level_of(&self, g: f64) -> Option<u16> {
        let top = self.top_level()?;
        let level = (g - self.g_min) / self.range() * f64::from(top);
        Some(level.round_ties_even().clamp(0.0, f64::from(top)) as u16)
    }

    /// The conductance of a level, in siemens; levels above the top count as the top.
    ///
    /// A continuous range has no levels and answers `g_min`; no verified net asks for one.
    pub fn siemens_of(&self, level: u16) -> f64 {
        let Some(top) = self.top_level() else { return self.g_min };
        self.g_min + self.range() * (f64::from(level.min(top)) / f64::from(top))
    }

    /// The one-sided pair that stands for `w_relative`, a weight over the magnitude that takes the whole
    /// range, -1 to 1: conductances of the positive and the negative cell, in siemens, both reachable.
    ///
    /// `w = (g+ - g-) / (g_max - g_min)`, with the cell that does not carry the weight at `g_min`.
    pub fn pair_for(&self, w_relative: f64) -> (f64, f64) {
        let carried = self.snap(self.g_min + self.range() * w_relative.abs().clamp(0.0, 1.0));
        // The other cell is at the foot of its range, which is always reachable.
        if w_relative > 0.0 { (carried, self.g_min) } else { (self.g_min, carried) }
    }

    fn top_level(&self) -> Option<u16> {
        let n_levels = self.n_levels?;
        // A described cell has 2 to 65536 levels; the clamp keeps one built by hand from dividing by zero.
        Some(n_levels.saturating_sub(1).clamp(1, u32::from(u16::MAX)) as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::describe::Cell;

    fn cell(n_levels: Option<u32>) -> Cell {
        Cell { g_min: 1e-6, g_max: 16e-6, n_levels }
    }

    #[test]
    fn levels_divide_the_range_evenly() {
        let cell = cell(Some(16));
        assert_eq!(cell.level_of(0.0), Some(0));
        assert_eq!(cell.level_of(5.4e-6), Some(4));
        assert_eq!(cell.level_of(1.0), Some(15));
        assert!((cell.siemens_of(4) - 5e-6).abs() < 1e-18);
        assert!((cell.siemens_of(99) - 16e-6).abs() < 1e-18);
    }

    #[test]
    fn a_weight_uses_one_cell_of_its_pair() {
        let (plus, minus) = cell(None).pair_for(-0.5);
        assert_eq!(plus, 1e-6);
        assert!((minus - 8.5e-6).abs() < 1e-18);
        assert_eq!(cell(Some(2)).pair_for(0.4), (1e-6, 1e-6));
        assert_eq!(cell(None).pair_for(7.0), cell(None).pair_for(1.0));
    }

    proptest! {
        #[test]
        fn snapping_settles_and_is_never_beaten(g in 0.0..20e-6, n_levels in 2u32..=65536) {
            let cell = cell(Some(n_levels));
            let snapped = cell.snap(g);
            prop_assert_eq!(cell.snap(snapped), snapped);
            prop_assert_eq!(cell.siemens_of(cell.level_of(g).unwrap()), snapped);
            let half_step = cell.range() / f64::from(n_levels - 1) / 2.0;
            let inside = g.clamp(cell.g_min, cell.g_max);
            prop_assert!((snapped - inside).abs() <= half_step * (1.0 + 1e-9));
        }

        #[test]
        fn a_continuous_pair_gives_the_weight_back(w in -1.0..1.0f64) {
            let cell = cell(None);
            let (plus, minus) = cell.pair_for(w);
            prop_assert!(((plus - minus) / cell.range() - w).abs() < 1e-12);
        }
    }
}
