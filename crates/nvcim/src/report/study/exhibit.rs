//! A look into one die: signal-to-noise ratio of layers, converters, cells, mistakes, and where everything sits.

use super::Findings;
use crate::report::html::{Align, Table, code, escape, legend, paragraph, section};
use crate::report::number::{count, counted, fixed, percent, siemens};
use crate::study::exhibit::{BINS, CELL_BINS, Exhibit, LayerView};

/// Width of a drawing and of the labels at its left.
const WIDTH: f64 = 360.0;
const LABELS: f64 = 70.0;

/// Height of a line of the drawing of layers.
const LINE: f64 = 20.0;

/// Height of a histogram's half.
const HALF: f64 = 46.0;

/// Most layers whose histograms are drawn.
const MAX_LAYERS: usize = 12;

/// Most classes whose confusion is drawn.
const MAX_CLASSES: usize = 20;

/// Names of the two images that are compared.
const IMAGES: [&str; 2] = ["naive", "corrected"];

pub(super) fn write(findings: &Findings<'_>) -> String {
    let Some(it) = findings.exhibit else { return String::new() };
    let lead = paragraph(&format!(
        "Die {} of {}, with {}: the naive mapping reaches {}, with every correction {}, on {}.",
        it.die,
        code(&it.chip),
        code(&it.network),
        percent(it.accuracy[0], 2),
        percent(it.accuracy[1], 2),
        counted(it.images, "test image", "test images"),
    ));
    let entries = IMAGES.map(|name| (name, name.to_owned()));
    let body = [
        lead,
        legend(entries),
        "<div class=\"charts\">\n".to_owned(),
        draw_layers(it),
        draw_cells(it),
        "</div>\n".to_owned(),
        list_layers(it),
        draw_converters(it),
        draw_confusions(it),
    ];
    section("exhibit", "A look into one die", &body.concat()) + &it.anatomy
}

fn draw_layers(it: &Exhibit) -> String {
    let all = it.layers.iter().flat_map(|layer| layer.snr_entire_db);
    let (low, high) = all.fold((0.0f64, 10.0f64), |(low, high), db| (low.min(db), high.max(db)));
    let (low, high) = ((low / 10.0).floor() * 10.0, (high / 10.0).ceil() * 10.0);
    let x = |db: f64| LABELS + 8.0 + (WIDTH - LABELS - 20.0) * (db - low) / (high - low);
    let bottom = LINE * it.layers.len() as f64;
    let step = if high - low > 60.0 { 20.0 } else { 10.0 };
    let ticks = (0..=((high - low) / step) as usize).map(|tick| low + step * tick as f64);
    let grid: String = ticks
        .map(|tick| {
            format!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom:.0}\"/>\
                 <text class=\"middle\" x=\"{x:.1}\" y=\"{:.0}\">{}</text>\n",
                bottom + 15.0,
                fixed(tick, 0),
                x = x(tick)
            )
        })
        .collect();
    let layers: String = it
        .layers
        .iter()
        .enumerate()
        .map(|(at, layer)| {
            let y = LINE * (at as f64 + 0.5);
            let [before, after] = layer.snr_entire_db.map(x);
            format!(
                "<text class=\"end\" x=\"{:.0}\" y=\"{:.1}\">{}</text>\
                 <line class=\"span\" x1=\"{before:.1}\" x2=\"{after:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <circle class=\"naive\" cx=\"{before:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
                 <circle class=\"corrected\" cx=\"{after:.1}\" cy=\"{y:.1}\" r=\"4\"/>\n",
                LABELS,
                y + 4.0,
                shorten(&layer.name),
            )
        })
        .collect();
    format!(
        "<figure><svg class=\"chart\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" \
         aria-label=\"signal-to-noise ratio of every layer\">{grid}{layers}</svg>\
         <figcaption>Signal-to-noise ratio of each layer\u{2019}s output in dB, fed with what the layers before it \
         made</figcaption></figure>\n",
        bottom + 22.0
    )
}

/// As much of a layer's name as has room, its end.
fn shorten(name: &str) -> String {
    let n = name.chars().count();
    match n {
        0..=10 => escape(name),
        _ => format!("\u{2026}{}", escape(&name.chars().skip(n - 9).collect::<String>())),
    }
}

