//! Scales and shifts of a layer's conversions: one by one, together, and by what images that were held out say.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, ShapeBuilder, s};
use nvcim_chip::coding::WeightCode;
use nvcim_ir::ids::{LayerId, TileId};
use nvcim_ir::programmed::ProgrammedTile;

use super::{Bench, Probe, Scales, spread_of, views_from};
use crate::affine::{LEAST_RIDGE, gain_towards};
use crate::affine_norm::AffineNorm;
use crate::contributions::{contributions, drive_contributions, shared_contributions};
use crate::outcome::{Outcome, Place};
use crate::plan::Correction;
use crate::samples::Samples;

/// How firmly joint fits may be held to the one-by-one ones; what does best on held-out images is taken.
const RIDGES: [f64; 4] = [0.003, 0.03, 0.3, 3.0];

/// Scale and shift of every readout, by tile.
type Worths = Vec<Vec<(f32, f32)>>;

impl Bench<'_> {
    /// Fits the scales of a layer, and keeps those that do best on held-out images.
    pub(super) fn fit_scales(
        &mut self,
        layer: LayerId,
        tiles: &[TileId],
        currents: &[Array2<f32>],
        probes: &[Probe],
        samples: &Samples,
    ) {
        let fit_rows = s![..samples.n_fit, ..];
        let fit_currents: Vec<_> = currents.iter().map(|it| it.slice(fit_rows)).collect();
        let held_out = views_from(currents, samples.first_held_out());
        let nominal = self.take_readouts(tiles);
        let nominal_error = self.error(layer, tiles, &held_out, probes, samples);
        let has_reference = WeightCode::new(self.known.chip).has_reference();
        let mut candidates = Vec::new();
        if !self.known.chip.holds.column_affine {
            match self.scales {
                Scales::Nominal => self.fit_tile_gains(tiles, &fit_currents, probes),
                Scales::Fitted => self.refresh_tiles(tiles, &fit_currents, probes, samples),
            }
            candidates.push(self.take_readouts(tiles));
        } else if !self.plan.has(Correction::Bias) || has_reference {
            for ((&id, currents), probe) in tiles.iter().zip(&fit_currents).zip(probes) {
                let wanted = self.partial_product(id, samples.fit_x());
                let tile = &mut self.programmed.tiles[id];
                fit_tile(tile, *currents, probe, (wanted.view(), self.norm));
            }
            candidates.push(self.take_readouts(tiles));
        } else {
            match self.scales {
                Scales::Nominal => self.fit_one_by_one(tiles, &fit_currents, probes),
                Scales::Fitted => self.refresh_tiles(tiles, &fit_currents, probes, samples),
            }
            let one_by_one = self.take_readouts(tiles);
            candidates.push(one_by_one.clone());
            // What would be right together now need not be when some cells have drifted and others not.
            let ridges = if self.aged.is_some() { &RIDGES[..0] } else { &RIDGES[..] };
            let start = (&one_by_one, ridges);
            candidates.extend(self.fit_together(
                layer,
                tiles,
                &fit_currents,
                probes,
                samples,
                start,
            ));
        }
        // A lab takes its fit as it is; who holds images out can tell.
        let careful = self.plan.has(Correction::Bias);
        let mut best = (if careful { nominal_error } else { f64::INFINITY }, nominal);
        for candidate in candidates {
            self.put_readouts(tiles, &candidate);
            let error = self.error(layer, tiles, &held_out, probes, samples);
            if error < best.0 {
                best = (error, candidate);
            }
        }
        self.put_readouts(tiles, &best.1);
        let size = spread_of(samples);
        let of_layer = (Correction::Scale, Place::Layer(layer));
        let kept = best.0 < nominal_error;
        let errors = [nominal_error, best.0.min(nominal_error)].map(|error| error / size);
        self.outcomes.push(Outcome::new(of_layer, kept, samples.z.ncols(), errors));
    }

    /// The clean partial product of a tile, `[vectors, tile columns]`, in output units, for inputs
    /// `[vectors, n_rows]` of its layer.
    fn partial_product(&self, id: TileId, x: ArrayView2<'_, f32>) -> Array2<f32> {
        let tile = &self.programmed.tiles[id];
        let weights = self.net.layers[tile.layer].weights(tile.rows.clone(), tile.cols.clone());
        x.slice_axis(Axis(1), tile.rows.clone().into()).dot(&weights)
    }

    /// Scale and shift of every readout, by tile.
    fn take_readouts(&self, tiles: &[TileId]) -> Worths {
        let of_tile = |id: &TileId| {
            let readouts = self.programmed.tiles[*id].readouts.iter();
            readouts.map(|it| (it.scale, it.shift)).collect()
        };
        tiles.iter().map(of_tile).collect()
    }

    fn put_readouts(&mut self, tiles: &[TileId], worths: &[Vec<(f32, f32)>]) {
        for (&id, worths) in tiles.iter().zip(worths) {
            for (scaled, &(scale, shift)) in
                self.programmed.tiles[id].readouts.iter_mut().zip(worths)
            {
                (scaled.scale, scaled.shift) = (scale, shift);
            }
        }
    }

    /// One gain per tile, against what its conversions are expected to see.
    fn fit_tile_gains(
        &mut self,
        tiles: &[TileId],
        currents: &[ArrayView2<'_, f32>],
        probes: &[Probe],
    ) {
        for ((&id, currents), probe) in tiles.iter().zip(currents).zip(probes) {
            let expected = probe.expected.slice(s![..currents.nrows(), ..]);
            // Noise is in the currents: they are fitted to what is expected, not the other way round.
            let Some(gain) = gain_towards(expected, *currents) else { continue };
            for scaled in &mut self.programmed.tiles[id].readouts {
                scaled.scale = (f64::from(scaled.scale) / gain) as f32;
            }
        }
    }

    /// One gain for the copies of each tile, against their clean partial product: what drift has done to all
    /// columns alike since the scales were fitted.
    fn refresh_tiles(
        &mut self,
        tiles: &[TileId],
        currents: &[ArrayView2<'_, f32>],
        probes: &[Probe],
        samples: &Samples,
    ) {
        for of_tile in self.group_copies(tiles) {
            let n_fit = currents[of_tile[0]].nrows();
            let mut wanted = self.partial_product(tiles[of_tile[0]], samples.fit_x());
            let mut made = Array2::zeros(wanted.dim());
            for &at in &of_tile {
                let tile = &self.programmed.tiles[tiles[at]];
                let sums = probes[at].drive_sums.slice(s![..n_fit]);
                let all = contributions(tile, currents[at], sums);
                let exact = drive_contributions(tile, sums);
                made += &(all - &exact);
                wanted -= &exact;
            }
            if let Some(gain) = gain_towards(made.view(), wanted.view()) {
                for &at in &of_tile {
                    for scaled in &mut self.programmed.tiles[tiles[at]].readouts {
                        scaled.scale = (f64::from(scaled.scale) * gain) as f32;
                        scaled.shift = (f64::from(scaled.shift) * gain) as f32;
                    }
                }
            }
        }
    }

    /// Gain and offset of every conversion, against what it is expected to see.
    fn fit_one_by_one(
        &mut self,
        tiles: &[TileId],
        currents: &[ArrayView2<'_, f32>],
        probes: &[Probe],
    ) {
        for ((&id, currents), probe) in tiles.iter().zip(currents).zip(probes) {
            let expected = probe.expected.slice(s![..currents.nrows(), ..]);
            let columns = expected.columns().into_iter().zip(currents.columns());
            for (scaled, (p, y)) in self.programmed.tiles[id].readouts.iter_mut().zip(columns) {
                if let Some([gain, offset]) = self.norm.regress(p, y) {
                    let scale = f64::from(scaled.scale) / gain;
                    (scaled.scale, scaled.shift) = (scale as f32, (-scale * offset) as f32);
                }
            }
        }
    }

    /// Gains of all conversions of each column and the column's offset, against the outputs wanted: scales
    /// and shifts, as [`Bench::take_readouts`] answers them, for each of `ridges`, starting from `start`.
    fn fit_together(
        &self,
        layer: LayerId,
        tiles: &[TileId],
        currents: &[ArrayView2<'_, f32>],
        probes: &[Probe],
        samples: &Samples,
        (start, ridges): (&Worths, &[f64]),
    ) -> Vec<Worths> {
        let mut fitted = vec![start.clone(); ridges.len()];
        let bias = &self.programmed.layers[layer].bias;
        for (col, wanted) in samples.fit_z().columns().into_iter().enumerate() {
            let mut wanted = wanted.mapv(|z| z - bias[col]);
            let mut parts = Vec::new();
            for (at, &id) in tiles.iter().enumerate() {
                let tile = &self.programmed.tiles[id];
                if !tile.cols.contains(&col) {
                    continue;
                }
                let own = col - tile.cols.start;
                if let Some(per_drive) = tile.drive_sum.get(own) {
                    let sums = probes[at].drive_sums.slice(s![..samples.n_fit]);
                    wanted.scaled_add(-per_drive, &sums);
                }
                let readouts = tile.readouts.iter().enumerate();
                let mine = readouts.filter(|(_, it)| it.readout.col as usize == own);
                parts.extend(mine.map(|(readout, _)| (at, readout)));
            }
            let mut y = Array2::zeros((wanted.len(), parts.len()).f());
            for (mut y, &(at, readout)) in y.columns_mut().into_iter().zip(&parts) {
                y.assign(&currents[at].column(readout));
            }
            let scale = |&(at, readout): &(usize, usize)| f64::from(start[at][readout].0);
            let nominal: Vec<f64> = parts.iter().map(scale).collect();
            let fits = self.norm.fit_columns(y.view(), wanted.view(), &nominal, ridges);
            for (fitted, fit) in fitted.iter_mut().zip(fits) {
                for (place, &(at, readout)) in parts.iter().enumerate() {
                    let shift = if place == 0 { fit.shift as f32 } else { 0.0 };
                    fitted[at][readout] = (fit.scales[place] as f32, shift);
                }
            }
        }
        fitted
    }
}

/// Fits the scales of every column of a tile against its clean partial product `wanted`,
/// `[vectors, tile columns]`, on as many of the first vectors; its shift goes to the column's first readout.
///
/// A reference column comes first, against the offset that it is to take off: no column could undo its
/// errors, which follow the sum of the drives. What the digital sum of drives contributes is exact.
fn fit_tile(
    tile: &mut ProgrammedTile,
    currents: ArrayView2<'_, f32>,
    probe: &Probe,
    (wanted, norm): (ArrayView2<'_, f32>, AffineNorm),
) {
    let drive_sums = probe.drive_sums.slice(s![..wanted.nrows()]);
    let taken_off = drive_sums.mapv(|sum| -probe.offset_per_drive * sum);
    fit_readouts(tile, tile.cols.len(), currents, taken_off.view(), norm);
    let shared = shared_contributions(tile, currents, drive_sums);
    for (col, wanted) in wanted.columns().into_iter().enumerate() {
        let wanted = &wanted - &shared.column(col);
        fit_readouts(tile, col, currents, wanted.view(), norm);
    }
}

/// Fits the readouts of one column of a tile, or of its reference column, if it has any.
fn fit_readouts(
    tile: &mut ProgrammedTile,
    col: usize,
    currents: ArrayView2<'_, f32>,
    wanted: ArrayView1<'_, f32>,
    norm: AffineNorm,
) {
    let readouts: Vec<usize> = (0..tile.readouts.len())
        .filter(|&readout| tile.readouts[readout].readout.col as usize == col)
        .collect();
    if readouts.is_empty() {
        return;
    }
    let nominal: Vec<f64> =
        readouts.iter().map(|&readout| f64::from(tile.readouts[readout].scale)).collect();
    let y = currents.select(Axis(1), &readouts);
    let fit = norm.fit_column(y.view(), wanted, &nominal, LEAST_RIDGE);
    for (place, &readout) in readouts.iter().enumerate() {
        tile.readouts[readout].scale = fit.scales[place] as f32;
        tile.readouts[readout].shift = if place == 0 { fit.shift as f32 } else { 0.0 };
    }
}
