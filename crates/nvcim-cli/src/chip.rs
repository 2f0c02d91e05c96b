//! `nvcim chip list|show|validate|new`: chip files and presets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nvcim::describe::Chip;
use nvcim::file::{hash_chip, write_chip};
use nvcim::measured::{Fitted, open_measured, replace_cells};
use nvcim::presets::{PRESETS, find_preset};
use serde_json::json;

use crate::chip_show::{keys_document, list_keys, wrap};
use crate::files::{open_chip, write_file};
use crate::terminal::{Failure, Terminal, hex};

/// Where descriptions begin in the list of presets.
const DESCRIPTION_AT: usize = 18;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The presets.
    List,
    /// Every key of a chip, defaults included: value, unit, meaning and source.
    Show {
        /// Preset's name or TOML file.
        chip: String,
        /// Print the canonical chip file instead.
        #[arg(long)]
        toml: bool,
    },
    /// Check a chip file: exit 4 with every problem named.
    Validate {
        /// Preset's name or TOML file.
        chip: String,
    },
    /// Begin a chip file from a preset or another file.
    New {
        /// The file to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// The preset or TOML file to begin from.
        #[arg(long, default_value = "ideal", value_name = "CHIP")]
        from: String,
        /// Give its cells the means and spreads of a measured table: CSV or `.npz`.
        #[arg(long, value_name = "TABLE")]
        measured: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::List => list(terminal)?,
        Command::Show { chip, toml } => {
            let chip = open_chip(chip, terminal)?;
            let canonical = write_chip(&chip);
            let mut document = summary(&chip);
            document["schema"] = json!("nvcim.chip/1");
            document["keys"] = keys_document(&chip);
            document["toml"] = json!(canonical);
            terminal.print(&document, || match toml {
                true => canonical.trim_end().to_owned(),
                false => list_keys(&chip),
            });
        }
        Command::Validate { chip } => {
            let chip = open_chip(chip, terminal)?;
            let mut document = summary(&chip);
            document["schema"] = json!("nvcim.chip/1");
            document["valid"] = json!(true);
            terminal.print(&document, || format!("`{}` is valid", chip.name));
        }
        Command::New { output, from, measured: None } => {
            let chip = open_chip(from, terminal)?;
            // A preset comes with its comments, a file in canonical form.
            let text = match PRESETS.iter().find(|(name, _)| name == from) {
                Some((_, text)) => (*text).to_owned(),
                None => write_chip(&chip),
            };
            write_file(output, text.as_bytes())?;
            let document = json!({"schema": "nvcim.chip/1", "file": output});
            terminal.print(&document, || format!("{}", output.display()));
        }
        Command::New { output, from, measured: Some(table) } => {
            begin_measured(output, &open_chip(from, terminal)?, table, terminal)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins a chip file whose cells behave as a measured table says.
fn begin_measured(
    output: &Path,
    chip: &Chip,
    table: &Path,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let origin = table.display().to_string();
    let measured = open_measured(&origin)?;
    let (times, targets) = (measured.times_s.clone(), measured.targets.clone());
    let replaced = replace_cells(chip, measured, &origin);
    terminal.warn(&replaced.warnings);
    let Fitted { chip, replaced } = replaced.output;
    write_file(output, write_chip(&chip).as_bytes())?;
    let document = json!({
        "schema": "nvcim.chip/1",
        "file": output,
        "measured": origin,
        "times_seconds": times,
        "targets_siemens": targets,
        "replaced": replaced,
    });
    terminal.print(&document, || {
        let noun = |count: usize, noun: &str| {
            format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
        };
        let of = match replaced.is_empty() {
            true => "new, nothing was there before".to_owned(),
            false => format!("in place of {}", replaced.join(" and ")),
        };
        format!(
            "effects.measured from {origin}: {}, {}; {of}\n{}",
            noun(times.len(), "time"),
            noun(targets.len(), "target"),
            output.display()
        )
    });
    Ok(())
}

fn list(terminal: &Terminal) -> Result<(), Failure> {
    let chips = PRESETS.iter().map(|(name, _)| find_preset(name)).collect::<Result<Vec<_>, _>>()?;
    let document = json!({
        "schema": "nvcim.chip/1",
        "chips": chips.iter().map(summary).collect::<Vec<_>>(),
    });
    terminal.print(&document, || {
        let line = |chip: &Chip| {
            let description = wrap(DESCRIPTION_AT, &chip.description);
            format!("{:<DESCRIPTION_AT$}{}", chip.name, description.trim_start())
        };
        chips.iter().map(line).collect::<String>().trim_end().to_owned()
    });
    Ok(())
}

fn summary(chip: &Chip) -> serde_json::Value {
    json!({
        "name": chip.name,
        "description": chip.description,
        "hash": hex(&hash_chip(chip)),
        "arrays": chip.arrays.count,
        "rows": chip.arrays.n_rows,
        "columns": chip.arrays.n_cols,
    })
}
