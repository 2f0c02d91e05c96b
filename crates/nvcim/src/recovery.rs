//! Statistics over dies: mean, spread, bootstrap intervals, recovery.
//!
//! Recovery is `(corrected - degraded) / (reference - degraded)`, a ratio of means over the same dies,
//! with a paired bootstrap interval over dies. Where little was lost, a share of it says little, and the
//! points still lost stand in its place, with their upper bound. Everything is in percent.

use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;

/// Resamples of a bootstrap.
const RESAMPLES: u32 = 2000;

/// A summary of one number per die.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Mean over dies.
    pub mean: f64,
    /// Standard deviation over dies (n - 1); 0 for one die.
    pub std: f64,
    /// 95 % bootstrap interval of the mean; both ends equal the mean for one die.
    pub ci95: [f64; 2],
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// Summarises one number per die; `None` without a die.
pub fn summarize(values: &[f64]) -> Option<Summary> {
    let n = values.len();
    let mean = mean(values)?;
    let spread: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some(Summary {
        mean,
        std: if n > 1 { (spread / (n - 1) as f64).sqrt() } else { 0.0 },
        ci95: bootstrap(n, |dies| self::mean(&pick(values, dies)).unwrap_or(mean)).middle95(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// A recovery with its interval, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// Ratio of means over all dies.
    pub percent: f64,
    /// 95 % paired bootstrap interval over dies.
    pub ci95: [f64; 2],
}

/// The share of the lost accuracy that a correction brings back, over the same dies in both lists.
///
/// `None` where nothing was lost, so that a share has no meaning, or where the lists do not pair up.
pub fn recover(reference: f64, degraded: &[f64], corrected: &[f64]) -> Option<Recovery> {
    let share = |degraded: &[f64], corrected: &[f64]| {
        let lost = reference - mean(degraded)?;
        Some(100.0 * (mean(corrected)? - mean(degraded)?) / lost).filter(|_| lost > 0.0)
    };
    if degraded.len() != corrected.len() {
        return None;
    }
    let percent = share(degraded, corrected)?;
    let resampled = bootstrap(degraded.len(), |dies| {
        share(&pick(degraded, dies), &pick(corrected, dies)).unwrap_or(percent)
    });
    Some(Recovery { percent, ci95: resampled.middle95() })
}

/// What is still lost to the reference, in points of percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Reference less the mean over all dies; negative where the dies do better.
    pub points: f64,
    /// One-sided 95 % bootstrap bound over dies: the loss is this or less.
    pub upper95: f64,
}

/// The points that dies lose to the reference; `None` without a die.
pub fn lose(reference: f64, corrected: &[f64]) -> Option<Loss> {
    let points = reference - mean(corrected)?;
    let resampled = bootstrap(corrected.len(), |dies| {
        mean(&pick(corrected, dies)).map_or(points, |mean| reference - mean)
    });
    Some(Loss { points, upper95: resampled.quantile(0.95) })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn pick(values: &[f64], dies: &[usize]) -> Vec<f64> {
    dies.iter().map(|&die| values[die]).collect()
}

/// A statistic over resampled dies, in ascending order.
struct Resampled(Vec<f64>);

impl Resampled {
    fn quantile(&self, share: f64) -> f64 {
        self.0[(share * f64::from(RESAMPLES - 1)).round() as usize]
    }

    /// The interval that leaves 2.5 % on either side.
    fn middle95(&self) -> [f64; 2] {
        [self.quantile(0.025), self.quantile(0.975)]
    }
}

/// A statistic over resampled dies; draws are the same for every statistic of `n` dies.
fn bootstrap(n: usize, statistic: impl Fn(&[usize]) -> f64) -> Resampled {
    // A fixed stream of its own: the interval is part of the result and must not depend on a seed.
    let stream = Stream::new(0, u64::MAX, Effect::OutputNoise);
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|round| {
            let dies: Vec<usize> = (0..n as u32)
                .map(|place| {
                    ((stream.uniform([round, place, 0, 0]) * n as f64) as usize).min(n - 1)
                })
                .collect();
            statistic(&dies)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    Resampled(values)
}

#[cfg(test)]
mod tests {
    use super::{lose, recover, summarize};

    #[test]
    fn a_summary_of_known_numbers() {
        let summary = summarize(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((summary.mean, summary.min, summary.max), (2.5, 1.0, 4.0));
        assert!((summary.std - 1.290_994).abs() < 1e-6);
        assert!(summary.ci95[0] > 1.0 && summary.ci95[0] < 2.0, "{:?}", summary.ci95);
        assert!(summary.ci95[1] > 3.0 && summary.ci95[1] < 4.0, "{:?}", summary.ci95);
        assert_eq!(summarize(&[]), None);
        assert_eq!(summarize(&[7.0]).unwrap().ci95, [7.0, 7.0]);
    }

    #[test]
    fn recovery_is_a_ratio_of_means_over_paired_dies() {
        let recovery = recover(99.0, &[10.0, 20.0], &[90.0, 98.0]).unwrap();
        assert!((recovery.percent - 100.0 * (94.0 - 15.0) / (99.0 - 15.0)).abs() < 1e-9);
        assert!(recovery.ci95[0] <= recovery.percent && recovery.percent <= recovery.ci95[1]);
        assert_eq!(recover(99.0, &[99.0], &[99.0]), None);
        assert_eq!(recover(99.0, &[50.0], &[]), None);
    }
    #[test]
    fn a_loss_is_bounded_from_above() {
        let loss = lose(99.0, &[95.0, 96.0, 97.0, 98.0]).unwrap();
        assert!((loss.points - 2.5).abs() < 1e-12);
        // The one-sided bound lies inside the upper end of the two-sided interval.
        let low = summarize(&[95.0, 96.0, 97.0, 98.0]).unwrap().ci95[0];
        assert!(loss.points < loss.upper95 && loss.upper95 <= 99.0 - low, "{loss:?}, {low}");
        assert!(lose(99.0, &[99.5]).unwrap().upper95 < 0.0);
        assert_eq!(lose(99.0, &[]), None);
    }
}
