//! `nvcim verify IMAGE --model MODEL`: an image against the float network, layer by layer.

use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::die_io::open_die;
use nvcim::model::Model;
use nvcim::simulate::{
    DieChoice, check_stamp, ideal_conditions, load_image, resolve_die, warn_of_stalled,
};
use nvcim::verify::{Verified, verify_image};
use serde_json::json;

use crate::args::{DataOptions, EffectOptions, Global};
use crate::files::open_image;
use crate::simulate::ChipOptions;
use crate::terminal::{CHECK_FAILED, Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image.
    image: PathBuf,
    /// The ONNX file that it was compiled from.
    #[arg(long)]
    model: PathBuf,
    /// Test data: `digits`, a folder of IDX files, FOLDER:PART, or an `.npz`.
    #[arg(long)]
    data: String,
    #[command(flatten)]
    chip: ChipOptions,
    /// Run on this die [default: the die of seed 0, or none for an image without a die].
    #[arg(long)]
    die: Option<PathBuf>,
    /// Run without any effect, converters included.
    #[arg(long, conflicts_with_all = ["effects", "without", "at"])]
    ideal: bool,
    #[command(flatten)]
    effects: EffectOptions,
    /// Exit 1 if a layer, fed with its own inputs, falls below this many decibels.
    #[arg(long, value_name = "DB", allow_hyphen_values = true)]
    min_snr: Option<f64>,
    /// Exit 1 if the accuracy is below this many percent.
    #[arg(long, value_name = "ACC")]
    fail_under: Option<f64>,
    #[command(flatten)]
    preprocess: DataOptions,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let ChipOptions { chip, force_chip } = &args.chip;
    let image = open_image(&args.image, chip.as_deref(), *force_chip, terminal)?;
    let data = args.preprocess.open(&args.data)?;
    if args.fail_under.is_some() && data.labels(0..0).is_none() {
        return Err(Failure::usage("--fail-under", "needs labels, and the data has none"));
    }
    terminal.warn(&args.effects.warnings(&image.chip));
    let model = Model::open(&args.model)?;
    let die = match &args.die {
        Some(path) => {
            let die = open_die(path, &image.chip)?;
            check_stamp(&image, &die)?;
            die
        }
        None if args.ideal => resolve_die(&image, DieChoice::Perfect),
        None if image.provenance.die.is_some() => {
            let at = args.image.display().to_string();
            let message = "was compiled for one die";
            return Err(Failure::usage_hint(&at, message, "give its file with `--die`"));
        }
        None => resolve_die(&image, DieChoice::Seed(0)),
    };
    let conditions =
        if args.ideal { ideal_conditions() } else { args.effects.conditions(global.seed) };
    let extrapolated = args.effects.check_time(conditions, &image.chip, terminal)?;
    let machine = load_image(&image, &die, conditions)?;
    let bar = terminal.progress("verifying", data.len());
    let verified = verify_image(&image, &machine, &model, &data, &|images| bar.inc(images as u64))?;
    bar.finish_and_clear();

    let n_stalled = machine.n_stalled();
    terminal.warn(warn_of_stalled(n_stalled).as_slice());
    let bad = args.min_snr.and_then(|limit| {
        verified.layers.iter().find(|layer| layer.snr_entire_db < limit).map(|it| it.name.clone())
    });
    let marks = Marks { images: data.len(), n_stalled, extrapolated };
    print_result(&verified, bad.as_deref(), &marks, terminal);
    let missed = match (args.fail_under, verified.accuracy) {
        (Some(limit), Some(accuracy)) => accuracy < limit,
        _ => false,
    };
    let failed = missed || bad.is_some();
    Ok(if failed { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}

/// What is to be said of the run as a whole.
struct Marks {
    images: usize,
    n_stalled: u64,
    extrapolated: bool,
}

fn print_result(verified: &Verified, bad: Option<&str>, marks: &Marks, terminal: &Terminal) {
    let images = marks.images;
    let layers: Vec<_> = verified
        .layers
        .iter()
        .map(|layer| {
            json!({
                "name": layer.name,
                "snr_single_db": layer.snr_single_db,
                "snr_entire_db": layer.snr_entire_db,
                "cosine": layer.cosine,
                "clip_fraction": layer.clip_fraction,
            })
        })
        .collect();
    let document = json!({
        "schema": "nvcim.verify/1",
        "images": images,
        "layers": layers,
        "first_bad_layer": bad,
        "agreement": verified.agreement,
        "float_accuracy": verified.float_accuracy,
        "accuracy": verified.accuracy,
        "images_per_second": verified.images_per_second,
        "reference_images_per_second": verified.reference_images_per_second,
        "stalled_solves": marks.n_stalled,
        "extrapolated": marks.extrapolated,
    });
    terminal.print(&document, || {
        let mut text = format!(
            "{:<24} {:>9} {:>9} {:>8} {:>9}\n",
            "layer", "single", "entire", "cosine", "clipped"
        );
        for layer in &verified.layers {
            text += &format!(
                "{:<24} {:>6.1} dB {:>6.1} dB {:>8.4} {:>7.3} %\n",
                layer.name,
                layer.snr_single_db,
                layer.snr_entire_db,
                layer.cosine,
                100.0 * layer.clip_fraction
            );
        }
        text += &format!("\nagreement      {:>7.2} % of {images} images\n", verified.agreement);
        for (name, accuracy) in [("float", verified.float_accuracy), ("image", verified.accuracy)] {
            if let Some(accuracy) = accuracy {
                text += &format!("{name:<14} {accuracy:>7.2} % accuracy\n");
            }
        }
        if marks.extrapolated {
            text += "extrapolated beyond the data of the devices\n";
        }
        if let Some(bad) = bad {
            text += &format!("first layer below the limit: {bad}\n");
        }
        text + &format!(
            "{:.0} images per second per core, float reference {:.0}",
            verified.images_per_second, verified.reference_images_per_second
        )
    });
}
