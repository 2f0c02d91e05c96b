//! Whole networks under every noise, beside the float reference on the same images, on one core.
//!
//! `cargo bench --workspace --bench networks` prints a table of ratios, then single times by divan. A ratio
//! is CPU time over CPU time, the fastest pass over the fastest, taken in turns, since other programs only
//! ever slow one down. Preparation, which is once per die, stands apart. Bounds to keep: a LeNet-5 on
//! phase-change memory 3, ResNet-20 there 3.5, both through the wires of arrays of 256x256 too.
//!
//! The bundled LeNet for digits is always there; with the shared data folder (`NVCIM_SHARED`, or `../shared`
//! beside the repository) come `lenet5-ccoltong` on MNIST and `cifar10-resnet20-aka` on CIFAR-10.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use cpu_time::ThreadTime;
use divan::counter::ItemsCount;
use nvcim::conditions::Conditions;
use nvcim::data::{Dataset, Preprocess};
use nvcim::describe::Chip;
use nvcim::diag::Diagnostic;
use nvcim::effects::EffectSet;
use nvcim::effects::ir_drop::{IrDrop, IrDropMethod};
use nvcim::effects::output_noise::OutputNoise;
use nvcim::machine::Machine;
use nvcim::model::Model;
use nvcim::pipeline::{CompileOptions, compile_model};
use nvcim::presets::find_preset;
use nvcim::simulate::{DieChoice, load_image, resolve_die};
use nvcim::tensor::Tensor;
use nvcim_chip::network::Wires;

/// Turns of each ratio.
const TURNS: usize = 15;

/// What the chips are, see [`describe_chip`].
const CHIPS: [&str; 4] = ["ideal", "pcm", "pcm, wires, 128", "pcm, wires, 256"];

/// Names of networks, and images of a pass.
const NETWORKS: [(&str, usize); 3] =
    [("lenet-digits", 512), ("lenet5-ccoltong", 256), ("cifar10-resnet20-aka", 16)];

fn main() -> Result<(), Vec<Diagnostic>> {
    println!(
        "CPU time per image on one core, the best of {TURNS} turns; float is the reference by tract\n"
    );
    println!("| network | chip | float, us | simulated, us | ratio | preparation, s |");
    println!("|---|---|---|---|---|---|");
    for (name, n_images) in NETWORKS {
        let Some(network) = open_network(name, n_images)? else {
            println!("| {name} | no shared data | | | | |");
            continue;
        };
        for chip in CHIPS {
            print_ratio(&network, chip)?;
        }
    }
    println!();
    divan::main();
    Ok(())
}

