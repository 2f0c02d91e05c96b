//! Measured devices from CSV: a table as instruments write it, turned into the one of a chip file.
//!
//! Conductances are in siemens, times in seconds after programming, the first of them the reference read.
//! One header line with the columns `time_seconds`, `target_siemens`, `mean_siemens` and `sd_siemens`, in
//! any order, then one line per time and target, in any order. Every time must have every target once.
//! Empty lines and lines that begin with `#` are skipped.

use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};

use crate::effects::Model;
use crate::effects::measured::{CONDUCTANCES, MAX_ENTRIES, Measured, TIMES_S};
use crate::writer::Writer;

/// The columns of the file.
pub const COLUMNS: [&str; 4] = ["time_seconds", "target_siemens", "mean_siemens", "sd_siemens"];

/// Reads a measured device; `place` is the file's name in messages.
///
/// # Errors
/// Columns that are missing or unknown, entries that are no number, negative or infinite, and points of
/// the grid that are missing or there twice; each with its line.
pub fn parse_measured_csv(text: &str, place: &str) -> Result<Measured> {
    let mut lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| is_data(line));
    let (at, header) = lines.next().unwrap_or((1, ""));
    let order = read_header(header).map_err(|message| refuse(place, at, message))?;
    let mut points = Vec::new();
    let mut problems = Vec::new();
    for (at, line) in lines {
        match read_point(line, order) {
            Ok(point) => points.push((at, point)),
            Err(message) => problems.push(refuse(place, at, message)),
        }
    }
    fail_if_any(problems)?;
    Ok(make_grid(&points).map_err(|(at, message)| refuse(place, at, message))?)
}

/// The table of a chip file that says the same: `[effects.measured]` and its keys.
pub fn write_measured_toml(measured: &Measured) -> String {
    let mut out = Writer::default();
    out.section("effects.measured");
    measured.write(&mut out);
    out.finish().trim_start().to_owned()
}

fn is_data(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

fn refuse(place: &str, line: usize, message: String) -> Diagnostic {
    let hint = format!("give one line per time and target with the columns {}", COLUMNS.join(","));
    Diagnostic::bad_input(format!("{place}:{line}"), message).hint(hint)
}

/// Where each of [`COLUMNS`] stands.
fn read_header(header: &str) -> std::result::Result<[usize; 4], String> {
    let names: Vec<_> = header.split(',').map(str::trim).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(*name)) {
        return Err(format!("has a column `{unknown}`, which is none of this table"));
    }
    if names.len() != COLUMNS.len() {
        return Err(format!("has {} columns, must have {}", names.len(), COLUMNS.len()));
    }
    let mut order = [0; 4];
    for (place, column) in order.iter_mut().zip(COLUMNS) {
        let found = names.iter().position(|name| *name == column);
        *place = found.ok_or_else(|| format!("has no column `{column}`"))?;
    }
    Ok(order)
}

/// The four numbers of a line, in the order of [`COLUMNS`].
fn read_point(line: &str, order: [usize; 4]) -> std::result::Result<[f64; 4], String> {
    let entries: Vec<_> = line.split(',').map(str::trim).collect();
    if entries.len() != COLUMNS.len() {
        return Err(format!("has {} entries, must have {}", entries.len(), COLUMNS.len()));
    }
    let mut point = [0.0; 4];
    for (number, (column, at)) in point.iter_mut().zip(COLUMNS.into_iter().zip(order)) {
        let limits = if column == COLUMNS[0] { TIMES_S } else { CONDUCTANCES };
        let parsed = entries[at].parse::<f64>().ok().filter(|it| limits.contains(it));
        *number = parsed.ok_or_else(|| {
            let (from, to) = (limits.start(), limits.end());
            format!("has `{}` as `{column}`, must be a number from {from:?} to {to:?}", entries[at])
        })?;
    }
    Ok(point)
}

/// The distinct values of one column, ascending.
fn distinct(points: &[(usize, [f64; 4])], column: usize) -> Vec<f64> {
    let mut values: Vec<f64> = points.iter().map(|(_, point)| point[column]).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    values
}

