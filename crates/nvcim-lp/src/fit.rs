//! Fits by linear programming: least sum and least maximum of deviations, within bounds.
//!
//! Notation: `r = A x - b`, `A` is `[n_points, n_unknowns]`. Both fits are convex and become programs by variables for
//! the deviations:
//!
//! ```text
//! L1       min sum_i (p_i + q_i)    A x + q - p = b,  p, q >= 0      then |r_i| = p_i + q_i
//! minimax  min t                    -t <= A x - b <= t
//! ```
//!
//! Before, columns are divided by their largest coefficient and `b` by its largest entry, so that solvers see numbers
//! near 1 whatever the units. The objective that is reported is evaluated from `x` again, in the units of `b`.
//!
//! An L1 fit ignores a minority of wild points; a minimax fit bounds the worst point. Where several `x` are equally
//! good, the one returned lies amid them.
//!
//! Cost: some twenty sparse factorisations, of `O(n_points n_unknowns^2)` each.
//!
//! Source: H. M. Wagner, "Linear programming techniques for regression analysis", Journal of the American Statistical
//! Association 54, 1959, doi 10.1080/01621459.1959.10501506.

use ndarray::ArrayView2;

use crate::program::{LinearProgram, Relation, Solution, Solver, Unsolved, Variable};
use crate::sum::exact_sum;

/// A fit with the proof of how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The unknowns, within their bounds.
    pub x: Vec<f64>,
    /// Sum or maximum of the deviations `|A x - b|` at `x`.
    pub objective: f64,
    /// No `x` within the bounds deviates less; where a bound is infinite, see
    /// [`Solution::bound`](crate::program::Solution::bound).
    pub bound: f64,
    /// The larger of the objective and of sum or maximum of `|b|`: what the gap is relative to.
    magnitude: f64,
}

impl Fit {
    /// How much the objective may exceed the smallest possible one, relative to itself or to what `x = 0` leaves, the
    /// larger of the two: a perfect fit has an objective that is rounding alone.
    pub fn gap(&self) -> f64 {
        (self.objective - self.bound) / self.magnitude.max(f64::MIN_POSITIVE)
    }
}

/// Finds the `x` within `bounds` that minimises `sum |A x - b|`.
///
/// `a` is `[n_points, n_unknowns]`, `b` has one entry per point and `bounds` a pair per unknown, either side of which may
/// be infinite.
///
/// # Errors
/// [`Unsolved::Infeasible`] where bounds cross, [`Unsolved::Failed`] where shapes do not fit or numbers are not finite,
/// [`Unsolved::Inexact`] where the solver stopped short.
pub fn fit_l1(a: ArrayView2<'_, f64>, b: &[f64], bounds: &[(f64, f64)]) -> Result<Fit, Unsolved> {
    let problem = Problem::new(a, b, bounds)?;
    let mut program = LinearProgram::new();
    let unknowns = problem.add_unknowns(&mut program);
    for (point, target) in problem.targets().enumerate() {
        let mut terms = problem.terms(point, &unknowns);
        terms.push((program.add_variable(0.0, f64::INFINITY, 1.0), 1.0));
        terms.push((program.add_variable(0.0, f64::INFINITY, 1.0), -1.0));
        program.add_row(&terms, Relation::Equal, target);
    }
    problem.finish(&program.solve(Solver::Interior)?, sum)
}

/// Finds the `x` within `bounds` that minimises `max |A x - b|`.
///
/// Arguments and errors are those of [`fit_l1`].
pub fn fit_minimax(
    a: ArrayView2<'_, f64>,
    b: &[f64],
    bounds: &[(f64, f64)],
) -> Result<Fit, Unsolved> {
    let problem = Problem::new(a, b, bounds)?;
    let mut program = LinearProgram::new();
    let unknowns = problem.add_unknowns(&mut program);
    let worst = program.add_variable(0.0, f64::INFINITY, 1.0);
    for (point, target) in problem.targets().enumerate() {
        let mut terms = problem.terms(point, &unknowns);
        terms.push((worst, -1.0));
        program.add_row(&terms, Relation::AtMost, target);
        terms.pop();
        terms.push((worst, 1.0));
        program.add_row(&terms, Relation::AtLeast, target);
    }
    problem.finish(&program.solve(Solver::Interior)?, maximum)
}

