//! Corrections before programming: where tiles sit and what their cells are told.
//!
//! Sees only what is known of a die before it is measured ([`Known`]); its hidden part cannot change the
//! result. The order is the one that did best: arrays and copies, rows and signs, then for every layer, on
//! the inputs that the corrected layers before it are expected to make, scales and weights, wires, and last
//! the bias against all that is left.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Cell, RangePer, Subtract};
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, IdVec, LayerId, TileId};
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets, verify_programmed,
};
use nvcim_ir::tiled::{AdcRange, MatrixLayer, Readout, TiledNet};
use nvcim_ops::run_program::{Columns, fill_bias};
use rayon::prelude::*;

use crate::arrays::{self, Copies};
use crate::coarse::shift_of;
use crate::drives::{Choice, Rounding};
use crate::grid::Grid;
use crate::holding::{SpreadLaw, hold, largest};
use crate::known::Known;
use crate::moments::{BoxFit, Moments};
use crate::need::{Laws, Need};
use crate::outcome::{Outcome, Place};
use crate::piece::{Ground, Piece};
use crate::pinned::pin;
use crate::plan::{Correction, Plan};
use crate::pre_distort::pre_distort_tile;
use crate::predict::{predict_readouts, predict_weights, wires_of};
use crate::row_rules::{RowRules, explain_unplaced};
use crate::rows::{Freedom, Placed, Wish, place};
use crate::samples::{Samples, Student, Teacher, walk};
use crate::yard::{Yard, find_yards};

/// Sweeps of the fit that chooses scales, and of the final one.
const SWEEPS: [usize; 2] = [4, 24];

/// Scales that are tried for a column, as shares of the one that its largest weight asks for.
pub(crate) const SCALES: [f64; 5] = [1.0, 0.85, 0.7, 1.2, 1.5];

/// A net with cell targets, and what led to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Targeted {
    /// The net.
    pub net: ProgrammedNet,
    /// Weights with a stuck cell that was taken into account.
    pub weights_on_stuck_pairs: usize,
    /// What each correction did.
    pub outcomes: Vec<Outcome>,
}

/// Chooses every tile's place, every cell's target and every readout's nominal scale.
///
/// Without a teacher, which is one of `net`, only what needs no images runs. Without a die, or without `closest` in the plan, pairs are one-sided and nothing is known of faults.
///
/// # Errors
/// A die record that lacks an array which the net uses.
pub fn correct_before(
    net: &TiledNet,
    known: &Known<'_>,
    teacher: Option<&Teacher<'_>>,
    plan: Plan,
) -> Result<Targeted> {
    let none = RowRules::default();
    correct_before_by(net, known, teacher, plan, &Bounds { rules: &none, base: None })
}

/// What keeps corrections before programming from choosing freely.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// Rows that are pinned to places, or kept off them.
    pub rules: &'a RowRules,
    /// The same net, targeted without a die and without corrections. Only what the die asks for is touched:
    /// tiles without a known stuck cell stay cell for cell, and no tile changes its array.
    pub base: Option<&'a ProgrammedNet>,
}

/// [`correct_before`] within bounds.
///
/// # Errors
/// As [`correct_before`]; rules that no placement obeys, that name what is not there, or that meet rows which
/// do not move.
pub fn correct_before_by(
    net: &TiledNet,
    known: &Known<'_>,
    teacher: Option<&Teacher<'_>>,
    plan: Plan,
    bounds: &Bounds<'_>,
) -> Result<Targeted> {
    let &Bounds { rules, base } = bounds;
    let plan = if base.is_some() { plan.without(Correction::Arrays) } else { plan };
    rules.check(net.tiles.len(), plan, teacher.is_some())?;
    let mut drafts = Drafts::new(net, known, plan, rules);
    drafts.pinned = base.map_or_else(BTreeMap::new, |base| pin(base, drafts.ground.die));
    let mut drafts = match teacher.filter(|_| plan.looks_at_images()) {
        None => drafts.stay_as_mapped()?,
        Some(teacher) => {
            let mut drafts = drafts.spread_out(teacher)?;
            walk(net, teacher, &mut drafts)?;
            drafts
        }
    };
    let tiles: IdVec<TileId, _> = drafts.tiles.into_values().flatten().collect();
    renumber(&mut drafts.outcomes, net, &tiles);
    let layers = drafts.layers;
    let net = ProgrammedNet { program: net.program.clone(), layers, tiles };
    verify_programmed(&net, known.chip.array_size(), known.chip.cell.n_levels)?;
    Ok(Targeted {
        net,
        weights_on_stuck_pairs: drafts.weights_on_stuck_pairs,
        outcomes: drafts.outcomes,
    })
}

