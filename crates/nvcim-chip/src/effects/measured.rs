//! A measured device: mean and spread of the conductance over target and time, as a table.
//!
//! Stands for programming error and drift at once. Between targets and between times (in their
//! logarithm) the table is read linearly; beyond its targets a cell errs like the nearest one. The first
//! time is the reference read. Draws are kept as in `crate::effects::series`:
//! `g = mean(t) + s1 z1 + sqrt(max s^2 - s1^2) z2`, both draws new on every write. What read noise takes
//! for the programmed conductance is the one at the time of use: a table does not part the two.

use std::ops::RangeInclusive;

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::{Draw, Scope};
use crate::effects::drift::MAX_SECONDS;
use crate::effects::series::{interpolate, largest_until, remaining_spread};
use crate::reader::Section;
use crate::writer::Writer;

/// The most times and the most targets of a table.
pub(crate) const MAX_ENTRIES: usize = 1024;

/// The times that a table may speak of, in seconds.
pub(crate) const TIMES_S: RangeInclusive<f64> = 1e-9..=MAX_SECONDS;

/// The conductances that a table may hold, in siemens.
pub(crate) const CONDUCTANCES: RangeInclusive<f64> = 0.0..=1.0;

/// Mean and standard deviation of the conductance over target and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Seconds after programming, ascending; the first is the reference read.
    pub times_s: Vec<f64>,
    /// Targets in siemens, ascending.
    pub targets: Vec<f64>,
    /// Means in siemens, one row per time with one number per target.
    pub means: Vec<Vec<f64>>,
    /// Standard deviations in siemens, shaped like the means.
    pub sds: Vec<Vec<f64>>,
}

impl Measured {
    /// Checks a table from elsewhere: its shape, its limits, and that times and targets ascend.
    ///
    /// # Errors
    /// The key of a chip file that holds what is wrong, and what that is.
    pub fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        let Self { times_s, targets, means, sds } = self;
        for (key, list, limits) in
            [("times_seconds", times_s, TIMES_S), ("targets_siemens", targets, CONDUCTANCES)]
        {
            let len = list.len();
            if !(1..=MAX_ENTRIES).contains(&len) {
                return Err((key, format!("has {len} entries, must have 1 to {MAX_ENTRIES}")));
            }
            check_limits(list, limits).map_err(|message| (key, message))?;
            if !list.is_sorted_by(|a, b| a < b) {
                return Err((key, "does not ascend".into()));
            }
        }
        for (key, rows) in [("mean_siemens", means), ("sd_siemens", sds)] {
            if rows.len() != times_s.len() || rows.iter().any(|row| row.len() != targets.len()) {
                let shape = format!("{} times and {} targets", times_s.len(), targets.len());
                return Err((key, format!("must have a number for each of {shape}")));
            }
            for row in rows {
                check_limits(row, CONDUCTANCES).map_err(|message| (key, message))?;
            }
        }
        Ok(())
    }

    /// Mean and standard deviation in siemens of cells told to reach `target`, `at_s` seconds after the
    /// reference read.
    pub fn moments(&self, target: f64, at_s: f64) -> (f64, f64) {
        let Some(start) = self.times_s.first() else { return (target, 0.0) };
        let t = start + at_s.max(0.0);
        let shift = interpolate(&self.times_s, |i| self.shift(i, target), t);
        (target + shift, largest_until(&self.times_s, |i| self.sd(i, target), t))
    }

    /// Mean less target at time `i`.
    fn shift(&self, i: usize, target: f64) -> f64 {
        self.between_targets(&self.means[i], target, |mean, target| mean - target)
    }

    fn sd(&self, i: usize, target: f64) -> f64 {
        self.between_targets(&self.sds[i], target, |sd, _| sd)
    }

    /// What `pick` makes of a row's entry and its target, read off at `target`.
    fn between_targets(&self, row: &[f64], target: f64, pick: impl Fn(f64, f64) -> f64) -> f64 {
        let at = |j: usize| pick(row[j], self.targets[j]);
        let last = self.targets.len() - 1;
        let after = self.targets.partition_point(|&it| it < target);
        if after == 0 || after > last {
            return at(after.min(last));
        }
        let (g0, g1) = (self.targets[after - 1], self.targets[after]);
        let share = (target - g0) / (g1 - g0);
        at(after - 1) + share * (at(after) - at(after - 1))
    }

    /// What keeps the table from being one, if anything.
    pub(crate) fn find_flaw(&self) -> Option<String> {
        let Self { times_s, targets, means, sds } = self;
        let ascends = |list: &[f64]| list.is_sorted_by(|a, b| a < b);
        if !ascends(times_s) || !ascends(targets) {
            return Some("belongs to times or targets that do not ascend".into());
        }
        let fits = |rows: &[Vec<f64>]| {
            rows.len() == times_s.len() && rows.iter().all(|row| row.len() == targets.len())
        };
        let shape = format!("{} rows of {}", times_s.len(), targets.len());
        (!fits(means) || !fits(sds))
            .then(|| format!("and the means must both have {shape}, one row per time"))
    }
}

