//! `nvcim compile MODEL`: the deployment image.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nvcim::describe::Pack;
use nvcim::die_io::open_die;
use nvcim::diff::{Difference, diff_images};
use nvcim::ids::LayerId;
use nvcim::model::Model;
use nvcim::pipeline::{CompileOptions, Compiled, compile_imported};
use nvcim::plan::Plan;
use nvcim::programmed::{ProgrammedLayer, Usage, measure_usage};
use nvcim::time::parse_span;
use serde_json::{Value, json};

use crate::args::{DataOptions, EffectOptions, Global, parse_pack};
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
    /// Correct for use at this time after programming, or for a span: 1y, 1h..1y [default: as --at].
    ///
    /// The die is measured at --at; what happens to it until then is made up for by what the chip's statistics
    /// say. For a span the largest error over it is made as small as can be.
    #[arg(long = "for", value_name = "TIME[..TIME]", value_parser = parse_span)]
    use_s: Option<[f64; 2]>,
    /// How tiles share arrays [default: as the chip file says, else none].
    ///
    /// none, a tile has its array to itself; concurrent, tiles use lines of their own and may run at any time;
    /// dense, tiles use cells of their own and take turns. A base says so itself.
    #[arg(long, value_name = "WAY", value_parser = parse_pack, conflicts_with = "base")]
    pack: Option<Pack>,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    effects: EffectOptions,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let chip = open_chip(&args.chip, terminal)?;
    terminal.warn(&args.effects.warnings(&chip));
    // The file's bytes go here: they are as large as its weights.
    let model = Model::open(&args.model)?.load()?;
    let default = if args.die.is_some() { "full" } else { "none" };
    let plan = Plan::parse(args.correct.as_deref().unwrap_or(default))?;
    let die = args.die.as_deref().map(|path| open_die(path, &chip)).transpose()?;
    let open = |spec| args.data.open_calibration(spec, model.input_shape());
    let calibration = args.calib.as_deref().map(open).transpose()?;
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
        use_s: args.use_s,
        pack: args.pack,
    };
    let compiled = compile_imported(model, &chip, &options)?;
    terminal.warn(&compiled.warnings);
    let compiled = compiled.output;
    write_file(&args.output, &compiled.bytes)?;
    for line in outcomes::list(&compiled.outcomes, &compiled.image.net) {
        terminal.tell(&line);
    }
    let extrapolated = !conditions.check_time(&chip)?.is_empty();
    let made = Made {
        compiled: &compiled,
        usage: measure_usage(&compiled.image.net),
        hash: hex(&nvcim::codec::hash_image(&compiled.bytes)),
        diff: base.as_ref().map(|base| diff_images(base, &compiled.image)),
        seconds: start.elapsed().as_secs_f64(),
        extrapolated,
    };
    terminal.print(&made.to_json(args), || made.to_text(args));
    Ok(ExitCode::SUCCESS)
}

/// What is to be said of a compiled image.
struct Made<'a> {
    compiled: &'a Compiled,
    usage: Usage,
    hash: String,
    diff: Option<Difference>,
    seconds: f64,
    extrapolated: bool,
}

impl Made<'_> {
    /// Share of the used arrays' cells that are used.
    fn utilisation(&self) -> f64 {
        let arrays = &self.compiled.image.chip.arrays;
        let cells = self.usage.arrays * arrays.n_rows * arrays.n_cols;
        self.usage.cells as f64 / cells.max(1) as f64
    }

    /// Tiles of a layer, and their conversions per input vector and pass.
    fn count(&self, layer: LayerId) -> (usize, usize) {
        let tiles = self.compiled.image.net.tiles.iter().filter(|tile| tile.layer == layer);
        tiles.fold((0, 0), |(tiles, all), tile| (tiles + 1, all + tile.readouts.len()))
    }

    fn to_json(&self, args: &Args) -> Value {
        let Compiled { bytes, image, demand, weights_on_stuck_pairs, outcomes, fits: _ } =
            self.compiled;
        let layer = |(id, layer): (LayerId, &ProgrammedLayer)| {
            let (tiles, conversions) = self.count(id);
            json!({
                "name": layer.name, "tiles": tiles, "conversions": conversions,
                "rows": layer.shape.n_rows, "cols": layer.shape.n_cols,
            })
        };
        json!({
            "schema": "nvcim.compile/1",
            "image": args.output,
            "image_hash": self.hash,
            "bytes": bytes.len(),
            "chip": image.chip.name,
            "arrays_used": self.usage.arrays,
            "arrays_needed": demand.arrays_needed,
            "arrays_bound": demand.arrays_bound,
            "cell_utilisation": self.utilisation(),
            "seconds": self.seconds,
            "corrections": image.provenance.corrections,
            "extrapolated": self.extrapolated,
            "weights_on_stuck_pairs": weights_on_stuck_pairs,
            "layers": image.net.layers.iter_enumerated().map(layer).collect::<Vec<_>>(),
            "outcomes": outcomes::to_json(outcomes, &image.net),
            "base": self.diff.as_ref().map(|diff| json!({
                "tiles_moved": diff.tiles_moved,
                "readouts_changed": diff.readouts_changed,
                "cells_changed": diff.cells_changed,
                "arrays_touched": diff.arrays_touched,
            })),
        })
    }

    fn to_text(&self, args: &Args) -> String {
        let Compiled { bytes, image, demand, weights_on_stuck_pairs, outcomes, fits: _ } =
            self.compiled;
        let mut text = String::new();
        for (id, layer) in image.net.layers.iter_enumerated() {
            let (tiles, conversions) = self.count(id);
            let noun = if tiles == 1 { "tile" } else { "tiles" };
            let size = format!("{}x{}", layer.shape.n_rows, layer.shape.n_cols);
            let name = &layer.name;
            text += &format!("{name:<24} {size:>11}  {tiles} {noun}, {conversions} conversions\n");
        }
        text += &format!(
            "\n{} arrays of `{}` (at least {}), {:.1} % of their cells in use\n",
            self.usage.arrays,
            image.chip.name,
            demand.arrays_bound,
            100.0 * self.utilisation(),
        );
        let corrections = image.provenance.corrections.join(", ");
        if !corrections.is_empty() {
            text += &format!(
                "corrected: {corrections} ({weights_on_stuck_pairs} weights with stuck cells)\n"
            );
        }
        if !outcomes.is_empty() {
            text += &format!("\n{}\n", outcomes::summarise(outcomes));
        }
        if let Some(diff) = &self.diff {
            text += &format!(
                "{} cells on {} arrays and {} readouts differ from the base\n",
                diff.cells_changed, diff.arrays_touched, diff.readouts_changed
            );
        }
        text + &format!(
            "{} ({} bytes, {}) in {:.2} s",
            args.output.display(),
            bytes.len(),
            &self.hash[..16],
            self.seconds
        )
    }
}
