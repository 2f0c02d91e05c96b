//! What a tile's conversions are worth: from normalised currents to what the tile adds to its layer's outputs.
//!
//! Results lie in memory column by column, as currents do.

use ndarray::{Array2, ArrayView1, ArrayView2, ShapeBuilder, Zip};
use nvcim_ir::programmed::ProgrammedTile;

/// What a tile adds to its outputs, `[vectors, tile columns]`.
pub(crate) fn contributions(
    tile: &ProgrammedTile,
    currents: ArrayView2<'_, f32>,
    drive_sums: ArrayView1<'_, f32>,
) -> Array2<f32> {
    let mut added = shared_contributions(tile, currents, drive_sums);
    for (scaled, currents) in tile.readouts.iter().zip(currents.columns()) {
        let col = scaled.readout.col as usize;
        if col < tile.cols.len() {
            let (scale, shift) = (scaled.scale, scaled.shift);
            Zip::from(added.column_mut(col)).and(currents).for_each(|added, y| {
                *added += scale * y + shift;
            });
        }
    }
    added
}

/// What the digital sum of drives contributes to each output, `[vectors, tile columns]`: it is exact.
pub(crate) fn drive_contributions(
    tile: &ProgrammedTile,
    drive_sums: ArrayView1<'_, f32>,
) -> Array2<f32> {
    let mut exact = Array2::zeros((drive_sums.len(), tile.cols.len()).f());
    for (mut exact, &per_drive) in exact.columns_mut().into_iter().zip(&tile.drive_sum) {
        exact.scaled_add(per_drive, &drive_sums);
    }
    exact
}

/// What the reference column and the drives' sum contribute to each output, `[vectors, tile columns]`.
pub(crate) fn shared_contributions(
    tile: &ProgrammedTile,
    currents: ArrayView2<'_, f32>,
    drive_sums: ArrayView1<'_, f32>,
) -> Array2<f32> {
    let mut shared = drive_contributions(tile, drive_sums);
    for (scaled, currents) in tile.readouts.iter().zip(currents.columns()) {
        if scaled.readout.col as usize == tile.cols.len() {
            let worth = currents.mapv(|y| scaled.scale * y + scaled.shift);
            shared.columns_mut().into_iter().for_each(|mut shared| shared += &worth);
        }
    }
    shared
}
