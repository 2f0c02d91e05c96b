//! Other programs agree: a NumPy replay reproduces every ADC code, ngspice the currents of a tile.
//!
//! `tests/replay/replay.py` shares no code with the toolchain. It needs Python 3.11 with NumPy: the
//! interpreter that `NVCIM_PYTHON` names, or else `python3`. Where it, ngspice or the shared networks are
//! missing, their tests count as ignored, and a line on stderr says so.

mod chips;
mod replays;
mod spice;

use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use nvcim::diag::Diagnostic;
use nvcim_tests::find_shared;

/// What a test needs besides the toolchain, and why it is missing here.
type Need = Result<(), String>;

/// Whether a program runs with these arguments.
fn find_program(name: &str, arguments: &[&str], hint: &str) -> Need {
    match Command::new(name).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().last().unwrap_or("says nothing");
            Err(format!("`{name}`: {line}\n  hint: {hint}"))
        }
        Err(error) => Err(format!("`{name}`: {error}\n  hint: {hint}")),
    }
}

fn fail(problems: Vec<Diagnostic>) -> libtest_mimic::Failed {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").into()
}

#[expect(clippy::print_stderr, reason = "figures and skipped tests must be seen")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// The trials, ignored where something that they need is missing.
fn unless_missing(what: &str, trials: Vec<Trial>, needs: &[Need]) -> Vec<Trial> {
    let missing: Vec<&String> = needs.iter().filter_map(|need| need.as_ref().err()).collect();
    for reason in &missing {
        say(&format!("\nSKIPPED: {} tests {what} are skipped: {reason}\n", trials.len()));
    }
    trials.into_iter().map(|trial| trial.with_ignored_flag(!missing.is_empty())).collect()
}

fn main() {
    let arguments = Arguments::from_args();
    let modern = "import sys, numpy; assert sys.version_info >= (3, 11), 'Python 3.11 is needed'";
    let hint = "name a Python 3.11 with NumPy in `NVCIM_PYTHON`";
    let numpy = find_program(&replays::python(), &["-c", modern], hint);
    let ngspice = find_program("ngspice", &["--version"], "install the package `ngspice`");
    let (shared, there) = match find_shared() {
        Ok(folder) => (folder, Ok(())),
        Err(folder) => {
            let hint = "set `NVCIM_SHARED` to the folder that holds it";
            let reason = format!("no `MANIFEST.toml` in `{}`\n  hint: {hint}", folder.display());
            (folder, Err(reason))
        }
    };
    let needs = [numpy.clone(), there];
    let trials = [
        unless_missing("of replays", replays::bundled_trials(), &[numpy]),
        unless_missing("of replays on shared data", replays::shared_trials(&shared), &needs),
        unless_missing("of netlists", spice::trials(), &[ngspice]),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
