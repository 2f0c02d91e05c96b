//! What a chip's statistics say of a cell: mean and spread of its conductance at a time of use.
//!
//! Corrections before programming know the chip, not the hidden draws of a die. For them a table over targets
//! holds the first two moments of the chain of cell effects ([`CellChain`]), each the expectation over the
//! draws of one cell in the middle of an array. Draws of a die or an array are averaged over like those of
//! cells, and stuck cells are left out. Nothing depends on a seed: expectations are sums over fixed points
//! (`quadrature.rs`), good to a thousandth of the spread for up to two draws, which is every preset, and to
//! three hundredths beyond.
//!
//! Targets of the table: every level of a cell with few, otherwise 80 steps over the range that are
//! finest at both ends, `(1 - cos(pi k / n)) / 2`, because clipping, fits in `ln q` and powers of `q` bend most
//! there. Between them mean and spread are straight lines, so that what rises in the table rises between. That
//! costs up to 3.5 hundredths of a preset's spread, at kinks and jumps of exponents after a year.
//!
//! Cost: points times targets lives of a cell, some milliseconds; then a binary search a question.

mod quadrature;

use crate::describe::{Cell, Chip};
use crate::effects::conductance::CellChain;
use crate::effects::draws::CellPlace;
use crate::effects::read::{Correlation, ReadCell, ReadNoise};
use crate::effects::{Effect, EffectSet};
use quadrature::Quadrature;

/// Steps between the targets of a table.
const N_STEPS: u32 = 80;

/// Mean and spread of a cell's conductance at the time of use, as functions of its target.
///
/// Targets count as the reachable conductance nearest to them. Where no effect of the set acts on cells a
/// cell stands exactly there.
#[derive(Debug, Clone)]
pub struct CellStatistics {
    cell: Cell,
    at_s: f64,
    read: Option<ReadNoise>,
    /// `None` where no effect acts on cells.
    table: Option<Table>,
}

/// Moments over targets, all in siemens.
#[derive(Debug, Clone)]
struct Table {
    /// Ascending, all reachable, from `g_min` to `g_max`.
    targets: Vec<f64>,
    moments: Vec<Moments>,
    inverse: Inverse,
}

/// Moments at one target, in siemens.
#[derive(Debug, Clone, Copy)]
struct Moments {
    /// Mean just after programming.
    programmed: f64,
    /// Mean at the time of use.
    mean: f64,
    /// Standard deviation at the time of use.
    sd: f64,
}

/// How targets are found from means.
#[derive(Debug, Clone)]
enum Inverse {
    /// The highest and the lowest mean up to each target of the table: where one of them passes a mean, the
    /// table takes it for the first time.
    Continuous { highest: Vec<f64>, lowest: Vec<f64> },
    /// Mean and conductance of every level, by rising mean; of levels with one mean the lowest.
    Levels(Vec<(f64, f64)>),
}

impl CellStatistics {
    /// The statistics of free cells of `chip` under the effects of `set`, `at_s` seconds after the reference
    /// read. Whether the chip's data reach that far is for [`Chip::check_time`] to say.
    pub fn new(chip: &Chip, set: EffectSet, at_s: f64) -> Self {
        let chain = CellChain::new(chip, set.without(Effect::Stuck), at_s);
        let table = (chain.effects().len() > 0).then(|| Table::new(&chain, chip));
        let read = chip.effects.read.filter(|_| set.has(Effect::Read));
        Self { cell: chip.cell, at_s, read, table }
    }

    /// Mean conductance in siemens at the time of use of a cell told to reach `target` siemens.
    pub fn mean(&self, target: f64) -> f64 {
        self.moments(target).mean
    }

    /// Standard deviation in siemens over cells told to reach `target`, for the whole of a run: of all cell
    /// effects, and of read noise where it is frozen into cells.
    pub fn sd(&self, target: f64) -> f64 {
        let Moments { sd, .. } = self.moments(target);
        match self.noise(|correlation| correlation == Correlation::Frozen, target) {
            0.0 => sd,
            frozen => (sd * sd + frozen * frozen).sqrt(),
        }
    }

    /// Standard deviation in siemens of one read of the mean cell told to reach `target`; 0 without read
    /// noise, and where it is frozen into cells.
    pub fn read_sd(&self, target: f64) -> f64 {
        self.noise(|correlation| correlation != Correlation::Frozen, target)
    }

