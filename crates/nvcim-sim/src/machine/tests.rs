//! Whole images on whole dies: hand-computed results, equivalences and reproducible bytes.

use std::ops::Range;
use std::sync::LazyLock;

use ndarray::{Array2, ArrayView2, Axis, Slice, array, s};
use nvcim_chip::circuits::{AdcCircuit, AdcInl, AdcKind, DacCircuit};
use nvcim_chip::describe::{
    Accumulate, AdcCoding, BitSerial, Chip, InputDrive, NegativeInputs, PairAxis, SignCoding,
    Subtract, Topology,
};
use nvcim_chip::die::{Conversion, Die, program_net};
use nvcim_chip::effects::column_gain::ColumnGain;
use nvcim_chip::effects::column_offset::ColumnOffset;
use nvcim_chip::effects::drift::Drift;
use nvcim_chip::effects::ir_drop::{GatedLines, IrDrop, IrDropMethod, SourceLines};
use nvcim_chip::effects::leakage::Leakage;

use nvcim_chip::effects::nonlinearity::Nonlinearity;
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::programming::Programming;
use nvcim_chip::effects::read::{Correlation, ReadNoise};
use nvcim_chip::effects::stuck::Stuck;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::network::Wires;
use nvcim_chip::presets::{PRESETS, find_preset};
use nvcim_chip::real::Real;
use nvcim_chip::record::{DieRecord, StuckCell};
use nvcim_image::layout::Image;
use nvcim_ir::ids::{ArrayId, Id, LayerId, StepId, TileId};
use nvcim_ir::tiled::AdcRange;
use nvcim_ops::run_program::{Columns, MatrixEngine, Nth};
use nvcim_ops::tensor::Tensor;
use proptest::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Machine, Run};
use crate::clips::ClipCount;
use crate::conditions::Conditions;
use crate::die::SimDie;
use crate::sample::sample_die;
use crate::testing::{dense_image, fresh, plain_chip, tile};

fn no_converters() -> EffectSet {
    EffectSet::ALL.without(Effect::Dac).without(Effect::Adc)
}

fn weights() -> Array2<f32> {
    array![[0.5, -1.0, 0.25], [-0.25, 0.75, 0.0], [1.0, 0.5, -0.5], [0.0, -0.125, 1.0]]
}

/// Samples of four inputs with few bits, positive and negative.
fn signed_input(n_samples: usize) -> Tensor {
    let value = |at: usize| ((at * 37 + 11) % 33) as f32 / 16.0 - 1.0;
    Tensor::from_shape_vec(vec![n_samples, 4], (0..4 * n_samples).map(value).collect()).unwrap()
}

fn run_on(image: &Image, record: &DieRecord, effects: EffectSet, input: &Tensor) -> Run {
    Machine::load(image, record, fresh(effects)).unwrap().run(input, 0)
}

fn run(image: &Image, effects: EffectSet, input: &Tensor) -> Tensor {
    run_on(image, &sample_die(&image.chip, 1, 2), effects, input).outputs.remove(0)
}

fn product(weights: &Array2<f32>, input: &Tensor) -> Tensor {
    let x = input.view().into_dimensionality::<ndarray::Ix2>().unwrap();
    x.dot(weights).into_dyn()
}

fn assert_near(got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.shape(), want.shape());
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{worst} beyond {tolerance}: {got} {want}");
}

/// Everything that a chip can have wrong.
fn stressed_chip() -> Chip {
    let mut chip = plain_chip();
    chip.effects.stuck = Some(Stuck { stuck_gmin: 0.05, stuck_gmax: 0.05, ..Stuck::default() });
    chip.effects.programming = Some(Programming::Range { sd_of_range: 0.03 });
    chip.effects.drift = Some(Drift::power(0.05, 0.01, 20.0));
    chip.effects.read = Some(ReadNoise::share(0.02));
    chip.effects.column_gain = Some(ColumnGain { sd: 0.05, ..ColumnGain::default() });
    chip.effects.column_offset = Some(ColumnOffset { sd_lsb: 2.0 });
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 1.0, ..OutputNoise::default() });
    chip
}

