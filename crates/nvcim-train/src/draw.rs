//! One step's die: what the cells of every layer become on it, and what its conversions see of them.
//!
//! A cell's life is that of the simulator (`CellChain`): target, programming error, drift to the time of use,
//! stuck cells. A step's *strength* stretches how far cells end up from their targets, and the noise of reads
//! and outputs; cells are at most as stuck as they are.
//!
//! Where a network is going to be corrected, a column's gain `a` and offset `b` make up for what its cells have
//! become, as the least squares fit of a lab would: with the inputs' means `m` and variances `v`, taken as
//! independent, and the wanted weights `w0` in place of `w`,
//!
//! ```text
//! a = sum v w0 w / sum v w^2      b = sum m (w0 - a w)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::Array2;
use nvcim_chip::closest::closest_slices;
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Cell, SignCoding};
use nvcim_chip::effects::conductance::CellChain;
use nvcim_chip::effects::draws::{CellDraws, CellPlace};
use nvcim_chip::effects::ir_drop::IrDropMethod;
use nvcim_chip::effects::nonlinearity::Nonlinearity;
use nvcim_chip::effects::read::{ReadCell, ReadNoise, pair_variance};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::network::{fast, passive};
use nvcim_chip::random::Stream;
use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId, TileId};
use nvcim_ir::tiled::{MatrixLayer, Readout, Terminal, Tile, TiledNet};
use rayon::prelude::*;

use crate::convert::{Converter, Way};
use crate::drive::Drive;
use crate::ground::{GOOD, Ground, Measured, code_of};
use crate::matrix::{SeenLayer, SeenTile};

/// Means and variances of a layer's inputs, `[n_rows]` each, in units of its full scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputMoments {
    pub(crate) means: Vec<f32>,
    pub(crate) variances: Vec<f32>,
}

/// What wires leave of each cell's current, by tile: positive and negative cells, `[rows, lanes]`.
pub(crate) type Wires = IdVec<TileId, [Array2<f32>; 2]>;

/// Draws dies for a net.
#[derive(Debug)]
pub(crate) struct Drawer<'a> {
    ground: &'a Ground<'a>,
    code: WeightCode,
    n_arrays: usize,
}

/// The cells of a tile on one die: positive and negative ones, `[rows, lanes]`, in siemens.
#[derive(Debug)]
struct TileCells {
    used: [Array2<f64>; 2],
    /// Standard deviation of one read, where reads are noisy.
    read_sd: Option<[Array2<f64>; 2]>,
    /// What stands for the weights where nothing is wrong, where columns are fitted to that.
    wanted: Option<[Array2<f64>; 2]>,
}

/// One die, drawn at one strength.
struct Step<'a> {
    drawer: &'a Drawer<'a>,
    measured: Measured<'a>,
    chain: CellChain<'a>,
    draws: CellDraws,
    seed: u64,
    strength: f64,
}

impl<'a> Drawer<'a> {
    pub(crate) fn new(ground: &'a Ground<'a>, net: &TiledNet) -> Self {
        let arrays = net
            .tiles
            .iter()
            .flat_map(|tile| [tile.array.index(), tile.wiring.minus_array(tile.array).index()]);
        Self { ground, code: code_of(ground), n_arrays: arrays.max().map_or(0, |most| most + 1) }
    }

