//! The headline: what comes back on average, where least, and how many dies are good.

use super::Findings;
use crate::recovery::summarize;
use crate::report::html::{code, escape, paragraph};
use crate::report::number::{count, counted, counted_range, fixed, percent};
use crate::study::method::Method;
use crate::study::summary::Overall;

pub(super) fn write(findings: &Findings<'_>) -> String {
    let Findings { agenda, .. } = findings;
    format!(
        "<section id=\"headline\">\n<p class=\"kicker\">{}</p>\n<h1>{}</h1>\n\
         <p class=\"lead\">{}</p>\n<div class=\"figures\">\n{}</div>\n{}{}</section>\n",
        escape(&agenda.description),
        escape(&agenda.name),
        say_verdict(findings),
        write_figures(findings),
        say_methods(findings),
        say_missing(findings),
    )
}

/// Points that the naive mapping loses, over all cells.
fn mean_loss(findings: &Findings<'_>) -> Option<f64> {
    let cells = findings.summary.cells.iter();
    let lost: Vec<f64> =
        cells.filter_map(|cell| Some(cell.find(Method::Naive)?.figures.lost.points)).collect();
    summarize(&lost).map(|it| it.mean)
}

fn say_verdict(findings: &Findings<'_>) -> String {
    let Findings { agenda, summary, .. } = findings;
    let known: Vec<_> = summary.cells.iter().filter(|cell| !cell.methods.is_empty()).collect();
    let (Some(lost), Some((method, overall))) = (mean_loss(findings), summary.strongest()) else {
        return "No cell has been measured yet.".to_owned();
    };
    let dies = known.iter().map(|cell| cell.dies.len());
    let text = format!(
        "{} on {}, {} each: the naive mapping loses {} points of accuracy on average.",
        counted(agenda.networks.len(), "network", "networks"),
        counted(summary.cells.len() / agenda.networks.len().max(1), "chip", "chips"),
        counted_range(dies, "simulated die", "simulated dies"),
        fixed(lost, 1),
    );
    match (overall.mean_recovery, overall.worst_recovery) {
        (Some(mean), Some((worst, at))) => format!(
            "{text} Of that, <em>{}</em> brings back <strong>{}</strong> in the mean over cells, and {} where it \
             brings back least, on {}.",
            method.name(),
            percent(mean, 1),
            percent(worst, 1),
            code(&format!(
                "{} on {}",
                findings.network(&summary.cells[at]),
                findings.chip(&summary.cells[at])
            )),
        ),
        _ => format!(
            "{text} That is too little for a share of it to say much: <em>{}</em> leaves at most {} points.",
            method.name(),
            fixed(overall.most_points_elsewhere.unwrap_or(0.0), 2)
        ),
    }
}

fn write_figures(findings: &Findings<'_>) -> String {
    let overall = |method| findings.summary.overall.iter().find(|(it, _)| *it == method);
    let mut figures = String::new();
    if let Some((method, Overall { mean_recovery, worst_recovery, n_stated, .. })) =
        findings.summary.strongest()
    {
        let name = method.name();
        if let (Some(mean), Some((worst, _))) = (mean_recovery, worst_recovery) {
            let cells = counted(n_stated, "cell", "cells");
            figures +=
                &figure("gain", &share(mean), "recovered, mean", &format!("{name}, {cells}"));
            figures +=
                &figure("gain", &share(worst), "recovered, worst", &format!("{name}, one cell"));
        }
    }
    let strongest = findings.summary.strongest().map(|(method, _)| method);
    if let Some((method, Overall { mean_recovery: Some(mean), n_stated, .. })) =
        overall(Method::Both).filter(|(method, _)| Some(*method) != strongest)
    {
        let note = format!("{}, {}", method.name(), counted(*n_stated, "cell", "cells"));
        figures += &figure("gain", &share(*mean), "trained too, mean", &note);
    }
    if let Some((_, Overall { mean_recovery: Some(mean), .. })) = overall(Method::Lab) {
        figures += &figure("", &share(*mean), "by hand, mean", "what a lab does today: lab");
    }
    for method in [Some(Method::Naive), strongest].into_iter().flatten() {
        if let Some((_, it)) = overall(method) {
            let name = format!("good dies, {}", method.name());
            let note =
                format!("at most {} points below float", fixed(findings.agenda.yield_points, 1));
            let class = if method == Method::Naive { "naive" } else { "gain" };
            figures += &figure(class, &share(it.yield_percent), &name, &note);
        }
    }
    figures
}

fn share(value: f64) -> String {
    format!("{}<small> %</small>", fixed(value, 1))
}

fn figure(class: &str, html: &str, name: &str, note: &str) -> String {
    format!(
        "<div class=\"figure {class}\"><span class=\"name\">{name}</span><strong>{html}</strong>\
         <span class=\"note\">{note}</span></div>\n"
    )
}

fn say_methods(findings: &Findings<'_>) -> String {
    let meaning = |method| match method {
        Method::Naive => "nominal weights, nothing known of the die",
        Method::Closest => "pairs as near to their weights as stuck cells let them",
        Method::Lab => {
            "the same with converter ranges, gain and offset of the die: what a lab does by hand"
        }
        Method::Rows => "the same on rows chosen against the fault map",
        Method::Corrected => "every correction that the chip can hold",
        Method::Trained => "the naive mapping of a network trained for the chip",
        Method::Both => "every correction, on the network trained for the chip",
    };
    let entry = |method: Method| format!("<em>{}</em>: {}", method.name(), meaning(method));
    let methods: Vec<_> = findings.methods().into_iter().map(entry).collect();
    paragraph(&format!("{}.", methods.join("; ")))
}

fn say_missing(findings: &Findings<'_>) -> String {
    let (there, asked) = findings.summary.measured;
    if there == asked {
        return String::new();
    }
    let text = format!("{} of {} measurements are there so far", count(there), count(asked));
    format!(
        "<div class=\"warnings\"><p>{text}: run the study again, or merge its other parts.</p></div>\n"
    )
}
