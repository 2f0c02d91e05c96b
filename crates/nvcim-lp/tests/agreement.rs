//! Every way to an assignment agrees with every other: paths, the program by both methods, and plain enumeration.

use std::collections::BTreeMap;

use ndarray::Array2;
use nvcim_lp::assign::{Assignment, assign};
use nvcim_lp::place::{Rules, place};
use nvcim_lp::program::{LinearProgram, Relation, Solver, Unsolved};
use proptest::prelude::*;

/// Costs of different ways agree to this share of the magnitude of what they sum up.
const AGREEMENT: f64 = 1e-6;

/// Gaps that certificates leave open: rounding of a sum, and no more.
const PROVED: f64 = 1e-9;

const SOLVERS: [Solver; 2] = [Solver::Vertex, Solver::Interior];

/// An instance: costs, and rules on them.
#[derive(Debug, Clone)]
struct Instance {
    cost: Array2<f64>,
    rules: Rules,
}

/// One matrix of costs: spread, with many ties, near a product, or of large and small magnitudes.
fn any_cost(n_rows: usize, n_cols: usize) -> impl Strategy<Value = Array2<f64>> {
    let entries = prop::collection::vec(-1.0..1.0_f64, n_rows * n_cols);
    (0..5, entries).prop_map(move |(kind, entries)| {
        let at = |row: usize, col: usize| entries[row * n_cols + col];
        Array2::from_shape_fn((n_rows, n_cols), |(row, col)| match kind {
            0 => at(row, col),
            1 => (2.0 * at(row, col)).round(),
            2 => (1.0 + at(row, 0)) * (1.0 + at(0, col)) + 0.01 * at(row, col),
            3 => 1e-9 * at(row, col),
            _ => 1e6 + at(row, col),
        })
    })
}

/// Instances with up to `max_rows` rows and up to three columns more.
fn any_instance(max_rows: usize) -> impl Strategy<Value = Instance> {
    let shape = (0..=max_rows, 0..4_usize).prop_map(|(n_rows, more)| (n_rows, n_rows + more));
    shape.prop_flat_map(|(n_rows, n_cols)| {
        let pair = || (any::<prop::sample::Index>(), any::<prop::sample::Index>());
        let pairs = |n| prop::collection::vec(pair(), n);
        let capacity = prop_oneof![Just(vec![]), prop::collection::vec(0..4_u32, n_cols)];
        (any_cost(n_rows, n_cols), pairs(0..2 * n_rows + 1), pairs(0..3), capacity).prop_map(
            move |(cost, forbidden, pinned, capacity)| {
                let place = |pairs: Vec<(prop::sample::Index, prop::sample::Index)>| {
                    let some = pairs.into_iter().filter(|_| n_rows > 0);
                    some.map(|(row, col)| (row.index(n_rows), col.index(n_cols))).collect()
                };
                let rules = Rules { forbidden: place(forbidden), pinned: place(pinned), capacity };
                Instance { cost, rules }
            },
        )
    })
}

impl Instance {
    fn capacity(&self, col: usize) -> u32 {
        self.rules.capacity.get(col).copied().unwrap_or(1)
    }

    fn allows(&self, row: usize, col: usize) -> bool {
        !self.rules.forbidden.contains(&(row, col))
            && self.rules.pinned.iter().all(|&pin| pin.0 != row || pin.1 == col)
    }

    /// The smallest cost, from all assignments.
    fn enumerate(&self) -> Option<f64> {
        let (n_rows, n_cols) = self.cost.dim();
        let room: Vec<_> = (0..n_cols).map(|col| self.capacity(col)).collect();
        let mut cheapest = BTreeMap::from([(room, 0.0)]);
        for row in 0..n_rows {
            let mut next: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
            for (room, cost) in cheapest {
                for col in (0..n_cols).filter(|&col| room[col] > 0 && self.allows(row, col)) {
                    let mut left = room.clone();
                    left[col] -= 1;
                    let total = cost + self.cost[[row, col]];
                    next.entry(left).and_modify(|it| *it = it.min(total)).or_insert(total);
                }
            }
            cheapest = next;
        }
        cheapest.into_values().reduce(f64::min)
    }

