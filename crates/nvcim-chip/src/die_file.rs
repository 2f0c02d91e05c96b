//! Die files: TOML that a lab can edit by hand, read into a [`DieRecord`] and written in one form.
//!
//! `docs/die-format.md` specifies the file key by key. A fault map is one text per word line, one letter
//! per bit line: `.` is a good cell, any other letter a cell stuck at the conductance that the file gives
//! the letter. Read-back does not stand here: one number per cell belongs in a binary file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ndarray::Array2;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, Id, IdVec};
use toml::de::DeValue;

use crate::describe::{Arrays, Chip};
use crate::file::{MAX_ARRAYS, MAX_SIEMENS, hash_chip};
use crate::reader::{Section, read_file, to_index, to_number};
use crate::record::{ArrayRecord, DieRecord, StuckCell};
use crate::writer::Writer;

/// A cell without a fault in a fault map.
const GOOD: char = '.';
/// The letters that the writer gives to stuck conductances, lowest first; where there are more
/// conductances than letters, it lists the cells one by one.
const LETTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
/// The most stuck cells of one die: bad lines are short to write and long to hold.
const MAX_STUCK: usize = 1 << 25;
/// The most a gain or an offset in LSB can be, either way.
const MAX_COLUMN_ERROR: f64 = 1e6;

/// The conductance of each letter of a fault map, in siemens.
type Letters = BTreeMap<char, f32>;

/// Reads a die file made for `chip`; `place` is its name in messages.
///
/// # Errors
/// A die of another chip, or else every problem of the file: invalid TOML, a newer `schema`, unknown
/// keys, arrays, rows or columns that the chip does not have, lists of the wrong length, numbers beyond
/// their limits.
pub fn parse_die(text: &str, place: &str, chip: &Chip) -> Result<DieRecord> {
    read_file(text, place, "die", |root| read_die(root, chip)).map(|die| die.output)
}

/// Writes a die in the canonical form: a record always gives the same text, and [`parse_die`] gives the
/// record back, without its read-back.
pub fn write_die(die: &DieRecord) -> String {
    let DieRecord { name, seed, chip_hash, arrays } = die;
    let mut out = Writer::new("die");
    out.text("name", name);
    if let Some(seed) = seed {
        out.value("seed", seed);
    }
    out.text("chip_hash", &to_hex(chip_hash));
    out.value("arrays", arrays.len());
    let letters = assign_letters(arrays);
    if !letters.is_empty() {
        out.section("stuck_siemens");
        for (&bits, letter) in &letters {
            out.value(&letter.to_string(), f32::from_bits(bits));
        }
    }
    for (id, array) in arrays.iter_enumerated() {
        write_array(&mut out, id, array, &letters);
    }
    out.finish()
}

/// A letter for each stuck conductance, keyed by its bits: these sort as the conductances do, since none
/// is negative. Empty where there are more conductances than letters.
fn assign_letters(arrays: &IdVec<ArrayId, ArrayRecord>) -> BTreeMap<u32, char> {
    let cells = arrays.iter().flat_map(|array| &array.stuck);
    let values: BTreeSet<_> = cells.map(|cell| cell.g.to_bits()).collect();
    if values.len() > LETTERS.len() {
        return BTreeMap::new();
    }
    values.into_iter().zip(LETTERS.chars()).collect()
}

fn write_array(out: &mut Writer, id: ArrayId, array: &ArrayRecord, letters: &BTreeMap<u32, char>) {
    let ArrayRecord { stuck, column_gain, column_offset_lsb, read_back: _ } = array;
    if stuck.is_empty() && column_gain.is_empty() && column_offset_lsb.is_empty() {
        return;
    }
    out.section(&format!("array.{id}"));
    if !column_gain.is_empty() {
        out.value("column_gain", column_gain);
    }
    if !column_offset_lsb.is_empty() {
        out.value("column_offset_lsb", column_offset_lsb);
    }
    if stuck.is_empty() {
        return;
    }
    if letters.is_empty() {
        out.list(
            "stuck_cells_siemens",
            stuck.iter().map(|StuckCell { row, col, g }| format!("[{row}, {col}, {g:?}]")),
        );
        return;
    }
    out.section(&format!("array.{id}.faults"));
    for cells in stuck.chunk_by(|left, right| left.row == right.row) {
        let width = cells.iter().map(|cell| cell.col as usize + 1).max().unwrap_or(0);
        let mut line = vec![GOOD; width];
        for cell in cells {
            line[cell.col as usize] = letters[&cell.g.to_bits()];
        }
        out.text(&cells[0].row.to_string(), &String::from_iter(line));
    }
}

