//! Corrections on the bundled LeNet, end to end: what they may see, what they prove, and what they take back.

#![expect(clippy::print_stdout, reason = "tests print the figures that documents quote")]

use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::demo;
use nvcim::describe::Chip;
use nvcim::effects::EffectSet;
use nvcim::ids::{Id, LayerId, TileId};
use nvcim::layout::{DieStamp, Image};
use nvcim::model::Model;
use nvcim::outcome::{Outcome, Place, Status};
use nvcim::pipeline::{CompileOptions, Compiled, compile_model};
use nvcim::plan::{Correction, Plan};
use nvcim::presets::find_preset;
use nvcim::programmed::{ProgrammedNet, ProgrammedTile, Targets};
use nvcim::record::DieRecord;
use nvcim::sample::sample_die;
use nvcim::simulate::{DieChoice, load_image, resolve_die};
use nvcim::tensor::Tensor;
use nvcim_chip::die;
use nvcim_chip::effects::programming::Programming;
use nvcim_chip::effects::temperature::{Temperature, TemperatureLaw};
use nvcim_correct::affine_norm::AffineNorm;
use nvcim_correct::after::{AfterOptions, correct_after};
use nvcim_correct::before::{Bounds, Targeted, correct_before, correct_before_by};
use nvcim_correct::known::Known;
use nvcim_correct::row_rules::RowRules;
use nvcim_correct::samples::Teacher;
use nvcim_map::map_graph::{Mapped, map_graph};
use nvcim_sim::die::SimDie;

/// Fewer images than a compilation takes by itself: enough for what is tested here.
const CALIBRATION: usize = 96;

/// Images that errors are measured on.
const IMAGES: usize = 150;

/// Everything that happens before programming.
const BEFORE: Plan =
    Plan::FULL.without(Correction::Ranges).without(Correction::Scale).without(Correction::Offset);

struct Bench {
    model: Model,
    calibration: Tensor,
    /// What errors are measured on.
    images: Tensor,
}

impl Bench {
    fn new(n_calibration: usize) -> Self {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let open = |spec| Dataset::open(spec, Preprocess::default()).expect("it is bundled");
        let shape = model.input_shape().expect("the model is sound");
        let head = |spec, n| open(spec).head(n, &shape).expect("there are enough");
        let (calibration, images) = (head("digits:train", n_calibration), head("digits", IMAGES));
        Self { model, calibration, images }
    }

    fn map(&self, chip: &Chip) -> Mapped {
        let graph = self.model.import().expect("the model is sound").output;
        map_graph(&graph, chip, Some(&self.calibration)).expect("it fits").output
    }

    fn compile(&self, chip: &Chip, die: &DieRecord, plan: Plan, at_s: f64) -> Compiled {
        let options = CompileOptions {
            die: Some(die),
            calibration: Some(&self.calibration),
            plan,
            conditions: conditions(at_s),
            ..CompileOptions::default()
        };
        compile_model(&self.model, chip, &options).expect("it fits").output
    }

    /// What the network answers on a die, `[images * classes]`.
    fn answers(&self, image: &Image, die: &DieRecord, conditions: Conditions) -> Vec<f32> {
        let machine = load_image(image, die, conditions).expect("the die is the chip's");
        machine.run(&self.images, 0).outputs[0].iter().copied().collect()
    }

    /// Root mean square difference of the answers on a die from those of a naive image on a perfect die
    /// without effects, relative to the standard deviation of the latter.
    fn error(&self, image: &Image, die: &DieRecord, at_s: f64) -> f64 {
        let naive = CompileOptions { calibration: Some(&self.calibration), ..Default::default() };
        let naive = compile_model(&self.model, &image.chip, &naive).expect("it fits").output.image;
        let perfect = resolve_die(&naive, DieChoice::Perfect);
        let none = Conditions { effects: EffectSet::NONE, ..conditions(0.0) };
        let clean = self.answers(&naive, &perfect, none);
        let got = self.answers(image, die, conditions(at_s));
        let n = clean.len() as f64;
        let mean = clean.iter().fold(0.0, |sum, it| sum + f64::from(*it)) / n;
        let square = |value: f64| value * value;
        let off = clean.iter().zip(&got).map(|(a, b)| square(f64::from(*a) - f64::from(*b)));
        let size = clean.iter().map(|it| square(f64::from(*it) - mean));
        (off.sum::<f64>() / size.sum::<f64>()).sqrt()
    }
}

fn conditions(at_s: f64) -> Conditions {
    Conditions { effects: EffectSet::ALL, at_s, extrapolate: false, run_seed: 0 }
}

