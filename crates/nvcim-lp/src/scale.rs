//! What numbers are divided by before solvers see them.

/// The largest magnitude, 1 where all values are 0.
pub(crate) fn largest_or_one(values: impl IntoIterator<Item = f64>) -> f64 {
    let res = values.into_iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if res > 0.0 { res } else { 1.0 }
}