proptest! {
    #[test]
    fn without_effects_the_die_multiplies_exactly(
        values in prop::collection::vec(-1.0f32..=1.0, 12),
        inputs in prop::collection::vec(-2.0f32..=2.0, 8),
        two_pass: bool,
        digital: bool,
        pairs in prop::sample::select(vec![PairAxis::Columns, PairAxis::Rows, PairAxis::Arrays]),
        sign in prop::sample::select(vec![
            SignCoding::Pairs, SignCoding::OffsetDigital, SignCoding::OffsetColumn,
        ]),
        significance in prop::collection::vec(0.5f64..2.0, 1..3),
        max_active_rows in prop::option::of(2usize..6),
    ) {
        let mut chip = stressed_chip();
        chip.dac.negative =
            if two_pass { NegativeInputs::TwoPass } else { NegativeInputs::SignMagnitude };
        chip.arrays.subtract = if digital { Subtract::Digital } else { Subtract::Analog };
        chip.arrays.pairs = pairs;
        chip.arrays.n_cols = 16;
        chip.arrays.max_active_rows = max_active_rows;
        chip.cell.g_min = 5e-6;
        chip.weights.sign = sign;
        chip.weights.significance = significance;
        let weights = Array2::from_shape_vec((4, 3), values).unwrap();
        let input = Tensor::from_shape_vec(vec![2, 4], inputs).unwrap();
        let got = run(&dense_image(&chip, &weights, true), EffectSet::NONE, &input);
        assert_near(&got, &product(&weights, &input), 1e-5);
    }
}

#[test]
fn converters_cost_at_most_half_a_step_each() {
    let input = signed_input(20);
    let image = dense_image(&plain_chip(), &weights(), true);
    let got = run(&image, EffectSet::ALL, &input);
    // Two ADC passes err by half a step of 8/255 each, four drives by half of 1/255 times their weights.
    assert_near(&got, &product(&weights(), &input), 8.0 / 255.0 + 2.0 * 0.5 / 255.0);
    assert_ne!(got, run(&image, EffectSet::NONE, &input));
}

#[test]
fn a_layer_that_is_never_negative_leaves_negative_inputs_undriven() {
    let input = signed_input(5);
    let got = run(&dense_image(&plain_chip(), &weights(), false), EffectSet::NONE, &input);
    assert_near(&got, &product(&weights(), &input.mapv(|x| x.max(0.0))), 1e-5);
}

#[test]
fn stuck_cells_stand_in_for_weights() {
    let chip = plain_chip();
    let mut record = sample_die(&chip, 0, 1);
    // The positive cell of weight (2, 0) at twice the range, the negative one of (3, 2) at half of it.
    record.arrays[ArrayId::new(0)].stuck =
        vec![StuckCell { row: 2, col: 0, g: 2e-4 }, StuckCell { row: 3, col: 5, g: 5e-5 }];
    let mut damaged = weights();
    (damaged[(2, 0)], damaged[(3, 2)]) = (2.0, 0.5);
    let (image, input) = (dense_image(&chip, &weights(), true), signed_input(5));
    let got = run_on(&image, &record, no_converters(), &input).outputs.remove(0);
    assert_near(&got, &product(&damaged, &input), 1e-5);
    let healed = run_on(&image, &record, no_converters().without(Effect::Stuck), &input);
    assert_near(&healed.outputs[0], &product(&weights(), &input), 1e-5);
}

#[test]
fn a_second_pass_cancels_offsets_and_a_single_one_keeps_them() {
    let mut chip = plain_chip();
    let mut record = sample_die(&chip, 0, 1);
    let columns = &mut record.arrays[ArrayId::new(0)];
    // Pairs on columns convert on their even bit lines; the gain of the odd ones is never met.
    columns.column_gain = vec![1.5, 9.0, 1.0, 9.0, 0.5, 9.0, 1.0, 1.0];
    columns.column_offset_lsb = vec![255.0 / 8.0, 9.0, -255.0 / 16.0, 9.0, 0.0, 9.0, 0.0, 0.0];
    let input = signed_input(5);
    let scaled = &product(&weights(), &input) * &array![[1.5, 1.0, 0.5]].into_dyn();
    let run = |chip: &Chip| {
        let image = dense_image(chip, &weights(), true);
        run_on(&image, &record, no_converters(), &input).outputs.remove(0)
    };
    assert_near(&run(&chip), &scaled, 1e-5);
    chip.dac.negative = NegativeInputs::SignMagnitude;
    assert_near(&run(&chip), &(scaled + &array![[1.0, -0.5, 0.0]].into_dyn()), 1e-5);
}

