//! One correction for a span of time: the scale whose worst error over the span is smallest.
//!
//! # Notation
//! `f_t` the gain that a column is expected to have left at time `t`, 1 when just programmed, and `s_t` how far
//! from it a column may well be, both `[times, columns]`; `c` the scale that multiplies what columns answer.
//!
//! # Phases
//! `min over c of max |c (f_t +- s_t) - 1|`, a minimax fit by linear programming with one unknown. For columns
//! without spread whose gains run from `lo` to `hi` it is `c = 2 / (lo + hi)`, which leaves
//! `(hi - lo) / (hi + lo)`: the tests hold the program to that.
//!
//! A scale that is right at the start is wrong by all that drifts until the end; this one is wrong by half of it at
//! both ends. Times are spaced evenly in the logarithm of the time since programming, in which drift is a line.

use ndarray::{Array1, Array2, ArrayView2, Zip};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_lp::fit::fit_minimax;

/// The scale for a span of time, and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanScale {
    /// Multiplies what a column answers.
    pub scale: f64,
    /// The largest relative error over all times and columns without it, `max |f +- s - 1|`.
    pub worst_before: f64,
    /// The same with it.
    pub worst_after: f64,
    /// By how much `worst_after` may exceed the smallest possible, relative to the larger of both.
    pub gap: f64,
}

/// Times from `from_s` to `to_s`, `n_times` of them, evenly spaced in `ln(t0_s + t)`; times count from `t0_s` after
/// programming.
///
/// # Errors
/// A span that is empty or begins before 0, a `t0_s` that is not above 0, and fewer than two times, which cannot
/// hold both ends.
pub fn span_times(from_s: f64, to_s: f64, t0_s: f64, n_times: usize) -> Result<Array1<f64>> {
    let refuse = |message: String, hint: &str| {
        Err(Diagnostic::bad_input("time span", message).hint(hint).into())
    };
    if !(from_s >= 0.0 && to_s >= from_s && to_s.is_finite()) {
        return refuse(
            format!("runs from {from_s:?} s to {to_s:?} s"),
            "give a first time of 0 or more and a last one that is not before it",
        );
    }
    if !(t0_s > 0.0 && t0_s.is_finite()) || n_times < 2 {
        return refuse(
            format!("has {n_times} times with a reference read {t0_s:?} s after programming"),
            "give two times at least, and a reference read that is later than programming",
        );
    }
    let (first, last) = (libm::log(t0_s + from_s), libm::log(t0_s + to_s));
    let step = (last - first) / (n_times - 1) as f64;
    Ok(Array1::from_shape_fn(n_times, |at| match at {
        // The ends are exact, whatever rounding does in between.
        0 => from_s,
        _ if at == n_times - 1 => to_s,
        _ => (libm::exp(first + step * at as f64) - t0_s).clamp(from_s, to_s),
    }))
}

/// The scale that is best over a span for all columns given: those of a tile, or one.
///
/// `gains` is `f`, `spreads` is `s`, which may be left out. Statistics of the chip give both; a column of many
/// cells keeps close to the mean.
///
/// # Errors
/// Shapes that do not agree and numbers that are none are defects of the caller; columns that nothing may be left
/// of cannot be scaled.
pub fn scale_for_span(
    gains: ArrayView2<'_, f64>,
    spreads: Option<ArrayView2<'_, f64>>,
) -> Result<SpanScale> {
    let ends = ends_of(gains, spreads)?;
    let ones = vec![1.0; ends.len()];
    let points = Array2::from_shape_vec((ends.len(), 1), ends).expect("one gain per point");
    let fit = fit_minimax(points.view(), &ones, &[(0.0, f64::INFINITY)])
        .map_err(|why| Diagnostic::internal("time span", format!("has no best scale: {why}")))?;
    let worst =
        |scale: f64| points.iter().fold(0.0f64, |most, f| most.max((scale * f - 1.0).abs()));
    let scale = fit.x[0];
    Ok(SpanScale { scale, worst_before: worst(1.0), worst_after: worst(scale), gap: fit.gap() })
}

