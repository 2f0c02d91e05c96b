//! `nvcim report DIR...`: the report of a study from folders of its results.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::files::write_file;
use crate::study::Gathered;
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folders that `nvcim study` has written, of one study.
    #[arg(required = true, value_name = "RESULTS")]
    results: Vec<PathBuf>,
    /// The report, one HTML file.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let report = Gathered::read(&args.results)?.report();
    write_file(&args.output, report.as_bytes())?;
    let document = json!({"schema": "nvcim.report/1", "report": args.output});
    terminal.print(&document, || args.output.display().to_string());
    Ok(ExitCode::SUCCESS)
}
