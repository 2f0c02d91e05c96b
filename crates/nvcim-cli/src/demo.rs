//! `nvcim demo`: the bundled LeNet on the NOR-flash preset, with and without correction.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::demo;
use nvcim::diag::Diagnostic;
use serde_json::json;

use crate::args::Global;
use crate::files::write_file;
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for the image and the report; made if missing.
    #[arg(short, long, value_name = "DIR", default_value = "nvcim-demo")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let bar = terminal.progress("simulating", demo::count_images()?);
    let demo = demo::run_demo(global.seed, &|images| bar.inc(images as u64))?;
    bar.finish_and_clear();
    terminal.warn(&demo.outcome.warnings);

    fs::create_dir_all(&args.output).map_err(|error| {
        Diagnostic::bad_input(args.output.display().to_string(), error.to_string())
    })?;
    let image = args.output.join("lenet-digits.nvcim");
    let report = args.output.join("report.html");
    write_file(&image, &demo.outcome.corrected.bytes)?;
    write_file(&report, demo.report.as_bytes())?;

    let outcome = &demo.outcome;
    let mean = |pick: fn(&nvcim::campaign::DieOutcome) -> f64| {
        outcome.dies.iter().map(pick).sum::<f64>() / outcome.dies.len() as f64
    };
    let (naive, corrected) = (mean(|die| die.naive), mean(|die| die.corrected));
    let document = json!({
        "schema": "nvcim.demo/1",
        "model": demo::MODEL.0,
        "chip": demo::CHIP,
        "images": demo.images,
        "float_accuracy": outcome.float_accuracy,
        "ideal_accuracy": outcome.ideal_accuracy,
        "naive_accuracy": naive,
        "corrected_accuracy": corrected,
        "recovery": outcome.recovery.map(|recovery| recovery.percent),
        "recovery_ci95": outcome.recovery.map(|recovery| recovery.ci95),
        "dies": outcome.dies.len(),
        "per_die": outcome.dies.iter().map(|die| json!({
            "seed": die.seed, "naive": die.naive, "corrected": die.corrected,
        })).collect::<Vec<_>>(),
        "image": image,
        "report": report,
    });
    terminal.print(&document, || {
        let mut text = format!(
            "{} on {}: {} dies, {} test images\n\n",
            demo::MODEL.0,
            demo::CHIP,
            outcome.dies.len(),
            demo.images,
        );
        let mut line = |name: &str, value: f64, note: &str| {
            text += &format!("  {name:<22}{value:>7.2} %  {note}\n");
        };
        line("float", outcome.float_accuracy, "the ONNX file, by tract");
        line("ideal arrays", outcome.ideal_accuracy, "no effect, converters included");
        line("naive on the dies", naive, "mean over dies, nothing measured");
        line("corrected on the dies", corrected, "mean over dies, each compiled for");
        if let Some(recovery) = outcome.recovery {
            let [low, high] = recovery.ci95;
            let note = format!("of the lost accuracy; 95 % interval {low:.1} to {high:.1}");
            line("recovered", recovery.percent, &note);
        }
        text + &format!("\nimage   {}\nreport  {}", image.display(), report.display())
    });
    Ok(ExitCode::SUCCESS)
}
