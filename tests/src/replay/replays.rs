//! Whole LeNets on one die with everything wrong: exported, traced, and replayed in NumPy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libtest_mimic::{Failed, Trial};
use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::demo;
use nvcim::describe::{Chip, Subtract, Topology};
use nvcim::effects::EffectSet;
use nvcim::export::{Format, OnDie, export_image};
use nvcim::model::Model;
use nvcim::pipeline::{CompileOptions, compile_model};
use nvcim::plan::Plan;
use nvcim::simulate::load_image_as;
use nvcim::trace::trace_run;
use nvcim_sim::sample::sample_die;
use nvcim_tests::repository;

use crate::chips::{Kind, variants};
use crate::{fail, say};

/// Images of a replay.
const IMAGES: usize = 2;

/// Images that calibrate.
const CALIBRATION_IMAGES: usize = 32;

/// Arrays of the die, more than any of the networks takes.
const ARRAYS: usize = 64;

/// A day after programming.
const CONDITIONS: Conditions =
    Conditions { effects: EffectSet::ALL, at_s: 86_400.0, extrapolate: false, run_seed: 7 };

/// The Python that runs replays.
pub(crate) fn python() -> String {
    env::var("NVCIM_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// A network with its images.
struct Task {
    model: Model,
    calibration: Dataset,
    data: Dataset,
}

/// Replays of the bundled network on every kind of array, and one that must fail.
pub(crate) fn bundled_trials() -> Vec<Trial> {
    let trial = |(name, chip): (String, Chip)| {
        Trial::test(format!("every_code_is_reproduced::lenet_digits::{name}"), move || {
            replay("lenet_digits", &name, &chip, open_digits().map_err(fail)?)
        })
    };
    let variants = variants().into_iter().map(|(name, chip)| (name.to_owned(), chip));
    let chips = Kind::all().map(|kind| (kind.name(), kind.chip())).chain(variants);
    let wrong = Trial::test("a_replay_of_another_chip_is_wrong", replay_other_chips);
    chips.map(trial).chain([wrong]).collect()
}

/// One replay of a third-party LeNet per kind of array, inputs and subtraction.
pub(crate) fn shared_trials(shared: &Path) -> Vec<Trial> {
    let trial = |kind: Kind| {
        let shared = shared.to_path_buf();
        Trial::test(format!("every_code_is_reproduced::lenet5::{}", kind.name()), move || {
            replay("lenet5", &kind.name(), &kind.chip(), open_lenet(&shared).map_err(fail)?)
        })
    };
    Kind::all().map(trial).collect()
}

fn first(images: usize) -> Preprocess {
    Preprocess { limit: Some(images), ..Preprocess::default() }
}

fn open_digits() -> nvcim::diag::Result<Task> {
    Ok(Task {
        model: Model::from_bytes(demo::MODEL.0, demo::MODEL.1),
        calibration: Dataset::open("digits:train", first(CALIBRATION_IMAGES))?,
        data: Dataset::open("digits", first(IMAGES))?,
    })
}

fn open_lenet(shared: &Path) -> nvcim::diag::Result<Task> {
    let part = |part: &str, images| {
        let spec = shared.join("datasets/mnist").display().to_string();
        let scaling = Preprocess { mean: vec![0.1307], std: vec![0.3081], ..first(images) };
        Dataset::open(&format!("{spec}:{part}"), scaling)
    };
    Ok(Task {
        model: Model::open(&shared.join("models/lenet5-ccoltong.onnx"))?,
        calibration: part("train", CALIBRATION_IMAGES)?,
        data: part("t10k", IMAGES)?,
    })
}

/// What a replay counted, or why there is nothing to count.
struct Counts {
    agrees: bool,
    text: String,
}

impl Counts {
    fn of(&self, name: &str) -> &str {
        let line = self.text.lines().find(|line| line.contains(&format!("\"{name}\":")));
        let number = line.and_then(|line| line.split(':').nth(1));
        number.map_or("?", |it| it.trim().trim_end_matches(','))
    }
}

/// Runs the replay of a folder.
fn run_replay(folder: &Path) -> Result<Counts, Failed> {
    let script = repository().join("tests/replay/replay.py");
    let output = Command::new(python()).arg("-B").arg(script).arg(folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {errors}files are in {}", output.status, folder.display()).into());
    }
    Ok(Counts { agrees: output.status.success(), text })
}

fn make_folder(name: &str) -> Result<PathBuf, Failed> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("replay-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn replay(network: &str, name: &str, chip: &Chip, task: Task) -> Result<(), Failed> {
    let folder = make_folder(&format!("{network}-{name}"))?;
    write_run(chip, task, &folder)?;
    let counts = run_replay(&folder)?;
    let [codes, equal, excepted, wrong] =
        ["codes", "equal", "excepted", "wrong"].map(|name| counts.of(name));
    say(&format!(
        "    {network} {name}: {codes} codes, {equal} equal, {excepted} excepted, {wrong} wrong"
    ));
    if !counts.agrees || wrong != "0" || codes == "0" || codes != equal && excepted == "0" {
        return Err(format!("{}files are in {}", counts.text, folder.display()).into());
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A replay that cannot tell one chip from another would prove nothing.
fn replay_other_chips() -> Result<(), Failed> {
    let folder = make_folder("other-chips")?;
    let kind = Kind { topology: Topology::Passive, bit_serial: false, subtract: Subtract::Analog };
    write_run(&kind.chip(), open_digits().map_err(fail)?, &folder)?;
    let manifest = fs::read_to_string(folder.join("manifest.json"))?;
    let changes = [
        ("bit_line_ohm = 1.5", "bit_line_ohm = 1.6"),
        ("driver_ohm = 40.0", "driver_ohm = 41.0"),
        ("sd_lsb = 0.5", "sd_lsb = 0.51"),
        ("g_max_siemens = 5e-5", "g_max_siemens = 5.01e-5"),
    ];
    for (from, to) in changes {
        let changed = manifest.replacen(from, to, 1);
        if changed == manifest {
            return Err(format!("the manifest does not say `{from}`").into());
        }
        fs::write(folder.join("manifest.json"), changed)?;
        let counts = run_replay(&folder)?;
        say(&format!("    {to} for {from}: {} codes wrong", counts.of("wrong")));
        if counts.agrees || counts.of("wrong") == "0" {
            return Err(format!("`{to}` is not noticed").into());
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Compiles for one die, and writes what the replay reads.
fn write_run(chip: &Chip, task: Task, folder: &Path) -> Result<(), Failed> {
    let Task { model, calibration, data } = task;
    let sample = model.input_shape().map_err(fail)?;
    let images = calibration.head(CALIBRATION_IMAGES, &sample).map_err(fail)?;
    let die = sample_die(chip, 3, ARRAYS);
    let options = CompileOptions {
        die: Some(&die),
        calibration: Some(&images),
        plan: Plan::LAB,
        conditions: CONDITIONS,
        base: None,
        use_s: None,
        pack: None,
    };
    let image = compile_model(&model, chip, &options).map_err(fail)?.output.image;
    let machine = load_image_as::<f64>(&image, &die, CONDITIONS).map_err(fail)?;
    let trace = trace_run(&machine, &data).map_err(fail)?.to_npz().map_err(fail)?;
    fs::write(folder.join("trace.npz"), trace)?;
    let on_die = OnDie { record: &die, conditions: CONDITIONS };
    let mut files = Vec::new();
    let mut keep = |name: &str, bytes| {
        files.push((name.to_owned(), bytes));
        Ok(())
    };
    export_image(&image, Some(on_die), Format::Npz, &mut keep).map_err(fail)?;
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
