//! The report of a campaign: one self-contained HTML page with inline SVG, no script and no network.
//!
//! The same campaign gives the same bytes: nothing here asks for a clock, a path or a host name.

mod charts;
mod html;

use nvcim_chip::describe::Chip;
use nvcim_chip::file::hash_chip;
use nvcim_ir::programmed::{ProgrammedLayer, ProgrammedTile};

use crate::campaign::Outcome;
use crate::model::Model;
use html::{escape, number, table};

/// What a page is about.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The heading.
    pub title: &'a str,
    /// The network.
    pub model: &'a Model,
    /// The chip.
    pub chip: &'a Chip,
    /// Its numbers.
    pub outcome: &'a Outcome,
    /// Test images per die.
    pub images: usize,
    /// The command that made the page.
    pub command: &'a str,
}

/// Writes the whole page.
pub fn write_page(page: &Page<'_>) -> String {
    let sections = [
        write_headline(page),
        write_dies(page),
        write_floor(page),
        write_corrections(page),
        write_layers(page),
        write_origin(page),
    ];
    html::document(page.title, &sections.concat())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

fn write_headline(page: &Page<'_>) -> String {
    let outcome = page.outcome;
    let naive = mean(outcome.dies.iter().map(|die| die.naive));
    let corrected = mean(outcome.dies.iter().map(|die| die.corrected));
    let figure = |value: f64, name: &str, note: &str| {
        format!(
            "<div class=\"figure\"><strong>{} %</strong><span>{name}</span><small>{note}</small></div>",
            number(value, 2)
        )
    };
    let recovered = match outcome.recovery {
        Some(recovery) => figure(
            recovery.percent,
            "of the loss recovered",
            &format!(
                "95 % interval {} to {}",
                number(recovery.ci95[0], 1),
                number(recovery.ci95[1], 1)
            ),
        ),
        None => String::new(),
    };
    format!(
        "<h1>{}</h1><p>{} on <code>{}</code>: {} dies, each compiled for anew, {} test images per die. \
         Naive programs the nominal weights and measures nothing; corrected runs {}.</p>\
         <div class=\"figures\">{}{}{}{}{recovered}</div>",
        escape(page.title),
        escape(&page.model.name),
        escape(&page.chip.name),
        outcome.dies.len(),
        page.images,
        escape(&outcome.corrected.image.provenance.corrections.join(", ")),
        figure(outcome.float_accuracy, "float", "the ONNX file, by tract"),
        figure(outcome.ideal_accuracy, "ideal arrays", "no effect, converters included"),
        figure(naive, "naive", "mean over dies"),
        figure(corrected, "corrected", "mean over dies"),
    )
}

fn write_dies(page: &Page<'_>) -> String {
    let rows = page
        .outcome
        .dies
        .iter()
        .map(|die| vec![die.seed.to_string(), number(die.naive, 2), number(die.corrected, 2)]);
    format!(
        "<h2>Accuracy of every die</h2>{}{}",
        charts::draw_dies(page.outcome),
        table(&["die", "naive %", "corrected %"], rows),
    )
}

fn write_floor(page: &Page<'_>) -> String {
    let image = &page.outcome.corrected.image;
    format!(
        "<h2>Chip floor map</h2><p>{} arrays of {}x{} cells in use, {} % of their cells. Each array is \
         drawn to scale; colours are layers.</p>{}",
        page.outcome.corrected.mapped.arrays_needed,
        page.chip.arrays.n_rows,
        page.chip.arrays.n_cols,
        number(100.0 * utilisation(page), 1),
        charts::draw_floor(image),
    )
}

fn utilisation(page: &Page<'_>) -> f64 {
    let mapped = &page.outcome.corrected.mapped;
    let cells = mapped.arrays_needed * page.chip.arrays.n_rows * page.chip.arrays.n_cols;
    mapped.cells_used as f64 / cells.max(1) as f64
}

fn write_corrections(page: &Page<'_>) -> String {
    let corrected = &page.outcome.corrected;
    let rows = corrected.fits.iter().map(|fit| {
        let tile = &corrected.image.net.tiles[fit.tile];
        let layer = &corrected.image.net.layers[tile.layer];
        vec![
            fit.tile.to_string(),
            escape(&layer.name),
            tile.array.to_string(),
            number(fit.rms_before, 4),
            number(fit.rms_after, 4),
        ]
    });
    format!(
        "<h2>What measuring the last die changed</h2><p>{} weights sit on pairs with a stuck cell. Root \
         mean square error of each tile's contribution on the calibration vectors, in output units, \
         before and after ranges, gain and offset were fitted.</p>{}",
        corrected.weights_on_stuck_pairs,
        table(&["tile", "layer", "array", "before", "after"], rows),
    )
}

fn write_layers(page: &Page<'_>) -> String {
    let net = &page.outcome.corrected.image.net;
    let describe = |(id, layer): (nvcim_ir::ids::LayerId, &ProgrammedLayer)| {
        let tiles: Vec<&ProgrammedTile> =
            net.tiles.iter().filter(|tile| tile.layer == id).collect();
        let ranges = || tiles.iter().flat_map(|tile| &tile.readouts).map(|it| it.readout.range);
        let lo = ranges().map(|range| range.lo).fold(f32::INFINITY, f32::min);
        let hi = ranges().map(|range| range.hi).fold(f32::NEG_INFINITY, f32::max);
        vec![
            escape(&layer.name),
            format!("{}x{}", layer.shape.n_rows, layer.shape.n_cols),
            tiles.len().to_string(),
            number(f64::from(layer.input.full_scale), 3),
            if layer.input.signed { "signed" } else { "unsigned" }.to_owned(),
            format!("{} to {}", number(f64::from(lo), 2), number(f64::from(hi), 2)),
        ]
    };
    let heads = ["layer", "matrix", "tiles", "input full scale", "inputs", "ADC ranges"];
    format!(
        "<h2>Layers</h2><p>ADC ranges of the last die, in currents of one full cell at full drive.</p>{}",
        table(&heads, net.layers.iter_enumerated().map(describe)),
    )
}

fn write_origin(page: &Page<'_>) -> String {
    let provenance = &page.outcome.corrected.image.provenance;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows = [
        ("command", format!("<code>{}</code>", escape(page.command))),
        ("nvcim", escape(&provenance.tool_version)),
        ("model, BLAKE3", format!("<code>{}</code>", hex(&provenance.model_hash))),
        ("chip, BLAKE3", format!("<code>{}</code>", hex(&hash_chip(page.chip)))),
        ("dies", format!("seeds 0 to {}", page.outcome.dies.len().saturating_sub(1))),
        ("effects", escape(&provenance.effects.join(", "))),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    format!(
        "<h2>Where the numbers come from</h2>{}<p>Recovery is (corrected - naive) / (float - naive), a \
         ratio of means over the same dies, with a paired bootstrap interval over dies.</p>",
        table(&["what", "value"], rows),
    )
}