fn make_grid(points: &[(usize, [f64; 4])]) -> std::result::Result<Measured, (usize, String)> {
    let (times_s, targets) = (distinct(points, 0), distinct(points, 1));
    let last = points.last().map_or(1, |(at, _)| *at);
    if times_s.is_empty() || times_s.len().max(targets.len()) > MAX_ENTRIES {
        let (times, targets) = (times_s.len(), targets.len());
        let limit = format!("must have 1 to {MAX_ENTRIES} of each");
        return Err((
            last,
            format!("ends a table of {times} times and {targets} targets, {limit}"),
        ));
    }
    let mut grid = vec![vec![None; targets.len()]; times_s.len()];
    for &(at, [time, target, mean, sd]) in points {
        let place = |list: &[f64], value: f64| list.partition_point(|it| *it < value);
        let entry = &mut grid[place(&times_s, time)][place(&targets, target)];
        if entry.replace((mean, sd)).is_some() {
            return Err((at, format!("repeats the target {target:?} at {time:?} s")));
        }
    }
    let mut table = Measured { times_s, targets, means: Vec::new(), sds: Vec::new() };
    for (row, time) in grid.iter().zip(&table.times_s) {
        let missing = row.iter().zip(&table.targets).find(|(entry, _)| entry.is_none());
        if let Some((_, target)) = missing {
            return Err((
                last,
                format!("ends a table without the target {target:?} at {time:?} s"),
            ));
        }
        let (means, sds) = row.iter().flatten().copied().unzip();
        table.means.push(means);
        table.sds.push(sds);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::{parse_measured_csv, write_measured_toml};
    use crate::file::{parse_chip, write_chip};
    use crate::testing::plain_chip;

    const TABLE: &str = "# a small one
target_siemens, time_seconds, sd_siemens, mean_siemens
1e-5, 1, 1e-6, 1.1e-5

3e-5, 1, 2e-6, 3.1e-5
1e-5, 86400, 3e-6, 9e-6
3e-5, 86400, 4e-6, 2.5e-5
";

    #[test]
    fn a_table_becomes_part_of_a_chip_file_and_comes_back() {
        let measured = parse_measured_csv(TABLE, "cells.csv").unwrap();
        assert_eq!(measured.times_s, [1.0, 86_400.0]);
        assert_eq!(measured.means, [[1.1e-5, 3.1e-5], [9e-6, 2.5e-5]]);
        assert_eq!(measured.sds, [[1e-6, 2e-6], [3e-6, 4e-6]]);
        let text = format!("{}\n{}", write_chip(&plain_chip()), write_measured_toml(&measured));
        let chip = parse_chip(&text, "chip.toml").unwrap().output;
        assert_eq!(chip.effects.measured.as_ref(), Some(&measured));
        assert_eq!(parse_chip(&write_chip(&chip), "").unwrap().output, chip);
    }

    #[test]
    fn every_flaw_is_placed() {
        let problem = |text: &str| {
            let problems = parse_measured_csv(text, "cells.csv").unwrap_err();
            format!("{}: {}", problems[0].at, problems[0].message)
        };
        assert_eq!(
            problem(&TABLE.replace("3e-5, 86400", "1e-5, 86400")),
            "cells.csv:7: repeats the target 1e-5 at 86400.0 s"
        );
        assert_eq!(
            problem(&TABLE.replace("3e-5, 1,", "2e-5, 1,")),
            "cells.csv:7: ends a table without the target 3e-5 at 1.0 s"
        );
        assert_eq!(
            problem(&TABLE.replace("9e-6", "nine")),
            "cells.csv:6: has `nine` as `mean_siemens`, must be a number from 0.0 to 1.0"
        );
        assert_eq!(
            problem(&TABLE.replace("sd_siemens", "sigma")),
            "cells.csv:2: has a column `sigma`, which is none of this table"
        );
        assert!(problem("").contains("has a column ``"));
        assert!(problem("time_seconds,target_siemens,mean_siemens,sd_siemens").contains("0 times"));
        assert_eq!(
            problem(&TABLE.replace("1e-5, 1,", "1e-5, 0,")),
            "cells.csv:3: has `0` as `time_seconds`, must be a number from 1e-9 to 100000000000.0"
        );
        // Microsiemens, most likely.
        assert!(
            problem(&TABLE.replace("1e-5, 1,", "10, 1,")).contains("has `10` as `target_siemens`")
        );
    }
}
