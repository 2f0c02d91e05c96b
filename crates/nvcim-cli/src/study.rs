//! `nvcim study STUDY.toml`: networks on chips by methods; `nvcim study merge DIR...` puts parts together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nvcim::diag::Diagnostic;
use nvcim::report::study::write_study;
use nvcim::study::Study;
use nvcim::study::agenda::Agenda;
use nvcim::study::document::{write_csv, write_exhibit_csv, write_json};
use nvcim::study::exhibit::Exhibit;
use nvcim::study::file::parse_study;
use nvcim::study::ledger::{Ledger, parse_lines};
use nvcim::study::method::Method;
use nvcim::study::results::Results;
use nvcim::study::run::{Options, Progress, Shard};
use nvcim::study::sources::{BUILT_IN, Sources};
use nvcim::study::summary::Summary;
use serde_json::Value;

use crate::args::Global;
use crate::files::{read_file, write_file};
use crate::terminal::{Failure, Terminal};

/// The files of a folder of results that later runs read.
const AGENDA: &str = "agenda.json";
const RESULTS: &str = "results.jsonl";
const EXHIBIT: &str = "exhibit.json";

/// Shortest time between two lines of progress where there is no bar.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Merge>,
    /// Study file [default: the built-in study].
    study: Option<PathBuf>,
    /// Only what the file's `[quick]` keeps.
    #[arg(long)]
    quick: bool,
    /// Do part I of N of the measurements.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Folder of third-party networks and data: `shared:` in the study file [default: `NVCIM_SHARED`].
    #[arg(long, value_name = "DIR")]
    shared: Option<PathBuf>,
    /// Folder for results and report; made if missing, and gone on with if it holds results.
    #[arg(short, long, value_name = "DIR", default_value = "nvcim-study")]
    output: PathBuf,
}

#[derive(clap::Subcommand)]
enum Merge {
    /// Put the results of several folders together, and report on them.
    Merge {
        /// Folders that `nvcim study` has written.
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Folder for results and report; made if missing.
        #[arg(short, long, value_name = "DIR", default_value = "nvcim-study")]
        output: PathBuf,
    },
}

pub(crate) fn run(args: &Args, global: &Global, terminal: &Terminal) -> Result<ExitCode, Failure> {
    if let Some(Merge::Merge { folders, output }) = &args.command {
        let gathered = Gathered::read(folders)?;
        gathered.write(output)?;
        gathered.print(output, terminal)?;
        return Ok(ExitCode::SUCCESS);
    }
    let study = open_study(args, global.seed, terminal)?;
    make_folder(&args.output)?;
    let agenda = &study.agenda;
    let (lines, ledger) = Ledger::open(&args.output.join(RESULTS))?;
    write_file(&args.output.join(AGENDA), &agenda.write()?)?;

    let meter = Meter::new(terminal);
    let options = Options {
        jobs: global.threads.map_or_else(rayon::current_num_threads, std::num::NonZero::get),
        shard: args.shard,
        progress: &|progress| meter.tell(progress),
    };
    let mut results = study.run(Results::new(lines, ledger), &options)?;
    results.close();
    meter.finish();
    let exhibit = look(&study, args)?;
    let gathered = Gathered { agenda: agenda.clone(), results, exhibit };
    gathered.write(&args.output)?;
    gathered.print(&args.output, terminal)?;
    Ok(ExitCode::SUCCESS)
}

fn open_study(args: &Args, seed: u64, terminal: &Terminal) -> Result<Study, Failure> {
    let shared =
        args.shared.clone().or_else(|| std::env::var_os("NVCIM_SHARED").map(PathBuf::from));
    let (text, place, folder) = match &args.study {
        Some(path) => {
            let text = String::from_utf8(read_file(path)?).map_err(|_| {
                Diagnostic::bad_input(path.display().to_string(), "is not UTF-8 text")
            })?;
            let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
            (text, path.display().to_string(), Some(folder))
        }
        None => (BUILT_IN.to_owned(), "the built-in study".to_owned(), None),
    };
    let mut file = parse_study(&text, &place, args.quick)?;
    terminal.warn(&file.warnings);
    let mut command = name_command(args);
    if file.output.run_seed.is_none() && seed != 0 {
        file.output.run_seed = Some(seed);
        command += &format!(" --seed {seed}");
    }
    Ok(Study::open(&file.output, &Sources { folder, shared }, &command)?)
}