/// A net on its way from weights to targets.
struct Drafts<'a> {
    net: &'a TiledNet,
    known: &'a Known<'a>,
    plan: Plan,
    rules: &'a RowRules,
    ground: Ground<'a>,
    statistics: CellStatistics,
    laws: Laws,
    yards: IdVec<TileId, Yard>,
    pieces: IdVec<TileId, Vec<Piece>>,
    /// What stays as it is, by tile of the tiled net.
    pinned: BTreeMap<TileId, ProgrammedTile>,
    /// What is finished, by tile of the tiled net.
    tiles: BTreeMap<TileId, Vec<ProgrammedTile>>,
    layers: IdVec<LayerId, ProgrammedLayer>,
    /// The weights that finished layers are expected to hold.
    expected: BTreeMap<LayerId, Array2<f32>>,
    weights_on_stuck_pairs: usize,
    outcomes: Vec<Outcome>,
}

/// A tile's pieces as they are to be programmed, and what was corrected on the way.
#[derive(Default)]
struct Held {
    tiles: Vec<ProgrammedTile>,
    /// Weights with a stuck cell.
    on_stuck: usize,
    outcomes: Vec<Outcome>,
}

impl<'a> Drafts<'a> {
    fn new(net: &'a TiledNet, known: &'a Known<'a>, plan: Plan, rules: &'a RowRules) -> Self {
        let chip = known.chip;
        // Columns at scales of their own need ranges that follow.
        let ranges = plan.has(Correction::Ranges);
        let plan = if ranges { plan } else { plan.without(Correction::Pairs) };
        let statistics = known.expect_cells(plan, known.aim_s());
        let used = used_cell(&chip.cell, &statistics);
        let code = WeightCode::new(chip);
        // How much cells spread is the chip's business, whether or not their mean is made up for.
        let all = CellStatistics::new(chip, known.effects, known.aim_s());
        let square = |sd: f64| sd * sd;
        let law =
            |variance: &dyn Fn(f64) -> f64| SpreadLaw::new(&code, &used, &chip.cell, variance);
        let laws = Laws {
            cells: law(&|g| square(all.sd(g))),
            reads: law(&|g| square(all.read_sd(g))),
            both: law(&|g| square(all.sd(g)) + square(all.read_sd(g))),
        };
        let die = known.faults(plan);
        let grid = Grid::new(chip);
        Self {
            net,
            known,
            plan,
            rules,
            ground: Ground { chip, grid, code, used, die },
            statistics,
            laws,
            yards: find_yards(net, &grid),
            pieces: IdVec::new(),
            pinned: BTreeMap::new(),
            tiles: BTreeMap::new(),
            layers: net.layers.iter().map(to_programmed).collect(),
            expected: BTreeMap::new(),
            weights_on_stuck_pairs: 0,
            outcomes: Vec::new(),
        }
    }

    /// Everything where mapping put it, every weight as it is.
    fn stay_as_mapped(mut self) -> Result<Self> {
        self.pieces = arrays::stay(self.net, &self.yards, &self.ground).map_err(explain_missing)?;
        let ids: Vec<TileId> = self.net.tiles.ids().collect();
        let hold = |&id: &TileId| {
            (id, self.hold_tile(id, &self.mapped_ranges(id), self.weights_of(id).view()))
        };
        let held: Vec<_> = ids.par_iter().map(hold).collect();
        held.into_iter().for_each(|(id, held)| self.keep(id, held));
        Ok(self)
    }

