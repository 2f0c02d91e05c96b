//! Where the numbers come from, and how to read them.

use super::Findings;
use crate::report::html::{Align, Table, code, escape, section};
use crate::report::number::{count, counted_range};
use crate::report::origin::list;
use crate::study::figures::SHARES_FROM;
use crate::time::after_programming;

pub(super) fn write(findings: &Findings<'_>) -> String {
    let body = [
        list("terms", &define_terms(findings)),
        list("origin", &trace(findings)),
        "<h3>Networks</h3>\n".to_owned(),
        list_networks(findings),
        "<h3>Chips</h3>\n".to_owned(),
        list_chips(findings),
    ];
    section("origin", "How to read this page, and where it comes from", &body.concat())
}

fn define_terms(findings: &Findings<'_>) -> Vec<(String, String)> {
    let yields = format!(
        "Share of dies that lose at most {} points to float.",
        findings.agenda.yield_points
    );
    let shares = format!(
        "(method \u{2212} naive) / (float \u{2212} naive), accuracies averaged over the same dies first. Stated where \
         naive loses {SHARES_FROM} points or more. Above 100\u{202f}% dies beat the float network. For networks that \
         were trained for a chip, float is the better of the original and of the same training with all effects off."
    );
    let terms = [
        ("float", "The ONNX file in 32-bit floating point, on the same test images."),
        ("recovered", &shares),
        (
            "of lab\u{2019}s loss",
            "The same share, counted from what a lab reaches by hand, where that is a point or more below float.",
        ),
        ("good dies", &yields),
        (
            "corrections",
            "See 256 unlabelled training images, the fault map of a die, and what it answers once it is programmed. \
             Test images and labels play no part, nor does the hidden part of a die.",
        ),
    ];
    terms.map(|(term, meaning)| (term.to_owned(), meaning.to_owned())).to_vec()
}

fn trace(findings: &Findings<'_>) -> Vec<(String, String)> {
    let agenda = findings.agenda;
    let dies = agenda.cells.iter().map(|cell| cell.n_dies());
    let (there, asked) = findings.summary.measured;
    let entries = [
        ("command", code(&agenda.command)),
        ("nvcim", escape(&agenda.version)),
        ("measurements", format!("{} of {}", count(there), count(asked))),
        (
            "dies",
            format!(
                "{}, die <i>k</i> is that of <code>nvcim die sample --seed k</code>; noise of runs from seed {}",
                counted_range(dies, "die a chip", "dies a chip"),
                agenda.run_seed
            ),
        ),
    ];
    entries.map(|(term, html)| (term.to_owned(), html)).to_vec()
}

fn list_networks(findings: &Findings<'_>) -> String {
    let columns = [
        ("network", Align::Left),
        ("file, BLAKE3", Align::Left),
        ("test images", Align::Right),
        ("data, BLAKE3 of images and labels", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for it in &findings.agenda.networks {
        table.row(&[escape(&it.name), hashed(&it.model), count(it.images), hashed(&it.data)]);
    }
    table.finish_sortable("networks")
}

fn list_chips(findings: &Findings<'_>) -> String {
    let columns = [
        ("chip", Align::Left),
        ("file, BLAKE3 of the chip", Align::Left),
        ("corrected", Align::Left),
        ("used", Align::Left),
        ("effects", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for it in &findings.agenda.chips {
        let [corrected, used] = [it.times_s.0, it.times_s.1].map(|at_s| {
            after_programming(at_s).replace(" after programming", "").replace("right", "at once")
        });
        table.row(&[escape(&it.name), hashed(&it.file), corrected, used, it.effects.join(" ")]);
    }
    table.finish_sortable("chips")
}

/// A file's name with the start of its hash.
fn hashed((name, hash): &(String, String)) -> String {
    let start: String = hash.chars().take(16).collect();
    format!(
        "{} <code class=\"hash\" title=\"{}\">{}</code>",
        code(name),
        escape(hash),
        escape(&start)
    )
}