    /// Every layer on the die that `seed` draws. Cells' targets follow from the layers' weights and ranges.
    pub(crate) fn draw(
        &self,
        net: &TiledNet,
        moments: &IdVec<LayerId, InputMoments>,
        wires: Option<&Wires>,
        seed: u64,
        strength: f64,
    ) -> IdVec<LayerId, Arc<SeenLayer>> {
        let step = self.step(seed, strength);
        let tiles: Vec<(TileId, &Tile)> = net.tiles.iter_enumerated().collect();
        let see = |&(id, tile): &(TileId, &Tile)| {
            let layer = &net.layers[tile.layer];
            let cells = step.draw_cells(tile, layer);
            let seen = step.see_tile(tile, layer, &cells, wires.map(|wires| &wires[id]));
            step.finish(tile, layer, &moments[tile.layer], &cells, seen)
        };
        let seen: Vec<SeenTile> = tiles.par_iter().map(see).collect();
        let mut by_layer: IdVec<LayerId, Vec<SeenTile>> =
            net.layers.iter().map(|_| Vec::new()).collect();
        for (&(_, tile), seen) in tiles.iter().zip(seen) {
            by_layer[tile.layer].push(seen);
        }
        let chip = self.ground.chip;
        let layers = net.layers.iter_enumerated().map(|(id, layer)| {
            let drive = Drive::new(chip, layer.input, self.ground.effects, seed, strength);
            Arc::new(SeenLayer {
                blocks: layer.blocks.dim(),
                bias: layer.bias.clone(),
                drive: Some(drive),
                tiles: std::mem::take(&mut by_layer[id]),
            })
        });
        layers.collect()
    }

    /// What wires leave of the currents of the die that `seed` draws; `None` where they take nothing.
    pub(crate) fn look_at_wires(&self, net: &TiledNet, seed: u64, strength: f64) -> Option<Wires> {
        let ir_drop = self.ground.chip.effects.ir_drop.filter(|_| self.ground.has_wires())?;
        let step = self.step(seed, strength);
        let tiles: Vec<&Tile> = net.tiles.iter().collect();
        let cells: Vec<TileCells> =
            tiles.par_iter().map(|tile| step.draw_cells(tile, &net.layers[tile.layer])).collect();
        let chip = self.ground.chip;
        let dim = (chip.arrays.n_rows, chip.arrays.n_cols);
        let mut arrays: BTreeMap<ArrayId, Array2<f64>> = BTreeMap::new();
        for (tile, cells) in tiles.iter().zip(&cells) {
            for ((array, rows, cols), cells) in
                tile.wiring.sides(tile.array).into_iter().zip(&cells.used)
            {
                // Cells that hold no weight load the wires too, most of all those that are stuck.
                let idle = |(row, col): (usize, usize)| {
                    let stuck = step.measured.stuck(array, row as u32, col as u32);
                    stuck.unwrap_or(chip.cell.g_min)
                };
                let array = arrays.entry(array).or_insert_with(|| Array2::from_shape_fn(dim, idle));
                for (&row, cells) in rows.iter().zip(cells.outer_iter()) {
                    for (&col, &g) in cols.iter().zip(cells) {
                        array[(row as usize, col as usize)] = g;
                    }
                }
            }
        }
        let left: BTreeMap<ArrayId, Array2<f64>> = arrays
            .into_par_iter()
            .map(|(id, g)| {
                let transfer = match ir_drop.method {
                    IrDropMethod::Exact => passive::transfer_matrix(g.view(), &ir_drop.wires),
                    IrDropMethod::Fast => fast::estimate_transfer_matrix(g.view(), &ir_drop.wires),
                };
                let mut left = transfer.reversed_axes();
                left.zip_mut_with(&g, |left, g| *left = if *g > 0.0 { *left / g } else { 1.0 });
                (id, left)
            })
            .collect();
        let of_tile = |tile: &&Tile| {
            tile.wiring.sides(tile.array).map(|(array, rows, cols)| {
                let left = &left[&array];
                Array2::from_shape_fn((rows.len(), cols.len()), |(row, col)| {
                    left[(rows[row] as usize, cols[col] as usize)] as f32
                })
            })
        };
        Some(tiles.iter().map(of_tile).collect())
    }

    fn step(&self, seed: u64, strength: f64) -> Step<'_> {
        let Ground { chip, effects, at_s, .. } = *self.ground;
        // Stuck cells are looked up here, once for targets and conductances alike.
        let chain = CellChain::new(chip, effects, at_s);
        let draws = chain.draws(seed);
        let measured = Measured::new(self.ground, seed, self.n_arrays);
        Step { drawer: self, measured, chain, draws, seed, strength }
    }
}