    /// Every tile on the arrays of choice, with its copies.
    fn spread_out(mut self, teacher: &Teacher<'_>) -> Result<Self> {
        if !self.plan.has(Correction::Arrays) {
            self.pieces =
                arrays::stay(self.net, &self.yards, &self.ground).map_err(explain_missing)?;
            return Ok(self);
        }
        let wish = |(id, tile): (TileId, &nvcim_ir::tiled::Tile)| {
            let energies = &teacher.input_variances[tile.layer];
            self.wish(id, &self.whole_ranges(id), &energies[tile.rows.clone()])
        };
        let wishes = self.net.tiles.iter_enumerated().map(wish).collect();
        let drives = self.plan.has(Correction::Drives);
        let copies = if drives { Copies::Apart } else { Copies::Beside };
        let ground = (self.known, &self.ground);
        let need = Need::find(self.net, &wishes, teacher, self.laws, &self.known.chip.holds);
        let spread = arrays::spread(self.net, &self.yards, (&wishes, &need), ground, copies);
        let spread = spread.map_err(explain_missing)?;
        let wanted: f64 = wishes.iter().map(Wish::size).sum();
        let errors = spread.damage.map(|damage| (damage / wanted).sqrt());
        let outcome = Outcome::new((Correction::Arrays, Place::Net), true, spread.moved, errors);
        self.outcomes.push(outcome.with_gap(spread.gap));
        self.pieces = spread.pieces;
        Ok(self)
    }

    fn tiles_of(&self, layer: LayerId) -> Vec<TileId> {
        let tiles = self.net.tiles.iter_enumerated();
        tiles.filter(|(_, tile)| tile.layer == layer).map(|(id, _)| id).collect()
    }

    /// The tiles of a layer that are not pinned.
    fn free_tiles_of(&self, layer: LayerId) -> Vec<TileId> {
        let tiles = self.tiles_of(layer).into_iter();
        tiles.filter(|id| !self.pinned.contains_key(id)).collect()
    }

    fn weights_of(&self, tile: TileId) -> Array2<f64> {
        let tile = &self.net.tiles[tile];
        let layer = &self.net.layers[tile.layer];
        layer.weights(tile.rows.clone(), tile.cols.clone()).mapv(f64::from)
    }

    /// The weight that takes the whole range of each column of a tile as it was mapped.
    fn mapped_ranges(&self, tile: TileId) -> Vec<f64> {
        let tile = &self.net.tiles[tile];
        let ranges = &self.net.layers[tile.layer].ranges[tile.cols.clone()];
        ranges.iter().copied().map(f64::from).collect()
    }

    /// The weight that takes the whole range of each column of a tile.
    fn whole_ranges(&self, tile: TileId) -> Vec<f64> {
        let own = self.plan.has(Correction::Pairs) && self.ground.code.is_paired();
        if own && !self.pinned.contains_key(&tile) {
            self.weights_of(tile).columns().into_iter().map(largest).collect()
        } else {
            self.mapped_ranges(tile)
        }
    }

    fn wish(&self, tile: TileId, ranges: &[f64], energies: &[f64]) -> Wish {
        let mut shares = self.weights_of(tile);
        for (mut column, range) in shares.columns_mut().into_iter().zip(ranges) {
            column.mapv_inplace(|w| w / range);
        }
        let mut worths: Vec<f64> = ranges.iter().map(|range| range * range).collect();
        if self.ground.code.has_reference() {
            // Its errors go to every column.
            worths.push(worths.iter().sum());
            shares = append_column(&shares);
        }
        Wish { shares, energies: energies.to_vec(), worths }
    }

