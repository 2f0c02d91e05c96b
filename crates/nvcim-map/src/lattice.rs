//! Weights of quantised networks on the levels of cells: whole numbers stay whole numbers.
//!
//! The weights of a quantised network are whole multiples of one number, their *pitch*: for a tensor, or for each
//! output channel. It is found from the weights, whatever tool has quantised them and however that is spelled in
//! the file. A chip whose weights have `N` steps from 0 to the largest then gives a column with multiples up to
//! `n` a range of `pitch N / m` with `m = floor(N / n)` steps to a pitch: each weight is a level exactly.
//!
//! Without levels there is nothing to fall on, and with too few of them nothing falls on one: such columns keep the
//! range of their layer, as do all columns of a layer with one that is not quantised.

pub(crate) mod inputs;

use ndarray::{ArrayBase, ArrayView1, Data, Dimension};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::Chip;
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::MatrixLayer;

use crate::span::Span;

/// The largest multiple that is looked for: that of 8 signed bits.
const MAX_MULTIPLE: u32 = 128;

/// How far from a whole number a weight over its pitch may be, per unit of the largest multiple: twice what
/// rounding weight and pitch to f32 can make of it, with room for one more product.
const TOLERANCE: f64 = 4.0 / 8_388_608.0;

/// Sets the ranges of columns so that the levels of cells hold whole weights, where there are such.
pub(crate) fn set_ranges(layers: &mut IdVec<LayerId, MatrixLayer>, chip: &Chip) {
    let code = WeightCode::new(chip);
    let Some(n_steps) = code.n_steps() else { return };
    // A gain for each column undoes ranges of its own; a reference column knows one range alone.
    let by_column = chip.holds.column_affine && code.is_paired();
    for layer in layers.iter_mut() {
        if by_column {
            set_by_column(layer, n_steps);
        } else if let Some(range) = fit_range(layer.blocks.iter(), layer.ranges[0], n_steps) {
            layer.ranges.fill(range);
        }
    }
}

/// Gives every column a range of its own, if the weights of all of them are multiples.
fn set_by_column(layer: &mut MatrixLayer, n_steps: f64) {
    let blocks: Vec<_> = layer.blocks.outer_iter().collect();
    let columns = blocks.iter().flat_map(|block| block.columns());
    let fit = |(column, &range): (ArrayView1<'_, f32>, &f32)| match magnitude(&column) {
        0.0 => Some(range),
        largest => fit_range(column.iter(), largest, n_steps),
    };
    if let Some(ranges) = columns.zip(&layer.ranges).map(fit).collect() {
        layer.ranges = ranges;
    }
}

/// The least range, at least the largest weight, whose `n_steps` levels hold all `weights` up to `largest`.
fn fit_range<'a>(
    weights: impl Iterator<Item = &'a f32> + Clone,
    largest: f32,
    n_steps: f64,
) -> Option<f32> {
    let Pitch { pitch, multiple } = find_pitch(weights, largest)?;
    range_of(pitch, f64::from(multiple), n_steps)
}

/// The least range whose `n_steps` steps hit all multiples of `pitch` up to `multiple`, if there is one.
fn range_of(pitch: f64, multiple: f64, n_steps: f64) -> Option<f32> {
    let per_pitch = (n_steps / multiple).floor();
    (per_pitch >= 1.0).then(|| (pitch * n_steps / per_pitch) as f32)
}

/// What numbers are multiples of.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pitch {
    pitch: f64,
    /// The largest multiple among them.
    multiple: u32,
}

/// The largest magnitude among some numbers.
fn magnitude<S: Data<Elem = f32>, D: Dimension>(numbers: &ArrayBase<S, D>) -> f32 {
    Span::of_array(numbers).join(Span::ZERO).magnitude()
}

