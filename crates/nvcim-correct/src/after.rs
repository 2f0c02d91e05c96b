//! Corrections after programming: ranges and digital scales from what the programmed die answers.
//!
//! The walk of `samples.rs` with the die itself as student. When a layer's inputs arrive its tiles are
//! driven with some of them; ADC ranges are widened or narrowed until the codes fill them; every conversion
//! is fitted against what it should see, and all conversions of a column together against what the float
//! network makes of the same images. Then the die, so corrected, makes the inputs of the next layer.

mod fit_ranges;
mod fit_scales;
mod narrow;

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::die::Die;
use nvcim_chip::effects::dac;
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::{IdVec, LayerId, TileId};
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile, verify_programmed};
use nvcim_ir::tiled::{AdcRange, TiledNet};
use nvcim_ops::run_program::{Columns, fill_bias};

use crate::affine_norm::AffineNorm;
use crate::ageing::{Aged, Ageing};
use crate::contributions::contributions;
use crate::faults::Faults;
use crate::known::Known;
use crate::outcome::{Outcome, Place};
use crate::plan::{Correction, Plan};
use crate::predict::predict_readouts;
use crate::probe::{Codes, probe_tile};
use crate::samples::{Samples, Student, Teacher, walk};

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

/// What the scales of a net's readouts are before they are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// Worth what their columns are meant to see.
    Nominal,
    /// Fitted to this die before, at another time: errors of columns are already in them.
    Fitted,
}

/// How a die is corrected once it is programmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterOptions {
    /// The corrections to run.
    pub plan: Plan,
    /// What fits of gain and offset make small.
    pub norm: AffineNorm,
    /// What the net's scales are: nominal straight from [`crate::before`].
    pub scales: Scales,
}

impl From<Plan> for AfterOptions {
    /// Least squares, from nominal scales.
    fn from(plan: Plan) -> Self {
        Self { plan, norm: AffineNorm::default(), scales: Scales::Nominal }
    }
}

/// Fits ranges and scales to a die that `programmed` was programmed onto.
///
/// The teacher is one of `net`.
///
/// # Errors
/// Whatever the die reports.
pub fn correct_after(
    net: &TiledNet,
    programmed: ProgrammedNet,
    known: &Known<'_>,
    die: &mut dyn Die,
    teacher: &Teacher<'_>,
    options: AfterOptions,
) -> Result<Fitted> {
    let AfterOptions { plan, norm, scales } = options;
    if !plan.measures() {
        return Ok(Fitted { net: programmed, layers: Vec::new(), outcomes: Vec::new() });
    }
    let mut bench = Bench {
        net,
        known,
        plan,
        norm,
        statistics: known.expect_cells(plan, known.at_s),
        die,
        tiles_of: net.layers.iter().map(|_| Vec::new()).collect(),
        programmed,
        scales,
        aged: Aged::new(known, plan)?,
        ageing: BTreeMap::new(),
        layers: Vec::new(),
        outcomes: Vec::new(),
    };
    for (id, tile) in bench.programmed.tiles.iter_enumerated() {
        bench.tiles_of[tile.layer].push(id);
    }
    walk(net, teacher, &mut bench)?;
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
    norm: AffineNorm,
    statistics: CellStatistics,
    die: &'a mut dyn Die,
    tiles_of: IdVec<LayerId, Vec<TileId>>,
    programmed: ProgrammedNet,
    scales: Scales,
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
            let of_layer = (Correction::Ranges, Place::Layer(layer));
            let errors = [rms_before, rms].map(|rms| rms / size);
            self.outcomes.push(Outcome::new(of_layer, true, changed, errors));
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
        fill_bias(&mut out, &self.programmed.layers[layer].bias);
        for id in self.tiles_of[layer].clone() {
            let (shares, signed) = self.shares(id, x.t());
            let drives = self.drives(id, shares);
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
    /// Inputs of a tile as shares of full scale, for those of its layer, `[vectors, n_rows]`, and whether they may
    /// be negative.
    fn shares(&self, id: TileId, x: ArrayView2<'_, f32>) -> (Array2<f32>, bool) {
        let tile = &self.programmed.tiles[id];
        let input = self.programmed.layers[tile.layer].input;
        let least = if input.signed { -1.0 } else { 0.0 };
        let x = x.slice_axis(Axis(1), tile.rows.clone().into());
        (x.mapv(|x| (x / input.full_scale).clamp(least, 1.0)), input.signed)
    }

    /// What drivers are asked for: `shares`, where a tile rounds its own way already rounded.
    fn drives(&self, id: TileId, shares: Array2<f32>) -> Array2<f32> {
        match self.programmed.tiles[id].drive_shift {
            0.0 => shares,
            shift => {
                shares.mapv_into(|x| dac::quantize_shifted(x, self.known.chip.dac.bits, shift))
            }
        }
    }

    /// The places among a layer's tiles of those that hold the same weights, by rows and columns.
    fn group_copies(&self, tiles: &[TileId]) -> Vec<Vec<usize>> {
        let mut copies: BTreeMap<[usize; 2], Vec<usize>> = BTreeMap::new();
        for (at, &id) in tiles.iter().enumerate() {
            let tile = &self.programmed.tiles[id];
            copies.entry([tile.rows.start, tile.cols.start]).or_default().push(at);
        }
        copies.into_values().collect()
    }

    /// What is known to be stuck under a tile.
    fn faults_of(&self, tile: &ProgrammedTile) -> Faults {
        let arrays = [tile.array, tile.wiring.minus_array(tile.array)];
        Faults::of_arrays(arrays, self.known.faults(self.plan)).unwrap_or_default()
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
        let (shares, signed) = self.shares(id, x);
        let full_scale = self.programmed.layers[tile.layer].input.full_scale;
        // Only offset-coded weights ask, whose columns have one range.
        let range = layer.ranges[tile.cols.start];
        let worth = f64::from(range) * f64::from(full_scale);
        let faults = self.faults_of(tile);
        let seen = predict_readouts(tile, self.known, &self.statistics, &faults);
        let seen = seen.mapv(|it| it as f32);
        // Whoever asks goes through it readout by readout.
        let expected = seen.t().dot(&shares.t()).reversed_axes();
        let drives = self.drives(id, shares);
        Ok(Probe {
            drive_sums: self.drive_sums(tile, &drives),
            offset_per_drive: code.offset_per_drive(worth, &self.known.chip.cell) as f32,
            expected,
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
        let bias = Array1::from(self.programmed.layers[layer].bias.clone());
        let mut off = &bias - &samples.held_out_z();
        for ((&id, currents), probe) in tiles.iter().zip(currents).zip(probes) {
            let tile = &self.programmed.tiles[id];
            let sums = probe.drive_sums.slice(s![samples.first_held_out()..]);
            let mut there = off.slice_mut(s![.., tile.cols.clone()]);
            there += &contributions(tile, *currents, sums);
        }
        let squares = off.iter().fold(0.0, |sum, &off| sum + f64::from(off) * f64::from(off));
        (squares / off.len().max(1) as f64).sqrt()
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
    f64::from(samples.held_out_z().std(0.0)).max(f64::MIN_POSITIVE)
}

fn ranges_of(tile: &ProgrammedTile) -> Vec<AdcRange> {
    tile.readouts.iter().map(|scaled| scaled.readout.range).collect()
}