    /// The smallest cost, from the linear program.
    fn solve_program(&self, solver: Solver) -> Option<f64> {
        let mut program = LinearProgram::new();
        let (n_rows, n_cols) = self.cost.dim();
        let share = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
            let most = if self.allows(row, col) { 1.0 } else { 0.0 };
            program.add_variable(0.0, most, self.cost[[row, col]])
        });
        for row in share.rows() {
            let terms: Vec<_> = row.iter().map(|&it| (it, 1.0)).collect();
            program.add_row(&terms, Relation::Equal, 1.0);
        }
        for (col, shares) in share.columns().into_iter().enumerate() {
            let terms: Vec<_> = shares.iter().map(|&it| (it, 1.0)).collect();
            program.add_row(&terms, Relation::AtMost, f64::from(self.capacity(col)));
        }
        match program.solve(solver) {
            Ok(solution) => {
                assert_eq!(solution.bound.is_some(), solver == Solver::Interior);
                assert!(solution.gap().is_none_or(|gap| gap.abs() <= 1e-6), "{solution:?}");
                Some(solution.objective)
            }
            Err(Unsolved::Infeasible) => None,
            Err(other) => panic!("{solver:?}: {other}"),
        }
    }

    /// Holds an assignment against the rules, its own words and the smallest cost.
    fn check(&self, found: &Assignment, cheapest: f64) {
        let (n_rows, n_cols) = self.cost.dim();
        assert_eq!(found.col_of_row.len(), n_rows);
        let mut n_held = vec![0; n_cols];
        for (row, &col) in found.col_of_row.iter().enumerate() {
            assert!(self.allows(row, col), "row {row} may not sit on {col}");
            n_held[col] += 1;
        }
        for (col, held) in n_held.into_iter().enumerate() {
            assert!(held <= self.capacity(col), "column {col} holds {held}");
        }
        self.check_cost(found.cost, cheapest);
        assert!(found.gap() <= PROVED, "the gap is {:e}", found.gap());
        let rounding = 1e-12 * self.magnitude();
        assert!(found.bound <= cheapest + rounding, "{} bounds {cheapest}", found.bound);
    }

    fn check_cost(&self, cost: f64, cheapest: f64) {
        let tolerance = AGREEMENT * self.magnitude();
        assert!((cost - cheapest).abs() <= tolerance, "{cost:e} instead of {cheapest:e}");
    }

    /// Magnitude of the smallest cost that an assignment could sum up.
    fn magnitude(&self) -> f64 {
        self.cost
            .rows()
            .into_iter()
            .map(|row| row.fold(0.0, |most: f64, it| most.max(it.abs())))
            .sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn all_ways_agree(instance in any_instance(6)) {
        let cheapest = instance.enumerate();
        for solver in SOLVERS {
            match (place(instance.cost.view(), &instance.rules, solver), cheapest) {
                (Ok(found), Some(cheapest)) => instance.check(&found, cheapest),
                (Err(Unsolved::Infeasible), None) => {}
                (found, _) => panic!("{found:?} instead of {cheapest:?}"),
            }
            match (instance.solve_program(solver), cheapest) {
                (Some(cost), Some(cheapest)) => instance.check_cost(cost, cheapest),
                (found, _) => assert_eq!(found, cheapest, "{solver:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn paths_agree_with_the_program_on_larger_instances(
        cost in (20..30_usize, 0..9_usize).prop_flat_map(|(n, more)| any_cost(n, n + more)),
    ) {
        let instance = Instance { cost, rules: Rules::default() };
        let found = assign(instance.cost.view()).expect("nothing is forbidden");
        for solver in SOLVERS {
            let cheapest = instance.solve_program(solver).expect("nothing is forbidden");
            instance.check(&found, found.cost);
            instance.check_cost(found.cost, cheapest);
        }
    }

    #[test]
    fn larger_places_reach_what_the_program_promises(
        cost in (20..30_usize, 8..15_usize).prop_flat_map(|(n, m)| any_cost(n, m)),
        more in prop::collection::vec(0..2_u32, 15),
    ) {
        let capacity = (0..cost.ncols()).map(|col| 3 + more[col] + u32::from(col == 0)).collect();
        let instance = Instance { cost, rules: Rules { capacity, ..Rules::default() } };
        let (n_rows, n_cols) = instance.cost.dim();
        let room: u32 = (0..n_cols).map(|col| instance.capacity(col)).sum();
        for solver in SOLVERS {
            let found = place(instance.cost.view(), &instance.rules, solver);
            match instance.solve_program(solver) {
                Some(cheapest) => {
                    let found = found.expect("the program has a solution");
                    instance.check(&found, found.cost);
                    instance.check_cost(found.cost, cheapest);
                }
                None => {
                    assert_eq!(found, Err(Unsolved::Infeasible));
                    assert!((room as usize) < n_rows);
                }
            }
        }
    }
}