impl Step<'_> {
    fn effects(&self) -> EffectSet {
        self.drawer.ground.effects
    }

    fn cell(&self) -> &Cell {
        &self.drawer.ground.chip.cell
    }

    /// How far the errors of a tile's cells and outputs are stretched.
    fn strength_of(&self, tile: &Tile) -> f64 {
        self.strength * self.drawer.ground.share(tile.layer)
    }

    /// The read noise of cells, where it acts.
    fn noise(&self) -> Option<ReadNoise> {
        self.drawer.ground.chip.effects.read.filter(|_| self.effects().has(Effect::Read))
    }

    fn draw_cells(&self, tile: &Tile, layer: &MatrixLayer) -> TileCells {
        let sides = tile.wiring.sides(tile.array);
        let dims = sides.map(|(_, rows, cols)| (rows.len(), cols.len()));
        let wanted = self.wanted_cells(tile, layer, dims);
        let stuck = sides.map(|side| self.stuck_cells(side));
        let corrected = self.drawer.ground.corrected.is_some();
        let told = match &stuck {
            [None, None] => wanted.clone(),
            _ if !corrected => wanted.clone(),
            [plus, minus] => self.aim_round(tile, layer, dims, [plus.as_ref(), minus.as_ref()]),
        };
        let mut used = dims.map(Array2::zeros);
        let mut read_sd = self.noise().map(|_| dims.map(Array2::zeros));
        let strength = self.strength_of(tile);
        for (at, side) in sides.into_iter().enumerate() {
            let read_sd = read_sd.as_mut().map(|it| &mut it[at]);
            self.follow(side, &told[at], stuck[at].as_ref(), strength, (&mut used[at], read_sd));
        }
        TileCells { used, read_sd, wanted: corrected.then_some(wanted) }
    }

    /// The conductances that stand for a tile's weights where nothing is wrong.
    fn wanted_cells(
        &self,
        tile: &Tile,
        layer: &MatrixLayer,
        dims: [(usize, usize); 2],
    ) -> [Array2<f64>; 2] {
        let code = &self.drawer.code;
        let mut cells = dims.map(Array2::zeros);
        self.for_each_weight(tile, layer, dims, |row, col, relative| {
            for (slice, (plus, minus)) in code.encode(relative).enumerate() {
                let lane = col * code.n_slices() + slice;
                cells[0][(row, lane)] = plus;
                if code.is_paired() {
                    cells[1][(row, lane)] = minus;
                }
            }
        });
        cells
    }

    /// The conductances that come nearest to a tile's weights round its stuck cells.
    fn aim_round(
        &self,
        tile: &Tile,
        layer: &MatrixLayer,
        dims: [(usize, usize); 2],
        stuck: [Option<&Array2<f64>>; 2],
    ) -> [Array2<f64>; 2] {
        let code = &self.drawer.code;
        let mut cells = dims.map(Array2::zeros);
        let known = |side: usize, at: (usize, usize)| {
            stuck[side].and_then(|cells| cells.get(at)).copied().filter(|g| !g.is_nan())
        };
        let mut pairs = vec![GOOD; code.n_slices()];
        self.for_each_weight(tile, layer, dims, |row, col, relative| {
            let first = col * code.n_slices();
            for (slice, pair) in pairs.iter_mut().enumerate() {
                let at = (row, first + slice);
                *pair = (known(0, at), if code.is_paired() { known(1, at) } else { None });
            }
            let held = closest_slices(relative, &pairs, code, self.cell());
            for (slice, (plus, minus)) in held.into_iter().enumerate() {
                cells[0][(row, first + slice)] = plus;
                if code.is_paired() {
                    cells[1][(row, first + slice)] = minus;
                }
            }
        });
        cells
    }

    /// Every weight of a tile over its column's range, reference column included: row, column, weight.
    fn for_each_weight(
        &self,
        tile: &Tile,
        layer: &MatrixLayer,
        dims: [(usize, usize); 2],
        mut see: impl FnMut(usize, usize, f64),
    ) {
        let weights = layer.weights(tile.rows.clone(), tile.cols.clone());
        let ranges = &layer.ranges[tile.cols.clone()];
        let n_cols = dims[0].1 / self.drawer.code.n_slices();
        for (row, weights) in weights.outer_iter().enumerate() {
            for col in 0..n_cols {
                // A reference column, behind the others, holds weights of 0.
                let relative = ranges
                    .get(col)
                    .map_or(0.0, |range| f64::from(weights[col]) / f64::from(*range));
                see(row, col, relative);
            }
        }
    }

    /// What cells are stuck at in siemens, no number for good ones; `None` where none can be.
    fn stuck_cells(&self, (array, rows, cols): (ArrayId, &[u32], &[u32])) -> Option<Array2<f64>> {
        if cols.is_empty() || !self.measured.may_stick(array) {
            return None;
        }
        let of = |(row, col): (usize, usize)| {
            self.measured.stuck(array, rows[row], cols[col]).unwrap_or(f64::NAN)
        };
        Some(Array2::from_shape_fn((rows.len(), cols.len()), of))
    }

    /// Follows cells from what they are told to the time of use.
    fn follow(
        &self,
        (array, rows, cols): (ArrayId, &[u32], &[u32]),
        told: &Array2<f64>,
        stuck: Option<&Array2<f64>>,
        strength: f64,
        (used, mut read_sd): (&mut Array2<f64>, Option<&mut Array2<f64>>),
    ) {
        if cols.is_empty() {
            return;
        }
        let (n_draws, cell, noise) = (self.draws.n_draws(), self.cell(), self.noise());
        let mut written: Vec<(CellPlace, u32)> = Vec::with_capacity(cols.len());
        let mut z = Vec::new();
        for (row, &line) in rows.iter().enumerate() {
            written.clear();
            let place = |&col: &u32| (CellPlace { array: array.index() as u32, row: line, col }, 0);
            written.extend(cols.iter().map(place));
            self.draws.fill_all(&written, &mut z);
            for (lane, (place, _)) in written.iter().enumerate() {
                let target = told[(row, lane)];
                let stuck = stuck.map(|it| it[(row, lane)]).filter(|g| !g.is_nan());
                let z = &z[lane * n_draws..(lane + 1) * n_draws];
                let life = self.chain.follow(target, *place, z, stuck);
                let stretch = if stuck.is_some() { strength.min(1.0) } else { strength };
                let aim = cell.snap(target);
                let g = (aim + stretch * (life.used - aim)).max(0.0);
                used[(row, lane)] = g;
                if let (Some(noise), Some(read_sd)) = (noise, &mut read_sd) {
                    let at_s = self.drawer.ground.at_s;
                    let read = ReadCell { programmed: life.programmed, g, at_s };
                    read_sd[(row, lane)] = strength * noise.sd(cell, &read);
                }
            }
        }
    }

    /// What a tile's conversions see of its cells.
    fn see_tile(
        &self,
        tile: &Tile,
        layer: &MatrixLayer,
        cells: &TileCells,
        wires: Option<&[Array2<f32>; 2]>,
    ) -> Converter {
        let Ground { chip, .. } = self.drawer.ground;
        let g_max = self.cell().g_max;
        let left =
            |side: usize, at: (usize, usize)| wires.map_or(1.0, |wires| f64::from(wires[side][at]));
        let sees = |side: usize, at: (usize, usize)| cells.used[side][at] * left(side, at) / g_max;
        let currents = sum_currents(tile, sees);
        let variances = cells.read_sd.as_ref().map(|read_sd| {
            let sd = |side: usize, at: (usize, usize)| read_sd[side][at] * left(side, at) / g_max;
            sum_cells(tile, |terminal, at| match terminal {
                Terminal::Pair => pair_variance(sd(0, at), sd(1, at)),
                Terminal::Plus => pair_variance(sd(0, at), 0.0),
                Terminal::Minus => pair_variance(0.0, sd(1, at)),
            })
        });
        let output = chip.effects.output_noise.filter(|_| self.effects().has(Effect::OutputNoise));
        let output_sd = output.map_or(0.0, |noise| self.strength_of(tile) * noise.sd(&chip.adc));
        let stage = chip.effects.nonlinearity.filter(|_| self.effects().has(Effect::Nonlinearity));
        let stage = stage.filter(|stage| !stage.is_linear());
        let ways = tile.readouts.iter().map(|readout| self.way(tile, layer, readout, output_sd));
        let stream = |effect| Stream::new(0, self.seed, effect);
        let rounds = self.effects().has(Effect::Adc);
        Converter {
            currents,
            variances,
            stage: stage.as_ref().map(Nonlinearity::curve),
            ways: ways.collect(),
            max_code: rounds.then_some(chip.adc.max_code() as f32),
            read: stream(Effect::Read),
            output: stream(Effect::OutputNoise),
            drive_sum: self.drive_sum(tile, layer),
        }
    }

    /// A conversion's way from current to output, as naive mapping sets it.
    fn way(&self, tile: &Tile, layer: &MatrixLayer, readout: &Readout, output_sd: f64) -> Way {
        let (chip, code) = (self.drawer.ground.chip, &self.drawer.code);
        let col = readout.col as usize;
        let lane = tile.wiring.lane(readout.col, readout.slice);
        let (array, line) = match readout.terminal {
            Terminal::Pair | Terminal::Plus => (tile.array, tile.wiring.plus_cols[lane]),
            Terminal::Minus => (tile.wiring.minus_array(tile.array), tile.wiring.minus_cols[lane]),
        };
        let (gain, offset_lsb) = self.measured.column(array, line);
        let gain = 1.0 + self.strength * (gain - 1.0);
        let offset = self.strength * offset_lsb * chip.adc.nominal_lsb();
        let [lo, hi] = [readout.range.lo, readout.range.hi].map(f64::from);
        let step = (hi - lo) / f64::from(chip.adc.max_code());
        let is_reference = col == tile.cols.len();
        let ranges = &layer.ranges[tile.cols.clone()];
        let range = f64::from(ranges.get(col).copied().unwrap_or(ranges[0]));
        let of_column = if is_reference { -1.0 } else { 1.0 } * f64::from(readout.terminal.sign());
        let per_current = self.cell().g_max / self.cell().range() * range;
        let worth = code.factors()[readout.slice as usize] * per_current;
        Way {
            col: (!is_reference).then_some(col),
            per_current: (gain / step) as f32,
            at_rest: ((offset - lo) / step) as f32,
            lo: lo as f32,
            step: step as f32,
            scale: (of_column * worth * f64::from(layer.input.full_scale)) as f32,
            output_sd: (output_sd / gain.max(1e-6)) as f32,
        }
    }

    /// What weights with an offset take back digitally, `[columns]`; empty for none.
    fn drive_sum(&self, tile: &Tile, layer: &MatrixLayer) -> Vec<f32> {
        if self.drawer.ground.chip.weights.sign != SignCoding::OffsetDigital {
            return Vec::new();
        }
        let code = &self.drawer.code;
        let full_scale = f64::from(layer.input.full_scale);
        let ranges = &layer.ranges[tile.cols.clone()];
        let taken_off = |range: &f32| {
            -code.offset_per_drive(f64::from(*range) * full_scale, self.cell()) as f32
        };
        ranges.iter().map(taken_off).collect()
    }

    /// A tile as its layer sees it, fitted to what its cells have become where it is going to be corrected.
    fn finish(
        &self,
        tile: &Tile,
        layer: &MatrixLayer,
        moments: &InputMoments,
        cells: &TileCells,
        mut converter: Converter,
    ) -> SeenTile {
        let mut shift = vec![0.0; tile.cols.len()];
        if let Some(wanted) = &cells.wanted {
            let g_max = self.cell().g_max;
            let sees = |side: usize, at: (usize, usize)| wanted[side][at] / g_max;
            let wanted = sum_currents(tile, sees);
            let moments = InputMoments {
                means: moments.means[tile.rows.clone()].to_vec(),
                variances: moments.variances[tile.rows.clone()].to_vec(),
            };
            fit_columns(&mut converter, &wanted, &moments, &mut shift);
        }
        let linear = linearize(&converter, tile, layer.input.full_scale);
        let is_plain = converter.max_code.is_none()
            && converter.variances.is_none()
            && converter.stage.is_none()
            && converter.ways.iter().all(|way| way.output_sd == 0.0);
        if is_plain {
            for way in &converter.ways {
                // What the conversion makes of no current: its offset.
                let at_rest = way.scale * (way.lo + way.step * way.at_rest);
                match way.col {
                    Some(col) => shift[col] += at_rest,
                    None => shift.iter_mut().for_each(|shift| *shift += at_rest),
                }
            }
        }
        let converter = (!is_plain).then_some(converter);
        SeenTile { rows: tile.rows.clone(), cols: tile.cols.clone(), linear, shift, converter }
    }
}

