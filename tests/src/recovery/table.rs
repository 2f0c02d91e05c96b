//! From accuracies per die to the rows of the recovery table, as `docs/recovery.md` explains them.

use nvcim::recovery::Recovery;
use nvcim::study::figures::{Baselines, Figures, ROUNDING, SHARES_FROM};

use crate::recovery::cases::{Bounds, Limit};

/// Opens a table in Markdown.
pub const HEADER: &str = "\
| case | network | dies | images | float | method | accuracy | sd | points lost (95 % bound) | from naive, % | \
from lab, % | limit | verdict | compile, CPU s per die |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// What all rows of one case and network have in common.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Name of the case.
    pub case: &'a str,
    /// Name of the network.
    pub network: &'a str,
    /// Test images.
    pub images: usize,
    /// Accuracy of the ONNX file in float, in percent.
    pub float: f64,
    /// What is asked.
    pub limit: Limit,
    /// Accuracies of the naive mapping, one per die.
    pub naive: &'a [f64],
    /// Accuracies of `lab` on the same dies, where it was run.
    pub lab: Option<&'a [f64]>,
}

/// One method on all dies of one case and network.
#[derive(Debug, Clone)]
pub struct Row(Figures);

/// How a row stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bound of the interval reaches what would be better still.
    Stretched,
    /// The bound of the interval reaches what must be reached.
    Met,
    /// The mean reaches it, the bound of the interval does not.
    MetByMean,
    /// Not reached.
    NotMet,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Stretched => "met, stretch too",
            Verdict::Met => "met",
            Verdict::MetByMean => "met by the mean alone",
            Verdict::NotMet => "NOT met",
        }
    }
}

impl Row {
    /// Sums up a method's accuracies, one per die; `None` without dies or where lists do not pair up.
    pub fn new(subject: &Subject<'_>, accuracies: &[f64]) -> Option<Self> {
        let Subject { float, naive, lab, .. } = *subject;
        Figures::new(&Baselines { reference: float, naive, lab }, accuracies).map(Self)
    }

    /// How the row stands to a limit.
    pub fn judge(&self, limit: Limit) -> Verdict {
        let surely = |bounds| {
            self.keeps(bounds, self.0.from_naive.map(|it| it.ci95[0]), self.0.lost.upper95)
        };
        if limit.stretch.is_some_and(surely) {
            Verdict::Stretched
        } else if surely(limit.must) {
            Verdict::Met
        } else if self.keeps(limit.must, self.0.from_naive.map(|it| it.percent), self.0.lost.points)
        {
            Verdict::MetByMean
        } else {
            Verdict::NotMet
        }
    }

    /// Whether one of the bounds is kept. Where naive lost little, points rule; a bound without them becomes
    /// the points that its recovery would leave of a loss of [`SHARES_FROM`].
    fn keeps(&self, bounds: Bounds, recovery: Option<f64>, points: f64) -> bool {
        let recovered = match (bounds.recovery, recovery) {
            (Some(least), Some(percent)) => percent >= least - ROUNDING,
            _ => false,
        };
        let allowed = allowed_points(bounds, self.0.from_naive.is_some());
        recovered || allowed.is_some_and(|most| points <= most + ROUNDING)
    }

    /// The row in Markdown. Naive itself is not judged.
    pub fn print(&self, subject: &Subject<'_>, method: &str, compile_s: Option<f64>) -> String {
        let Subject { case, network, images, float, limit, naive, .. } = subject;
        let Figures { accuracy, lost, from_naive, from_lab } = &self.0;
        let is_naive = method == "naive";
        // A share is asked of what comes after its baseline.
        let share = |recovery: &Option<Recovery>, up_to: &[&str]| match recovery {
            Some(Recovery { percent, ci95: [low, high] }) if !up_to.contains(&method) => {
                format!("{percent:.2} ({low:.2} to {high:.2})")
            }
            _ => "-".to_owned(),
        };
        let shares_count = from_naive.is_some();
        let (limit, verdict) = match is_naive {
            true => ("-".to_owned(), "-"),
            false => (print_limit(*limit, shares_count), self.judge(*limit).name()),
        };
        format!(
            "| {case} | {network} | {} | {images} | {float:.2} | {method} | {:.2} | {:.2} | {:.2} ({:.2}) | {} | {} \
             | {limit} | {verdict} | {} |",
            naive.len(),
            accuracy.mean,
            accuracy.std,
            lost.points,
            lost.upper95,
            share(from_naive, &["naive"]),
            share(from_lab, &["naive", "closest", "lab"]),
            compile_s.map_or("-".to_owned(), |seconds| format!("{seconds:.2}")),
        )
    }
}