    /// Chooses rows, columns and signs of a tile's pieces.
    fn place_tile(&mut self, tile: TileId, ranges: &[f64], energies: &[f64]) -> Result<()> {
        let wish = self.wish(tile, ranges, energies);
        let holds = self.known.chip.holds;
        let rows = self.plan.has(Correction::Rows);
        let paired = self.ground.code.is_paired();
        let freedom = Freedom {
            rows: rows && holds.rows,
            cols: rows && holds.rows && paired,
            // Two conversions a pair have a terminal each, and no sign.
            signs: rows
                && holds.column_signs
                && paired
                && self.subtracts_before()
                && self.ranges_follow(),
        };
        let size = wish.size();
        let rules = self.rules.of_tile(tile);
        for piece in &mut self.pieces[tile] {
            let placed = place(piece, &wish, freedom, &rules, &self.ground.grid);
            let Placed { before, after, gap, changed } =
                placed.map_err(|why| explain_unplaced(tile, &why))?;
            if rows {
                let errors = [before, after].map(|error| (error / size).sqrt());
                let of_tile = (Correction::Rows, Place::Tile(tile));
                self.outcomes.push(Outcome::new(of_tile, true, changed, errors).with_gap(gap));
            }
        }
        Ok(())
    }

    /// Whether a column may have a range of its own, or all ranges are set anew.
    fn ranges_follow(&self) -> bool {
        self.plan.has(Correction::Ranges) || self.known.chip.adc.range_per == RangePer::Column
    }

    fn subtracts_before(&self) -> bool {
        self.known.chip.arrays.subtract == Subtract::Analog
    }

    fn keep(&mut self, id: TileId, held: Held) {
        self.weights_on_stuck_pairs += held.on_stuck;
        self.outcomes.extend(held.outcomes);
        self.tiles.insert(id, held.tiles);
    }

    /// Targets and nominal scales of a tile's pieces that hold `weights`, `[tile rows, tile columns]`, where
    /// `ranges` take the whole range of each column.
    fn hold_tile(&self, id: TileId, ranges: &[f64], weights: ArrayView2<'_, f64>) -> Held {
        if let Some(tile) = self.pinned.get(&id) {
            return Held { tiles: vec![tile.clone()], ..Held::default() };
        }
        let pieces = &self.pieces[id];
        let mut shares = weights.to_owned();
        for (mut column, range) in shares.columns_mut().into_iter().zip(ranges) {
            column.mapv_inplace(|w| (w / range).clamp(-2.0, 2.0));
        }
        if self.ground.code.has_reference() {
            shares = append_column(&shares);
        }
        let (targets, on_stuck) = hold(pieces, shares.view(), &self.ground, &self.statistics);
        let mut outcomes = Vec::new();
        let n_pieces = pieces.len();
        let finish =
            |(at, (piece, targets))| self.finish_piece(piece, targets, ranges, (at, n_pieces));
        let mut tiles: Vec<_> = pieces.iter().zip(targets).enumerate().map(finish).collect();
        let wires = wires_of(self.known).filter(|_| self.distorts());
        // Its neighbours load the same wires, and are not all known yet.
        if wires.is_some() && !self.yards[id].is_alone {
            outcomes.push(Outcome::left_out((Correction::IrDrop, Place::Tile(id))));
        } else if let Some(wires) = wires {
            let distort = |(tile, piece): (&mut ProgrammedTile, &Piece)| {
                let faults = &piece.site.faults;
                pre_distort_tile(id, tile, faults, wires, &self.ground, &self.statistics)
            };
            outcomes.extend(tiles.iter_mut().zip(pieces).map(distort));
        }
        Held { tiles, on_stuck, outcomes }
    }

    fn distorts(&self) -> bool {
        self.plan.has(Correction::IrDrop) && self.ground.code.is_paired()
    }

