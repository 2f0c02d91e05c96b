//! Corrections after programming: ranges and digital scales from what the programmed die answers.
//!
//! The same procedure a lab follows by hand: drive each tile with real input vectors, widen or narrow
//! ADC ranges until the codes fill them, then fit every column against the product it should give.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Accumulate, BitSerial, Chip, InputDrive, RangePer};
use nvcim_chip::die::Die;
use nvcim_chip::effects::dac;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{Id, LayerId, TileId};
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile, verify_programmed};
use nvcim_ir::tiled::{AdcRange, TiledNet};
use nvcim_ops::tensor::Tensor;

use crate::affine::fit_column;
use crate::before::offset_per_drive;
use crate::plan::Plan;
use crate::probe::{Codes, probe_tile};
use crate::ranges::{MAX_ROUNDS, close_in, join, join_shared, widen_clipped};
use crate::vectors::collect_vectors;

/// What the measurements of one tile changed.
#[derive(Debug, Clone, PartialEq)]
pub struct TileFit {
    /// The tile.
    pub tile: TileId,
    /// Root mean square error of its columns on the calibration vectors under nominal scales, in
    /// output units.
    pub rms_before: f64,
    /// The same with the fitted ranges and scales.
    pub rms_after: f64,
}

/// A net with ranges and scales fitted to one die.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The net.
    pub net: ProgrammedNet,
    /// One entry per tile, in order.
    pub tiles: Vec<TileFit>,
}

/// Fits ranges and scales to a die that `programmed` was programmed onto.
///
/// `calibration` is `[samples, sample shape...]`, unlabelled. The die is driven with the clean
/// activations of every layer.
///
/// # Errors
/// Whatever the die reports.
pub fn correct_after(
    net: &TiledNet,
    mut programmed: ProgrammedNet,
    chip: &Chip,
    die: &mut dyn Die,
    calibration: &Tensor,
    plan: Plan,
) -> Result<Fitted> {
    if !plan.measures() {
        return Ok(Fitted { net: programmed, tiles: Vec::new() });
    }
    let vectors = collect_vectors(net, calibration);
    let code = WeightCode::new(chip);
    let mut bench = Bench { chip, die };
    let probes: Vec<Probe> = net
        .tiles
        .iter()
        .map(|tile| {
            let layer = &net.layers[tile.layer];
            let x = vectors[tile.layer].slice_axis(Axis(1), tile.rows.clone().into());
            let full_scale = layer.input.full_scale;
            let sums = x.mapv(|x| dac::quantize_drive(x / full_scale, chip.dac.bits));
            Probe {
                drives: x.mapv(|x| (x / full_scale).clamp(-1.0, 1.0)),
                signed: layer.input.signed,
                wanted: x.dot(&layer.weights(tile.rows.clone(), tile.cols.clone())),
                drive_sums: sums.sum_axis(Axis(1)),
                offset_per_drive: offset_per_drive(layer, &code, &chip.cell) as f32,
            }
        })
        .collect();
    let mut fits = Vec::new();
    for (tile, probe) in programmed.tiles.iter().zip(&probes) {
        let currents = bench.measure(tile, probe, &ranges_of(tile))?;
        let rms_before = rms_error(tile, &currents, probe);
        fits.push(TileFit { tile: TileId::new(fits.len()), rms_before, rms_after: rms_before });
    }
    if plan.ranges {
        bench.fit_ranges(&mut programmed, &probes)?;
    }
    for ((tile, probe), fit) in programmed.tiles.iter_mut().zip(&probes).zip(&mut fits) {
        let currents = bench.measure(tile, probe, &ranges_of(tile))?;
        if plan.affine {
            fit_tile(tile, &currents, probe);
        }
        fit.rms_after = rms_error(tile, &currents, probe);
    }
    verify_programmed(&programmed, chip.array_size(), chip.cell.n_levels)?;
    Ok(Fitted { net: programmed, tiles: fits })
}

/// What one tile is driven with and should answer.
struct Probe {
    /// `[vectors, tile rows]`, in units of the DAC's full scale.
    drives: Array2<f32>,
    signed: bool,
    /// The clean partial product, `[vectors, tile columns]`, in output units.
    wanted: Array2<f32>,
    /// The digital sums of the drives, quantised, `[vectors]`.
    drive_sums: Array1<f32>,
    /// What an offset adds to every output per unit of them.
    offset_per_drive: f32,
}

/// A die beside its design.
struct Bench<'a> {
    chip: &'a Chip,
    die: &'a mut dyn Die,
}

