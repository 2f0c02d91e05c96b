//! The simulator as referee: the same die gives the same scores, and noise the same spread.

use std::sync::Arc;

use nvcim_chip::describe::{Chip, NegativeInputs, SignCoding, Subtract};
use nvcim_chip::effects::column_gain::ColumnGain;
use nvcim_chip::effects::column_offset::ColumnOffset;
use nvcim_chip::effects::drift::Drift;
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::programming::Programming;
use nvcim_chip::effects::read::ReadNoise;
use nvcim_chip::effects::stuck::Stuck;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_correct::before::correct_before;
use nvcim_correct::known::Known;
use nvcim_correct::plan::Plan;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::{MatrixLayer, TiledNet};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::machine::Machine;
use nvcim_sim::sample::sample_die;

use super::networks::{chip, map, small_graph, tensor};
use crate::draw::{Drawer, InputMoments};
use crate::ground::Ground;
use crate::matrix::SeenLayer;
use crate::network::{Network, Shared};
use crate::tape;

const SEED: u64 = 5;
const YEAR: f64 = 3.155_76e7;

/// A chip with an error of every kind that stays the same from one vector to the next.
fn flawed_chip() -> Chip {
    let mut chip = chip("ideal");
    chip.arrays.n_rows = 16;
    chip.arrays.n_cols = 12;
    chip.cell.n_levels = Some(33);
    chip.effects.programming = Some(Programming::Range { sd_of_range: 0.03 });
    chip.effects.drift = Some(Drift::power(0.05, 0.01, 20.0));
    chip.effects.stuck =
        Some(Stuck { stuck_gmin: 0.02, stuck_gmax: 0.04, dead_rows: 0.02, ..Stuck::default() });
    chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
    chip.effects.column_offset = Some(ColumnOffset { sd_lsb: 2.0 });
    chip
}

/// What the simulator makes of the net's scores; its last step, a softmax, is left out.
fn simulate(chip: &Chip, net: &TiledNet, effects: EffectSet, images: &Tensor, run: u64) -> Tensor {
    let mut net = net.clone();
    let last = net.program.outputs[0];
    net.program.outputs = net.program.steps[last].operands.clone();
    let known = Known { chip, die: None, effects, at_s: YEAR, use_s: None };
    let programmed = correct_before(&net, &known, None, Plan::NONE).unwrap().net;
    let provenance = Provenance {
        tool_version: String::new(),
        model_hash: [0; 32],
        calibration_hash: None,
        die: None,
        corrections: Vec::new(),
        effects: Vec::new(),
        at_s: 0.0,
    };
    let image = Image { chip: chip.clone(), net: programmed, provenance };
    let record = sample_die(chip, SEED, net.tiles.len());
    let conditions = Conditions { effects, at_s: YEAR, extrapolate: false, run_seed: run };
    let machine: Machine = Machine::load_as(&image, &record, conditions).unwrap();
    machine.run(images, 0).outputs.remove(0)
}

/// What training makes of them on the same die.
fn train(
    chip: &Chip,
    net: &TiledNet,
    effects: EffectSet,
    images: &Tensor,
    chunk: usize,
) -> Vec<f32> {
    let ground = Ground { chip, effects, at_s: YEAR, die: None, corrected: None };
    train_on(&ground, net, images, chunk)
}

fn train_on(ground: &Ground<'_>, net: &TiledNet, images: &Tensor, chunk: usize) -> Vec<f32> {
    let blank = |layer: &MatrixLayer| {
        let n_rows = layer.shape().n_rows;
        InputMoments { means: vec![0.0; n_rows], variances: vec![1.0; n_rows] }
    };
    let moments: IdVec<LayerId, _> = net.layers.iter().map(blank).collect();
    let drawer = Drawer::new(ground, net);
    let wires = drawer.look_at_wires(net, SEED, 1.0);
    let layers = drawer.draw(net, &moments, wires.as_ref(), SEED, 1.0);
    scores(net, &layers, images, chunk)
}

fn scores(
    net: &TiledNet,
    layers: &IdVec<LayerId, Arc<SeenLayer>>,
    images: &Tensor,
    chunk: usize,
) -> Vec<f32> {
    let leaves = net.layers.iter().map(|layer| {
        let weights: Vec<f32> = layer.blocks.iter().copied().collect();
        Shared::new(&weights, &layer.bias).leaves()
    });
    let leaves: IdVec<LayerId, _> = leaves.collect();
    let input = tape::constant(images.iter().copied().collect(), images.shape());
    tape::values_of(&Network::plan(net).unwrap().run(layers, &leaves, input, chunk).unwrap())
}