/// The gains that a column may have at the ends of its spread.
fn ends_of(gains: ArrayView2<'_, f64>, spreads: Option<ArrayView2<'_, f64>>) -> Result<Vec<f64>> {
    let problem = |message: String| Err(Diagnostic::internal("time span", message).into());
    if gains.is_empty() {
        return problem("gets no gains".into());
    }
    let ends: Vec<f64> = match spreads {
        None => gains.iter().copied().collect(),
        Some(spreads) if spreads.dim() == gains.dim() => {
            let mut ends = Vec::with_capacity(2 * gains.len());
            Zip::from(gains).and(spreads).for_each(|f, s| ends.extend([f - s, f + s]));
            ends
        }
        Some(spreads) => {
            return problem(format!("gets {:?} spreads of {:?} gains", spreads.dim(), gains.dim()));
        }
    };
    if ends.iter().any(|f| !f.is_finite()) {
        return problem("gets a gain that is no number".into());
    }
    if ends.iter().all(|f| *f <= 0.0) {
        let message = "leaves nothing of any column to scale";
        let hint = "choose a shorter span, or refresh at the time of use";
        return Err(Diagnostic::unsupported("time span", message).hint(hint).into());
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Axis, array};
    use proptest::prelude::*;

    use super::{scale_for_span, span_times};

    const DAY: f64 = 86_400.0;

    /// What a power law leaves, `[times, 1]`.
    fn power_law(times: &Array1<f64>, nu: f64, t0: f64) -> Array2<f64> {
        times.mapv(|t| libm::pow((t0 + t) / t0, -nu)).insert_axis(Axis(1))
    }

    #[test]
    fn times_are_even_in_the_logarithm_and_hold_both_ends() {
        let times = span_times(0.0, DAY, 20.0, 9).unwrap();
        assert_eq!((times[0], times[8]), (0.0, DAY));
        let steps: Vec<f64> =
            times.windows(2).into_iter().map(|t| (t[1] + 20.0) / (t[0] + 20.0)).collect();
        assert!(steps.iter().all(|step| (step / steps[0] - 1.0).abs() < 1e-12), "{steps:?}");
        assert_eq!(span_times(5.0, 5.0, 1.0, 2).unwrap(), array![5.0, 5.0]);
        for (from, to, t0, n) in
            [(-1.0, 1.0, 1.0, 2), (2.0, 1.0, 1.0, 2), (0.0, 1.0, 0.0, 2), (0.0, 1.0, 1.0, 1)]
        {
            assert!(span_times(from, to, t0, n).is_err(), "{from} {to} {t0} {n}");
        }
    }

    /// A power law over a year: the closed form from the first and the last gain alone.
    #[test]
    fn a_power_law_is_halved_between_its_ends() {
        let times = span_times(0.0, 365.25 * DAY, 20.0, 17).unwrap();
        let gains = power_law(&times, 0.05, 20.0);
        let (hi, lo) = (gains[(0, 0)], gains[(16, 0)]);
        let span = scale_for_span(gains.view(), None).unwrap();
        assert!((span.scale - 2.0 / (hi + lo)).abs() < 1e-7, "{span:?}");
        assert!((span.worst_after - (hi - lo) / (hi + lo)).abs() < 1e-7, "{span:?}");
        assert!((span.worst_before - (1.0 - lo)).abs() < 1e-12, "{span:?}");
        assert!(span.gap < 1e-7, "{span:?}");
        assert!(span.worst_after < 0.7 * span.worst_before, "{span:?}");
    }

    #[test]
    fn one_moment_without_spread_is_corrected_exactly() {
        let span = scale_for_span(array![[0.8], [0.8]].view(), None).unwrap();
        assert!((span.scale - 1.25).abs() < 1e-8 && span.worst_after < 1e-8, "{span:?}");
    }

    #[test]
    fn what_cannot_be_scaled_is_refused() {
        let gains = array![[1.0, 0.5]];
        assert!(scale_for_span(gains.view(), Some(array![[0.1]].view())).is_err());
        assert!(scale_for_span(array![[f64::NAN]].view(), None).is_err());
        assert!(scale_for_span(array![[0.0], [-0.1]].view(), None).is_err());
        assert!(scale_for_span(Array2::zeros((0, 3)).view(), None).is_err());
    }

    proptest! {
        #[test]
        fn any_columns_with_spread_have_the_closed_form(
            gains in prop::collection::vec(0.2..1.5f64, 6),
            spreads in prop::collection::vec(0.0..0.1f64, 6),
        ) {
            let ends = gains.iter().zip(&spreads).flat_map(|(f, s)| [f - s, f + s]);
            let (lo, hi) = ends.fold((f64::MAX, 0.0f64), |(lo, hi), f| (lo.min(f), hi.max(f)));
            let gains = Array2::from_shape_vec((2, 3), gains).unwrap();
            let spreads = Array2::from_shape_vec((2, 3), spreads).unwrap();
            let span = scale_for_span(gains.view(), Some(spreads.view())).unwrap();
            prop_assert!((span.worst_after - (hi - lo) / (hi + lo)).abs() < 1e-7, "{span:?}");
            prop_assert!((span.scale - 2.0 / (hi + lo)).abs() < 1e-6, "{span:?}");
            prop_assert!(span.worst_after <= span.worst_before + 1e-7, "{span:?}");
        }
    }
}
