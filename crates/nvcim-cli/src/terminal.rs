//! What the user sees: results, warnings, errors with remedies, progress; and the exit codes.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use miette::{GraphicalReportHandler, GraphicalTheme};
use nvcim::diag::{Diagnostic, Kind};
use serde_json::{Value, json};

use crate::args::Global;

/// Ran, but a check or threshold failed.
pub(crate) const CHECK_FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNSUPPORTED: u8 = 3;
const BAD_INPUT: u8 = 4;
const INFEASIBLE: u8 = 6;
const INTERNAL: u8 = 70;
/// Exit code after an interrupt.
pub(crate) const INTERRUPTED: i32 = 130;

/// Why a command ended early: an exit code and every problem.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    problems: Vec<Diagnostic>,
}

impl Failure {
    /// A wrong use of the command line.
    pub(crate) fn usage(at: &str, message: &str) -> Self {
        Self { code: USAGE, problems: vec![Diagnostic::bad_input(at, message)] }
    }

    /// A wrong use of the command line, with its remedy.
    pub(crate) fn usage_hint(at: &str, message: &str, hint: &str) -> Self {
        Self { code: USAGE, problems: vec![Diagnostic::bad_input(at, message).hint(hint)] }
    }

    /// The problems, for code below the command line to pass on.
    pub(crate) fn into_problems(self) -> Vec<Diagnostic> {
        self.problems
    }

    /// A panic, which is a defect.
    pub(crate) fn from_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let problem = Diagnostic::internal("nvcim", format!("internal error: {text}"))
            .hint("this is a defect of nvcim: please report it with the command and its files");
        Self { code: INTERNAL, problems: vec![problem] }
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(problems: Vec<Diagnostic>) -> Self {
        // The gravest kind decides: a defect before a broken file before what is not supported.
        let code = problems
            .iter()
            .map(|problem| match problem.kind {
                Kind::Unsupported => UNSUPPORTED,
                Kind::BadInput => BAD_INPUT,
                Kind::Infeasible => INFEASIBLE,
                Kind::Internal => INTERNAL,
            })
            .max()
            .unwrap_or(INTERNAL);
        Self { code, problems }
    }
}

impl From<Diagnostic> for Failure {
    fn from(problem: Diagnostic) -> Self {
        vec![problem].into()
    }
}

/// Where results and messages go.
pub(crate) struct Terminal {
    json: bool,
    quiet: bool,
    verbose: bool,
    progress: bool,
    progress_lines: bool,
}

impl Terminal {
    pub(crate) fn new(global: &Global) -> Self {
        let Global { json, quiet, verbose, no_progress, seed: _, threads: _ } = *global;
        let wanted = !no_progress && !quiet;
        let drawn = io::stderr().is_terminal();
        Self { json, quiet, verbose, progress: wanted && drawn, progress_lines: wanted && !drawn }
    }

    /// Prints a result: one JSON document, or the text form.
    pub(crate) fn print(&self, document: &Value, text: impl FnOnce() -> String) {
        let text = if self.json { format!("{document}") } else { text() };
        print_stdout(&text);
    }

    /// Prints warnings on stderr.
    pub(crate) fn warn(&self, warnings: &[Diagnostic]) {
        if !self.quiet {
            for warning in warnings {
                print_stderr(&render(warning, miette::Severity::Warning));
            }
        }
    }

    /// Prints a line on stderr when asked for more.
    pub(crate) fn tell(&self, line: &str) {
        if self.verbose {
            print_stderr(&format!("{line}\n"));
        }
    }

    /// Prints a line of progress on stderr where no bar is drawn, unless that is unwanted too.
    pub(crate) fn tell_progress(&self, line: &str) {
        if self.progress_lines {
            print_stderr(&format!("{line}\n"));
        }
    }

    /// A progress bar over `total` images, drawn only on a terminal.
    pub(crate) fn progress(&self, what: &'static str, total: usize) -> ProgressBar {
        self.progress_of(what, "images", total)
    }

    /// A progress bar over `total` of something, drawn only on a terminal.
    pub(crate) fn progress_of(
        &self,
        what: &'static str,
        unit: &'static str,
        total: usize,
    ) -> ProgressBar {
        let bar = ProgressBar::new(total as u64);
        if !self.progress {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return bar;
        }
        let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
        let style = ProgressStyle::with_template(&template).expect("the template is fixed");
        bar.with_style(style).with_message(what)
    }

    /// Prints every problem, as JSON on stdout if asked, and gives the exit code.
    pub(crate) fn report_failure(&self, failure: &Failure) -> ExitCode {
        report(self.json, failure)
    }
}

/// Prints what is wrong with the command line; help and version end well.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print_stdout(error.render().to_string().trim_end_matches('\n'));
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return report(true, &Failure::usage_hint("command line", message, "see `nvcim --help`"));
    }
    let _ = error.print();
    ExitCode::from(USAGE)
}

/// Keeps panics from printing: they are reported as errors, and those of libraries are caught.
pub(crate) fn quieten_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn report(json: bool, failure: &Failure) -> ExitCode {
    for problem in &failure.problems {
        print_stderr(&render(problem, miette::Severity::Error));
    }
    if json {
        let errors: Vec<_> = failure.problems.iter().map(to_json).collect();
        let document = json!({"schema": "nvcim.error/1", "code": failure.code, "errors": errors});
        print_stdout(&document.to_string());
    }
    ExitCode::from(failure.code)
}

/// A diagnostic as documents carry it.
pub(crate) fn to_json(problem: &Diagnostic) -> Value {
    json!({"at": problem.at, "message": problem.message, "hints": problem.hints})
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn render(problem: &Diagnostic, severity: miette::Severity) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !io::stderr().is_terminal();
    let theme = if plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
    let mut text = String::new();
    let rendered = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .render_report(&mut text, &Shown { problem, severity });
    if rendered.is_ok() { text } else { format!("{problem}\n") }
}

/// A diagnostic in the form that the report handler draws.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Diagnostic,
    severity: miette::Severity,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.at, self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hints = &self.problem.hints;
        (!hints.is_empty()).then(|| Box::new(hints.join("\n")) as Box<dyn fmt::Display>)
    }
}

/// A closed pipe is no error of ours: `nvcim ... | head` must end quietly.
fn print_stdout(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn print_stderr(text: &str) {
    let _ = write!(io::stderr().lock(), "{text}");
}
