//! The report of a study: one self-contained HTML page with inline SVG and no network.
//!
//! The same results give the same bytes. A script sorts the tables and saves them as CSV; without it, and on
//! paper, nothing is missing.

mod cells;
mod exhibit;
mod headline;
mod matrix;
mod origin;
mod sweeps;
#[cfg(test)]
mod tests;
mod waterfalls;

use super::html::document_with_script;
use crate::study::agenda::Agenda;
use crate::study::exhibit::Exhibit;
use crate::study::method::Method;
use crate::study::summary::{CellSummary, Summary};

/// What the page is about.
#[derive(Clone, Copy)]
struct Findings<'a> {
    agenda: &'a Agenda,
    summary: &'a Summary,
    exhibit: Option<&'a Exhibit>,
}

/// Writes the whole page.
pub fn write_study(agenda: &Agenda, summary: &Summary, exhibit: Option<&Exhibit>) -> String {
    let findings = Findings { agenda, summary, exhibit };
    let sections = [
        headline::write(&findings),
        matrix::write(&findings),
        cells::write(&findings),
        waterfalls::write(&findings),
        sweeps::write(&findings),
        exhibit::write(&findings),
        origin::write(&findings),
    ];
    document_with_script(&agenda.name, &sections.concat())
}

impl Findings<'_> {
    /// Name of a cell's network.
    fn network(&self, cell: &CellSummary) -> &str {
        &self.agenda.networks[self.agenda.cells[cell.cell].network].name
    }

    /// Name of a cell's chip.
    fn chip(&self, cell: &CellSummary) -> &str {
        &self.agenda.chips[self.agenda.cells[cell.cell].chip].name
    }

    /// The methods that were measured on some cell, weakest first.
    fn methods(&self) -> Vec<Method> {
        self.summary.overall.iter().map(|(method, _)| *method).collect()
    }
}

/// The class that colours a method.
fn class_of(method: Method) -> &'static str {
    match method {
        Method::Naive => "naive",
        Method::Closest => "closest",
        Method::Lab => "lab",
        Method::Rows => "rows",
        Method::Corrected => "corrected",
        Method::Trained => "trained",
        Method::Both => "both",
    }
}
