//! Programs whose answers are known, and programs that have none.

use super::*;

const SOLVERS: [Solver; 2] = [Solver::Vertex, Solver::Interior];

fn assert_near(found: &[f64], want: &[f64]) {
    let is_near = found.len() == want.len()
        && found.iter().zip(want).all(|(found, want)| (found - want).abs() <= 1e-6);
    assert!(is_near, "{found:?} instead of {want:?}");
}

/// `max 3 x + 2 y` with `x + y <= 4`, `x + 3 y <= 6`, `x <= 3`, scaled by `unit`.
fn two_products(unit: f64) -> LinearProgram {
    let mut program = LinearProgram::new();
    let x = program.add_variable(0.0, 3.0, -3.0 * unit);
    let y = program.add_variable(0.0, f64::INFINITY, -2.0 * unit);
    program.add_row(&[(x, unit), (y, unit)], Relation::AtMost, 4.0 * unit);
    program.add_row(&[(x, -unit), (y, -3.0 * unit)], Relation::AtLeast, -6.0 * unit);
    program
}

#[test]
fn a_known_program_has_its_known_answer_in_any_unit_of_its_rows() {
    for solver in SOLVERS {
        for unit in [1.0, 1e-7, 1e7] {
            let solution = two_products(unit).solve(solver).expect("it has a solution");
            assert_near(&solution.values, &[3.0, 1.0]);
            assert_near(&[solution.objective / unit], &[-11.0]);
            assert!(solution.violation <= 1e-7);
            assert!(solution.gap().is_none_or(|gap| gap.abs() <= 1e-7), "{solution:?}");
        }
    }
}

#[test]
fn only_the_interior_method_proves_a_bound() {
    let solve = |solver| two_products(1.0).solve(solver).expect("it has a solution");
    assert_eq!(solve(Solver::Vertex).bound, None);
    assert_near(&[solve(Solver::Interior).bound.expect("dual values are told")], &[-11.0]);
}

#[test]
fn the_same_program_gives_the_same_bits() {
    for solver in SOLVERS {
        let solve = || two_products(1.0).solve(solver).expect("it has a solution").values;
        assert_eq!(solve(), solve());
    }
}

#[test]
fn contradictions_are_infeasible() {
    for solver in SOLVERS {
        let mut program = LinearProgram::new();
        let x = program.add_variable(0.0, 1.0, 1.0);
        let y = program.add_variable(0.0, 1.0, 1.0);
        program.add_row(&[(x, 1.0), (y, 1.0)], Relation::AtLeast, 2.5);
        assert_eq!(program.solve(solver), Err(Unsolved::Infeasible), "{solver:?}");

        let mut program = LinearProgram::new();
        program.add_variable(1.0, 0.0, 1.0);
        assert_eq!(program.solve(solver), Err(Unsolved::Infeasible), "crossing bounds");

        let mut program = LinearProgram::new();
        let fixed = program.add_variable(2.0, 2.0, 1.0);
        program.add_row(&[(fixed, 3.0)], Relation::Equal, 5.0);
        assert_eq!(program.solve(solver), Err(Unsolved::Infeasible), "nothing left to move");
    }
}

#[test]
fn objectives_without_limit_are_unbounded() {
    for solver in SOLVERS {
        let mut program = LinearProgram::new();
        let x = program.add_variable(0.0, f64::INFINITY, -1.0);
        let y = program.add_variable(f64::NEG_INFINITY, f64::INFINITY, 0.5);
        program.add_row(&[(x, 1.0), (y, -1.0)], Relation::AtMost, 3.0);
        program.add_row(&[(x, 1.0), (y, 1.0)], Relation::AtLeast, 1.0);
        assert_eq!(program.solve(solver), Err(Unsolved::Unbounded), "{solver:?}");

        let mut program = LinearProgram::new();
        program.add_variable(0.0, f64::INFINITY, -1.0);
        assert_eq!(program.solve(solver), Err(Unsolved::Unbounded), "{solver:?}: no row at all");
    }
}

#[test]
fn free_variables_and_equalities_have_bounds_on_the_objective_too() {
    // The point of the line `x - 2 y = 3` with the smallest `|x| + |y|`, which is (3, 0).
    let mut program = LinearProgram::new();
    let free =
        |program: &mut LinearProgram| program.add_variable(f64::NEG_INFINITY, f64::INFINITY, 0.0);
    let (x, y) = (free(&mut program), free(&mut program));
    for variable in [x, y] {
        let size = program.add_variable(0.0, f64::INFINITY, 1.0);
        program.add_row(&[(size, 1.0), (variable, -1.0)], Relation::AtLeast, 0.0);
        program.add_row(&[(size, 1.0), (variable, 1.0)], Relation::AtLeast, 0.0);
    }
    program.add_row(&[(x, 1.0), (y, -2.0)], Relation::Equal, 3.0);
    for solver in SOLVERS {
        let solution = program.solve(solver).expect("it has a solution");
        assert_near(&[solution.value(x), solution.value(y)], &[0.0, -1.5]);
        assert!(solution.gap().is_none_or(|gap| gap.abs() <= 1e-7), "{solution:?}");
    }
}

