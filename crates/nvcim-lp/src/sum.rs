//! Sums and differences whose rounding is under control.

/// `a - b` rounded down: never above the exact difference.
pub(crate) fn difference_below(a: f64, b: f64) -> f64 {
    let (rounded, error) = two_sum(a, -b);
    if error < 0.0 { rounded.next_down() } else { rounded }
}

/// The sum of finite `values`, as if with twice the digits and then rounded once.
///
/// Source: T. Ogita, S. M. Rump and S. Oishi, "Accurate sum and dot product", SIAM Journal on Scientific Computing 26,
/// 2005, doi 10.1137/030601818.
pub(crate) fn exact_sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut rest) = (0.0, 0.0);
    for value in values {
        let (next, error) = two_sum(sum, value);
        sum = next;
        rest += error;
    }
    sum + rest
}

/// `a + b` rounded, and what rounding lost: their sum is exact.
///
/// Source: D. E. Knuth, "The Art of Computer Programming", volume 2, section 4.2.2.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(exact_sum([1e17, 1.0, -1e17]), 1.0);
        assert_eq!(exact_sum([]), 0.0);
    }

    #[test]
    fn differences_round_down_and_exact_ones_stay() {
        assert_eq!(difference_below(3.0, 1.5), 1.5);
        let tiny = f64::EPSILON / 4.0;
        assert!(difference_below(1.0, tiny) < 1.0);
        assert_eq!(difference_below(1.0, -tiny), 1.0);
    }
}
