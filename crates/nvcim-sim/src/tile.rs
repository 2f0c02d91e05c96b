//! A tile ready to run: its conversions, and what each of them is worth in the layer's output.
//!
//! Arithmetic, in the kernel's type `T`, each operation rounded once. A code stands for the current
//! `y = lo + D code`, D the LSB of the conversion's range; of two passes `y = y+ - y-`. The conversion adds
//! `scale y + shift` to its outputs, `out = O(T(out) + (scale y + shift))`, rounded once to the output's
//! type `O`; a layer's outputs are f32 and start at its bias. Last, the digital sum of drives
//! `x^ = [1 / s] sum_i code_i`, with the codes of a second pass counted negatively, adds `share x^` likewise.
//!
//! Contributions come in one order: tile by tile, in a tile conversion by conversion, the sum of drives
//! last. A program outside that follows it gets the same numbers, up to the order of additions inside the
//! matrix product.

use std::ops::Range;

use ndarray::{ArrayViewMut1, ArrayViewMut2, Zip, s};
use nvcim_chip::real::Real;
use nvcim_ir::ids::{Id, TileId};
use nvcim_ops::run_program::Columns;

use crate::clips::ClipCount;
use crate::drive::Drives;
use crate::kernel::{Kernel, Scratch};
use crate::noise::{Block, Purpose};
use crate::room::take_slice;

/// A tile ready to run.
#[derive(Debug, Clone)]
pub struct PreparedTile<T = f32> {
    /// Names the tile's noise and counts.
    pub id: TileId,
    /// The rows of the layer's matrix.
    pub rows: Range<usize>,
    /// The columns of the layer's matrix.
    pub cols: Range<usize>,
    /// The conversions.
    pub kernel: Kernel<T>,
    /// What each conversion is worth.
    pub worths: Vec<Worth<T>>,
    /// Output units per unit of summed drive over the tile's rows, in full scales, by column of the tile;
    /// empty for none. What weights with an offset take back digitally.
    pub drive_sum: Vec<T>,
    /// Index of the shift of its drives among those of its layer.
    pub shift: usize,
}

/// What a conversion's result is worth: the outputs of `target` gain `scale y + shift`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth<T = f32> {
    /// Which outputs gain.
    pub target: Target,
    /// Output units per normalised current.
    pub scale: T,
    /// Output units.
    pub shift: T,
}

/// Which outputs a conversion counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One column of the tile, from 0.
    Column(usize),
    /// Every column of the tile: a reference that is digitised like the rest.
    AllColumns,
}

/// Room that tiles work in; any one serves any tile.
#[derive(Debug, Default)]
pub struct TileScratch<T = f32> {
    /// Codes of the first and of the second pass.
    codes: [Vec<T>; 2],
    pub(crate) kernel: Scratch<T>,
    sums: Vec<T>,
}

impl<T: Real> PreparedTile<T> {
    /// Adds what the tile makes of a layer's `drives` to `out`, `[layer columns, columns]`, and counts
    /// what was clipped. `columns` says whose the columns are.
    pub fn multiply<O: Real>(
        &self,
        drives: &Drives<T>,
        columns: Columns,
        mut out: ArrayViewMut2<'_, O>,
        scratch: &mut TileScratch<T>,
    ) -> ClipCount {
        let TileScratch { codes, kernel, sums } = scratch;
        let mut clips = ClipCount::default();
        let len = self.kernel.n_conversions() * out.ncols();
        for (pass, codes) in (0..drives.n_passes()).zip(codes.iter_mut()) {
            let cells = self.id.index() as u32;
            let unit = 2 * cells + pass as u32;
            let block = Block { purpose: Purpose::Inference, unit, cells, columns };
            let drive = drives.pass(pass, self.rows.clone());
            clips += self.kernel.convert(&drive, block, take_slice(codes, len), kernel);
        }
        let mut out = out.slice_mut(s![self.cols.clone(), ..]);
        let [first, second] = &*codes;
        self.add_worths(first, (drives.n_passes() == 2).then_some(&second[..]), out.view_mut());
        if !self.drive_sum.is_empty() {
            let sums = take_slice(sums, out.ncols());
            drives.sum_rows(self.rows.clone(), sums);
            for (out, &worth) in out.outer_iter_mut().zip(&self.drive_sum) {
                gain(out, sums, |sum| worth * sum);
            }
        }
        clips
    }

    /// Adds what the codes of the first and of a second pass are worth.
    fn add_worths<O: Real>(
        &self,
        first: &[T],
        second: Option<&[T]>,
        mut out: ArrayViewMut2<'_, O>,
    ) {
        let n_columns = out.ncols();
        for (conversion, worth) in self.worths.iter().enumerate() {
            let row = conversion * n_columns..(conversion + 1) * n_columns;
            let (first, second) = (&first[row.clone()], second.map(|it| &it[row]));
            match worth.target {
                Target::Column(col) => self.add_worth(conversion, first, second, out.row_mut(col)),
                Target::AllColumns => {
                    out.outer_iter_mut()
                        .for_each(|out| self.add_worth(conversion, first, second, out));
                }
            }
        }
    }