#[test]
fn each_pass_draws_its_own_noise() {
    let mut chip = plain_chip();
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 1.0, ..OutputNoise::default() });
    let spread = |chip: &Chip| {
        let zeros = Tensor::zeros(vec![4000, 4]);
        let noise = run(&dense_image(chip, &weights(), true), no_converters(), &zeros);
        let variance = noise.mapv(|y| f64::from(y).powi(2)).mean().unwrap();
        variance / chip.adc.nominal_lsb().powi(2)
    };
    // Four standard errors of a variance from 12 000 draws: 5.2 %.
    assert!((spread(&chip) / 2.0 - 1.0).abs() < 0.052, "{}", spread(&chip));
    chip.dac.negative = NegativeInputs::SignMagnitude;
    assert!((spread(&chip) - 1.0).abs() < 0.052, "{}", spread(&chip));
}

#[test]
fn digital_subtraction_meets_both_columns_of_a_pair() {
    let mut chip = plain_chip();
    chip.arrays.subtract = Subtract::Digital;
    chip.dac.negative = NegativeInputs::SignMagnitude;
    let mut record = sample_die(&chip, 0, 1);
    let columns = &mut record.arrays[ArrayId::new(0)];
    columns.column_gain = vec![1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0];
    columns.column_offset_lsb = vec![255.0 / 8.0, 255.0 / 16.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let image = dense_image(&chip, &weights(), true);
    let input = signed_input(5);
    let got = run_on(&image, &record, no_converters(), &input).outputs.remove(0);
    // The second column's negative weights count twice, the first column keeps half its offset.
    let mut uneven = weights();
    uneven.column_mut(1).mapv_inplace(|w| if w < 0.0 { 2.0 * w } else { w });
    let expected = product(&uneven, &input) + array![[0.5, 0.0, 0.0]].into_dyn();
    assert_near(&got, &expected, 1e-5);
}

#[test]
fn pairs_on_rows_and_on_columns_give_the_same_bytes() {
    let mut chip = plain_chip();
    chip.effects.read = Some(ReadNoise::share(0.02));
    let input = signed_input(20);
    let on_columns = run(&dense_image(&chip, &weights(), true), EffectSet::ALL, &input);
    chip.arrays.pairs = PairAxis::Rows;
    assert_eq!(run(&dense_image(&chip, &weights(), true), EffectSet::ALL, &input), on_columns);
}

#[test]
fn the_bench_interface_and_the_run_see_the_same_codes() {
    let mut chip = stressed_chip();
    chip.dac.negative = NegativeInputs::SignMagnitude;
    let quiet = EffectSet::ALL.without(Effect::Read).without(Effect::OutputNoise);
    let conditions = Conditions { at_s: 1e5, ..fresh(quiet) };
    let record = sample_die(&chip, 7, 1);
    let mut image = dense_image(&chip, &weights(), true);
    // Steps of 1/32, so that codes can be told from outputs exactly.
    let range = AdcRange { lo: -4.0, hi: -4.0 + 255.0 / 32.0 };
    image.net.tiles[TileId::new(0)].readouts.iter_mut().for_each(|it| it.readout.range = range);
    let input = signed_input(20) * 100.0;
    image.net.layers[LayerId::new(0)].input.full_scale = 64.0;
    let outputs = Machine::load(&image, &record, conditions).unwrap().run(&input, 0).outputs;

    let mut die = SimDie::new(&chip, &record, conditions);
    program_net(&mut die, &image.net, &chip.cell).unwrap();
    let wiring = &image.net.tiles[TileId::new(0)].wiring;
    let conversion = |(&col, &minus): (&u32, &u32)| Conversion {
        col,
        minus: Some((ArrayId::new(0), minus)),
        range,
    };
    let conversions: Vec<_> =
        wiring.plus_cols.iter().zip(&wiring.minus_cols).map(conversion).collect();
    let drives = (&input / 64.0).into_dimensionality().unwrap();
    let codes = die.mvm(ArrayId::new(0), &wiring.plus_rows, drives.view(), &conversions).unwrap();
    assert_eq!(outputs[0], codes.mapv(|code| code / 32.0 - 4.0).into_dyn());
}

#[test]
fn tiles_add_up_and_count_their_clips() {
    let chip = plain_chip();
    let mut image = dense_image(&chip, &weights(), false);
    image.net.layers[LayerId::new(0)].bias = vec![10.0, 20.0, 30.0];
    image.net.tiles = [0..2, 2..4]
        .into_iter()
        .enumerate()
        .map(|(array, rows)| {
            let part = weights().slice_axis(Axis(0), Slice::from(rows.clone())).to_owned();
            let mut tile = tile(&chip, &part);
            (tile.array, tile.rows) = (ArrayId::new(array), rows);
            tile.readouts[0].shift = 0.5;
            // Only the second tile clips: its first column sees up to 1.
            let hi = if array == 1 { 0.5 } else { 4.0 };
            tile.readouts[0].readout.range = AdcRange { lo: -0.5, hi };
            tile
        })
        .collect();
    let input =
        array![[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.25, 0.0]].into_dyn();
    let set = EffectSet::ALL.without(Effect::Dac);
    let Run { outputs, clips, astray: _ } = run_on(&image, &sample_die(&chip, 0, 2), set, &input);
    let mut expected = product(&weights(), &input) + array![[11.0, 20.0, 30.0]].into_dyn();
    expected[[1, 0]] -= 0.5;
    assert_near(&outputs[0], &expected, 8.0 / 255.0);
    let counts: Vec<_> = clips.tiles.iter().copied().collect();
    let none = ClipCount { low: 0, high: 0, total: 9 };
    assert_eq!(counts, [none, ClipCount { high: 1, ..none }]);
    let layer = ClipCount { low: 0, high: 1, total: 18 };
    assert_eq!(clips.layers.iter().copied().collect::<Vec<_>>(), [layer]);
    assert!((layer.fraction() - 1.0 / 18.0).abs() < 1e-12);
}

/// Pools of 1, 2 and 7 threads.
static POOLS: LazyLock<[ThreadPool; 3]> =
    LazyLock::new(|| [1, 2, 7].map(|n| ThreadPoolBuilder::new().num_threads(n).build().unwrap()));

/// Chips with every effect that the kernel has, in every coding.
fn any_chip() -> impl Strategy<Value = Chip> {
    let serial = |bits_per_slice, accumulate| {
        InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate })
    };
    let codings = prop_oneof![
        Just(InputDrive::Amplitude),
        Just(InputDrive::PulseWidth),
        Just(serial(1, Accumulate::Digital)),
        Just(serial(3, Accumulate::Digital)),
        Just(serial(3, Accumulate::Analog)),
    ];
    let correlations =
        prop_oneof![Just(Correlation::Mvm), Just(Correlation::Image), Just(Correlation::Frozen)];
    (codings, correlations, any::<[bool; 7]>()).prop_map(|(coding, correlation, choices)| {
        let [two_pass, digital, output_noise, sign_magnitude, uneven, wires, curves] = choices;
        let mut chip = stressed_chip();
        chip.dac.coding = coding;
        chip.dac.jitter_sd_steps = if coding == InputDrive::PulseWidth { 0.7 } else { 0.0 };
        if !two_pass {
            chip.dac.negative = NegativeInputs::SignMagnitude;
        }
        if digital {
            chip.arrays.subtract = Subtract::Digital;
        }
        if sign_magnitude {
            chip.adc.coding = AdcCoding::SignMagnitude;
        }
        chip.effects.read = Some(ReadNoise { correlation, ..ReadNoise::share(0.02) });
        chip.effects.output_noise = chip.effects.output_noise.filter(|_| output_noise);
        let chip = with_network(chip, wires, curves);
        if uneven { with_uneven_circuits(chip) } else { chip }
    })
}

