//! Accuracy against the strength of an effect or against time, with the spread over dies.

use super::{Findings, class_of};
use crate::report::html::{code, escape, legend, paragraph, section};
use crate::report::number::percent;
use crate::study::method::Method;
use crate::study::summary::SweepSummary;

/// Width and height of a drawing, and the margins of the plot inside: left, right, top, bottom.
const SIZE: (f64, f64) = (360.0, 230.0);
const MARGINS: (f64, f64, f64, f64) = (38.0, 12.0, 8.0, 40.0);

pub(super) fn write(findings: &Findings<'_>) -> String {
    let all = &findings.summary.sweeps;
    let drawn: String = all.iter().map(|it| draw(findings, it)).collect();
    if drawn.is_empty() {
        return String::new();
    }
    let methods = methods_of(all);
    let mut entries: Vec<(&str, String)> =
        methods.iter().map(|it| (class_of(*it), it.name().to_owned())).collect();
    entries.push(("float", "float network".to_owned()));
    let body = [
        paragraph(
            "Lines are means over dies, bands reach from the worst die to the best. Points stand at equal \
             distances, whatever their values.",
        ),
        legend(entries),
        format!("<div class=\"charts\">\n{drawn}</div>\n"),
    ];
    section("sweeps", "How much is too much", &body.concat())
}

fn methods_of(all: &[SweepSummary]) -> Vec<Method> {
    let measured = |method: &Method| {
        let mut cells = all.iter().flat_map(|it| &it.points);
        cells.any(|point| point.cell.find(*method).is_some())
    };
    Method::ALL.into_iter().filter(measured).collect()
}

fn draw(findings: &Findings<'_>, sweep: &SweepSummary) -> String {
    let points: Vec<_> = sweep.points.iter().filter(|it| !it.cell.methods.is_empty()).collect();
    if points.len() < 2 {
        return String::new();
    }
    let (width, height) = SIZE;
    let (left, right, top, bottom) = MARGINS;
    let x = |at: usize| {
        left + 8.0 + (width - left - right - 16.0) * at as f64 / (points.len() - 1) as f64
    };
    let y =
        |accuracy: f64| top + (height - top - bottom) * (1.0 - accuracy.clamp(0.0, 100.0) / 100.0);
    let mut svg = String::new();
    for tick in [0.0, 25.0, 50.0, 75.0, 100.0] {
        svg += &format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            width - right,
            left - 5.0,
            y(tick) + 4.0,
            percent(tick, 0),
            at = y(tick),
        );
    }
    for (at, point) in points.iter().enumerate() {
        svg += &format!(
            "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            x(at),
            height - bottom + 16.0,
            escape(&point.label)
        );
    }
    let axis = escape(&findings.agenda.sweeps[sweep.sweep].axis);
    svg += &format!(
        "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{axis}</text>\n",
        (left + width - right) / 2.0,
        height - 6.0
    );
    if let Some(float) = points[0].cell.reference {
        svg += &format!(
            "<line class=\"float\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\n",
            width - right,
            at = y(float)
        );
    }
    for method in Method::ALL {
        let found: Vec<_> = points
            .iter()
            .enumerate()
            .filter_map(|(at, point)| Some((x(at), point.cell.find(method)?.figures.accuracy)))
            .collect();
        if found.is_empty() {
            continue;
        }
        let class = class_of(method);
        let path = |values: &mut dyn Iterator<Item = (f64, f64)>| -> String {
            let place = |(x, accuracy): (f64, f64)| format!("{x:.1},{:.1}", y(accuracy));
            values.map(place).collect::<Vec<_>>().join(" ")
        };
        let upper = found.iter().map(|(x, it)| (*x, it.max));
        let lower = found.iter().rev().map(|(x, it)| (*x, it.min));
        let band = path(&mut upper.chain(lower));
        let mean = path(&mut found.iter().map(|(x, it)| (*x, it.mean)));
        svg += &format!(
            "<polygon class=\"band {class}\" points=\"{band}\"></polygon>\
             <polyline class=\"mean {class}\" points=\"{mean}\"></polyline>\n"
        );
        for (x, it) in &found {
            svg += &format!(
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\"/>\n",
                y(it.mean)
            );
        }
    }
    let item = &findings.agenda.sweeps[sweep.sweep];
    let network = &findings.agenda.networks[sweep.network].name;
    format!(
        "<figure><svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"accuracy of {} against {axis}\">{svg}</svg>\
         <figcaption>{}: {}</figcaption></figure>\n",
        escape(network),
        code(network),
        escape(&item.name)
    )
}
