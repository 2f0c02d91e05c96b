//! Gated arrays, column by column, against a dense Newton iteration on node voltages.

use ndarray::Array2;
use nvcim_chip::effects::Effect;
use nvcim_chip::network::gated::{
    GatedWires, bit_serial_currents, column_currents, pulse_width_charges,
};
use nvcim_chip::random::Stream;
use proptest::prelude::*;

use crate::circuit::{Circuit, GROUND};

fn draw_cells(n_rows: usize, n_cols: usize, seed: u64) -> Array2<f64> {
    let stream = Stream::new(seed, 2, Effect::IrDrop);
    Array2::from_shape_fn((n_rows, n_cols), |(row, col)| {
        1e-6 * stream.uniform([row as u32, col as u32, 0, 0])
    })
}

fn draw_codes(n_rows: usize, seed: u64) -> Vec<u32> {
    let stream = Stream::new(seed, 3, Effect::IrDrop);
    (0..n_rows as u32).map(|row| stream.words([row, 0, 0, 0])[0] % 16).collect()
}

fn any_wires() -> impl Strategy<Value = GatedWires> {
    let ohm = || prop_oneof![Just(0.0), 1.0..300.0];
    (ohm(), ohm(), ohm(), prop_oneof![Just(0.0), 0.01..0.5], 0.03..0.1).prop_map(
        |(bit, sense, source, output_conductance_per_volt, subthreshold_volts)| GatedWires {
            bit_line_ohm: bit,
            sense_ohm: sense,
            source_line_ohm: source,
            bit_line_volts: 0.8,
            output_conductance_per_volt,
            subthreshold_volts,
        },
    )
}