fn read_die(root: &mut Section<'_>, chip: &Chip) -> Result<DieRecord> {
    let name = root.required_text("name");
    let seed = root.optional_integer("seed", 0..=u64::MAX);
    let chip_hash = read_hash(root, chip)?;
    let most = chip.arrays.count.map_or(MAX_ARRAYS, |count| count as u64);
    let count = root.integer("arrays", 0..=most) as usize;
    let mut letters = Letters::from([('0', chip.cell.g_min as f32), ('1', chip.cell.g_max as f32)]);
    root.optional_section("stuck_siemens", |section| read_letters(section, &mut letters));
    let mut arrays: IdVec<ArrayId, _> = (0..count).map(|_| ArrayRecord::default()).collect();
    root.optional_section("array", |section| {
        let mut n_stuck = 0;
        for key in section.keys() {
            let read = |section: &mut Section<'_>| read_array(section, chip.arrays, &letters);
            let Some(id) = parse_id(key).filter(|&id| arrays.get(id).is_some()) else {
                section.refuse(
                    key,
                    format!("is no array of this die, which has {count} from `a0` on"),
                );
                continue;
            };
            let array = section.section(key, read);
            n_stuck += array.stuck.len();
            if n_stuck > MAX_STUCK {
                section.report(key, format!("makes {n_stuck} stuck cells, at most {MAX_STUCK}"));
                break;
            }
            arrays[id] = array;
        }
    });
    Ok(DieRecord { name, seed, chip_hash, arrays })
}

/// Reads the hash of the chip that the die was made for; a die of another chip is read no further.
fn read_hash(root: &mut Section<'_>, chip: &Chip) -> Result<[u8; 32]> {
    let expected = hash_chip(chip);
    let hash = root.required_text("chip_hash");
    if hash.is_empty() || hash == to_hex(&expected) {
        return Ok(expected);
    }
    let message = format!("is not the hash of chip `{}`, {}", chip.name, to_hex(&expected));
    let hint = "pass the chip that the die was made for, or make the die anew for this one";
    Err(Diagnostic::bad_input(root.at("chip_hash"), message).hint(hint).into())
}

fn read_letters(section: &mut Section<'_>, letters: &mut Letters) {
    section.for_each_other(|key, value| {
        let mut characters = key.chars();
        let (Some(letter), None) = (characters.next(), characters.next()) else {
            return Err("is not one letter".into());
        };
        if letter == GOOD || letter.is_whitespace() {
            return Err(format!(
                "cannot stand for a stuck cell: `{GOOD}` and spaces have their meaning"
            ));
        }
        letters.insert(letter, to_siemens(value).ok_or_else(siemens_limit)?);
        Ok(())
    });
}

fn read_array(section: &mut Section<'_>, size: Arrays, letters: &Letters) -> ArrayRecord {
    let column_gain = read_columns(section, "column_gain", size.n_cols);
    let column_offset_lsb = read_columns(section, "column_offset_lsb", size.n_cols);
    // The conductance at which each cell is stuck; no number where the cell is good.
    let mut map = Array2::from_elem((size.n_rows, size.n_cols), f32::NAN);
    for row in read_lines(section, "bad_rows", size.n_rows) {
        map.row_mut(row).fill(0.0);
    }
    for col in read_lines(section, "bad_columns", size.n_cols) {
        map.column_mut(col).fill(0.0);
    }
    section.optional_section("faults", |section| {
        section.for_each_other(|key, value| read_fault_line(key, value, letters, &mut map));
    });
    let wanted = format!(
        "`[row, column, siemens]` with a row below {}, a column below {} and 0 to {MAX_SIEMENS:?} siemens",
        size.n_rows, size.n_cols
    );
    let cells = section.list("stuck_cells_siemens", &wanted, |entry| {
        let [row, col, g] = &entry.as_array()?[..] else { return None };
        let (row, col) =
            (to_index(row.get_ref(), size.n_rows)?, to_index(col.get_ref(), size.n_cols)?);
        Some((row, col, to_siemens(g.get_ref())?))
    });
    for (row, col, g) in cells {
        map[(row, col)] = g;
    }
    let stuck = map.indexed_iter().filter(|(_, g)| !g.is_nan());
    let stuck = stuck.map(|((row, col), &g)| StuckCell { row: row as u32, col: col as u32, g });
    ArrayRecord { stuck: stuck.collect(), column_gain, column_offset_lsb, read_back: None }
}

