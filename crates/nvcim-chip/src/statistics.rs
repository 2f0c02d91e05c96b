//! What a chip's statistics say of a cell: mean and spread of its conductance at a time of use.
//!
//! Corrections before programming know the chip, not the hidden draws of a die. For them a table over targets
//! holds the first two moments of the chain of cell effects ([`CellChain`]), each the expectation over the
//! draws of one cell in the middle of an array. Draws of a die or an array are averaged over like those of
//! cells, and stuck cells are left out. Nothing depends on a seed: expectations are sums over fixed points
//! (`quadrature.rs`), good to a thousandth of the spread for up to three draws, which is every preset, and to
//! a few hundredths beyond.
//!
//! Targets of the table: every level of a cell with few, otherwise [`N_STEPS`] steps over the range that grow
//! from `g_min` on, because clipping at 0, fits in `ln q` and powers of `q` bend most there. Between them mean
//! and spread are straight lines, so that what rises in the table rises between.
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
const N_STEPS: u32 = 128;

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
        let levels = (0..n_levels).map(|level| cell.siemens_of(level.min(u16::MAX.into()) as u16));
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
        let means = || self.moments.iter().map(|it| it.mean);
        [means().fold(f64::INFINITY, f64::min), means().fold(0.0, f64::max)]
    }
}

/// Every level where there are few, otherwise steps that grow from `g_min` on; reachable and ascending.
fn choose_targets(cell: &Cell) -> Vec<f64> {
    let even = cell.n_levels.map(|levels| levels.saturating_sub(1)).filter(|top| *top <= N_STEPS);
    let top = even.unwrap_or(N_STEPS).max(1);
    let target = |step: u32| {
        let share = f64::from(step) / f64::from(top);
        let share = if even.is_some() { share } else { share * share };
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
