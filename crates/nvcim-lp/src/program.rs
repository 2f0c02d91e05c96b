//! Linear programs: stated, solved by either of two methods, and re-checked.
//!
//! Notation: `min c x` over rows `a x <= b`, `a x >= b` or `a x = b` and bounds `lo <= x <= hi`.
//!
//! Phases:
//!
//! 1. *Reduce*: variables with `lo = hi` go, rows are divided by their largest coefficient, the objective by its own.
//! 2. *Solve*: the simplex ([`Solver::Vertex`]) or the interior-point method ([`Solver::Interior`]).
//! 3. *Check*: values are put back between their bounds, rows are evaluated again, and where there are dual values a
//!    bound is computed that holds whatever they are. A solver's own word on success counts for nothing.
//!
//! Units: accuracies are relative to `1` in the units of the variables. State a program so that values of the order of
//! 1 matter; 1e-9 is noise.
//!
//! Infinite bounds are allowed. They weaken two things: a program may turn out unbounded, and the bound on the
//! objective then covers only points that are at most ten times as far out as the answer (see [`Solution::bound`]).

mod check;
mod outer;
mod reduce;

use std::fmt;

/// A variable of one [`LinearProgram`]; prints as `x3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable(usize);

impl Variable {
    /// Where its value stands in [`Solution::values`].
    pub fn index(self) -> usize {
        self.0
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.0)
    }
}

/// How the two sides of a row compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The terms sum up to the right-hand side or less.
    AtMost,
    /// The terms sum up to the right-hand side or more.
    AtLeast,
    /// The terms sum up to the right-hand side.
    Equal,
}

/// A method of solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solver {
    /// Simplex: the answer is a vertex, integral where the vertices are; slow beyond some hundred rows.
    Vertex,
    /// Interior point: fast on large programs, with a bound on the objective; among many optima an inner one.
    Interior,
}

/// A linear program under construction.
#[derive(Debug, Clone, Default)]
pub struct LinearProgram {
    variables: Vec<Bounded>,
    rows: Vec<Row>,
}

/// A variable as stated.
#[derive(Debug, Clone, Copy)]
struct Bounded {
    lo: f64,
    hi: f64,
    cost: f64,
}

/// A row, each variable named once.
#[derive(Debug, Clone)]
struct Row {
    terms: Vec<(usize, f64)>,
    relation: Relation,
    rhs: f64,
}

/// An answer that passed the checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// One value per variable, within its bounds to the last bit.
    pub values: Vec<f64>,
    /// `c x` at these values.
    pub objective: f64,
    /// No feasible point has a smaller objective; `None` from [`Solver::Vertex`], which tells no dual values.
    ///
    /// Where a variable has an infinite bound, one ten times as far out as the answer (and 10 at least) stands in for
    /// it. As the program is convex, a better point farther out would show as a better point within.
    pub bound: Option<f64>,
    /// By how much the worst row is missed, relative to its largest coefficient and right-hand side.
    pub violation: f64,
    /// Largest cost and sum of the magnitudes of all terms of the objective: what the gap is relative to.
    magnitude: f64,
}

impl Solution {
    /// The value of one variable.
    pub fn value(&self, variable: Variable) -> f64 {
        self.values[variable.0]
    }

    /// How much the objective may exceed the smallest possible one, relative to the largest cost plus the magnitudes
    /// of all terms of the objective. Slightly negative where the violation of rows bought an advantage.
    pub fn gap(&self) -> Option<f64> {
        self.bound.map(|bound| (self.objective - bound) / self.magnitude.max(f64::MIN_POSITIVE))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Unsolved {
    /// No point satisfies all rows and bounds.
    Infeasible,
    /// The objective falls without end along a direction that no row or bound stops.
    Unbounded,
    /// The solver stopped short: the relative amount by which a row is missed or by which the objective may still fall.
    Inexact {
        /// The larger of the two amounts.
        violation: f64,
    },
    /// The program is misstated, or the solver gave up; the text says which.
    Failed(String),
}

impl fmt::Display for Unsolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Infeasible => write!(f, "no point satisfies all constraints"),
            Self::Unbounded => write!(f, "the objective has no lower limit"),
            Self::Inexact { violation } => {
                write!(f, "the solver stopped short, off by {violation:.1e}")
            }
            Self::Failed(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for Unsolved {}

impl LinearProgram {
    /// A program without variables and rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a variable between `lo` and `hi`, either of which may be infinite, with its coefficient in the objective,
    /// which is minimised.
    pub fn add_variable(&mut self, lo: f64, hi: f64, cost: f64) -> Variable {
        self.variables.push(Bounded { lo, hi, cost });
        Variable(self.variables.len() - 1)
    }

    /// Adds a row over `terms`; coefficients of a variable named twice add up.
    pub fn add_row(&mut self, terms: &[(Variable, f64)], relation: Relation, rhs: f64) {
        let mut sorted: Vec<_> =
            terms.iter().map(|&(variable, factor)| (variable.0, factor)).collect();
        sorted.sort_by_key(|&(index, _)| index);
        let mut merged: Vec<(usize, f64)> = Vec::with_capacity(sorted.len());
        for (index, factor) in sorted {
            match merged.last_mut() {
                Some((last, sum)) if *last == index => *sum += factor,
                _ => merged.push((index, factor)),
            }
        }
        merged.retain(|&(_, factor)| factor != 0.0);
        self.rows.push(Row { terms: merged, relation, rhs });
    }

    /// Solves the program and checks the answer.
    ///
    /// # Errors
    /// [`Unsolved`] says why there is no answer that passed the checks.
    pub fn solve(&self, solver: Solver) -> Result<Solution, Unsolved> {
        self.check_statement()?;
        let reduced = reduce::reduce(self)?;
        let raw = outer::run(&reduced, solver)?;
        let answer = reduced.expand(self, raw);
        check::judge(self, answer)
    }

    /// Refuses numbers that no solver can work with, and bounds that cross.
    fn check_statement(&self) -> Result<(), Unsolved> {
        for (index, Bounded { lo, hi, cost }) in self.variables.iter().enumerate() {
            let is_sound = *lo < f64::INFINITY && *hi > f64::NEG_INFINITY && cost.is_finite();
            if !is_sound {
                let name = Variable(index);
                let text = format!("variable `{name}` has bounds {lo} and {hi} and cost {cost}");
                return Err(Unsolved::Failed(text));
            }
            if lo > hi {
                return Err(Unsolved::Infeasible);
            }
        }
        for (at, row) in self.rows.iter().enumerate() {
            let known = |&(index, factor): &(usize, f64)| {
                index < self.variables.len() && factor.is_finite()
            };
            if !row.rhs.is_finite() || !row.terms.iter().all(known) {
                let text =
                    format!("row {at} has a number that is not finite, or a foreign variable");
                return Err(Unsolved::Failed(text));
            }
        }
        Ok(())
    }
}
