//! A piece: one tile's weights on one array, while it is being decided where they sit and what they hold.

use ndarray::Array2;
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::record::DieRecord;
use nvcim_ir::ids::{ArrayId, Id, TileId};
use nvcim_ir::tiled::{Tile, Wiring};

use crate::faults::{Faults, reach_of};
use crate::grid::Grid;
use crate::yard::Yard;

/// A place that cannot hold every weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spoiled {
    /// The column place.
    pub(crate) col: usize,
    /// The weights that a copy there can hold, as shares of the largest.
    pub(crate) reach: [f64; 2],
}

/// The array, or the two arrays, of a tile, with what is known to be stuck there.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The array of the positive cells.
    pub(crate) array: ArrayId,
    /// The array of the negative cells, where it is another.
    pub(crate) minus_array: Option<ArrayId>,
    /// Stuck cells.
    pub(crate) faults: Faults,
    /// Spoiled places by row place, ascending.
    pub(crate) spoiled: Vec<Vec<Spoiled>>,
}

/// What all pieces of a net share.
#[derive(Debug, Clone)]
pub(crate) struct Ground<'a> {
    pub(crate) chip: &'a Chip,
    pub(crate) grid: Grid,
    pub(crate) code: WeightCode,
    /// The cell at the time of use: from the mean of a cell told to reach `g_min` to that of `g_max`.
    pub(crate) used: Cell,
    /// The fault map that corrections may act on.
    pub(crate) die: Option<&'a DieRecord>,
}

impl Ground<'_> {
    /// A site; an error names an array that the die lacks.
    pub(crate) fn survey(
        &self,
        array: ArrayId,
        minus_array: Option<ArrayId>,
    ) -> Result<Site, ArrayId> {
        let arrays = [array, minus_array.unwrap_or(array)];
        let faults = Faults::of_arrays(arrays, self.die)?;
        let mut spoiled = vec![Vec::new(); self.grid.n_rows];
        let mut stuck = Vec::new();
        for (row, col) in self.grid.stuck_places(&faults) {
            stuck.clear();
            stuck.extend(self.grid.stuck_at(&faults, row, col));
            let reach = reach_of(&stuck, &self.code, &self.used);
            spoiled[row].push(Spoiled { col, reach });
        }
        Ok(Site { array, minus_array, faults, spoiled })
    }

    /// The site of a given number: as many sites as a chip has arrays, or pairs of arrays.
    pub(crate) fn survey_number(&self, number: usize) -> Result<Site, ArrayId> {
        let per_tile = self.chip.arrays.arrays_per_tile();
        let minus = (per_tile == 2).then(|| ArrayId::new(2 * number + 1));
        self.survey(ArrayId::new(per_tile * number), minus)
    }
}

/// One tile's weights on one array.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// The tile of the tiled net.
    pub(crate) tile: TileId,
    /// Where it sits.
    pub(crate) site: Site,
    /// The row place of each tile row.
    pub(crate) rows: Vec<usize>,
    /// The column places of each tile column's copies, as many for all; a reference column comes last.
    pub(crate) cols: Vec<Vec<usize>>,
    /// 1, or -1 where a column holds its weights with the sign turned.
    pub(crate) signs: Vec<f64>,
    /// The places that it may use.
    pub(crate) yard: Yard,
}

impl Piece {
    /// A tile where mapping has put it, on a site of choice.
    pub(crate) fn new(id: TileId, tile: &Tile, yard: &Yard, site: Site, grid: &Grid) -> Self {
        let (rows, cols) = grid.places_of(&tile.wiring);
        Self {
            tile: id,
            site,
            signs: vec![1.0; cols.len()],
            rows: rows.collect(),
            cols: cols.map(|col| vec![col]).collect(),
            yard: yard.clone(),
        }
    }

    /// The same with copies of its columns beside each other; more than one takes an array from its first column
    /// place on.
    pub(crate) fn with_copies(mut self, copies: usize) -> Self {
        let n_cols = self.cols.len();
        for places in &mut self.cols {
            let first = places[0];
            *places = (0..copies).map(|copy| first + copy * n_cols).collect();
        }
        self
    }

    /// Copies of every column on this array.
    pub(crate) fn copies(&self) -> usize {
        self.cols.first().map_or(1, Vec::len)
    }

    pub(crate) fn wire(&self, grid: &Grid) -> Wiring {
        grid.wire(&self.rows, &self.cols, self.site.minus_array)
    }

    /// The column of the piece at each column place.
    pub(crate) fn cols_at_places(&self, grid: &Grid) -> Vec<Option<usize>> {
        let mut at = vec![None; grid.n_cols];
        for (col, places) in self.cols.iter().enumerate() {
            for &place in places {
                at[place] = Some(col);
            }
        }
        at
    }

    /// What the columns' copies can hold together at a row place, on the mean over copies and with the sign
    /// of the column, for those that cannot hold everything: column and `[lo, hi]`, by column.
    pub(crate) fn reaches_at(&self, row: usize, cols: &[Option<usize>]) -> Vec<(usize, [f64; 2])> {
        let copies = self.copies() as f64;
        let spoiled = &self.site.spoiled[row];
        let mut reaches: Vec<(usize, [f64; 2])> = Vec::with_capacity(spoiled.len());
        for spoiled in spoiled {
            let Some(col) = cols[spoiled.col] else { continue };
            let [lo, hi] = spoiled.reach;
            // A column that stands once is not there yet.
            let known = if copies > 1.0 { reaches.len() } else { 0 };
            match reaches[..known].iter_mut().find(|(there, _)| *there == col) {
                Some((_, reach)) => {
                    reach[0] += (lo + 1.0) / copies;
                    reach[1] += (hi - 1.0) / copies;
                }
                None => {
                    reaches.push((col, [-1.0 + (lo + 1.0) / copies, 1.0 + (hi - 1.0) / copies]))
                }
            }
        }
        for (col, reach) in &mut reaches {
            if self.signs[*col] < 0.0 {
                *reach = [-reach[1], -reach[0]];
            }
        }
        reaches
    }

    /// What every weight can be, as shares of the largest and on the mean over copies, with the columns'
    /// signs: lowest and highest, `[tile rows, columns]`.
    pub(crate) fn reach(&self, grid: &Grid) -> [Array2<f64>; 2] {
        let dim = (self.rows.len(), self.cols.len());
        let mut lo = Array2::from_elem(dim, -1.0);
        let mut hi = Array2::from_elem(dim, 1.0);
        let cols = self.cols_at_places(grid);
        for (row, &place) in self.rows.iter().enumerate() {
            for (col, reach) in self.reaches_at(place, &cols) {
                lo[(row, col)] = reach[0];
                hi[(row, col)] = reach[1];
            }
        }
        [lo, hi]
    }
}

/// By how much a weight lies outside what can be held.
pub(crate) fn excess(w: f64, [lo, hi]: [f64; 2]) -> f64 {
    (w - hi).max(0.0) + (lo - w).max(0.0)
}
