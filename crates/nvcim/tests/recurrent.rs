//! Recurrent networks from file to answers: what an image of matrices that several steps use computes, what
//! verification and traces say of it, and what corrections make of it on a broken die.

mod wire;

use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::describe::Chip;
use nvcim::effects::EffectSet;
use nvcim::layout::Image;
use nvcim::model::Model;
use nvcim::pipeline::{CompileOptions, compile_model};
use nvcim::plan::Plan;
use nvcim::presets::find_preset;
use nvcim::program::list_uses;
use nvcim::record::DieRecord;
use nvcim::simulate::{DieChoice, load_image, resolve_die};
use nvcim::tensor::Tensor;
use nvcim::trace::trace_run;
use nvcim::verify::verify_image;

use wire::{field, number};

/// Sums of the same products in another order, relative to the largest output.
const ROUNDING: f32 = 1e-5;

/// Steps of the sequences, features of an input, units of a cell, outputs of the network.
const STEPS: usize = 6;
const FEATURES: usize = 5;
const UNITS: usize = 8;
const CLASSES: usize = 4;

/// Numbers between -1 and 1 from a linear congruential generator.
fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// An initialiser of floats.
fn weight(name: &str, dims: &[usize], scale: f32) -> Vec<u8> {
    let seed = name.bytes().fold(1, |seed, byte| seed * 31 + u64::from(byte));
    let values = noise(dims.iter().product(), seed);
    let raw: Vec<u8> = values.iter().flat_map(|value| (value * scale).to_le_bytes()).collect();
    let dims = dims.iter().flat_map(|&len| number(1, len)).collect();
    field(5, &[dims, number(2, 1), field(8, name.as_bytes()), field(9, &raw)].concat())
}

/// An initialiser of integers on one axis.
fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let dims = number(1, values.len());
    field(5, &[dims, number(2, 7), field(8, name.as_bytes()), field(9, &raw)].concat())
}

fn int(name: &str, value: usize) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), number(3, value), number(20, 2)].concat())
}

fn text(name: &str, value: &str) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), field(4, value.as_bytes()), number(20, 3)].concat())
}

fn node(op: &str, inputs: &str, outputs: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let names = |number, names: &str| -> Vec<u8> {
        let name = |name: &str| field(number, name.replace('-', "").as_bytes());
        names.split(' ').flat_map(name).collect()
    };
    let label = field(3, op.to_lowercase().as_bytes());
    let parts = [names(1, inputs), names(2, outputs), label, field(4, op.as_bytes())];
    field(1, &[parts.concat(), attributes.concat()].concat())
}

/// A network on `[STEPS, 1, FEATURES]` of a recurrent layer, whose last states a dense layer reads.
fn network(op: &str, gates: usize, directions: usize, attributes: &[Vec<u8>]) -> Model {
    let rows = gates * UNITS;
    let flat = directions * UNITS;
    let dim = |len| field(1, &number(1, len));
    let shape = [dim(STEPS), dim(1), dim(FEATURES)].concat();
    let kind = field(1, &[number(1, 1), field(2, &shape)].concat());
    let graph = [
        node(op, "x w r b", "- last", attributes),
        node("Transpose", "last", "batch", &[]),
        node("Reshape", "batch flat", "row", &[]),
        node("MatMul", "row dense", "y", &[]),
        field(2, b"test"),
        weight("w", &[directions, rows, FEATURES], 0.7),
        weight("r", &[directions, rows, UNITS], 0.5),
        weight("b", &[directions, 2 * rows], 0.3),
        weight("dense", &[flat, CLASSES], 0.5),
        integers("flat", &[1, flat as i64]),
        field(11, &[field(1, b"x"), field(2, &kind)].concat()),
        field(12, &field(1, b"y")),
    ];
    let model = [number(1, 8), field(7, &graph.concat()), field(8, &number(2, 14))].concat();
    Model::from_bytes("recurrent", &model)
}

fn lstm() -> Model {
    network("LSTM", 4, 1, &[int("hidden_size", UNITS)])
}

fn bidirectional_gru() -> Model {
    let direction = text("direction", "bidirectional");
    network("GRU", 3, 2, &[int("hidden_size", UNITS), direction, int("linear_before_reset", 1)])
}

/// Sequences of noise.
fn sequences(model: &Model, count: usize, seed: u64) -> Tensor {
    let shape = [&[count], &model.input_shape().unwrap()[..]].concat();
    let values = noise(shape.iter().product(), seed);
    Tensor::from_shape_vec(shape, values).unwrap()
}

fn compile(model: &Model, chip: &Chip, options: &CompileOptions<'_>) -> Image {
    compile_model(model, chip, options)
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
        .output
        .image
}

