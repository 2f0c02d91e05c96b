//! Every cell in numbers: recovery with its interval, points left, good dies.

use super::Findings;
use crate::recovery::Recovery;
use crate::report::html::{Align, Table, escape, paragraph, section};
use crate::report::number::fixed;
use crate::study::method::Method;

/// Shown where a number does not exist.
const NONE: &str = "\u{2013}";

const COLUMNS: [(&str, Align); 12] = [
    ("network", Align::Left),
    ("chip", Align::Left),
    ("method", Align::Left),
    ("dies", Align::Right),
    ("float %", Align::Right),
    ("accuracy %", Align::Right),
    ("sd", Align::Right),
    ("recovered %", Align::Right),
    ("95 % interval", Align::Right),
    ("of lab\u{2019}s loss %", Align::Right),
    ("points left (95 % bound)", Align::Right),
    ("good dies %", Align::Right),
];

pub(super) fn write(findings: &Findings<'_>) -> String {
    let mut table = Table::new(&COLUMNS);
    for cell in &findings.summary.cells {
        for it in
            cell.methods.iter().filter(|it| it.method != Method::Naive || cell.methods.len() == 1)
        {
            let figures = &it.figures;
            let interval = |Recovery { ci95: [low, high], .. }: Recovery| {
                format!("{} to {}", fixed(low, 1), fixed(high, 1))
            };
            table.row(&[
                escape(findings.network(cell)),
                escape(findings.chip(cell)),
                it.method.name().to_owned(),
                it.accuracies.len().to_string(),
                fixed(it.reference, 2),
                fixed(figures.accuracy.mean, 2),
                fixed(figures.accuracy.std, 2),
                figures.from_naive.map_or(NONE.to_owned(), |it| fixed(it.percent, 1)),
                figures.from_naive.map_or(NONE.to_owned(), interval),
                figures.from_lab.map_or(NONE.to_owned(), |it| fixed(it.percent, 1)),
                format!("{} ({})", fixed(figures.lost.points, 2), fixed(figures.lost.upper95, 2)),
                fixed(it.yield_percent, 0),
            ]);
        }
    }
    let body = [
        paragraph(
            "Intervals are paired bootstraps over dies: how far other dies of the same chip may differ, not other \
             test images. The bound of the points left is one-sided.",
        ),
        format!(
            "<details class=\"numbers\"><summary>Every cell and method in numbers</summary>\n{}</details>\n",
            table.finish_sortable("cells")
        ),
    ];
    section("cells", "Recovery in numbers", &body.concat())
}
