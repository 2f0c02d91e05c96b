//! `nvcim export IMAGE --to FORMAT -o DIR`: conductances and mapping for other tools.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::diag::Diagnostic;
use nvcim::die_io::open_die;
use nvcim::export::{Format, OnDie, export_image};
use nvcim::layout::Image;
use nvcim::record::DieRecord;
use nvcim::simulate::{DieChoice, resolve_die};
use serde_json::json;

use crate::args::{EffectOptions, Global};
use crate::files::{open_image, write_file};
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image.
    image: PathBuf,
    /// npz, csv, mem, spice or onnx.
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    to: Format,
    /// Folder for the files; made if missing.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Export the cells of this die as they are at the time of use.
    #[arg(long, conflicts_with = "die_seed")]
    die: Option<PathBuf>,
    /// Export the cells of the die drawn from this seed.
    #[arg(long, value_name = "N")]
    die_seed: Option<u64>,
    #[command(flatten)]
    effects: EffectOptions,
}

fn parse_format(text: &str) -> Result<Format, String> {
    let known = || Format::ALL.map(Format::name).join(", ");
    Format::find(text).ok_or_else(|| format!("`{text}` is no format; known: {}", known()))
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let image = open_image(&args.image, None, false, terminal)?;
    let record = choose_die(args, &image)?;
    if record.is_none() && args.effects.are_given() {
        let message = "say what a die does, and no die is given";
        let hint = "add `--die DIE` or `--die-seed N`, or leave them out for the targets";
        return Err(Failure::usage_hint("--effects, --without, --at", message, hint));
    }
    terminal.warn(&args.effects.warnings(&image.chip));
    let conditions = args.effects.conditions(global.seed);
    let extrapolated = args.effects.check_time(conditions, &image.chip, terminal)?;
    let die = record.as_ref().map(|record| OnDie { record, conditions });

    let mut files = Vec::new();
    export_image(&image, die, args.to, &mut |name, bytes| {
        if files.is_empty() {
            fs::create_dir_all(&args.output).map_err(|error| {
                Diagnostic::bad_input(args.output.display().to_string(), error.to_string())
                    .hint("give a folder that can be made or written to")
            })?;
        }
        let path = args.output.join(name);
        write_file(&path, &bytes).map_err(Failure::into_problems)?;
        files.push((path, bytes.len()));
        Ok(())
    })?;
    let document = json!({
        "schema": "nvcim.export/1",
        "format": args.to.name(),
        "die": record.map(|record| record.name),
        "at_seconds": die_time(args, conditions.at_s),
        "extrapolated": extrapolated,
        "files": files.iter().map(|(path, bytes)| json!({"file": path, "bytes": bytes}))
            .collect::<Vec<_>>(),
    });
    terminal.print(&document, || {
        let line = |(path, bytes): &(PathBuf, usize)| format!("{} ({bytes} bytes)", path.display());
        files.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The time of use, where there is a die to be used.
fn die_time(args: &Args, at_s: f64) -> Option<f64> {
    (args.die.is_some() || args.die_seed.is_some()).then_some(at_s)
}

fn choose_die(args: &Args, image: &Image) -> Result<Option<DieRecord>, Failure> {
    match (&args.die, args.die_seed) {
        (Some(path), _) => Ok(Some(open_die(path, &image.chip)?)),
        (None, Some(seed)) => Ok(Some(resolve_die(image, DieChoice::Seed(seed)))),
        (None, None) => Ok(None),
    }
}
