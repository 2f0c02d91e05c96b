//! Corrections after programming: ranges and digital scales from what the programmed die answers.
//!
//! The walk of [`crate::samples`] with the die itself as student. When a layer's inputs arrive its tiles are
//! driven with some of them; ADC ranges are widened or narrowed until the codes fill them; every conversion
//! is fitted against what it should see, and all conversions of a column together against what the float
//! network makes of the same images. Then the die, so corrected, makes the inputs of the next layer.

use std::collections::BTreeMap;

use ndarray::{
    Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, ShapeBuilder, Zip, concatenate, s,
};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Accumulate, BitSerial, InputDrive, RangePer};
use nvcim_chip::die::Die;
use nvcim_chip::effects::{EffectSet, dac};
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{IdVec, LayerId, TileId};
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile, verify_programmed};
use nvcim_ir::tiled::{AdcRange, TiledNet};
use nvcim_ops::run_program::Columns;
use nvcim_ops::tensor::Tensor;

use crate::affine::{ColumnFit, LEAST_RIDGE, fit_column, regress};
use crate::ageing::{Aged, Ageing};
use crate::faults::Faults;
use crate::known::Known;
use crate::outcome::{Outcome, Place, Status};
use crate::plan::{Correction, Plan};
use crate::predict::{offset_per_drive, predict_readouts};
use crate::probe::{Codes, probe_tile};
use crate::ranges::{
    MAX_ROUNDS, SHRINKS, close_in, is_inside, is_settled, join, shrink, stagger, widen,
};
use crate::samples::{Samples, Student, Teacher, walk};

/// How firmly joint fits may be held to the one-by-one ones; what does best on held-out images is taken.
const RIDGES: [f64; 4] = [0.003, 0.03, 0.3, 3.0];

/// Converters above this many codes need no range narrower than their currents.
const FINE_CODES: u32 = 64;

/// Vectors, about, that ranges are searched and compared with before all of them have the last word.
const SEARCHED: usize = 600;

/// What the measurements of one layer changed.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerFit {
    /// The layer.
    pub layer: LayerId,
    /// Root mean square error of its outputs on held-out images before, in output units.
    pub rms_before: f64,
    /// The same after.
    pub rms_after: f64,
}

/// A net with ranges and scales fitted to one die.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The net.
    pub net: ProgrammedNet,
    /// One entry per layer, in the order of the program.
    pub layers: Vec<LayerFit>,
    /// What each correction did.
    pub outcomes: Vec<Outcome>,
}

/// Fits ranges and scales to a die that `programmed` was programmed onto.
///
/// `images` is `[samples, sample shape...]`, unlabelled.
///
/// # Errors
/// Whatever the die reports.
pub fn correct_after(
    net: &TiledNet,
    programmed: ProgrammedNet,
    known: &Known<'_>,
    die: &mut dyn Die,
    images: &Tensor,
    plan: Plan,
) -> Result<Fitted> {
    if !plan.measures() {
        return Ok(Fitted { net: programmed, layers: Vec::new(), outcomes: Vec::new() });
    }
    let teacher = Teacher::new(net, images);
    let effects = if plan.has(Correction::Drift) { known.effects } else { EffectSet::NONE };
    let mut bench = Bench {
        net,
        known,
        plan,
        statistics: CellStatistics::new(known.chip, effects, known.at_s),
        die,
        tiles_of: net.layers.iter().map(|_| Vec::new()).collect(),
        programmed,
        aged: Aged::new(known, plan)?,
        ageing: BTreeMap::new(),
        layers: Vec::new(),
        outcomes: Vec::new(),
    };
    for (id, tile) in bench.programmed.tiles.iter_enumerated() {
        bench.tiles_of[tile.layer].push(id);
    }
    walk(net, images, &teacher, &mut bench)?;
    bench.prepare_for_use();
    verify_programmed(&bench.programmed, known.chip.array_size(), known.chip.cell.n_levels)?;
    Ok(Fitted { net: bench.programmed, layers: bench.layers, outcomes: bench.outcomes })
}

/// What a tile is driven with and should answer.
struct Probe {
    /// `[vectors, tile rows]`, in units of the DAC's full scale.
    drives: Array2<f32>,
    signed: bool,
    /// The digital sums of the drives, quantised, `[vectors]`.
    drive_sums: Array1<f32>,
    /// What an offset adds to every output per unit of them.
    offset_per_drive: f32,
    /// What every conversion is expected to see, `[vectors, readouts]`, in normalised current.
    expected: Array2<f32>,
}

