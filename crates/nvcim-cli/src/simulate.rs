//! `nvcim simulate IMAGE`: an image on simulated dies.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use nvcim::data::Dataset;
use nvcim::describe::Chip;
use nvcim::die_io::open_die;
use nvcim::layout::Image;
use nvcim::record::DieRecord;
use nvcim::recovery::{Summary, summarize};
use nvcim::simulate::{
    DieChoice, DieRun, check_stamp, ideal_conditions, load_image, load_image_as, resolve_die,
    run_data, warn_of_stalled, write_outputs,
};
use nvcim::trace::trace_run;
use serde_json::json;

use crate::args::{DataOptions, EffectOptions, Global};
use crate::files::{open_image, write_file};
use crate::terminal::{CHECK_FAILED, Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image.
    image: PathBuf,
    /// Test data: `digits`, a folder of IDX files, FOLDER:PART, or an `.npz`.
    #[arg(long)]
    data: String,
    #[command(flatten)]
    chip: ChipOptions,
    /// Run on this die.
    #[arg(long, conflicts_with = "dies")]
    die: Option<PathBuf>,
    /// Run on dies 0 to N - 1 of the chip.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    dies: Option<u64>,
    /// Run without any effect, converters included.
    #[arg(long, conflicts_with_all = ["effects", "without", "at"])]
    ideal: bool,
    #[command(flatten)]
    effects: EffectOptions,
    /// Exit 1 if the mean accuracy is below this many percent.
    #[arg(long, value_name = "ACC")]
    fail_under: Option<f64>,
    /// Write the outputs of every die.
    #[arg(short, long, value_name = "NPZ")]
    output: Option<PathBuf>,
    /// Write every product and conversion of the run on one die, in double precision, for a replay; keep it small with `--limit`.
    #[arg(long, value_name = "NPZ")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    preprocess: DataOptions,
}

/// The chip that an image must have been compiled for.
#[derive(clap::Args, Clone)]
pub(crate) struct ChipOptions {
    /// Preset's name or TOML file; must be the image's own chip.
    #[arg(long)]
    pub(crate) chip: Option<String>,
    /// Run on `--chip` even where the image was compiled for another.
    #[arg(long, requires = "chip")]
    pub(crate) force_chip: bool,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let ChipOptions { chip, force_chip } = &args.chip;
    let image = open_image(&args.image, chip.as_deref(), *force_chip, terminal)?;
    let data = args.preprocess.open(&args.data)?;
    if args.fail_under.is_some() && data.labels(0..0).is_none() {
        return Err(Failure::usage("--fail-under", "needs labels, and the data has none"));
    }
    terminal.warn(&args.effects.warnings(&image.chip));
    let dies = choose_dies(args, &image)?;
    let conditions =
        if args.ideal { ideal_conditions() } else { args.effects.conditions(global.seed) };

    let extrapolated = args.effects.check_time(conditions, &image.chip, terminal)?;

    if let Some(path) = &args.trace {
        let [die] = &dies[..] else {
            let message = format!("records one die, and {} are run", dies.len());
            let hint = "name one with `--die DIE`, or give `--dies 1`";
            return Err(Failure::usage_hint("--trace", &message, hint));
        };
        let machine = load_image_as::<f64>(&image, die, conditions)?;
        write_file(path, &trace_run(&machine, &data)?.to_npz()?)?;
    }
    let bar = terminal.progress("simulating", data.len() * dies.len());
    let mut runs: Vec<(DieRecord, DieRun)> = Vec::new();
    let (mut seconds, mut n_stalled) = (0.0, 0);
    for die in dies {
        let machine = load_image(&image, &die, conditions)?;
        let start = Instant::now();
        let run = run_data(&machine, &data, &|images| bar.inc(images as u64))?;
        seconds += start.elapsed().as_secs_f64();
        n_stalled += machine.n_stalled();
        runs.push((die, run));
    }
    bar.finish_and_clear();
    if let Some(path) = &args.output {
        let outputs: Vec<_> = runs.iter().map(|(_, run)| &run.outputs).collect();
        write_file(path, &write_outputs(&outputs)?)?;
    }
    terminal.warn(warn_of_stalled(n_stalled).as_slice());
    let marks = Marks { seconds, n_stalled, extrapolated };
    print_result(args, &image.chip, &data, &runs, &marks, terminal)
}

fn choose_dies(args: &Args, image: &Image) -> Result<Vec<DieRecord>, Failure> {
    if let Some(path) = &args.die {
        let die = open_die(path, &image.chip)?;
        check_stamp(image, &die)?;
        return Ok(vec![die]);
    }
    if args.ideal && args.dies.is_none() {
        return Ok(vec![resolve_die(image, DieChoice::Perfect)]);
    }
    if let Some(stamp) = &image.provenance.die {
        let message = format!("was compiled for die `{}` and runs on no other", stamp.name);
        let hint = "give its file with `--die`, or `--ideal`";
        let at = args.image.display().to_string();
        return Err(Failure::usage_hint(&at, &message, hint));
    }
    let seeds = 0..args.dies.unwrap_or(1);
    Ok(seeds.map(|seed| resolve_die(image, DieChoice::Seed(seed))).collect())
}

/// What is to be said of all runs together.
struct Marks {
    seconds: f64,
    n_stalled: u64,
    extrapolated: bool,
}

fn print_result(
    args: &Args,
    chip: &Chip,
    data: &Dataset,
    runs: &[(DieRecord, DieRun)],
    marks: &Marks,
    terminal: &Terminal,
) -> Result<ExitCode, Failure> {
    let accuracies: Option<Vec<f64>> = runs.iter().map(|(_, run)| run.accuracy).collect();
    let summary = accuracies.as_deref().and_then(summarize);
    let speed = (data.len() * runs.len()) as f64 / marks.seconds;
    let dies: Vec<_> = runs
        .iter()
        .map(|(die, run)| {
            json!({
                "name": die.name, "seed": die.seed, "accuracy": run.accuracy,
                "clip_fraction": run.clip_fraction,
            })
        })
        .collect();
    let document = json!({
        "schema": "nvcim.simulate/1",
        "chip": chip.name,
        "images": data.len(),
        "accuracy": summary.map(|Summary { mean, std, ci95, min, max }| json!({
            "mean": mean, "std": std, "ci95": ci95, "min": min, "max": max,
        })),
        "dies": dies,
        "images_per_second": speed,
        "stalled_solves": marks.n_stalled,
        "extrapolated": marks.extrapolated,
    });
    terminal.print(&document, || {
        let mut text = String::new();
        for (die, run) in runs {
            let clipped = 100.0 * run.clip_fraction;
            text += &match run.accuracy {
                Some(accuracy) => format!("die {:<10} {accuracy:>7.2} %", die.name),
                None => format!("die {:<10} no labels", die.name),
            };
            text += &format!("  ({clipped:.3} % of conversions clipped)\n");
        }
        match summary {
            Some(Summary { mean, std, ci95: [low, high], min, max }) if runs.len() > 1 => {
                text += &format!(
                    "\naccuracy {mean:.2} % over dies (95 % interval {low:.2} to {high:.2}, standard \
                     deviation {std:.2}, {min:.2} to {max:.2})\n"
                );
            }
            _ => {}
        }
        if marks.extrapolated {
            text += "extrapolated beyond the data of the devices\n";
        }
        text += &format!("{} images per die, ", data.len());
        text + &format!("{speed:.0} images per second")
    });
    let missed = match (args.fail_under, summary) {
        (Some(limit), Some(summary)) => summary.mean < limit,
        _ => false,
    };
    Ok(if missed { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}