/// The chip with resistive wires, with curved cells, or with both: a passive array, or a gated one where
/// its drives allow that.
fn with_network(mut chip: Chip, wires: bool, curves: bool) -> Chip {
    let one_way = chip.dac.negative == NegativeInputs::TwoPass;
    let gated = wires && !curves && one_way && chip.dac.coding != InputDrive::Amplitude;
    if gated {
        chip.arrays.topology = Topology::Gated;
    }
    let lines = GatedLines {
        bit_line_volts: 0.5,
        source_line_ohm: 15.0,
        source_lines: SourceLines::AlongBitLines,
        output_conductance_per_volt: 0.4,
        subthreshold_volts: 0.039,
    };
    let along_words = if gated { 0.0 } else { 20.0 };
    chip.effects.ir_drop = wires.then_some(IrDrop {
        wires: Wires {
            word_line_ohm: along_words,
            bit_line_ohm: 30.0,
            driver_ohm: along_words,
            sense_ohm: 50.0,
        },
        method: IrDropMethod::Exact,
        gated: gated.then_some(lines),
    });
    chip.effects.iv = find_preset("rram-milo").unwrap().effects.iv.filter(|_| curves);
    chip
}

/// The chip with circuits that have everything wrong that its coding allows.
fn with_uneven_circuits(mut chip: Chip) -> Chip {
    let serial = matches!(chip.dac.coding, InputDrive::BitSerial(_));
    let n_steps = if serial { 0 } else { 1 << chip.dac.bits };
    let shift = |code: usize| f64::from((code * 7 % 11) as u32) / 20.0;
    chip.circuits.dac = DacCircuit {
        gain_sd: 0.02,
        offset_sd_steps: 0.5,
        inl_steps: (0..n_steps).map(shift).collect(),
    };
    chip.circuits.adc = match chip.adc.coding {
        AdcCoding::Binary => AdcCircuit {
            kind: AdcKind::Sar,
            shared_by: 2,
            capacitor_sd: 0.05,
            ..AdcCircuit::default()
        },
        AdcCoding::SignMagnitude => {
            AdcCircuit { kind: AdcKind::Ramp, inl_lsb: AdcInl::Bow(1.5), ..AdcCircuit::default() }
        }
    };
    let one_way = chip.dac.negative == NegativeInputs::TwoPass;
    if one_way || chip.dac.coding == InputDrive::Amplitude {
        chip.effects.leakage = Some(Leakage { share_of_g: 0.001 });
    }
    let (s_curve_per_cell, saturation_cells) = (0.05, Some(1.5));
    chip.effects.nonlinearity = Some(Nonlinearity { s_curve_per_cell, saturation_cells });
    chip.effects.column_gain = Some(ColumnGain { sd: 0.05, drift_sd_per_decade: 0.01 });
    chip.effects.output_noise =
        chip.effects.output_noise.map(|noise| OutputNoise { current_sd_cells: 0.01, ..noise });
    chip
}