/// A die beside its design.
struct Bench<'a> {
    net: &'a TiledNet,
    known: &'a Known<'a>,
    plan: Plan,
    statistics: CellStatistics,
    die: &'a mut dyn Die,
    tiles_of: IdVec<LayerId, Vec<TileId>>,
    programmed: ProgrammedNet,
    /// Cells at the times of use, where that is not the time of measuring.
    aged: Option<Aged>,
    /// What the times of use make of each tile.
    ageing: BTreeMap<TileId, Ageing>,
    layers: Vec<LayerFit>,
    outcomes: Vec<Outcome>,
}

impl Student for Bench<'_> {
    fn fit(&mut self, layer: LayerId, samples: &Samples) -> Result<()> {
        let tiles = self.tiles_of[layer].clone();
        let probes: Vec<Probe> =
            tiles.iter().map(|&id| self.make_probe(id, samples.x.view())).collect::<Result<_>>()?;
        self.expect_ageing(&tiles, &probes)?;
        let held_out = samples.first_held_out();
        let before = self.measure_all(&tiles, &probes, held_out)?;
        let rms_before = self.error(layer, &tiles, &views_from(&before, 0), &probes, samples);
        let changed = match self.plan.has(Correction::Ranges) {
            true => Some(self.fit_ranges(&tiles, &probes)?),
            false => None,
        };
        let currents = self.measure_all(&tiles, &probes, 0)?;
        if let Some(changed) = changed {
            let currents = views_from(&currents, held_out);
            let rms = self.error(layer, &tiles, &currents, &probes, samples);
            let size = spread_of(samples);
            self.outcomes.push(Outcome {
                correction: Correction::Ranges,
                place: Place::Layer(layer),
                status: Status::Kept,
                gap: None,
                changed,
                before: rms_before / size,
                after: rms / size,
            });
        }
        if self.plan.has(Correction::Scale) {
            self.fit_scales(layer, &tiles, &currents, &probes, samples);
        }
        for ((&id, currents), probe) in tiles.iter().zip(&currents).zip(&probes) {
            if let Some(ageing) = self.ageing.get_mut(&id) {
                ageing.find_offsets(&probe.expected, currents);
            }
        }
        let currents = views_from(&currents, held_out);
        let rms_after = self.error(layer, &tiles, &currents, &probes, samples);
        self.layers.push(LayerFit { layer, rms_before, rms_after });
        Ok(())
    }

    fn multiply(
        &mut self,
        layer: LayerId,
        _columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<()> {
        for (mut out, &bias) in out.outer_iter_mut().zip(&self.programmed.layers[layer].bias) {
            out.fill(bias);
        }
        for id in self.tiles_of[layer].clone() {
            let (drives, signed) = self.drives(id, x.t());
            let ranges = ranges_of(&self.programmed.tiles[id]);
            let currents = self.measure(id, drives.view(), signed, &ranges)?;
            let tile = &self.programmed.tiles[id];
            let sums = self.drive_sums(tile, &drives);
            let mut there = out.slice_mut(s![tile.cols.clone(), ..]);
            there += &contributions(tile, currents.view(), sums.view()).t();
        }
        Ok(())
    }
}

