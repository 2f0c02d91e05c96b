//! Passive arrays: the exact transfer matrix, its estimate, and nonlinear cells.

use std::thread;

use ndarray::{Array2, array};
use nvcim_chip::effects::Effect;
use nvcim_chip::network::Wires;
use nvcim_chip::network::cell_law::CellLaw;
use nvcim_chip::network::fast::estimate_transfer_matrix;
use nvcim_chip::network::nonlinear::{Crossbar, DEFAULT_TOLERANCE};
use nvcim_chip::network::passive::transfer_matrix;
use nvcim_chip::presets::find_preset;
use nvcim_chip::random::Stream;
use proptest::prelude::*;

use crate::circuit::{dense_transfer_matrix, solve_array};

/// What dense elimination with diagonals loses to rounding, as a share of the largest current.
const DENSE: f64 = 1e-9;

/// Conductances up to 100 uS, one in ten open, one in ten a short of 1 mS.
fn draw_cells(n_rows: usize, n_cols: usize, seed: u64) -> Array2<f64> {
    let stream = Stream::new(seed, 0, Effect::IrDrop);
    Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
        let place = |draw| stream.uniform([row as u32, col as u32, draw, 0]);
        match place(0) {
            kind if kind < 0.1 => 0.0,
            kind if kind < 0.2 => 1e-3,
            _ => 1e-4 * place(1),
        }
    })
}

fn draw_volts(n_rows: usize, seed: u64) -> Vec<f64> {
    let stream = Stream::new(seed, 1, Effect::IrDrop);
    (0..n_rows as u32).map(|row| 0.4 * stream.uniform([row, 0, 0, 0]) - 0.2).collect()
}

/// Nothing, less than any wire, wires, and worse than any wire.
fn any_ohm() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1e-7), 0.1..10.0, Just(3e3)]
}

fn any_wires() -> impl Strategy<Value = Wires> {
    (any_ohm(), any_ohm(), any_ohm(), any_ohm()).prop_map(|(word, bit, driver, sense)| Wires {
        word_line_ohm: word,
        bit_line_ohm: bit,
        driver_ohm: driver,
        sense_ohm: sense,
    })
}

