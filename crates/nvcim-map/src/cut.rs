//! Cutting matrices into rectangles that fit one array each.
//!
//! A matrix that is too long or too wide is cut into pieces of nearly equal size: the fewest that fit,
//! since more cuts mean more conversions, and balanced, since then all their converter ranges are
//! alike. A grouped layer is cut along the borders of its blocks, as many whole blocks together as fit;
//! rectangles that hold only the zeros between blocks are never mapped.

use std::ops::Range;

use nvcim_chip::describe::{Arrays, Chip, PairAxis, SignCoding};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{Id, LayerId};

/// The largest matrix that one tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Rows of the matrix.
    pub n_rows: usize,
    /// Columns of the matrix.
    pub n_cols: usize,
}

/// A rectangle of a layer's matrix that becomes a tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The layer.
    pub layer: LayerId,
    /// Rows of the layer's matrix.
    pub rows: Range<usize>,
    /// Columns of the layer's matrix.
    pub cols: Range<usize>,
}

/// The room on one array of a chip; an error where there is none.
pub fn measure_room(chip: &Chip) -> Result<Room> {
    let room = room_of(chip);
    if room.n_rows > 0 && room.n_cols > 0 {
        return Ok(room);
    }
    let Arrays { n_rows, n_cols, spare_rows, spare_cols, reserved_rows, reserved_cols, .. } =
        chip.arrays;
    let message = format!(
        "has no room for a weight on arrays of {n_rows}x{n_cols}, of which {spare_rows}x{spare_cols} \
         lines are spare and {reserved_rows}x{reserved_cols} reserved"
    );
    let hint = "lower the spare or reserved rows and columns, or enlarge the arrays";
    Err(Diagnostic::unsupported(format!("chip `{}`", chip.name), message).hint(hint).into())
}

/// The room of one tile, without spare and reserved lines; 0 where there is none.
pub(crate) fn room_of(chip: &Chip) -> Room {
    let arrays = &chip.arrays;
    let free_rows = arrays.n_rows.saturating_sub(arrays.spare_rows + arrays.reserved_rows);
    let free_cols = arrays.n_cols.saturating_sub(arrays.spare_cols + arrays.reserved_cols);
    let n_slices = chip.weights.significance.len();
    match (chip.weights.sign, arrays.pairs) {
        (SignCoding::Pairs, PairAxis::Columns) => {
            Room { n_rows: free_rows, n_cols: free_cols / (2 * n_slices) }
        }
        (SignCoding::Pairs, PairAxis::Rows) => {
            Room { n_rows: free_rows / 2, n_cols: free_cols / n_slices }
        }
        (SignCoding::Pairs, PairAxis::Arrays) | (SignCoding::OffsetDigital, _) => {
            Room { n_rows: free_rows, n_cols: free_cols / n_slices }
        }
        (SignCoding::OffsetColumn, _) => {
            Room { n_rows: free_rows, n_cols: (free_cols / n_slices).saturating_sub(1) }
        }
    }
}

/// Every layer's matrix in rectangles no larger than `room`: by layer, row block, column block. Layers are
/// given by their blocks: how many, and rows and columns of each.
pub fn cut_layers(layers: impl IntoIterator<Item = (usize, usize, usize)>, room: Room) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (index, blocks) in layers.into_iter().enumerate() {
        for (rows, cols) in cut_blocks(blocks, room) {
            cuts.push(Cut { layer: LayerId::new(index), rows, cols });
        }
    }
    cuts
}

fn cut_blocks(
    (groups, block_rows, block_cols): (usize, usize, usize),
    room: Room,
) -> Vec<(Range<usize>, Range<usize>)> {
    let together = (room.n_rows / block_rows).min(room.n_cols / block_cols);
    if together > 0 {
        return split(groups, together)
            .map(|run| {
                (
                    run.start * block_rows..run.end * block_rows,
                    run.start * block_cols..run.end * block_cols,
                )
            })
            .collect();
    }
    let mut res = Vec::new();
    for group in 0..groups {
        for rows in split(block_rows, room.n_rows) {
            for cols in split(block_cols, room.n_cols) {
                let (top, left) = (group * block_rows, group * block_cols);
                res.push((top + rows.start..top + rows.end, left + cols.start..left + cols.end));
            }
        }
    }
    res
}

/// `0..len` in the fewest runs of at most `most`, whose lengths differ by at most one.
pub(crate) fn split(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let pieces = len.div_ceil(most);
    (0..pieces).map(move |piece| len * piece / pieces..len * (piece + 1) / pieces)
}

#[cfg(test)]
mod tests {
    use super::{Room, cut_blocks, split};

    #[test]
    fn pieces_are_few_and_balanced() {
        assert_eq!(split(400, 128).collect::<Vec<_>>(), [0..100, 100..200, 200..300, 300..400]);
        assert_eq!(split(10, 4).collect::<Vec<_>>(), [0..3, 3..6, 6..10]);
        assert_eq!(split(4, 4).count(), 1);
    }

    #[test]
    fn one_block_is_cut_by_rows_then_columns() {
        let room = Room { n_rows: 4, n_cols: 3 };
        let cuts = cut_blocks((1, 6, 4), room);
        assert_eq!(cuts, [(0..3, 0..2), (0..3, 2..4), (3..6, 0..2), (3..6, 2..4)]);
    }

    #[test]
    fn whole_groups_share_a_tile() {
        let room = Room { n_rows: 20, n_cols: 8 };
        let cuts = cut_blocks((5, 9, 1), room);
        assert_eq!(cuts, [(0..9, 0..1), (9..27, 1..3), (27..45, 3..5)]);
    }

    #[test]
    fn a_group_beyond_the_array_is_cut_alone() {
        let room = Room { n_rows: 4, n_cols: 8 };
        let cuts = cut_blocks((2, 6, 2), room);
        assert_eq!(cuts, [(0..3, 0..2), (3..6, 0..2), (6..9, 2..4), (9..12, 2..4)]);
    }
}
