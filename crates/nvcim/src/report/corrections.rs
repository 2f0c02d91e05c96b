//! What corrections changed on the last die, tile by tile.

use std::collections::BTreeSet;

use ndarray::Array2;
use nvcim_chip::record::{DieRecord, StuckCell};
use nvcim_correct::outcome::{Outcome, Place, Status};
use nvcim_ir::ids::{ArrayId, Id, TileId};
use nvcim_ir::programmed::{ProgrammedTile, Targets};

use super::Page;
use super::footprint::{count_stuck_weights, weight_of};
use super::html::{Align, Table, code, paragraph, section};
use super::number::{count, counted, percent, significant};

const COLUMNS: [(&str, Align); 5] = [
    ("tile", Align::Left),
    ("layer", Align::Left),
    ("weights", Align::Right),
    ("with stuck cells", Align::Right),
    ("retargeted", Align::Right),
];

const OUTCOMES: [(&str, Align); 7] = [
    ("correction", Align::Left),
    ("where", Align::Left),
    ("status", Align::Left),
    ("changed", Align::Right),
    ("error before", Align::Right),
    ("error after", Align::Right),
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
        table.row(&[
            match tile.wiring.minus_array {
                None => format!("{id} on {}", tile.array),
                Some(minus) => format!("{id} on {}, {minus}", tile.array),
            },
            code(&net.layers[tile.layer].name),
            count(size),
            stuck.unwrap_or_else(|| UNKNOWN.to_owned()),
            retargeted.map_or_else(|| UNKNOWN.to_owned(), count),
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
        list_outcomes(&compiled.outcomes),
    ];
    section("corrections", "What corrections changed on the last die", &body.concat())
}

/// What each correction did, where.
fn list_outcomes(outcomes: &[Outcome]) -> String {
    if outcomes.is_empty() {
        return paragraph("No correction says what it expects of itself.");
    }
    let mut table = Table::new(&OUTCOMES);
    for outcome in outcomes.iter().take(MAX_TILES) {
        let Outcome { correction, place, status, gap: _, changed, before, after } = *outcome;
        table.row(&[
            code(correction.name()),
            match place {
                Place::Net => "whole network".to_owned(),
                Place::Layer(layer) => layer.to_string(),
                Place::Tile(tile) => tile.to_string(),
            },
            match status {
                Status::Kept => "kept",
                Status::Dropped => "dropped: no help on held-out images",
                Status::LeftOut => "left out: the tile shares its array",
            }
            .to_owned(),
            count(changed),
            significant(before, 3),
            significant(after, 3),
            draw_left(before, after),
        ]);
    }
    let words = "Errors are root mean squares in relation to what is wanted: expected ones for corrections \
                 before programming, those measured on the die after it, on images held out from the fit.";
    table.finish() + &paragraph(words)
}

/// What is left of an error, as a bar.
fn draw_left(before: f64, after: f64) -> String {
    let left = 100.0 * after / before;
    if !left.is_finite() {
        return UNKNOWN.to_owned();
    }
    format!(
        "<span class=\"bar\"><span style=\"width:{:.1}%\"></span></span> {}",
        left.clamp(0.0, 100.0),
        percent(left, 0)
    )
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
        // Ranges and scales of four layers.
        assert_eq!(html.matches("<span class=\"bar\">").count(), 8);
        let html = sample.page(|page| write(page, None));
        check_markup(&html);
        assert_eq!(html.matches("<td class=\"n\">\u{2013}</td>").count(), 4);
    }
}
