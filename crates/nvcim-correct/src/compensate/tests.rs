//! Compensation against direct solutions, optimality conditions and uncompensated writing.

use ndarray::{Array1, Array2, ArrayView2, s};
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;
use nvcim_ir::diag::Kind;
use proptest::prelude::*;

use super::{Compensator, Reach, compensate, error_of};

const TALL: usize = 24;

/// Second moments of inputs that share three causes, as neighbouring pixels and channels do, with a ridge of a
/// thousandth.
fn correlated(n: usize, seed: u64) -> Array2<f64> {
    let stream = Stream::new(seed, 0, Effect::Read);
    let causes = Array2::from_shape_fn((3, n), |(cause, row)| {
        stream.normal([0, cause as u32, row as u32, 0])
    });
    let own = |row: usize| 0.05 + stream.uniform([1, row as u32, 0, 0]) * 0.1;
    let mut moments = Array2::from_shape_fn((n, n), |(i, j)| {
        (0..3).map(|cause| causes[(cause, i)] * causes[(cause, j)]).sum::<f64>()
            + if i == j { own(i) } else { 0.0 }
    });
    let ridge = 1e-3 * moments.diag().sum() / n as f64;
    moments.diag_mut().mapv_inplace(|variance| variance + ridge);
    moments
}

fn weights(n_rows: usize, n_cols: usize, seed: u64) -> Array2<f64> {
    let stream = Stream::new(seed, 1, Effect::Programming);
    Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
        2.0 * stream.uniform([2, row as u32, col as u32, 0]) - 1.0
    })
}

/// Writes a tile as the compensator asks, every weight missing its target by `sd` times a normal number.
fn write(mut tile: Compensator, sd: f64, seed: u64) -> Array2<f64> {
    let stream = Stream::new(seed, 2, Effect::Programming);
    while let Some((row, targets)) = tile.next_row() {
        let missed = |(col, target): (usize, &f64)| {
            target + sd * stream.normal([3, row as u32, col as u32, 0])
        };
        let read: Array1<f64> = targets.iter().enumerate().map(missed).collect();
        tile.read_back(read.view());
    }
    tile.plan()
}

/// The rest of a column that minimises `d' C d` for given first rows, by elimination with pivoting: another
/// way than the factor's.
fn solve_rest(covariance: ArrayView2<'_, f64>, known: &[f64]) -> Vec<f64> {
    let (first, n) = (known.len(), covariance.nrows());
    let mut a = covariance.slice(s![first.., first..]).to_owned();
    let mut b: Vec<f64> = (first..n)
        .map(|row| -(0..first).map(|col| covariance[(row, col)] * known[col]).sum::<f64>())
        .collect();
    let m = n - first;
    for k in 0..m {
        let pivot = (k..m).max_by(|&i, &j| a[(i, k)].abs().total_cmp(&a[(j, k)].abs())).unwrap();
        for col in 0..m {
            a.swap((k, col), (pivot, col));
        }
        b.swap(k, pivot);
        for row in k + 1..m {
            let factor = a[(row, k)] / a[(k, k)];
            for col in k..m {
                a[(row, col)] -= factor * a[(k, col)];
            }
            b[row] -= factor * b[k];
        }
    }
    for k in (0..m).rev() {
        let known: f64 = (k + 1..m).map(|col| a[(k, col)] * b[col]).sum();
        b[k] = (b[k] - known) / a[(k, k)];
    }
    b
}

fn everywhere(n_rows: usize, n_cols: usize, value: f64) -> Array2<f64> {
    Array2::from_elem((n_rows, n_cols), value)
}

