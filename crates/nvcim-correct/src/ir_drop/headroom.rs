//! The gain of a set of pairs: as large as errors allow.
//!
//! **Notation.** A pair wants `w` and can be worth `lo` to `hi`. At gain `1 / t` it misses `w` by the
//! distance of `w` to `[lo t, hi t]`, and `E(t)` is the sum of squares of these.
//!
//! **Idea.** Distances to a cone are convex in `t`, hence `E` is. Over pairs of free cells its minimum
//! is 0, and begins at the least `t` that brings the last one in reach, which is the largest gain. Over
//! all pairs, stuck ones included, the minimum is above 0: a cell stuck too high does less harm at a
//! larger gain, where others begin to clip. The smaller `t` of both is taken. (A pair that a stuck cell
//! makes too small would ask for ever less gain, and lose all signal for a small part of the error.)
//! Both are left ends of minima, found by Newton's method on `E'` in a bracket; an allowance is then
//! spent on more gain by Newton's method on `E`, which falls up to there.

/// Steps of each search; Newton's method on a piecewise parabola needs less than ten as a rule.
const MAX_STEPS: usize = 60;

/// A relative change of `t` that no result depends on.
const ENOUGH: f64 = 1e-13;

/// What one pair wants and what it can be worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) lo: f64,
    pub(super) hi: f64,
    pub(super) wanted: f64,
    /// Whether none of its cells is stuck.
    pub(super) is_free: bool,
}

/// `E` with its first two derivatives.
#[derive(Debug, Clone, Copy)]
struct Misses {
    value: f64,
    slope: f64,
    curvature: f64,
}

/// The largest gain up to `at_most` that leaves free pairs in reach, or a larger one where that makes the
/// squared error over all pairs smaller, or at most `allowance` squared of what is wanted larger.
pub(super) fn largest_gain(spans: &[Span], at_most: f64, allowance: f64) -> f64 {
    let start = at_most.recip();
    let free: Vec<_> = spans.iter().copied().filter(|span| span.is_free).collect();
    let mut t = least_misses(&free, start);
    if free.len() < spans.len() && t > start {
        t = t.min(least_misses(spans, start));
    }
    let wanted: f64 = spans.iter().map(|span| span.wanted * span.wanted).sum();
    let budget = allowance * allowance * wanted;
    if budget > 0.0 && t > start { spend(spans, start, t, budget).recip() } else { t.recip() }
}

fn misses(spans: &[Span], t: f64) -> Misses {
    let mut sum = Misses { value: 0.0, slope: 0.0, curvature: 0.0 };
    for Span { lo, hi, wanted, .. } in spans {
        let (above, below) = (wanted - hi * t, lo * t - wanted);
        let (miss, change) = if above > 0.0 { (above, -hi) } else { (below.max(0.0), *lo) };
        if miss > 0.0 {
            sum.value += miss * miss;
            sum.slope += 2.0 * miss * change;
            sum.curvature += 2.0 * change * change;
        }
    }
    sum
}

/// The least `t` from `start` on with no smaller `E` anywhere.
fn least_misses(spans: &[Span], start: f64) -> f64 {
    if misses(spans, start).slope >= 0.0 {
        return start;
    }
    let (mut left, mut right) = (start, 2.0 * start);
    for _ in 0..MAX_STEPS {
        if misses(spans, right).slope >= 0.0 {
            break;
        }
        (left, right) = (right, 2.0 * right);
    }
    // Newton's steps from the left end, so that the left end of a flat minimum is found.
    for _ in 0..MAX_STEPS {
        let here = misses(spans, left);
        let newton = left - here.slope / here.curvature;
        let inside = newton > left && newton < right;
        let next = if inside { newton } else { 0.5 * (left + right) };
        if next - left <= ENOUGH * left {
            return next;
        }
        let there = misses(spans, next);
        if there.slope < 0.0 {
            left = next
        } else {
            right = next
        }
        // A flat minimum begins where Newton's step ends, to rounding.
        if inside && there.slope == 0.0 {
            return next;
        }
    }
    right
}

