//! Tiles that a die leaves as they are: those of an earlier net without a stuck cell on this die.
//!
//! A chip that holds a net which was mapped for any die needs new targets only where this die is broken.
//! Pinned tiles keep place, targets, ranges and scales of that net; the others are corrected round them.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_chip::record::DieRecord;
use nvcim_ir::ids::{Id, IdVec, TileId};
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile};

/// The tiles of `base` without a stuck cell; all of them where nothing is known of a die.
///
/// `base` is as mapping left it, tile for tile.
pub(crate) fn pin(
    base: &ProgrammedNet,
    die: Option<&DieRecord>,
) -> BTreeMap<TileId, ProgrammedTile> {
    let stuck: IdVec<_, BTreeSet<(u32, u32)>> = match die {
        Some(die) => {
            let of_array = |array: &nvcim_chip::record::ArrayRecord| {
                array.stuck.iter().map(|cell| (cell.row, cell.col)).collect()
            };
            die.arrays.iter().map(of_array).collect()
        }
        None => IdVec::new(),
    };
    let is_whole = |tile: &ProgrammedTile| {
        tile.wiring.sides(tile.array).into_iter().all(|(array, rows, cols)| {
            let Some(stuck) = stuck.get(array) else { return die.is_none() };
            let rows: BTreeSet<u32> = rows.iter().copied().collect();
            let cols: BTreeSet<u32> = cols.iter().copied().collect();
            !stuck.iter().any(|(row, col)| rows.contains(row) && cols.contains(col))
        })
    };
    let tiles = base.tiles.iter().enumerate();
    tiles
        .filter(|(_, tile)| is_whole(tile))
        .map(|(at, tile)| (TileId::new(at), tile.clone()))
        .collect()
}
