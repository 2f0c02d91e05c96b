//! Refresh: the one gain that drift took from a tile or a column, from a few fixed random vectors.
//!
//! # Notation
//! `x` the vectors, `[vectors, rows]`, drives from 0 to 1; `e` what a tile should answer to them, `m` what it
//! does answer, both `[vectors, columns]` in the same unit. One random vector raises the current of many cells
//! at once: the current of a single one falls below an LSB once it has drifted.
//!
//! # Phases
//! `m = k e + b` by least squares, with one `k` for all columns given and one `b` per column. The noise is in
//! `m`, hence `m` is regressed on `e` and not the other way round, which would shrink the gain by the noise.
//! Codes at an end of the range say only that the truth lies beyond. Leaving them out by what they read would
//! keep those that noise pulled inside; the second and third round therefore choose by what `k e + b` of the
//! round before predicts, with a margin of three standard deviations of what is left.
//!
//! # Source
//! One scale per column or layer on drift: V. Joshi et al., "Accurate deep neural network inference using
//! computational phase-change memory", Nature Communications 11, 2473 (2020), doi 10.1038/s41467-020-16108-9.

use ndarray::{Array2, ArrayView2};
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;

/// Vectors that a refresh drives: their noise averages to a fifth of one read's.
pub const N_VECTORS: usize = 32;

/// Rounds of fitting: one on what was not clipped, two on what should not be.
const ROUNDS: usize = 3;

/// Standard deviations that a prediction must keep from the ends of the range.
const MARGIN_SDS: f64 = 3.0;

/// What a refresh found.
#[derive(Debug, Clone, PartialEq)]
pub struct Refresh {
    /// Multiplies measured outputs, so that they are as large as they should be: `1 / k`.
    pub factor: f64,
    /// Standard error of `factor`.
    pub standard_error: f64,
    /// Is added to a column's outputs after `factor`: `-b / k`. Zeros where offsets are not fitted.
    pub shifts: Vec<f64>,
    /// Measurements that the fit rests on, of `vectors x columns`.
    pub n_used: usize,
}

/// What is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offsets {
    /// A gain alone: right where offsets are known to be corrected already.
    Kept,
    /// A gain, and an offset for each column.
    Fitted,
}

/// The drives of refresh vectors, `[n_vectors, n_rows]`, uniform from 0 to 1: the same on every call, and the
/// first rows of a taller tile are those of a lower one.
pub fn refresh_vectors(n_vectors: usize, n_rows: usize) -> Array2<f32> {
    let stream = Stream::new(REFRESH_KEY, 0, Effect::Drift);
    Array2::from_shape_fn((n_vectors, n_rows), |(vector, row)| {
        stream.uniform([vector as u32, row as u32, 0, 0]) as f32
    })
}

/// The run's seed of refresh vectors: `refresh` in ASCII, apart from the small numbers that people choose.
const REFRESH_KEY: u64 = 0x7265_6672_6573_6800;

/// The gain of `measured` over `expected`, `[vectors, columns]` each, and what undoes it.
///
/// `ends` are the outputs that the lowest and the highest code of the columns stand for; a measurement at or
/// beyond one counts as clipped. `None` is answered where too little is left to fit, or where the columns do
/// not answer to their input at all: a gain that is not above 0 cannot be undone.
///
/// # Panics
/// If shapes differ.
pub fn refresh_gain(
    measured: ArrayView2<'_, f64>,
    expected: ArrayView2<'_, f64>,
    ends: Option<(f64, f64)>,
    offsets: Offsets,
) -> Option<Refresh> {
    assert_eq!(measured.dim(), expected.dim(), "one expectation per measurement");
    let (lo, hi) = ends.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    let inside = |value: f64, margin: f64| value > lo + margin && value < hi - margin;
    let mut used = measured.mapv(|value| inside(value, 0.0));
    let mut line = fit_line(measured, expected, &used, offsets)?;
    for _ in 1..ROUNDS {
        let margin = MARGIN_SDS * line.residual_sd;
        used = Array2::from_shape_fn(measured.dim(), |(vector, col)| {
            inside(line.gain * expected[(vector, col)] + line.offsets[col], margin)
        });
        // Where the range is too narrow for the margin, what was not clipped must do.
        match fit_line(measured, expected, &used, offsets) {
            Some(better) => line = better,
            None => break,
        }
    }
    let Line { gain, gain_error, offsets, n_used, .. } = line;
    (gain > 0.0).then(|| Refresh {
        factor: 1.0 / gain,
        standard_error: gain_error / (gain * gain),
        shifts: offsets.iter().map(|offset| -offset / gain).collect(),
        n_used,
    })
}

