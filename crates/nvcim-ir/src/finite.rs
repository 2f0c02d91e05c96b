//! Whether all numbers of a tensor are finite, at the speed of memory.

use ndarray::{ArrayBase, Data, Dimension};

/// Whether no element is an infinity or no number.
pub(crate) fn are_finite<S: Data<Elem = f32>, D: Dimension>(values: &ArrayBase<S, D>) -> bool {
    // Without a way out, several are looked at in one instruction; almost always all have to be.
    let check = |all: bool, value: &f32| all & value.is_finite();
    match values.as_slice_memory_order() {
        Some(values) => values.iter().fold(true, check),
        None => values.iter().fold(true, check),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::are_finite;

    #[test]
    fn one_bad_number_anywhere_is_seen() {
        let mut values = Array2::<f32>::zeros((5, 7));
        assert!(are_finite(&values) && are_finite(&values.t()));
        values[(4, 6)] = f32::NAN;
        assert!(!are_finite(&values) && !are_finite(&values.slice(s![..;2, ..;2])));
        values[(4, 6)] = f32::NEG_INFINITY;
        assert!(!are_finite(&values.t()));
    }
}
