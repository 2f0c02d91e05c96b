//! `nvcim calibrate IMAGE`: ranges, gains and offsets of an image anew, on its die at another time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nvcim::calibrate::{Calibrated, calibrate_image};
use nvcim::die_io::open_die;
use nvcim::model::Model;
use serde_json::json;

use crate::args::{DataOptions, EffectOptions, Global};
use crate::files::{open_image, write_file};
use crate::outcomes;
use crate::terminal::{Failure, Terminal, hex};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image.
    image: PathBuf,
    /// The die that holds it.
    #[arg(long)]
    die: PathBuf,
    /// Calibration data; the first 256 images are used, never their labels.
    #[arg(long, value_name = "DATA")]
    calib: String,
    /// The ONNX file that the image was compiled from.
    #[arg(long)]
    model: PathBuf,
    /// The image to write.
    #[arg(short, long, value_name = "IMAGE2")]
    output: PathBuf,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    effects: EffectOptions,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let image = open_image(&args.image, None, false, terminal)?;
    terminal.warn(&args.effects.warnings(&image.chip));
    let model = Model::open(&args.model)?;
    let die = open_die(&args.die, &image.chip)?;
    let images = args.data.open_calibration(&args.calib, &model.input_shape()?)?;
    let conditions = args.effects.conditions(global.seed);
    let calibrated = calibrate_image(&image, &model, &die, &images, conditions)?;
    terminal.warn(&calibrated.warnings);
    let calibrated = calibrated.output;
    write_file(&args.output, &calibrated.bytes)?;
    for line in outcomes::list(&calibrated.outcomes, &calibrated.image.net) {
        terminal.tell(&line);
    }
    let extrapolated = !conditions.check_time(&image.chip)?.is_empty();
    print_result(args, &calibrated, (start.elapsed().as_secs_f64(), extrapolated), terminal);
    Ok(ExitCode::SUCCESS)
}

fn print_result(
    args: &Args,
    calibrated: &Calibrated,
    (seconds, extrapolated): (f64, bool),
    terminal: &Terminal,
) {
    let Calibrated { bytes, image, fits, outcomes, readouts_changed } = calibrated;
    let name = |layer| &image.net.layers[layer].name;
    let layers: Vec<_> = fits
        .iter()
        .map(|fit| {
            let (before, after) = (fit.rms_before, fit.rms_after);
            json!({"name": name(fit.layer), "rms_before": before, "rms_after": after})
        })
        .collect();
    let hash = hex(&nvcim::codec::hash_image(bytes));
    let document = json!({
        "schema": "nvcim.calibrate/1",
        "image": args.output,
        "image_hash": hash,
        "bytes": bytes.len(),
        "chip": image.chip.name,
        "at_s": image.provenance.at_s,
        "corrections": image.provenance.corrections,
        "readouts_changed": readouts_changed,
        "extrapolated": extrapolated,
        "seconds": seconds,
        "layers": layers,
        "outcomes": outcomes::to_json(outcomes, &image.net),
    });
    terminal.print(&document, || {
        let mut text = format!("{:<24} {:>11} {:>11}\n", "layer", "rms before", "rms after");
        for fit in fits {
            let (before, after) = (fit.rms_before, fit.rms_after);
            text += &format!("{:<24} {before:>11.4} {after:>11.4}\n", name(fit.layer));
        }
        text += &format!("\n{}\n", outcomes::summarise(outcomes));
        if extrapolated {
            text += "extrapolated beyond the data of the devices\n";
        }
        text + &format!(
            "{} ({} bytes, {}), {readouts_changed} readouts changed in {seconds:.2} s",
            args.output.display(),
            bytes.len(),
            &hash[..16]
        )
    });
}
