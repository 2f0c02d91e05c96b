//! `nvcim chip list|show|validate|new`: chip files and presets.

use std::path::PathBuf;
use std::process::ExitCode;

use nvcim::describe::Chip;
use nvcim::file::{hash_chip, write_chip};
use nvcim::presets::{PRESETS, find_preset};
use serde_json::json;

use crate::chip_show::{keys_document, list_keys};
use crate::files::{open_chip, write_file};
use crate::terminal::{Failure, Terminal, hex};

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
    /// Begin a chip file from a preset.
    New {
        /// The file to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// The preset to begin from.
        #[arg(long, default_value = "ideal", value_name = "PRESET")]
        from: String,
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
        Command::New { output, from } => {
            let (_, text) = PRESETS.iter().find(|(name, _)| name == from).ok_or_else(|| {
                find_preset(from)
                    .err()
                    .map_or_else(|| Failure::usage("--from", "is no preset"), Failure::from)
            })?;
            write_file(output, text.as_bytes())?;
            let document = json!({"schema": "nvcim.chip/1", "file": output});
            terminal.print(&document, || format!("{}", output.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(terminal: &Terminal) -> Result<(), Failure> {
    let chips = PRESETS.iter().map(|(name, _)| find_preset(name)).collect::<Result<Vec<_>, _>>()?;
    let document = json!({
        "schema": "nvcim.chip/1",
        "chips": chips.iter().map(summary).collect::<Vec<_>>(),
    });
    terminal.print(&document, || {
        let line = |chip: &Chip| format!("{:<18} {}", chip.name, chip.description);
        chips.iter().map(line).collect::<Vec<_>>().join("\n")
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