/// Cuts `n` into pieces of these lengths, over and over.
fn cut(n: usize, lengths: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    let pieces = lengths.iter().cycle().map_while(|len| {
        let piece = start..n.min(start + len);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    });
    pieces.collect()
}

/// Runs everything in every way that may make no difference.
fn assert_cuts_make_no_difference<T: Real>(chip: &Chip, lengths: &[usize]) {
    let image = dense_image(chip, &weights(), true);
    let record = sample_die(chip, 2, 1);
    let conditions = Conditions { at_s: 1e4, ..fresh(EffectSet::ALL) };
    let machine = Machine::<T>::load_as(&image, &record, conditions).unwrap();
    let input = signed_input(75);
    let [whole, two, seven] =
        [0, 1, 2].map(|pool| POOLS[pool].install(|| machine.run(&input, 1000)));
    assert_eq!(whole, two);
    assert_eq!(whole, seven);
    for piece in cut(75, lengths) {
        let part = input.slice_axis(Axis(0), Slice::from(piece.clone())).to_owned();
        let run = machine.run(&part, 1000 + piece.start as u64);
        assert_eq!(run.outputs[0], whole.outputs[0].slice_axis(Axis(0), Slice::from(piece)));
    }
    // The same for samples of three positions, as a convolution has them.
    let x = signed_input(60).into_shape_with_order((60, 4)).unwrap().reversed_axes();
    let multiply = |samples: Range<usize>, x: ArrayView2<'_, f32>| {
        let mut out = Array2::zeros((3, x.ncols()));
        let columns =
            Columns { first_sample: samples.start as u64, per_sample: 3, layer_use: Nth::ONLY };
        machine.engine().multiply(LayerId::new(0), columns, x, out.view_mut());
        out
    };
    let whole = multiply(0..20, x.view());
    for samples in cut(20, lengths) {
        let columns = s![.., 3 * samples.start..3 * samples.end];
        let part = x.slice(columns).as_standard_layout().into_owned();
        assert_eq!(multiply(samples, part.view()), whole.slice(columns));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_same_bytes_come_at_any_thread_count_and_batch_split(
        chip in any_chip(),
        lengths in prop::collection::vec(1..40usize, 1..4),
        wide: bool,
    ) {
        if wide {
            assert_cuts_make_no_difference::<f64>(&chip, &lengths);
        } else {
            assert_cuts_make_no_difference::<f32>(&chip, &lengths);
        }
    }

    /// Only rounding tells the types apart, as long as nothing is digitised.
    #[test]
    fn both_types_run_the_same_die(chip in any_chip()) {
        let image = dense_image(&chip, &weights(), true);
        let record = sample_die(&chip, 2, 1);
        let conditions = fresh(EffectSet::ALL.without(Effect::Adc));
        let narrow = Machine::load(&image, &record, conditions).unwrap().run(&signed_input(20), 3);
        let wide = Machine::<f64>::load_as(&image, &record, conditions).unwrap();
        let wide = wide.run(&signed_input(20), 3);
        assert_near(&narrow.outputs[0], &wide.outputs[0], 2e-5);
    }
}