/// The same measured part, another hidden one.
fn blind(die: &DieRecord) -> DieRecord {
    DieRecord { seed: die.seed.map(|seed| seed + 1000), ..die.clone() }
}

/// Stress chip A with arrays enough for a few copies.
fn stress_a() -> Chip {
    let mut chip = find_preset("stress-a").expect("a preset");
    chip.arrays.count = Some(24);
    chip
}

fn target(mapped: &Mapped, bench: &Bench, chip: &Chip, die: &DieRecord, plan: Plan) -> Targeted {
    let known = Known { chip, die: Some(die), effects: EffectSet::ALL, at_s: 0.0, use_s: None };
    let teacher = Teacher::new(&mapped.net, &bench.calibration);
    correct_before(&mapped.net, &known, Some(&teacher), plan).expect("the die fits")
}

/// Which cells are told what, and where: what is decided before programming.
fn decisions(net: &ProgrammedNet) -> Vec<impl PartialEq + use<>> {
    net.tiles.iter().map(|it| (it.array, it.wiring.clone(), it.targets.clone())).collect()
}

#[test]
fn corrections_before_programming_do_not_see_the_hidden_part() {
    let (bench, chip) = (Bench::new(CALIBRATION), stress_a());
    let mapped = bench.map(&chip);
    let die = sample_die(&chip, 3, 24);
    let other = blind(&die);
    let unknown = DieRecord { seed: None, ..die.clone() };
    let targeted = target(&mapped, &bench, &chip, &die, Plan::FULL);
    for twin in [&other, &unknown] {
        assert_eq!(target(&mapped, &bench, &chip, twin, Plan::FULL), targeted);
    }
    let compiled = bench.compile(&chip, &die, BEFORE, 0.0);
    let mut twin = bench.compile(&chip, &other, BEFORE, 0.0);
    assert_ne!(compiled.bytes, twin.bytes, "the stamp names the die");
    let stamp: &Option<DieStamp> = &compiled.image.provenance.die;
    twin.image.provenance.die.clone_from(stamp);
    assert_eq!(nvcim::codec::encode_image(&twin.image).expect("it is sound"), compiled.bytes);
    // The measured part does count.
    let elsewhere = target(&mapped, &bench, &chip, &sample_die(&chip, 4, 24), Plan::FULL);
    assert!(decisions(&elsewhere.net) != decisions(&targeted.net));
}

/// Gains and offsets measured after programming are worth something on the die that they were measured on,
/// and less than nothing on one with another hidden part: nothing else than measurement can have brought
/// them. Ranges are another matter: what fills them is the design's currents more than the die's.
#[test]
fn a_blind_die_loses_what_was_measured() {
    let bench = Bench::new(CALIBRATION);
    println!("| chip | before only | and ranges | and gains | and gains, blind die |");
    println!("|---|---|---|---|---|");
    let ranges = Plan::FULL.without(Correction::Scale).without(Correction::Offset);
    for (name, chip, at_s) in blind_cases() {
        let mut sums = [0.0; 4];
        for seed in 0..3 {
            let die = sample_die(&chip, seed, 24);
            let before = bench.compile(&chip, &die, BEFORE, at_s);
            let ranged = bench.compile(&chip, &die, ranges, at_s);
            let full = bench.compile(&chip, &die, Plan::FULL, at_s);
            let errors = [
                bench.error(&before.image, &die, at_s),
                bench.error(&ranged.image, &die, at_s),
                bench.error(&full.image, &die, at_s),
                bench.error(&full.image, &blind(&die), at_s),
            ];
            let [before, ranged, own, blind] = errors.map(|it| format!("{it:.4}"));
            println!("| {name}, die {seed} | {before} | {ranged} | {own} | {blind} |");
            sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
        }
        let [_, ranged, own, blind] = sums;
        assert!(own < 0.75 * ranged, "{name}: measuring is worth something: {sums:?}");
        assert!(blind > ranged, "{name}: it is worth nothing elsewhere: {sums:?}");
    }
}

