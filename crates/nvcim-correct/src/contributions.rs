//! What a tile's conversions are worth: from normalised currents to what the tile adds to its layer's outputs.

use ndarray::{Array1, Array2};
use nvcim_ir::programmed::ProgrammedTile;

/// What a tile adds to its outputs, `[vectors, tile columns]`.
pub(crate) fn contributions(
    tile: &ProgrammedTile,
    currents: &Array2<f32>,
    drive_sums: &Array1<f32>,
) -> Array2<f32> {
    let mut added = shared_contributions(tile, currents, drive_sums);
    for (scaled, currents) in tile.readouts.iter().zip(currents.columns()) {
        let col = scaled.readout.col as usize;
        if col < tile.cols.len() {
            for (added, &y) in added.column_mut(col).iter_mut().zip(currents) {
                *added += scaled.scale * y + scaled.shift;
            }
        }
    }
    added
}

/// What the digital sum of drives contributes to each output, `[vectors, tile columns]`: it is exact.
pub(crate) fn drive_contributions(tile: &ProgrammedTile, drive_sums: &Array1<f32>) -> Array2<f32> {
    let mut exact = Array2::zeros((drive_sums.len(), tile.cols.len()));
    if !tile.drive_sum.is_empty() {
        for (mut exact, sum) in exact.rows_mut().into_iter().zip(drive_sums) {
            let gains = tile.drive_sum.iter().map(|per_drive| per_drive * sum);
            exact.iter_mut().zip(gains).for_each(|(exact, gain)| *exact += gain);
        }
    }
    exact
}

/// What the reference column and the drives' sum contribute to each output, `[vectors, tile columns]`.
pub(crate) fn shared_contributions(
    tile: &ProgrammedTile,
    currents: &Array2<f32>,
    drive_sums: &Array1<f32>,
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
