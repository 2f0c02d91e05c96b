//! What every key of a chip file says: value, unit, meaning and source, for people.
//!
//! Meanings are those of `docs/chip-format.md`, which is read at compile time: the page that specifies
//! the format is the one place that explains a key. Units are the endings of key names.

use crate::describe::Chip;
use crate::file::write_chip;

const PAGE: &str = include_str!("../../../docs/chip-format.md");

/// Endings of key names and the units that they stand for.
const UNITS: &[(&str, &str)] = &[
    ("_microsiemens", "uS"),
    ("_siemens", "S"),
    ("_seconds", "s"),
    ("_joules", "J"),
    ("_ohm", "ohm"),
    ("_amperes_per_volt2", "A/V^2"),
    ("_amperes_per_volt3", "A/V^3"),
    ("_volts_per_kelvin", "V/K"),
    ("_conductance_per_volt", "per V"),
    ("_volts", "V"),
    ("_per_kelvin", "per K"),
    ("_celsius", "degC"),
    ("_hz", "Hz"),
    ("_electronvolts", "eV"),
    ("_steps", "steps"),
    ("_per_read", "of g per read"),
    ("reads", "reads"),
    ("_per_cell", "per cell"),
    ("_per_decade", "per decade"),
    ("_lsb", "LSB"),
    ("_cells", "cells"),
    ("_of_range", "of the range"),
    ("_of_g", "of g"),
    ("bits_per_slice", "bits"),
    ("bits", "bits"),
];

/// A table of a chip file with what stands in it.
#[derive(Debug, Clone, PartialEq)]
pub struct TableMeaning {
    /// Its dotted name; empty for the keys before the first table.
    pub name: String,
    /// Its one source, where the chip file gives one for the whole table.
    pub source: Option<String>,
    /// Its keys, in canonical order.
    pub keys: Vec<KeyMeaning>,
}

/// A key of a chip file.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyMeaning {
    /// Its name inside its table.
    pub key: String,
    /// Its value as the canonical form writes it.
    pub value: String,
    /// Its unit, where it has one.
    pub unit: Option<&'static str>,
    /// What it says; empty where the format page has no row for it, which a test rules out.
    pub meaning: String,
    /// Where its value is from: its own source or its table's.
    pub source: Option<String>,
}

/// Every key of a chip's canonical form, defaults included, sources left to their keys.
pub fn explain_chip(chip: &Chip) -> Vec<TableMeaning> {
    let described = Chip { sources: Vec::new(), ..chip.clone() };
    let canonical = write_chip(&described);
    let rows = read_rows(PAGE);
    let source_of = |dotted: &str| {
        chip.sources.iter().find(|(key, _)| key == dotted).map(|(_, source)| source.clone())
    };
    let mut tables: Vec<TableMeaning> = Vec::new();
    let mut open = TableMeaning { name: String::new(), source: None, keys: Vec::new() };
    let mut lines = canonical.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let source = source_of(name);
            let next = TableMeaning { name: name.to_owned(), source, keys: Vec::new() };
            tables.push(std::mem::replace(&mut open, next));
        } else if let Some((key, value)) = line.split_once(" = ") {
            let value = if value == "[" { join_list(&mut lines) } else { value.to_owned() };
            let dotted =
                if open.name.is_empty() { key.to_owned() } else { format!("{}.{key}", open.name) };
            let row = rows.iter().find(|row| row.table == open.name && row.key == key);
            open.keys.push(KeyMeaning {
                key: key.to_owned(),
                unit: unit_of(key).filter(|_| is_counted(&value)),
                value,
                meaning: row.map_or_else(String::new, |row| row.meaning.clone()),
                source: source_of(&dotted).or_else(|| open.source.clone()),
            });
        }
    }
    tables.push(open);
    tables.retain(|table| !table.keys.is_empty());
    tables
}

/// Whether a source says that its value was chosen, and neither measured nor published.
pub fn is_illustrative(source: &str) -> bool {
    source.trim_start().starts_with("illustrative")
}

/// The rest of a list whose entries stand on lines of their own, on one line.
fn join_list<'a>(lines: &mut impl Iterator<Item = &'a str>) -> String {
    let entries: Vec<_> = lines.take_while(|line| *line != "]").map(str::trim).collect();
    format!("[{}]", entries.join(" ").trim_end_matches(','))
}

