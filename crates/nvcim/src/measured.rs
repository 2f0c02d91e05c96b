//! A chip with the cells of a measured table, from CSV or `.npz`.
//!
//! An archive holds `times_seconds` `[times]`, `targets_siemens` `[targets]`, `mean_siemens` and
//! `sd_siemens` `[times, targets]`, in f32 or f64: the keys of `[effects.measured]`.

use std::fs;
use std::io::Cursor;

use ndarray::{ArrayD, Ix1, Ix2, OwnedRepr};
use ndarray_npy::{NpzReader, ReadableElement};
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::measured::Measured;
use nvcim_chip::measured_csv::parse_measured_csv;
use nvcim_ir::diag::{Diagnostic, Result, Warned};

/// A chip whose cells behave as measured.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The chip.
    pub chip: Chip,
    /// The tables of the chip file that the measured one stands in for.
    pub replaced: Vec<&'static str>,
}

/// Reads a measured table: an `.npz`, or else CSV.
///
/// # Errors
/// A file that cannot be read; what is wrong with it, with its line or array.
pub fn open_measured(path: &str) -> Result<Measured> {
    let bytes = fs::read(path)
        .map_err(|error| Diagnostic::bad_input(path, error.to_string()).hint("check the path"))?;
    if bytes.starts_with(b"PK") {
        return read_measured_npz(&bytes, path);
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Diagnostic::bad_input(path, "is neither text nor an `.npz`")
            .hint("give a CSV file or an `.npz` as docs/chip-format.md describes them")
    })?;
    parse_measured_csv(&text, path)
}

/// The chip with measured cells in place of those that it describes, with a warning where the table does
/// not reach from the lowest to the highest conductance; `origin` says where the table is from.
pub fn replace_cells(chip: &Chip, measured: Measured, origin: &str) -> Warned<Fitted> {
    let mut chip = chip.clone();
    let effects = &mut chip.effects;
    let given = [
        ("effects.programming", effects.programming.take().is_some()),
        ("effects.drift", effects.drift.take().is_some()),
        ("effects.measured", effects.measured.is_some()),
    ];
    let replaced: Vec<_> =
        given.into_iter().filter(|(_, given)| *given).map(|(table, _)| table).collect();
    let is_replaced = |key: &str| {
        let inside =
            |table: &str| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        given.iter().any(|(table, _)| key == *table || inside(table))
    };
    chip.sources.retain(|(key, _)| !is_replaced(key));
    chip.sources.push(("effects.measured".to_owned(), format!("measured: {origin}")));
    chip.sources.sort();
    let warnings = warn_of_reach(&chip, &measured).into_iter().collect();
    chip.effects.measured = Some(measured);
    Warned { output: Fitted { chip, replaced }, warnings }
}

fn warn_of_reach(chip: &Chip, measured: &Measured) -> Option<Diagnostic> {
    let (first, last) = (measured.targets.first()?, measured.targets.last()?);
    let (lowest, highest) = (chip.cell.g_min, chip.cell.g_max);
    let message = format!(
        "has targets from {first:?} to {last:?} S, the cells go from {lowest:?} to {highest:?} S: beyond its \
         targets a cell errs like the nearest one"
    );
    let hint =
        "measure to both ends, or set `g_min_siemens` and `g_max_siemens` to what was measured";
    let reaches = *first <= lowest && *last >= highest;
    (!reaches).then(|| Diagnostic::bad_input("measured table", message).hint(hint))
}

fn read_measured_npz(bytes: &[u8], path: &str) -> Result<Measured> {
    let refuse = |array: &str, message: String| {
        let hint = "give `times_seconds` [times], `targets_siemens` [targets], `mean_siemens` and \
                    `sd_siemens` [times, targets], in f32 or f64";
        Diagnostic::bad_input(format!("{path}: `{array}`"), message).hint(hint)
    };
    let mut npz = NpzReader::new(Cursor::new(bytes))
        .map_err(|error| Diagnostic::bad_input(path, format!("is no readable `.npz`: {error}")))?;
    let mut find = |name: &str| {
        read_floats(&mut npz, name)
            .ok_or_else(|| refuse(name, "is missing, or no array of f32 or f64".into()))
    };
    let list = |name: &str, array: ArrayD<f64>| {
        let shape = format!("has shape {:?}, must have one axis", array.shape());
        let list = array.into_dimensionality::<Ix1>().map_err(|_| refuse(name, shape))?;
        Ok::<_, Diagnostic>(list.to_vec())
    };
    let rows = |name: &str, array: ArrayD<f64>| {
        let shape = format!("has shape {:?}, must be [times, targets]", array.shape());
        let rows = array.into_dimensionality::<Ix2>().map_err(|_| refuse(name, shape))?;
        Ok::<_, Diagnostic>(rows.outer_iter().map(|row| row.to_vec()).collect::<Vec<_>>())
    };
    let measured = Measured {
        times_s: list("times_seconds", find("times_seconds")?)?,
        targets: list("targets_siemens", find("targets_siemens")?)?,
        means: rows("mean_siemens", find("mean_siemens")?)?,
        sds: rows("sd_siemens", find("sd_siemens")?)?,
    };
    measured.check().map_err(|(array, message)| refuse(array, message))?;
    Ok(measured)
}

