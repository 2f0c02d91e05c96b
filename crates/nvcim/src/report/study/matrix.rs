//! The matrix as heat maps: chips by networks, and for each network chips by methods.

use super::Findings;
use crate::report::html::{code, escape, paragraph, section};
use crate::report::number::{fixed, percent};
use crate::study::figures::SHARES_FROM;
use crate::study::method::Method;
use crate::study::summary::{CellSummary, MethodSummary};

pub(super) fn write(findings: &Findings<'_>) -> String {
    let Findings { agenda, summary, .. } = findings;
    let mut body = paragraph(
        "The large number is mean accuracy over dies in percent, the small one the share of the naive loss that \
         came back. Where naive loses under 10 points no share is stated, and the small number is the points left. \
         Blue is nothing left to recover, orange nothing recovered.",
    );
    body += "<p class=\"ramp\"><span>nothing recovered</span><i></i><span>all</span></p>\n";
    if let Some((method, _)) = summary.strongest()
        && agenda.networks.len() > 1
    {
        body += &format!("<h3>{}, by network</h3>\n", method.name());
        body += &by_network(findings, method);
    }
    for (at, network) in agenda.networks.iter().enumerate() {
        let cells: Vec<&CellSummary> =
            summary.cells.iter().filter(|cell| agenda.cells[cell.cell].network == at).collect();
        let float = cells.iter().find_map(|cell| cell.reference);
        let float = float.map_or(String::new(), |it| format!(", float {}", percent(it, 2)));
        body += &format!("<h3>{}, by method{float}</h3>\n", code(&network.name));
        body += &by_method(findings, &cells);
    }
    section("matrix", "The matrix", &body)
}

fn by_network(findings: &Findings<'_>, method: Method) -> String {
    let Findings { agenda, summary, .. } = findings;
    let heads: Vec<String> = agenda.networks.iter().map(|it| escape(&it.name)).collect();
    let chips = agenda.chips.iter().enumerate().filter(|(_, chip)| chip.sweep.is_none());
    let rows = chips.map(|(at, chip)| {
        let cell_of = |network: usize| {
            let place = |cell: &&CellSummary| {
                let item = &agenda.cells[cell.cell];
                (item.network, item.chip) == (network, at)
            };
            summary.cells.iter().find(place)
        };
        let cells = (0..agenda.networks.len()).map(|network| {
            heat(cell_of(network).and_then(|cell| Some((cell, cell.find(method)?))))
        });
        format!("{}{}", head(&chip.name, &chip.about), cells.collect::<String>())
    });
    table(&heads, rows)
}

fn by_method(findings: &Findings<'_>, cells: &[&CellSummary]) -> String {
    let methods = findings.methods();
    let heads: Vec<String> = methods.iter().map(|method| method.name().to_owned()).collect();
    let rows = cells.iter().map(|cell| {
        let chip = &findings.agenda.chips[findings.agenda.cells[cell.cell].chip];
        let cells: String =
            methods.iter().map(|it| heat(cell.find(*it).map(|found| (*cell, found)))).collect();
        format!("{}{cells}", head(&chip.name, &chip.about))
    });
    table(&heads, rows)
}

fn head(name: &str, about: &str) -> String {
    format!("<th scope=\"row\"><b>{}</b><small>{}</small></th>", escape(name), escape(about))
}

fn table(heads: &[String], rows: impl Iterator<Item = String>) -> String {
    let heads: String =
        heads.iter().map(|head| format!("<th scope=\"col\" class=\"n\">{head}</th>")).collect();
    let rows: String = rows.map(|row| format!("<tr>{row}</tr>\n")).collect();
    format!(
        "<div class=\"scroll\"><table class=\"heat\"><thead><tr><th scope=\"col\">chip</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// One coloured cell.
fn heat(found: Option<(&CellSummary, &MethodSummary)>) -> String {
    let Some((cell, it)) = found else { return "<td class=\"n\">\u{2013}</td>".to_owned() };
    let figures = &it.figures;
    let (note, share) = match figures.from_naive {
        Some(recovery) => (percent(recovery.percent, 1), recovery.percent),
        None if it.method == Method::Naive => {
            let lost = figures.lost.points;
            (format!("{} lost", fixed(lost, 1)), 100.0 * (1.0 - lost / SHARES_FROM))
        }
        None => {
            let lost = figures.lost.points;
            (format!("{} left", fixed(lost, 2)), 100.0 * (1.0 - lost / SHARES_FROM))
        }
    };
    let spread = figures.accuracy;
    format!(
        "<td class=\"n h\" style=\"--h:{:.0}%\" title=\"{} dies, {} to {}\"><b>{}</b><small>{note}</small></td>",
        share.clamp(0.0, 100.0),
        cell.dies.len(),
        percent(spread.min, 2),
        percent(spread.max, 2),
        fixed(spread.mean, 2),
    )
}
