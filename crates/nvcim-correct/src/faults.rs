//! What is known to be stuck under the cells of a tile, and which weights they can still hold.

use std::sync::Arc;

use nvcim_chip::closest::StuckPair;
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::Cell;
use nvcim_chip::record::{ArrayRecord, DieRecord};
use nvcim_ir::ids::ArrayId;
use nvcim_ir::tiled::Wiring;

/// Stuck cells of one array by physical row and column, in siemens.
///
/// Dies can have thousands of them on each of hundreds of arrays, and every cell of a tile is looked up: so
/// they stand in one list, by row and column, and copies share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultMap(Arc<FaultList>);

#[derive(Debug, Default)]
struct FaultList {
    /// Ascending, every cell once.
    cells: Vec<((u32, u32), f64)>,
    /// Where each row begins in the list, and one more; rows beyond have none.
    starts: Vec<usize>,
}

/// Stuck cells under a tile's positive and negative cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) plus: FaultMap,
    pub(crate) minus: FaultMap,
}

impl FaultMap {
    /// The stuck cells of an array; of a cell that is named twice the last counts.
    pub(crate) fn new(array: &ArrayRecord) -> Self {
        let stuck = array.stuck.iter();
        stuck.map(|cell| ((cell.row, cell.col), f64::from(cell.g))).collect()
    }

    /// What a cell is stuck at, where it is.
    pub(crate) fn get(&self, row: u32, col: u32) -> Option<f64> {
        let FaultList { cells, starts } = &*self.0;
        let row = row as usize;
        let of_row = &cells[*starts.get(row)?..*starts.get(row + 1)?];
        let at = of_row.binary_search_by_key(&col, |((_, col), _)| *col).ok()?;
        Some(of_row[at].1)
    }

    /// All stuck cells, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ((u32, u32), f64)> {
        self.0.cells.iter().copied()
    }

    /// Whether both are copies of one list.
    fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<((u32, u32), f64)> for FaultMap {
    fn from_iter<I: IntoIterator<Item = ((u32, u32), f64)>>(cells: I) -> Self {
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.sort_by_key(|(place, _)| *place);
        cells.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                *kept = *later;
            }
            same
        });
        let n_rows = cells.last().map_or(0, |((row, _), _)| *row as usize + 1);
        let mut starts = vec![0; n_rows + 1];
        for ((row, _), _) in &cells {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..n_rows {
            starts[row + 1] += starts[row];
        }
        Self(Arc::new(FaultList { cells, starts }))
    }
}

impl Faults {
    /// The faults of a tile's two arrays, none without a die; an error names an array that the die lacks.
    pub(crate) fn of_arrays(
        [plus, minus]: [ArrayId; 2],
        die: Option<&DieRecord>,
    ) -> Result<Self, ArrayId> {
        let find = |array: ArrayId| match die {
            None => Ok(FaultMap::default()),
            Some(die) => die.arrays.get(array).map(FaultMap::new).ok_or(array),
        };
        let of_plus = find(plus)?;
        let of_minus = if plus == minus { of_plus.clone() } else { find(minus)? };
        Ok(Self { plus: of_plus, minus: of_minus })
    }

    /// Whether no cell is stuck.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.plus, &self.minus].iter().all(|map| map.0.cells.is_empty())
    }

    /// What one pair, or one cell, is stuck at.
    pub(crate) fn find(&self, wiring: &Wiring, row: usize, lane: usize) -> StuckPair {
        let plus = self.plus.get(wiring.plus_rows[row], wiring.plus_cols[lane]);
        let minus = || self.minus.get(wiring.minus_rows[row], wiring.minus_cols[lane]);
        (plus, if wiring.is_paired() { minus() } else { None })
    }

    /// All stuck cells, positive and negative ones, each once where both are those of one array.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (u32, u32)> {
        let minus = (!self.plus.is_shared_with(&self.minus)).then(|| self.minus.iter());
        self.plus.iter().chain(minus.into_iter().flatten()).map(|(place, _)| place)
    }
}

/// The weights that a copy of a weight can hold, as shares of the largest: `[lo, hi]`, -1 to 1 where every
/// cell is free.
///
/// `stuck` holds the conductances of each slice's stuck cells; `cell` is the cell at the time of use.
pub(crate) fn reach_of(stuck: &[StuckPair], code: &WeightCode, cell: &Cell) -> [f64; 2] {
    let share = |g: f64| (g - cell.g_min) / cell.range();
    let (mut lo, mut hi) = (-code.zero(), -code.zero());
    for (factor, &(plus, minus)) in code.factors().iter().zip(stuck) {
        let (plus, minus) = (plus.map(share), minus.map(share));
        let takes_off = if code.is_paired() { [1.0, 0.0] } else { [0.0, 0.0] };
        lo += factor * (plus.unwrap_or(0.0) - minus.unwrap_or(takes_off[0]));
        hi += factor * (plus.unwrap_or(1.0) - minus.unwrap_or(takes_off[1]));
    }
    [lo, hi]
}

#[cfg(test)]
mod tests {
    use nvcim_chip::coding::WeightCode;
    use nvcim_chip::describe::Cell;
    use nvcim_chip::presets::find_preset;

    use super::{FaultMap, reach_of};

    #[test]
    fn a_cell_is_found_where_it_is_and_nowhere_else() {
        let cells = [((3, 1), 0.25), ((0, 7), 0.5), ((3, 0), 0.75), ((3, 1), 1.0)];
        let map: FaultMap = cells.into_iter().collect();
        assert_eq!(map.iter().count(), 3);
        assert_eq!(
            [(0, 7), (3, 0), (3, 1)].map(|(row, col)| map.get(row, col)),
            [Some(0.5), Some(0.75), Some(1.0)]
        );
        assert_eq!([(0, 1), (1, 1), (3, 2), (4, 1)].map(|(row, col)| map.get(row, col)), [None; 4]);
        assert_eq!(FaultMap::default().get(0, 0), None);
    }

    #[test]
    fn a_stuck_cell_halves_what_a_pair_can_hold() {
        let code = WeightCode::new(&find_preset("ideal").unwrap());
        let cell = Cell { g_min: 1.0, g_max: 3.0, n_levels: None };
        assert_eq!(reach_of(&[(None, None)], &code, &cell), [-1.0, 1.0]);
        assert_eq!(reach_of(&[(Some(3.0), None)], &code, &cell), [0.0, 1.0]);
        assert_eq!(reach_of(&[(None, Some(2.0))], &code, &cell), [-0.5, 0.5]);
        assert_eq!(reach_of(&[(Some(1.0), Some(3.0))], &code, &cell), [-1.0, -1.0]);
        // Outside the range, after its free partners have drifted away from it.
        assert_eq!(reach_of(&[(Some(5.0), None)], &code, &cell), [1.0, 2.0]);
    }
}
