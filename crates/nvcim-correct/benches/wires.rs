//! What pre-distortion against resistive wires reaches, what it costs in signal, and how long one core takes.
//!
//! `cargo bench -p nvcim-correct --bench wires` prints the tables of `docs/corrections.md`, then the times.

use ndarray::Array2;
use nvcim_chip::describe::Cell;
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::ir_drop::{IrDrop, IrDropMethod};
use nvcim_chip::network::Wires;
use nvcim_chip::random::Stream;
use nvcim_correct::ir_drop::{
    Distorted, Effort, FixedCells, Gain, Group, PreDistorted, Reach, pre_distort,
};
use nvcim_ir::ids::{ArrayId, Id};
use nvcim_ir::tiled::{ArraySize, Wiring};

/// Word and bit lines of an array.
const N: usize = 128;

const CELL: Cell = Cell { g_min: 1e-6, g_max: 1e-4, n_levels: None };
const WIRES: Wires =
    Wires { word_line_ohm: 2.0, bit_line_ohm: 2.0, driver_ohm: 0.0, sense_ohm: 0.0 };
const ONE: Gain<'_> = Gain::Common { at_most: 1.0, allowance: 0.0 };
const PER_LANE: Gain<'_> = Gain::PerLane { at_most: 1.0, allowance: 0.0 };

fn main() {
    print_gains();
    print_cells();
    print_wires();
    divan::main();
}

/// Where pairs sit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Geometry {
    /// On two arrays.
    Separate,
    /// On neighbouring bit lines.
    Interleaved,
}

impl Geometry {
    fn wiring(self) -> Wiring {
        let lines = |first: usize, step: usize| (first..N).step_by(step).map(|at| at as u32);
        let (step, second) = if self == Self::Separate { (1, 0) } else { (2, 1) };
        Wiring {
            n_slices: 1,
            plus_rows: lines(0, 1).collect(),
            minus_rows: lines(0, 1).collect(),
            plus_cols: lines(0, step).collect(),
            minus_cols: lines(second, step).collect(),
            minus_array: (self == Self::Separate).then(|| ArrayId::new(1)),
        }
    }
}

/// Normal weights, the largest of which takes the whole range, or evenly spread ones.
fn weights(geometry: Geometry, normal: bool) -> Array2<f64> {
    let stream = Stream::new(1, 0, Effect::IrDrop);
    let n_lanes = geometry.wiring().plus_cols.len();
    let w = Array2::from_shape_fn((N, n_lanes), |(row, lane)| {
        let place = [row as u32, lane as u32, 0, 0];
        if normal { stream.normal(place) } else { 2.0 * stream.uniform(place) - 1.0 }
    });
    let most = w.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
    w * (CELL.range() / most)
}

fn solve(
    geometry: Geometry,
    wanted: &Array2<f64>,
    cell: &Cell,
    fixed: [&FixedCells; 2],
    gain: Gain<'_>,
) -> PreDistorted {
    solve_between(&WIRES, geometry, wanted, cell, fixed, gain)
}

fn solve_between(
    wires: &Wires,
    geometry: Geometry,
    wanted: &Array2<f64>,
    cell: &Cell,
    fixed: [&FixedCells; 2],
    gain: Gain<'_>,
) -> PreDistorted {
    let size = ArraySize { n_rows: N, n_cols: N, count: None };
    let ir_drop = IrDrop { wires: *wires, method: IrDropMethod::Exact, gated: None };
    let (wiring, reach) = (geometry.wiring(), (Reach::of_cell(cell), cell.g_min));
    let group = Group::of_tile(&wiring, size, &ir_drop, reach, fixed, (wanted.view(), gain));
    pre_distort(&group, Effort::default())
}

/// Errors and losses of continuous cells.
#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn print_gains() {
    println!(
        "| pairs | weights | gain | error without | error with | gain | SNR lost | matrices |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let none = FixedCells::new();
    for geometry in [Geometry::Separate, Geometry::Interleaved] {
        for (name, normal) in [("normal", true), ("uniform", false)] {
            let wanted = weights(geometry, normal);
            let loose = |allowance| Gain::Common { at_most: 1.0, allowance };
            let gains =
                [("common", ONE), ("common, 1 % allowed", loose(0.01)), ("per lane", PER_LANE)];
            for (choice, gain) in gains {
                let got = solve(geometry, &wanted, &CELL, [&none, &none], gain);
                let Distorted { error_before, relative_error, gain, .. } = &got.blocks[0];
                let mean = gain.iter().sum::<f64>() / gain.len() as f64;
                println!(
                    "| {geometry:?} | {name} | {choice} | {:.2} % | {relative_error:.1e} | {mean:.3} \
                     | {:.2} dB | {} |",
                    100.0 * error_before,
                    got.blocks[0].snr_lost_db(),
                    got.iterations,
                );
            }
        }
    }
}

