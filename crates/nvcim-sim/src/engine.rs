//! Multiplies by the matrix layers of a loaded image: drives, passes, tiles, conversions.

use std::collections::BTreeMap;
use std::mem;

use ndarray::{ArrayView2, ArrayViewMut2};
use nvcim_chip::real::Real;
use nvcim_ir::ids::{Id, IdVec, LayerId, TileId};
use nvcim_ops::run_program::{Columns, MatrixEngine, fill_bias};

use crate::clips::{ClipCount, Clips};
use crate::drive::{Coding, Driver, Drives, Part};
use crate::noise::{Block, Purpose};
use crate::record::{Conversions, Place, Recorder};
use crate::tile::{PreparedTile, TileScratch};

/// A matrix layer ready to run.
#[derive(Debug)]
pub(crate) struct PreparedLayer<T> {
    /// Added digitally, `[n_cols]`.
    pub(crate) bias: Vec<f32>,
    /// Full scales per input unit.
    pub(crate) per_input: T,
    /// The different shifts of drives among the tiles, in the order in which they are met.
    pub(crate) shifts: Vec<T>,
    /// The passes over every tile.
    pub(crate) passes: &'static [Part],
    /// The tiles, in the order in which their contributions are summed.
    pub(crate) tiles: Vec<PreparedTile<T>>,
}

/// Multiplies as the die does. Counts clipped conversions, and keeps its working room from call to call:
/// one engine per thread.
#[derive(Debug)]
pub struct ChipEngine<'a, T = f32> {
    layers: &'a IdVec<LayerId, PreparedLayer<T>>,
    driver: &'a Driver<T>,
    counts: IdVec<TileId, ClipCount>,
    /// One for each shift of a layer, or more.
    drives: Vec<Drives<T>>,
    scratch: TileScratch<T>,
}

impl<'a, T: Real> ChipEngine<'a, T> {
    /// An engine that has counted nothing yet.
    pub(crate) fn new(layers: &'a IdVec<LayerId, PreparedLayer<T>>, driver: &'a Driver<T>) -> Self {
        let n_tiles = layers.iter().map(|layer| layer.tiles.len()).sum();
        Self {
            layers,
            driver,
            counts: (0..n_tiles).map(|_| ClipCount::default()).collect(),
            drives: Vec::new(),
            scratch: TileScratch::default(),
        }
    }

    /// The same engine, which keeps every conversion from now on.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.scratch.kernel.recorder = Some(Recorder::default());
        self
    }

    /// Numbers kept so far.
    pub fn count_recorded(&self) -> usize {
        self.scratch.kernel.recorder.as_ref().map_or(0, Recorder::count_numbers)
    }

    /// What the engine has kept so far, place by place; nothing unless it is recording.
    pub fn take_record(&mut self) -> BTreeMap<Place, Conversions<T>> {
        let recorder = self.scratch.kernel.recorder.as_mut().map(mem::take);
        recorder.map(Recorder::into_conversions).unwrap_or_default()
    }

    /// What has been clipped since the engine was made.
    pub fn clips(&self) -> Clips {
        let sum = |layer: &PreparedLayer<T>| {
            layer.tiles.iter().fold(ClipCount::default(), |mut sum, tile| {
                sum += self.counts[tile.id];
                sum
            })
        };
        Clips { tiles: self.counts.clone(), layers: self.layers.iter().map(sum).collect() }
    }
}

impl<T: Real> MatrixEngine for ChipEngine<'_, T> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        let Self { layers, driver, counts, drives, scratch } = self;
        let PreparedLayer { bias, per_input, shifts, passes, tiles } = &layers[layer];
        fill_bias(&mut out, bias);
        let number = layer.index() as u32;
        let block = Block { purpose: Purpose::Inference, unit: 2 * number, cells: number, columns };
        drives.resize_with(shifts.len().max(drives.len()), Drives::default);
        for (drives, &shift) in drives.iter_mut().zip(shifts) {
            drives.fill(driver, passes, Coding { per_input: *per_input, shift }, x, block);
        }
        for tile in tiles {
            let drives = &drives[tile.shift];
            counts[tile.id] += tile.multiply(drives, columns, out.view_mut(), scratch);
        }
    }
}