#[test]
fn a_circuit_that_is_switched_off_is_as_good_as_perfect() {
    let chip = with_uneven_circuits(stressed_chip());
    let record = sample_die(&chip, 2, 1);
    let run = |chip: &Chip, effects| {
        let conditions = Conditions { at_s: 1e4, ..fresh(effects) };
        let machine = Machine::load(&dense_image(chip, &weights(), true), &record, conditions);
        machine.unwrap().run(&signed_input(20), 0)
    };
    let all = run(&chip, EffectSet::ALL);
    type Repair = fn(&mut Chip);
    let perfect: [(Effect, Repair); 6] = [
        (Effect::Dac, |chip| chip.circuits.dac = DacCircuit::default()),
        (Effect::Adc, |chip| {
            let shared_by = chip.circuits.adc.shared_by;
            chip.circuits.adc = AdcCircuit { shared_by, ..AdcCircuit::default() };
        }),
        (Effect::Leakage, |chip| chip.effects.leakage = None),
        (Effect::Nonlinearity, |chip| chip.effects.nonlinearity = None),
        (Effect::OutputNoise, |chip| chip.effects.output_noise = None),
        (Effect::Read, |chip| chip.effects.read = None),
    ];
    for (effect, repair) in perfect {
        let mut repaired = chip.clone();
        repair(&mut repaired);
        let without = EffectSet::ALL.without(effect);
        assert_eq!(run(&chip, without), run(&repaired, without), "{effect}");
        assert_ne!(run(&repaired, EffectSet::ALL), all, "{effect}");
    }
}