/// The command that runs the study, the same on every machine: without folders, and without its part.
fn name_command(args: &Args) -> String {
    let file = args.study.as_deref().and_then(Path::file_name);
    let file = file.map(|name| format!(" {}", name.to_string_lossy()));
    let quick = if args.quick { " --quick" } else { "" };
    format!("nvcim study{}{quick}", file.unwrap_or_default())
}

/// The look into one die: from the folder where it is the one asked for, or worked out now. One part of a study
/// has it, the first.
fn look(study: &Study, args: &Args) -> Result<Option<Exhibit>, Failure> {
    let Some(asked) = &study.agenda.exhibit else { return Ok(None) };
    let kept = read_exhibit(&args.output)?.filter(|kept| kept.key == asked.key);
    match kept {
        None if args.shard.has(0) => Ok(study.look()?),
        kept => Ok(kept),
    }
}

/// A kept look; none where there is no file, or one of another version.
fn read_exhibit(folder: &Path) -> Result<Option<Exhibit>, Failure> {
    let path = folder.join(EXHIBIT);
    match path.is_file() {
        true => Ok(serde_json::from_slice(&read_file(&path)?).ok()),
        false => Ok(None),
    }
}

/// Everything that folders of results hold.
pub(crate) struct Gathered {
    agenda: Agenda,
    results: Results,
    exhibit: Option<Exhibit>,
}

impl Gathered {
    /// Reads folders of one and the same study.
    pub(crate) fn read(folders: &[PathBuf]) -> Result<Self, Failure> {
        let mut gathered: Option<Self> = None;
        for folder in folders {
            let path = folder.join(AGENDA);
            let agenda = Agenda::parse(&read_file(&path)?, &path.display().to_string())?;
            let text = read_file(&folder.join(RESULTS))?;
            let lines = parse_lines(&String::from_utf8_lossy(&text));
            let asked = agenda.exhibit.as_ref().map(|asked| asked.key.clone());
            let exhibit = read_exhibit(folder)?.filter(|it| Some(&it.key) == asked.as_ref());
            match &mut gathered {
                None => {
                    let results = Results::new(lines, Ledger::default());
                    gathered = Some(Self { agenda, results, exhibit });
                }
                Some(first) if first.agenda == agenda => {
                    first.results.take_in(lines);
                    first.exhibit = first.exhibit.take().or(exhibit);
                }
                Some(first) => {
                    let at = path.display().to_string();
                    let message = format!("is not the same study as `{}`", first.agenda.name);
                    let hint = "merge folders that were run with the same study file and networks";
                    return Err(Diagnostic::bad_input(at, message).hint(hint).into());
                }
            }
        }
        gathered.ok_or_else(|| Failure::usage("DIR", "at least one folder is needed"))
    }

    fn summary(&self) -> Summary {
        Summary::new(&self.agenda, &self.results)
    }

    /// The report.
    pub(crate) fn report(&self) -> String {
        write_study(&self.agenda, &self.summary(), self.exhibit.as_ref())
    }

    /// Writes results, tables and report.
    fn write(&self, folder: &Path) -> Result<(), Failure> {
        make_folder(folder)?;
        let Self { agenda, results, exhibit } = self;
        let summary = self.summary();
        write_file(&folder.join(AGENDA), &agenda.write()?)?;
        write_file(&folder.join(RESULTS), results.write(agenda).as_bytes())?;
        write_file(&folder.join("study.json"), pretty(&write_json(agenda, &summary)).as_bytes())?;
        for (name, table) in write_csv(agenda, &summary) {
            write_file(&folder.join(name), table.as_bytes())?;
        }
        if let Some(exhibit) = exhibit {
            let failed =
                |error: serde_json::Error| Diagnostic::internal(EXHIBIT, error.to_string());
            let bytes = serde_json::to_vec(exhibit).map_err(failed)?;
            write_file(&folder.join(EXHIBIT), &bytes)?;
            for (name, table) in write_exhibit_csv(exhibit) {
                write_file(&folder.join(name), table.as_bytes())?;
            }
        }
        write_file(&folder.join("report.html"), self.report().as_bytes())
    }

