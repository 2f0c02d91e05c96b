//! Tiles that a die leaves as they are: those of an earlier net without a stuck cell on this die.
//!
//! A chip that holds a net which was mapped for any die needs new targets only where this die is broken.
//! Pinned tiles keep place, targets, ranges and scales of that net; the others are corrected round them.

use std::collections::BTreeMap;

use nvcim_chip::record::DieRecord;
use nvcim_ir::ids::TileId;
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile};

use crate::faults::Faults;

/// The tiles of `base` without a stuck cell; all of them where nothing is known of a die.
///
/// `base` is as mapping left it, tile for tile.
pub(crate) fn pin(
    base: &ProgrammedNet,
    die: Option<&DieRecord>,
) -> BTreeMap<TileId, ProgrammedTile> {
    let is_whole = |tile: &ProgrammedTile| {
        let arrays = [tile.array, tile.wiring.minus_array(tile.array)];
        let Ok(faults) = Faults::of_arrays(arrays, die) else { return false };
        let n_lanes = tile.wiring.plus_cols.len();
        let good = |row, lane| faults.find(&tile.wiring, row, lane) == (None, None);
        (0..tile.rows.len()).all(|row| (0..n_lanes).all(|lane| good(row, lane)))
    };
    let tiles = base.tiles.iter_enumerated().filter(|(_, tile)| is_whole(tile));
    tiles.map(|(id, tile)| (id, tile.clone())).collect()
}