/// The points that may be lost, where points rule.
fn allowed_points(bounds: Bounds, shares_count: bool) -> Option<f64> {
    let left = bounds.recovery.map(|least| SHARES_FROM * (100.0 - least) / 100.0);
    bounds.points.or(left.filter(|_| !shares_count))
}

fn print_limit(limit: Limit, shares_count: bool) -> String {
    let print = |bounds: Bounds| {
        let share = bounds.recovery.filter(|_| shares_count).map(|least| format!(">= {least} %"));
        let points =
            allowed_points(bounds, shares_count).map(|most| format!("<= {most:.2} points"));
        share.into_iter().chain(points).collect::<Vec<_>>().join(" or ")
    };
    match limit.stretch {
        Some(stretch) => format!("{} ({})", print(limit.must), print(stretch)),
        None => print(limit.must),
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Subject, Verdict};
    use crate::recovery::cases::{Bounds, Limit};

    const fn limit(recovery: Option<f64>, points: Option<f64>) -> Limit {
        Limit { must: Bounds { recovery, points }, stretch: None }
    }

    fn judge(naive: &[f64], accuracies: &[f64], limit: Limit) -> Verdict {
        let subject =
            Subject { case: "c", network: "n", images: 100, float: 90.0, limit, naive, lab: None };
        Row::new(&subject, accuracies).unwrap().judge(limit)
    }

    #[test]
    fn the_lower_end_of_the_interval_must_reach_the_limit() {
        let naive = [10.0, 10.0];
        assert_eq!(judge(&naive, &[89.0, 89.0], limit(Some(98.0), None)), Verdict::Met);
        assert_eq!(judge(&naive, &[87.6, 89.6], limit(Some(98.0), None)), Verdict::MetByMean);
        assert_eq!(judge(&naive, &[80.0, 80.0], limit(Some(98.0), None)), Verdict::NotMet);
        let better = Limit {
            stretch: Some(Bounds { recovery: Some(98.5), points: None }),
            ..limit(Some(98.0), None)
        };
        assert_eq!(judge(&naive, &[89.0, 89.0], better), Verdict::Stretched);
        assert_eq!(judge(&naive, &[88.5, 88.5], better), Verdict::Met);
    }

    #[test]
    fn small_losses_are_judged_in_points() {
        let naive = [85.0, 85.0];
        assert_eq!(judge(&naive, &[89.9, 89.9], limit(Some(98.0), None)), Verdict::Met);
        assert_eq!(judge(&naive, &[89.7, 89.7], limit(Some(98.0), None)), Verdict::NotMet);
        assert_eq!(judge(&naive, &[89.7, 89.7], limit(Some(98.0), Some(0.3))), Verdict::Met);
        assert_eq!(judge(&naive, &[89.5, 89.5], limit(Some(85.0), None)), Verdict::Met);
        assert_eq!(judge(&naive, &[89.5, 89.5], limit(Some(85.0), Some(0.3))), Verdict::NotMet);
    }

    #[test]
    fn points_count_where_naive_lost_much_too() {
        let naive = [10.0, 10.0];
        assert_eq!(judge(&naive, &[89.8, 89.8], limit(None, Some(0.3))), Verdict::Met);
        assert_eq!(judge(&naive, &[89.6, 89.6], limit(None, Some(0.3))), Verdict::NotMet);
        assert_eq!(judge(&naive, &[89.8, 89.8], limit(Some(99.99), Some(0.3))), Verdict::Met);
    }

    #[test]
    fn a_row_names_what_it_is_about() {
        let subject = Subject {
            case: "stuck-a",
            network: "lenet",
            images: 100,
            float: 90.0,
            limit: limit(Some(98.0), None),
            naive: &[10.0],
            lab: Some(&[50.0]),
        };
        let row = Row::new(&subject, &[70.0]).unwrap();
        assert_eq!(
            row.print(&subject, "full", Some(0.5)),
            "| stuck-a | lenet | 1 | 100 | 90.00 | full | 70.00 | 0.00 | 20.00 (20.00) | 75.00 (75.00 to 75.00) \
             | 50.00 (50.00 to 50.00) | >= 98 % | NOT met | 0.50 |"
        );
    }
}