    fn finish_piece(
        &self,
        piece: &Piece,
        targets: Targets,
        ranges: &[f64],
        (at, n_pieces): (usize, usize),
    ) -> ProgrammedTile {
        let tile = &self.net.tiles[piece.tile];
        let Ground { code, used, chip, .. } = &self.ground;
        let full_scale = f64::from(self.layers[tile.layer].input.full_scale);
        // Currents under another full scale than the one that ranges were mapped for.
        let louder = f64::from(self.net.layers[tile.layer].input.full_scale) / full_scale;
        let copies = piece.copies();
        // Output units of a full-scale drive on a weight of 1 in one of all the copies.
        let share = full_scale / (copies * n_pieces) as f64;
        let mapped = self.mapped_ranges(piece.tile);
        // A reference column serves all columns, which then have one range.
        let shared = mapped[0];
        let mut readouts = Vec::with_capacity(tile.readouts.len() * copies);
        for readout in &tile.readouts {
            let col = readout.col as usize;
            let reference = col == tile.cols.len();
            let of_column = if reference { -1.0 } else { 1.0 };
            let range = ranges.get(col).copied().unwrap_or(shared);
            let per_current = chip.cell.g_max / used.range() * range;
            let worth = code.factors()[readout.slice as usize] * per_current * share;
            let scale = readout.terminal.sign() * (of_column * piece.signs[col] * worth) as f32;
            // The same outputs in a smaller or larger current.
            let nominal =
                chip.cell.g_max / chip.cell.range() * mapped.get(col).copied().unwrap_or(shared);
            let stretch = (piece.signs[col] * louder * nominal / per_current) as f32;
            for copy in 0..copies {
                let slice = readout.slice + (copy * code.n_slices()) as u32;
                let range = stretch_range(readout.range, stretch);
                let readout = Readout { slice, range, ..*readout };
                readouts.push(ScaledReadout { readout, scale, shift: 0.0 });
            }
        }
        let drive_sum = if code.is_paired() || code.has_reference() {
            Vec::new()
        } else {
            let taken_off = |range: &f64| -code.offset_per_drive(range * share, used) as f32;
            ranges.iter().map(taken_off).collect()
        };
        ProgrammedTile {
            layer: tile.layer,
            array: piece.site.array,
            rows: tile.rows.clone(),
            cols: tile.cols.clone(),
            wiring: piece.wire(&self.ground.grid),
            targets,
            readouts,
            drive_sum,
            drive_shift: match self.plan.has(Correction::Drives) {
                true => shift_of(at, n_pieces),
                false => 0.0,
            },
        }
    }

    /// The weights that a layer is expected to hold, `[n_rows, n_cols]`.
    fn expect_weights(&self, layer: LayerId) -> Array2<f64> {
        let matrix = &self.net.layers[layer];
        let shape = matrix.shape();
        let mut weights = Array2::zeros((shape.n_rows, shape.n_cols));
        for id in self.tiles_of(layer) {
            for (tile, piece) in self.tiles[&id].iter().zip(&self.pieces[id]) {
                let seen = predict_readouts(tile, self.known, &self.statistics, &piece.site.faults);
                let held = predict_weights(tile, &seen, self.layers[layer].input.full_scale);
                let mut there = weights.slice_mut(s![tile.rows.clone(), tile.cols.clone()]);
                there += &held;
            }
        }
        weights
    }
}

impl Student for Drafts<'_> {
    fn fit(&mut self, layer: LayerId, samples: &Samples) -> Result<()> {
        if self.plan.has(Correction::Drives) {
            self.fit_drives(layer, samples);
        }
        let moments = Moments::new(samples.fit_x(), samples.fit_z());
        let held_out = Moments::new(samples.held_out_x(), samples.held_out_z());
        let energies = moments.energies().to_vec();
        let tiles = self.tiles_of(layer);
        let mut ranges: BTreeMap<TileId, Vec<f64>> =
            tiles.iter().map(|&id| (id, self.whole_ranges(id))).collect();
        for id in self.free_tiles_of(layer) {
            let rows = self.net.tiles[id].rows.clone();
            self.place_tile(id, &ranges[&id], &energies[rows])?;
        }
        let weights = self.fit_weights(layer, &moments, &held_out, &mut ranges);
        for &id in &tiles {
            let tile = &self.net.tiles[id];
            let weights = weights.slice(s![tile.rows.clone(), tile.cols.clone()]);
            let held = self.hold_tile(id, &ranges[&id], weights);
            self.keep(id, held);
        }
        let expected = self.expect_weights(layer);
        if self.plan.has(Correction::Bias) {
            self.set_bias(layer, moments.bias(expected.view()), &moments);
        }
        self.expected.insert(layer, expected.mapv(|w| w as f32));
        Ok(())
    }

    fn multiply(
        &mut self,
        layer: LayerId,
        _columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<()> {
        fill_bias(&mut out, &self.layers[layer].bias);
        ndarray::linalg::general_mat_mul(1.0, &self.expected[&layer].t(), &x, 1.0, &mut out);
        Ok(())
    }
}

