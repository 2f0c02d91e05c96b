//! Prints the recovery table: what each level of corrections brings back, case by case, network by network.
//!
//! ```text
//! cargo bench --workspace --bench recovery -- [--cases a,b] [--networks x,y] [--methods naive,lab,full]
//!     [--dies 10] [--images N] [--jobs N] [--results FILE] [--tag TEXT]
//! ```
//!
//! The whole table takes hours; `--results` lets a run that was stopped go on. `docs/recovery.md` says how
//! to read it. Needs the shared data folder (`NVCIM_SHARED`, or `../shared` beside the repository).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table and the way to it")]

use std::process::ExitCode;
use std::time::Instant;

use nvcim::diag::{Diagnostic, Result};
use nvcim_tests::recovery::cases::CASES;
use nvcim_tests::recovery::networks::NETWORKS;
use nvcim_tests::recovery::results::Results;
use nvcim_tests::recovery::study::{Method, Study, stamp};
use nvcim_tests::recovery::table::HEADER;
use nvcim_tests::{find_shared, repository};

const METHODS: &str = "naive,closest,lab,rows,full";

fn main() -> ExitCode {
    let Err(problems) = run() else { return ExitCode::SUCCESS };
    problems.iter().for_each(|problem| eprintln!("error: {problem}"));
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    let start = Instant::now();
    let (study, results) = parse_arguments()?;
    println!("{HEADER}");
    study.run(results, &mut |row| println!("{row}"), &|line| eprintln!("{}", stamp(start, line)))
}

fn parse_arguments() -> Result<(Study, Results)> {
    let shared = find_shared().map_err(|folder| {
        Diagnostic::bad_input(folder.display().to_string(), "holds no `MANIFEST.toml`")
            .hint("set `NVCIM_SHARED` to the folder with third-party networks and data")
    })?;
    let mut study = Study {
        cases: CASES.to_vec(),
        networks: NETWORKS.to_vec(),
        methods: Vec::new(),
        dies: 10,
        images: None,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        tag: String::new(),
        shared,
    };
    let mut results = Results::default();
    let mut methods = METHODS.to_owned();
    // Cargo adds `--bench` to what it is given.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(option) = arguments.next() {
        let value =
            arguments.next().ok_or_else(|| Diagnostic::bad_input(&option, "lacks a value"))?;
        match option.as_str() {
            "--cases" => study.cases = select(&option, &value, &CASES, |case| case.name)?,
            "--networks" => study.networks = select(&option, &value, &NETWORKS, |it| it.name)?,
            "--methods" => methods = value,
            "--dies" => study.dies = parse_count(&option, &value)? as u64,
            "--images" => study.images = Some(parse_count(&option, &value)?),
            "--jobs" => study.jobs = parse_count(&option, &value)?,
            "--tag" => study.tag = value,
            "--results" => {
                let path = repository().join(&value);
                results = Results::open(&path)?;
            }
            _ => {
                let hint = "use --cases, --networks, --methods, --dies, --images, --jobs, --tag or --results";
                return Err(Diagnostic::bad_input(option, "is no option").hint(hint).into());
            }
        }
    }
    study.methods = parse_methods(&methods)?;
    Ok((study, results))
}

/// Methods in the order given, naive before them: every figure is about what it loses.
fn parse_methods(text: &str) -> Result<Vec<Method>> {
    let others = text.split(',').filter(|name| *name != Method::NAIVE);
    [Method::NAIVE].into_iter().chain(others).map(Method::parse).collect()
}

/// The entries that a list names, in the order of the table.
fn select<T: Copy>(
    option: &str,
    list: &str,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<T>> {
    let names: Vec<_> = all.iter().map(&name).collect();
    let unknown = list.split(',').filter(|entry| !names.contains(entry)).map(|entry| {
        let message = format!("knows no `{entry}`");
        Diagnostic::bad_input(option, message).hint(format!("choose from {}", names.join(", ")))
    });
    nvcim::diag::fail_if_any(unknown.collect())?;
    let asked: Vec<_> = list.split(',').collect();
    Ok(all.iter().copied().filter(|entry| asked.contains(&name(entry))).collect())
}

fn parse_count(option: &str, value: &str) -> Result<usize> {
    let message = || format!("`{value}` is no whole number above 0");
    value
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| Diagnostic::bad_input(option, message()).into())
}