/// The least `t` from `start` on with at most `budget` more than at `least`, up to which `E` falls.
fn spend(spans: &[Span], start: f64, least: f64, budget: f64) -> f64 {
    let limit = misses(spans, least).value + budget;
    let mut t = start;
    for _ in 0..MAX_STEPS {
        let here = misses(spans, t);
        let next = t + (limit - here.value) / here.slope;
        // Convex and falling: Newton's steps stay left of the solution.
        if here.value <= limit || next - t <= ENOUGH * t {
            break;
        }
        t = next.min(least);
    }
    t
}

#[cfg(test)]
mod tests {
    use super::{Span, largest_gain, misses};
    use proptest::prelude::*;

    fn span(lo: f64, hi: f64, wanted: f64) -> Span {
        Span { lo, hi, wanted, is_free: true }
    }

    #[test]
    fn the_farthest_pair_sets_the_gain() {
        let spans = [span(-0.9, 0.9, 1.0), span(-0.5, 0.8, -0.6), span(-1.0, 1.0, 0.2)];
        assert!((largest_gain(&spans, 2.0, 0.0) - 0.5 / 0.6).abs() < 1e-12);
        assert_eq!(largest_gain(&spans, 0.7, 0.0), 0.7);
        assert_eq!(largest_gain(&[], 1.0, 0.0), 1.0);
    }

    #[test]
    fn an_allowance_is_spent() {
        let spans = [span(-0.9, 0.9, 1.0), span(-0.5, 0.8, -0.6)];
        let gain = largest_gain(&spans, 2.0, 0.01);
        assert!(gain > 0.5 / 0.6);
        let spent = misses(&spans, gain.recip()).value;
        assert!((spent / (1e-4 * 1.36) - 1.0).abs() < 1e-9, "{spent:e}");
    }

    #[test]
    fn a_pair_stuck_low_costs_no_signal() {
        let low = Span { is_free: false, ..span(-0.9, 0.01, 1.0) };
        let free = span(-0.8, 0.8, 1.0);
        assert!((largest_gain(&[low, free], 1.0, 0.0) - 0.8).abs() < 1e-12);
        let high = Span { is_free: false, ..span(0.7, 0.9, 0.1) };
        assert!(largest_gain(&[high, free], 1.0, 0.0) > 0.85);
    }

    proptest! {
        /// On a grid, no gain between the one chosen and the bound makes errors smaller, and free pairs
        /// are in reach unless that makes errors over all smaller.
        #[test]
        fn errors_are_the_least_and_gains_the_largest(
            ends in prop::collection::vec((-1.0..=1.0f64, 0.0..=1.0f64, -1.0..=1.0f64), 0..20),
            stuck in prop::collection::vec((-1.0..=1.0f64, 0.0..=1.0f64, -1.0..=1.0f64), 0..5),
        ) {
            let spans = |ends: &[(f64, f64, f64)], is_free| -> Vec<Span> {
                let to_span = |&(lo, wide, w)| Span { is_free, ..span(lo, lo + wide, w) };
                ends.iter().map(to_span).collect()
            };
            let free = spans(&ends, true);
            let all = [free.clone(), spans(&stuck, false)].concat();
            let got = largest_gain(&all, 2.0, 0.0);
            let error = |spans: &[Span], gain: f64| misses(spans, gain.recip()).value;
            for gain in (1..=2000).map(|at| f64::from(at) / 1000.0) {
                if gain > got * (1.0 + 1e-6) {
                    prop_assert!(error(&all, gain) > error(&all, got) - 1e-12, "{got} {gain}");
                } else {
                    let better_free = error(&free, gain) < error(&free, got) - 1e-9;
                    let better = error(&all, gain) < error(&all, got) - 1e-9;
                    prop_assert!(!(better_free && better), "{got} {gain}");
                }
            }
        }
    }
}
