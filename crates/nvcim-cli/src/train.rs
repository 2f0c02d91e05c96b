//! `nvcim train MODEL`: hardware-aware fine-tuning, an ONNX file in and the same file with other weights out.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::ProgressBar;
use nvcim::batches::Augment;
use nvcim::conditions::Conditions;
use nvcim::describe::Chip;
use nvcim::diag;
use nvcim::die_io::open_die;
use nvcim::model::Model;
use nvcim::optimizer::{Descent, Method};
use nvcim::simulate::ideal_conditions;
use nvcim::train::{Audience, Epoch, TrainOptions, TrainTask, TrainedModel, train_model};
use serde_json::json;

use crate::args::{DataOptions, EffectOptions, Global, parse_count};
use crate::files::{open_chip, read_file, write_file};
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ONNX file.
    model: PathBuf,
    /// Preset's name or TOML file.
    #[arg(long, default_value = "ideal")]
    chip: String,
    /// Training data: `digits:train`, a folder of IDX files, FOLDER:PART, or an `.npz`.
    #[arg(long)]
    data: String,
    /// The ONNX file to write.
    #[arg(short, long, value_name = "MODEL2")]
    output: PathBuf,
    /// Train for this die: its stuck cells, gains and offsets.
    #[arg(long)]
    die: Option<PathBuf>,
    /// Train without any effect, converters included: the reference of a training.
    #[arg(long, conflicts_with_all = ["effects", "without", "at", "die", "corrected"])]
    ideal: bool,
    /// Train a network that is going to be corrected on its die.
    #[arg(long)]
    corrected: bool,
    #[command(flatten)]
    effects: EffectOptions,
    #[command(flatten)]
    course: CourseOptions,
    #[command(flatten)]
    lessons: LessonOptions,
    /// Go on from the checkpoint, if there is one of this very training.
    #[arg(long)]
    resume: bool,
    /// Where the training is stored on its way [default: MODEL2.checkpoint].
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    preprocess: DataOptions,
}

/// How long, how fast and how hard.
#[derive(clap::Args, Clone)]
struct CourseOptions {
    /// Passes over the data.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Images of a step.
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_count)]
    batch: usize,
    /// How weights follow their gradients.
    #[arg(long, value_enum, default_value_t = MethodName::Adamw)]
    method: MethodName,
    /// The largest rate.
    #[arg(long, value_name = "R", default_value_t = 1e-3, value_parser = parse_positive)]
    rate: f32,
    /// How much of the step before `sgd` keeps.
    #[arg(long, value_name = "M", default_value_t = 0.9, value_parser = parse_share)]
    momentum: f32,
    /// Decay of weights.
    #[arg(long, value_name = "D", default_value_t = 1e-4, value_parser = parse_share)]
    weight_decay: f32,
    /// The longest gradient; 0 for no limit.
    #[arg(long, value_name = "G", default_value_t = 5.0, value_parser = parse_size)]
    clip_gradient: f32,
    /// The largest weight of a layer in standard deviations of what it starts with; 0 for no limit.
    #[arg(long, value_name = "K", default_value_t = 3.0, value_parser = parse_size)]
    clip_weights: f32,
    /// How strong the effects are, in what the chip file says.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_size)]
    strength: f32,
    /// Share of the steps over which the effects come up from nothing.
    #[arg(long, value_name = "P", default_value_t = 0.2, value_parser = parse_share)]
    ramp: f32,
    /// Share of weights that each step takes as 0.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    drop_connect: f32,
    /// Start from random weights.
    #[arg(long)]
    from_scratch: bool,
    /// Epochs without a better validation after which training stops.
    #[arg(long, value_name = "N")]
    patience: Option<u32>,
    /// Dies that held-out images are run on after each epoch.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    dies: u64,
}

/// What is learnt from.
#[derive(clap::Args, Clone)]
struct LessonOptions {
    /// Images at the end of the data that are held out for validation [default: a tenth, at most 1000; 0 where
    /// there are no labels].
    #[arg(long, value_name = "N")]
    hold_out: Option<usize>,
    /// Share of the loss that is distance from the untrained network; 1 needs no labels.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    distill: f32,
    /// What scores are divided by before they are compared with the untrained network's.
    #[arg(long, value_name = "T", default_value_t = 2.0, value_parser = parse_positive)]
    temperature: f32,
    /// As many images of every class in each step.
    #[arg(long)]
    balanced: bool,
    /// Move images by up to N pixels along each axis.
    #[arg(long = "augment-shift", value_name = "N", default_value_t = 0)]
    augment_shift: usize,
    /// Mirror every other image left to right.
    #[arg(long = "augment-flip")]
    augment_flip: bool,
}