    fn print(&self, folder: &Path, terminal: &Terminal) -> Result<(), Failure> {
        let summary = self.summary();
        let mut document = write_json(&self.agenda, &summary);
        document["report"] = folder.join("report.html").display().to_string().into();
        document["output"] = folder.display().to_string().into();
        terminal.print(&document, || self.describe(&summary, folder));
        Ok(())
    }

    fn describe(&self, summary: &Summary, folder: &Path) -> String {
        let Self { agenda, .. } = self;
        let counted = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
        let mut text = format!(
            "{}: {}, {}",
            agenda.name,
            counted(agenda.networks.len(), "network"),
            counted(summary.cells.len(), "cell")
        );
        let (there, asked) = summary.measured;
        text += &match summary.is_complete() {
            true => format!(", {asked} measurements\n"),
            false => format!(", {there} of {asked} measurements so far\n"),
        };
        let methods: Vec<Method> = agenda.methods.clone();
        text += &format!("\n{:<18} {:<18} {:>6}", "network", "chip", "float");
        methods.iter().for_each(|method| text += &format!(" {:>9}", method.name()));
        text += &format!(" {:>10}\n", "recovered");
        for cell in &summary.cells {
            let item = &agenda.cells[cell.cell];
            let (network, chip) = (&agenda.networks[item.network], &agenda.chips[item.chip]);
            text += &format!(
                "{:<18} {:<18} {:>6}",
                network.name,
                chip.name,
                percent(cell.reference, 2)
            );
            for method in &methods {
                let mean = cell.find(*method).map(|it| it.figures.accuracy.mean);
                text += &format!(" {:>9}", percent(mean, 2));
            }
            let strongest = cell.methods.last().and_then(|it| it.figures.from_naive);
            text += &format!(" {:>8}\n", percent(strongest.map(|it| it.percent), 1));
        }
        text += "\nmethod      mean recovery  over cells     worst  lower bound     yield\n";
        for (method, overall) in summary.overall.iter().filter(|(it, _)| *it != Method::Naive) {
            text += &format!(
                "{:<11} {:>11} % {:>11} {:>7} % {:>10} % {:>7} %\n",
                method.name(),
                percent(overall.mean_recovery, 1),
                overall.n_stated,
                percent(overall.worst_recovery.map(|it| it.0), 1),
                percent(overall.least_bound, 1),
                percent(Some(overall.yield_percent), 1)
            );
        }
        text + &format!("\nreport  {}", folder.join("report.html").display())
    }
}

/// A number, or a dash where there is none.
fn percent(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| {
        Diagnostic::bad_input(folder.display().to_string(), error.to_string()).into()
    })
}

/// Shows how far a run is and how long it still takes: a bar on a terminal, else a line now and then.
struct Meter<'a> {
    terminal: &'a Terminal,
    start: Instant,
    bar: indicatif::ProgressBar,
    last_line: Mutex<Instant>,
}

impl<'a> Meter<'a> {
    fn new(terminal: &'a Terminal) -> Self {
        let bar = terminal.progress_of("measuring", "measurements", 0);
        let start = Instant::now();
        Self { terminal, start, bar, last_line: Mutex::new(start) }
    }

    fn tell(&self, progress: &Progress) {
        let Progress { done, total, last } = progress;
        self.bar.set_length(*total as u64);
        self.bar.set_position(*done as u64);
        self.terminal.tell(last);
        let mut last_line =
            self.last_line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last_line.elapsed() >= BETWEEN_LINES || done == total {
            *last_line = Instant::now();
            let spent = self.start.elapsed().as_secs_f64();
            let left = spent / (*done).max(1) as f64 * (total - done) as f64;
            self.terminal.tell_progress(&format!(
                "{done} of {total} measurements in {spent:.0} s, about {left:.0} s left"
            ));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