impl Drafts<'_> {
    /// Chooses the full scale of a layer's inputs, unless a tile stays as it is.
    fn fit_drives(&mut self, layer: LayerId, samples: &Samples) {
        let tiles = self.tiles_of(layer);
        if tiles.iter().any(|id| self.pinned.contains_key(id)) {
            return;
        }
        let n_copies = tiles.iter().map(|&id| self.pieces[id].len()).min().unwrap_or(1);
        let rounding = Rounding { bits: self.known.chip.dac.bits, n_copies };
        let matrix = &self.net.layers[layer];
        let shape = matrix.shape();
        let weights = matrix.weights(0..shape.n_rows, 0..shape.n_cols);
        let Choice { is_new, input, errors } =
            rounding.choose(samples, weights.view(), matrix.input);
        self.layers[layer].input = input;
        let of_layer = (Correction::Drives, Place::Layer(layer));
        self.outcomes.push(Outcome::new(of_layer, is_new, 1, errors));
    }

    fn set_bias(&mut self, layer: LayerId, bias: Array1<f64>, moments: &Moments) {
        let old = &mut self.layers[layer].bias;
        let moved: f64 =
            old.iter().zip(&bias).map(|(old, new)| (f64::from(*old) - new).powi(2)).sum();
        let size = moments.variance_z.sum().max(f64::MIN_POSITIVE);
        let of_layer = (Correction::Bias, Place::Layer(layer));
        let errors = [(moved / size).sqrt(), 0.0];
        self.outcomes.push(Outcome::new(of_layer, true, bias.len(), errors));
        old.iter_mut().zip(&bias).for_each(|(old, new)| *old = *new as f32);
    }

    /// Weights of a layer inside what its cells can hold, `[n_rows, n_cols]`, and the scales for them.
    fn fit_weights(
        &mut self,
        layer: LayerId,
        moments: &Moments,
        held_out: &Moments,
        ranges: &mut BTreeMap<TileId, Vec<f64>>,
    ) -> Array2<f64> {
        let shape = self.net.layers[layer].shape();
        let w = self.net.layers[layer].weights(0..shape.n_rows, 0..shape.n_cols).mapv(f64::from);
        let reach = self.reach_of_layer(layer, &w);
        if !self.plan.has(Correction::Box) {
            let ([lo, hi], _) = self.scaled(layer, &reach, ranges, 1.0);
            return clip(&w, &lo, &hi);
        }
        let laws = self.spread_of_layer(layer, shape.n_rows);
        let spread: Array1<f64> = laws.iter().map(|law| law.square.max(0.0)).collect();
        let fit = BoxFit::new(moments, w.view(), spread.view());
        let promise = Promise { held_out, energies: moments.energies(), laws: &laws };
        let ([lo, hi], wide) = self.scaled(layer, &reach, ranges, 1.0);
        let closest = clip(&w, &lo, &hi);
        let closest_errors = promise.errors(&closest, &wide);

        // For every column the scale that promises least.
        let may_scale = self.plan.has(Correction::Pairs) && self.ground.code.is_paired();
        let scales = if may_scale { &SCALES[..] } else { &SCALES[..1] };
        let mut best: Vec<(f64, f64)> = vec![(f64::INFINITY, 1.0); shape.n_cols];
        for &scale in scales {
            let ([lo, hi], wide) = self.scaled(layer, &reach, ranges, scale);
            let v = fit.descend(clip(&w, &lo, &hi), lo.view(), hi.view(), SWEEPS[0]);
            for (best, &error) in best.iter_mut().zip(&promise.errors(&v, &wide)) {
                if error < best.0 {
                    *best = (error, scale);
                }
            }
        }
        let unscaled = ranges.clone();
        for id in self.free_tiles_of(layer) {
            let cols = self.net.tiles[id].cols.clone();
            let ranges = ranges.get_mut(&id).expect("every tile has its ranges");
            for (range, (_, scale)) in ranges.iter_mut().zip(&best[cols]) {
                *range *= scale;
            }
        }

        // The fit, or the closest weights where it does not do better on held-out images.
        let ([lo, hi], wide) = self.scaled(layer, &reach, ranges, 1.0);
        let fitted = fit.descend(clip(&w, &lo, &hi), lo.view(), hi.view(), SWEEPS[1]);
        let gap = fit.gap(fitted.view(), lo.view(), hi.view());
        let size = held_out.variance_z.sum().max(f64::MIN_POSITIVE);
        let errors = [closest_errors, promise.errors(&fitted, &wide)];
        let errors = errors.map(|it| (it.sum() / size).sqrt());
        let kept = errors[1] <= errors[0];
        let of_layer = (Correction::Box, Place::Layer(layer));
        let outcome = Outcome::new(of_layer, kept, shape.n_cols, errors);
        self.outcomes.push(outcome.with_gap(gap));
        if kept {
            return fitted;
        }
        *ranges = unscaled;
        closest
    }

    /// What weights can be as shares of the whole range, lowest and highest, `[n_rows, n_cols]`; nothing but
    /// 0 outside tiles.
    fn reach_of_layer(&self, layer: LayerId, w: &Array2<f64>) -> [Array2<f64>; 2] {
        let mut reach = [Array2::zeros(w.dim()), Array2::zeros(w.dim())];
        for id in self.tiles_of(layer) {
            let tile = &self.net.tiles[id];
            let pieces = &self.pieces[id];
            for piece in pieces {
                let of_piece = piece.reach(&self.ground.grid);
                for (all, it) in reach.iter_mut().zip(of_piece) {
                    let mut all = all.slice_mut(s![tile.rows.clone(), tile.cols.clone()]);
                    all.scaled_add(1.0 / pieces.len() as f64, &it.slice(s![.., ..tile.cols.len()]));
                }
            }
        }
        reach
    }

    /// A reach in weights under scales that are `scale` times `ranges`, lowest and highest, and the weights
    /// that then take the whole range, `[n_rows, n_cols]` all.
    fn scaled(
        &self,
        layer: LayerId,
        reach: &[Array2<f64>; 2],
        ranges: &BTreeMap<TileId, Vec<f64>>,
        scale: f64,
    ) -> ([Array2<f64>; 2], Array2<f64>) {
        let wide = self.ranges_of_layer(layer, ranges, reach[0].ncols(), scale);
        let mut bounds = [&reach[0] * &wide, &reach[1] * &wide];
        // What is pinned leaves no choice.
        for id in self.tiles_of(layer).into_iter().filter(|id| self.pinned.contains_key(id)) {
            let tile = &self.net.tiles[id];
            for bound in &mut bounds {
                let mut there = bound.slice_mut(s![tile.rows.clone(), tile.cols.clone()]);
                there.assign(&self.weights_of(id));
            }
        }
        (bounds, wide)
    }

    /// The weight that takes the whole range, for every weight of a layer, under scales that are `scale` times
    /// `ranges`; 0 outside tiles.
    fn ranges_of_layer(
        &self,
        layer: LayerId,
        ranges: &BTreeMap<TileId, Vec<f64>>,
        n_cols: usize,
        scale: f64,
    ) -> Array2<f64> {
        let n_rows = self.net.layers[layer].shape().n_rows;
        let mut wide = Array2::zeros((n_rows, n_cols));
        for id in self.tiles_of(layer) {
            let tile = &self.net.tiles[id];
            let mut wide = wide.slice_mut(s![tile.rows.clone(), tile.cols.clone()]);
            let scale = if self.pinned.contains_key(&id) { 1.0 } else { scale };
            let ranges = Array1::from(ranges[&id].clone()) * scale;
            wide.outer_iter_mut().for_each(|mut row| row.assign(&ranges));
        }
        wide
    }

    /// What the spread of cells costs the weights of every row, by their copies.
    fn spread_of_layer(&self, layer: LayerId, n_rows: usize) -> Vec<SpreadLaw> {
        let spread = self.laws.both;
        let mut laws = vec![spread; n_rows];
        for id in self.tiles_of(layer) {
            let copies = self.pieces[id].iter().map(Piece::copies).sum();
            laws[self.net.tiles[id].rows.clone()].fill(spread.of_copies(copies));
        }
        laws
    }
}