/// What every conversion senses per full-scale drive, `[conversions, rows]`, where a cell of side 0 or 1 gives
/// the current that `sees` says.
fn sum_currents(tile: &Tile, sees: impl Fn(usize, (usize, usize)) -> f64) -> Array2<f32> {
    sum_cells(tile, |terminal, at| match terminal {
        Terminal::Pair => sees(0, at) - sees(1, at),
        Terminal::Plus => sees(0, at),
        Terminal::Minus => sees(1, at),
    })
}

/// A sum over the cells of every drive of every conversion, `[conversions, rows]`; 0 for rows at rest.
fn sum_cells(tile: &Tile, of_cell: impl Fn(Terminal, (usize, usize)) -> f64) -> Array2<f32> {
    let mut res = Array2::zeros((tile.readouts.len(), tile.rows.len()));
    for (readout, mut res) in tile.readouts.iter().zip(res.outer_iter_mut()) {
        let lane = tile.wiring.lane(readout.col, readout.slice);
        for row in readout.rows.range() {
            res[row] = of_cell(readout.terminal, (row, lane)) as f32;
        }
    }
    res
}

/// Fits every conversion's worth, shift and range to the currents it sees instead of the wanted ones.
fn fit_columns(
    converter: &mut Converter,
    wanted: &Array2<f32>,
    moments: &InputMoments,
    shift: &mut [f32],
) {
    for ((way, seen), wanted) in
        converter.ways.iter_mut().zip(converter.currents.outer_iter()).zip(wanted.outer_iter())
    {
        let pairs = || seen.iter().zip(wanted).zip(&moments.variances);
        let products = pairs().map(|((seen, wanted), v)| v * seen * wanted).sum::<f32>();
        let squares = pairs().map(|((seen, _), v)| v * seen * seen).sum::<f32>();
        let gain = if squares > 0.0 { products / squares } else { 1.0 };
        // A column that is all noise is better left alone than blown up.
        let gain = gain.clamp(0.1, 10.0);
        let means = seen.iter().zip(wanted).zip(&moments.means);
        let offset = means.map(|((seen, wanted), mean)| mean * (wanted - gain * seen)).sum::<f32>();
        if let Some(col) = way.col {
            shift[col] += way.scale * offset;
        }
        way.scale *= gain;
        // The range follows the currents.
        way.lo /= gain;
        way.step /= gain;
        way.per_current *= gain;
    }
}

/// Output per input where nothing is rounded, `[columns, rows]`.
fn linearize(converter: &Converter, tile: &Tile, full_scale: f32) -> Array2<f32> {
    let mut linear = Array2::zeros((tile.cols.len(), tile.rows.len()));
    for (way, currents) in converter.ways.iter().zip(converter.currents.outer_iter()) {
        let worth = way.scale * way.step * way.per_current / full_scale;
        match way.col {
            Some(col) => linear.row_mut(col).scaled_add(worth, &currents),
            None => linear.outer_iter_mut().for_each(|mut row| row.scaled_add(worth, &currents)),
        }
    }
    for (mut row, worth) in linear.outer_iter_mut().zip(&converter.drive_sum) {
        row += worth / full_scale;
    }
    linear
}
