//! What is known to be stuck under the cells of a tile, and which weights they can still hold.

use std::collections::BTreeMap;

use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::Cell;
use nvcim_chip::record::{ArrayRecord, DieRecord};
use nvcim_ir::ids::ArrayId;
use nvcim_ir::tiled::Wiring;

/// Stuck cells of one array by physical row and column, in siemens.
pub(crate) type FaultMap = BTreeMap<(u32, u32), f64>;

/// What the positive and the negative cell of a slice are stuck at, in siemens, where they are.
pub(crate) type Stuck = (Option<f64>, Option<f64>);

/// Stuck cells under a tile's positive and negative cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) plus: FaultMap,
    pub(crate) minus: FaultMap,
}

impl Faults {
    /// The faults of a tile's two arrays, none without a die; an error names an array that the die lacks.
    pub(crate) fn of_arrays(
        [plus, minus]: [ArrayId; 2],
        die: Option<&DieRecord>,
    ) -> Result<Self, ArrayId> {
        let find = |array: ArrayId| match die {
            None => Ok(FaultMap::new()),
            Some(die) => die.arrays.get(array).map(index_faults).ok_or(array),
        };
        Ok(Self { plus: find(plus)?, minus: find(minus)? })
    }

    /// What one pair, or one cell, is stuck at.
    pub(crate) fn find(&self, wiring: &Wiring, row: usize, lane: usize) -> Stuck {
        let plus = self.plus.get(&(wiring.plus_rows[row], wiring.plus_cols[lane]));
        let minus = || self.minus.get(&(wiring.minus_rows[row], wiring.minus_cols[lane]));
        (plus.copied(), if wiring.is_paired() { minus().copied() } else { None })
    }
}

/// Indexes the stuck cells of an array.
pub(crate) fn index_faults(array: &ArrayRecord) -> FaultMap {
    array.stuck.iter().map(|cell| ((cell.row, cell.col), f64::from(cell.g))).collect()
}

/// The weights that a copy of a weight can hold, as shares of the largest: `[lo, hi]`, -1 to 1 where every
/// cell is free.
///
/// `stuck` holds the conductances of each slice's stuck cells; `cell` is the cell at the time of use.
pub(crate) fn reach_of(stuck: &[Stuck], code: &WeightCode, cell: &Cell) -> [f64; 2] {
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

    use super::reach_of;

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