impl Bench<'_> {
    fn probe(
        &mut self,
        tile: &ProgrammedTile,
        probe: &Probe,
        ranges: &[AdcRange],
    ) -> Result<Codes> {
        probe_tile(self.die, self.chip, tile, probe.signed, ranges, probe.drives.view())
    }

    /// Normalised currents, `[vectors, readouts]`.
    fn measure(
        &mut self,
        tile: &ProgrammedTile,
        probe: &Probe,
        ranges: &[AdcRange],
    ) -> Result<Array2<f32>> {
        Ok(self.probe(tile, probe, ranges)?.currents(self.chip, ranges))
    }

    fn fit_ranges(&mut self, net: &mut ProgrammedNet, probes: &[Probe]) -> Result<()> {
        let per = self.chip.adc.range_per;
        let mut per_layer: BTreeMap<LayerId, AdcRange> = BTreeMap::new();
        for (tile, probe) in net.tiles.iter_mut().zip(probes) {
            let mut ranges = self.search_ranges(tile, probe)?;
            join_shared(&mut ranges, per);
            for range in &ranges {
                per_layer
                    .entry(tile.layer)
                    .and_modify(|joined| *joined = join(*joined, *range))
                    .or_insert(*range);
            }
            set_ranges(tile, &ranges);
        }
        if per == RangePer::Layer {
            for tile in net.tiles.iter_mut() {
                let shared = vec![per_layer[&tile.layer]; tile.readouts.len()];
                set_ranges(tile, &shared);
            }
        }
        Ok(())
    }

    /// Ranges that hold all that is converted of a tile.
    ///
    /// Where slices of inputs are converted one by one, a code is their weighted sum and does not say that
    /// one of them clipped. So the digits of the vectors are driven as vectors of their own: all slices of
    /// such a drive have the same digit, and its code is theirs. Where the last slice is a shorter one no
    /// drive does that, and the observed ranges stay.
    fn search_ranges(&mut self, tile: &ProgrammedTile, probe: &Probe) -> Result<Vec<AdcRange>> {
        if let InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate }) =
            self.chip.dac.coding
            && accumulate == Accumulate::Digital
            && !self.chip.dac.bits.is_multiple_of(bits_per_slice)
        {
            return Ok(ranges_of(tile));
        }
        let digits = dac::drives_converted(&self.chip.dac, probe.drives.view());
        let digits: Vec<_> = digits.iter().map(|digits| digits.view()).collect();
        let drives = match &digits[..] {
            [_] => probe.drives.clone(),
            digits => concatenate(Axis(0), digits).expect("all slices have the vectors' shape"),
        };
        let probe = &Probe {
            drives,
            signed: probe.signed,
            wanted: Array2::default((0, 0)),
            drive_sums: Array1::default(0),
            offset_per_drive: 0.0,
        };
        let mut ranges = ranges_of(tile);
        let mut codes = self.probe(tile, probe, &ranges)?;
        for _ in 0..MAX_ROUNDS {
            let Some(wider) = widen_clipped(&codes, &ranges, self.chip) else { break };
            ranges = wider;
            codes = self.probe(tile, probe, &ranges)?;
        }
        Ok(close_in(&codes, &ranges, self.chip))
    }
}

fn ranges_of(tile: &ProgrammedTile) -> Vec<AdcRange> {
    tile.readouts.iter().map(|scaled| scaled.readout.range).collect()
}

fn set_ranges(tile: &mut ProgrammedTile, ranges: &[AdcRange]) {
    for (scaled, range) in tile.readouts.iter_mut().zip(ranges) {
        scaled.readout.range = *range;
    }
}

/// Fits the scales of every column of a tile; its shift goes to the column's first readout.
///
/// A reference column comes first, against the offset that it is to take off: no column could undo its
/// errors, which follow the sum of the drives. What the digital sum of drives contributes is exact.
fn fit_tile(tile: &mut ProgrammedTile, currents: &Array2<f32>, probe: &Probe) {
    let taken_off = probe.drive_sums.mapv(|sum| -probe.offset_per_drive * sum);
    fit_readouts(tile, tile.cols.len(), currents, taken_off.view());
    let shared = shared_contributions(tile, currents, probe);
    for (col, wanted) in probe.wanted.columns().into_iter().enumerate() {
        fit_readouts(tile, col, currents, (&wanted - &shared.column(col)).view());
    }
}

/// Fits the readouts of one column of a tile, or of its reference column, if it has any.
fn fit_readouts(
    tile: &mut ProgrammedTile,
    col: usize,
    currents: &Array2<f32>,
    wanted: ArrayView1<'_, f32>,
) {
    let readouts: Vec<usize> = (0..tile.readouts.len())
        .filter(|&readout| tile.readouts[readout].readout.col as usize == col)
        .collect();
    if readouts.is_empty() {
        return;
    }
    let nominal: Vec<f64> =
        readouts.iter().map(|&readout| f64::from(tile.readouts[readout].scale)).collect();
    let fit = fit_column(currents.select(Axis(1), &readouts).view(), wanted, &nominal);
    for (place, &readout) in readouts.iter().enumerate() {
        tile.readouts[readout].scale = fit.scales[place] as f32;
        tile.readouts[readout].shift = if place == 0 { fit.shift as f32 } else { 0.0 };
    }
}

/// What the reference column and the drives' sum contribute to each output, `[vectors, tile columns]`.
fn shared_contributions(
    tile: &ProgrammedTile,
    currents: &Array2<f32>,
    probe: &Probe,
) -> Array2<f32> {
    let mut shared = Array2::zeros(probe.wanted.dim());
    if !tile.drive_sum.is_empty() {
        for (mut shared, sum) in shared.rows_mut().into_iter().zip(&probe.drive_sums) {
            let gains = tile.drive_sum.iter().map(|per_drive| per_drive * sum);
            shared.iter_mut().zip(gains).for_each(|(shared, gain)| *shared += gain);
        }
    }
    for (scaled, currents) in tile.readouts.iter().zip(currents.columns()) {
        if scaled.readout.col as usize == tile.cols.len() {
            let worth = currents.mapv(|y| scaled.scale * y + scaled.shift);
            shared.columns_mut().into_iter().for_each(|mut shared| shared += &worth);
        }
    }
    shared
}

/// Root mean square difference between what a tile contributes and what it should.
fn rms_error(tile: &ProgrammedTile, currents: &Array2<f32>, probe: &Probe) -> f64 {
    let mut error = (shared_contributions(tile, currents, probe) - &probe.wanted).mapv(f64::from);
    for (scaled, currents) in tile.readouts.iter().zip(currents.columns()) {
        let col = scaled.readout.col as usize;
        if col == tile.cols.len() {
            continue;
        }
        for (error, &y) in error.column_mut(col).iter_mut().zip(currents) {
            *error += f64::from(scaled.scale * y + scaled.shift);
        }
    }
    let count = error.len().max(1) as f64;
    (error.iter().map(|error| error * error).sum::<f64>() / count).sqrt()
}
