//! A die's fault map from matrix-vector products: what `nvcim die import --from-mvm` reads.
//!
//! `docs/die-format.md` describes the two `.npy` arrays: drives `[reads, rows]`, and the results of the same drives
//! after writing every cell low and after writing every cell high, `[2, reads, arrays, columns]`.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix2, Ix3, Ix4};
use ndarray_npy::ReadNpyExt;
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::read::ReadCell;
use nvcim_chip::file::hash_chip;
use nvcim_chip::record::{ArrayRecord, DieRecord, StuckCell};
use nvcim_correct::localize::{ArrayReads, CellNoise, ColumnFindings, FaultSearch, check_drives};
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::ids::{ArrayId, Id, IdVec};
use rayon::prelude::*;

/// Finds the stuck cells of a die from drives at `drives` and results at `results`, both `.npy`.
///
/// `result_sd` is the standard deviation of a result in its own unit; without it, that of rounding to the smallest
/// step between results. Columns whose results are not explained are warned of; what was found there is kept.
///
/// # Errors
/// Files that cannot be read, shapes that do not fit each other or the chip, and numbers that cannot be.
pub fn find_die_faults(
    drives: &Path,
    results: &Path,
    chip: &Chip,
    result_sd: Option<f64>,
) -> Result<Warned<DieRecord>> {
    let x = read_drives(drives, chip)?;
    let y = read_results(results, &x, chip)?;
    let place = results.display().to_string();
    let mut arrays = IdVec::<ArrayId, ArrayRecord>::new();
    let mut warnings = Vec::new();
    let [low, high] = &y;
    for (at, (low, high)) in low.iter().zip(high).enumerate() {
        let columns = search_array(&x, low.view(), high.view(), chip, result_sd)
            .map_err(|problems| within(problems, &format!("{place}: {}", ArrayId::new(at))))?;
        warnings.extend(warn_of(&columns, ArrayId::new(at), x.nrows(), &place));
        arrays.push(ArrayRecord { stuck: in_order(&columns), ..ArrayRecord::default() });
    }
    let name = results.file_stem().map_or("die".into(), |stem| stem.to_string_lossy());
    let die = DieRecord { name: name.into_owned(), seed: None, chip_hash: hash_chip(chip), arrays };
    Ok(Warned { output: die, warnings })
}

fn search_array(
    drives: &Array2<f64>,
    low: ArrayView2<'_, f64>,
    high: ArrayView2<'_, f64>,
    chip: &Chip,
    result_sd: Option<f64>,
) -> Result<Vec<ColumnFindings>> {
    let noise = noise_of(chip, result_sd.unwrap_or_else(|| rounding_of(low, high)));
    let search = FaultSearch::new(ArrayReads { drives: drives.view(), low, high }, noise)?;
    let find = |col| search.find(low.column(col), high.column(col));
    (0..low.ncols()).into_par_iter().map(find).collect()
}

/// Stuck cells by row, then column, as a die record has them.
fn in_order(columns: &[ColumnFindings]) -> Vec<StuckCell> {
    let of_column = |(col, findings): (usize, &ColumnFindings)| {
        let cell = |g: f64, row| StuckCell { row, col: col as u32, g: g as f32 };
        findings.stuck.iter().map(|found| cell(found.g, found.row)).collect::<Vec<_>>()
    };
    let mut stuck: Vec<_> = columns.iter().enumerate().flat_map(of_column).collect();
    stuck.sort_by_key(|cell| (cell.row, cell.col));
    stuck
}

/// What the chip's description says of its cells right after writing.
fn noise_of(chip: &Chip, result: f64) -> CellNoise {
    let cell = &chip.cell;
    let ends = [cell.g_min, cell.g_max];
    let written = |g: f64| match (&chip.effects.measured, &chip.effects.programming) {
        (Some(table), _) => table.moments(g, 0.0).1,
        (None, Some(error)) => error.moments(g, cell).1,
        (None, None) => 0.0,
    };
    let read = |g: f64| {
        let read = ReadCell { programmed: g, g, at_s: 0.0 };
        chip.effects.read.map_or(0.0, |noise| noise.sd(cell, &read))
    };
    CellNoise {
        g_min: cell.g_min,
        g_max: cell.g_max,
        written: ends.map(|g| written(g) / cell.range()),
        read: ends.map(|g| read(g) / cell.range()),
        result,
    }
}

/// The standard deviation of rounding to the smallest step between a column's results, of the column in the middle:
/// a code's step where results are codes or stand for them, next to nothing where they are not rounded.
fn rounding_of(low: ArrayView2<'_, f64>, high: ArrayView2<'_, f64>) -> f64 {
    let step_of = |col: usize| {
        let mut values: Vec<f64> =
            low.column(col).iter().chain(high.column(col)).copied().collect();
        values.sort_by(f64::total_cmp);
        let steps = values.windows(2).map(|pair| pair[1] - pair[0]);
        steps.filter(|step| *step > 0.0).fold(f64::INFINITY, f64::min)
    };
    let mut steps: Vec<f64> = (0..low.ncols()).map(step_of).filter(|it| it.is_finite()).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).map_or(0.0, |step| step / 12f64.sqrt())
}

