//! `nvcim die sample|import|show`: die files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nvcim::describe::Chip;
use nvcim::die_file::write_die;
use nvcim::die_io::{open_die, write_npz};
use nvcim::die_reads::find_die_faults;
use nvcim::record::DieRecord;
use nvcim::sample::sample_die;
use serde_json::json;

use crate::files::{open_chip, write_file};
use crate::terminal::{Failure, Terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Draw a die of a chip from a seed.
    Sample {
        /// Preset's name or TOML file.
        #[arg(long)]
        chip: String,
        /// Arrays to draw, for a chip with as many as needed.
        #[arg(long, value_name = "N")]
        arrays: Option<usize>,
        /// The die to write: `.npz`, or else TOML.
        #[arg(short, long, value_name = "DIE")]
        output: PathBuf,
    },
    /// Turn a die file into the other form, or matrix-vector products into a fault map.
    Import {
        /// The die file to read: `.npz` measurements or TOML.
        #[arg(required_unless_present = "from_mvm", conflicts_with = "from_mvm")]
        file: Option<PathBuf>,
        /// Find stuck cells from drives X and results Y, both `.npy`; docs/die-format.md describes them.
        #[arg(long, value_name = "X,Y", value_delimiter = ',')]
        from_mvm: Vec<PathBuf>,
        /// Standard deviation of a result in the unit of Y, where it exceeds rounding.
        #[arg(long, value_name = "SD", requires = "from_mvm")]
        result_sd: Option<f64>,
        /// Preset's name or TOML file.
        #[arg(long)]
        chip: String,
        /// The die to write: `.npz`, or else TOML.
        #[arg(short, long, value_name = "DIE")]
        output: PathBuf,
    },
    /// Summarise a die file.
    Show {
        /// The file to read.
        file: PathBuf,
        /// Preset's name or TOML file.
        #[arg(long)]
        chip: String,
    },
}

pub(crate) fn run(
    args: &Args,
    global: &crate::args::Global,
    terminal: &Terminal,
) -> Result<ExitCode, Failure> {
    let (die, chip, output) = match &args.command {
        Command::Sample { chip, arrays, output } => {
            let chip = open_chip(chip, terminal)?;
            let count = choose_count(&chip, *arrays)?;
            (sample_die(&chip, global.seed, count), chip, Some(output))
        }
        Command::Import { file: Some(file), chip, output, .. } => {
            let chip = open_chip(chip, terminal)?;
            (open_die(file, &chip)?, chip, Some(output))
        }
        Command::Import { file: None, from_mvm, result_sd, chip, output } => {
            let chip = open_chip(chip, terminal)?;
            (find_faults(from_mvm, *result_sd, &chip, terminal)?, chip, Some(output))
        }
        Command::Show { file, chip } => {
            let chip = open_chip(chip, terminal)?;
            (open_die(file, &chip)?, chip, None)
        }
    };
    if let Some(output) = output {
        write_record(output, &die, &chip)?;
    }
    print_summary(&die, &chip, output.map(PathBuf::as_path), terminal);
    Ok(ExitCode::SUCCESS)
}

fn find_faults(
    files: &[PathBuf],
    result_sd: Option<f64>,
    chip: &Chip,
    terminal: &Terminal,
) -> Result<DieRecord, Failure> {
    let [drives, results] = files else {
        let message = format!("names {} files, must be drives and results", files.len());
        let hint = "write them as `--from-mvm x.npy,y.npy`";
        return Err(Failure::usage_hint("--from-mvm", &message, hint));
    };
    if result_sd.is_some_and(|sd| !(sd.is_finite() && sd >= 0.0)) {
        return Err(Failure::usage("--result-sd", "must be 0 or more"));
    }
    let found = find_die_faults(drives, results, chip, result_sd)?;
    terminal.warn(&found.warnings);
    Ok(found.output)
}

fn choose_count(chip: &Chip, asked: Option<usize>) -> Result<usize, Failure> {
    match (asked, chip.arrays.count) {
        (Some(0), _) => Err(Failure::usage("--arrays", "must be 1 or more")),
        (Some(asked), Some(count)) if asked > count => {
            let message = format!("asks for {asked} arrays, `{}` has {count}", chip.name);
            Err(Failure::usage("--arrays", &message))
        }
        (Some(asked), _) => Ok(asked),
        (None, Some(count)) => Ok(count),
        (None, None) => {
            let message = format!("`{}` has as many arrays as needed", chip.name);
            Err(Failure::usage_hint("--arrays", &message, "say how many with `--arrays N`"))
        }
    }
}

fn write_record(output: &Path, die: &DieRecord, chip: &Chip) -> Result<(), Failure> {
    let bytes = if output.extension().is_some_and(|extension| extension == "npz") {
        write_npz(die, chip)?
    } else {
        write_die(die).into_bytes()
    };
    write_file(output, &bytes)
}

fn print_summary(die: &DieRecord, chip: &Chip, output: Option<&Path>, terminal: &Terminal) {
    let per_array: Vec<usize> = die.arrays.iter().map(|array| array.stuck.len()).collect();
    let faults: usize = per_array.iter().sum();
    let cells = die.arrays.len() * chip.arrays.n_rows * chip.arrays.n_cols;
    let share = 100.0 * faults as f64 / cells.max(1) as f64;
    let measured = |pick: fn(&nvcim::record::ArrayRecord) -> bool| die.arrays.iter().any(pick);
    let document = json!({
        "schema": "nvcim.die/1",
        "file": output,
        "name": die.name,
        "seed": die.seed,
        "chip": chip.name,
        "arrays": die.arrays.len(),
        "faults": faults,
        "fault_percent": share,
        "faults_per_array": per_array,
        "column_gain_measured": measured(|array| !array.column_gain.is_empty()),
        "column_offset_measured": measured(|array| !array.column_offset_lsb.is_empty()),
    });
    terminal.print(&document, || {
        let arrays = die.arrays.len();
        let text =
            format!("die {}: {arrays} arrays, {faults} stuck cells ({share:.2} %)", die.name);
        match output {
            Some(output) => format!("{text}\n{}", output.display()),
            None => text,
        }
    });
}
