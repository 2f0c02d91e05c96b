//! Wires, curves, drivers and leakage on whole dies, against sums written out here.

use ndarray::{Array2, array};
use nvcim_chip::circuits::DacCircuit;
use nvcim_chip::describe::{
    Accumulate, BitSerial, Chip, InputDrive, NegativeInputs, PairAxis, Topology,
};
use nvcim_chip::effects::EffectSet;
use nvcim_chip::effects::ir_drop::{GatedLines, IrDrop, IrDropMethod, SourceLines};
use nvcim_chip::effects::leakage::Leakage;
use nvcim_chip::network::{Wires, gated, passive};
use nvcim_chip::presets::find_preset;
use nvcim_ops::tensor::Tensor;

use crate::machine::Machine;
use crate::sample::sample_die;
use crate::testing::{dense_image, fresh, plain_chip};

const WIRES: Wires =
    Wires { word_line_ohm: 20.0, bit_line_ohm: 30.0, driver_ohm: 100.0, sense_ohm: 50.0 };

/// Without converters, so that outputs are currents.
const CURRENTS: EffectSet = EffectSet::ALL
    .without(nvcim_chip::effects::Effect::Adc)
    .without(nvcim_chip::effects::Effect::Dac);

/// Everything but rounding of outputs.
const DRIVES: EffectSet = EffectSet::ALL.without(nvcim_chip::effects::Effect::Adc);

fn wired(topology: Topology) -> Chip {
    let mut chip = plain_chip();
    chip.arrays.topology = topology;
    chip.dac.negative = NegativeInputs::SignMagnitude;
    let gated = (topology == Topology::Gated).then_some(GatedLines {
        bit_line_volts: 0.5,
        source_line_ohm: 15.0,
        source_lines: SourceLines::AlongBitLines,
        output_conductance_per_volt: 0.4,
        subthreshold_volts: 0.039,
    });
    let wires = match topology {
        Topology::Passive => WIRES,
        Topology::Gated => Wires { word_line_ohm: 0.0, driver_ohm: 0.0, ..WIRES },
    };
    chip.effects.ir_drop = Some(IrDrop { wires, method: IrDropMethod::Exact, gated });
    chip
}

fn weights() -> Array2<f32> {
    array![[0.5, -1.0, 0.25], [-0.25, 0.75, 0.0], [1.0, 0.5, -0.5], [0.0, -0.125, 1.0]]
}

/// Conductances in siemens of an 8x8 array with the pairs of `weights` on columns.
fn pairs_on_columns(g_max: f64) -> Array2<f64> {
    let mut g = Array2::zeros((8, 8));
    for ((row, col), &w) in weights().indexed_iter() {
        g[(row, 2 * col)] = g_max * f64::from(w.max(0.0));
        g[(row, 2 * col + 1)] = g_max * f64::from((-w).max(0.0));
    }
    g
}

fn run(chip: &Chip, set: EffectSet, x: &[f32]) -> Vec<f64> {
    let input = Tensor::from_shape_vec(vec![1, 4], x.to_vec()).unwrap();
    let image = dense_image(chip, &weights(), true);
    let machine = Machine::<f64>::load_as(&image, &sample_die(chip, 1, 2), fresh(set)).unwrap();
    let outputs = machine.run(&input, 0).outputs.remove(0);
    assert_eq!(machine.n_stalled(), 0);
    outputs.iter().map(|&y| f64::from(y)).collect()
}

#[track_caller]
fn assert_near(got: &[f64], want: &[f64], tolerance: f64) {
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(got.len() == want.len() && worst <= tolerance, "{worst:e}: {got:?} {want:?}");
}

/// Outputs are f32.
const ROUNDING: f64 = 3e-7;

#[test]
fn wires_of_a_passive_array_make_its_transfer_matrix() {
    let chip = wired(Topology::Passive);
    let x = [1.0f32, -0.5, 0.25, 0.75];
    let transfer = passive::transfer_matrix(pairs_on_columns(1e-4).view(), &WIRES);
    let current = |line: usize| -> f64 {
        (0..4).map(|row| transfer[(line, row)] * f64::from(x[row])).sum::<f64>() / 1e-4
    };
    let want: Vec<f64> = (0..3).map(|col| current(2 * col) - current(2 * col + 1)).collect();
    assert_near(&run(&chip, CURRENTS, &x), &want, ROUNDING);
    // What wires take is far more than rounding.
    let mut ideal = chip;
    ideal.effects.ir_drop = None;
    let ideal = run(&ideal, CURRENTS, &x);
    assert!(ideal.iter().zip(&want).any(|(a, b)| (a - b).abs() > 0.01), "{ideal:?} {want:?}");
}