    /// The target whose mean is nearest to `mean` siemens: the lowest of those equally near. Reachable, that
    /// is, a level's conductance where the cell has levels; `g_min` for what is no number.
    ///
    /// Where no effect acts on cells the nearest reachable conductance, ties as [`Cell::snap`] breaks them.
    pub fn target_for(&self, mean: f64) -> f64 {
        if mean.is_nan() {
            return self.cell.g_min;
        }
        self.table.as_ref().map_or_else(|| self.cell.snap(mean), |table| table.target_for(mean))
    }

    /// The lowest and the highest mean, in siemens: those of `g_min` and `g_max` where means rise with
    /// targets, as they do unless a table or fit is odd.
    pub fn reach(&self) -> [f64; 2] {
        match &self.table {
            None => [self.cell.g_min, self.cell.g_max],
            Some(table) => table.reach(),
        }
    }

    fn moments(&self, target: f64) -> Moments {
        let target = self.cell.snap(target);
        let untouched = Moments { programmed: target, mean: target, sd: 0.0 };
        self.table.as_ref().map_or(untouched, |table| table.at(target))
    }

    /// The spread of read noise whose correlation is `of_interest`, at the mean cell.
    fn noise(&self, of_interest: impl Fn(Correlation) -> bool, target: f64) -> f64 {
        let Some(noise) = self.read.filter(|it| of_interest(it.correlation)) else { return 0.0 };
        let Moments { programmed, mean, .. } = self.moments(target);
        noise.sd(&self.cell, &ReadCell { programmed, g: mean, at_s: self.at_s })
    }
}

impl Table {
    fn new(chain: &CellChain<'_>, chip: &Chip) -> Self {
        let quadrature = Quadrature::new(&chain.kinds());
        let middle = |lines: usize| (lines / 2) as u32;
        let (row, col) = (middle(chip.arrays.n_rows), middle(chip.arrays.n_cols));
        let place = CellPlace { array: 0, row, col };
        let targets = choose_targets(&chip.cell);
        let moments: Vec<_> =
            targets.iter().map(|&it| integrate(chain, &quadrature, it, place)).collect();
        let means = || moments.iter().map(|it| it.mean);
        let highest = running(means(), f64::max);
        let lowest = running(means(), f64::min);
        let mut table = Self { targets, moments, inverse: Inverse::Continuous { highest, lowest } };
        if let Some(n_levels) = chip.cell.n_levels {
            table.inverse = table.invert_levels(&chip.cell, n_levels);
        }
        table
    }

    /// The means of all levels, sorted.
    fn invert_levels(&self, cell: &Cell, n_levels: u32) -> Inverse {
        let levels =
            (0..n_levels.max(2)).map(|level| cell.siemens_of(level.min(u16::MAX.into()) as u16));
        let mut by_mean: Vec<_> = levels.map(|it| (self.at(it).mean, it)).collect();
        // A stable sort leaves the lowest of equal levels first; sorted already, it takes one pass.
        by_mean.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        by_mean.dedup_by(|(a, _), (b, _)| a == b);
        Inverse::Levels(by_mean)
    }

    /// The moments at a reachable target, straight lines between those of the table.
    fn at(&self, target: f64) -> Moments {
        let last = self.targets.len() - 1;
        let after = self.targets.partition_point(|&it| it < target);
        if after == 0 || after > last || self.targets[after] == target {
            return self.moments[after.min(last)];
        }
        let (g0, g1) = (self.targets[after - 1], self.targets[after]);
        let share = (target - g0) / (g1 - g0);
        let (left, right) = (self.moments[after - 1], self.moments[after]);
        let between = |pick: fn(&Moments) -> f64| {
            let (from, to) = (pick(&left), pick(&right));
            from + share * (to - from)
        };
        Moments {
            programmed: between(|it| it.programmed),
            mean: between(|it| it.mean),
            sd: between(|it| it.sd),
        }
    }

    fn target_for(&self, mean: f64) -> f64 {
        match &self.inverse {
            Inverse::Levels(by_mean) => nearest_level(by_mean, mean),
            Inverse::Continuous { highest, lowest } => {
                let [from, to] = self.reach();
                let mean = mean.clamp(from, to);
                let at = if mean >= self.moments[0].mean {
                    highest.partition_point(|&it| it < mean)
                } else {
                    lowest.partition_point(|&it| it > mean)
                };
                self.first_crossing(at, mean)
            }
        }
    }