/// What weights promise: their error on held-out images and what the spread of cells adds.
struct Promise<'a> {
    held_out: &'a Moments,
    /// Energies of the inputs, `[n_rows]`.
    energies: ArrayView1<'a, f64>,
    /// What the spread of cells costs the weights of every row.
    laws: &'a [SpreadLaw],
}

impl Promise<'_> {
    /// The mean square error of every column under weights `v`, where `wide` take the whole range,
    /// `[n_rows, n_cols]` both.
    fn errors(&self, v: &Array2<f64>, wide: &Array2<f64>) -> Array1<f64> {
        let mut errors = self.held_out.errors(v.view());
        for (row, (&energy, law)) in self.energies.iter().zip(self.laws).enumerate() {
            for (col, error) in errors.iter_mut().enumerate() {
                let (v, range) = (v[(row, col)], wide[(row, col)]);
                *error += energy * (law.constant * range * range + law.square * v * v);
            }
        }
        errors
    }
}

impl Wish {
    /// The weighted square of all that is wanted; never 0.
    fn size(&self) -> f64 {
        let rows = self.shares.outer_iter().zip(&self.energies);
        let of_row = |(row, energy): (ArrayView1<'_, f64>, &f64)| {
            let terms = row.iter().zip(&self.worths);
            energy * terms.fold(0.0, |sum, (w, worth)| sum + worth * w * w)
        };
        rows.map(of_row).sum::<f64>().max(f64::MIN_POSITIVE)
    }
}