#[test]
fn pairs_on_rows_drive_one_network_both_ways() {
    let mut chip = wired(Topology::Passive);
    chip.arrays.pairs = PairAxis::Rows;
    let x = [1.0f32, -0.5, 0.25, 0.75];
    let mut g = Array2::zeros((8, 8));
    for ((row, col), &w) in weights().indexed_iter() {
        g[(2 * row, col)] = 1e-4 * f64::from(w.max(0.0));
        g[(2 * row + 1, col)] = 1e-4 * f64::from((-w).max(0.0));
    }
    let transfer = passive::transfer_matrix(g.view(), &WIRES);
    let current = |col: usize| -> f64 {
        let row = |row: usize| transfer[(col, 2 * row)] - transfer[(col, 2 * row + 1)];
        (0..4).map(|at| row(at) * f64::from(x[at])).sum::<f64>() / 1e-4
    };
    assert_near(&run(&chip, CURRENTS, &x), &[0, 1, 2].map(current), ROUNDING);
}

#[test]
fn pairs_on_two_arrays_have_wires_of_their_own() {
    let mut chip = wired(Topology::Passive);
    chip.arrays.pairs = PairAxis::Arrays;
    let x = [1.0f32, -0.5, 0.25, 0.75];
    let side = |sign: f32| {
        let mut g = Array2::zeros((8, 8));
        for ((row, col), &w) in weights().indexed_iter() {
            g[(row, col)] = 1e-4 * f64::from((sign * w).max(0.0));
        }
        passive::transfer_matrix(g.view(), &WIRES)
    };
    let (plus, minus) = (side(1.0), side(-1.0));
    let current = |col: usize| -> f64 {
        let row = |row: usize| plus[(col, row)] - minus[(col, row)];
        (0..4).map(|at| row(at) * f64::from(x[at])).sum::<f64>() / 1e-4
    };
    assert_near(&run(&chip, CURRENTS, &x), &[0, 1, 2].map(current), ROUNDING);
}

#[test]
fn rows_in_parts_rest_while_the_others_are_driven() {
    let mut chip = wired(Topology::Passive);
    chip.arrays.max_active_rows = Some(2);
    // A linear network: parts add up to the whole.
    let x = [1.0f32, -0.5, 0.25, 0.75];
    let mut whole = chip.clone();
    whole.arrays.max_active_rows = None;
    assert_near(&run(&chip, CURRENTS, &x), &run(&whole, CURRENTS, &x), ROUNDING);
}

/// Cells of a preset with curves, at the range of these tests.
fn curved(topology: Topology) -> Chip {
    let mut chip = wired(topology);
    chip.effects.iv = find_preset("rram-milo").unwrap().effects.iv;
    chip
}

#[test]
fn curves_without_wires_are_cubics() {
    let mut chip = curved(Topology::Passive);
    chip.effects.ir_drop = None;
    let iv = chip.effects.iv.unwrap();
    let x = [1.0f32, -0.5, 0.25, 0.75];
    let g = pairs_on_columns(1e-4);
    let current = |line: usize, x: &[f32]| -> f64 {
        let cell = |row: usize| iv.current(g[(row, line)], iv.full_scale * f64::from(x[row]));
        (0..4).map(cell).sum::<f64>() / (1e-4 * iv.full_scale)
    };
    let want = |x: &[f32]| [0, 2, 4].map(|line| current(line, x) - current(line + 1, x));
    assert_near(&run(&chip, CURRENTS, &x), &want(&x), ROUNDING);
    // Pulses are of full voltage, however short.
    chip.dac.coding = InputDrive::PulseWidth;
    let at_full = want(&[1.0, 1.0, 1.0, 1.0]);
    assert_near(&run(&chip, CURRENTS, &[1.0; 4]), &at_full, ROUNDING);
    assert_near(&run(&chip, CURRENTS, &[0.25; 4]), &at_full.map(|y| y / 4.0), ROUNDING);
}

#[test]
fn curved_cells_behind_hardly_any_wire_are_cubics_too() {
    let mut chip = curved(Topology::Passive);
    let x = [1.0f32, -0.5, 0.25, 0.75];
    chip.effects.ir_drop.as_mut().unwrap().wires =
        Wires { word_line_ohm: 1e-4, bit_line_ohm: 1e-4, driver_ohm: 0.0, sense_ohm: 0.0 };
    let solved = run(&chip, CURRENTS, &x);
    chip.effects.ir_drop = None;
    assert_near(&solved, &run(&chip, CURRENTS, &x), 1e-6);
}

#[test]
fn curved_cells_behind_wires_lose_less_than_ohmic_ones_gain() {
    // The two effects oppose each other: curves raise currents, wires lower them.
    let x = [1.0f32, 0.5, 0.25, 0.75];
    let chip = curved(Topology::Passive);
    let both = run(&chip, CURRENTS, &x);
    let mut no_wires = chip.clone();
    no_wires.effects.ir_drop = None;
    let curves = run(&no_wires, CURRENTS, &x);
    assert!(both[0].abs() < curves[0].abs(), "{both:?} {curves:?}");
}