/// Names of the optimisers.
#[derive(ValueEnum, Clone, Copy)]
enum MethodName {
    /// Adam with decoupled weight decay.
    Adamw,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// Steps from one look at the converters' ranges, and one checkpoint, to the next.
const LOOK_UP_EVERY: u64 = 100;
/// Steps after which what wires take is worked out anew.
const WIRES_EVERY: u64 = 50;
/// Time between lines of progress where no bar is drawn.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let chip = open_chip(&args.chip, terminal)?;
    terminal.warn(&args.effects.warnings(&chip));
    let model = Model::open(&args.model)?;
    let data = args.preprocess.open(&args.data)?;
    let die = args.die.as_deref().map(|path| open_die(path, &chip)).transpose()?;
    let conditions =
        if args.ideal { ideal_conditions() } else { args.effects.conditions(global.seed) };
    let extrapolated = args.effects.check_time(conditions, &chip, terminal)?;
    let labelled = data.labels(0..0).is_some();
    let held_out = args
        .lessons
        .hold_out
        .unwrap_or_else(|| if labelled { (data.len() / 10).min(1000) } else { 0 });
    let checkpoint = args.checkpoint.clone().unwrap_or_else(|| beside(&args.output));
    let resume = match args.resume && checkpoint.exists() {
        true => Some(read_file(&checkpoint)?),
        false => None,
    };
    let task = TrainTask {
        conditions,
        die: die.as_ref(),
        corrected: args.corrected,
        held_out,
        dies: args.course.dies,
        options: args.options(global.seed),
        resume: resume.as_deref(),
    };
    let n_images = data.len().saturating_sub(held_out);
    let total = n_images * args.course.epochs as usize;
    let mut watch = Watch::new(terminal, checkpoint.clone(), total, args.course.epochs);
    let trained = train_model(&model, &chip, &data, &task, &mut watch);
    watch.bar.finish_and_clear();
    let (seconds, seen) = (watch.start.elapsed().as_secs_f64(), watch.seen);
    let trained = trained?;
    terminal.warn(&trained.warnings);
    write_file(&args.output, &trained.output.bytes)?;
    // Its work is done; one that cannot be removed harms nobody.
    let _ = fs::remove_file(&checkpoint);
    let speed = seen as f64 / seconds;
    print_result(
        args,
        &chip,
        &trained.output,
        (conditions, extrapolated),
        (seconds, speed),
        terminal,
    );
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn options(&self, seed: u64) -> TrainOptions {
        let CourseOptions {
            epochs,
            batch,
            method,
            rate,
            momentum,
            weight_decay,
            clip_gradient,
            clip_weights,
            strength,
            ramp,
            drop_connect,
            from_scratch,
            patience,
            dies: _,
        } = self.course;
        let LessonOptions {
            hold_out: _,
            distill,
            temperature,
            balanced,
            augment_shift,
            augment_flip,
        } = self.lessons;
        let method = match method {
            MethodName::Adamw => Method::AdamW,
            MethodName::Sgd => Method::Sgd { momentum },
        };
        TrainOptions {
            epochs,
            batch,
            descent: Descent {
                method,
                rate,
                warm_up: 0.05,
                last_rate: 0.01,
                weight_decay,
                gradient_limit: (clip_gradient > 0.0).then_some(clip_gradient),
            },
            strength: strength.into(),
            ramp: ramp.into(),
            drop_connect: drop_connect.into(),
            clip_sd: (clip_weights > 0.0).then_some(clip_weights.into()),
            from_scratch,
            distill,
            temperature,
            balanced,
            augment: Augment { shift: augment_shift, flip: augment_flip },
            look_up_every: LOOK_UP_EVERY,
            wires_every: WIRES_EVERY,
            patience,
            seed,
        }
    }
}

/// Where a training is stored that is to make `output`.
fn beside(output: &Path) -> PathBuf {
    let mut name: OsString = output.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

fn parse_positive(text: &str) -> Result<f32, String> {
    parse_size(text).ok().filter(|it| *it > 0.0).ok_or_else(|| "must be above 0".to_owned())
}

fn parse_size(text: &str) -> Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|it| it.is_finite() && *it >= 0.0);
    value.ok_or_else(|| "must be 0 or more".to_owned())
}

