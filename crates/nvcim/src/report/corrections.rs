//! What corrections changed on the last die, tile by tile.

use std::collections::BTreeSet;

use ndarray::Array2;
use nvcim_chip::record::{DieRecord, StuckCell};
use nvcim_correct::after::TileFit;
use nvcim_ir::ids::{ArrayId, Id, TileId};
use nvcim_ir::programmed::{ProgrammedTile, Targets};

use super::Page;
use super::footprint::{count_stuck_weights, weight_of};
use super::html::{Align, Table, code, paragraph, section};
use super::number::{count, counted, percent, significant};

const COLUMNS: [(&str, Align); 8] = [
    ("tile", Align::Left),
    ("layer", Align::Left),
    ("weights", Align::Right),
    ("with stuck cells", Align::Right),
    ("retargeted", Align::Right),
    ("rms before", Align::Right),
    ("rms after", Align::Right),
    ("left", Align::Left),
];

/// Most tiles listed.
const MAX_TILES: usize = 256;

/// Shown where a number is not known.
const UNKNOWN: &str = "\u{2013}";

pub(super) fn write(page: &Page<'_>, die: Option<&DieRecord>) -> String {
    let compiled = page.corrected();
    let net = &compiled.image.net;
    let mut table = Table::new(&COLUMNS);
    let mut weights = 0;
    let mut moved = 0;
    for (id, tile) in net.tiles.iter_enumerated() {
        let size = tile.rows.len() * tile.cols.len();
        let retargeted = count_retargeted(page, id);
        weights += size;
        moved += retargeted.unwrap_or(0);
        if id.index() >= MAX_TILES {
            continue;
        }
        let stuck = die.map(|die| count(count_stuck_weights(tile, |array| stuck_on(die, array))));
        let [before, after, left] = describe_fit(compiled.fits.iter().find(|fit| fit.tile == id));
        table.row(&[
            match tile.wiring.minus_array {
                None => format!("{id} on {}", tile.array),
                Some(minus) => format!("{id} on {}, {minus}", tile.array),
            },
            code(&net.layers[tile.layer].name),
            count(size),
            stuck.unwrap_or_else(|| UNKNOWN.to_owned()),
            retargeted.map_or_else(|| UNKNOWN.to_owned(), count),
            before,
            after,
            left,
        ]);
    }
    let unlisted = net.tiles.len().saturating_sub(MAX_TILES);
    let body = [
        paragraph(&format!(
            "{} in the fault map; {} of all {} got other conductance targets than in the naive image.",
            counted(
                compiled.weights_on_stuck_pairs,
                "weight has a stuck cell",
                "weights have a stuck cell",
            ),
            count(moved),
            count(weights),
        )),
        table.finish(),
        if unlisted > 0 {
            paragraph(&format!(
                "{} not listed.",
                counted(unlisted, "more tile is", "more tiles are")
            ))
        } else {
            String::new()
        },
        paragraph(&explain_fits(page)),
    ];
    section("corrections", "What corrections changed on the last die", &body.concat())
}

fn explain_fits(page: &Page<'_>) -> String {
    if page.corrected().fits.is_empty() {
        return "Nothing was measured after programming, so ranges and scales are nominal."
            .to_owned();
    }
    "Rms: root mean square error of a tile\u{2019}s contribution to its layer on the calibration vectors, \
     in output units, as measured on the die: with nominal ranges and scales, and with those fitted. What \
     is left is noise, quantisation and cell errors that no scale can mend."
        .to_owned()
}

/// Error before and after, and what is left as a bar.
fn describe_fit(fit: Option<&TileFit>) -> [String; 3] {
    let Some(TileFit { rms_before, rms_after, .. }) = fit else {
        return [(); 3].map(|()| UNKNOWN.to_owned());
    };
    let left = 100.0 * rms_after / rms_before;
    let bar = if left.is_finite() {
        format!(
            "<span class=\"bar\"><span style=\"width:{:.1}%\"></span></span> {}",
            left.clamp(0.0, 100.0),
            percent(left, 0)
        )
    } else {
        UNKNOWN.to_owned()
    };
    [significant(*rms_before, 3), significant(*rms_after, 3), bar]
}

/// The stuck cells of an array; none where the die does not have it.
fn stuck_on(die: &DieRecord, array: ArrayId) -> &[StuckCell] {
    die.arrays.get(array).map_or(&[], |array| &array.stuck)
}

/// Weights of a tile that have another target than in the naive image for one of their cells; `None` where
/// the naive image is cut in another way.
fn count_retargeted(page: &Page<'_>, id: TileId) -> Option<usize> {
    let tile = page.image().net.tiles.get(id)?;
    let naive = page.outcome.naive.image.net.tiles.get(id)?;
    if (tile.layer, &tile.rows, &tile.cols) != (naive.layer, &naive.rows, &naive.cols) {
        return None;
    }
    match (&tile.targets, &naive.targets) {
        (
            Targets::Levels { plus, minus },
            Targets::Levels { plus: naive_plus, minus: naive_minus },
        ) => Some(count_differing(tile, [(plus, naive_plus), (minus, naive_minus)])),
        (
            Targets::Siemens { plus, minus },
            Targets::Siemens { plus: naive_plus, minus: naive_minus },
        ) => Some(count_differing(tile, [(plus, naive_plus), (minus, naive_minus)])),
        _ => None,
    }
}

/// Weights of a tile with a cell, positive or negative, whose targets differ; all their slices count once.
fn count_differing<T: PartialEq>(
    tile: &ProgrammedTile,
    sides: [(&Array2<T>, &Array2<T>); 2],
) -> usize {
    let mut weights = BTreeSet::new();
    for (ours, theirs) in sides {
        let cells = ours.indexed_iter().zip(theirs).filter(|((_, ours), theirs)| ours != theirs);
        weights.extend(cells.map(|(((row, lane), _), _)| (row, weight_of(tile, lane))));
    }
    weights.iter().filter(|(_, col)| col.is_some()).count()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, check_markup};
    use super::{count_retargeted, count_stuck_weights, stuck_on, write};

    #[test]
    fn the_drawn_die_is_the_one_that_was_compiled_for() {
        let sample = Sample::shared();
        let die = sample.last_die();
        let compiled = &sample.outcome.corrected;
        let on_stuck = compiled
            .image
            .net
            .tiles
            .iter()
            .map(|tile| count_stuck_weights(tile, |array| stuck_on(&die, array)));
        assert_eq!(on_stuck.sum::<usize>(), compiled.weights_on_stuck_pairs);
        assert!(compiled.weights_on_stuck_pairs > 0);
    }

    #[test]
    fn only_weights_on_stuck_pairs_get_other_targets() {
        let sample = Sample::shared();
        let tiles = &sample.outcome.corrected.image.net.tiles;
        let moved: usize =
            sample.page(|page| tiles.ids().filter_map(|id| count_retargeted(page, id)).sum());
        assert!(moved > 0 && moved <= sample.outcome.corrected.weights_on_stuck_pairs, "{moved}");
    }

    #[test]
    fn every_tile_has_a_row() {
        let sample = Sample::shared();
        let die = sample.last_die();
        let html = sample.page(|page| write(page, Some(&die)));
        check_markup(&html);
        assert_eq!(html.matches("<span class=\"bar\">").count(), 4);
        let html = sample.page(|page| write(page, None));
        check_markup(&html);
        assert_eq!(html.matches("<td class=\"n\">\u{2013}</td>").count(), 4);
    }
}
