//! Whole LeNets on one die with everything wrong: exported, traced, and replayed in NumPy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libtest_mimic::{Failed, Trial};
use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::demo;
use nvcim::describe::Chip;
use nvcim::effects::EffectSet;
use nvcim::export::{Format, OnDie, export_image};
use nvcim::model::Model;
use nvcim::pipeline::{CompileOptions, compile_model};
use nvcim::plan::Plan;
use nvcim::simulate::load_image_as;
use nvcim::trace::trace_run;
use nvcim_sim::sample::sample_die;
use nvcim_tests::repository;

use crate::chips::Kind;
use crate::{fail, say};

/// Images of a replay.
const IMAGES: usize = 2;

/// Images that calibrate.
const CALIBRATION_IMAGES: usize = 32;

/// Arrays of the die, more than any of the networks takes.
const ARRAYS: usize = 64;

/// A day after programming.
const CONDITIONS: Conditions =
    Conditions { effects: EffectSet::ALL, at_s: 86_400.0, run_seed: 7 };

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

/// One replay of the bundled network per kind of array.
pub(crate) fn bundled_trials() -> Vec<Trial> {
    let open = || {
        let part = |spec| Dataset::open(spec, first(IMAGES.max(CALIBRATION_IMAGES)));
        Ok(Task {
            model: Model::from_bytes(demo::MODEL.0, demo::MODEL.1),
            calibration: part("digits:train")?,
            data: Dataset::open("digits", first(IMAGES))?,
        })
    };
    let trial = |kind: Kind| {
        Trial::test(format!("every_code_is_reproduced::lenet_digits::{}", kind.name()), move || {
            replay("lenet_digits", kind, open().map_err(fail)?)
        })
    };
    Kind::all().filter(|kind| !kind.bit_serial).map(trial).collect()
}

/// One replay of a third-party LeNet per kind of array, inputs and subtraction.
pub(crate) fn shared_trials(shared: &Path) -> Vec<Trial> {
    let trial = |kind: Kind| {
        let shared = shared.to_path_buf();
        Trial::test(format!("every_code_is_reproduced::lenet5::{}", kind.name()), move || {
            replay("lenet5", kind, open_lenet(&shared).map_err(fail)?)
        })
    };
    Kind::all().map(trial).collect()
}

fn first(images: usize) -> Preprocess {
    Preprocess { limit: Some(images), ..Preprocess::default() }
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

fn replay(network: &str, kind: Kind, task: Task) -> Result<(), Failed> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("replay-{}-{network}-{}", std::process::id(), kind.name()));
    fs::create_dir_all(&folder)?;
    write_run(&kind.chip(), task, &folder)?;
    let script = repository().join("tests/replay/replay.py");
    let output = Command::new(python()).arg("-B").arg(script).arg(&folder).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let kept = folder.display();
        return Err(format!("{}: {text}{errors}files are in {kept}", output.status).into());
    }
    let count = |name: &str| {
        let line = text.lines().find(|line| line.contains(&format!("\"{name}\":")));
        let number = line.and_then(|line| line.split(':').nth(1));
        number.map_or("?", |it| it.trim().trim_end_matches(','))
    };
    let [codes, equal, excepted, wrong] = ["codes", "equal", "excepted", "wrong"].map(count);
    say(&format!(
        "    {network} {}: {codes} codes, {equal} equal, {excepted} excepted, {wrong} wrong",
        kind.name()
    ));
    if wrong != "0" || codes == "0" || codes != equal && excepted == "0" {
        return Err(format!("the figures above do not add up: {text}").into());
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
