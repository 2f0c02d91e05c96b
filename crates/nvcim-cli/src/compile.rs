//! `nvcim compile MODEL`: the deployment image.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nvcim::die_io::open_die;
use nvcim::diff::{Difference, diff_images};
use nvcim::ids::{Id, LayerId};
use nvcim::model::Model;
use nvcim::pipeline::{CALIBRATION_IMAGES, CompileOptions, Compiled, compile_model};
use nvcim::plan::Plan;
use nvcim::programmed::{ProgrammedNet, measure_usage};
use serde_json::json;

use crate::args::{DataOptions, EffectOptions, Global};
use crate::files::{open_chip, open_image, write_file};
use crate::outcomes;
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
    /// A level of corrections, or a list [default: full with --die, else none].
    ///
    /// Levels: none, the naive mapping; closest, pairs round stuck cells; lab, also ADC ranges and gain and
    /// offset per column, measured on the die; rows, also rows and columns chosen against the fault map; full,
    /// everything the chip can hold. A list adds or takes out single corrections, from nothing or from a level
    /// before it: +closest,+ranges or full,-arrays.
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    correct: Option<String>,
    /// An image of the same model and chip for any die: what does not depend on the die is taken from it.
    ///
    /// Its converter calibration is used, and tiles without a stuck cell on the die keep its place and targets
    /// cell for cell; no tile changes its array, and none is copied. `nvcim diff` counts what changed. Corrections
    /// that reshape every tile (pairs, drift, box, ir_drop) act on tiles with stuck cells only.
    #[arg(long, value_name = "IMAGE")]
    base: Option<PathBuf>,
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
    let base = args.base.as_deref().map(|path| open_image(path, None, false, terminal));
    let base = base.transpose()?;
    let options = CompileOptions {
        die: die.as_ref(),
        calibration,
        plan,
        conditions,
        base: base.as_ref(),
        use_s: None,
    };
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
    for line in outcomes::list(&compiled.outcomes, &compiled.image.net) {
        terminal.tell(&line);
    }
    let extrapolated = !conditions.check_time(&chip)?.is_empty();
    let diff = base.as_ref().map(|base| diff_images(base, &compiled.image));
    print_result(args, &compiled, diff.as_ref(), (seconds, extrapolated), terminal);
    Ok(ExitCode::SUCCESS)
}

fn print_result(
    args: &Args,
    compiled: &Compiled,
    diff: Option<&Difference>,
    (seconds, extrapolated): (f64, bool),
    terminal: &Terminal,
) {
    let image = &compiled.image;
    let arrays = &image.chip.arrays;
    let usage = measure_usage(&image.net);
    let cells = usage.arrays * arrays.n_rows * arrays.n_cols;
    let utilisation = usage.cells as f64 / cells.max(1) as f64;
    let tiles_of = |layer: LayerId| image.net.tiles.iter().filter(move |tile| tile.layer == layer);
    let layers: Vec<_> = image
        .net
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let (rows, cols) = (layer.shape.n_rows, layer.shape.n_cols);
            let tiles = tiles_of(LayerId::new(index)).count();
            let conversions = count_conversions(&image.net, LayerId::new(index));
            json!({
                "name": layer.name, "tiles": tiles, "rows": rows, "cols": cols,
                "conversions": conversions,
            })
        })
        .collect();
    let hash = hex(&nvcim::codec::hash_image(&compiled.bytes));
    let document = json!({
        "schema": "nvcim.compile/1",
        "image": args.output,
        "image_hash": hash,
        "bytes": compiled.bytes.len(),
        "chip": image.chip.name,
        "arrays_used": usage.arrays,
        "arrays_needed": compiled.mapped.arrays_needed,
        "arrays_bound": compiled.mapped.arrays_bound,
        "cell_utilisation": utilisation,
        "seconds": seconds,
        "corrections": image.provenance.corrections,
        "extrapolated": extrapolated,
        "weights_on_stuck_pairs": compiled.weights_on_stuck_pairs,
        "layers": layers,
        "outcomes": outcomes::to_json(&compiled.outcomes, &image.net),
        "base": diff.map(|diff| json!({
            "tiles_moved": diff.tiles_moved,
            "readouts_changed": diff.readouts_changed,
            "cells_changed": diff.cells_changed,
            "arrays_touched": diff.arrays_touched,
        })),
    });
    terminal.print(&document, || {
        let mut text = String::new();
        for (index, layer) in image.net.layers.iter().enumerate() {
            let tiles = tiles_of(LayerId::new(index)).count();
            let noun = if tiles == 1 { "tile" } else { "tiles" };
            let size = format!("{}x{}", layer.shape.n_rows, layer.shape.n_cols);
            let conversions = count_conversions(&image.net, LayerId::new(index));
            let name = &layer.name;
            text += &format!("{name:<24} {size:>11}  {tiles} {noun}, {conversions} conversions\n");
        }
        text += &format!(
            "\n{} arrays of `{}` (at least {}), {:.1} % of their cells in use\n",
            usage.arrays,
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
        if !compiled.outcomes.is_empty() {
            text += &format!("\n{}\n", outcomes::summarise(&compiled.outcomes));
        }
        if let Some(diff) = diff {
            text += &format!(
                "{} cells on {} arrays and {} readouts differ from the base\n",
                diff.cells_changed, diff.arrays_touched, diff.readouts_changed
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

/// Conversions of a layer per input vector and pass.
fn count_conversions(net: &ProgrammedNet, layer: LayerId) -> usize {
    let tiles = net.tiles.iter().filter(|tile| tile.layer == layer);
    tiles.map(|tile| tile.readouts.len()).sum()
}