    /// The target where the line that ends at entry `at` takes the value `mean`; `at` is the first entry on
    /// the other side of it, or on it.
    fn first_crossing(&self, at: usize, mean: f64) -> f64 {
        let Some(before) = at.checked_sub(1) else { return self.targets[0] };
        let (from, to) = (self.moments[before].mean, self.moments[at].mean);
        let (g0, g1) = (self.targets[before], self.targets[at]);
        (g0 + (mean - from) / (to - from) * (g1 - g0)).clamp(g0, g1)
    }

    fn reach(&self) -> [f64; 2] {
        let ends = match &self.inverse {
            Inverse::Continuous { highest, lowest } => lowest.last().zip(highest.last()),
            Inverse::Levels(by_mean) => {
                by_mean.first().map(|(mean, _)| mean).zip(by_mean.last().map(|(mean, _)| mean))
            }
        };
        let (lowest, highest) = ends.expect("a cell has a lowest and a highest target");
        [*lowest, *highest]
    }
}

/// Every level where there are few, otherwise steps that are finest at both ends; reachable and ascending.
fn choose_targets(cell: &Cell) -> Vec<f64> {
    let even = cell.n_levels.map(|levels| levels.saturating_sub(1)).filter(|top| *top <= N_STEPS);
    let top = even.unwrap_or(N_STEPS).max(1);
    let target = |step: u32| {
        let share = f64::from(step) / f64::from(top);
        let share = if even.is_some() {
            share
        } else {
            0.5 - 0.5 * libm::cos(std::f64::consts::PI * share)
        };
        cell.snap(if step == top { cell.g_max } else { cell.g_min + cell.range() * share })
    };
    let mut targets: Vec<_> = (0..=top).map(target).collect();
    targets.dedup();
    targets
}

/// The moments of a cell told to reach `target`.
fn integrate(
    chain: &CellChain<'_>,
    quadrature: &Quadrature,
    target: f64,
    place: CellPlace,
) -> Moments {
    // Sums run over differences from one life, so that what does not scatter scatters by 0.
    let mut origin = None;
    let (mut programmed, mut first, mut second) = (0.0, 0.0, 0.0);
    for (z, weight) in quadrature.iter() {
        let life = chain.follow(target, place, z, None);
        let origin = *origin.get_or_insert(life);
        let moved = life.used - origin.used;
        programmed += weight * (life.programmed - origin.programmed);
        first += weight * moved;
        second += weight * moved * moved;
    }
    let (g0, g) = origin.map_or((target, target), |life| (life.programmed, life.used));
    let variance = (second - first * first).max(0.0);
    Moments { programmed: g0 + programmed, mean: g + first, sd: variance.sqrt() }
}

/// What `pick` keeps of all values so far.
fn running(values: impl Iterator<Item = f64>, pick: fn(f64, f64) -> f64) -> Vec<f64> {
    let kept = values.scan(None, |so_far: &mut Option<f64>, value| {
        *so_far = Some(so_far.map_or(value, |it| pick(it, value)));
        *so_far
    });
    kept.collect()
}