/// `m = gain e + offset` of a few columns.
struct Line {
    gain: f64,
    gain_error: f64,
    offsets: Vec<f64>,
    residual_sd: f64,
    n_used: usize,
}

/// Fits what is `used`; nothing where fewer measurements than unknowns and one more are.
fn fit_line(
    measured: ArrayView2<'_, f64>,
    expected: ArrayView2<'_, f64>,
    used: &Array2<bool>,
    offsets: Offsets,
) -> Option<Line> {
    let means = |of: ArrayView2<'_, f64>| -> Vec<f64> {
        let columns = of.columns().into_iter().zip(used.columns());
        let mean =
            |(column, used): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, bool>)| {
                let kept = column.iter().zip(used).filter(|(_, used)| **used);
                let (sum, n) = kept.fold((0.0, 0.0), |(sum, n), (value, _)| (sum + value, n + 1.0));
                if offsets == Offsets::Kept || n == 0.0 { 0.0 } else { sum / n }
            };
        columns.map(mean).collect()
    };
    let (mean_m, mean_e) = (means(measured), means(expected));
    let pairs = || {
        used.indexed_iter().filter(|(_, used)| **used).map(|((vector, col), _)| {
            let at = (vector, col);
            (measured[at] - mean_m[col], expected[at] - mean_e[col])
        })
    };
    let n_used = pairs().count();
    let n_columns = used.columns().into_iter().filter(|used| used.iter().any(|used| *used)).count();
    let n_unknown = 1 + if offsets == Offsets::Fitted { n_columns } else { 0 };
    let square = pairs().fold(0.0, |sum, (_, e)| sum + e * e);
    if n_used <= n_unknown || square == 0.0 {
        return None;
    }
    let gain = pairs().fold(0.0, |sum, (m, e)| sum + m * e) / square;
    let left = pairs().fold(0.0, |sum, (m, e)| sum + (m - gain * e) * (m - gain * e));
    let variance = left / (n_used - n_unknown) as f64;
    Some(Line {
        gain,
        gain_error: (variance / square).sqrt(),
        offsets: mean_m.iter().zip(&mean_e).map(|(m, e)| m - gain * e).collect(),
        residual_sd: variance.sqrt(),
        n_used,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, Zip, s};
    use nvcim_chip::effects::Effect;
    use nvcim_chip::random::Stream;

    use super::{N_VECTORS, Offsets, refresh_gain, refresh_vectors};

    /// What a tile of random weights should answer to the refresh vectors.
    fn expected(n_rows: usize, n_cols: usize, seed: u64) -> Array2<f64> {
        let stream = Stream::new(seed, 0, Effect::Programming);
        let x = refresh_vectors(N_VECTORS, n_rows).mapv(f64::from);
        let w = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
            2.0 * stream.uniform([row as u32, col as u32, 0, 0]) - 1.0
        });
        x.dot(&w)
    }

    fn noise(like: &Array2<f64>, sd: f64, seed: u64) -> Array2<f64> {
        let stream = Stream::new(seed, 0, Effect::Read);
        Array2::from_shape_fn(like.dim(), |(vector, col)| {
            sd * stream.normal([vector as u32, col as u32, 0, 0])
        })
    }

    #[test]
    fn vectors_are_fixed_uniform_and_nested() {
        let tall = refresh_vectors(N_VECTORS, 300);
        assert_eq!(tall.slice(s![.., ..100]), refresh_vectors(N_VECTORS, 100));
        assert!(tall.iter().all(|x| (0.0..=1.0).contains(x)));
        let mean = tall.mapv(f64::from).mean().unwrap();
        // Four standard errors of 9600 uniform draws: 4 / sqrt(12 x 9600).
        assert!((mean - 0.5).abs() < 0.0118, "{mean}");
    }

    #[test]
    fn a_gain_and_offsets_without_noise_are_found_exactly() {
        let expected = expected(64, 3, 1);
        let mut measured = &expected * 0.8;
        for (mut column, offset) in measured.axis_iter_mut(Axis(1)).zip([0.5, -1.0, 0.0]) {
            column += offset;
        }
        let refresh =
            refresh_gain(measured.view(), expected.view(), None, Offsets::Fitted).unwrap();
        assert!((refresh.factor - 1.25).abs() < 1e-12, "{refresh:?}");
        for (shift, wanted) in refresh.shifts.iter().zip([-0.625, 1.25, 0.0]) {
            assert!((shift - wanted).abs() < 1e-11, "{refresh:?}");
        }
        assert_eq!(refresh.n_used, 3 * N_VECTORS);
    }

    /// The error of the factor is what the fit says it is: the mean square of error over standard error is 1,
    /// within four standard errors of 200 such draws (`sqrt(2 / 200)` each).
    #[test]
    fn the_standard_error_is_honest() {
        let runs = 200;
        let squares = (0..runs).map(|seed| {
            let expected = expected(64, 4, seed);
            let measured = &(&expected * 0.7) + &noise(&expected, 0.3, seed);
            let refresh =
                refresh_gain(measured.view(), expected.view(), None, Offsets::Fitted).unwrap();
            ((refresh.factor - 1.0 / 0.7) / refresh.standard_error).powi(2)
        });
        let mean = squares.sum::<f64>() / runs as f64;
        assert!((mean - 1.0).abs() < 0.4, "{mean}");
    }

    /// A third of the codes clipped: a fit through all of them is off by far more than the refresh.
    #[test]
    fn clipped_codes_do_not_bend_the_gain() {
        let (mut with, mut without) = (0.0, 0.0);
        let runs = 40;
        for seed in 0..runs {
            let expected = expected(64, 4, seed);
            let spread = expected.std(0.0);
            let (lo, hi) = (-spread, spread);
            let noisy = &(&expected * 0.9) + &noise(&expected, 0.05 * spread, seed);
            let measured = noisy.mapv(|value| value.clamp(lo, hi));
            let refreshed =
                refresh_gain(measured.view(), expected.view(), Some((lo, hi)), Offsets::Fitted);
            let blind = refresh_gain(measured.view(), expected.view(), None, Offsets::Fitted);
            with += refreshed.unwrap().factor * 0.9 - 1.0;
            without += blind.unwrap().factor * 0.9 - 1.0;
        }
        let (with, without) = (with / runs as f64, without / runs as f64);
        // One refresh errs by about 1 % here, their mean by a sixth of that: four such errors.
        assert!(with.abs() < 0.007, "{with}");
        assert!(without > 0.05, "{without}");
    }

    #[test]
    fn what_does_not_answer_is_not_refreshed() {
        let expected = expected(16, 1, 2);
        let silent = Array2::zeros(expected.dim());
        let refresh = |measured: &Array2<f64>, ends| {
            refresh_gain(measured.view(), expected.view(), ends, Offsets::Fitted)
        };
        assert_eq!(refresh(&silent, None), None);
        assert_eq!(refresh(&-&expected, None), None);
        assert_eq!(refresh(&expected, Some((-1e-9, 1e-9))), None);
        let flat = Array2::ones(expected.dim());
        assert_eq!(refresh_gain(expected.view(), flat.view(), None, Offsets::Fitted), None);
    }

    #[test]
    fn a_gain_alone_goes_through_the_origin() {
        let expected = expected(16, 2, 3);
        let measured = &expected * 0.5 + 0.1;
        let alone = refresh_gain(measured.view(), expected.view(), None, Offsets::Kept).unwrap();
        let mut sums = (0.0, 0.0);
        Zip::from(&measured).and(&expected).for_each(|m, e| {
            sums = (sums.0 + m * e, sums.1 + e * e);
        });
        assert!((alone.factor - sums.1 / sums.0).abs() < 1e-12);
        assert_eq!(alone.shifts, [0.0, 0.0]);
    }
}