fn read_floats(npz: &mut NpzReader<Cursor<&[u8]>>, name: &str) -> Option<ArrayD<f64>> {
    let wide = read_array::<f64>(npz, name);
    wide.or_else(|| read_array::<f32>(npz, name).map(|array| array.mapv(f64::from)))
}

fn read_array<T: ReadableElement>(
    npz: &mut NpzReader<Cursor<&[u8]>>,
    name: &str,
) -> Option<ArrayD<T>> {
    npz.by_name::<OwnedRepr<T>, _>(&format!("{name}.npy"))
        .or_else(|_| npz.by_name::<OwnedRepr<T>, _>(name))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ndarray::{Array1, Array2, array};
    use ndarray_npy::NpzWriter;
    use nvcim_chip::file::{parse_chip, write_chip};
    use nvcim_chip::presets::find_preset;

    use super::{Measured, read_measured_npz, replace_cells};

    fn npz(times: &Array1<f64>, sd: &Array2<f64>) -> Vec<u8> {
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        npz.add_array("times_seconds", times).unwrap();
        npz.add_array("targets_siemens", &array![1e-6f32, 40e-6]).unwrap();
        npz.add_array("mean_siemens", &array![[1e-6, 4e-5], [2e-6, 3e-5]]).unwrap();
        npz.add_array("sd_siemens", sd).unwrap();
        npz.finish().unwrap().into_inner()
    }

    #[test]
    fn an_archive_is_read_and_its_flaws_are_placed() {
        let times = array![1.0, 60.0];
        let sd = Array2::from_elem((2, 2), 1e-6);
        let measured = read_measured_npz(&npz(&times, &sd), "m.npz").unwrap();
        assert_eq!(measured.means, [[1e-6, 4e-5], [2e-6, 3e-5]]);
        let problem = |bytes: &[u8]| read_measured_npz(bytes, "m.npz").unwrap_err()[0].to_string();
        let wrong = problem(&npz(&array![60.0, 1.0], &sd));
        assert!(wrong.starts_with("m.npz: `times_seconds`: does not ascend"), "{wrong}");
        let wrong = problem(&npz(&times, &Array2::zeros((2, 3))));
        assert!(wrong.starts_with("m.npz: `sd_siemens`: must have a number for each"), "{wrong}");
        let empty = NpzWriter::new(Cursor::new(Vec::new())).finish().unwrap().into_inner();
        assert!(problem(&empty).contains("is missing"));
    }

    #[test]
    fn a_table_takes_the_place_of_what_it_measures() {
        let chip = find_preset("rram-neurram").unwrap();
        let measured = Measured {
            times_s: vec![1.0],
            targets: vec![1e-6, 30e-6],
            means: vec![vec![1e-6, 30e-6]],
            sds: vec![vec![1e-6, 2e-6]],
        };
        let replaced = replace_cells(&chip, measured.clone(), "m.csv");
        assert_eq!(replaced.output.replaced, ["effects.programming", "effects.drift"]);
        // The table ends at 30 uS, the cells do not.
        assert_eq!(replaced.warnings.len(), 1);
        let again = parse_chip(&write_chip(&replaced.output.chip), "mine").unwrap();
        assert_eq!(again.output, replaced.output.chip);
        assert!(again.warnings.is_empty(), "{:?}", again.warnings);
        let twice = replace_cells(&again.output, measured, "n.csv");
        assert_eq!(twice.output.replaced, ["effects.measured"]);
    }
}
