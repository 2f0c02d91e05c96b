//! From accuracies per die to what may be said of a method: recovery, points left, yield.
//!
//! A share of very little says little: where a baseline loses too few points, the points left stand alone.

use crate::recovery::{Loss, Recovery, Summary, lose, recover, summarize};

/// Points that the naive mapping must lose for a share of them to say something.
pub const SHARES_FROM: f64 = 10.0;

/// Points that `lab` must lose for a share of them to say something: it is compared with what does better.
pub const SHARES_OF_LAB_FROM: f64 = 1.0;

/// Rounding that a comparison with a limit forgives, in percent: accuracies are quotients of whole numbers.
pub const ROUNDING: f64 = 1e-9;

/// What a method is compared with, accuracies in percent.
#[derive(Debug, Clone, Copy)]
pub struct Baselines<'a> {
    /// The float network.
    pub reference: f64,
    /// The naive mapping, one accuracy per die.
    pub naive: &'a [f64],
    /// What a lab does by hand on the same dies, where it was measured.
    pub lab: Option<&'a [f64]>,
}

/// One method on all dies of one network and chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Accuracies over dies.
    pub accuracy: Summary,
    /// Points lost to the reference.
    pub lost: Loss,
    /// Share of naive's loss that came back; `None` where that was under [`SHARES_FROM`].
    pub from_naive: Option<Recovery>,
    /// Share of lab's loss that came back; `None` where that was under [`SHARES_OF_LAB_FROM`].
    pub from_lab: Option<Recovery>,
}

impl Figures {
    /// Sums up a method's accuracies, one per die; `None` without dies or where lists do not pair up.
    pub fn new(baselines: &Baselines<'_>, accuracies: &[f64]) -> Option<Self> {
        let Baselines { reference, naive, lab } = *baselines;
        let share = |from: &[f64], least: f64| {
            let lost = lose(reference, from)?.points;
            recover(reference, from, accuracies).filter(|_| lost >= least - ROUNDING)
        };
        (naive.len() == accuracies.len()).then_some(())?;
        Some(Self {
            accuracy: summarize(accuracies)?,
            lost: lose(reference, accuracies)?,
            from_naive: share(naive, SHARES_FROM),
            from_lab: lab.and_then(|lab| share(lab, SHARES_OF_LAB_FROM)),
        })
    }
}

/// Share of dies that lose no more than so many points to the reference, in percent; 0 without dies.
pub fn yield_percent(reference: f64, points: f64, accuracies: &[f64]) -> f64 {
    let good = accuracies.iter().filter(|it| reference - **it <= points + ROUNDING).count();
    100.0 * good as f64 / accuracies.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{Baselines, Figures, yield_percent};

    #[test]
    fn shares_are_given_where_enough_was_lost() {
        let figures = |naive: f64, lab: f64, accuracy: f64| {
            let lab = [lab];
            let baselines = Baselines { reference: 90.0, naive: &[naive], lab: Some(&lab) };
            Figures::new(&baselines, &[accuracy]).unwrap()
        };
        let all = figures(10.0, 80.0, 88.0);
        assert!((all.from_naive.unwrap().percent - 97.5).abs() < 1e-9);
        assert!((all.from_lab.unwrap().percent - 80.0).abs() < 1e-9);
        assert!((all.lost.points - 2.0).abs() < 1e-9);
        assert_eq!(figures(80.1, 80.0, 88.0).from_naive, None);
        assert_eq!(figures(10.0, 89.1, 89.5).from_lab, None);
        let baselines = Baselines { reference: 90.0, naive: &[10.0, 20.0], lab: None };
        assert_eq!(Figures::new(&baselines, &[80.0]), None);
    }

    #[test]
    fn yield_counts_dies_near_the_reference() {
        assert_eq!(yield_percent(99.0, 1.0, &[98.0, 97.9, 99.5, 50.0]), 50.0);
        assert_eq!(yield_percent(99.0, 1.0, &[]), 0.0);
    }
}