impl Bench<'_> {
    /// Drives of a tile for inputs `[vectors, n_rows]` of its layer, and whether they may be negative.
    fn drives(&self, id: TileId, x: ArrayView2<'_, f32>) -> (Array2<f32>, bool) {
        let tile = &self.programmed.tiles[id];
        let input = self.programmed.layers[tile.layer].input;
        let least = if input.signed { -1.0 } else { 0.0 };
        let x = x.slice_axis(Axis(1), tile.rows.clone().into());
        (x.mapv(|x| (x / input.full_scale).clamp(least, 1.0)), input.signed)
    }

    /// What is known to be stuck under a tile.
    fn faults_of(&self, tile: &ProgrammedTile) -> Faults {
        let arrays = [tile.array, tile.wiring.minus_array(tile.array)];
        let die = self.known.faults().filter(|_| self.plan.has(Correction::Closest));
        Faults::of_arrays(arrays, die).unwrap_or_default()
    }

    /// Works out what the times of use make of tiles, and turns nominal scales to the time of measuring.
    fn expect_ageing(&mut self, tiles: &[TileId], probes: &[Probe]) -> Result<()> {
        let Some(aged) = &self.aged else { return Ok(()) };
        for (&id, probe) in tiles.iter().zip(probes) {
            let tile = &self.programmed.tiles[id];
            let faults = self.faults_of(tile);
            let ageing =
                aged.expect(tile, self.known, &faults, (&probe.drives, &probe.expected))?;
            ageing.apply_now(&mut self.programmed.tiles[id]);
            self.ageing.insert(id, ageing);
        }
        Ok(())
    }

    /// Turns scales, shifts and ranges from those of the time of measuring to those of the times of use.
    fn prepare_for_use(&mut self) {
        for (id, ageing) in std::mem::take(&mut self.ageing) {
            ageing.apply(&mut self.programmed.tiles[id]);
            self.outcomes.push(ageing.outcome(id));
        }
    }

    fn drive_sums(&self, tile: &ProgrammedTile, drives: &Array2<f32>) -> Array1<f32> {
        if tile.drive_sum.is_empty() && !WeightCode::new(self.known.chip).has_reference() {
            return Array1::zeros(drives.nrows());
        }
        let bits = self.known.chip.dac.bits;
        drives.mapv(|drive| dac::quantize_drive(drive, bits)).sum_axis(Axis(1))
    }

    fn make_probe(&self, id: TileId, x: ArrayView2<'_, f32>) -> Result<Probe> {
        let tile = &self.programmed.tiles[id];
        let layer = &self.net.layers[tile.layer];
        let code = WeightCode::new(self.known.chip);
        let (drives, signed) = self.drives(id, x);
        let worth = f64::from(layer.w_max) * f64::from(layer.input.full_scale);
        let faults = self.faults_of(tile);
        let seen = predict_readouts(tile, self.known, &self.statistics, &faults);
        let seen = seen.mapv(|it| it as f32);
        Ok(Probe {
            drive_sums: self.drive_sums(tile, &drives),
            offset_per_drive: offset_per_drive(worth, &code, &self.known.chip.cell) as f32,
            // Whoever asks goes through it readout by readout.
            expected: seen.t().dot(&drives.t()).reversed_axes(),
            drives,
            signed,
        })
    }

    fn probe(
        &mut self,
        id: TileId,
        drives: ArrayView2<'_, f32>,
        signed: bool,
        ranges: &[AdcRange],
    ) -> Result<Codes> {
        let tile = &self.programmed.tiles[id];
        probe_tile(self.die, self.known.chip, tile, signed, ranges, drives)
    }

    /// Normalised currents, `[vectors, readouts]`.
    fn measure(
        &mut self,
        id: TileId,
        drives: ArrayView2<'_, f32>,
        signed: bool,
        ranges: &[AdcRange],
    ) -> Result<Array2<f32>> {
        Ok(self.probe(id, drives, signed, ranges)?.into_currents(self.known.chip, ranges))
    }

    /// Currents of every tile under its own ranges, for the vectors from `first` on.
    fn measure_all(
        &mut self,
        tiles: &[TileId],
        probes: &[Probe],
        first: usize,
    ) -> Result<Vec<Array2<f32>>> {
        let measure = |(&id, probe): (&TileId, &Probe)| {
            let ranges = ranges_of(&self.programmed.tiles[id]);
            self.measure(id, probe.drives.slice(s![first.., ..]), probe.signed, &ranges)
        };
        tiles.iter().zip(probes).map(measure).collect()
    }

    /// Root mean square error of the layer's outputs on held-out images, in output units; `currents` are
    /// those of the held-out vectors, `[vectors, readouts]` of each tile.
    fn error(
        &self,
        layer: LayerId,
        tiles: &[TileId],
        currents: &[ArrayView2<'_, f32>],
        probes: &[Probe],
        samples: &Samples,
    ) -> f64 {
        let held_out = s![samples.first_held_out().., ..];
        let bias = Array1::from(self.programmed.layers[layer].bias.clone());
        let mut off = &bias - &samples.z.slice(held_out);
        for ((&id, currents), probe) in tiles.iter().zip(currents).zip(probes) {
            let tile = &self.programmed.tiles[id];
            let sums = probe.drive_sums.slice(s![samples.first_held_out()..]);
            let mut there = off.slice_mut(s![.., tile.cols.clone()]);
            there += &contributions(tile, *currents, sums);
        }
        let squares = off.iter().fold(0.0, |sum, &off| sum + f64::from(off) * f64::from(off));
        (squares / off.len().max(1) as f64).sqrt()
    }

    /// Sets the ranges of a layer's tiles; answers how many changed.
    fn fit_ranges(&mut self, tiles: &[TileId], probes: &[Probe]) -> Result<usize> {
        let per = self.known.chip.adc.range_per;
        let mut found = Vec::new();
        for (&id, probe) in tiles.iter().zip(probes) {
            found.push(self.search_ranges(id, probe)?);
        }
        for group in groups(&found, per) {
            let all = group.iter().map(|&(tile, at)| found[tile][at]).reduce(join);
            for (tile, at) in group {
                found[tile][at] = all.expect("a group has a member");
            }
        }
        if self.known.chip.adc.max_code() < FINE_CODES && self.plan.has(Correction::Bias) {
            self.narrow(tiles, probes, &mut found, per)?;
        }
        let mut changed = 0;
        for (&id, ranges) in tiles.iter().zip(&found) {
            let tile = &mut self.programmed.tiles[id];
            for (scaled, range) in tile.readouts.iter_mut().zip(ranges) {
                changed += usize::from(scaled.readout.range != *range);
                scaled.readout.range = *range;
            }
            if per == RangePer::Column && self.plan.has(Correction::Bias) {
                stagger(tile, WeightCode::new(self.known.chip).n_slices(), self.known.chip);
            }
        }
        Ok(changed)
    }

    /// Narrows ranges until what is lost by clipping would be more than what finer steps gain.
    fn narrow(
        &mut self,
        tiles: &[TileId],
        probes: &[Probe],
        found: &mut [Vec<AdcRange>],
        per: RangePer,
    ) -> Result<()> {
        let groups = groups(found, per);
        let mut best = vec![(f64::INFINITY, 1.0_f32); groups.len()];
        let mut centres: Vec<Vec<f32>> = Vec::new();
        for (&id, (probe, ranges)) in tiles.iter().zip(probes.iter().zip(found.iter())) {
            let currents = self.measure(id, probe.some_drives(), probe.signed, ranges)?;
            let mean = currents.mean_axis(Axis(0)).map_or(Vec::new(), |mean| mean.to_vec());
            centres.push(mean);
        }
        for factor in SHRINKS {
            let mut errors: Vec<Vec<f64>> = Vec::new();
            for (at, (&id, probe)) in tiles.iter().zip(probes).enumerate() {
                let ranges: Vec<_> = found[at]
                    .iter()
                    .zip(&centres[at])
                    .map(|(range, &centre)| shrink(*range, centre, factor))
                    .collect();
                let currents = self.measure(id, probe.some_drives(), probe.signed, &ranges)?;
                let scales =
                    self.programmed.tiles[id].readouts.iter().map(|it| f64::from(it.scale));
                let expected = some_of(&probe.expected);
                let columns = expected.columns().into_iter().zip(currents.columns());
                let lost = columns.zip(scales).map(|((p, y), scale)| scale * scale * unsaid(p, y));
                errors.push(lost.collect());
            }
            for (group, best) in groups.iter().zip(&mut best) {
                let error: f64 = group.iter().map(|&(tile, at)| errors[tile][at]).sum();
                if error < best.0 {
                    *best = (error, factor);
                }
            }
        }
        for (group, (_, factor)) in groups.into_iter().zip(best) {
            let mean: f32 =
                group.iter().map(|&(tile, at)| centres[tile][at]).sum::<f32>() / group.len() as f32;
            for (tile, at) in group {
                found[tile][at] = shrink(found[tile][at], mean, factor);
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
    ///
    /// Some of the vectors come near; all of them then start from there, with some room.
    fn search_ranges(&mut self, id: TileId, probe: &Probe) -> Result<Vec<AdcRange>> {
        let mut ranges = ranges_of(&self.programmed.tiles[id]);
        let chip = self.known.chip;
        if let InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate }) = chip.dac.coding
            && accumulate == Accumulate::Digital
            && !chip.dac.bits.is_multiple_of(bits_per_slice)
        {
            return Ok(ranges);
        }
        let digits = dac::drives_converted(&chip.dac, probe.drives.view());
        let digits: Vec<_> = digits.iter().map(|digits| digits.view()).collect();
        let drives = match &digits[..] {
            [_] => probe.drives.clone(),
            digits => concatenate(Axis(0), digits).expect("all slices have the vectors' shape"),
        };
        if digits.len() == 1 {
            ranges = expected_ranges(&probe.expected, &ranges);
        }
        let found = self.search(id, (some_of(&drives), probe.signed), ranges, is_settled)?;
        let with_room = found.into_iter().map(widen).collect();
        self.search(id, (drives.view(), probe.signed), with_room, is_inside)
    }

    /// Rounds of probing under ranges and closing in on what was seen, until that is `enough` for every
    /// readout.
    fn search(
        &mut self,
        id: TileId,
        (drives, signed): (ArrayView2<'_, f32>, bool),
        mut ranges: Vec<AdcRange>,
        enough: fn(AdcRange, AdcRange) -> bool,
    ) -> Result<Vec<AdcRange>> {
        for _ in 0..MAX_ROUNDS {
            let codes = self.probe(id, drives, signed, &ranges)?;
            let next = close_in(&codes, &ranges, self.known.chip);
            let settled = ranges.iter().zip(&next).all(|(old, new)| enough(*old, *new));
            ranges = next;
            if settled {
                break;
            }
        }
        Ok(ranges)
    }

    /// Fits the scales of a layer, and keeps those that do best on held-out images.
    fn fit_scales(
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
            self.fit_tile_gains(tiles, &fit_currents, probes);
            candidates.push(self.take_readouts(tiles));
        } else if !self.plan.has(Correction::Bias) || has_reference {
            for ((&id, currents), probe) in tiles.iter().zip(&fit_currents).zip(probes) {
                let wanted = self.partial_product(id, samples.fit_x());
                fit_tile(&mut self.programmed.tiles[id], *currents, probe, wanted.view());
            }
            candidates.push(self.take_readouts(tiles));
        } else {
            self.fit_one_by_one(tiles, &fit_currents, probes);
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
        let kept = best.0 < nominal_error;
        self.outcomes.push(Outcome {
            correction: Correction::Scale,
            place: Place::Layer(layer),
            status: if kept { Status::Kept } else { Status::Dropped },
            gap: None,
            changed: if kept { samples.z.ncols() } else { 0 },
            before: nominal_error / size,
            after: best.0.min(nominal_error) / size,
        });
    }

    /// The clean partial product of a tile, `[vectors, tile columns]`, in output units, for inputs
    /// `[vectors, n_rows]` of its layer.
    fn partial_product(&self, id: TileId, x: ArrayView2<'_, f32>) -> Array2<f32> {
        let tile = &self.programmed.tiles[id];
        let weights = self.net.layers[tile.layer].weights(tile.rows.clone(), tile.cols.clone());
        x.slice_axis(Axis(1), tile.rows.clone().into()).dot(&weights)
    }

    /// Scale and shift of every readout, by tile.
    fn take_readouts(&self, tiles: &[TileId]) -> Vec<Vec<(f32, f32)>> {
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
            let (mut py, mut pp) = (0.0, 0.0);
            let n_fit = currents.nrows();
            for (p, y) in probe.expected.slice(s![..n_fit, ..]).iter().zip(currents) {
                py += f64::from(*p) * f64::from(*y);
                pp += f64::from(*p) * f64::from(*p);
            }
            if py > 0.0 && pp > 0.0 {
                for scaled in &mut self.programmed.tiles[id].readouts {
                    scaled.scale = (f64::from(scaled.scale) * pp / py) as f32;
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
                if let Some([gain, offset]) = regress(p, y) {
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
        (start, ridges): (&Vec<Vec<(f32, f32)>>, &[f64]),
    ) -> Vec<Vec<Vec<(f32, f32)>>> {
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
            let problem = ColumnFit::new(y.view(), wanted.view(), &nominal);
            for (fitted, &ridge) in fitted.iter_mut().zip(ridges) {
                let fit = problem.solve(ridge);
                for (place, &(at, readout)) in parts.iter().enumerate() {
                    let shift = if place == 0 { fit.shift as f32 } else { 0.0 };
                    fitted[at][readout] = (fit.scales[place] as f32, shift);
                }
            }
        }
        fitted
    }
}

impl Probe {
    /// Some of the drives, `[vectors, tile rows]`.
    fn some_drives(&self) -> ArrayView2<'_, f32> {
        some_of(&self.drives)
    }
}

/// About [`SEARCHED`] of all vectors, evenly spread, or all where they are few.
fn some_of(vectors: &Array2<f32>) -> ArrayView2<'_, f32> {
    let step = (vectors.nrows() / SEARCHED).max(1);
    vectors.slice(s![..;step, ..])
}

/// The vectors from `first` on, of each tile.
fn views_from(currents: &[Array2<f32>], first: usize) -> Vec<ArrayView2<'_, f32>> {
    currents.iter().map(|it| it.slice(s![first.., ..])).collect()
}

/// The spread of the outputs wanted on held-out images, in output units; never 0.
fn spread_of(samples: &Samples) -> f64 {
    let held_out = samples.z.slice(s![samples.n_fit.., ..]);
    f64::from(held_out.std(0.0)).max(f64::MIN_POSITIVE)
}

/// The readouts, by tile and place in it, that share one range.
fn groups(ranges: &[Vec<AdcRange>], per: RangePer) -> Vec<Vec<(usize, usize)>> {
    let mut groups: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
    for (tile, ranges) in ranges.iter().enumerate() {
        for at in 0..ranges.len() {
            let group = match per {
                RangePer::Column => (tile, at),
                RangePer::Tile => (tile, 0),
                RangePer::Layer => (0, 0),
            };
            groups.entry(group).or_default().push((tile, at));
        }
    }
    groups.into_values().collect()
}

/// The part of the variance of `p` that `y` does not say.
fn unsaid(p: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>) -> f64 {
    let n = p.len().max(1) as f64;
    let mean = |it: ArrayView1<'_, f32>| it.iter().fold(0.0, |sum, &v| sum + f64::from(v)) / n;
    let (mean_p, mean_y) = (mean(p), mean(y));
    let (mut pp, mut yy, mut py) = (0.0, 0.0, 0.0);
    for (&p, &y) in p.iter().zip(&y) {
        let (p, y) = (f64::from(p) - mean_p, f64::from(y) - mean_y);
        pp += p * p;
        yy += y * y;
        py += p * y;
    }
    (if yy > 0.0 { pp - py * py / yy } else { pp }) / n
}

/// Ranges round the currents expected, `[vectors, readouts]`, with some room; the present ones where none
/// are.
fn expected_ranges(expected: &Array2<f32>, ranges: &[AdcRange]) -> Vec<AdcRange> {
    let around = |(column, range): (ArrayView1<'_, f32>, &AdcRange)| {
        let lo = column.iter().copied().fold(f32::INFINITY, f32::min);
        let hi = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let room = 0.1 * (hi - lo);
        if room > 0.0 { AdcRange { lo: lo - room, hi: hi + room } } else { *range }
    };
    expected.columns().into_iter().zip(ranges).map(around).collect()
}

fn ranges_of(tile: &ProgrammedTile) -> Vec<AdcRange> {
    tile.readouts.iter().map(|scaled| scaled.readout.range).collect()
}

/// What a tile adds to its outputs, `[vectors, tile columns]`.
fn contributions(
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

/// What the reference column and the drives' sum contribute to each output, `[vectors, tile columns]`.
fn shared_contributions(
    tile: &ProgrammedTile,
    currents: ArrayView2<'_, f32>,
    drive_sums: ArrayView1<'_, f32>,
) -> Array2<f32> {
    // Like currents, column by column in memory.
    let mut shared = Array2::zeros((currents.nrows(), tile.cols.len()).f());
    for (mut shared, &per_drive) in shared.columns_mut().into_iter().zip(&tile.drive_sum) {
        shared.scaled_add(per_drive, &drive_sums);
    }
    for (scaled, currents) in tile.readouts.iter().zip(currents.columns()) {
        if scaled.readout.col as usize == tile.cols.len() {
            let worth = currents.mapv(|y| scaled.scale * y + scaled.shift);
            shared.columns_mut().into_iter().for_each(|mut shared| shared += &worth);
        }
    }
    shared
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
    wanted: ArrayView2<'_, f32>,
) {
    let drive_sums = probe.drive_sums.slice(s![..wanted.nrows()]);
    let taken_off = drive_sums.mapv(|sum| -probe.offset_per_drive * sum);
    fit_readouts(tile, tile.cols.len(), currents, taken_off.view());
    let shared = shared_contributions(tile, currents, drive_sums);
    for (col, wanted) in wanted.columns().into_iter().enumerate() {
        let wanted = &wanted - &shared.column(col);
        fit_readouts(tile, col, currents, wanted.view());
    }
}

/// Fits the readouts of one column of a tile, or of its reference column, if it has any.
fn fit_readouts(
    tile: &mut ProgrammedTile,
    col: usize,
    currents: ArrayView2<'_, f32>,
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
    let y = currents.select(Axis(1), &readouts);
    let fit = fit_column(y.view(), wanted, &nominal, LEAST_RIDGE);
    for (place, &readout) in readouts.iter().enumerate() {
        tile.readouts[readout].scale = fit.scales[place] as f32;
        tile.readouts[readout].shift = if place == 0 { fit.shift as f32 } else { 0.0 };
    }
}