fn largest(values: &Array2<f64>) -> f64 {
    values.fold(0.0, |max: f64, value| max.max(value.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn transfer_matrices_agree_with_a_dense_circuit(
        (n_rows, n_cols) in (1_usize..8, 1_usize..8), wires in any_wires(), seed in any::<u64>(),
    ) {
        let g = draw_cells(n_rows, n_cols, seed);
        let got = transfer_matrix(g.view(), &wires);
        let wanted = dense_transfer_matrix(g.view(), &wires);
        let limit = DENSE * largest(&wanted);
        prop_assert!(largest(&(&got - &wanted)) <= limit, "{got} {wanted}");
    }

    /// Reciprocity: with drivers and sense stages exchanged the same matrix transfers backwards.
    #[test]
    fn drivers_and_sense_stages_can_be_exchanged(
        (n_rows, n_cols) in (1_usize..20, 1_usize..20), wires in any_wires(), seed in any::<u64>(),
    ) {
        let g = draw_cells(n_rows, n_cols, seed);
        let turned = Array2::from_shape_fn((n_cols, n_rows), |(row, col)| {
            g[[n_rows - 1 - col, n_cols - 1 - row]]
        });
        let exchanged = Wires {
            word_line_ohm: wires.bit_line_ohm,
            bit_line_ohm: wires.word_line_ohm,
            driver_ohm: wires.sense_ohm,
            sense_ohm: wires.driver_ohm,
        };
        let (there, back) = (transfer_matrix(g.view(), &wires), transfer_matrix(turned.view(), &exchanged));
        for ((n, m), &value) in there.indexed_iter() {
            let other = back[[n_rows - 1 - m, n_cols - 1 - n]];
            // Each entry on its own, small ones too: nothing cancels.
            prop_assert!((value - other).abs() <= 1e-12 * value, "{n} {m}: {value:e} {other:e}");
        }
    }

    #[test]
    fn nonlinear_cells_agree_with_a_dense_circuit(
        (n_rows, n_cols) in (1_usize..7, 1_usize..7), wires in any_wires(), seed in any::<u64>(),
    ) {
        let (g, volts) = (draw_cells(n_rows, n_cols, seed), draw_volts(n_rows, seed));
        let crossbar = Crossbar::new(g.view(), &wires, milo());
        let mut currents = vec![0.0; n_cols];
        let solved =
            crossbar.solve(&volts, DEFAULT_TOLERANCE, &mut crossbar.new_workspace(), &mut currents);
        prop_assert!(solved.is_ok(), "{solved:?}");
        let (wanted, carried) = solve_dense_newton(&g, &wires, &volts);
        for (got, wanted) in currents.iter().zip(wanted) {
            prop_assert!((got - wanted).abs() <= 2.0 * DEFAULT_TOLERANCE * carried, "{got} {wanted}");
        }
    }
}

/// Newton's method on the dense circuit, and the largest current that one bit line's cells carry.
fn solve_dense_newton(g: &Array2<f64>, wires: &Wires, volts: &[f64]) -> (Vec<f64>, f64) {
    let law = milo();
    let mut across = Array2::<f64>::zeros(g.dim());
    let mut currents = Vec::new();
    let cell = |across: &Array2<f64>, at: [usize; 2]| {
        law.cubic(g[at]).current_and_slope(across[at], law.highest_volts())
    };
    for _ in 0..12 {
        let before = across.clone();
        (currents, across) = solve_array(g.dim(), wires, volts, |m, n| {
            let (current, slope) = cell(&before, [m, n]);
            (slope, current - slope * before[[m, n]])
        });
    }
    let carried =
        (0..g.ncols()).map(|n| (0..g.nrows()).map(|m| cell(&across, [m, n]).0.abs()).sum());
    (currents, carried.fold(0.0, f64::max))
}

#[test]
fn one_cell_is_a_row_of_resistors() {
    let wires = Wires { word_line_ohm: 2.0, bit_line_ohm: 3.0, driver_ohm: 100.0, sense_ohm: 50.0 };
    let transfer = transfer_matrix(array![[1e-4]].view(), &wires);
    assert!((transfer[[0, 0]] * (1e4 + 155.0) - 1.0).abs() < 1e-14);
}

#[test]
fn without_resistance_cells_are_the_matrix() {
    let g = draw_cells(9, 13, 1);
    assert_eq!(transfer_matrix(g.view(), &Wires::IDEAL), g.t());
    assert_eq!(estimate_transfer_matrix(g.view(), &Wires::IDEAL), g.t());
}

#[test]
fn arrays_without_lines_have_empty_matrices() {
    let wires = Wires { word_line_ohm: 1.0, ..Wires::IDEAL };
    for shape in [(0, 3), (3, 0)] {
        let g = Array2::zeros(shape);
        assert_eq!(transfer_matrix(g.view(), &wires).dim(), (shape.1, shape.0));
        assert_eq!(estimate_transfer_matrix(g.view(), &wires).dim(), (shape.1, shape.0));
        let crossbar = Crossbar::new(g.view(), &wires, milo());
        let mut currents = vec![1.0; shape.1];
        crossbar
            .solve(&vec![0.1; shape.0], 0.0, &mut crossbar.new_workspace(), &mut currents)
            .unwrap();
        assert!(currents.iter().all(|&current| current == 0.0));
    }
}

/// A wire of 1 pico-ohm beside a sense stage of 1 mega-ohm: diagonals of a nodal matrix would lose
/// the cells. Bit lines are then single nodes, so that currents divide by conductance.
#[test]
fn tiny_wires_do_not_drown_cells() {
    let g = draw_cells(40, 1, 3);
    let wires = Wires { word_line_ohm: 0.0, bit_line_ohm: 1e-12, driver_ohm: 0.0, sense_ohm: 1e6 };
    let transfer = transfer_matrix(g.view(), &wires);
    let all = g.sum();
    for (got, &g) in transfer.row(0).iter().zip(&g) {
        assert!((got - g / (1.0 + 1e6 * all)).abs() <= 1e-11 * got, "{got:e}");
    }
}

/// With one source on, no cell sees more than its voltage, and no current comes back.
#[test]
fn sums_of_currents_never_exceed_what_cells_could_carry() {
    let g = draw_cells(60, 33, 4);
    let wires = Wires { word_line_ohm: 2.0, bit_line_ohm: 1.0, driver_ohm: 10.0, sense_ohm: 20.0 };
    let transfer = transfer_matrix(g.view(), &wires);
    for ((n, m), &value) in transfer.indexed_iter() {
        assert!(value >= 0.0 && value.is_finite(), "{n} {m}: {value:e}");
    }
    for (all, row) in transfer.columns().into_iter().zip(g.rows()) {
        assert!(all.sum() <= row.sum());
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let g = draw_cells(70, 90, 5);
    let wires = Wires { word_line_ohm: 1.0, bit_line_ohm: 2.0, driver_ohm: 5.0, sense_ohm: 0.0 };
    let alone = transfer_matrix(g.view(), &wires);
    let together: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| transfer_matrix(g.view(), &wires))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(
        together.iter().all(|it| it.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()))
    );
}

/// Wires that eat most of the signal, with shorts and open cells: the solver takes more sweeps and arrives.
#[test]
fn severe_wires_slow_the_iteration_down_and_no_more() {
    let (g, volts) = (draw_cells(96, 128, 10), draw_volts(96, 10));
    let wires =
        Wires { word_line_ohm: 20.0, bit_line_ohm: 30.0, driver_ohm: 500.0, sense_ohm: 200.0 };
    let mut currents = vec![0.0; 128];
    for law in [CellLaw::Ohmic, milo()] {
        let crossbar = Crossbar::new(g.view(), &wires, law);
        let solved = crossbar
            .solve(&volts, DEFAULT_TOLERANCE, &mut crossbar.new_workspace(), &mut currents)
            .unwrap();
        assert!(solved.n_sweeps < 400 && solved.residual <= DEFAULT_TOLERANCE, "{solved:?}");
        // Both ends of a cell stay between the lowest and the highest source, ground among them.
        assert!(solved.peak_cell_volts <= 0.4, "{solved:?}");
        if law == CellLaw::Ohmic {
            let transfer = transfer_matrix(g.view(), &wires);
            // What the cells of a bit line carry at most.
            let most = g.columns().into_iter().map(|column| 0.4 * column.sum()).fold(0.0, f64::max);
            for (got, row) in currents.iter().zip(transfer.rows()) {
                let wanted: f64 = row.iter().zip(&volts).map(|(t, v)| t * v).sum();
                assert!((got - wanted).abs() <= DEFAULT_TOLERANCE * most, "{got:e} {wanted:e}");
            }
        }
    }
}

#[test]
fn a_workspace_remembers_nothing() {
    let g = draw_cells(12, 9, 6);
    let wires = Wires { word_line_ohm: 1.0, bit_line_ohm: 2.0, driver_ohm: 5.0, sense_ohm: 0.0 };
    let crossbar = Crossbar::new(g.view(), &wires, milo());
    let mut workspace = crossbar.new_workspace();
    let solve = |seed, workspace: &mut _| {
        let mut currents = vec![0.0; 9];
        crossbar.solve(&draw_volts(12, seed), 1e-9, workspace, &mut currents).unwrap();
        currents
    };
    let first = solve(1, &mut workspace);
    solve(2, &mut workspace);
    assert_eq!(solve(1, &mut workspace), first);
}

#[test]
fn what_cannot_be_reached_is_said() {
    let g = draw_cells(16, 16, 7);
    let wires = Wires { word_line_ohm: 1.0, bit_line_ohm: 2.0, driver_ohm: 0.0, sense_ohm: 0.0 };
    let crossbar = Crossbar::new(g.view(), &wires, milo());
    let mut currents = vec![0.0; 16];
    let stopped = crossbar
        .solve(&draw_volts(16, 7), 0.0, &mut crossbar.new_workspace(), &mut currents)
        .unwrap_err();
    // Rounding stops it, close to the answer.
    assert!(stopped.reached > 0.0 && stopped.reached < 1e-12, "{stopped}");
    let not_a_number = vec![f64::NAN; 16];
    assert!(
        crossbar.solve(&not_a_number, 1e-6, &mut crossbar.new_workspace(), &mut currents).is_err()
    );
}

/// A single bit line leaves the estimate nothing to neglect; otherwise twice the wires make an error of
/// about four times the size: it is of second order.
#[test]
fn estimates_are_exact_for_single_bit_lines_and_of_second_order_otherwise() {
    let wires = Wires { word_line_ohm: 5.0, bit_line_ohm: 7.0, driver_ohm: 50.0, sense_ohm: 30.0 };
    let g = draw_cells(30, 1, 8);
    let (exact, fast) =
        (transfer_matrix(g.view(), &wires), estimate_transfer_matrix(g.view(), &wires));
    assert!(largest(&(&fast - &exact)) <= 1e-13 * largest(&exact));
    let g = draw_cells(16, 24, 9);
    let error = |ohm| {
        let wires =
            Wires { word_line_ohm: ohm, bit_line_ohm: ohm, driver_ohm: 0.0, sense_ohm: 0.0 };
        largest(&(transfer_matrix(g.view(), &wires) - estimate_transfer_matrix(g.view(), &wires)))
    };
    let ratio = error(0.02) / error(0.01);
    assert!((3.9..4.1).contains(&ratio), "{ratio}");
}

/// The fitted cells of a preset.
fn milo() -> CellLaw {
    let chip = find_preset("rram-milo").expect("a preset of this name");
    CellLaw::Fitted(chip.effects.iv.expect("its cells are nonlinear"))
}