#[test]
fn empty_programs_and_fixed_variables_need_no_solver() {
    for solver in SOLVERS {
        let solution = LinearProgram::new().solve(solver).expect("nothing is asked");
        assert_eq!((solution.values, solution.objective), (vec![], 0.0));

        let mut program = LinearProgram::new();
        let fixed = program.add_variable(0.3, 0.3, 2.0);
        program.add_row(&[(fixed, 3.0)], Relation::Equal, 0.9);
        program.add_row(&[], Relation::AtMost, 0.0);
        let solution = program.solve(solver).expect("the row holds");
        assert_eq!((solution.values, solution.objective), (vec![0.3], 0.6));
        assert!(solution.bound.is_none_or(|bound| bound == 0.6));
    }
}

#[test]
fn variables_without_rows_go_to_their_better_bound() {
    for solver in SOLVERS {
        let mut program = LinearProgram::new();
        program.add_variable(-1.0, 2.0, 1.0);
        program.add_variable(-1.0, 2.0, -1.0);
        program.add_variable(f64::NEG_INFINITY, f64::INFINITY, 0.0);
        let solution = program.solve(solver).expect("it has a solution");
        assert_near(&solution.values[..2], &[-1.0, 2.0]);
    }
}

#[test]
fn factors_of_a_variable_named_twice_add_up() {
    for solver in SOLVERS {
        let mut program = LinearProgram::new();
        let x = program.add_variable(0.0, 10.0, -1.0);
        let y = program.add_variable(0.0, 10.0, 0.0);
        program.add_row(&[(x, 1.0), (y, 1.0), (x, 1.0), (y, -1.0)], Relation::AtMost, 6.0);
        assert_near(&program.solve(solver).expect("it has a solution").values[..1], &[3.0]);
    }
}

#[test]
fn misstated_programs_say_where() {
    let mut program = LinearProgram::new();
    let x = program.add_variable(0.0, f64::NAN, 0.0);
    let Err(Unsolved::Failed(text)) = program.solve(Solver::Vertex) else { panic!("NaN passed") };
    assert!(text.contains("`x0`"), "{text}");

    let mut other = LinearProgram::new();
    other.add_row(&[(x, 1.0)], Relation::Equal, 1.0);
    let Err(Unsolved::Failed(text)) = other.solve(Solver::Vertex) else { panic!("x0 is foreign") };
    assert!(text.contains("row 0"), "{text}");
}

/// Answers as a solver might give them, against the checks alone.
mod answers {
    use super::super::check::{Answer, judge};
    use super::*;

    #[test]
    fn answers_that_miss_a_row_are_inexact() {
        let answer = Answer { values: vec![3.0, 1.1], duals: None };
        let Err(Unsolved::Inexact { violation }) = judge(&two_products(1.0), answer) else {
            panic!("3 + 1.1 is more than 4");
        };
        assert_near(&[violation], &[0.3 / 9.0]);
    }

    #[test]
    fn answers_that_are_not_the_best_are_inexact() {
        // (3, 0) is feasible; the right dual values, 2 for the first row, prove that 11 is possible at most.
        let duals = || Some(vec![-2.0, 0.0]);
        let answer = Answer { values: vec![3.0, 0.0], duals: duals() };
        let Err(Unsolved::Inexact { violation }) = judge(&two_products(1.0), answer) else {
            panic!("(3, 1) is better");
        };
        assert_near(&[violation], &[2.0 / 12.0]);
        let best = Answer { values: vec![3.0, 1.0], duals: duals() };
        let solution = judge(&two_products(1.0), best).expect("it is the best");
        assert_eq!((solution.objective, solution.bound), (-11.0, Some(-11.0)));
    }

    #[test]
    fn false_dual_values_prove_less_not_more() {
        for duals in [[-1.0, 0.0], [-2.0, 0.5], [3.0, 3.0], [-9.0, 9.0]] {
            let answer = Answer { values: vec![3.0, 1.0], duals: Some(duals.to_vec()) };
            assert!(matches!(judge(&two_products(1.0), answer), Err(Unsolved::Inexact { .. })));
        }
    }

    #[test]
    fn values_outside_their_bounds_are_put_back() {
        let answer = Answer { values: vec![3.0 + 1e-9, 1.0], duals: None };
        let solution = judge(&two_products(1.0), answer).expect("nothing else is wrong");
        assert_eq!(solution.values, [3.0, 1.0]);
        let answer = Answer { values: vec![f64::NAN, 1.0], duals: None };
        assert!(matches!(judge(&two_products(1.0), answer), Err(Unsolved::Failed(_))));
    }
}