/// What is wrong with a list whose numbers must lie within limits.
fn check_limits(list: &[f64], limits: RangeInclusive<f64>) -> std::result::Result<(), String> {
    let (from, to) = (limits.start(), limits.end());
    match list.iter().find(|number| !limits.contains(number)) {
        Some(stray) => Err(format!("holds {stray:?}, must be from {from:?} to {to:?}")),
        None => Ok(()),
    }
}

impl Model for Measured {
    fn read(section: &mut Section<'_>) -> Self {
        let counts = 1..=MAX_ENTRIES;
        let mut rows = |key| section.rows(key, counts.clone(), counts.clone(), CONDUCTANCES);
        let (means, sds) = (rows("mean_siemens"), rows("sd_siemens"));
        Self {
            times_s: section.numbers("times_seconds", counts.clone(), TIMES_S),
            targets: section.numbers("targets_siemens", counts, CONDUCTANCES),
            means,
            sds,
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { times_s, targets, means, sds } = self;
        out.value("times_seconds", times_s);
        out.value("targets_siemens", targets);
        out.list("mean_siemens", means.iter().map(|row| format!("{row:?}")));
        out.list("sd_siemens", sds.iter().map(|row| format!("{row:?}")));
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }

    fn last_at_s(&self) -> Option<f64> {
        // A table of one time says nothing of drift: it holds for any.
        let (first, last) = (self.times_s.first()?, self.times_s.last()?);
        (self.times_s.len() > 1).then_some(last - first)
    }
}

impl CellEffect for Measured {
    fn draws(&self) -> &'static [Draw] {
        &[Draw::Normal(Scope::Write); 2]
    }

    fn apply(&self, g: f64, z: &[f64], state: &CellState) -> f64 {
        let &[first, second] = z else { return g };
        let (mean, total) = self.moments(g, state.at_s);
        let (_, start) = self.moments(g, 0.0);
        mean + start * first + remaining_spread(total, start) * second
    }
}

#[cfg(test)]
mod tests {
    use super::Measured;
    use crate::effects::conductance::CellEffect;
    use crate::testing::state_at;

    fn table() -> Measured {
        Measured {
            times_s: vec![1.0, 100.0],
            targets: vec![10e-6, 30e-6],
            means: vec![vec![10e-6, 30e-6], vec![8e-6, 20e-6]],
            sds: vec![vec![3e-6, 3e-6], vec![5e-6, 1e-6]],
        }
    }

    fn close((mean, sd): (f64, f64), expected: (f64, f64)) -> bool {
        (mean - expected.0).abs() < 1e-15 && (sd - expected.1).abs() < 1e-15
    }

    #[test]
    fn the_table_is_read_between_its_entries() {
        assert!(close(table().moments(20e-6, 0.0), (20e-6, 3e-6)));
        assert!(close(table().moments(20e-6, 99.0), (14e-6, 3e-6)));
        assert!(close(table().moments(10e-6, 9.0), (9e-6, 4e-6)));
        // Beyond the targets the error of the nearest; a spread that shrinks stays.
        assert!(close(table().moments(40e-6, 99.0), (30e-6, 3e-6)));
        assert!(close(table().moments(1e-6, 99.0), (-1e-6, 5e-6)));
    }

    #[test]
    fn the_first_draw_is_kept_and_the_second_grows() {
        let at = |at_s| table().apply(10e-6, &[2.0, 1.0], &state_at(10e-6, at_s));
        assert!((at(0.0) - 16e-6).abs() < 1e-15);
        assert!((at(99.0) - (8e-6 + 6e-6 + 4e-6)).abs() < 1e-15);
    }

    #[test]
    fn flaws_are_told() {
        assert_eq!(table().find_flaw(), None);
        let flaw = Measured { sds: vec![vec![1e-6]], ..table() }.find_flaw();
        assert!(flaw.unwrap().contains("2 rows of 2"));
        assert!(Measured { times_s: vec![2.0, 2.0], ..table() }.find_flaw().is_some());
        assert_eq!(table().check(), Ok(()));
        let wrong = |table: Measured| table.check().unwrap_err();
        assert_eq!(wrong(Measured { times_s: vec![2.0, 2.0], ..table() }).1, "does not ascend");
        let (key, message) = wrong(Measured { targets: vec![10.0, 30.0], ..table() });
        assert_eq!(
            (key, message.as_str()),
            ("targets_siemens", "holds 10.0, must be from 0.0 to 1.0")
        );
        let (key, message) = wrong(Measured { sds: vec![vec![1e-6]], ..table() });
        assert!(key == "sd_siemens" && message.contains("2 times and 2 targets"), "{message}");
        assert_eq!(
            wrong(Measured { means: vec![vec![f64::NAN; 2]; 2], ..table() }).0,
            "mean_siemens"
        );
    }
}