/// Errors with levels and stuck cells.
#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn print_cells() {
    println!("\n| pairs | cells | error without | error with | same cells, perfect wires |");
    println!("|---|---|---|---|---|");
    for geometry in [Geometry::Separate, Geometry::Interleaved] {
        let wanted = weights(geometry, true);
        for (n_levels, percent) in [(Some(16), 0), (Some(64), 0), (None, 1), (Some(64), 1)] {
            let cell = Cell { n_levels, ..CELL };
            let fixed = [0, 1].map(|array| stuck_cells(array, f64::from(percent) / 100.0));
            let got = solve(geometry, &wanted, &cell, [&fixed[0], &fixed[1]], PER_LANE);
            let perfect = perfect_error(geometry, &wanted, &cell, [&fixed[0], &fixed[1]]);
            let block = &got.blocks[0];
            let levels = n_levels.map_or("continuous".to_owned(), |n| format!("{n} levels"));
            println!(
                "| {geometry:?} | {levels}, {percent} % stuck each way | {:.2} % | {:.2} % | {:.2} % |",
                100.0 * block.error_before,
                100.0 * block.relative_error,
                100.0 * perfect,
            );
        }
    }
}

/// A share of an array's cells stuck at each end of the range.
fn stuck_cells(array: u64, share: f64) -> FixedCells {
    let stream = Stream::new(2, array, Effect::Stuck);
    let places = (0..N as u32).flat_map(|row| (0..N as u32).map(move |col| (row, col)));
    let draws = places.map(|(row, col)| ((row, col), stream.uniform([row, col, 0, 0])));
    let stuck = draws.filter(|&(_, u)| u < 2.0 * share);
    stuck.map(|(at, u)| (at, if u < share { CELL.g_min } else { CELL.g_max })).collect()
}

/// The error of the same cells where wires have no resistance.
fn perfect_error(
    geometry: Geometry,
    wanted: &Array2<f64>,
    cell: &Cell,
    fixed: [&FixedCells; 2],
) -> f64 {
    let gains = vec![1.0; wanted.ncols()];
    let got = solve_between(&Wires::IDEAL, geometry, wanted, cell, fixed, Gain::Given(&gains));
    got.blocks[0].relative_error
}

/// Errors and losses of continuous cells over the resistance of a segment.
#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn print_wires() {
    println!("\n| pairs | ohm | error without | error with | gain | SNR lost | matrices |");
    println!("|---|---|---|---|---|---|---|");
    let none = FixedCells::new();
    for geometry in [Geometry::Separate, Geometry::Interleaved] {
        let wanted = weights(geometry, true);
        for ohm in [0.5, 1.0, 2.0, 5.0, 10.0, 20.0] {
            let wires = Wires { word_line_ohm: ohm, bit_line_ohm: ohm, ..WIRES };
            let got = solve_between(&wires, geometry, &wanted, &CELL, [&none, &none], ONE);
            let block = &got.blocks[0];
            println!(
                "| {geometry:?} | {ohm} | {:.2} % | {:.1e} | {:.3} | {:.2} dB | {} |",
                100.0 * block.error_before,
                block.relative_error,
                block.gain[0],
                block.snr_lost_db(),
                got.iterations,
            );
        }
    }
}

/// A tile of 128 by 128 weights on two arrays.
#[divan::bench]
fn separate_arrays(bencher: divan::Bencher<'_, '_>) {
    measure(bencher, Geometry::Separate, None);
}

/// A tile of 128 by 64 weights on one array.
#[divan::bench]
fn interleaved_columns(bencher: divan::Bencher<'_, '_>) {
    measure(bencher, Geometry::Interleaved, None);
}

/// The same with cells of 16 levels.
#[divan::bench]
fn interleaved_columns_16_levels(bencher: divan::Bencher<'_, '_>) {
    measure(bencher, Geometry::Interleaved, Some(16));
}

fn measure(bencher: divan::Bencher<'_, '_>, geometry: Geometry, n_levels: Option<u32>) {
    let (wanted, cell) = (weights(geometry, true), Cell { n_levels, ..CELL });
    let none = FixedCells::new();
    bencher.bench_local(|| solve(geometry, &wanted, &cell, [&none, &none], ONE));
}