/// Enters one word line of a fault map.
fn read_fault_line(
    key: &str,
    value: &DeValue<'_>,
    letters: &Letters,
    map: &mut Array2<f32>,
) -> std::result::Result<(), String> {
    let (n_rows, n_cols) = map.dim();
    let row = key.parse().ok().filter(|&row: &usize| row < n_rows);
    let row = row.ok_or_else(|| format!("is no word line, must be 0 to {}", n_rows - 1))?;
    let line = value.as_str().ok_or("must be a text with one letter per bit line")?;
    for (col, letter) in line.chars().enumerate().filter(|(_, letter)| *letter != GOOD) {
        let g = letters.get(&letter).ok_or_else(|| {
            let known = letters.keys().map(|letter| format!(" `{letter}`")).collect::<String>();
            format!("has the letter `{letter}` at column {col}; `.` is a good cell, stuck ones are{known}")
        })?;
        *map.get_mut((row, col))
            .ok_or_else(|| format!("goes on beyond column {}", n_cols - 1))? = *g;
    }
    Ok(())
}

fn read_columns(section: &mut Section<'_>, key: &str, n_cols: usize) -> Vec<f32> {
    let wanted = format!("a number from {:?} to {MAX_COLUMN_ERROR:?}", -MAX_COLUMN_ERROR);
    let values = section.list(key, &wanted, |entry| {
        to_number(entry).filter(|value| value.abs() <= MAX_COLUMN_ERROR).map(|value| value as f32)
    });
    if !values.is_empty() && values.len() != n_cols {
        section.report(key, format!("has {} numbers, must have {n_cols} or none", values.len()));
    }
    values
}

fn read_lines(section: &mut Section<'_>, key: &str, n_lines: usize) -> Vec<usize> {
    let wanted = format!("a whole number from 0 to {}", n_lines - 1);
    section.list(key, &wanted, |entry| to_index(entry, n_lines))
}

fn to_siemens(value: &DeValue<'_>) -> Option<f32> {
    to_number(value).filter(|g| (0.0..=MAX_SIEMENS).contains(g)).map(|g| g as f32)
}

fn siemens_limit() -> String {
    format!("must be a number of siemens, 0 to {MAX_SIEMENS:?}")
}

