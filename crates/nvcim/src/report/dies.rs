//! Accuracy of every die, before and after correction: a dot plot and its table.

use super::Page;
use super::html::{Align, Table, legend, paragraph, section};
use super::number::{fixed, percent};
use crate::campaign::{DieOutcome, Outcome};
use crate::recovery::Summary;

/// Height of a die's line, and of the axis below all, in pixels.
const LINE_HEIGHT: usize = 24;

/// The part of the width that the plot itself takes, in percent; names of dies stand left of it.
const PLOT: (f64, f64) = (11.0, 96.0);

/// Most names of dies beside each other on the axis.
const MAX_NAMES: usize = 40;

pub(super) fn write(page: &Page<'_>) -> String {
    let outcome = page.outcome;
    if outcome.dies.is_empty() {
        return section("dies", "Accuracy of every die", &paragraph("No die was simulated."));
    }
    let entries = [("naive", "naive"), ("corrected", "corrected"), ("float", "float network")];
    let body = [
        legend(entries.map(|(class, name)| (class, name.to_owned()))),
        draw(outcome),
        write_table(page),
    ];
    section("dies", "Accuracy of every die", &body.concat())
}

/// A linear axis in percent of accuracy, mapped to percent of the drawing's width.
struct Axis {
    low: f64,
    step: f64,
}

impl Axis {
    /// An axis from a round number below every value to 100 %.
    fn new(outcome: &Outcome) -> Self {
        let dies = outcome.dies.iter().flat_map(|die| [die.naive, die.corrected]);
        let lowest = dies.fold(outcome.float_accuracy, f64::min);
        let step = match 100.0 - lowest {
            span if span > 50.0 => 20.0,
            span if span > 20.0 => 10.0,
            span if span > 8.0 => 5.0,
            _ => 2.0,
        };
        let low = ((lowest / step).floor() * step).clamp(0.0, 100.0 - step);
        Self { low, step }
    }

    fn place(&self, percent: f64) -> String {
        let share = (percent - self.low) / (100.0 - self.low);
        format!("{:.2}%", PLOT.0 + (PLOT.1 - PLOT.0) * share)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((100.0 - self.low) / self.step).floor() as usize;
        let (low, step) = (self.low, self.step);
        (0..=count).map(move |tick| low + step * tick as f64)
    }
}

/// One line per die. Widths are in percent, so that text keeps its size on a narrow page.
fn draw(outcome: &Outcome) -> String {
    let axis = Axis::new(outcome);
    let bottom = LINE_HEIGHT * outcome.dies.len();
    let grid: String = axis
        .ticks()
        .map(|tick| {
            let x = axis.place(tick);
            format!(
                "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{bottom}\"/>\
                 <text class=\"middle\" x=\"{x}\" y=\"{}\">{}</text>\n",
                bottom + 18,
                percent(tick, 0)
            )
        })
        .collect();
    let float = axis.place(outcome.float_accuracy);
    let named_every = outcome.dies.len().div_ceil(MAX_NAMES);
    let dies: String = outcome
        .dies
        .iter()
        .enumerate()
        .map(|(place, die)| draw_die(&axis, place, die, place.is_multiple_of(named_every)))
        .collect();
    format!(
        "<svg class=\"dots\" width=\"100%\" height=\"{}\" role=\"img\" \
         aria-label=\"naive and corrected accuracy of every die, listed in the table below\">\n{grid}\
         <line class=\"float\" x1=\"{float}\" x2=\"{float}\" y1=\"0\" y2=\"{bottom}\"/>\n{dies}</svg>\n",
        bottom + LINE_HEIGHT,
    )
}

fn draw_die(axis: &Axis, place: usize, die: &DieOutcome, named: bool) -> String {
    let y = LINE_HEIGHT * place + LINE_HEIGHT / 2;
    let (naive, corrected) = (axis.place(die.naive), axis.place(die.corrected));
    let name = if named {
        format!("<text x=\"0\" y=\"{}\">die {}</text>", y + 4, die.seed)
    } else {
        String::new()
    };
    format!(
        "<g><title>die {}: naive {}, corrected {}</title>{name}\
         <line class=\"span\" x1=\"{naive}\" x2=\"{corrected}\" y1=\"{y}\" y2=\"{y}\"/>\
         <circle class=\"naive\" cx=\"{naive}\" cy=\"{y}\" r=\"5\"/>\
         <circle class=\"corrected\" cx=\"{corrected}\" cy=\"{y}\" r=\"5\"/></g>\n",
        die.seed,
        percent(die.naive, 2),
        percent(die.corrected, 2),
    )
}

fn write_table(page: &Page<'_>) -> String {
    let columns = [
        ("die", Align::Left),
        ("naive %", Align::Right),
        ("corrected %", Align::Right),
        ("gain, points", Align::Right),
        ("left to float, points", Align::Right),
    ];
    let float = page.outcome.float_accuracy;
    let row = |name: String, naive: f64, corrected: f64| {
        let values = [naive, corrected, corrected - naive, float - corrected];
        let mut cells = vec![name];
        cells.extend(values.map(|value| fixed(value, 2)));
        cells
    };
    let mut table = Table::new(&columns);
    for die in &page.outcome.dies {
        table.row(&row(die.seed.to_string(), die.naive, die.corrected));
    }
    let summaries = (page.summary(|die| die.naive), page.summary(|die| die.corrected));
    if let (Some(naive), Some(corrected)) = summaries {
        table.foot(&row("mean".to_owned(), naive.mean, corrected.mean));
        let spread = |name: &str, pick: fn(&Summary) -> String| {
            let mut cells = vec![name.to_owned(), pick(&naive), pick(&corrected)];
            cells.resize(columns.len(), String::new());
            cells
        };
        if page.outcome.dies.len() > 1 {
            table.foot(&spread("sd over dies", |it| fixed(it.std, 2)));
            table.foot(&spread("95\u{202f}% of mean", |it| {
                format!("{} to {}", fixed(it.ci95[0], 2), fixed(it.ci95[1], 2))
            }));
        }
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, check_markup};
    use super::{Axis, write};

    #[test]
    fn the_axis_is_round_and_holds_every_value() {
        let mut outcome = Sample::shared().outcome.clone();
        outcome.float_accuracy = 99.0;
        for (naive, low, last) in [(8.0, 0.0, 100.0), (55.0, 50.0, 100.0), (97.3, 96.0, 100.0)] {
            outcome.dies[0].naive = naive;
            outcome.dies.truncate(1);
            outcome.dies[0].corrected = 98.0;
            let axis = Axis::new(&outcome);
            assert_eq!(axis.ticks().next(), Some(low));
            assert_eq!(axis.ticks().last(), Some(last));
        }
        outcome.dies[0].naive = 100.0;
        outcome.dies[0].corrected = 100.0;
        outcome.float_accuracy = 100.0;
        assert_eq!(Axis::new(&outcome).low, 98.0);
    }

    #[test]
    fn every_die_has_its_dots_and_its_row() {
        let sample = Sample::shared();
        let html = sample.page(write);
        check_markup(&html);
        let n_dies = sample.outcome.dies.len();
        assert_eq!(html.matches("<circle class=\"naive\"").count(), n_dies);
        assert_eq!(html.matches("<circle class=\"corrected\"").count(), n_dies);
        assert_eq!(html.matches("<tr>").count(), 1 + n_dies + 3);
    }
}