fn list_layers(it: &Exhibit) -> String {
    let columns = [
        ("layer", Align::Left),
        ("SNR naive, dB", Align::Right),
        ("SNR corrected, dB", Align::Right),
        ("alone naive, dB", Align::Right),
        ("alone corrected, dB", Align::Right),
        ("clipped naive %", Align::Right),
        ("clipped corrected %", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for layer in &it.layers {
        let db = layer.snr_entire_db.into_iter().chain(layer.snr_single_db).map(|db| fixed(db, 1));
        let clipped = layer.clipped_percent.into_iter().map(|share| fixed(share, 3));
        table.row(&[escape(&layer.name)].into_iter().chain(db).chain(clipped).collect::<Vec<_>>());
    }
    let note = "<em>Alone</em> is fed with the float network\u{2019}s own inputs.";
    table.finish_sortable("layers") + &paragraph(note)
}

fn draw_cells(it: &Exhibit) -> String {
    let cells = &it.cells;
    let n = CELL_BINS as f64;
    let most = cells.counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let mut svg = format!("<rect class=\"paper\" width=\"{n}\" height=\"{n}\"/>");
    for (target, counts) in cells.counts.iter().enumerate() {
        for (programmed, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let shade = libm::log1p(f64::from(count)) / libm::log1p(f64::from(most));
            svg += &format!(
                "<rect class=\"count\" x=\"{target}\" y=\"{}\" width=\"1\" height=\"1\" style=\"fill-opacity:{:.2}\"/>",
                CELL_BINS - 1 - programmed,
                0.08 + 0.92 * shade
            );
        }
    }
    let (low, high) = cells.range_siemens;
    format!(
        "<figure><svg class=\"square\" viewBox=\"0 0 {n} {n}\" role=\"img\" \
         aria-label=\"conductances programmed against targets\">{svg}\
         <line class=\"diagonal\" x1=\"0\" y1=\"{n}\" x2=\"{n}\" y2=\"0\"/></svg>\
         <figcaption>Cells of the corrected image: target to the right, conductance at the time of use upwards, both \
         from {} to {}; the stronger the colour, the more, on a logarithmic scale. They differ by {} of the range, root mean \
         square.</figcaption></figure>\n",
        siemens(low),
        siemens(high),
        percent(cells.rms_percent, 1)
    )
}

fn draw_converters(it: &Exhibit) -> String {
    let drawn: String = it.layers.iter().take(MAX_LAYERS).map(draw_converter).collect();
    let more = it.layers.len().saturating_sub(MAX_LAYERS);
    let more = if more > 0 {
        format!(" {} more layers are not drawn.", count(more))
    } else {
        String::new()
    };
    format!(
        "<h3>What converters are given</h3>\n{}<div class=\"charts small\">\n{drawn}</div>\n",
        paragraph(&format!(
            "Upwards the naive image, downwards the corrected one, each in its own ranges: between the lines a \
             conversion has a code, beyond them it clips. Heights are square roots of counts.{more}"
        ))
    )
}

fn draw_converter(layer: &LayerView) -> String {
    let step = WIDTH / BINS as f64;
    let bars = |counts: &[u64], class: &str, up: bool| -> String {
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let drawn = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        drawn
            .map(|(at, count)| {
                let height = (HALF * (*count as f64 / most).sqrt()).max(0.8);
                let top = if up { HALF - height } else { HALF };
                format!(
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    step * at as f64,
                    step - 0.6
                )
            })
            .collect()
    };
    let [naive, corrected] = &layer.conversions;
    let clip = |x: f64| {
        format!(
            "<line class=\"clip\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{:.0}\"/>",
            2.0 * HALF
        )
    };
    format!(
        "<figure><svg class=\"chart\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" \
         aria-label=\"values before the converters of {}\">{}{}{}{}</svg>\
         <figcaption>{}: {} and {} clipped</figcaption></figure>\n",
        2.0 * HALF,
        escape(&layer.name),
        bars(naive, "naive", true),
        bars(corrected, "corrected", false),
        clip(WIDTH / 4.0),
        clip(WIDTH * 3.0 / 4.0),
        code(&layer.name),
        percent(layer.clipped_percent[0], 2),
        percent(layer.clipped_percent[1], 2),
    )
}

fn draw_confusions(it: &Exhibit) -> String {
    let classes = it.confusion[0].len();
    if !(2..=MAX_CLASSES).contains(&classes) {
        return String::new();
    }
    let drawn: String = IMAGES
        .iter()
        .zip(&it.confusion)
        .map(|(name, counts)| draw_confusion(name, counts))
        .collect();
    format!("<h3>Which answers</h3>\n<div class=\"charts\">\n{drawn}</div>\n")
}

fn draw_confusion(name: &str, counts: &[Vec<u32>]) -> String {
    const CELL: f64 = 30.0;
    let n = counts.len() as f64;
    let mut svg = String::new();
    for (class, row) in counts.iter().enumerate() {
        let total: u32 = row.iter().sum();
        let y = CELL * (class as f64 + 1.0);
        svg += &format!(
            "<text class=\"middle\" x=\"{:.0}\" y=\"{:.0}\">{class}</text>\
             <text class=\"middle\" x=\"{:.0}\" y=\"{:.0}\">{class}</text>\n",
            CELL / 2.0,
            y + 19.0,
            y + CELL / 2.0,
            CELL - 9.0,
        );
        for (answer, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = f64::from(count) / f64::from(total.max(1));
            let x = CELL * (answer as f64 + 1.0);
            let kind = if answer == class { "right" } else { "wrong" };
            let ink = if share > 0.5 { "middle on" } else { "middle" };
            svg += &format!(
                "<rect class=\"{kind}\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{CELL}\" height=\"{CELL}\" \
                 style=\"fill-opacity:{:.2}\"/><text class=\"{ink}\" x=\"{:.0}\" y=\"{:.0}\">{count}</text>",
                0.1 + 0.9 * share,
                x + CELL / 2.0,
                y + 19.0
            );
        }
    }
    let size = CELL * (n + 1.0);
    format!(
        "<figure><svg class=\"square\" viewBox=\"0 0 {size:.0} {size:.0}\" role=\"img\" \
         aria-label=\"classes against answers, {name}\">{svg}</svg>\
         <figcaption>{name}: classes down, answers across</figcaption></figure>\n"
    )
}
