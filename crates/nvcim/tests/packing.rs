//! The bundled LeNet with several tiles on an array, from model to answers: what it computes, what corrections
//! make of it on broken dies, and images that follow from it.

use std::collections::BTreeSet;

use nvcim::calibrate::calibrate_image;
use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::demo;
use nvcim::describe::{Chip, Pack};
use nvcim::effects::EffectSet;
use nvcim::file::{parse_chip, write_chip};
use nvcim::ids::{ArrayId, Id};
use nvcim::layout::Image;
use nvcim::model::Model;
use nvcim::outcome::Status;
use nvcim::pipeline::{CompileOptions, Compiled, compile_model};
use nvcim::plan::{Correction, Plan};
use nvcim::presets::find_preset;
use nvcim::programmed::{ProgrammedNet, ProgrammedTile, measure_usage};
use nvcim::record::{DieRecord, StuckCell};
use nvcim::simulate::{DieChoice, load_image, resolve_die};
use nvcim::tensor::Tensor;

const PACKED: [Pack; 2] = [Pack::Concurrent, Pack::Dense];

/// What a different order of f32 additions may do to outputs, relative to the largest.
const ROUNDING: f32 = 1e-4;

struct Bench {
    model: Model,
    calibration: Tensor,
    images: Tensor,
}

impl Bench {
    fn new() -> Self {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let open = |spec| Dataset::open(spec, Preprocess::default()).expect("it is bundled");
        let shape = model.input_shape().expect("the model is sound");
        let head = |spec, n| open(spec).head(n, &shape).expect("there are enough");
        let (calibration, images) = (head("digits:train", 96), head("digits", 60));
        Self { model, calibration, images }
    }

    fn options(&self, pack: Pack) -> CompileOptions<'_> {
        let calibration = Some(&self.calibration);
        CompileOptions { calibration, pack: Some(pack), ..CompileOptions::default() }
    }

    fn compile(&self, chip: &Chip, options: &CompileOptions<'_>) -> Compiled {
        compile_model(&self.model, chip, options).expect("it fits").output
    }

    fn answers(&self, image: &Image, die: &DieRecord, effects: EffectSet) -> Vec<f32> {
        let conditions = Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 0 };
        let machine = load_image(image, die, conditions).expect("the die is the chip's");
        machine.run(&self.images, 0).outputs[0].iter().copied().collect()
    }

    fn clean_answers(&self, image: &Image) -> Vec<f32> {
        self.answers(image, &resolve_die(image, DieChoice::Perfect), EffectSet::NONE)
    }
}

/// Arrays of so many lines, as many as needed, without a flaw.
fn ideal(n_rows: usize, n_cols: usize) -> Chip {
    let mut chip = find_preset("ideal").expect("a preset");
    (chip.arrays.n_rows, chip.arrays.n_cols) = (n_rows, n_cols);
    chip
}

/// Stress chip A with arrays of which a few hold the network.
fn stress() -> Chip {
    let mut chip = find_preset("stress-a").expect("a preset");
    chip.arrays.count = Some(16);
    chip
}

fn lines(tile: &ProgrammedTile) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let wiring = &tile.wiring;
    let of = |a: &[u32], b: &[u32]| a.iter().chain(b).copied().collect();
    (of(&wiring.plus_rows, &wiring.minus_rows), of(&wiring.plus_cols, &wiring.minus_cols))
}

/// Pairs of tiles on one array.
fn neighbours(net: &ProgrammedNet) -> Vec<(&ProgrammedTile, &ProgrammedTile)> {
    let tiles: Vec<_> = net.tiles.iter().collect();
    let pairs =
        tiles.iter().enumerate().flat_map(|(at, a)| tiles[..at].iter().map(move |b| (*a, *b)));
    pairs.filter(|(a, b)| a.array == b.array).collect()
}

