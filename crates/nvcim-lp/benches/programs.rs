//! How long one core takes for fits and assignments as linear programs, by either method of solution.
//!
//! `cargo bench -p nvcim-lp --bench programs`

use ndarray::Array2;
use nvcim_lp::fit::{fit_l1, fit_minimax};
use nvcim_lp::place::{Rules, place};
use nvcim_lp::program::{LinearProgram, Relation, Solver};

fn main() {
    divan::main();
}

/// A fixed sequence of evenly spread numbers in [-1, 1).
fn spread(row: usize, col: usize) -> f64 {
    let mut state = (row as u64) << 32 ^ (col as u64) ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        state = (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (state >> 10) as f64 / (1u64 << 53) as f64 - 1.0
}

/// Coefficients and targets of a fit.
fn fit_of(n_points: usize, n_unknowns: usize) -> (Array2<f64>, Vec<f64>) {
    let a = Array2::from_shape_fn((n_points, n_unknowns), |(row, col)| spread(row, col));
    (a, (0..n_points).map(|row| spread(row, n_unknowns)).collect())
}

/// Points and unknowns: gain and offset; an affine map over a group; one column of cells.
const SIZES: [(usize, usize); 5] = [(32, 2), (256, 2), (256, 16), (1024, 64), (256, 128)];

/// An L1 fit with unknowns between -1 and 1.
#[divan::bench(args = SIZES, sample_count = 5)]
fn l1(bencher: divan::Bencher<'_, '_>, (n_points, n_unknowns): (usize, usize)) {
    let (a, b) = fit_of(n_points, n_unknowns);
    let bounds = vec![(-1.0, 1.0); n_unknowns];
    bencher.bench_local(|| fit_l1(a.view(), &b, &bounds));
}

/// A minimax fit with unknowns between -1 and 1.
#[divan::bench(args = SIZES, sample_count = 5)]
fn minimax(bencher: divan::Bencher<'_, '_>, (n_points, n_unknowns): (usize, usize)) {
    let (a, b) = fit_of(n_points, n_unknowns);
    let bounds = vec![(-1.0, 1.0); n_unknowns];
    bencher.bench_local(|| fit_minimax(a.view(), &b, &bounds));
}

/// The same L1 fit by the simplex.
#[divan::bench(args = &SIZES[..3], sample_count = 5)]
fn l1_by_vertices(bencher: divan::Bencher<'_, '_>, (n_points, n_unknowns): (usize, usize)) {
    let (a, b) = fit_of(n_points, n_unknowns);
    let mut program = LinearProgram::new();
    let unknowns: Vec<_> = (0..n_unknowns).map(|_| program.add_variable(-1.0, 1.0, 0.0)).collect();
    for (row, &target) in b.iter().enumerate() {
        let mut terms: Vec<_> = unknowns.iter().copied().zip(a.row(row).iter().copied()).collect();
        terms.push((program.add_variable(0.0, f64::INFINITY, 1.0), 1.0));
        terms.push((program.add_variable(0.0, f64::INFINITY, 1.0), -1.0));
        program.add_row(&terms, Relation::Equal, target);
    }
    bencher.bench_local(|| program.solve(Solver::Vertex));
}

/// 64 rows on 32 columns that take two or three.
#[divan::bench(args = [Solver::Vertex, Solver::Interior], sample_count = 5)]
fn place_64(bencher: divan::Bencher<'_, '_>, solver: Solver) {
    let (cost, _) = fit_of(64, 32);
    let rules = Rules { capacity: [2, 3].repeat(16), ..Rules::default() };
    bencher.bench_local(|| place(cost.view(), &rules, solver));
}