/// One column: drain nodes, then source nodes. Each cell is linearised as two conductances would see it: its
/// current depends on drain and source voltage, so the step is damped Picard iteration on the currents.
fn solve_column(g: &[f64], wires: &GatedWires) -> (f64, f64) {
    let n = g.len();
    let mut currents = vec![0.0; n];
    let (mut total, mut lowest) = (0.0, f64::INFINITY);
    for _ in 0..400 {
        let mut circuit = Circuit::new(2 * n);
        for (row, &current) in currents.iter().enumerate() {
            circuit.add_cell(row, n + row, 0.0, current);
            let last = row + 1 == n;
            let below = |first: usize| if last { GROUND } else { Some(first + row + 1) };
            let (ohm, volts) = if last {
                (wires.bit_line_ohm + wires.sense_ohm, wires.bit_line_volts)
            } else {
                (wires.bit_line_ohm, 0.0)
            };
            circuit.add_branch(Some(row), below(0), ohm, volts);
            circuit.add_branch(Some(n + row), below(n), wires.source_line_ohm, 0.0);
        }
        let (nodes, branches) = circuit.solve();
        // Into the drains, against the branch's direction.
        total = -branches[2 * n - 2];
        lowest = f64::INFINITY;
        for (row, (current, &g)) in currents.iter_mut().zip(g).enumerate() {
            let (drain, source) = (nodes[row], nodes[n + row]);
            let shift = drain - source - wires.bit_line_volts;
            let next = g
                * wires.bit_line_volts
                * (1.0 + wires.output_conductance_per_volt * shift)
                * libm::exp(-source / wires.subthreshold_volts);
            *current += 0.5 * (next - *current);
            if g > 0.0 {
                lowest = lowest.min(drain - source);
            }
        }
    }
    (total, lowest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn columns_agree_with_a_dense_circuit(
        (n_rows, n_cols) in (1_usize..8, 1_usize..4), wires in any_wires(), seed in any::<u64>(),
    ) {
        let g = draw_cells(n_rows, n_cols, seed);
        let on: Vec<_> = draw_codes(n_rows, seed).iter().map(|code| code % 3 > 0).collect();
        let mut currents = vec![0.0; n_cols];
        let solved = column_currents(g.view(), &on, &wires, &mut currents).unwrap();
        let mut lowest = f64::INFINITY;
        for (column, &got) in g.columns().into_iter().zip(&currents) {
            let cells: Vec<_> = column.iter().zip(&on).map(|(&g, &on)| if on { g } else { 0.0 }).collect();
            let (wanted, drain) = solve_column(&cells, &wires);
            lowest = lowest.min(drain);
            prop_assert!((got - wanted).abs() <= 1e-9 * wanted, "{got:e} {wanted:e}");
        }
        let both_none = solved.lowest_drain_volts == lowest;
        prop_assert!(both_none || (solved.lowest_drain_volts - lowest).abs() < 1e-9, "{solved:?} {lowest}");
    }

    /// Steps of a pulse, one after the other, are what the segments sum up.
    #[test]
    fn charges_of_pulses_are_sums_over_single_steps(wires in any_wires(), seed in any::<u64>()) {
        let (g, codes) = (draw_cells(9, 3, seed), draw_codes(9, seed));
        let mut charges = vec![0.0; 3];
        pulse_width_charges(g.view(), &codes, &wires, &mut charges).unwrap();
        let (mut sums, mut currents) = (vec![0.0; 3], vec![0.0; 3]);
        for step in 0..16 {
            let on: Vec<_> = codes.iter().map(|&code| code > step).collect();
            column_currents(g.view(), &on, &wires, &mut currents).unwrap();
            sums.iter_mut().zip(&currents).for_each(|(sum, current)| *sum += current);
        }
        for (charge, sum) in charges.iter().zip(sums) {
            prop_assert!((charge - sum).abs() <= 1e-13 * sum);
        }
    }
}

/// Without resistance all codings multiply; with it a cell that shares its bit line gets less.
#[test]
fn codings_agree_where_wires_are_ideal_and_differ_where_not() {
    let ideal = GatedWires {
        bit_line_ohm: 0.0,
        sense_ohm: 0.0,
        source_line_ohm: 0.0,
        bit_line_volts: 0.5,
        output_conductance_per_volt: 0.1,
        subthreshold_volts: 0.039,
    };
    let (g, codes) = (draw_cells(20, 4, 1), draw_codes(20, 1));
    let solve = |wires: &GatedWires| {
        let (mut pulses, mut serial) = (vec![0.0; 4], vec![0.0; 4]);
        pulse_width_charges(g.view(), &codes, wires, &mut pulses).unwrap();
        bit_serial_currents(g.view(), &codes, wires, &mut serial).unwrap();
        (pulses, serial)
    };
    let (pulses, serial) = solve(&ideal);
    for (col, (pulse, serial)) in pulses.iter().zip(&serial).enumerate() {
        let product: f64 =
            g.column(col).iter().zip(&codes).map(|(g, &code)| g * 0.5 * f64::from(code)).sum();
        assert!(
            (pulse - product).abs() <= 1e-14 * product
                && (serial - product).abs() <= 1e-14 * product
        );
    }
    let (dropped, serial) =
        solve(&GatedWires { source_line_ohm: 200.0, bit_line_ohm: 200.0, ..ideal });
    for ((dropped, serial), pulse) in dropped.iter().zip(&serial).zip(&pulses) {
        assert!(
            dropped < pulse && (dropped - serial).abs() > 1e-4 * pulse,
            "{dropped} {serial} {pulse}"
        );
    }
}

/// The linear pass with ideal source lines is the limit of the iteration with good ones.
#[test]
fn ideal_source_lines_are_the_limit_of_good_ones() {
    let good = GatedWires {
        bit_line_ohm: 20.0,
        sense_ohm: 100.0,
        source_line_ohm: 1e-9,
        bit_line_volts: 0.5,
        output_conductance_per_volt: 0.2,
        subthreshold_volts: 0.039,
    };
    let g = draw_cells(128, 5, 2);
    let on = vec![true; 128];
    let solve = |wires| {
        let mut currents = vec![0.0; 5];
        let solved = column_currents(g.view(), &on, &wires, &mut currents).unwrap();
        (currents, solved.lowest_drain_volts)
    };
    let (limit, drain) = solve(GatedWires { source_line_ohm: 0.0, ..good });
    let (close, close_drain) = solve(good);
    assert!((drain - close_drain).abs() < 1e-9 && drain < 0.5);
    for (a, b) in limit.iter().zip(close) {
        assert!((a - b).abs() <= 1e-8 * a);
    }
}
