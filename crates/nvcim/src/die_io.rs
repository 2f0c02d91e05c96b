//! Die files on disk: TOML for people, `.npz` for notebooks.
//!
//! An `.npz` die holds `chip_hash` (32 bytes), optionally `seed`, and per array `a0`, `a1`, ...:
//! `a0_stuck` (siemens, NaN where a cell is good, `[rows, columns]`), and optionally `a0_gain`,
//! `a0_offset_lsb` (one value per bit line) and `a0_read_back` (siemens, `[rows, columns]`).

use std::fs;
use std::io::Cursor;
use std::path::Path;

use ndarray::{Array1, Array2, Ix1, Ix2, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter, ReadableElement};
use nvcim_chip::describe::Chip;
use nvcim_chip::record::{ArrayRecord, DieRecord, StuckCell};
use nvcim_chip::{die_file, file};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{ArrayId, Id, IdVec};

/// Reads a die file of `chip`, TOML or `.npz`.
///
/// # Errors
/// A file that cannot be read, is broken, or belongs to another chip.
pub fn open_die(path: &Path, chip: &Chip) -> Result<DieRecord> {
    let place = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| {
        Diagnostic::bad_input(&place, error.to_string())
            .hint("give a die file, or make one with `nvcim die sample`")
    })?;
    if bytes.starts_with(b"PK") {
        return read_npz(&place, bytes, chip);
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Diagnostic::bad_input(&place, "is neither TOML text nor `.npz`"))?;
    die_file::parse_die(&text, &place, chip)
}

/// A die as `.npz` bytes.
///
/// # Errors
/// Never for a record of this toolchain; a writer's failure is passed on.
pub fn write_npz(die: &DieRecord, chip: &Chip) -> Result<Vec<u8>> {
    let failed = |error: ndarray_npy::WriteNpzError| Diagnostic::internal("die", error.to_string());
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    npz.add_array("chip_hash", &Array1::from_vec(die.chip_hash.to_vec())).map_err(failed)?;
    if let Some(seed) = die.seed {
        npz.add_array("seed", &Array1::from_vec(vec![seed])).map_err(failed)?;
    }
    let size = (chip.arrays.n_rows, chip.arrays.n_cols);
    for (id, array) in die.arrays.iter_enumerated() {
        let mut stuck = Array2::from_elem(size, f32::NAN);
        for cell in &array.stuck {
            stuck[(cell.row as usize, cell.col as usize)] = cell.g;
        }
        npz.add_array(format!("{id}_stuck"), &stuck).map_err(failed)?;
        let columns = [("gain", &array.column_gain), ("offset_lsb", &array.column_offset_lsb)];
        for (name, values) in columns.into_iter().filter(|(_, values)| !values.is_empty()) {
            let values = Array1::from_vec(values.clone());
            npz.add_array(format!("{id}_{name}"), &values).map_err(failed)?;
        }
        if let Some(read_back) = &array.read_back {
            npz.add_array(format!("{id}_read_back"), read_back).map_err(failed)?;
        }
    }
    Ok(npz.finish().map_err(failed)?.into_inner())
}

fn read_npz(place: &str, bytes: Vec<u8>, chip: &Chip) -> Result<DieRecord> {
    let broken = |what: String| Diagnostic::bad_input(place, what);
    let mut npz = NpzReader::new(Cursor::new(bytes))
        .map_err(|error| broken(format!("is no readable `.npz`: {error}")))?;
    let names = npz.names().map_err(|error| broken(error.to_string()))?;
    let has = |name: &str| names.iter().any(|it| it.trim_end_matches(".npy") == name);
    let expected = file::hash_chip(chip);
    if has("chip_hash") && vector::<u8>(&mut npz, place, "chip_hash")? != expected {
        let message = format!("was made for another chip than `{}`", chip.name);
        return Err(broken(message).hint("pass the chip that the die belongs to").into());
    }
    let seed =
        if has("seed") { vector::<u64>(&mut npz, place, "seed")?.first().copied() } else { None };
    let size = (chip.arrays.n_rows, chip.arrays.n_cols);
    let mut arrays = IdVec::<ArrayId, ArrayRecord>::new();
    while has(&format!("{}_stuck", ArrayId::new(arrays.len()))) {
        let id = ArrayId::new(arrays.len());
        let stuck = matrix(&mut npz, place, &format!("{id}_stuck"), size)?;
        let mut columns = |name: &str| -> Result<Vec<f32>> {
            let name = format!("{id}_{name}");
            if !has(&name) {
                return Ok(Vec::new());
            }
            let values = vector::<f32>(&mut npz, place, &name)?;
            if values.len() == size.1 && values.iter().all(|value| value.is_finite()) {
                return Ok(values);
            }
            let message =
                format!("has `{name}` of {} values, needs {} finite", values.len(), size.1);
            Err(broken(message).into())
        };
        let (column_gain, column_offset_lsb) = (columns("gain")?, columns("offset_lsb")?);
        let name = format!("{id}_read_back");
        let read_back = if has(&name) { Some(matrix(&mut npz, place, &name, size)?) } else { None };
        let cell = |((row, col), &g): ((usize, usize), &f32)| StuckCell {
            row: row as u32,
            col: col as u32,
            g,
        };
        let stuck: Vec<_> = stuck.indexed_iter().filter(|(_, g)| !g.is_nan()).map(cell).collect();
        if let Some(cell) = stuck.iter().find(|cell| !(cell.g.is_finite() && cell.g >= 0.0)) {
            let message = format!("has a cell of {id} stuck at {}, must be 0 or more", cell.g);
            return Err(broken(message).into());
        }
        arrays.push(ArrayRecord { stuck, column_gain, column_offset_lsb, read_back });
    }
    if arrays.is_empty() {
        return Err(broken(format!("holds {names:?}, but no `a0_stuck`")).into());
    }
    let name = Path::new(place).file_stem().map_or("die".into(), |stem| stem.to_string_lossy());
    Ok(DieRecord { name: name.into_owned(), seed, chip_hash: expected, arrays })
}

type Reader = NpzReader<Cursor<Vec<u8>>>;

fn vector<T: ReadableElement>(npz: &mut Reader, place: &str, name: &str) -> Result<Vec<T>> {
    npz.by_name::<OwnedRepr<T>, Ix1>(&format!("{name}.npy"))
        .or_else(|_| npz.by_name::<OwnedRepr<T>, Ix1>(name))
        .map(|values| values.into_iter().collect())
        .map_err(|error| {
            Diagnostic::bad_input(place, format!("cannot read `{name}`: {error}")).into()
        })
}

fn matrix(npz: &mut Reader, place: &str, name: &str, size: (usize, usize)) -> Result<Array2<f32>> {
    let values = npz
        .by_name::<OwnedRepr<f32>, Ix2>(&format!("{name}.npy"))
        .or_else(|_| npz.by_name::<OwnedRepr<f32>, Ix2>(name))
        .map_err(|error| Diagnostic::bad_input(place, format!("cannot read `{name}`: {error}")))?;
    if values.dim() == size {
        return Ok(values);
    }
    let message =
        format!("has `{name}` of {:?} cells, the chip's arrays are {size:?}", values.dim());
    Err(Diagnostic::bad_input(place, message).into())
}