#[test]
fn a_packed_net_answers_bit_for_bit_as_one_with_arrays_to_spare() {
    let bench = Bench::new();
    // Rows enough that no matrix is cut: all sums are the same sums.
    let chip = ideal(1024, 512);
    let alone = bench.compile(&chip, &bench.options(Pack::None)).image;
    assert_eq!(measure_usage(&alone.net).arrays, alone.net.layers.len());
    for pack in PACKED {
        let packed = bench.compile(&chip, &bench.options(pack)).image;
        assert_eq!(measure_usage(&packed.net).arrays, 1, "{pack:?}");
        assert_eq!(bench.clean_answers(&packed), bench.clean_answers(&alone), "{pack:?}");
        let perfect = |image| resolve_die(image, DieChoice::Perfect);
        let converted = |image| bench.answers(image, &perfect(image), EffectSet::ALL);
        assert_eq!(converted(&packed), converted(&alone), "{pack:?}, converters");
    }
}

#[test]
fn a_net_in_fragments_answers_alike() {
    let bench = Bench::new();
    let chip = ideal(96, 128);
    let alone = bench.compile(&chip, &bench.options(Pack::None));
    let want = bench.clean_answers(&alone.image);
    let largest = want.iter().fold(0.0f32, |most, it| most.max(it.abs()));
    for pack in PACKED {
        let packed = bench.compile(&chip, &bench.options(pack));
        assert!(packed.demand.arrays_needed < alone.demand.arrays_needed, "{pack:?}");
        assert!(packed.demand.arrays_bound <= packed.demand.arrays_needed);
        assert_eq!(measure_usage(&packed.image.net).arrays, packed.demand.arrays_needed);
        let got = bench.clean_answers(&packed.image);
        let off = want.iter().zip(&got).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(off <= ROUNDING * largest, "{pack:?}: {off} of {largest}");
    }
}

#[test]
fn corrections_help_packed_nets_and_keep_them_packed() {
    let bench = Bench::new();
    let chip = stress();
    for pack in PACKED {
        let naive = bench.compile(&chip, &bench.options(pack)).image;
        let clean = bench.clean_answers(&naive);
        let die = resolve_die(&naive, DieChoice::Seed(3));
        let options = CompileOptions { die: Some(&die), plan: Plan::FULL, ..bench.options(pack) };
        let corrected = bench.compile(&chip, &options);
        let error = |image| {
            let got = bench.answers(image, &die, EffectSet::ALL);
            clean.iter().zip(&got).fold(0.0, |sum, (a, b)| sum + f64::from(a - b).powi(2))
        };
        let (before, after) = (error(&naive), error(&corrected.image));
        assert!(after < 0.5 * before, "{pack:?}: {before} before, {after} after");
        let shared = neighbours(&corrected.image.net);
        assert!(!shared.is_empty(), "{pack:?}");
        for (a, b) in shared {
            let ((rows_a, cols_a), (rows_b, cols_b)) = (lines(a), lines(b));
            let apart = (rows_a.is_disjoint(&rows_b), cols_a.is_disjoint(&cols_b));
            match pack {
                Pack::Concurrent => assert_eq!(apart, (true, true)),
                _ => assert!(apart.0 || apart.1),
            }
        }
        let moved =
            |it: &&nvcim::outcome::Outcome| it.correction == Correction::Rows && it.changed > 0;
        assert!(corrected.outcomes.iter().any(|it| moved(&it)), "{pack:?}: rows never moved");
    }
}

