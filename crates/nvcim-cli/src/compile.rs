//! `nvcim compile MODEL`: the deployment image.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nvcim::die_io::open_die;
use nvcim::ids::{Id, LayerId};
use nvcim::model::Model;
use nvcim::pipeline::{CALIBRATION_IMAGES, CompileOptions, Compiled, compile_model};
use nvcim::plan::Plan;
use serde_json::json;

use crate::args::{DataOptions, EffectOptions, Global};
use crate::files::{open_chip, write_file};
use crate::terminal::{Failure, Terminal, hex};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// ONNX file.
    model: PathBuf,
    /// Preset's name or TOML file.
    #[arg(long)]
    chip: String,
    /// The image to write.
    #[arg(short, long, value_name = "IMAGE")]
    output: PathBuf,
    /// Compile for this die.
    #[arg(long)]
    die: Option<PathBuf>,
    /// Calibration data; the first 256 images are used, never their labels.
    #[arg(long, value_name = "DATA")]
    calib: Option<String>,
    /// none, closest, lab, rows, full, or a list such as +closest,+ranges [default: full with --die].
    #[arg(long, value_name = "LEVEL")]
    correct: Option<String>,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    effects: EffectOptions,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let chip = open_chip(&args.chip, terminal)?;
    terminal.warn(&args.effects.warnings(&chip));
    let model = Model::open(&args.model)?;
    let default = if args.die.is_some() { "full" } else { "none" };
    let plan = Plan::parse(args.correct.as_deref().unwrap_or(default))?;
    let die = args.die.as_deref().map(|path| open_die(path, &chip)).transpose()?;
    let calibration = match &args.calib {
        Some(spec) => {
            let data = args.data.open(spec)?;
            Some(data.head(CALIBRATION_IMAGES, &model.input_shape()?)?)
        }
        None => None,
    };
    let conditions = args.effects.conditions(global.seed);
    let calibration = calibration.as_ref();
    let options = CompileOptions { die: die.as_ref(), calibration, plan, conditions, use_s: None };
    let compiled = compile_model(&model, &chip, &options)?;
    terminal.warn(&compiled.warnings);
    let compiled = compiled.output;
    write_file(&args.output, &compiled.bytes)?;
    let seconds = start.elapsed().as_secs_f64();
    for fit in &compiled.fits {
        terminal.tell(&format!(
            "{}: rms error {:.4} before, {:.4} after measuring",
            fit.layer, fit.rms_before, fit.rms_after
        ));
    }
    let extrapolated = !conditions.check_time(&chip)?.is_empty();
    print_result(args, &compiled, (seconds, extrapolated), terminal);
    Ok(ExitCode::SUCCESS)
}

fn print_result(
    args: &Args,
    compiled: &Compiled,
    (seconds, extrapolated): (f64, bool),
    terminal: &Terminal,
) {
    let image = &compiled.image;
    let arrays = &image.chip.arrays;
    let cells = compiled.mapped.arrays_needed * arrays.n_rows * arrays.n_cols;
    let utilisation = compiled.mapped.cells_used as f64 / cells.max(1) as f64;
    let tiles_of = |layer: LayerId| image.net.tiles.iter().filter(move |tile| tile.layer == layer);
    let layers: Vec<_> = image
        .net
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let (rows, cols) = (layer.shape.n_rows, layer.shape.n_cols);
            let tiles = tiles_of(LayerId::new(index)).count();
            json!({"name": layer.name, "tiles": tiles, "rows": rows, "cols": cols})
        })
        .collect();
    let hash = hex(&nvcim::codec::hash_image(&compiled.bytes));
    let document = json!({
        "schema": "nvcim.compile/1",
        "image": args.output,
        "image_hash": hash,
        "bytes": compiled.bytes.len(),
        "chip": image.chip.name,
        "arrays_used": compiled.mapped.arrays_needed,
        "arrays_bound": compiled.mapped.arrays_bound,
        "cell_utilisation": utilisation,
        "seconds": seconds,
        "corrections": image.provenance.corrections,
        "extrapolated": extrapolated,
        "weights_on_stuck_pairs": compiled.weights_on_stuck_pairs,
        "layers": layers,
    });
    terminal.print(&document, || {
        let mut text = String::new();
        for (index, layer) in image.net.layers.iter().enumerate() {
            let tiles = tiles_of(LayerId::new(index)).count();
            let noun = if tiles == 1 { "tile" } else { "tiles" };
            let size = format!("{}x{}", layer.shape.n_rows, layer.shape.n_cols);
            text += &format!("{:<24} {size:>11}  {tiles} {noun}\n", layer.name);
        }
        text += &format!(
            "\n{} arrays of `{}` (at least {}), {:.1} % of their cells in use\n",
            compiled.mapped.arrays_needed,
            image.chip.name,
            compiled.mapped.arrays_bound,
            100.0 * utilisation,
        );
        let corrections = &image.provenance.corrections;
        if !corrections.is_empty() {
            let on_stuck = compiled.weights_on_stuck_pairs;
            text += &format!(
                "corrected: {} ({on_stuck} weights with stuck cells)\n",
                corrections.join(", ")
            );
        }
        let bytes = compiled.bytes.len();
        text + &format!(
            "{} ({bytes} bytes, {}) in {seconds:.2} s",
            args.output.display(),
            &hash[..16]
        )
    });
}
