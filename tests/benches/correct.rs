//! How long one die takes to correct in full, on one core, and how much memory that needs.
//!
//! `cargo bench --workspace --bench correct` prints CPU seconds from model to image, the fastest of a few
//! turns, with the peak of the process's memory so far (on Linux). The chip is the preset `stress-a` a year
//! after programming. Needs the shared data folder (`NVCIM_SHARED`, or `../shared` beside the repository).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

use std::process::ExitCode;

use cpu_time::ThreadTime;
use nvcim::conditions::Conditions;
use nvcim::diag::Result;
use nvcim::effects::EffectSet;
use nvcim::pipeline::{CompileOptions, compile_model};
use nvcim::plan::Plan;
use nvcim::presets::find_preset;
use nvcim::simulate::{DieChoice, resolve_die};
use nvcim::study::work::on_one_core;
use nvcim_tests::find_shared;
use nvcim_tests::recovery::networks::NETWORKS;

/// Networks in the order of their size, most CPU seconds that a die may take, and turns.
const DIES: [(&str, f64, usize); 2] =
    [("lenet5-ccoltong", 1.0, 5), ("cifar10-resnet20-aka", 20.0, 2)];

/// Most memory, in MB.
const MEMORY_MB: f64 = 1000.0;

/// Seconds of a Julian year.
const YEAR_S: f64 = 3.155_76e7;

fn main() -> ExitCode {
    let Err(problems) = run() else { return ExitCode::SUCCESS };
    problems.iter().for_each(|problem| eprintln!("error: {problem}"));
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    let Ok(shared) = find_shared() else {
        println!("no shared data: nothing is measured");
        return Ok(());
    };
    println!("| network | full correction, CPU s per die | limit | peak memory, MB | limit |");
    println!("|---|---|---|---|---|");
    for (name, limit_s, turns) in DIES {
        let network = NETWORKS.iter().find(|it| it.name == name).expect("the list has both");
        // Test images play no part here.
        let opened = network.open(&shared, 1)?;
        let options = CompileOptions {
            calibration: Some(&opened.calibration),
            conditions: Conditions {
                effects: EffectSet::ALL,
                at_s: YEAR_S,
                extrapolate: false,
                run_seed: 0,
            },
            ..CompileOptions::default()
        };
        let chip = find_preset("stress-a")?;
        let compile = |options: &CompileOptions<'_>| -> Result<_> {
            on_one_core(|| -> Result<_> {
                let start = ThreadTime::now();
                let compiled = compile_model(&opened.model, &chip, options)?.output;
                Ok((compiled, start.elapsed().as_secs_f64()))
            })?
        };
        let die = resolve_die(&compile(&options)?.0.image, DieChoice::Seed(0));
        let plan = Plan::parse("full")?;
        let options = CompileOptions { die: Some(&die), plan, ..options };
        let times: Result<Vec<f64>> = (0..turns).map(|_| Ok(compile(&options)?.1)).collect();
        let fastest = times?.into_iter().fold(f64::INFINITY, f64::min);
        let peak_mb = peak_memory_mb();
        println!(
            "| {name} | {fastest:.3} | {} | {} | {} |",
            judge(limit_s, fastest, "s"),
            peak_mb.map_or("unknown".to_owned(), |peak| format!("{peak:.0}")),
            peak_mb.map_or("-".to_owned(), |peak| judge(MEMORY_MB, peak, "MB")),
        );
    }
    Ok(())
}

fn judge(limit: f64, value: f64, unit: &str) -> String {
    format!("< {limit} {unit}: {}", if value < limit { "met" } else { "NOT met" })
}

/// The most memory that this process has held so far; `None` where the system does not say.
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