/// The largest pitch of some numbers up to `largest`, with multiples up to [`MAX_MULTIPLE`]; nothing where all
/// are 0.
fn find_pitch<'a>(numbers: impl Iterator<Item = &'a f32> + Clone, largest: f32) -> Option<Pitch> {
    let largest = f64::from(largest);
    if largest == 0.0 {
        return None;
    }
    let holds = |multiple: &u32| {
        let per_number = f64::from(*multiple) / largest;
        let tolerance = TOLERANCE * f64::from(*multiple);
        numbers.clone().all(|&number| {
            let multiples = f64::from(number) * per_number;
            (multiples - multiples.round()).abs() <= tolerance
        })
    };
    let multiple = (1..=MAX_MULTIPLE).find(holds)?;
    Some(Pitch { pitch: largest / f64::from(multiple), multiple })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, aview1};
    use nvcim_chip::coding::WeightCode;
    use nvcim_chip::describe::{Chip, SignCoding};
    use nvcim_ir::ids::{Id, IdVec, LayerId};
    use nvcim_ir::tiled::{InputCoding, MatrixLayer};
    use proptest::prelude::*;

    use super::{Pitch, find_pitch, magnitude, set_ranges};
    use crate::testing::plain_chip;

    fn layers(blocks: Array3<f32>) -> IdVec<LayerId, MatrixLayer> {
        let largest = blocks.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        let n_cols = blocks.dim().0 * blocks.dim().2;
        let layer = MatrixLayer {
            name: "l".into(),
            blocks: blocks.into_shared(),
            bias: vec![0.0; n_cols],
            input: InputCoding { full_scale: 1.0, signed: false },
            ranges: vec![largest; n_cols],
        };
        std::iter::once(layer).collect()
    }

    fn chip(levels: Option<u32>) -> Chip {
        let mut chip = plain_chip();
        chip.cell.n_levels = levels;
        chip.holds.column_affine = true;
        chip
    }

    /// The largest error of a weight that cells hold, in its column's range.
    fn error(layer: &MatrixLayer, chip: &Chip) -> f64 {
        let code = WeightCode::new(chip);
        let (_, _, block_cols) = layer.blocks.dim();
        let off = layer.blocks.indexed_iter().map(|((block, _, col), &weight)| {
            let share = f64::from(weight) / f64::from(layer.ranges[block * block_cols + col]);
            (code.decode(code.encode(share)) - share).abs()
        });
        off.fold(0.0, f64::max)
    }

    proptest! {
        #[test]
        fn whole_weights_of_every_channel_are_levels(
            whole in prop::collection::vec(-127..=127i32, 2 * 6 * 3),
            pitches in prop::collection::vec(1e-4..1.0f32, 2 * 3),
            chip in prop::sample::select(vec![chip(Some(256)), chip(Some(128))]),
        ) {
            let blocks = Array3::from_shape_fn((2, 6, 3), |(block, row, col)| {
                whole[(block * 6 + row) * 3 + col] as f32 * pitches[block * 3 + col]
            });
            let mut layers = layers(blocks);
            set_ranges(&mut layers, &chip);
            let layer = &layers[Id::new(0)];
            prop_assert!(error(layer, &chip) < 1e-6, "{}", error(layer, &chip));
            // And the range is not twice as wide as it need be.
            for (block, blocks) in layer.blocks.outer_iter().enumerate() {
                for (col, weights) in blocks.columns().into_iter().enumerate() {
                    let largest = weights.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
                    let range = layer.ranges[block * 3 + col];
                    prop_assert!(largest <= 1.000_001 * range);
                    prop_assert!(largest == 0.0 || range < 2.0 * largest);
                }
            }
        }
    }

    #[test]
    fn one_and_two_bit_weights_land_on_binary_cells() {
        let ternary = [[1.0, -1.0], [0.0, 1.0], [-1.0, 1.0]].map(|row| row.map(|w: f32| 0.37 * w));
        let blocks = Array3::from_shape_fn((1, 3, 2), |(_, row, col)| ternary[row][col]);
        let mut layers = layers(blocks);
        set_ranges(&mut layers, &chip(Some(2)));
        assert_eq!(layers[Id::new(0)].ranges, [0.37; 2]);
        assert_eq!(error(&layers[Id::new(0)], &chip(Some(2))), 0.0);
    }

    #[test]
    fn what_is_not_whole_or_has_no_gain_keeps_the_range_of_its_layer() {
        let blocks = Array3::from_shape_fn((1, 3, 2), |(_, row, col)| {
            [0.5, 0.3, 0.1][row] * [1.0, 0.77][col]
        });
        let mut float = layers(blocks.mapv(|w: f32| w.sqrt()));
        set_ranges(&mut float, &chip(Some(256)));
        assert_eq!(float[Id::new(0)].ranges, [0.5_f32.sqrt(); 2]);
        // Both columns are multiples, of two pitches: 255 steps hold 51 to a pitch of 0.1.
        let mut whole = layers(blocks.clone());
        let mut lent = chip(Some(256));
        lent.holds.column_affine = false;
        set_ranges(&mut whole, &lent);
        assert_eq!(whole[Id::new(0)].ranges, [0.5; 2]);
        lent.weights.sign = SignCoding::OffsetColumn;
        lent.holds.column_affine = true;
        set_ranges(&mut whole, &lent);
        assert_eq!(whole[Id::new(0)].ranges, [0.5; 2]);
        // Continuous cells hold any weight.
        set_ranges(&mut whole, &chip(None));
        assert_eq!(whole[Id::new(0)].ranges, [0.5; 2]);
        set_ranges(&mut whole, &chip(Some(4)));
        assert_eq!(whole[Id::new(0)].ranges, [0.5; 2]);
    }

    #[test]
    fn the_largest_pitch_is_found() {
        let find = |numbers: &[f32]| find_pitch(numbers.iter(), magnitude(&aview1(numbers)));
        assert_eq!(find(&[0.75, -0.25, 0.0]), Some(Pitch { pitch: 0.25, multiple: 3 }));
        assert_eq!(find(&[-2.0]), Some(Pitch { pitch: 2.0, multiple: 1 }));
        assert_eq!(find(&[0.0, 0.0]), None);
        assert_eq!(find(&[1.0, std::f32::consts::FRAC_1_SQRT_2]), None);
    }
}