/// The charge of one gated pair over pulses, written out pattern by pattern.
fn gated_pairs(chip: &Chip, codes: &[u32], phases: &[(f64, Vec<bool>)]) -> Vec<f64> {
    let wires = chip.effects.ir_drop.unwrap().gated_wires().unwrap();
    let g = pairs_on_columns(1e-4);
    let mut sums = [0.0; 8];
    let mut currents = [0.0; 8];
    for (weight, on) in phases {
        assert_eq!(on.len(), codes.len());
        let mut gates = vec![false; 8];
        gates[..4].copy_from_slice(on);
        gated::column_currents(g.view(), &gates, &wires, &mut currents).unwrap();
        sums.iter_mut().zip(&currents).for_each(|(sum, y)| *sum += weight * y);
    }
    let per_cell = 1e-4 * wires.bit_line_volts;
    (0..3).map(|col| (sums[2 * col] - sums[2 * col + 1]) / per_cell).collect()
}

#[test]
fn gated_pulses_and_bits_are_sums_over_patterns() {
    let mut chip = wired(Topology::Gated);
    chip.dac.negative = NegativeInputs::TwoPass;
    chip.dac.coding = InputDrive::PulseWidth;
    chip.dac.bits = 3;
    let codes = [7u32, 5, 0, 2];
    let x = codes.map(|code| code as f32 / 7.0);
    let on = |least: u32| codes.map(|code| code >= least).to_vec();
    let pulses = [(2.0 / 7.0, on(1)), (3.0 / 7.0, on(3)), (2.0 / 7.0, on(6))];
    let want = gated_pairs(&chip, &codes, &pulses);
    assert_near(&run(&chip, DRIVES, &x), &want, ROUNDING);

    let bit = |bit: u32| codes.map(|code| code >> bit & 1 == 1).to_vec();
    let bits = [(1.0 / 7.0, bit(0)), (2.0 / 7.0, bit(1)), (4.0 / 7.0, bit(2))];
    let want = gated_pairs(&chip, &codes, &bits);
    for accumulate in [Accumulate::Digital, Accumulate::Analog] {
        chip.dac.coding = InputDrive::BitSerial(BitSerial { bits_per_slice: 1, accumulate });
        assert_near(&run(&chip, DRIVES, &x), &want, ROUNDING);
    }
    assert_ne!(gated_pairs(&chip, &codes, &pulses), want, "patterns differ");
}

#[test]
fn a_gated_array_whose_cells_do_not_feel_wires_needs_no_network() {
    let mut chip = wired(Topology::Gated);
    let lines = chip.effects.ir_drop.as_mut().unwrap().gated.as_mut().unwrap();
    (lines.source_line_ohm, lines.output_conductance_per_volt) = (0.0, 0.0);
    chip.dac.coding = InputDrive::PulseWidth;
    let x = [1.0f32, 0.5, 0.25, 0.75];
    let blind = run(&chip, CURRENTS, &x);
    chip.effects.ir_drop = None;
    assert_eq!(blind, run(&chip, CURRENTS, &x));
}

#[test]
fn drivers_and_leakage_act_row_by_row() {
    let mut chip = plain_chip();
    chip.dac.negative = NegativeInputs::TwoPass;
    chip.dac.coding = InputDrive::PulseWidth;
    chip.circuits.dac = DacCircuit { gain_sd: 0.1, offset_sd_steps: 4.0, inl_steps: Vec::new() };
    chip.effects.leakage = Some(Leakage { share_of_g: 0.02 });
    let drivers = crate::circuits::draw_drivers(&chip, 1, nvcim_ir::ids::Id::new(0)).unwrap();
    let g = pairs_on_columns(1e-4);
    let x = [1.0f32, 0.2, 0.4, 0.6];
    let line = |line: usize| -> f64 {
        let row = |row: usize| {
            let gain = drivers.gain(row as u32);
            let offset = drivers.offset_steps(row as u32) / 255.0;
            let driven = gain * (0.98 * f64::from(x[row]) + offset) + 0.02;
            g[(row, line)] / 1e-4 * driven
        };
        (0..4).map(row).sum()
    };
    let want = [0, 2, 4].map(|at| line(at) - line(at + 1));
    // One pass: inputs that are never negative keep what two passes would cancel.
    let input = Tensor::from_shape_vec(vec![1, 4], x.to_vec()).unwrap();
    let image = dense_image(&chip, &weights(), false);
    let machine = Machine::<f64>::load_as(&image, &sample_die(&chip, 1, 1), fresh(DRIVES)).unwrap();
    let got: Vec<f64> = machine.run(&input, 0).outputs[0].iter().map(|&y| y.into()).collect();
    assert_near(&got, &want, ROUNDING);
}