/// Whether a value is a number or a list of numbers, rather than a word or a curve with coefficients.
fn is_counted(value: &str) -> bool {
    let entries = value.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(value);
    !entries.is_empty() && entries.split(',').all(|entry| entry.trim().parse::<f64>().is_ok())
}

fn unit_of(key: &str) -> Option<&'static str> {
    UNITS.iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, unit)| *unit)
}

/// A row of the format page.
struct Row {
    table: String,
    key: String,
    meaning: String,
}

/// The rows that explain keys. A heading names the table of the rows below it; a row of an effect names
/// its table itself, and its meaning stands in the last cell as everywhere.
fn read_rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut table = String::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            table = table_of(heading).unwrap_or_default();
        } else if let Some(cells) = line.strip_prefix("| `") {
            let cells: Vec<&str> = cells.trim_end().trim_end_matches('|').split(" | ").collect();
            let (Some(first), Some(meaning)) = (cells.first(), cells.last()) else { continue };
            let (own, key) = match first.split_once("` `") {
                Some((own, key)) => (table_of(&format!("`{own}")).unwrap_or_default(), key),
                None => (table.clone(), *first),
            };
            let key = key.trim_end_matches('`').to_owned();
            let meaning = meaning.trim().replace('`', "");
            rows.push(Row { table: own, key, meaning });
        }
    }
    rows
}

/// `arrays` of "`[arrays]`: the memory arrays".
fn table_of(text: &str) -> Option<String> {
    let (name, _) = text.strip_prefix("`[")?.split_once(']')?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{explain_chip, is_counted, is_illustrative, read_rows, unit_of};
    use crate::presets::{PRESETS, find_preset};

    #[test]
    fn every_key_of_every_preset_has_a_meaning() {
        for (name, _) in PRESETS {
            for table in explain_chip(&find_preset(name).unwrap()) {
                for key in &table.keys {
                    assert!(!key.meaning.is_empty(), "{name}: [{}] {}", table.name, key.key);
                }
            }
        }
    }

    #[test]
    fn a_key_has_value_unit_meaning_and_source() {
        let tables = explain_chip(&find_preset("stress-a").unwrap());
        let find = |table: &str, key: &str| {
            let table = tables.iter().find(|it| it.name == table).unwrap();
            table.keys.iter().find(|it| it.key == key).unwrap().clone()
        };
        let key = find("effects.column_offset", "sd_lsb");
        assert_eq!((key.value.as_str(), key.unit), ("2.0", Some("LSB")));
        assert!(key.meaning.starts_with("offset of each converter"), "{}", key.meaning);
        assert_eq!(key.source.as_deref(), Some("part of the stress"));
        assert!(find("cell", "g_max_siemens").source.is_some_and(|it| is_illustrative(&it)));
        assert!(find("holds", "ranges").source.is_some(), "its table has one");
        let bare = explain_chip(&crate::testing::plain_chip());
        assert!(bare.iter().flat_map(|table| &table.keys).all(|key| key.source.is_none()));
        assert_eq!(find("", "name").value, "\"stress-a\"");
    }

    #[test]
    fn rows_are_read_under_their_tables() {
        let page = "### Top level\n| `a` | x | y | first |\n### `[b.c]`: more\n| `d` | x | y | of `e` |\n\
                    | `[f]` `g` | share | third |\n";
        let rows: Vec<_> =
            read_rows(page).into_iter().map(|row| (row.table, row.key, row.meaning)).collect();
        let row =
            |table: &str, key: &str, meaning: &str| (table.into(), key.into(), meaning.into());
        assert_eq!(rows, [row("", "a", "first"), row("b.c", "d", "of e"), row("f", "g", "third")]);
    }

    #[test]
    fn units_are_endings_of_names() {
        assert_eq!(unit_of("t0_seconds"), Some("s"));
        assert_eq!(unit_of("word_line_ohm"), Some("ohm"));
        assert_eq!(unit_of("sd_microsiemens"), Some("uS"));
        assert_eq!(unit_of("columns"), None);
        assert!(is_counted("[1.0, 2e-7]") && is_counted("8"));
        assert!(!is_counted("[[1.0], [2.0]]") && !is_counted("\"all\"") && !is_counted("[]"));
    }
}
