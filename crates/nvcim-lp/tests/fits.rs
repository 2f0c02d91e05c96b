//! Fits against known answers, against plain search, and against the conditions that make them optimal.

use ndarray::{Array2, ArrayView2, array};
use nvcim_lp::fit::{Fit, fit_l1, fit_minimax};
use nvcim_lp::program::Unsolved;
use proptest::prelude::*;

const FREE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// How far an objective may be from the best, relative to what it sums up.
const ACCURACY: f64 = 1e-7;

type Method = fn(ArrayView2<'_, f64>, &[f64], &[(f64, f64)]) -> Result<Fit, Unsolved>;

const METHODS: [Method; 2] = [fit_l1, fit_minimax];

fn deviations(a: &Array2<f64>, b: &[f64], x: &[f64]) -> Vec<f64> {
    let fitted = a.outer_iter().map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>());
    fitted.zip(b).map(|(fitted, b)| fitted - b).collect()
}

fn norms(deviations: &[f64]) -> [f64; 2] {
    let sizes = || deviations.iter().map(|it| it.abs());
    [sizes().sum(), sizes().fold(0.0, f64::max)]
}

/// The smallest value of a convex function of one number, by thirds.
fn smallest(bounds: (f64, f64), f: &dyn Fn(f64) -> f64) -> f64 {
    let (mut lo, mut hi) = bounds;
    for _ in 0..90 {
        let third = (hi - lo) / 3.0;
        if f(lo + third) <= f(hi - third) { hi -= third } else { lo += third }
    }
    f(0.5 * (lo + hi))
}

#[test]
fn the_l1_fit_of_a_constant_is_the_median() {
    let b = [5.0, -1.0, 100.0, 2.0, 3.0];
    let fit = fit_l1(Array2::ones((5, 1)).view(), &b, &[FREE]).expect("it has a solution");
    assert!((fit.x[0] - 3.0).abs() <= 1e-6, "{fit:?}");
    assert!((fit.objective - 104.0).abs() <= 1e-6 && fit.gap().abs() <= ACCURACY, "{fit:?}");
}

#[test]
fn the_minimax_fit_of_a_constant_is_the_middle() {
    let b = [5.0, -1.0, 100.0, 2.0, 3.0];
    let fit = fit_minimax(Array2::ones((5, 1)).view(), &b, &[FREE]).expect("it has a solution");
    assert!((fit.x[0] - 49.5).abs() <= 1e-5, "{fit:?}");
    assert!((fit.objective - 50.5).abs() <= 1e-5 && fit.gap().abs() <= ACCURACY, "{fit:?}");
}

#[test]
fn the_best_line_under_a_parabola_is_chebyshevs() {
    let a = Array2::from_shape_fn((101, 2), |(i, j)| if j == 0 { 1.0 } else { i as f64 / 100.0 });
    let b: Vec<_> = (0..101).map(|i| (f64::from(i) / 100.0).powi(2)).collect();
    let fit = fit_minimax(a.view(), &b, &[FREE; 2]).expect("it has a solution");
    assert!((fit.x[0] + 0.125).abs() <= 1e-6 && (fit.x[1] - 1.0).abs() <= 1e-6, "{fit:?}");
    assert!((fit.objective - 0.125).abs() <= 1e-7, "{fit:?}");
}

#[test]
fn wild_points_do_not_move_an_l1_fit() {
    let a =
        Array2::from_shape_fn((60, 2), |(i, j)| if j == 0 { (i * 17 % 60) as f64 } else { 1.0 });
    let wild = |i: usize| if i.is_multiple_of(4) { 1e3 * ((i % 3) as f64 - 0.8) } else { 0.0 };
    let b: Vec<_> = (0..60).map(|i| 1.1 * a[[i, 0]] - 0.3 + wild(i)).collect();
    let fit = fit_l1(a.view(), &b, &[FREE; 2]).expect("it has a solution");
    assert!((fit.x[0] - 1.1).abs() <= 1e-6 && (fit.x[1] + 0.3).abs() <= 1e-4, "{fit:?}");
}

#[test]
fn bounds_hold_to_the_last_bit() {
    let a = array![[3.0e-5, 1.0], [7.0e-5, 1.0], [1.1e-4, 1.0]];
    let bounds = [(0.1, 0.7), (-0.3, 0.3)];
    for method in METHODS {
        let fit = method(a.view(), &[9.0, 9.0, 9.0], &bounds).expect("it has a solution");
        assert_eq!(fit.x[1], 0.3);
        assert!(fit.x[0] <= 0.7 && fit.x[0] >= 0.7 - 1e-3, "{fit:?}");
    }
}

#[test]
fn units_change_nothing() {
    let a = Array2::from_shape_fn((20, 3), |(i, j)| ((i * 37 + j * 91) % 41) as f64 / 20.0 - 1.0);
    let b: Vec<_> = (0..20).map(|i| f64::from(i * 29 % 23) / 11.0 - 1.0).collect();
    let units = [1e-6, 1.0, 1e9];
    let scaled = Array2::from_shape_fn((20, 3), |(i, j)| a[[i, j]] * units[j]);
    let small: Vec<_> = b.iter().map(|it| 1e-9 * it).collect();
    for method in METHODS {
        let fit = method(a.view(), &b, &[FREE; 3]).expect("it has a solution");
        let other = method(scaled.view(), &small, &[FREE; 3]).expect("it has a solution");
        assert!((1e9 * other.objective - fit.objective).abs() <= 1e-8 * fit.objective);
        for (j, unit) in units.into_iter().enumerate() {
            let x = other.x[j] * unit * 1e9;
            assert!((x - fit.x[j]).abs() <= 1e-6 * (1.0 + fit.x[j].abs()), "{x} for {}", fit.x[j]);
        }
    }
}