#[track_caller]
fn assert_same_die(chip: &Chip, effects: EffectSet, what: &str) {
    let net = map(&small_graph(), chip);
    let images = tensor(3, &[12, 2, 8, 8]);
    let want = simulate(chip, &net, effects, &images, 0);
    let got = train(chip, &net, effects, &images, 0);
    let size = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    // Sums in another order can move a code by one, seldom and in few columns.
    let off = want.iter().zip(&got).filter(|(a, b)| (*a - *b).abs() > 1e-3 * size).count();
    assert!(off <= want.len() / 12, "{what}: {off} of {}\n{want}\n{got:?}", want.len());
}

#[test]
fn a_die_is_the_simulators_die() {
    assert_same_die(&flawed_chip(), EffectSet::ALL, "pairs");
    assert_same_die(&flawed_chip(), EffectSet::ALL.without(Effect::Adc), "no converter");
    assert_same_die(&flawed_chip(), EffectSet::NONE.with(Effect::Dac), "drives alone");
    let mut chip = flawed_chip();
    chip.arrays.subtract = Subtract::Digital;
    chip.dac.negative = NegativeInputs::TwoPass;
    chip.arrays.max_active_rows = Some(5);
    assert_same_die(&chip, EffectSet::ALL, "two passes, two conversions, rows in parts");
    let mut chip = flawed_chip();
    chip.weights.significance = vec![1.0, 2.0];
    assert_same_die(&chip, EffectSet::ALL, "two cells to a weight");
    for sign in [SignCoding::OffsetDigital, SignCoding::OffsetColumn] {
        let mut chip = flawed_chip();
        chip.weights.sign = sign;
        chip.effects.stuck = None;
        assert_same_die(&chip, EffectSet::ALL, "offsets");
    }
}

#[test]
fn wires_take_what_they_take_in_the_simulator() {
    let mut chip = flawed_chip();
    chip.effects.ir_drop = chip_with_wires();
    chip.cell.g_min = 1e-6;
    assert_same_die(&chip, EffectSet::ALL, "wires");
}

fn chip_with_wires() -> Option<nvcim_chip::effects::ir_drop::IrDrop> {
    use nvcim_chip::effects::ir_drop::{IrDrop, IrDropMethod};
    use nvcim_chip::network::Wires;
    let wires = Wires { word_line_ohm: 5.0, bit_line_ohm: 5.0, ..Wires::IDEAL };
    Some(IrDrop { wires, method: IrDropMethod::Exact, gated: None })
}

/// Mean and standard deviation of every score over runs of noise.
fn spread(runs: &[Vec<f32>]) -> Vec<[f64; 2]> {
    let n = runs.len() as f64;
    (0..runs[0].len())
        .map(|at| {
            let values = || runs.iter().map(|run| f64::from(run[at]));
            let mean = values().sum::<f64>() / n;
            [mean, (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()]
        })
        .collect()
}

#[test]
fn noise_spreads_scores_as_in_the_simulator() {
    let mut chip = flawed_chip();
    chip.effects.read = Some(ReadNoise::share(0.1));
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 1.5, current_sd_cells: 0.0 });
    let net = map(&small_graph(), &chip);
    let images = tensor(3, &[2, 2, 8, 8]);
    const RUNS: usize = 400;
    let simulated: Vec<Vec<f32>> = (0..RUNS as u64)
        .map(|run| simulate(&chip, &net, EffectSet::ALL, &images, run).into_iter().collect())
        .collect();
    let trained: Vec<Vec<f32>> =
        (0..RUNS).map(|run| train(&chip, &net, EffectSet::ALL, &images, run)).collect();
    for ([mean, sd], [want_mean, want_sd]) in spread(&trained).into_iter().zip(spread(&simulated)) {
        // Five standard errors of a difference of means, and of a ratio of spreads, of 400 runs each.
        let error = want_sd * (2.0 / RUNS as f64).sqrt();
        assert!((mean - want_mean).abs() < 5.0 * error, "{mean} {want_mean} {error}");
        assert!((sd / want_sd - 1.0).abs() < 0.25, "{sd} {want_sd}");
    }
}

#[test]
fn copies_share_their_noise() {
    let mut chip = flawed_chip();
    chip.effects.read = Some(ReadNoise::share(0.1));
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 1.5, current_sd_cells: 0.0 });
    let net = map(&small_graph(), &chip);
    let images = tensor(3, &[1, 2, 8, 8]);
    let effects = EffectSet::NONE.with(Effect::Read).with(Effect::OutputNoise);
    let spread_of = |n_copies: f64| {
        let copies: IdVec<LayerId, f64> = net.layers.iter().map(|_| n_copies).collect();
        let ground =
            Ground { chip: &chip, effects, at_s: YEAR, die: None, corrected: Some(&copies) };
        let runs: Vec<_> = (0..200).map(|run| train_on(&ground, &net, &images, run)).collect();
        spread(&runs).iter().map(|[_, sd]| sd * sd).sum::<f64>()
    };
    let (one, four) = (spread_of(1.0), spread_of(4.0));
    // A network that bends little makes a quarter of the variance of a quarter.
    assert!((four / one - 0.25).abs() < 0.05, "{four} of {one}");
}
