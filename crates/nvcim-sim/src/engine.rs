//! Multiplies by the matrix layers of a loaded image: drives, passes, tiles, conversions.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Zip, s};
use nvcim_ir::ids::{Id, IdVec, LayerId, TileId};
use nvcim_ops::run_program::{Columns, MatrixEngine};

use crate::clips::{ClipCount, Clips};
use crate::drive::{Driver, Part, take_like, take_slice};
use crate::kernel::{Kernel, Scratch};
use crate::noise::{Block, Purpose};

/// A matrix layer ready to run.
#[derive(Debug)]
pub(crate) struct PreparedLayer {
    /// Added digitally, `[n_cols]`.
    pub(crate) bias: Vec<f32>,
    /// Full scales per input unit.
    pub(crate) per_input: f32,
    /// The passes over every tile.
    pub(crate) passes: &'static [Part],
    /// The tiles, in the order in which their contributions are summed.
    pub(crate) tiles: Vec<PreparedTile>,
}

/// A tile ready to run.
#[derive(Debug)]
pub(crate) struct PreparedTile {
    pub(crate) id: TileId,
    /// The rows of the layer's matrix.
    pub(crate) rows: Range<usize>,
    pub(crate) kernel: Kernel,
    /// What each conversion is worth.
    pub(crate) worths: Vec<Worth>,
}

/// What a conversion's result is worth: the output column gains `scale y + shift`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worth {
    /// Column of the layer's matrix.
    pub(crate) col: usize,
    pub(crate) scale: f32,
    pub(crate) shift: f32,
}

/// Multiplies as the die does. Counts clipped conversions, and keeps its working room from call to call:
/// one engine per thread.
#[derive(Debug)]
pub struct ChipEngine<'a> {
    layers: &'a IdVec<LayerId, PreparedLayer>,
    driver: Driver,
    counts: IdVec<TileId, ClipCount>,
    /// Drives of the first and of the second pass.
    drives: [Vec<f32>; 2],
    /// Codes of the first and of the second pass.
    codes: [Vec<f32>; 2],
    scratch: Scratch,
}

impl<'a> ChipEngine<'a> {
    pub(crate) fn new(layers: &'a IdVec<LayerId, PreparedLayer>, driver: Driver) -> Self {
        let n_tiles = layers.iter().map(|layer| layer.tiles.len()).sum();
        Self {
            layers,
            driver,
            counts: (0..n_tiles).map(|_| ClipCount::default()).collect(),
            drives: Default::default(),
            codes: Default::default(),
            scratch: Scratch::default(),
        }
    }

    /// What has been clipped since the engine was made.
    pub fn clips(&self) -> Clips {
        let sum = |layer: &PreparedLayer| {
            layer.tiles.iter().fold(ClipCount::default(), |mut sum, tile| {
                sum += self.counts[tile.id];
                sum
            })
        };
        Clips { tiles: self.counts.clone(), layers: self.layers.iter().map(sum).collect() }
    }
}

impl MatrixEngine for ChipEngine<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        let Self { layers, driver, counts, drives, codes, scratch } = self;
        let PreparedLayer { bias, per_input, passes, tiles } = &layers[layer];
        for (mut out, &bias) in out.outer_iter_mut().zip(bias) {
            out.fill(bias);
        }
        let drive_part = |(&part, buffer)| {
            let mut drives = take_like(buffer, &x);
            driver.fill(part, *per_input, x, drives.view_mut());
            drives
        };
        let drives: Vec<_> = passes.iter().zip(drives).map(drive_part).collect();
        for tile in tiles {
            let len = tile.kernel.n_conversions() * x.ncols();
            for (pass, (drives, codes)) in drives.iter().zip(codes.iter_mut()).enumerate() {
                let drives = drives.slice(s![tile.rows.clone(), ..]);
                let unit = (2 * tile.id.index() + pass) as u32;
                let block = Block { purpose: Purpose::Inference, unit, columns };
                let codes = take_slice(codes, len);
                counts[tile.id] += tile.kernel.convert(drives, block, codes, scratch);
            }
            let [first, second] = &*codes;
            let second = (passes.len() == 2).then_some(&second[..]);
            tile.add_worth(first, second, out.view_mut());
        }
    }
}

impl PreparedTile {
    /// Adds what the codes of the first and of a second pass are worth to `out`, `[n_cols, columns]`.
    fn add_worth(&self, first: &[f32], second: Option<&[f32]>, mut out: ArrayViewMut2<'_, f32>) {
        let n_columns = out.ncols();
        for (conversion, (worth, transfer)) in
            self.worths.iter().zip(self.kernel.transfers()).enumerate()
        {
            let row = conversion * n_columns..(conversion + 1) * n_columns;
            let &Worth { col, scale, shift } = worth;
            let zip = Zip::from(out.row_mut(col)).and(&first[row.clone()]);
            match second {
                None => zip.for_each(|out, &code| *out += scale * transfer.value(code) + shift),
                Some(second) => zip.and(&second[row]).for_each(|out, &positive, &negative| {
                    let y = transfer.value(positive) - transfer.value(negative);
                    *out += scale * y + shift;
                }),
            }
        }
    }
}
