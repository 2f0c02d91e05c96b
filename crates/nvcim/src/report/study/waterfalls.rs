//! What a chip costs: effects switched on one after the other, then what each method brings back.

use super::Findings;
use crate::report::html::{code, escape, legend, paragraph, section};
use crate::report::number::{counted, fixed};
use crate::study::summary::Waterfall;

/// Width of a drawing, of the labels at its left, and of the numbers at its right.
const WIDTH: f64 = 360.0;
const LABELS: f64 = 104.0;
const NUMBERS: f64 = 42.0;

/// Height of a line.
const LINE: f64 = 17.0;

pub(super) fn write(findings: &Findings<'_>) -> String {
    let all = &findings.summary.waterfalls;
    if all.is_empty() {
        return String::new();
    }
    let dies = all.iter().map(|it| it.dies).max().unwrap_or(0);
    let body = [
        paragraph(&format!(
            "Mean accuracy on {} of the naive mapping, as the chip\u{2019}s effects are switched on one after the \
             other in the order in which the signal meets them; below, each method on the same dies with all \
             effects. An effect that comes late finds little left to spoil: the order matters. Dashed: the float network.",
            counted(dies, "die", "dies")
        )),
        legend([
            ("drop", "lost with this effect".to_owned()),
            ("rise", "gained, or above naive with this method".to_owned()),
        ]),
        format!(
            "<div class=\"charts\">\n{}</div>\n",
            all.iter().map(|it| draw(findings, it)).collect::<String>()
        ),
    ];
    section("waterfalls", "Where accuracy goes, and what brings it back", &body.concat())
}

fn place(percent: f64) -> f64 {
    LABELS + (WIDTH - LABELS - NUMBERS) * percent.clamp(0.0, 100.0) / 100.0
}

fn draw(findings: &Findings<'_>, it: &Waterfall) -> String {
    let cell = &findings.summary.cells[it.cell];
    let mut lines = vec![line("level", "no effect", (0.0, it.ideal), it.ideal)];
    let mut before = it.ideal;
    for (name, after) in &it.effects {
        let class = if *after <= before { "drop" } else { "rise" };
        lines.push(line(class, &format!("+ {name}"), (before, *after), *after));
        before = *after;
    }
    for (method, after) in &it.methods {
        let class = if *after >= before { "rise" } else { "drop" };
        lines.push(line(class, method.name(), (before, *after), *after));
    }
    let split = 1 + it.effects.len();
    let height = LINE * (lines.len() as f64 + 0.6) + 6.0;
    let drawn: String = lines
        .iter()
        .enumerate()
        .map(|(at, draw)| {
            let gap = if at >= split { 0.6 } else { 0.0 };
            draw(LINE * (at as f64 + gap))
        })
        .collect();
    let naive = format!(
        "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{height:.1}\"/>",
        LINE * split as f64,
        x = place(before)
    );
    let float = cell.reference.map_or_else(String::new, |float| {
        format!(
            "<line class=\"float\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.1}\"/>",
            x = place(float)
        )
    });
    let (network, chip) = (findings.network(cell), findings.chip(cell));
    format!(
        "<figure><svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
         aria-label=\"accuracy of {} on {} effect by effect\">{float}{naive}{drawn}</svg>\
         <figcaption>{} on {}</figcaption></figure>\n",
        escape(network),
        escape(chip),
        code(network),
        code(chip)
    )
}

/// A line of a drawing, once it is known how far down it is.
fn line<'a>(
    class: &'a str,
    name: &str,
    (from, to): (f64, f64),
    accuracy: f64,
) -> Box<dyn Fn(f64) -> String + 'a> {
    let name = escape(name);
    let (left, right) = (place(from.min(to)), place(from.max(to)));
    Box::new(move |y| {
        format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" class=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <text x=\"{WIDTH}\" y=\"{:.1}\" class=\"end value\">{}</text>\n",
            LABELS - 6.0,
            y + 12.5,
            y + 3.0,
            (right - left).max(1.5),
            LINE - 5.0,
            y + 12.5,
            fixed(accuracy, 1)
        )
    })
}