fn warn_of(
    columns: &[ColumnFindings],
    array: ArrayId,
    n_reads: usize,
    place: &str,
) -> Option<Diagnostic> {
    let doubtful: Vec<_> = columns.iter().enumerate().filter(|(_, it)| !it.trusted).collect();
    let (first, _) = doubtful.first()?;
    let needed = doubtful.iter().map(|(_, it)| it.reads_needed).max()?;
    let message = format!(
        "leaves {} of {} columns in doubt, the first is {first}: their faults may be others",
        doubtful.len(),
        columns.len()
    );
    let hint = if needed > n_reads {
        format!("take {needed} reads; there are {n_reads}")
    } else {
        "drive fewer rows at a time, widen the converter's range, or say with `--result-sd` how \
         noisy results are"
            .into()
    };
    Some(Diagnostic::bad_input(format!("{place}: {array}"), message).hint(hint))
}

/// Drives, `[reads, rows]`.
fn read_drives(path: &Path, chip: &Chip) -> Result<Array2<f64>> {
    let place = path.display().to_string();
    let values = read_npy(path)?;
    let message = format!("has shape {:?}, must be [reads, rows]", values.shape());
    let x = values
        .into_dimensionality::<Ix2>()
        .map_err(|_| Diagnostic::bad_input(&place, message).hint(SHAPES))?;
    if x.ncols() != chip.arrays.n_rows {
        let message = format!("drives {} rows, arrays of `{}` have {}", x.ncols(), chip.name, {
            chip.arrays.n_rows
        });
        let hint = "give a drive for every physical row, 0 where one rests";
        return Err(Diagnostic::bad_input(place, message).hint(hint).into());
    }
    check_drives(x.view()).map_err(|problems| within(problems, &place))?;
    Ok(x)
}

/// The results of the low and of the high write, a `[reads, columns]` for each array.
fn read_results(path: &Path, x: &Array2<f64>, chip: &Chip) -> Result<[Vec<Array2<f64>>; 2]> {
    let place = path.display().to_string();
    let refuse =
        |message: String, hint: &str| Err(Diagnostic::bad_input(&place, message).hint(hint).into());
    let values = read_npy(path)?;
    let shape = values.shape().to_vec();
    let whole = match shape.len() {
        3 => values.into_dimensionality::<Ix3>().map(|one| one.insert_axis(Axis(2))),
        _ => values.into_dimensionality::<Ix4>(),
    };
    let Ok(y) = whole else {
        return refuse(format!("has shape {shape:?}, must be [2, reads, arrays, columns]"), SHAPES);
    };
    let (n_writes, n_reads, n_arrays, n_cols) = y.dim();
    if n_writes != 2 {
        return refuse(format!("has results of {n_writes} writes, must be low and high"), SHAPES);
    }
    if n_reads != x.nrows() {
        return refuse(format!("has {n_reads} reads, there are drives of {}", x.nrows()), SHAPES);
    }
    if n_cols != chip.arrays.n_cols {
        let message =
            format!("has {n_cols} columns, arrays of `{}` have {}", chip.name, chip.arrays.n_cols);
        return refuse(message, "give a result for every physical column");
    }
    if n_arrays == 0 || chip.arrays.count.is_some_and(|count| n_arrays > count) {
        let message = format!("has {n_arrays} arrays, `{}` has {:?}", chip.name, chip.arrays.count);
        return refuse(message, "give results of the chip's arrays, from the first on");
    }
    let of_write = |write: usize| {
        let results = y.index_axis(Axis(0), write);
        results.axis_iter(Axis(1)).map(|array| array.to_owned()).collect()
    };
    Ok([of_write(0), of_write(1)])
}

/// What both files hold, for hints.
const SHAPES: &str =
    "give drives [reads, rows] and results [2, reads, arrays, columns], low write first";

/// An array of floats or whole numbers.
fn read_npy(path: &Path) -> Result<ArrayD<f64>> {
    let place = path.display().to_string();
    let bytes = fs::read(path)
        .map_err(|error| Diagnostic::bad_input(&place, error.to_string()).hint("check the path"))?;
    let (f64s, f32s) = (ArrayD::<f64>::read_npy(Cursor::new(&bytes)), || {
        ArrayD::<f32>::read_npy(Cursor::new(&bytes)).map(|array| array.mapv(f64::from))
    });
    let whole = || {
        let wide = ArrayD::<i64>::read_npy(Cursor::new(&bytes)).map(|it| it.mapv(|v| v as f64));
        wide.or_else(|_| ArrayD::<i32>::read_npy(Cursor::new(&bytes)).map(|it| it.mapv(f64::from)))
            .or_else(|_| ArrayD::<u16>::read_npy(Cursor::new(&bytes)).map(|it| it.mapv(f64::from)))
    };
    f64s.or_else(|_| f32s()).or_else(|_| whole()).map_err(|_| {
        Diagnostic::bad_input(place, "is no `.npy` array of f64, f32, i64, i32 or u16")
            .hint("write it with `numpy.save`")
            .into()
    })
}

fn within(problems: Vec<Diagnostic>, place: &str) -> Vec<Diagnostic> {
    problems.into_iter().map(|problem| problem.within(place)).collect()
}
