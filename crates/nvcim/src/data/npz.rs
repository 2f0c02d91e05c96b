//! `.npz` files with `x` (u8, i8, i32, i64, f32 or f64) and optionally integer labels `y`.

use std::fs::File;

use ndarray::{ArrayD, Ix3, Ix4, OwnedRepr};
use ndarray_npy::{NpzReader, ReadableElement};
use nvcim_ir::diag::{Diagnostic, Result};

use super::{Pair, Raw};

/// Reads a data set; bytes of three or four axes are images, everything else is taken as it is.
pub(crate) fn read_npz(path: &str) -> Result<Pair> {
    let file = File::open(path).map_err(|error| {
        Diagnostic::bad_input(path, error.to_string())
            .hint("give an `.npz` file with `x` and, for accuracies, `y`")
    })?;
    let mut npz = NpzReader::new(file)
        .map_err(|error| Diagnostic::bad_input(path, format!("is no readable `.npz`: {error}")))?;
    let names = npz.names().map_err(|error| Diagnostic::bad_input(path, error.to_string()))?;
    let has = |name: &str| names.iter().any(|it| it.trim_end_matches(".npy") == name);
    if !has("x") {
        let message = format!("holds {names:?}, but no `x`");
        return Err(Diagnostic::bad_input(path, message).into());
    }
    let raw = if let Some(x) = read_array::<u8>(&mut npz, "x") {
        images_or_floats(x, false)
    } else if let Some(x) = read_array::<i8>(&mut npz, "x") {
        images_or_floats(x.mapv(|value| value as u8), true)
    } else if let Some(x) = read_array::<f32>(&mut npz, "x") {
        Raw::Floats(x)
    } else if let Some(x) = read_array::<f64>(&mut npz, "x") {
        Raw::Floats(x.mapv(|value| value as f32))
    } else if let Some(x) = read_array::<i64>(&mut npz, "x") {
        Raw::Floats(x.mapv(|value| value as f32))
    } else if let Some(x) = read_array::<i32>(&mut npz, "x") {
        Raw::Floats(x.mapv(|value| value as f32))
    } else {
        let message = "has an `x` that is not u8, i8, i32, i64, f32 or f64, or is damaged";
        return Err(Diagnostic::bad_input(path, message).into());
    };
    let labels = if !has("y") {
        None
    } else if let Some(y) = read_array::<i64>(&mut npz, "y") {
        Some(y.into_iter().collect())
    } else if let Some(y) = read_array::<i32>(&mut npz, "y") {
        Some(y.into_iter().map(i64::from).collect())
    } else if let Some(y) = read_array::<u8>(&mut npz, "y") {
        Some(y.into_iter().map(i64::from).collect())
    } else {
        let message = "has a `y` that is not i64, i32 or u8, or is damaged";
        return Err(Diagnostic::bad_input(path, message).into());
    };
    Ok((raw, labels))
}

fn read_array<T: ReadableElement>(npz: &mut NpzReader<File>, name: &str) -> Option<ArrayD<T>> {
    npz.by_name::<OwnedRepr<T>, _>(&format!("{name}.npy"))
        .or_else(|_| npz.by_name::<OwnedRepr<T>, _>(name))
        .ok()
}

fn images_or_floats(x: ArrayD<u8>, signed: bool) -> Raw {
    let dims = if let Ok(grey) = x.view().into_dimensionality::<Ix3>() {
        let (n, height, width) = grey.dim();
        [n, height, width, 1]
    } else if let Ok(colour) = x.view().into_dimensionality::<Ix4>() {
        let (n, height, width, channels) = colour.dim();
        [n, height, width, channels]
    } else {
        [
            x.shape().first().copied().unwrap_or(0),
            1,
            x.len() / x.shape().first().copied().unwrap_or(1).max(1),
            1,
        ]
    };
    Raw::Bytes { values: x.iter().copied().collect(), dims, signed }
}
