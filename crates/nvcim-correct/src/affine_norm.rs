//! Gain and offset of conversions in a norm of choice: least squares, least sum, least maximum.
//!
//! # Notation
//! As in `affine.rs`: one output column with answers `y_1 .. y_k`, wanted outputs `t`, scales `s` that were
//! `s0`, and a shift `b`. With `m` the mean answers, the fits are
//!
//! ```text
//! L1       min sum_v |t_v - sum_r s_r y_vr - b| + lambda sum_r |s_r - s0_r| sum_v |y_vr - m_r|
//! minimax  min of the largest of  |t_v - sum_r s_r y_vr - b|  and  lambda |s_r - s0_r| max_v |y_vr - m_r|
//! ```
//!
//! both linear programs ([`nvcim_lp::fit`]). The terms with `lambda` hold scales to the ones so far: what a
//! change of scale does to the answers counts as a deviation, in the same norm.
//!
//! Least squares are best where errors are the sum of many small ones, as those of cells are. The least sum
//! shrugs off a minority of wild answers, such as clipped codes. The least maximum bounds the worst answer, and is at its
//! best where errors are spread evenly between hard limits, as those of rounding are; one wild answer spoils it.
//!
//! Programs grow with the vectors, so that of many vectors only [`MOST_VECTORS`] are fitted to, evenly picked.
//! Where a program is left unsolved, least squares stand in.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use nvcim_lp::fit;
use nvcim_lp::program::Unsolved;

use crate::affine::{self, ColumnFit, Fit, GAINS};

/// Vectors that a linear program is given at most.
pub const MOST_VECTORS: usize = 256;

/// What a fit of gain and offset makes small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AffineNorm {
    /// The sum of the squares of deviations.
    #[default]
    LeastSquares,
    /// The sum of deviations.
    L1,
    /// The largest deviation.
    Minimax,
}

impl AffineNorm {
    /// Every norm.
    pub const ALL: [Self; 3] = [Self::LeastSquares, Self::L1, Self::Minimax];

    /// Fits scales and shift of one output column; `y` is `[vectors, readouts]`, `t` is `[vectors]`.
    pub(crate) fn fit_column(
        self,
        y: ArrayView2<'_, f32>,
        t: ArrayView1<'_, f32>,
        nominal: &[f64],
        ridge: f64,
    ) -> Fit {
        let by_program = match self {
            Self::LeastSquares => None,
            Self::L1 => fit_column_l1(y, t, nominal, ridge).ok(),
            Self::Minimax => fit_column_minimax(y, t, nominal, ridge).ok(),
        };
        by_program.unwrap_or_else(|| affine::fit_column(y, t, nominal, ridge))
    }

    /// The same for several ridges, which least squares solve from one covariance.
    pub(crate) fn fit_columns(
        self,
        y: ArrayView2<'_, f32>,
        t: ArrayView1<'_, f32>,
        nominal: &[f64],
        ridges: &[f64],
    ) -> Vec<Fit> {
        if self == Self::LeastSquares {
            let problem = ColumnFit::new(y, t, nominal);
            return ridges.iter().map(|&ridge| problem.solve(ridge)).collect();
        }
        ridges.iter().map(|&ridge| self.fit_column(y, t, nominal, ridge)).collect()
    }

    /// Gain and offset of one readout: `y` is nearly `gain p + offset`, `p` what is expected; `None` where
    /// least squares do not believe in any.
    pub(crate) fn regress(
        self,
        p: ArrayView1<'_, f32>,
        y: ArrayView1<'_, f32>,
    ) -> Option<[f64; 2]> {
        let squares = affine::regress(p, y)?;
        let p = p.insert_axis(Axis(1));
        let by_program = match self {
            Self::LeastSquares => return Some(squares),
            Self::L1 => fit_column_l1(p, y, &squares[..1], 0.0),
            Self::Minimax => fit_column_minimax(p, y, &squares[..1], 0.0),
        };
        let line = by_program.ok().map(|fit| [fit.scales[0], fit.shift]);
        Some(line.filter(|[gain, _]| (GAINS[0]..=GAINS[1]).contains(gain)).unwrap_or(squares))
    }
}

/// Scales and shift of one output column with the least sum of deviations; arguments as in
/// [`affine::fit_column`].
///
/// # Errors
/// Whatever the program ends with short of an answer.
pub(crate) fn fit_column_l1(
    y: ArrayView2<'_, f32>,
    t: ArrayView1<'_, f32>,
    nominal: &[f64],
    ridge: f64,
) -> Result<Fit, Unsolved> {
    let sum = |deviations: ArrayView1<'_, f64>| deviations.iter().fold(0.0, |sum, d| sum + d.abs());
    let program = Program::new(y, t, nominal, ridge, sum);
    let found = fit::fit_l1(program.a.view(), &program.b, &program.bounds())?;
    Ok(program.finish(&found, nominal))
}