/// The float reference on the images of a pass.
#[divan::bench(args = NETWORKS)]
fn float(bencher: divan::Bencher<'_, '_>, (name, n_images): (&'static str, usize)) {
    let Ok(Some(network)) = open_network(name, n_images) else { return };
    let reference = network.model.reference().expect("the table has run it");
    let run = || reference.run(&network.images).expect("the table has run it");
    bencher.counter(ItemsCount::new(n_images)).bench(|| one_core().install(run));
}

/// The networks on a chip of phase-change memory.
#[divan::bench(args = NETWORKS)]
fn pcm(bencher: divan::Bencher<'_, '_>, network: (&'static str, usize)) {
    measure(bencher, network, "pcm");
}

/// The same through wires.
#[divan::bench(args = NETWORKS)]
fn pcm_and_wires(bencher: divan::Bencher<'_, '_>, network: (&'static str, usize)) {
    measure(bencher, network, "pcm, wires, 256");
}

fn measure(bencher: divan::Bencher<'_, '_>, (name, n_images): (&'static str, usize), chip: &str) {
    let Ok(Some(network)) = open_network(name, n_images) else { return };
    let (machine, _) = prepare(&network, chip).expect("the table has prepared it");
    let run = || machine.run(&network.images, 0);
    bencher.counter(ItemsCount::new(n_images)).bench(|| one_core().install(run));
}

/// A network with the images of a pass.
struct Network {
    name: &'static str,
    model: Model,
    images: Tensor,
}

/// Opens a network; none where it is not bundled and there is no shared data.
fn open_network(name: &'static str, n_images: usize) -> Result<Option<Network>, Vec<Diagnostic>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared =
        std::env::var_os("NVCIM_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let in_shared = |data: &str, mean: &[f32], std: &[f32]| {
        let preprocess =
            Preprocess { mean: mean.to_vec(), std: std.to_vec(), ..Preprocess::default() };
        let data = shared.join("datasets").join(data).display().to_string();
        (shared.join(format!("models/{name}.onnx")), data, preprocess)
    };
    let (model, data, preprocess) = match name {
        "lenet5-ccoltong" => in_shared("mnist:t10k", &[0.1307], &[0.3081]),
        "cifar10-resnet20-aka" => {
            in_shared("cifar10-jpeg75:test", &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
        }
        _ => {
            let model = root.join(format!("onnx-models/{name}.onnx"));
            (model, "digits:train".to_owned(), Preprocess::default())
        }
    };
    if !model.is_file() {
        return Ok(None);
    }
    let model = Model::open(&model)?;
    let images = Dataset::open(&data, preprocess)?.head(n_images, &model.input_shape()?)?;
    Ok(Some(Network { name, model, images }))
}

/// The chip of a name: converters of 8 bits alone; the preset of phase-change memory with the output noise
/// that a sense stage adds, all of its effects a day after programming; wires of one ohm per segment, solved
/// exactly, on arrays of a size.
fn describe_chip(name: &str) -> Result<Chip, Vec<Diagnostic>> {
    if name == "ideal" {
        return find_preset(name);
    }
    let mut chip = find_preset("pcm-ibm")?;
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5, ..OutputNoise::default() });
    if let Some(size) = name.strip_prefix("pcm, wires, ") {
        let size = size.parse().expect("names of chips end in a size");
        (chip.arrays.n_rows, chip.arrays.n_cols) = (size, size);
        let wires = Wires { word_line_ohm: 1.0, bit_line_ohm: 1.0, ..Wires::IDEAL };
        chip.effects.ir_drop = Some(IrDrop { wires, method: IrDropMethod::Exact, gated: None });
    }
    Ok(chip)
}

/// Puts a network onto die 0 of a chip, a day after programming; says how many seconds the die took.
fn prepare(network: &Network, chip: &str) -> Result<(Machine, f64), Vec<Diagnostic>> {
    let conditions =
        Conditions { effects: EffectSet::ALL, at_s: 86_400.0, extrapolate: false, run_seed: 0 };
    let calibration = Some(&network.images);
    let options = CompileOptions { calibration, conditions, ..CompileOptions::default() };
    let image = compile_model(&network.model, &describe_chip(chip)?, &options)?.output.image;
    let die = resolve_die(&image, DieChoice::Seed(0));
    let (machine, spent) = one_core().install(|| time(|| load_image(&image, &die, conditions)));
    Ok((machine?, spent.as_secs_f64()))
}

fn print_ratio(network: &Network, chip: &str) -> Result<(), Vec<Diagnostic>> {
    let (machine, preparation) = prepare(network, chip)?;
    let reference = network.model.reference()?;
    let (mut float, mut simulated) = (Duration::MAX, Duration::MAX);
    one_core().install(|| {
        for _ in 0..TURNS {
            let (outputs, spent) = time(|| reference.run(&network.images));
            outputs?;
            float = float.min(spent);
            simulated = simulated.min(time(|| machine.run(&network.images, 0)).1);
        }
        Ok::<_, Vec<Diagnostic>>(())
    })?;
    let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / network.images.shape()[0] as f64;
    let (float, simulated) = (micros(float), micros(simulated));
    let ratio = simulated / float;
    println!(
        "| {} | {chip} | {float:.1} | {simulated:.1} | {ratio:.2} | {preparation:.2} |",
        network.name
    );
    Ok(())
}

/// One thread for everything that is measured.
fn one_core() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.expect("a machine that runs this has room for one more thread")
    })
}

/// What `run` gives, and the CPU time that it took on this thread.
fn time<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = ThreadTime::now();
    let result = run();
    (result, start.elapsed())
}