proptest! {
    #[test]
    fn wide_boxes_leave_the_exact_optimum(seed in 0u64..1000, written in 0..TALL) {
        let (moments, wanted) = (correlated(TALL, seed), weights(TALL, 2, seed));
        let (lo, hi) = (everywhere(TALL, 2, -1e3), everywhere(TALL, 2, 1e3));
        let reach = Reach { lo: lo.view(), hi: hi.view() };
        let read = &wanted.slice(s![..written, ..]) + &(0.1 * &weights(written, 2, seed + 1));
        let plan = compensate(moments.view(), wanted.view(), reach, read.view()).unwrap();
        for col in 0..2 {
            let missing = &plan.column(col) - &wanted.column(col);
            let direct = solve_rest(moments.view(), &missing.to_vec()[..written]);
            for (row, exact) in (written..TALL).zip(direct) {
                // The condition of these moments is about 1e4: ten digits are left of sixteen.
                prop_assert!((missing[row] - exact).abs() < 1e-10, "{} {exact}", missing[row]);
            }
        }
    }

    /// Against descent that goes on until nothing moves: the exact solution in the boxes.
    #[test]
    fn tight_boxes_leave_nearly_the_optimum(seed in 0u64..1000, written in 0..TALL) {
        let (moments, wanted) = (correlated(TALL, seed), weights(TALL, 1, seed));
        // A third of all weights cannot come near what they should be.
        let limit = |row: usize, lo: bool| match row % 3 {
            0 if lo => 0.2,
            0 => 0.4,
            _ if lo => -1.0,
            _ => 1.0,
        };
        let lo = Array2::from_shape_fn((TALL, 1), |(row, _)| limit(row, true));
        let hi = Array2::from_shape_fn((TALL, 1), |(row, _)| limit(row, false));
        let reach = Reach { lo: lo.view(), hi: hi.view() };
        let mut tile = Compensator::new(moments.view(), wanted.view(), reach, 1.0).unwrap();
        let read = &tile.plan().slice(s![..written, ..]) + &(0.1 * &weights(written, 1, seed + 1));
        for row in read.rows() {
            tile.read_back(row);
        }
        let plan = tile.plan();
        for row in written..TALL {
            prop_assert!((lo[(row, 0)]..=hi[(row, 0)]).contains(&plan[(row, 0)]));
        }
        let column = &tile.columns[0];
        let mut missing = column.missing();
        let reached = error_of(&moments, &missing);
        column.descend(written, &moments, &mut missing, 100_000);
        let best = error_of(&moments, &missing);
        prop_assert!(reached <= 1.02 * best, "{reached} {best}");
    }

    #[test]
    fn perfect_writing_changes_nothing(seed in 0u64..1000) {
        let (moments, wanted) = (correlated(TALL, seed), weights(TALL, 3, seed));
        let (lo, hi) = (everywhere(TALL, 3, -0.6), everywhere(TALL, 3, 0.6));
        let reach = Reach { lo: lo.view(), hi: hi.view() };
        let tile = Compensator::new(moments.view(), wanted.view(), reach, 1.0).unwrap();
        let planned = tile.plan();
        prop_assert_eq!(write(tile, 0.0, seed), planned);
        let (lo, hi) = (everywhere(TALL, 3, -1.0), everywhere(TALL, 3, 1.0));
        let reach = Reach { lo: lo.view(), hi: hi.view() };
        let tile = Compensator::new(moments.view(), wanted.view(), reach, 1.0).unwrap();
        prop_assert_eq!(write(tile, 0.0, seed), wanted);
    }

    #[test]
    fn writing_errors_weigh_less_when_compensated(seed in 0u64..1000, sd in 0.01..0.3f64) {
        let (moments, wanted) = (correlated(TALL, seed), weights(TALL, 8, seed));
        let (lo, hi) = (everywhere(TALL, 8, -1.2), everywhere(TALL, 8, 1.2));
        let reach = Reach { lo: lo.view(), hi: hi.view() };
        let tile = Compensator::new(moments.view(), wanted.view(), reach, 1.0).unwrap();
        let error = |written: Array2<f64>| -> f64 {
            let missing = &written - &wanted;
            missing.columns().into_iter().map(|d| error_of(&moments, &d.to_vec())).sum()
        };
        let blind = Compensator { trust: 0.0, ..tile.clone() };
        let (with, without) = (error(write(tile, sd, seed)), {
            let stream = Stream::new(seed, 2, Effect::Programming);
            let planned = blind.plan();
            error(Array2::from_shape_fn((TALL, 8), |(row, col)| {
                planned[(row, col)] + sd * stream.normal([3, row as u32, col as u32, 0])
            }))
        });
        // Three shared causes carry nearly all of the error, and 24 rows have room to cancel them.
        prop_assert!(with < 0.7 * without, "{with} {without}");
    }
}

/// Reads as noisy as the writing: half the deviation is trusted, and that beats all and none of it.
#[test]
fn noisy_reads_are_trusted_as_far_as_they_deserve() {
    let sd = 0.05;
    let error_at = |trust: f64| -> f64 {
        let runs = (0..40).map(|seed| {
            let (moments, wanted) = (correlated(TALL, seed), weights(TALL, 8, seed));
            let (lo, hi) = (everywhere(TALL, 8, -2.0), everywhere(TALL, 8, 2.0));
            let reach = Reach { lo: lo.view(), hi: hi.view() };
            let mut tile = Compensator::new(moments.view(), wanted.view(), reach, trust).unwrap();
            let stream = Stream::new(seed, 3, Effect::Read);
            let mut truth = Array2::zeros((TALL, 8));
            while let Some((row, targets)) = tile.next_row() {
                let z = |col: usize, k| stream.normal([4, row as u32, col as u32, k]);
                let written: Array1<f64> =
                    (0..8).map(|col| targets[col] + sd * z(col, 0)).collect();
                let read: Array1<f64> = (0..8).map(|col| written[col] + sd * z(col, 1)).collect();
                truth.row_mut(row).assign(&written);
                tile.read_back(read.view());
            }
            let missing = &truth - &wanted;
            missing.columns().into_iter().map(|d| error_of(&moments, &d.to_vec())).sum::<f64>()
        });
        runs.sum()
    };
    let (none, half, all) = (error_at(0.0), error_at(0.5), error_at(1.0));
    assert!(half < all && half < none, "{none} {half} {all}");
}

#[test]
fn what_cannot_be_solved_says_why() {
    let flat = Array2::from_elem((3, 3), 1.0);
    let wanted = weights(3, 1, 0);
    let (lo, hi) = (everywhere(3, 1, -1.0), everywhere(3, 1, 1.0));
    let reach = Reach { lo: lo.view(), hi: hi.view() };
    let problem = Compensator::new(flat.view(), wanted.view(), reach, 1.0).unwrap_err();
    assert_eq!(problem[0].kind, Kind::Infeasible);
    let upside_down = Reach { lo: hi.view(), hi: lo.view() };
    let one = Array2::eye(3);
    let problem = Compensator::new(one.view(), wanted.view(), upside_down, 1.0).unwrap_err();
    assert_eq!(problem[0].kind, Kind::Internal);
}

#[test]
fn a_reading_that_is_no_number_counts_as_the_target() {
    let (moments, wanted) = (correlated(4, 0), weights(4, 1, 0));
    let (lo, hi) = (everywhere(4, 1, -2.0), everywhere(4, 1, 2.0));
    let reach = Reach { lo: lo.view(), hi: hi.view() };
    let mut tile = Compensator::new(moments.view(), wanted.view(), reach, 1.0).unwrap();
    let planned = tile.plan();
    tile.read_back(Array1::from_elem(1, f64::NAN).view());
    assert_eq!(tile.plan(), planned);
    assert_eq!(tile.next_row().unwrap().0, 1);
    assert!(tile.errors()[0].abs() < 1e-20);
}