/// The conductance whose mean is nearest, of pairs by rising mean; of two equally near the lower.
fn nearest_level(by_mean: &[(f64, f64)], mean: f64) -> f64 {
    let after = by_mean.partition_point(|&(it, _)| it < mean);
    let above = by_mean[after.min(by_mean.len() - 1)];
    let below = by_mean[after.saturating_sub(1)];
    let (down, up) = ((mean - below.0).abs(), (above.0 - mean).abs());
    if down < up || (down == up && below.1 < above.1) { below.1 } else { above.1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CellStatistics, Moments, Quadrature, integrate};
    use crate::describe::{Cell, Chip};
    use crate::effects::conductance::CellChain;
    use crate::effects::disturb::Disturb;
    use crate::effects::draws::CellPlace;
    use crate::effects::drift::Drift;
    use crate::effects::measured::Measured;
    use crate::effects::programming::{Programming, ThresholdError};
    use crate::effects::read::{Correlation, ReadNoise};
    use crate::effects::rtn::Rtn;
    use crate::effects::subthreshold::Subthreshold;
    use crate::effects::{Effect, EffectSet};
    use crate::presets::{PRESETS, find_preset};
    use crate::testing::plain_chip;

    const YEAR: f64 = 3.155_76e7;

    fn statistics(chip: &Chip, at_s: f64) -> CellStatistics {
        CellStatistics::new(chip, EffectSet::ALL, at_s)
    }

    /// Errors of 3 % and a year of drift on cells of 0 to 100 uS.
    fn drifting(n_levels: Option<u32>) -> Chip {
        let mut chip = plain_chip();
        chip.cell = Cell { g_min: 0.0, g_max: 100e-6, n_levels };
        chip.effects.programming = Some(Programming::Range { sd_of_range: 0.03 });
        chip.effects.drift = Some(Drift::power(0.05, 0.01, 20.0));
        chip
    }

    /// Fresh cells whose means at 0, 50 and 100 uS are these, in microsiemens.
    fn tabled(means_us: [f64; 3], n_levels: Option<u32>) -> Chip {
        let mut chip = drifting(n_levels);
        chip.effects.programming = None;
        chip.effects.drift = None;
        chip.effects.measured = Some(Measured {
            times_s: vec![1.0],
            targets: vec![0.0, 50e-6, 100e-6],
            means: vec![means_us.map(|it| it * 1e-6).to_vec()],
            sds: vec![vec![0.0; 3]],
        });
        chip
    }

    #[test]
    fn without_effects_a_cell_stands_at_its_level() {
        for n_levels in [None, Some(2), Some(200), Some(65_536)] {
            let chip = drifting(n_levels);
            let at = CellStatistics::new(&chip, EffectSet::NONE, YEAR);
            for g in [-1.0, 0.0, 12.3e-6, 50e-6, 99.9e-6, 1.0] {
                let snapped = chip.cell.snap(g);
                assert_eq!((at.mean(g), at.target_for(g)), (snapped, snapped));
                assert_eq!((at.sd(g), at.read_sd(g)), (0.0, 0.0));
            }
            assert_eq!(at.reach(), [0.0, 100e-6]);
            assert_eq!(at.target_for(f64::NAN), 0.0);
        }
    }

    /// `E (g + s z)^+ E t^-nu` and the same of squares, worked out by hand far from 0.
    #[test]
    fn drift_after_an_error_has_the_moments_of_a_product() {
        let at = statistics(&drifting(None), YEAR);
        let turn = libm::log1p(YEAR / 20.0);
        let power = |p: f64| libm::exp(-0.05 * p * turn + 0.5 * (0.01 * p * turn).powi(2));
        for g in [30e-6, 47e-6, 100e-6f64] {
            let mean = g * power(1.0);
            let square = (g * g + 9e-12) * power(2.0);
            assert!((at.mean(g) / mean - 1.0).abs() < 1e-5, "{g}: {} for {mean}", at.mean(g));
            let sd = (square - mean * mean).sqrt();
            assert!((at.sd(g) / sd - 1.0).abs() < 1e-3, "{g}: {} for {sd}", at.sd(g));
        }
        // At 0 half of the errors are clipped.
        let clipped = 3e-6 / std::f64::consts::TAU.sqrt() * power(1.0);
        assert!((at.mean(0.0) / clipped - 1.0).abs() < 3e-3, "{} for {clipped}", at.mean(0.0));
        assert_eq!(at.reach(), [at.mean(0.0), at.mean(100e-6)]);
    }

    #[test]
    fn straight_lines_between_targets_cost_little() {
        for (name, _) in PRESETS {
            let chip = find_preset(name).unwrap();
            for at_s in [0.0, YEAR] {
                let chain = CellChain::new(&chip, EffectSet::ALL, at_s);
                let quadrature = Quadrature::new(&chain.kinds());
                let (at, place) = (statistics(&chip, at_s), CellPlace { array: 0, row: 9, col: 9 });
                for step in 0..1000 {
                    let g = chip.cell.g_min + chip.cell.range() * f64::from(step) / 999.0;
                    let Moments { mean, sd, .. } = integrate(&chain, &quadrature, g, place);
                    let (missed, wrong) = ((at.mean(g) - mean).abs(), (at.sd(g) - sd).abs());
                    let rounding = 1e-12 * chip.cell.g_max;
                    assert!(missed.max(wrong) <= 0.035 * sd + rounding, "{name} {at_s} {g}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_scatter_is_exact() {
        let mut chip = drifting(Some(11));
        chip.effects.programming = None;
        chip.effects.disturb = Some(Disturb { dg_of_g_per_read: 0.0, reads: 1e9 });
        let at = statistics(&chip, 0.0);
        assert_eq!((at.mean(42e-6), at.sd(42e-6)), (chip.cell.snap(42e-6), 0.0));
    }

    /// The closed form of [`Programming::moments`] for three draws, and one of telegraph noise for four.
    #[test]
    fn many_draws_come_near_their_closed_forms() {
        let swing = Subthreshold { slope_factor: 1.5, reference_celsius: 25.0 };
        let threshold =
            ThresholdError { swing, sd_v: 0.003, overshoot_v: 0.006, detrapping_v: 0.002 };
        let mut chip = drifting(None);
        chip.effects.programming = Some(Programming::Threshold(threshold));
        chip.effects.drift = None;
        let (mean, sd) = chip.effects.programming.unwrap().moments(50e-6, &chip.cell);
        let at = statistics(&chip, 0.0);
        assert!((at.mean(50e-6) / mean - 1.0).abs() < 1e-3, "{} for {mean}", at.mean(50e-6));
        assert!((at.sd(50e-6) / sd - 1.0).abs() < 0.02, "{} for {sd}", at.sd(50e-6));
        chip.effects.programming = None;
        let rtn = Rtn { cells_share: 0.5, occupancy: 0.3, rate_hz: 1e-6, amplitude_of_g: 0.2 };
        chip.effects.rtn = Some(rtn);
        let at = statistics(&chip, 86_400.0);
        let (mean, sd) = (50e-6 * (1.0 - 0.15 * 0.2), 10e-6 * (0.15f64 * 0.85).sqrt());
        assert!((at.mean(50e-6) - mean).abs() < 0.03 * sd, "{} for {mean}", at.mean(50e-6));
        assert!((at.sd(50e-6) / sd - 1.0).abs() < 0.03, "{} for {sd}", at.sd(50e-6));
    }

    #[test]
    fn read_noise_is_that_of_the_mean_cell() {
        let mut chip = drifting(None);
        chip.effects.read = Some(ReadNoise::share(0.1));
        let at = statistics(&chip, YEAR);
        assert!((at.read_sd(50e-6) / (0.1 * at.mean(50e-6)) - 1.0).abs() < 1e-12);
        let silent = CellStatistics::new(&chip, EffectSet::ALL.without(Effect::Read), YEAR);
        assert_eq!((silent.read_sd(50e-6), silent.sd(50e-6)), (0.0, at.sd(50e-6)));
        let (loud, sd) = (at.read_sd(50e-6), at.sd(50e-6));
        chip.effects.read =
            Some(ReadNoise { correlation: Correlation::Frozen, ..ReadNoise::share(0.1) });
        let frozen = statistics(&chip, YEAR);
        assert_eq!(frozen.read_sd(50e-6), 0.0);
        assert!((frozen.sd(50e-6) / (sd * sd + loud * loud).sqrt() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn means_that_turn_back_are_met_at_the_lowest_target() {
        // Up to 80 uS in the middle, then down to 20.
        let at = statistics(&tabled([0.0, 80.0, 20.0], None), 0.0);
        assert!((at.target_for(40e-6) - 25e-6).abs() < 1e-9);
        assert!((at.target_for(1.0) - 50e-6).abs() < 1e-6, "{}", at.target_for(1.0));
        // Down to 30 uS, then up to 90: below the start the first way, above it the second.
        let at = statistics(&tabled([60.0, 30.0, 90.0], None), 0.0);
        assert!((at.target_for(45e-6) - 25e-6).abs() < 1e-9);
        assert!((at.target_for(75e-6) - 87.5e-6).abs() < 1e-9);
        assert_eq!(at.target_for(at.mean(0.0)), 0.0);
        // Nothing but 10 uS.
        let at = statistics(&tabled([10.0; 3], Some(3)), 0.0);
        assert_eq!([0.0, 10e-6, 1.0].map(|it| at.target_for(it)), [0.0; 3]);
    }

    proptest! {
        #[test]
        fn continuous_targets_invert_means(g in 0.0..100e-6, wanted in -1e-5..2e-4) {
            let at = statistics(&drifting(None), YEAR);
            prop_assert!((at.target_for(at.mean(g)) - g).abs() < 1e-12);
            let [from, to] = at.reach();
            let found = at.mean(at.target_for(wanted));
            prop_assert!((found - wanted.clamp(from, to)).abs() < 1e-15);
        }

        #[test]
        fn no_level_beats_the_one_found(
            n_levels in 2u32..400,
            means_us in [0.0..100.0, 0.0..100.0, 0.0..100.0f64],
            wanted in 0.0..100e-6,
        ) {
            let chip = tabled(means_us, Some(n_levels));
            let at = statistics(&chip, 0.0);
            let levels = (0..n_levels.max(2)).map(|level| chip.cell.siemens_of(level as u16));
            let miss = |g: f64| f64::abs(at.mean(g) - wanted);
            let best = levels.reduce(|best, it| if miss(it) < miss(best) { it } else { best });
            prop_assert_eq!(Some(at.target_for(wanted)), best);
        }
    }
}