/// Chips whose errors are hidden ones, none that a lab writes into the die file: name, chip, time of use in
/// seconds.
fn blind_cases() -> [(&'static str, Chip, f64); 2] {
    let mut drifting = find_preset("pcm-hermes").expect("a preset");
    drifting.arrays.count = Some(24);
    let mut written = stress_a();
    written.effects.column_gain = None;
    written.effects.column_offset = None;
    written.effects.programming = Some(Programming::Range { sd_of_range: 0.1 });
    [("pcm-hermes, an hour", drifting, 3600.0), ("programming 10 %, a year", written, 3.15e7)]
}

/// Drivers of two and three bits: full scales and copies that round apart bring back what others leave.
#[test]
fn copies_that_round_apart_make_up_for_coarse_drives() {
    let bench = Bench::new(CALIBRATION);
    for (bits, most) in [(2, 0.2_f64), (3, 0.1)] {
        let mut chip = find_preset("ideal").expect("a preset");
        (chip.arrays.count, chip.dac.bits) = (Some(64), bits);
        let die = sample_die(&chip, 0, 64);
        let errors = [Plan::FULL.without(Correction::Drives), Plan::FULL].map(|plan| {
            let compiled = bench.compile(&chip, &die, plan, 0.0);
            bench.error(&compiled.image, &die, 0.0)
        });
        println!(
            "{bits}-bit drives: error {:.3} without `drives`, {:.3} with it",
            errors[0], errors[1]
        );
        assert!(errors[1] < most.min(0.5 * errors[0]), "{bits}: {errors:?}");
    }
}

/// Converters of three and four bits: eight copies, whose ranges are shifted against each other by eighths of a step, do
/// what three bits more would, which they cannot under ranges as narrow as one of them alone is best with.
#[test]
fn copies_with_shifted_ranges_make_up_for_coarse_converters() {
    let bench = Bench::new(CALIBRATION);
    for (bits, most) in [(3, 0.07_f64), (4, 0.04)] {
        let errors = [1, 8].map(|copies| {
            let mut chip = find_preset("ideal").expect("a preset");
            (chip.arrays.count, chip.adc.bits) = (Some(64), bits);
            chip.holds.copies = Some(copies);
            let die = sample_die(&chip, 0, 64);
            let compiled = bench.compile(&chip, &die, Plan::FULL, 0.0);
            bench.error(&compiled.image, &die, 0.0)
        });
        println!(
            "{bits}-bit converters: error {:.3} with one copy, {:.3} with eight",
            errors[0], errors[1]
        );
        assert!(errors[1] < most.min(0.3 * errors[0]), "{bits}: {errors:?}");
    }
}

/// Where nothing is drawn, what is measured on one die holds for all; without stuck cells `closest` and `rows` have nothing
/// to do.
#[test]
fn dies_that_are_alike_get_the_same_image_and_give_the_same_answers() {
    let bench = Bench::new(CALIBRATION);
    let mut chip = find_preset("ideal").expect("a preset");
    (chip.arrays.count, chip.adc.bits) = (Some(64), 4);
    let law = TemperatureLaw::Linear { per_kelvin: 0.005, reference_celsius: 25.0 };
    chip.effects.temperature = Some(Temperature { celsius: 85.0, law });
    assert!(chip.dies_are_alike());
    let dies = [0, 1].map(|seed| sample_die(&chip, seed, 64));
    let run = |die: &DieRecord, plan| {
        let image = bench.compile(&chip, die, plan, 0.0).image;
        let answers = bench.answers(&image, die, conditions(0.0));
        (image.net, answers)
    };
    for plan in [Plan::NONE, Plan::LAB, Plan::FULL] {
        let [first, second] = dies.each_ref().map(|die| run(die, plan));
        assert!(first == second, "{:?}", plan.names());
    }
    for (plan, more) in [(Plan::NONE, Plan::CLOSEST), (Plan::LAB, Plan::ROWS)] {
        assert!(run(&dies[0], plan) == run(&dies[0], more), "{:?}", more.names());
    }
    chip.dac.jitter_sd_steps = 0.1;
    assert!(!chip.dies_are_alike());
}

/// Eight images are too few to fit weights and gains to where nothing is wrong: images that are held out tell.
#[test]
fn what_does_not_help_is_dropped_and_said_so() {
    let (bench, mut chip) = (Bench::new(8), find_preset("ideal").expect("a preset"));
    chip.cell.n_levels = None;
    let die = sample_die(&chip, 1, 24);
    let plan = Plan::FULL.limited_to(&chip);
    let dropped = |outcomes: &[Outcome], correction| -> Vec<LayerId> {
        let mine = outcomes.iter().filter(|it| it.correction == correction);
        let layers = mine.filter(|it| it.status == Status::Dropped).map(|it| {
            assert_eq!(it.changed, 0, "{it:?}");
            match it.place {
                Place::Layer(layer) => layer,
                Place::Net | Place::Tile(_) => panic!("{correction} is fitted by layer"),
            }
        });
        layers.collect()
    };
    // Weights: targets of a layer whose fit was dropped are those of no fit, up to the rounding of scales.
    let full = bench.compile(&chip, &die, plan, 0.0);
    let unfitted = bench.compile(&chip, &die, plan.without(Correction::Box), 0.0);
    let off = |layer| largest_target_difference(&full.image.net, &unfitted.image.net, layer);
    let boxes = dropped(&full.outcomes, Correction::Box);
    let n_layers = full.image.net.layers.len();
    assert!(!boxes.is_empty(), "eight images are enough after all");
    let limit = 1e-5 * chip.cell.g_max;
    for layer in (0..n_layers).map(LayerId::new) {
        assert_eq!(off(layer) > limit, !boxes.contains(&layer), "{layer}: {:e}", off(layer));
    }
    // Gains: readouts of a layer whose fit was dropped are those before measuring.
    let unmeasured = bench.compile(
        &chip,
        &die,
        plan.without(Correction::Scale).without(Correction::Offset),
        0.0,
    );
    let scales = dropped(&full.outcomes, Correction::Scale);
    assert!(!scales.is_empty(), "eight images are enough after all");
    let tiles = full.image.net.tiles.iter().zip(&unmeasured.image.net.tiles);
    for (tile, other) in tiles.filter(|(tile, _)| scales.contains(&tile.layer)) {
        for (it, other) in tile.readouts.iter().zip(&other.readouts) {
            assert_eq!((it.scale, it.shift), (other.scale, other.shift), "{}", tile.layer);
        }
    }
}

/// The largest difference between what cells of a layer are told in two nets, in siemens.
fn largest_target_difference(net: &ProgrammedNet, other: &ProgrammedNet, layer: LayerId) -> f64 {
    let tiles = net.tiles.iter().zip(&other.tiles).filter(|(it, _)| it.layer == layer);
    let cells = |tile: &ProgrammedTile| -> Vec<f32> {
        match &tile.targets {
            Targets::Siemens { plus, minus } => plus.iter().chain(minus).copied().collect(),
            Targets::Levels { .. } => panic!("the chip's cells are continuous"),
        }
    };
    let differences = tiles.flat_map(|(a, b)| {
        let pairs: Vec<_> = cells(a).into_iter().zip(cells(b)).collect();
        pairs.into_iter().map(|(a, b)| f64::from((a - b).abs()))
    });
    differences.fold(0.0, f64::max)
}

#[test]
fn a_full_compilation_is_the_same_bytes_on_any_number_of_threads() {
    let (bench, chip) = (Bench::new(CALIBRATION), stress_a());
    let die = sample_die(&chip, 5, 24);
    let [one, two] = [1, 2].map(|n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads start");
        pool.install(|| bench.compile(&chip, &die, Plan::FULL, 3.15e7))
    });
    assert_eq!(one.outcomes, two.outcomes);
    assert_eq!(one.bytes, two.bytes);
}