fn sum(deviations: &mut dyn Iterator<Item = f64>) -> f64 {
    exact_sum(deviations)
}

fn maximum(deviations: &mut dyn Iterator<Item = f64>) -> f64 {
    deviations.fold(0.0, f64::max)
}

/// A fit as asked for, with its scales.
struct Problem<'a> {
    a: ArrayView2<'a, f64>,
    b: &'a [f64],
    bounds: &'a [(f64, f64)],
    /// The largest coefficient of each column.
    column_scale: Vec<f64>,
    /// The largest entry of `b`.
    target_scale: f64,
}

impl<'a> Problem<'a> {
    fn new(
        a: ArrayView2<'a, f64>,
        b: &'a [f64],
        bounds: &'a [(f64, f64)],
    ) -> Result<Self, Unsolved> {
        if a.dim() != (b.len(), bounds.len()) {
            let (n_points, n_unknowns) = a.dim();
            let text = format!(
                "{n_points} x {n_unknowns} coefficients for {} points and {} unknowns",
                b.len(),
                bounds.len()
            );
            return Err(Unsolved::Failed(text));
        }
        if a.iter().chain(b).any(|it| !it.is_finite()) {
            return Err(Unsolved::Failed("a coefficient or target is not finite".into()));
        }
        let column_scale = a.columns().into_iter().map(largest).collect();
        Ok(Self { a, b, bounds, column_scale, target_scale: largest(b) })
    }

    /// Adds the unknowns, in units in which a column's largest coefficient and the largest target are 1.
    fn add_unknowns(&self, program: &mut LinearProgram) -> Vec<Variable> {
        let scaled = self.bounds.iter().zip(&self.column_scale).map(|(&(lo, hi), scale)| {
            let unit = self.target_scale / scale;
            program.add_variable(lo / unit, hi / unit, 0.0)
        });
        scaled.collect()
    }

    fn targets(&self) -> impl Iterator<Item = f64> {
        self.b.iter().map(|it| it / self.target_scale)
    }

    fn terms(&self, point: usize, unknowns: &[Variable]) -> Vec<(Variable, f64)> {
        let row = self.a.row(point);
        let factors = row.iter().zip(&self.column_scale).map(|(factor, scale)| factor / scale);
        unknowns.iter().copied().zip(factors).collect()
    }

    /// The solution in the units asked for; `norm` is what the fit minimises of the deviations.
    fn finish(
        &self,
        solution: &Solution,
        norm: fn(&mut dyn Iterator<Item = f64>) -> f64,
    ) -> Result<Fit, Unsolved> {
        let scaled = solution.values.iter().zip(&self.column_scale).zip(self.bounds);
        // Scaling there and back may step over a bound by rounding.
        let x: Vec<_> = scaled
            .map(|((value, scale), &(lo, hi))| (value * (self.target_scale / scale)).clamp(lo, hi))
            .collect();
        let deviation = |(row, b): (ndarray::ArrayView1<'_, f64>, &f64)| {
            let terms = row.into_iter().zip(&x).map(|(factor, x)| factor * x);
            exact_sum(terms.chain([-b])).abs()
        };
        let objective = norm(&mut self.a.outer_iter().zip(self.b).map(deviation));
        let at_zero = norm(&mut self.b.iter().map(|it| it.abs()));
        let bound = solution.bound.expect("the interior-point method tells dual values");
        let bound = (bound * self.target_scale).max(0.0);
        Ok(Fit { x, objective, bound, magnitude: objective.max(at_zero) })
    }
}

/// The largest magnitude, 1 where all are 0.
fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    let res = values.into_iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if res > 0.0 { res } else { 1.0 }
}