/// The array of a printed id, `a7`.
fn parse_id(key: &str) -> Option<ArrayId> {
    let index: u32 = key.strip_prefix('a')?.parse().ok()?;
    let id = ArrayId::new(index as usize);
    (id.to_string() == key).then_some(id)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes any text");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use nvcim_ir::ids::{ArrayId, Id};
    use proptest::prelude::*;

    use super::{parse_die, to_hex, write_die};
    use crate::describe::Chip;
    use crate::file::hash_chip;
    use crate::record::{ArrayRecord, DieRecord, StuckCell};
    use crate::testing::plain_chip;

    /// A die file for the plain chip of 2 arrays with 6 rows and 8 columns.
    fn file(body: &str) -> String {
        let hash = to_hex(&hash_chip(&plain_chip()));
        format!(
            "schema = 1\nkind = \"die\"\nname = \"d\"\nchip_hash = \"{hash}\"\narrays = 2\n{body}"
        )
    }

    fn parse(body: &str) -> DieRecord {
        parse_die(&file(body), "die.toml", &plain_chip()).unwrap()
    }

    fn problem(body: &str) -> String {
        let problems = parse_die(&file(body), "die.toml", &plain_chip()).expect_err(body);
        assert_eq!(problems.len(), 1, "{problems:?}");
        format!("{}: {}", problems[0].at, problems[0].message)
    }

    fn stuck(die: &DieRecord, array: usize) -> Vec<(u32, u32, f32)> {
        let cells = &die.arrays[ArrayId::new(array)].stuck;
        cells.iter().map(|cell| (cell.row, cell.col, cell.g)).collect()
    }

    #[test]
    fn a_fault_map_needs_only_the_lines_and_letters_in_use() {
        let die = parse("[stuck_siemens]\nx = 3e-4\n[array.a1.faults]\n5 = \".x\"\n2 = \"0..1\"\n");
        assert_eq!(stuck(&die, 0), []);
        assert_eq!(stuck(&die, 1), [(2, 0, 1e-6), (2, 3, 1e-4), (5, 1, 3e-4)]);
        assert_eq!((die.seed, die.name.as_str()), (None, "d"));
    }

    #[test]
    fn bad_lines_carry_no_current_and_give_way_to_single_cells() {
        let die = parse(
            "[array.a0]\nbad_rows = [4]\nbad_columns = [7]\nstuck_cells_siemens = [[4, 1, 5e-6]]\n\
             faults = { 4 = \"1\", 0 = \".......1\" }\n",
        );
        let cells = stuck(&die, 0);
        assert_eq!(cells.len(), 6 + 8 - 1);
        assert_eq!(cells[0], (0, 7, 1e-4));
        assert!(cells.contains(&(4, 0, 1e-4)) && cells.contains(&(4, 1, 5e-6)));
        assert!(cells.contains(&(4, 2, 0.0)) && cells.contains(&(5, 7, 0.0)));
    }

    #[test]
    fn mistakes_name_their_line_and_limit() {
        let cases = [
            (
                "[array.a2]",
                "die.toml:6: `array.a2`: is no array of this die, which has 2 from `a0` on",
            ),
            ("[array.a0]\nbad_row = [1]", "die.toml:7: `array.a0.bad_row`: is not a known key"),
            (
                "[array.a0]\nbad_rows = [6]",
                "die.toml:7: `array.a0.bad_rows`: has an entry 0 that is not a whole number from 0 to 5",
            ),
            (
                "[array.a0.faults]\n6 = \"0\"",
                "die.toml:7: `array.a0.faults.6`: is no word line, must be 0 to 5",
            ),
            (
                "[array.a0.faults]\n1 = \"........1\"",
                "die.toml:7: `array.a0.faults.1`: goes on beyond column 7",
            ),
            (
                "[array.a0.faults]\n1 = \".?\"",
                "die.toml:7: `array.a0.faults.1`: has the letter `?` at column 1; `.` is a good cell, \
                 stuck ones are `0` `1`",
            ),
            (
                "[array.a0]\ncolumn_gain = [1, 1]",
                "die.toml:7: `array.a0.column_gain`: has 2 numbers, must have 8 or none",
            ),
            (
                "[array.a0]\ncolumn_gain = [1, nan]",
                "die.toml:7: `array.a0.column_gain`: has an entry 1 that is not a number from \
                 -1000000.0 to 1000000.0",
            ),
            ("[stuck_siemens]\nbad = 0", "die.toml:7: `stuck_siemens.bad`: is not one letter"),
            (
                "[stuck_siemens]\nx = -1.0",
                "die.toml:7: `stuck_siemens.x`: must be a number of siemens, 0 to 1.0",
            ),
            (
                "[array.a0]\nstuck_cells_siemens = [[0, 0, 1e-6], [1, 8, 1e-6]]",
                "die.toml:7: `array.a0.stuck_cells_siemens`: has an entry 1 that is not \
                 `[row, column, siemens]` with a row below 6, a column below 8 and 0 to 1.0 siemens",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(problem(body), expected, "{body}");
        }
    }

    #[test]
    fn a_die_of_another_chip_is_refused_at_once() {
        let mut other = plain_chip();
        other.name = "other".into();
        other.arrays.n_cols = 2;
        let problems = parse_die(&file("[array.a0]\nbad_columns = [7]"), "d", &other).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("is not the hash of chip `other`"));
        assert_eq!(problems[0].hints.len(), 1);
    }

    fn record(chip: &Chip, arrays: Vec<ArrayRecord>, seed: Option<u64>) -> DieRecord {
        let arrays = arrays.into_iter().collect();
        DieRecord { name: "r".into(), seed, chip_hash: hash_chip(chip), arrays }
    }

    #[test]
    fn more_conductances_than_letters_are_listed() {
        let cell = |col| StuckCell { row: 1, col, g: col as f32 * 1e-6 };
        let mut chip = plain_chip();
        chip.arrays.n_cols = 40;
        let stuck: Vec<_> = (0..40).map(cell).collect();
        let die =
            record(&chip, vec![ArrayRecord { stuck, ..ArrayRecord::default() }], Some(u64::MAX));
        let text = write_die(&die);
        assert!(
            text.contains("stuck_cells_siemens = [\n  [1, 0, 0.0],\n  [1, 1, 1e-6],\n"),
            "{text}"
        );
        assert_eq!(parse_die(&text, "", &chip).unwrap(), die);
    }

    proptest! {
        #[test]
        fn records_survive_writing(
            cells in proptest::collection::btree_map((0u32..6, 0u32..8), 0usize..50, 0..40),
            gain in proptest::collection::vec(-2.0f32..2.0, 8),
            offset in proptest::option::of(proptest::collection::vec(-9.0f32..9.0, 8)),
            seed in proptest::option::of(any::<u64>()),
        ) {
            let chip = plain_chip();
            let cell = |(&(row, col), &g): (&(u32, u32), &usize)| StuckCell { row, col, g: g as f32 * 7e-7 };
            let first = ArrayRecord {
                stuck: cells.iter().map(cell).collect(),
                column_gain: gain,
                column_offset_lsb: offset.unwrap_or_default(),
                read_back: None,
            };
            let die = record(&chip, vec![first, ArrayRecord::default()], seed);
            let text = write_die(&die);
            let again = parse_die(&text, "die.toml", &chip).unwrap();
            prop_assert_eq!(&again, &die);
            prop_assert_eq!(write_die(&again), text);
        }

        #[test]
        fn no_text_makes_reading_panic(body in "(\\[array|\\.a[0-9]|\\]|faults|[a-z_.=\\[\\]\"{}0-9,\n-]){0,40}") {
            let mut text = file("");
            write!(text, "{body}").unwrap();
            let _ = parse_die(&text, "die.toml", &plain_chip());
        }
    }
}