/// Assignments are exact, and come with the proof; the box fit says how far it may be from the best.
#[test]
fn every_gap_is_told_and_small() {
    let bench = Bench::new(CALIBRATION);
    println!("| chip | largest gap of rows and arrays | of box | errors expected of layers |");
    println!("|---|---|---|---|");
    for name in ["stress-a", "stress-b", "stress-c"] {
        let mut chip = find_preset(name).expect("a preset");
        chip.arrays.count = Some(32);
        let die = sample_die(&chip, 2, 32);
        let outcomes = bench.compile(&chip, &die, Plan::FULL, 0.0).outcomes;
        let largest = |corrections: &[Correction]| {
            let mine = outcomes.iter().filter(|it| corrections.contains(&it.correction));
            let gaps: Vec<f64> =
                mine.map(|it| it.gap.unwrap_or_else(|| panic!("{it:?} has no gap"))).collect();
            assert!(!gaps.is_empty(), "{name}: {corrections:?} did not run");
            gaps.into_iter().fold(f64::NEG_INFINITY, f64::max)
        };
        let exact = largest(&[Correction::Rows, Correction::Arrays]);
        let fitted = largest(&[Correction::Box]);
        let boxes = outcomes.iter().filter(|it| it.correction == Correction::Box);
        let errors: Vec<_> = boxes.map(|it| format!("{:.2} %", 100.0 * it.after)).collect();
        println!("| {name} | {exact:.1e} | {fitted:.1e} | {} |", errors.join(", "));
        assert!(exact <= 1e-9, "{name}: {exact:e}");
        // Sweeps end early on purpose, see docs/corrections.md.
        assert!(fitted <= 1e-2, "{name}: {fitted:e}");
    }
}

