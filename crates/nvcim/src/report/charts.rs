//! Drawings: accuracy of every die, and the floor of the chip.

use std::fmt::Write;

use nvcim_image::layout::Image;
use nvcim_ir::ids::{ArrayId, Id};
use nvcim_ir::programmed::count_arrays;

use super::html::{escape, number};
use crate::campaign::Outcome;

/// Colours of layers, repeated where there are more; each is legible on light and dark.
const LAYER_COLOURS: [&str; 8] =
    ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#c9a227", "#9c755f"];

/// Naive and corrected accuracy of every die, with the float accuracy as a line.
pub(super) fn draw_dies(outcome: &Outcome) -> String {
    let (width, height, left, bottom) = (860.0, 260.0, 46.0, 34.0);
    let y = |percent: f64| 12.0 + (100.0 - percent) / 100.0 * (height - bottom - 12.0);
    let slot = (width - left - 90.0) / outcome.dies.len().max(1) as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"accuracy of every die\">"
    );
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let (at, right) = (y(percent), width - 90.0);
        put(
            &mut svg,
            format_args!(
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--line)\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
                left - 6.0,
                at + 4.0,
            ),
        );
    }
    for (place, die) in outcome.dies.iter().enumerate() {
        let x = left + slot * (place as f64 + 0.5);
        let (low, high) = (y(die.naive), y(die.corrected));
        put(
            &mut svg,
            format_args!(
                "<g><title>die {}: naive {} %, corrected {} %</title>\
             <line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"var(--line)\" \
             stroke-width=\"3\"/><circle cx=\"{x:.1}\" cy=\"{low:.1}\" r=\"5\" fill=\"var(--naive)\"/>\
             <circle cx=\"{x:.1}\" cy=\"{high:.1}\" r=\"5\" fill=\"var(--good)\"/></g>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                die.seed,
                number(die.naive, 2),
                number(die.corrected, 2),
                height - bottom + 20.0,
                die.seed,
            ),
        );
    }
    let float = y(outcome.float_accuracy);
    put(
        &mut svg,
        format_args!(
            "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{float:.1}\" y2=\"{float:.1}\" stroke=\"var(--accent)\" \
         stroke-dasharray=\"5 4\"/>",
            width - 90.0,
        ),
    );
    let keys = [("--accent", "float"), ("--good", "corrected"), ("--naive", "naive")];
    for (place, (colour, name)) in keys.into_iter().enumerate() {
        let at = 20.0 + 20.0 * place as f64;
        put(
            &mut svg,
            format_args!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"var({colour})\"/>\
             <text x=\"{:.1}\" y=\"{at:.1}\">{name}</text>",
                width - 80.0,
                at - 4.0,
                width - 70.0,
            ),
        );
    }
    svg + "</svg>"
}

/// Every array in use, drawn to scale, with its tiles in the colours of their layers.
pub(super) fn draw_floor(image: &Image) -> String {
    let (n_rows, n_cols) = (image.chip.arrays.n_rows as f64, image.chip.arrays.n_cols as f64);
    let arrays = count_arrays(&image.net);
    let (per_line, gap, label) = (6usize, 14.0, 16.0);
    let cell_width = (860.0 - gap * (per_line as f64 - 1.0)) / per_line as f64;
    let scale = cell_width / n_cols;
    let cell_height = n_rows * scale;
    let line_height = cell_height + label + gap;
    let lines = arrays.div_ceil(per_line);
    let legend = 24.0 * image.net.layers.len().div_ceil(4) as f64;
    let height = lines as f64 * line_height + legend;
    let corner = |array: ArrayId| {
        let (line, place) = (array.index() / per_line, array.index() % per_line);
        (place as f64 * (cell_width + gap), line as f64 * line_height + label)
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 860 {height:.1}\" role=\"img\" aria-label=\"tiles on arrays\">"
    );
    for array in (0..arrays).map(ArrayId::new) {
        let (x, y) = corner(array);
        put(
            &mut svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{:.1}\">{array}</text><rect x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{cell_width:.1}\" height=\"{cell_height:.1}\" fill=\"var(--card)\" \
             stroke=\"var(--line)\"/>",
                y - 4.0,
            ),
        );
    }
    for (id, tile) in image.net.tiles.iter_enumerated() {
        let (x, y) = corner(tile.array);
        let span = |a: &[u32], b: &[u32]| {
            let lines = || a.iter().chain(b).map(|&line| f64::from(line));
            (lines().fold(f64::INFINITY, f64::min), lines().fold(0.0, f64::max) + 1.0)
        };
        let (top, bottom) = span(&tile.wiring.plus_rows, &tile.wiring.minus_rows);
        let (left, right) = span(&tile.wiring.plus_cols, &tile.wiring.minus_cols);
        put(
            &mut svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\">\
             <title>{id} of {}: {} rows, {} columns</title></rect>",
                x + left * scale,
                y + top * scale,
                (right - left) * scale,
                (bottom - top) * scale,
                LAYER_COLOURS[tile.layer.index() % LAYER_COLOURS.len()],
                escape(&image.net.layers[tile.layer].name),
                tile.rows.len(),
                tile.cols.len(),
            ),
        );
    }
    for (id, layer) in image.net.layers.iter_enumerated() {
        let (line, place) = (id.index() / 4, id.index() % 4);
        let x = place as f64 * 215.0;
        let y = lines as f64 * line_height + 16.0 + 24.0 * line as f64;
        put(
            &mut svg,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                y - 10.0,
                LAYER_COLOURS[id.index() % LAYER_COLOURS.len()],
                x + 18.0,
                escape(&layer.name),
            ),
        );
    }
    svg + "</svg>"
}

fn put(svg: &mut String, part: std::fmt::Arguments<'_>) {
    svg.write_fmt(part).expect("writing to a string cannot fail");
}