/// Scales and shift of one output column with the least maximum of deviations; arguments as in
/// [`affine::fit_column`].
///
/// # Errors
/// Whatever the program ends with short of an answer.
pub(crate) fn fit_column_minimax(
    y: ArrayView2<'_, f32>,
    t: ArrayView1<'_, f32>,
    nominal: &[f64],
    ridge: f64,
) -> Result<Fit, Unsolved> {
    let most = |deviations: ArrayView1<'_, f64>| {
        deviations.iter().fold(0.0_f64, |most, d| most.max(d.abs()))
    };
    let program = Program::new(y, t, nominal, ridge, most);
    let found = fit::fit_minimax(program.a.view(), &program.b, &program.bounds())?;
    Ok(program.finish(&found, nominal))
}

/// The program in changes of scale and of the mean output.
struct Program {
    /// Coefficients, `[vectors + readouts, readouts + 1]`: answers about their means and 1, then what holds
    /// each scale.
    a: Array2<f64>,
    b: Vec<f64>,
    mean_y: Array1<f64>,
    mean_t: f64,
}

impl Program {
    fn new(
        y: ArrayView2<'_, f32>,
        t: ArrayView1<'_, f32>,
        nominal: &[f64],
        ridge: f64,
        norm: fn(ArrayView1<'_, f64>) -> f64,
    ) -> Self {
        let every = t.len().div_ceil(MOST_VECTORS).max(1) as isize;
        let mut y = y.slice(s![..;every, ..]).mapv(f64::from);
        let t = t.slice(s![..;every]).mapv(f64::from);
        let (n, k) = y.dim();
        let mean =
            |it: ArrayView1<'_, f64>| it.iter().fold(0.0, |sum, v| sum + v) / n.max(1) as f64;
        let mean_y: Array1<f64> = y.columns().into_iter().map(mean).collect();
        let mean_t = mean(t.view());
        y -= &mean_y.view().insert_axis(Axis(0));
        let missing = |(y, t): (ArrayView1<'_, f64>, &f64)| {
            y.iter().zip(nominal).fold(t - mean_t, |left, (y, s)| left - y * s)
        };
        let mut b: Vec<f64> = y.outer_iter().zip(&t).map(missing).collect();
        b.extend(std::iter::repeat_n(0.0, k));
        let mut held = Array2::zeros((k, k + 1));
        for (r, column) in y.columns().into_iter().enumerate() {
            held[(r, r)] = ridge.max(affine::LEAST_RIDGE) * norm(column);
            // Nothing says what the scale of a column that never moves is: it stays.
            if held[(r, r)] == 0.0 {
                held[(r, r)] = 1.0;
            }
        }
        let ones = Array2::ones((n, 1));
        let answers = concatenate(Axis(1), &[y.view(), ones.view()]).expect("a row a vector");
        let a = concatenate(Axis(0), &[answers.view(), held.view()]).expect("as many unknowns");
        Self { a, b, mean_y, mean_t }
    }

    fn bounds(&self) -> Vec<(f64, f64)> {
        vec![(f64::NEG_INFINITY, f64::INFINITY); self.a.ncols()]
    }

    fn finish(&self, found: &fit::Fit, nominal: &[f64]) -> Fit {
        let scales: Vec<f64> = nominal.iter().zip(&found.x).map(|(s, change)| s + change).collect();
        let at_means = scales.iter().zip(&self.mean_y).fold(0.0, |sum, (s, y)| sum + s * y);
        let shift = self.mean_t + found.x[nominal.len()] - at_means;
        Fit { scales, shift }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Axis, s};
    use nvcim_chip::effects::Effect;
    use nvcim_chip::random::Stream;

    use super::{AffineNorm, MOST_VECTORS, fit_column_l1, fit_column_minimax};
    use crate::affine::LEAST_RIDGE;

    #[test]
    fn every_norm_recovers_gain_and_offset_where_nothing_is_lost() {
        let y = Array2::from_shape_fn((MOST_VECTORS + 144, 2), |(v, r)| {
            ((v * (3 + r)) % 7) as f32 - 2.0
        });
        let t: Array1<f32> = y.map_axis(Axis(1), |y| 0.5 * y[0] - 1.25 * y[1] + 3.0);
        for norm in AffineNorm::ALL {
            let fit = norm.fit_column(y.view(), t.view(), &[1.0, -1.0], LEAST_RIDGE);
            assert!((fit.scales[0] - 0.5).abs() < 1e-4, "{norm:?}: {fit:?}");
            assert!((fit.scales[1] + 1.25).abs() < 1e-4, "{norm:?}: {fit:?}");
            assert!((fit.shift - 3.0).abs() < 1e-3, "{norm:?}: {fit:?}");
            let [gain, offset] = norm.regress(t.view(), (&t * 1.5 - 0.25).view()).unwrap();
            assert!((gain - 1.5).abs() < 1e-4 && (offset + 0.25).abs() < 1e-3, "{norm:?}");
        }
    }

    #[test]
    fn a_dead_column_keeps_its_scale_and_a_strong_ridge_keeps_every_scale() {
        let t = Array1::from_iter((0..11).map(|v| v as f32));
        let dead = Array2::from_elem((11, 1), 0.25);
        let alive = Array2::from_shape_fn((11, 1), |(v, _)| v as f32);
        for fit in [fit_column_l1, fit_column_minimax] {
            let found = fit(dead.view(), t.view(), &[2.0], LEAST_RIDGE).unwrap();
            assert!((found.scales[0] - 2.0).abs() < 1e-6, "{found:?}");
            assert!((found.shift - 4.5).abs() < 1e-5, "{found:?}");
            let free = fit(alive.view(), t.view(), &[2.0], LEAST_RIDGE).unwrap();
            let held = fit(alive.view(), t.view(), &[2.0], 1e3).unwrap();
            assert!((free.scales[0] - 1.0).abs() < 1e-5, "{free:?}");
            assert!((held.scales[0] - 2.0).abs() < 2e-2, "{held:?}");
        }
    }

    /// A tile of 24 columns whose answers carry one kind of error each; what is fitted on 192 vectors is
    /// judged on 64 others.
    struct Tile {
        error: fn(&Stream, [u32; 2], f64) -> f64,
        wild: f64,
    }

    const N_COLS: usize = 24;
    const N_FIT: usize = 192;
    const N_HELD: usize = 64;

    impl Tile {
        /// Root mean square and largest error of each norm on clean held-out vectors, in units of the outputs.
        fn compare(&self) -> [[f64; 2]; 3] {
            let mut sums = [[0.0_f64; 2]; 3];
            for col in 0..N_COLS as u32 {
                let (t, y, clean) = self.column(col);
                for (norm, [square, most]) in AffineNorm::ALL.iter().zip(&mut sums) {
                    let fit_rows = s![..N_FIT];
                    let y = y.slice(fit_rows).insert_axis(Axis(1));
                    let fit = norm.fit_column(y, t.slice(fit_rows), &[1.0], LEAST_RIDGE);
                    for at in N_FIT..N_FIT + N_HELD {
                        let got = fit.scales[0] * f64::from(clean[at]) + fit.shift;
                        let off = got - f64::from(t[at]);
                        *square += off * off;
                        *most = most.max(off.abs());
                    }
                }
            }
            sums.map(|[square, most]| [(square / (N_COLS * N_HELD) as f64).sqrt(), most])
        }

        /// Wanted outputs, answers with errors, and answers without.
        fn column(&self, col: u32) -> (Array1<f32>, Array1<f32>, Array1<f32>) {
            let stream = Stream::new(9, 0, Effect::ColumnGain);
            let normal = |v: u32, k| stream.normal([col, v, k, 0]);
            let gain = 1.0 + 0.1 * normal(0, 9);
            let offset = 0.2 * normal(0, 10);
            let n = N_FIT + N_HELD;
            let t = Array1::from_shape_fn(n, |v| normal(v as u32, 0));
            let clean = t.mapv(|t| gain * t + offset);
            let y = Array1::from_shape_fn(n, |v| {
                let wild = stream.uniform([col, v as u32, 4, 0]) < self.wild;
                let wild = if wild { 3.0 } else { 0.0 };
                clean[v] + (self.error)(&stream, [col, v as u32], clean[v]) + wild
            });
            let single = |it: Array1<f64>| it.mapv(|it| it as f32);
            (single(t), single(y), single(clean))
        }
    }

    /// Which norm does best depends on the errors, as theory has it.
    #[test]
    #[expect(clippy::print_stdout, reason = "the table is what people run this for")]
    fn norms_on_a_tile() {
        let noise: fn(&Stream, [u32; 2], f64) -> f64 =
            |stream, [col, v], _| 0.1 * stream.normal([col, v, 1, 0]);
        let rounding: fn(&Stream, [u32; 2], f64) -> f64 =
            |_, _, y| (y / 0.25).round_ties_even() * 0.25 - y;
        let clipping: fn(&Stream, [u32; 2], f64) -> f64 = |_, _, y| y.clamp(-1.5, 1.5) - y;
        let tiles = [
            ("Gaussian noise, 10 % of the outputs' deviation", noise, 0.0),
            ("rounding, steps of a quarter of it", rounding, 0.0),
            ("clipping at 1.5 of it", clipping, 0.0),
            ("noise, 5 % wild answers", noise, 0.05),
        ];
        let mut all = Vec::new();
        println!("| errors | least squares | L1 | minimax |\n|---|---|---|---|");
        for (name, error, wild) in tiles {
            let errors = Tile { error, wild }.compare();
            let [squares, sum, most] = errors.map(|[rms, most]| format!("{rms:.4}, {most:.4}"));
            println!("| {name} | {squares} | {sum} | {most} |");
            all.push(errors.map(|[rms, _]| rms));
        }
        let [squares, sum, _] = all[0];
        assert!(squares < sum, "noise is for least squares: {all:?}");
        for [squares, sum, most] in &all[2..] {
            assert!(sum < squares && squares < most, "wild answers are for L1: {all:?}");
        }
    }
}