/// Which norm of gain and offset leaves the least error, layer by layer, on images held out.
#[test]
fn norms_of_gain_and_offset() {
    let bench = Bench::new(CALIBRATION);
    println!("| chip | ADC | norm | error by layer before | after |\n|---|---|---|---|---|");
    for (name, bits) in [("stress-a", 6), ("stress-a", 4), ("stress-c", 5)] {
        let mut chip = find_preset(name).expect("a preset");
        chip.arrays.count = Some(32);
        chip.adc.bits = bits;
        let mapped = bench.map(&chip);
        let die = sample_die(&chip, 1, 32);
        let known =
            Known { chip: &chip, die: Some(&die), effects: EffectSet::ALL, at_s: 0.0, use_s: None };
        let plan = Plan::FULL.limited_to(&chip);
        let teacher = Teacher::new(&mapped.net, &bench.calibration);
        let targeted = correct_before(&mapped.net, &known, Some(&teacher), plan);
        let net = targeted.expect("the die fits").net;
        for norm in AffineNorm::ALL {
            let mut sim = SimDie::new(&chip, &die, conditions(0.0));
            die::program_net(&mut sim, &net, &chip.cell).expect("lines exist");
            let options = AfterOptions { norm, ..plan.into() };
            let net = net.clone();
            let fitted = correct_after(&mapped.net, net, &known, &mut sim, &teacher, options);
            let layers = fitted.expect("the die answers").layers;
            let helps = layers.iter().all(|it| it.rms_after < 0.6 * it.rms_before);
            assert!(helps, "{name}, {norm:?}: {layers:?}");
            let before: Vec<_> = layers.iter().map(|it| format!("{:.3}", it.rms_before)).collect();
            let after: Vec<_> = layers.iter().map(|it| format!("{:.3}", it.rms_after)).collect();
            println!(
                "| {name} | {bits} | {norm:?} | {} | {} |",
                before.join(", "),
                after.join(", ")
            );
        }
    }
}

#[test]
fn rows_obey_the_rules_set_for_them() {
    let (bench, chip) = (Bench::new(CALIBRATION), stress_a());
    let mapped = bench.map(&chip);
    let die = sample_die(&chip, 3, 24);
    let known =
        Known { chip: &chip, die: Some(&die), effects: EffectSet::ALL, at_s: 0.0, use_s: None };
    let run = |plan, teacher, rules: &RowRules| {
        let bounds = Bounds { rules, base: None };
        correct_before_by(&mapped.net, &known, teacher, plan, &bounds)
    };
    let teacher = Teacher::new(&mapped.net, &bench.calibration);
    let teacher = Some(&teacher);
    let free = run(BEFORE, teacher, &RowRules::default()).expect("the die fits");
    let tile = TileId::new(0);
    let first = free.net.tiles[tile].wiring.plus_rows[0] as usize;
    let rules = RowRules {
        pinned: [(tile, vec![(1, 90)])].into(),
        forbidden: [(tile, vec![(0, first)])].into(),
    };
    let ruled = run(BEFORE, teacher, &rules).expect("plenty is left");
    // Copies of a tile come one behind the other.
    let of_tile = &mapped.net.tiles[tile];
    let copies = ruled.net.tiles.iter().filter(|it| {
        (it.layer, &it.rows, &it.cols) == (of_tile.layer, &of_tile.rows, &of_tile.cols)
    });
    let mut n_copies = 0;
    for copy in copies {
        n_copies += 1;
        assert_eq!(copy.wiring.plus_rows[1], 90);
        assert_ne!(copy.wiring.plus_rows[0] as usize, first);
    }
    assert!(n_copies >= 1);
    let none = RowRules { pinned: [(tile, vec![(0, 90), (1, 90)])].into(), ..RowRules::default() };
    let problem = run(BEFORE, teacher, &none).expect_err("two rows want one place")[0].to_string();
    assert!(problem.contains("rows cannot be placed by the rules"), "{problem}");
    for (plan, teacher) in [(BEFORE, None), (BEFORE.without(Correction::Rows), teacher)] {
        let problem = run(plan, teacher, &rules).expect_err("rows stay")[0].to_string();
        assert!(problem.contains("there are rules for them"), "{problem}");
    }
    let beyond = TileId::new(mapped.net.tiles.len());
    let beyond = RowRules { pinned: [(beyond, vec![(0, 0)])].into(), ..RowRules::default() };
    assert!(run(BEFORE, teacher, &beyond).is_err());
}
