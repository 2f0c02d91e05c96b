//! The command line: one file per sub-command; data on stdout, progress and messages on stderr.

mod args;
mod calibrate;
mod check;
mod chip;
mod chip_show;
mod compile;
mod completions;
mod cost;
mod demo;
mod die;
mod diff;
mod explain;
mod export;
mod files;
mod inspect;
mod outcomes;
mod report;
mod simulate;
mod study;
mod terminal;
mod train;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::terminal::{Failure, Terminal};

/// Puts trained neural networks onto non-volatile compute-in-memory chips.
#[derive(Parser)]
#[command(name = "nvcim", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: args::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile and verify the bundled LeNet on ten NOR-flash dies.
    Demo(demo::Args),
    /// Say of every node of a model where it runs and why, whether the model fits a chip, and what it costs.
    ///
    /// Costs are those of one sample: array activations, word lines driven, conversions and cycles of every
    /// layer, with times and energies where the chip file has `[cost.time]` and `[cost.energy]`, and what
    /// programming takes where it has `[cost.programming]`. Network inputs are taken to lie within -1 and 1,
    /// which can cost a pass more than calibration images would. With `--replicate`, copies of layers are
    /// planned on the arrays that are left: a plan, which no image holds. JSON has them as
    /// `cost.layers[]`, `cost.total` and `replication.{interval_s,interval_cycles,latency_s,latency_cycles,
    /// arrays,layers[]}`.
    Check(check::Args),
    /// Compile a model to a deployment image.
    Compile(compile::Args),
    /// Set ranges, gains and offsets of an image anew, on its die at another time.
    ///
    /// The die is measured as it is at that time, and the corrections after programming are repeated; no cell
    /// is written. An image that was compiled without any gets all that its chip holds.
    Calibrate(calibrate::Args),
    /// Say what a file is: kind, version, hash, contents.
    Inspect(inspect::Args),
    /// Run an image on simulated dies.
    Simulate(simulate::Args),
    /// Compare an image with the float network, layer by layer.
    Verify(verify::Args),
    /// Say what each effect and each layer costs in accuracy.
    ///
    /// Points are percent of right answers, averaged over dies, lost against the naive image without
    /// any effect; without labels an answer is right where it is the float network's. ALONE: lost when
    /// no other effect acts. LEFT OUT: comes back when all effects but this one act. REMAINDER: the
    /// total less the sum of the losses alone. It is negative where effects hide each other, positive
    /// where together they do more harm than one by one. A layer's points are lost when all effects act
    /// on its arrays and none on those of other layers. With `--correct`, every run compiles for its die
    /// anew and measures it with the effects of the run.
    Explain(explain::Args),
    /// Fine-tune a model so that it survives its chip, and write it back as the same ONNX file.
    ///
    /// Every step runs its images on a die of its own, as the chip would compute them: cells with their
    /// programming errors, drift to `--at` and stuck cells, noise, wires, converters. The effects are those of
    /// `compile` and `simulate`, and `--effects` and `--without` choose among them. Held-out images are run on
    /// simulated dies after every epoch, and the best epoch is kept. `--corrected` trains for a network that is
    /// compiled with corrections afterwards, `--die` for one die, `--ideal` without the chip. A training that
    /// was stopped goes on with `--resume`, and then makes the same bytes.
    Train(train::Args),
    /// Measure networks on chips by methods, on many dies, and report what comes back.
    ///
    /// A study file lists networks, chips with their strengths, methods and sweeps; without one the built-in study
    /// is run, of which `--quick` needs nothing but this program. Every result goes to `results.jsonl` in the
    /// output folder at once, under a hash of all that it depends on: a study that was stopped goes on where it
    /// was. `--shard I/N` does one part of N, with a folder of its own; `study merge` puts the parts together.
    /// The folder then holds `study.json`, tables as CSV, and `report.html`.
    Study(study::Args),
    /// Write the report of a study from folders of its results.
    Report(report::Args),
    /// Write an image's conductances and mapping for other tools.
    ///
    /// npz: `tiles.npz`, and `manifest.json`, which holds the digital program too. csv: tables. mem: one
    /// hexadecimal memory image per array. spice: one ngspice netlist per array. onnx: the network that
    /// the conductances compute. With a die, all but mem also say what its cells are at the time of use.
    Export(export::Args),
    /// List, show, validate or begin chip files.
    Chip(chip::Args),
    /// Sample, import or show die files.
    Die(die::Args),
    /// Compare two images: mapping, ranges, cells.
    Diff(diff::Args),
    /// Print a shell's completion script.
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return terminal::report_usage(&error),
    };
    let terminal = Terminal::new(&cli.global);
    terminal::quieten_panics();
    if let Err(failure) = prepare(&cli.global) {
        return terminal.report_failure(&failure);
    }
    // A panic is a defect; it must still end in a clean message and its own exit code.
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run_command(&cli.command, &cli.global, &terminal)
    }));
    match ran {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => terminal.report_failure(&failure),
        Err(panic) => terminal.report_failure(&Failure::from_panic(panic.as_ref())),
    }
}

/// Sets up the thread pool and the answer to an interrupt.
fn prepare(global: &args::Global) -> Result<(), Failure> {
    if let Some(threads) = global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .map_err(|error| Failure::usage("--threads", &error.to_string()))?;
    }
    // Outputs are renamed into place when complete, so that an interrupt leaves nothing half-written.
    ctrlc::set_handler(|| std::process::exit(terminal::INTERRUPTED))
        .map_err(|error| Failure::usage("interrupt handler", &error.to_string()))
}

fn run_command(
    command: &Command,
    global: &args::Global,
    terminal: &Terminal,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo(args) => demo::run(args, global, terminal),
        Command::Check(args) => check::run(args, terminal),
        Command::Compile(args) => compile::run(args, global, terminal),
        Command::Calibrate(args) => calibrate::run(args, global, terminal),
        Command::Inspect(args) => inspect::run(args, terminal),
        Command::Simulate(args) => simulate::run(args, global, terminal),
        Command::Verify(args) => verify::run(args, global, terminal),
        Command::Explain(args) => explain::run(args, global, terminal),
        Command::Train(args) => train::run(args, global, terminal),
        Command::Study(args) => study::run(args, global, terminal),
        Command::Report(args) => report::run(args, terminal),
        Command::Export(args) => export::run(args, global, terminal),
        Command::Chip(args) => chip::run(args, terminal),
        Command::Die(args) => die::run(args, global, terminal),
        Command::Diff(args) => diff::run(args, terminal),
        Command::Completions(args) => {
            completions::run(args, &mut Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    }
}
