//! Values known at a few times: between them linear in the logarithm of time.
//!
//! One cell keeps its draws: where a spread `s(t)` is that of the total error, of which the draw `z1`
//! made `s1` at the first time, the cell stands at
//! `g = mean + s1 z1 + sqrt(max s^2 - s1^2) z2`, the maximum taken over all times so far. So every time
//! has its stated spread (a spread that shrinks counts as one that stays), and the correlation of one
//! cell between two times follows.

/// The value at time `t` of what has `value(i)` at `times[i]`, times above 0 and ascending: before the
/// first, the first value; beyond the last, the straight line goes on.
pub(crate) fn interpolate(times: &[f64], value: impl Fn(usize) -> f64, t: f64) -> f64 {
    let (Some(&first), Some(last)) = (times.first(), times.len().checked_sub(1)) else {
        return 0.0;
    };
    if last == 0 || t <= first {
        return value(0);
    }
    let after = times.partition_point(|&time| time < t).clamp(1, last);
    let (t0, t1) = (times[after - 1], times[after]);
    let share = libm::log(t / t0) / libm::log(t1 / t0);
    let (v0, v1) = (value(after - 1), value(after));
    v0 + share * (v1 - v0)
}

/// The largest value from the first time up to `t`.
pub(crate) fn largest_until(times: &[f64], value: impl Fn(usize) -> f64, t: f64) -> f64 {
    let passed = times.partition_point(|&time| time <= t);
    let here = interpolate(times, &value, t);
    (0..passed).map(value).fold(here, f64::max)
}

/// The spread that a second, independent draw needs so that the total has the spread `total`, where the
/// first draw made `first`.
pub(crate) fn remaining_spread(total: f64, first: f64) -> f64 {
    (total * total - first * first).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{interpolate, largest_until, remaining_spread};

    const TIMES: [f64; 3] = [1.0, 100.0, 10_000.0];
    const VALUES: [f64; 3] = [2.0, 6.0, 4.0];

    #[test]
    fn time_counts_by_its_logarithm() {
        let at = |t| interpolate(&TIMES, |i| VALUES[i], t);
        let values = [0.5, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 1e6].map(at);
        let expected = [2.0, 2.0, 4.0, 6.0, 5.0, 4.0, 2.0];
        assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{values:?}");
    }

    #[test]
    fn the_largest_so_far_never_shrinks() {
        let at = |t| largest_until(&TIMES, |i| VALUES[i], t);
        let values = [1.0, 10.0, 100.0, 1000.0, 1e6].map(at);
        assert!(values.iter().zip([2.0, 4.0, 6.0, 6.0, 6.0]).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn one_time_or_none_is_no_series() {
        assert_eq!(interpolate(&[5.0], |_| 3.0, 1e9), 3.0);
        assert_eq!(interpolate(&[], |_| 3.0, 1.0), 0.0);
    }

    #[test]
    fn spreads_add_in_squares() {
        assert_eq!(remaining_spread(5.0, 3.0), 4.0);
        assert_eq!(remaining_spread(2.0, 3.0), 0.0);
    }
}