fn answers(image: &Image, die: &DieRecord, effects: EffectSet, x: &Tensor) -> Tensor {
    let conditions = Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 3 };
    load_image(image, die, conditions).unwrap().run(x, 0).outputs.remove(0)
}

/// Noise over signal, as a share of the spread of what is wanted.
fn error(got: &Tensor, want: &Tensor) -> f32 {
    let squares = |it: &Tensor| it.iter().map(|x| x * x).sum::<f32>();
    (squares(&(got - want)) / squares(want)).sqrt()
}

#[test]
fn an_ideal_chip_computes_what_the_float_network_does() {
    // Matrices of an LSTM: of inputs, of states in five steps that do not begin at 0, and the dense one.
    for (model, layers, uses) in [(lstm(), 3, 7), (bidirectional_gru(), 5, 13)] {
        let x = sequences(&model, 20, 5);
        let calibration = sequences(&model, 40, 6);
        let options = CompileOptions { calibration: Some(&calibration), ..Default::default() };
        let mut chip = find_preset("ideal").unwrap();
        // Conductances without levels: all that is left is rounding.
        chip.cell.n_levels = None;
        let image = compile(&model, &chip, &options);
        assert_eq!(image.net.layers.len(), layers);
        assert_eq!(list_uses(&image.net.program).len(), uses);
        let want = model.reference().unwrap().run(&x).unwrap().remove(0);
        let die = resolve_die(&image, DieChoice::Perfect);
        let clean = answers(&image, &die, EffectSet::NONE, &x);
        let largest = want.iter().fold(0.0f32, |most, it| most.max(it.abs()));
        let worst = (&clean - &want).iter().fold(0.0f32, |most, it| most.max(it.abs()));
        assert!(worst <= ROUNDING * largest, "off by {worst} of {largest}");
        // Converters of eight bits, whose ranges hold for all uses of a layer.
        let converted = answers(&image, &die, EffectSet::ALL, &x);
        assert!(error(&converted, &want) < 0.1, "{}", error(&converted, &want));
    }
}

#[test]
fn verification_and_traces_know_every_use() {
    let model = lstm();
    let calibration = sequences(&model, 40, 6);
    let options = CompileOptions { calibration: Some(&calibration), ..Default::default() };
    let image = compile(&model, &find_preset("ideal").unwrap(), &options);
    let die = resolve_die(&image, DieChoice::Perfect);
    let conditions =
        Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed: 3 };
    let machine = load_image(&image, &die, conditions).unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("recurrent-sequences.npz");
    let mut npz = ndarray_npy::NpzWriter::new(std::fs::File::create(&file).unwrap());
    npz.add_array("x", &sequences(&model, 19, 8)).unwrap();
    npz.finish().unwrap();
    let data = Dataset::open(file.to_str().unwrap(), Preprocess::default()).unwrap();
    let verified = verify_image(&image, &machine, &model, &data, &|_| ()).unwrap();
    let names: Vec<_> = verified.layers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["lstm/forward/input", "lstm/forward/state", "matmul"]);
    assert!(verified.layers.iter().all(|it| it.snr_single_db > 20.0), "{:?}", verified.layers);
    // A layer fed with what its own earlier uses made of noise is at least as far off.
    let state = &verified.layers[1];
    assert!(state.snr_entire_db <= state.snr_single_db + 1.0, "{state:?}");
    let trace = trace_run(&machine, &data).unwrap();
    let run = machine.run(&data.batch(0..19, machine.input_shape()).unwrap(), 0);
    assert_eq!(trace.outputs(), &run.outputs[0]);
    assert!(trace.to_npz().unwrap().starts_with(b"PK"));
}

#[test]
fn corrections_bring_a_recurrent_network_back() {
    let model = lstm();
    let calibration = sequences(&model, 128, 6);
    let mut chip = find_preset("stress-a").unwrap();
    chip.arrays.count = Some(8);
    let x = sequences(&model, 64, 9);
    let want = model.reference().unwrap().run(&x).unwrap().remove(0);
    let plain = CompileOptions { calibration: Some(&calibration), ..Default::default() };
    let naive = compile(&model, &chip, &plain);
    let mut improved = 0;
    for seed in 0..3 {
        let die = resolve_die(&naive, DieChoice::Seed(seed));
        let plan = Plan::FULL;
        let full = CompileOptions { die: Some(&die), plan, ..plain };
        let corrected = compile(&model, &chip, &full);
        let off = |image: &Image| error(&answers(image, &die, EffectSet::ALL, &x), &want);
        let (before, after) = (off(&naive), off(&corrected));
        improved += usize::from(after < 0.5 * before);
    }
    assert_eq!(improved, 3);
}