#[test]
fn noise_differs_from_sample_to_sample_unless_it_is_frozen() {
    let mut chip = plain_chip();
    for (correlation, varies) in
        [(Correlation::Mvm, true), (Correlation::Image, true), (Correlation::Frozen, false)]
    {
        chip.effects.read = Some(ReadNoise { correlation, ..ReadNoise::share(0.02) });
        let image = dense_image(&chip, &weights(), true);
        let machine =
            Machine::load(&image, &sample_die(&chip, 2, 1), fresh(no_converters())).unwrap();
        let input = signed_input(1);
        let (first, second) = (machine.run(&input, 0), machine.run(&input, 1));
        assert_eq!(first.outputs != second.outputs, varies, "{correlation:?}");
        let x = input.into_shape_with_order((4, 1)).unwrap();
        let twice = ndarray::concatenate![Axis(1), x, x];
        let mut out = Array2::zeros((3, 2));
        let columns = Columns { first_sample: 0, per_sample: 2, layer_use: Nth::ONLY };
        machine.engine().multiply(LayerId::new(0), columns, twice.view(), out.view_mut());
        // Two equal positions of a sample differ by noise that is new for each product, and by no other.
        let same = out.column(0).iter().zip(out.column(1)).all(|(a, b)| (a - b).abs() < 1e-6);
        assert_eq!(same, correlation != Correlation::Mvm, "{correlation:?}");
    }
}

/// Square weights, applied twice to what comes in, by one layer.
fn image_of_two_uses(chip: &Chip) -> Image {
    let mut image = dense_image(chip, &weights().slice(s![..3, ..]).to_owned(), true);
    let program = &mut image.net.program;
    let mut again = program.steps[StepId::new(1)].clone();
    again.operands = vec![StepId::new(1)];
    program.outputs.push(program.steps.push(again));
    image
}

#[test]
fn a_layer_used_twice_multiplies_twice_and_counts_twice() {
    let image = image_of_two_uses(&plain_chip());
    // Small enough for the drivers of the second use.
    let input = signed_input(4).slice_axis(Axis(1), Slice::from(..3)).mapv(|x| 0.4 * x);
    let run = run_on(&image, &sample_die(&image.chip, 1, 2), no_converters(), &input);
    let square = weights().slice(s![..3, ..]).to_owned();
    assert_near(&run.outputs[0], &product(&square, &input), 1e-5);
    assert_near(&run.outputs[1], &product(&square, &run.outputs[0]), 1e-5);
    // Three conversions, two passes, two uses, four samples.
    assert_eq!(run.clips.layers[LayerId::new(0)].total, 48);
}

#[test]
fn noise_differs_from_use_to_use_unless_it_holds_for_an_image() {
    let mut chip = plain_chip();
    for (correlation, varies) in
        [(Correlation::Mvm, true), (Correlation::Image, false), (Correlation::Frozen, false)]
    {
        chip.effects.read = Some(ReadNoise { correlation, ..ReadNoise::share(0.02) });
        let mut image = image_of_two_uses(&chip);
        // Both uses see the same inputs.
        image.net.program.steps[StepId::new(2)].operands = vec![StepId::new(0)];
        let record = sample_die(&chip, 2, 1);
        let machine = Machine::load(&image, &record, fresh(no_converters())).unwrap();
        let input = signed_input(5).slice_axis(Axis(1), Slice::from(..3)).to_owned();
        let outputs = machine.run(&input, 0).outputs;
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        let same = outputs[0].iter().zip(&outputs[1]).filter(|it| near(*it)).count();
        assert_eq!(same == outputs[0].len(), !varies, "{correlation:?}");
        assert!(!varies || same == 0, "{correlation:?}: {same} equal");
    }
}

#[test]
fn noise_follows_the_runs_seed_and_faults_the_dies() {
    let image = dense_image(&stressed_chip(), &weights(), true);
    let output = |die, run_seed, effects| {
        let record = sample_die(&image.chip, die, 1);
        let conditions = Conditions { run_seed, ..fresh(effects) };
        Machine::load(&image, &record, conditions).unwrap().run(&signed_input(8), 0).outputs
    };
    let quiet = EffectSet::ALL.without(Effect::Read).without(Effect::OutputNoise);
    assert_eq!(output(1, 1, EffectSet::ALL), output(1, 1, EffectSet::ALL));
    assert_ne!(output(1, 1, EffectSet::ALL), output(1, 2, EffectSet::ALL));
    assert_eq!(output(1, 1, quiet), output(1, 2, quiet));
    assert_ne!(output(1, 1, quiet), output(2, 1, quiet));
}