#[test]
fn a_perfect_fit_leaves_nothing() {
    let a = Array2::from_shape_fn((8, 3), |(i, j)| ((i * 7 + j * 5) % 11) as f64);
    let b: Vec<_> = a.outer_iter().map(|row| row[0] - 2.0 * row[1] + 0.5 * row[2]).collect();
    for method in METHODS {
        let fit = method(a.view(), &b, &[FREE; 3]).expect("it has a solution");
        assert!(fit.objective <= 1e-6 && fit.gap() <= ACCURACY, "{fit:?}");
    }
}

#[test]
fn empty_fits_are_fits() {
    for method in METHODS {
        let fit = method(Array2::zeros((0, 2)).view(), &[], &[FREE, (1.0, 2.0)]).expect("no point");
        assert_eq!((fit.x.len(), fit.objective, fit.bound), (2, 0.0, 0.0));
        let fit = method(Array2::zeros((2, 0)).view(), &[3.0, -4.0], &[]).expect("no unknown");
        assert!(fit.x.is_empty() && fit.gap().abs() <= ACCURACY, "{fit:?}");
        let fit = method(Array2::zeros((2, 1)).view(), &[3.0, -4.0], &[(5.0, 6.0)]);
        let fit = fit.expect("a column of zeros does no harm");
        assert!((5.0..=6.0).contains(&fit.x[0]) && fit.gap().abs() <= ACCURACY, "{fit:?}");
        let fit = method(array![[2.0]].view(), &[0.0], &[(1.0, 1.0)]).expect("one value is left");
        assert_eq!((fit.x, fit.objective), (vec![1.0], 2.0));
    }
}

#[test]
fn what_is_no_fit_is_refused() {
    let a = Array2::<f64>::ones((2, 1));
    for method in METHODS {
        let refused = |a: &Array2<f64>, b: &[f64], bounds: &[(f64, f64)]| {
            matches!(method(a.view(), b, bounds), Err(Unsolved::Failed(_)))
        };
        assert!(refused(&a, &[1.0], &[FREE]), "one target for two points");
        assert!(refused(&a, &[1.0, 1.0], &[]), "no bounds for an unknown");
        assert!(refused(&a, &[1.0, f64::NAN], &[FREE]));
        assert!(refused(&(&a * f64::INFINITY), &[1.0, 1.0], &[FREE]));
        assert!(refused(&a, &[1.0, 1.0], &[(0.0, f64::NAN)]));
        let crossed = method(a.view(), &[1.0, 1.0], &[(2.0, 1.0)]);
        assert_eq!(crossed, Err(Unsolved::Infeasible));
    }
}

/// At an L1 optimum no direction gains: the signs of deviations balance up to the points that are met.
#[test]
fn a_large_l1_fit_meets_the_conditions_of_optimality() {
    let a = Array2::from_shape_fn((400, 12), |(i, j)| {
        (((i + 3) * (j + 7) * 7919) % 1009) as f64 / 504.5 - 1.0
    });
    let b: Vec<_> = (0..400).map(|i| ((i * i * 31 + 17) % 997) as f64 / 498.5 - 1.0).collect();
    let fit = fit_l1(a.view(), &b, &[FREE; 12]).expect("it has a solution");
    assert!(fit.gap().abs() <= ACCURACY, "{}", fit.gap());
    let left = deviations(&a, &b, &fit.x);
    assert!(
        left.iter().filter(|it| it.abs() <= 1e-6).count() >= 12,
        "a vertex meets as many points"
    );
    for column in a.columns() {
        let (mut pull, mut slack) = (0.0, 0.0);
        for (a, deviation) in column.iter().zip(&left) {
            if deviation.abs() <= 1e-6 { slack += a.abs() } else { pull += a * deviation.signum() }
        }
        assert!(f64::abs(pull) <= slack + 1e-9, "{pull} against {slack}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn fits_reach_what_search_finds(
        points in prop::collection::vec((-1.0..1.0_f64, -1.0..1.0_f64, -2.0..2.0_f64), 1..12),
        bounds in prop::array::uniform2((-1.5..0.0_f64, 0.0..1.5_f64)),
    ) {
        let a = Array2::from_shape_fn((points.len(), 2), |(i, j)| [points[i].0, points[i].1][j]);
        let b: Vec<_> = points.iter().map(|it| it.2).collect();
        for (norm, method) in METHODS.into_iter().enumerate() {
            let fit = method(a.view(), &b, &bounds).expect("it has a solution");
            let best = smallest(bounds[0], &|x| {
                smallest(bounds[1], &|y| norms(&deviations(&a, &b, &[x, y]))[norm])
            });
            let size = if b.iter().all(|it| *it == 0.0) { 1.0 } else { norms(&b)[norm] };
            prop_assert!((fit.objective - best).abs() <= ACCURACY * size, "{fit:?} against {best}");
            prop_assert!(fit.bound <= best + 1e-12 * size, "{} bounds {best}", fit.bound);
            prop_assert!(fit.gap() <= ACCURACY, "{}", fit.gap());
            let again = norms(&deviations(&a, &b, &fit.x))[norm];
            prop_assert!((again - fit.objective).abs() <= 1e-12 * size, "{again} for {fit:?}");
            for (x, (lo, hi)) in fit.x.iter().zip(bounds) {
                prop_assert!((lo..=hi).contains(x));
            }
        }
    }
}