/// The cell as currents see it at the time of use.
pub(crate) fn used_cell(cell: &Cell, statistics: &CellStatistics) -> Cell {
    let [lo, hi] = statistics.reach();
    let moved = lo != cell.g_min || hi != cell.g_max;
    if moved && hi > lo { Cell { g_min: lo, g_max: hi, n_levels: None } } else { *cell }
}

fn to_programmed(layer: &MatrixLayer) -> ProgrammedLayer {
    ProgrammedLayer {
        name: layer.name.clone(),
        shape: layer.shape(),
        bias: layer.bias.clone(),
        input: layer.input,
    }
}

/// A column of zeros behind the others: what a reference column holds.
fn append_column(shares: &Array2<f64>) -> Array2<f64> {
    let zeros = Array2::zeros((shares.nrows(), 1));
    ndarray::concatenate(Axis(1), &[shares.view(), zeros.view()]).expect("as many rows")
}

fn clip(w: &Array2<f64>, lo: &Array2<f64>, hi: &Array2<f64>) -> Array2<f64> {
    let mut clipped = w.clone();
    ndarray::Zip::from(&mut clipped).and(lo).and(hi).for_each(|w, &lo, &hi| *w = w.clamp(lo, hi));
    clipped
}

/// A range in a current that is `stretch` times as large; ends change place where its sign turns.
fn stretch_range(range: AdcRange, stretch: f32) -> AdcRange {
    let (lo, hi) = (range.lo * stretch, range.hi * stretch);
    AdcRange { lo: lo.min(hi), hi: lo.max(hi) }
}

fn explain_missing(missing: ArrayId) -> Vec<Diagnostic> {
    let message = format!("the die file has no {missing}");
    let hint = "sample or import a die with every array of the chip";
    Diagnostic::bad_input("--die", message).hint(hint).into()
}

/// Outcomes speak of tiles of the tiled net; readers know those of the programmed one: the first copy.
fn renumber(outcomes: &mut [Outcome], net: &TiledNet, tiles: &IdVec<TileId, ProgrammedTile>) {
    let find = |id: TileId| {
        let of_net = &net.tiles[id];
        tiles
            .iter_enumerated()
            .find(|(_, tile)| {
                (tile.layer, &tile.rows, &tile.cols) == (of_net.layer, &of_net.rows, &of_net.cols)
            })
            .map(|(id, _)| id)
    };
    for outcome in outcomes {
        if let Place::Tile(id) = outcome.place
            && let Some(id) = find(id)
        {
            outcome.place = Place::Tile(id);
        }
    }
}