fn parse_share(text: &str) -> Result<f32, String> {
    parse_size(text).ok().filter(|it| *it <= 1.0).ok_or_else(|| "must be 0 to 1".to_owned())
}

/// Watches a training: a bar or lines, and the checkpoint.
struct Watch<'a> {
    terminal: &'a Terminal,
    checkpoint: PathBuf,
    bar: ProgressBar,
    start: Instant,
    last_line: Instant,
    total: usize,
    n_epochs: u32,
    /// Images of steps that this run has done.
    seen: usize,
}

impl<'a> Watch<'a> {
    fn new(terminal: &'a Terminal, checkpoint: PathBuf, total: usize, n_epochs: u32) -> Self {
        let bar = terminal.progress("training", total);
        let now = Instant::now();
        Self { terminal, checkpoint, bar, start: now, last_line: now, total, n_epochs, seen: 0 }
    }
}

impl Audience for Watch<'_> {
    fn store(&mut self, checkpoint: &[u8]) -> diag::Result<()> {
        write_file(&self.checkpoint, checkpoint).map_err(Failure::into_problems)
    }

    fn hear(&mut self, images: usize, epoch: usize, loss: f64, accuracy: f64) {
        self.seen += images;
        let done = self.total.min(self.seen.max(epoch * self.total / self.n_epochs as usize));
        self.bar.set_position(done as u64);
        let number = epoch + 1;
        let scores = format!("epoch {number}: loss {loss:.4}, {accuracy:.2} %");
        self.bar.set_message(scores.clone());
        if self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            let spent = self.start.elapsed().as_secs_f64();
            let left = spent / self.seen as f64 * (self.total - done) as f64;
            let n_epochs = self.n_epochs;
            self.terminal.tell_progress(&format!(
                "epoch {number} of {n_epochs}: loss {loss:.4}, {accuracy:.2} % right, {done} of {} images in \
                 {spent:.0} s, about {left:.0} s left",
                self.total,
            ));
        }
    }

    fn hear_epoch(&mut self, number: usize, epoch: &Epoch) {
        self.bar.suspend(|| self.terminal.tell(&describe_epoch(number, epoch)));
    }
}

fn describe_epoch(number: usize, epoch: &Epoch) -> String {
    let Epoch { loss, accuracy, validation } = epoch;
    let number = number + 1;
    let mut text = format!("epoch {number:>3}  loss {loss:>8.4}  right {accuracy:>6.2} %");
    if let Some(validation) = validation {
        text += &format!("  held out {validation:>6.2} %");
    }
    text
}

fn print_result(
    args: &Args,
    chip: &Chip,
    trained: &TrainedModel,
    (conditions, extrapolated): (Conditions, bool),
    (seconds, speed): (f64, f64),
    terminal: &Terminal,
) {
    let epochs: Vec<_> = trained
        .epochs
        .iter()
        .map(|epoch| {
            let Epoch { loss, accuracy, validation } = epoch;
            json!({"loss": loss, "accuracy": accuracy, "validation": validation})
        })
        .collect();
    let best = trained.epochs.iter().filter_map(|epoch| epoch.validation).reduce(f64::max);
    let document = json!({
        "schema": "nvcim.train/1",
        "model": args.model,
        "output": args.output,
        "chip": chip.name,
        "at_s": conditions.at_s,
        "images": trained.images,
        "epochs": epochs,
        "best_validation": best,
        "images_per_second": speed,
        "seconds": seconds,
        "extrapolated": extrapolated,
    });
    terminal.print(&document, || {
        let mut text = String::new();
        for (number, epoch) in trained.epochs.iter().enumerate() {
            text += &describe_epoch(number, epoch);
            text.push('\n');
        }
        if extrapolated {
            text += "extrapolated beyond the data of the devices\n";
        }
        let output = args.output.display();
        text + &format!("\n{output} in {seconds:.1} s, {speed:.0} images per second")
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{beside, parse_positive, parse_share};

    #[test]
    fn checkpoints_lie_beside_their_output() {
        assert_eq!(beside(Path::new("a/b.onnx")), Path::new("a/b.onnx.checkpoint"));
    }

    #[test]
    fn shares_and_rates_keep_to_their_limits() {
        assert_eq!(parse_share("1"), Ok(1.0));
        assert_eq!(parse_positive("1e-3"), Ok(1e-3));
        for wrong in ["1.5", "-0.1", "nan", "x"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
        assert!(parse_positive("0").is_err());
    }
}