#[test]
fn pre_distortion_is_left_out_where_arrays_are_shared() {
    let bench = Bench::new();
    let wires = "[effects.ir_drop]\nword_line_ohm = 1.0\nbit_line_ohm = 1.0\ndriver_ohm = 50.0\n\
                 sense_ohm = 20.0\n";
    let text = write_chip(&ideal(96, 128)) + wires;
    let chip = parse_chip(&text, "wires.toml").unwrap_or_else(|it| panic!("{it:?}")).output;
    let naive = bench.compile(&chip, &bench.options(Pack::Concurrent)).image;
    let die = resolve_die(&naive, DieChoice::Perfect);
    let plan = Plan::CLOSEST.with(Correction::IrDrop);
    let options = CompileOptions { die: Some(&die), plan, ..bench.options(Pack::Concurrent) };
    let compiled = bench.compile(&chip, &options);
    let shared: BTreeSet<_> =
        neighbours(&compiled.image.net).iter().map(|(a, _)| a.array).collect();
    for outcome in compiled.outcomes.iter().filter(|it| it.correction == Correction::IrDrop) {
        let nvcim::outcome::Place::Tile(tile) = outcome.place else { panic!("tile by tile") };
        let is_shared = shared.contains(&compiled.image.net.tiles[tile].array);
        assert_eq!(outcome.status == Status::LeftOut, is_shared, "{tile}");
    }
    assert!(compiled.outcomes.iter().any(|it| it.status == Status::LeftOut));
}

#[test]
fn a_packed_base_keeps_its_places_and_can_be_calibrated() {
    let bench = Bench::new();
    let chip = stress();
    let base = bench.compile(&chip, &bench.options(Pack::Dense)).image;
    let die = resolve_die(&base, DieChoice::Seed(2));
    let options = CompileOptions {
        die: Some(&die),
        plan: Plan::LAB,
        base: Some(&base),
        pack: None,
        ..bench.options(Pack::None)
    };
    let image = bench.compile(&chip, &options).image;
    let places = |image: &Image| -> Vec<_> {
        image.net.tiles.iter().map(|it| (it.array, it.wiring.clone())).collect()
    };
    assert_eq!(places(&image), places(&base));
    let conditions = CompileOptions::default().conditions;
    let again = calibrate_image(&image, &bench.model, &die, &bench.calibration, conditions);
    assert_eq!(places(&again.expect("it is the die's").output.image), places(&base));
}

#[test]
fn dead_arrays_are_skipped_and_missed_where_there_are_too_few() {
    let bench = Bench::new();
    let mut chip = stress();
    (chip.arrays.n_rows, chip.arrays.n_cols) = (48, 64);
    let needed = bench.compile(&chip, &bench.options(Pack::Dense)).demand.arrays_needed;
    chip.arrays.count = Some(needed + 1);
    let naive = bench.compile(&chip, &bench.options(Pack::Dense)).image;
    let mut die = resolve_die(&naive, DieChoice::Perfect);
    let kill = |die: &mut DieRecord, array| {
        let (n_rows, n_cols) = (chip.arrays.n_rows as u32, chip.arrays.n_cols as u32);
        let row = |row| (0..n_cols).map(move |col| StuckCell { row, col, g: 0.0 });
        die.arrays[ArrayId::new(array)].stuck = (0..n_rows).flat_map(row).collect();
    };
    kill(&mut die, 0);
    let mut worse = die.clone();
    kill(&mut worse, 2);
    let plan = Plan::CLOSEST;
    let options = CompileOptions { die: Some(&die), plan, ..bench.options(Pack::Dense) };
    let image = bench.compile(&chip, &options).image;
    assert!(image.net.tiles.iter().all(|tile| tile.array.index() > 0));
    let options = CompileOptions { die: Some(&worse), plan, ..bench.options(Pack::Dense) };
    let problems = compile_model(&bench.model, &chip, &options).expect_err("too few");
    let said = format!("has {} usable arrays", needed - 1);
    assert!(problems[0].message.starts_with(&said), "{}", problems[0]);
}

#[test]
fn a_chip_file_has_the_last_word_on_packing() {
    let bench = Bench::new();
    let mut chip = ideal(96, 128);
    chip.arrays.pack = Some(Pack::Concurrent);
    let unasked = CompileOptions { pack: None, ..bench.options(Pack::None) };
    let concurrent = bench.compile(&chip, &bench.options(Pack::Concurrent)).image;
    assert_eq!(bench.compile(&chip, &unasked).image.net, concurrent.net);
    let problems =
        compile_model(&bench.model, &chip, &bench.options(Pack::Dense)).expect_err("not allowed");
    assert!(problems[0].message.contains("not by `dense`"), "{}", problems[0]);
}
