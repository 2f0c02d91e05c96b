//! The floor of the chip: every array with the tiles that it holds, in the colours of their layers.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_chip::describe::Arrays;
use nvcim_ir::ids::{ArrayId, Id, LayerId, TileId};
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile, measure_usage};

use super::Page;
use super::footprint::{Rectangle, count_cells, outline};
use super::html::{code, escape, legend, paragraph, section};
use super::number::{count, counted, percent};

/// Colours that the style sheet has for layers; more layers begin again with the first.
const N_COLOURS: usize = 7;

/// Unused arrays are drawn on chips with no more arrays than this.
const MAX_WITH_UNUSED: usize = 32;

/// Most arrays drawn.
const MAX_ARRAYS: usize = 256;

/// Steps per side of a drawn array; gaps between lines smaller than one are closed.
const STEPS: usize = 32;

pub(super) fn write(page: &Page<'_>) -> String {
    let net = &page.image().net;
    let mut by_array: BTreeMap<ArrayId, Vec<TileId>> = BTreeMap::new();
    for (id, tile) in net.tiles.iter_enumerated() {
        for array in BTreeSet::from(tile.wiring.sides(tile.array).map(|side| side.0)) {
            by_array.entry(array).or_default().push(id);
        }
    }
    let arrays = &page.chip.arrays;
    let used: String = by_array
        .iter()
        .take(MAX_ARRAYS)
        .map(|(&array, tiles)| draw_array(net, arrays, array, tiles))
        .collect();
    let unused: String =
        list_unused(arrays, &by_array).map(|array| draw_array(net, arrays, array, &[])).collect();
    let names = net.layers.iter().map(|layer| layer.name.clone());
    let classes: Vec<String> = net.layers.ids().map(colour_of).collect();
    let mut entries: Vec<_> = classes.iter().map(String::as_str).zip(names).collect();
    if kept_lines(arrays) != (0, 0) {
        entries.push(("kept", "spare and reserved lines".to_owned()));
    }
    let body = [
        paragraph(&describe(page, by_array.len())),
        legend(entries),
        format!("<div class=\"floor\">\n{used}</div>\n"),
        format!("<div class=\"floor unused\">\n{unused}</div>\n"),
    ];
    section("floor", "Chip floor map", &body.concat())
}

/// The class that colours a layer.
fn colour_of(layer: LayerId) -> String {
    format!("l{}", layer.index() % N_COLOURS)
}

/// The arrays without a tile, on chips with few enough to draw them all.
fn list_unused(
    arrays: &Arrays,
    by_array: &BTreeMap<ArrayId, Vec<TileId>>,
) -> impl Iterator<Item = ArrayId> {
    let all = arrays.count.filter(|&count| count <= MAX_WITH_UNUSED).unwrap_or(0);
    (0..all).map(ArrayId::new).filter(|array| !by_array.contains_key(array))
}

fn describe(page: &Page<'_>, n_used: usize) -> String {
    let arrays = &page.chip.arrays;
    let of_all = arrays.count.map_or_else(String::new, |all| format!(" of {}", count(all)));
    let used_cells = measure_usage(&page.corrected().image.net).cells;
    let cells = n_used * arrays.n_rows * arrays.n_cols;
    let mut text = format!(
        "{}{of_all} in use, each {} word lines by {} bit lines; {} cells hold weights, {} of the cells \
         of these arrays. Word lines run across, word line 0 at the top; rectangles stand where the cells \
         are.",
        counted(n_used, "array", "arrays"),
        count(arrays.n_rows),
        count(arrays.n_cols),
        count(used_cells),
        percent(100.0 * used_cells as f64 / cells.max(1) as f64, 1),
    );
    if n_used > MAX_ARRAYS {
        text += &format!(" The first {MAX_ARRAYS} are drawn.");
    }
    if arrays.count.is_some_and(|all| all > n_used.max(MAX_WITH_UNUSED)) {
        text += " Unused arrays are not drawn.";
    }
    text
}

/// Word lines and bit lines at the end of each array that weights do not start from.
fn kept_lines(arrays: &Arrays) -> (usize, usize) {
    (arrays.spare_rows + arrays.reserved_rows, arrays.spare_cols + arrays.reserved_cols)
}