    /// Adds what one conversion's codes are worth to one output column.
    fn add_worth<O: Real>(
        &self,
        conversion: usize,
        first: &[T],
        second: Option<&[T]>,
        out: ArrayViewMut1<'_, O>,
    ) {
        let transfer = self.kernel.transfers()[conversion];
        let Worth { target: _, scale, shift } = self.worths[conversion];
        match second {
            None => gain(out, first, |code| scale * transfer.value(code) + shift),
            Some(second) => {
                Zip::from(out).and(first).and(second).for_each(|out, &positive, &negative| {
                    let y = transfer.value(positive) - transfer.value(negative);
                    *out = O::from_real(T::from_real(*out) + (scale * y + shift));
                });
            }
        }
    }
}

/// Adds to each output what the number beside it is worth.
fn gain<T: Real, O: Real>(out: ArrayViewMut1<'_, O>, numbers: &[T], worth: impl Fn(T) -> T) {
    Zip::from(out).and(numbers).for_each(|out, &number| {
        *out = O::from_real(T::from_real(*out) + worth(number));
    });
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use nvcim_chip::effects::EffectSet;
    use nvcim_chip::real::Real;
    use nvcim_ir::ids::{Id, TileId};
    use nvcim_ops::run_program::{Columns, Nth};

    use super::{PreparedTile, Target, TileScratch, Worth};
    use crate::drive::{Coding, Driver, Drives, Part};
    use crate::kernel::{Currents, Kernel};
    use crate::noise::{Block, Purpose};
    use crate::periphery::{Periphery, Sense};
    use crate::testing::{fresh, plain_chip};

    /// Three conversions over two rows, the first of them a reference, on layer rows 1.. and columns 1..
    fn tile<T: Real>(periphery: &Periphery) -> PreparedTile<T> {
        let weights = array![[0.5, 0.5], [1.0, 0.25], [0.0, 0.75]];
        let currents = Currents { weights, variances: None, leakage: Vec::new() };
        let sense = |range| Sense { gain: 1.0, offset_lsb: 0.0, range, levels: None };
        let senses = [[-4.0, 4.0]; 3].map(sense);
        let worth = |target, scale: f64, shift: f64| Worth {
            target,
            scale: T::from_f64(scale),
            shift: T::from_f64(shift),
        };
        PreparedTile {
            id: TileId::new(0),
            rows: 1..3,
            cols: 1..3,
            kernel: Kernel::new(periphery, &currents, &senses),
            worths: vec![
                worth(Target::AllColumns, -2.0, 0.0),
                worth(Target::Column(0), 2.0, 0.5),
                worth(Target::Column(1), 2.0, 0.0),
            ],
            drive_sum: vec![T::from_f64(0.25), T::from_f64(-1.0)],
            shift: 0,
        }
    }

    fn multiply<T: Real>(parts: &[Part], x: &Array2<f32>) -> Array2<f32> {
        let periphery = Periphery::new(&plain_chip(), 0, &fresh(EffectSet::NONE));
        let columns = Columns { first_sample: 0, per_sample: x.ncols(), layer_use: Nth::ONLY };
        let block = Block { purpose: Purpose::Inference, unit: 0, cells: 0, columns };
        let mut drives = Drives::default();
        drives.fill(&Driver::new(&periphery), parts, Coding::plain(T::ONE), x.view(), block);
        let mut out = Array2::ones((4, x.ncols()));
        let tile = tile::<T>(&periphery);
        tile.multiply(&drives, columns, out.view_mut(), &mut TileScratch::default());
        out
    }

    #[test]
    fn references_count_for_all_columns_and_drives_for_their_sum() {
        let x = array![[9.0, 9.0], [1.0, -0.5], [0.5, 0.25]];
        // By hand: 2 (y - reference) + shift + share x sum, on top of what was there.
        let expected = array![
            [1.0, 1.0],
            [1.0 + 2.0 * (1.125 - 0.75) + 0.5 + 0.25 * 1.5, 1.0 - 0.625 + 0.5 - 0.0625],
            [1.0 + 2.0 * (0.375 - 0.75) - 1.5, 1.0 + 2.0 * (0.1875 + 0.125) + 0.25],
            [1.0, 1.0]
        ];
        for parts in [&[Part::Whole][..], &[Part::Positive, Part::Negative]] {
            let near = |got: &Array2<f32>| {
                got.iter().zip(&expected).all(|(a, b): (&f32, &f32)| (a - b).abs() < 1e-6)
            };
            assert!(near(&multiply::<f32>(parts, &x)), "{}", multiply::<f32>(parts, &x));
            assert!(near(&multiply::<f64>(parts, &x)), "{}", multiply::<f64>(parts, &x));
        }
    }
}
