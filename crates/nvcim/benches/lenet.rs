//! LeNet-5 end to end: compile time, and simulation beside the float reference on the same images.
//!
//! `cargo bench -p nvcim --bench lenet` prints both. With the shared data folder (`NVCIM_SHARED`, or
//! `../shared` beside the repository) it uses MNIST and the third-party `lenet5-ccoltong`; without it,
//! the bundled LeNet-5 and made-up images, and says so. One core, best of several passes.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use nvcim::chips::open_chip;
use nvcim::data::{Dataset, Preprocess};
use nvcim::diag::Diagnostic;
use nvcim::model::Model;
use nvcim::pipeline::{CALIBRATION_IMAGES, CompileOptions, compile_model};
use nvcim::simulate::{DieChoice, load_image, resolve_die};
use nvcim::tensor::Tensor;

/// Passes of each measurement; the best one counts, since everything else on the machine only slows.
const PASSES: usize = 7;

/// Images of one timed pass.
const IMAGES: usize = 1000;

fn main() -> Result<(), Vec<Diagnostic>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.map_err(|error| Diagnostic::internal("threads", error.to_string()))?.install(run)
}

fn run() -> Result<(), Vec<Diagnostic>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared =
        std::env::var_os("NVCIM_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let (model, images, data) = if shared.join("datasets/mnist").is_dir() {
        let model = Model::open(&shared.join("models/lenet5-ccoltong.onnx"))?;
        let preprocess =
            Preprocess { mean: vec![0.1307], std: vec![0.3081], ..Preprocess::default() };
        let spec = format!("{}:train", shared.join("datasets/mnist").display());
        let data = Dataset::open(&spec, preprocess)?;
        (model.clone(), data.head(IMAGES, &model.input_shape()?)?, "MNIST, lenet5-ccoltong")
    } else {
        let model = Model::open(&root.join("onnx-models/lenet5-mnist.onnx"))?;
        let made_up =
            |at: ndarray::IxDyn| ((at[0] * 31 + at[2] * 7 + at[3] * 13) % 97) as f32 / 97.0;
        let images = Tensor::from_shape_fn(ndarray::IxDyn(&[IMAGES, 1, 28, 28]), made_up);
        (model, images, "no shared data: made-up images, bundled lenet5-mnist")
    };
    println!("{data}; one core, best of {PASSES} passes");

    let chip = open_chip("ideal")?.output;
    let calibration =
        images.slice_axis(ndarray::Axis(0), (0..CALIBRATION_IMAGES).into()).to_owned();
    let options = CompileOptions { calibration: Some(&calibration), ..CompileOptions::default() };
    let mut compiled = compile_model(&model, &chip, &options)?.output;
    let compile = best(|| {
        compiled = compile_model(&model, &chip, &options)?.output;
        Ok(())
    })?;
    println!("compile, {CALIBRATION_IMAGES} calibration images   {compile:>9.4} s");

    let die = resolve_die(&compiled.image, DieChoice::Seed(0));
    let machine = load_image(&compiled.image, &die, options.conditions)?;
    let simulate = best(|| {
        machine.run(&images, 0);
        Ok(())
    })?;
    let reference = model.reference()?;
    let float = best(|| reference.run(&images).map(drop))?;
    let per_second = |seconds: f64| IMAGES as f64 / seconds;
    println!("simulate on the ideal chip          {:>9.0} images/s", per_second(simulate));
    println!("float reference by tract            {:>9.0} images/s", per_second(float));
    println!("simulate / reference, CPU time      {:>9.2}", simulate / float);
    Ok(())
}

fn best(mut pass: impl FnMut() -> Result<(), Vec<Diagnostic>>) -> Result<f64, Vec<Diagnostic>> {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        pass()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