fn draw_array(net: &ProgrammedNet, arrays: &Arrays, array: ArrayId, tiles: &[TileId]) -> String {
    let (n_rows, n_cols) = (arrays.n_rows, arrays.n_cols);
    let drawn: String = tiles.iter().map(|&tile| draw_tile(net, arrays, array, tile)).collect();
    let cells_of = |tile: &ProgrammedTile| count_cells(&tile.wiring, tile.array, array);
    let cells: usize = tiles.iter().map(|&tile| cells_of(&net.tiles[tile])).sum();
    let layers: BTreeSet<LayerId> = tiles.iter().map(|&tile| net.tiles[tile].layer).collect();
    let names: Vec<String> = layers.iter().map(|&layer| code(&net.layers[layer].name)).collect();
    let caption = match names.join(" ") {
        names if names.is_empty() => String::new(),
        names => format!(
            "{names} {}",
            percent(100.0 * cells as f64 / (n_rows * n_cols).max(1) as f64, 1)
        ),
    };
    format!(
        "<figure><svg viewBox=\"0 0 {n_cols} {n_rows}\" role=\"img\" aria-label=\"{array}\">\
         <rect class=\"paper\" width=\"{n_cols}\" height=\"{n_rows}\"/>{}{drawn}</svg>\
         <figcaption><b>{array}</b> {caption}</figcaption></figure>\n",
        draw_kept(arrays),
    )
}

fn draw_kept(arrays: &Arrays) -> String {
    let (rows, cols) = kept_lines(arrays);
    let (n_rows, n_cols) = (arrays.n_rows, arrays.n_cols);
    let band = |x: usize, y: usize, width: usize, height: usize| {
        if width == 0 || height == 0 {
            return String::new();
        }
        format!("<rect class=\"kept\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>")
    };
    let (rows, cols) = (rows.min(n_rows), cols.min(n_cols));
    band(0, n_rows - rows, n_cols, rows) + &band(n_cols - cols, 0, cols, n_rows - rows)
}

fn draw_tile(net: &ProgrammedNet, arrays: &Arrays, array: ArrayId, id: TileId) -> String {
    let tile = &net.tiles[id];
    let gap = (arrays.n_rows.min(arrays.n_cols) / STEPS).max(1) as u32;
    let path: String = outline(&tile.wiring, tile.array, array, gap)
        .into_iter()
        .map(|Rectangle { row, col, n_rows, n_cols }| {
            format!("M{col} {row}h{n_cols}v{n_rows}h-{n_cols}z")
        })
        .collect();
    format!(
        "<path class=\"{}\" d=\"{path}\"><title>{id}: {}, rows {} to {}, columns {} to {} of its \
         matrix</title></path>",
        colour_of(tile.layer),
        escape(&net.layers[tile.layer].name),
        tile.rows.start,
        tile.rows.end - 1,
        tile.cols.start,
        tile.cols.end - 1,
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, check_markup};
    use super::write;

    #[test]
    fn every_array_and_every_tile_is_drawn() {
        let sample = Sample::shared();
        let html = sample.page(write);
        check_markup(&html);
        assert_eq!(Some(html.matches("<figure").count()), sample.chip.arrays.count);
        assert_eq!(html.matches("<path").count(), sample.outcome.corrected.image.net.tiles.len());
        let (_, unused) = html.split_once("floor unused").unwrap();
        assert_eq!(
            unused.matches("<figure").count(),
            16 - sample.outcome.corrected.demand.arrays_needed
        );
    }

    #[test]
    fn the_first_tile_stands_where_it_is_wired() {
        let html = Sample::shared().page(write);
        // The 9x8 matrix of the first convolution: 8 pairs of bit lines from 0, 9 word lines from 0.
        assert!(html.contains("<path class=\"l0\" d=\"M0 0h16v9h-16z\">"), "{html}");
    }

    #[test]
    fn lines_kept_free_and_arrays_left_out_are_said() {
        let mut sample = Sample::shared().clone();
        sample.chip.arrays.spare_rows = 4;
        sample.chip.arrays.reserved_cols = 2;
        sample.chip.arrays.count = Some(1000);
        let html = sample.page(write);
        check_markup(&html);
        assert!(html.contains("spare and reserved lines"));
        assert!(html.contains("Unused arrays are not drawn."));
        assert!(
            html.contains("<rect class=\"kept\" x=\"0\" y=\"124\" width=\"256\" height=\"4\"/>")
        );
        assert!(
            html.contains("<rect class=\"kept\" x=\"254\" y=\"0\" width=\"2\" height=\"124\"/>")
        );
    }
}
