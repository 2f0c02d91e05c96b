//! Yards: the places of its array that a tile may use.
//!
//! A tile alone on its array may use all of it. Tiles that share an array keep to their own rectangles of cells,
//! so that no move ever takes a cell from another. Tiles that are driven alike by the same word lines keep their
//! rows where they are: one drive serves all of them.

use std::collections::BTreeMap;
use std::ops::Range;

use nvcim_ir::ids::{ArrayId, IdVec, TileId};
use nvcim_ir::program::find_shared_drives;
use nvcim_ir::tiled::{Tile, TiledNet};

use crate::grid::Grid;

/// The places of an array that a tile may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Yard {
    /// Row places.
    pub(crate) rows: Range<usize>,
    /// Column places.
    pub(crate) cols: Range<usize>,
    /// Whether the tile has the array to itself.
    pub(crate) is_alone: bool,
    /// Whether no other tile needs the rows as they are.
    pub(crate) rows_move: bool,
}

/// Tiles by the array of their positive cells.
pub(crate) fn tiles_by_array(net: &TiledNet) -> BTreeMap<ArrayId, Vec<TileId>> {
    let mut homes: BTreeMap<ArrayId, Vec<TileId>> = BTreeMap::new();
    for (id, tile) in net.tiles.iter_enumerated() {
        homes.entry(tile.array).or_default().push(id);
    }
    homes
}

/// The yard of every tile, where mapping put it.
pub(crate) fn find_yards(net: &TiledNet, grid: &Grid) -> IdVec<TileId, Yard> {
    let homes = tiles_by_array(net);
    let drives = find_shared_drives(&net.program, net.layers.len());
    let driven_alike = |a: &Tile, b: &Tile| {
        drives[a.layer] == drives[b.layer]
            && a.rows == b.rows
            && a.wiring.plus_rows == b.wiring.plus_rows
    };
    let yard = |(id, tile): (TileId, &Tile)| {
        let tenants = &homes[&tile.array];
        if tenants.len() == 1 {
            return Yard::whole(grid);
        }
        let mut others = tenants.iter().filter(|other| **other != id);
        let rows_move = !others.any(|other| driven_alike(tile, &net.tiles[*other]));
        let (rows, cols) = grid.places_of(&tile.wiring);
        Yard { rows, cols, is_alone: false, rows_move }
    };
    net.tiles.iter_enumerated().map(yard).collect()
}

impl Yard {
    /// All places of an array.
    pub(crate) fn whole(grid: &Grid) -> Self {
        Self { rows: 0..grid.n_rows, cols: 0..grid.n_cols, is_alone: true, rows_move: true }
    }
}