#[test]
fn one_layer_runs_alone() {
    let image = dense_image(&plain_chip(), &weights(), true);
    let machine =
        Machine::load(&image, &sample_die(&image.chip, 0, 1), fresh(no_converters())).unwrap();
    let x = array![[1.0], [0.0], [-1.0], [0.5]];
    let mut out = Array2::zeros((3, 1));
    let mut engine = machine.engine();
    let columns = Columns { first_sample: 0, per_sample: 1, layer_use: Nth::ONLY };
    engine.multiply(LayerId::new(0), columns, x.view(), out.view_mut());
    assert_near(&out.into_dyn(), &weights().t().dot(&x).into_dyn(), 1e-5);
    // Three conversions in either of two passes.
    assert_eq!(engine.clips().layers[LayerId::new(0)].total, 6);
}

#[test]
fn an_empty_batch_gives_empty_outputs() {
    let image = dense_image(&stressed_chip(), &weights(), true);
    let run = run_on(&image, &sample_die(&image.chip, 0, 1), EffectSet::ALL, &signed_input(0));
    assert_eq!(run.outputs[0].shape(), [0, 3]);
    assert_eq!(run.clips.layers[LayerId::new(0)], ClipCount::default());
}

#[test]
fn loading_refuses_what_does_not_fit() {
    let chip = plain_chip();
    let image = dense_image(&chip, &weights(), true);
    let load = |image: &Image, record: &DieRecord| {
        Machine::load(image, record, fresh(EffectSet::ALL)).map(|_| ())
    };
    let problems = load(&image, &sample_die(&chip, 0, 0)).unwrap_err();
    assert!(problems[0].to_string().contains("has 0 arrays, but a0 is used"), "{}", problems[0]);
    let mut misfit = sample_die(&chip, 0, 1);
    misfit.arrays[ArrayId::new(0)].column_gain = vec![1.0];
    assert!(load(&image, &misfit).is_err());
    let mut broken = image.clone();
    broken.net.layers[LayerId::new(0)].bias.clear();
    assert!(load(&broken, &sample_die(&chip, 0, 1)).is_err());
}

/// Devices err, but not beyond what their errors can do: 8 cells an output, each within a tenth of the
/// range or so after a day. Chips with stuck cells are left out, one of those can take all of a weight.
#[test]
fn every_device_preset_runs_an_image_after_a_day() {
    let input = signed_input(40);
    for (name, _) in PRESETS {
        let chip = find_preset(name).unwrap();
        if chip.effects.stuck.is_some() || chip.effects.programming.is_none() {
            continue;
        }
        let image = dense_image(&chip, &weights(), true);
        let record = sample_die(&chip, 1, 1);
        let outputs = |effects, at_s| {
            let conditions = Conditions { at_s, ..fresh(effects) };
            Machine::load(&image, &record, conditions).unwrap().run(&input, 0).outputs.remove(0)
        };
        let all = EffectSet::ALL.without(Effect::ColumnOffset);
        let (real, ideal) = (outputs(all, 86_000.0), outputs(EffectSet::NONE, 0.0));
        // Phase-change cells fade alike: the scale is a correction's business, so it is fitted here.
        let dot = |a: &Tensor, b: &Tensor| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let scale = dot(&real, &ideal) / dot(&ideal, &ideal);
        let error = &real - &(&ideal * scale);
        let share = (dot(&error, &error) / dot(&real, &real)).sqrt();
        assert!((0.4..1.1).contains(&scale), "{name}: {scale}");
        assert!(share < 0.25, "{name}: {share}");
        assert!(share > 0.002, "{name}: {share}");
        assert_eq!(real, outputs(all, 86_000.0), "{name}");
    }
}
