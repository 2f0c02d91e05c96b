//! How long one core takes for the currents of one array, and how far the estimate is off.
//!
//! `cargo bench -p nvcim-chip --bench network` prints a table of errors, then the times.

use ndarray::{Array1, Array2, Axis};
use nvcim_chip::effects::Effect;
use nvcim_chip::network::Wires;
use nvcim_chip::network::cell_law::CellLaw;
use nvcim_chip::network::fast::estimate_transfer_matrix;
use nvcim_chip::network::gated::{GatedWires, column_currents};
use nvcim_chip::network::nonlinear::{Crossbar, DEFAULT_TOLERANCE};
use nvcim_chip::network::passive::transfer_matrix;
use nvcim_chip::presets::find_preset;
use nvcim_chip::random::Stream;

const WIRES: Wires =
    Wires { word_line_ohm: 1.0, bit_line_ohm: 1.0, driver_ohm: 0.0, sense_ohm: 0.0 };

fn main() {
    print_errors();
    divan::main();
}

/// Conductances of `n` by `n` cells, evenly spread up to 100 uS.
fn cells(n: usize) -> Array2<f64> {
    let stream = Stream::new(1, 1, Effect::IrDrop);
    Array2::from_shape_fn((n, n), |(row, col)| {
        1e-4 * stream.uniform([row as u32, col as u32, 0, 0])
    })
}

/// Inputs of `n` word lines, evenly spread up to 0.2 V.
fn volts(n: usize) -> Array1<f64> {
    let stream = Stream::new(1, 2, Effect::IrDrop);
    Array1::from_shape_fn(n, |row| 0.2 * stream.uniform([row as u32, 0, 0, 0]))
}

/// Root mean square over bit lines of what the wires change, and of what the estimate gets wrong, both as
/// shares of the root mean square current without wires.
#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn print_errors() {
    println!("| cells | ohm per segment | IR drop | error of the estimate |\n|---|---|---|---|");
    for n in [32, 64, 128, 256] {
        let (g, x) = (cells(n), volts(n).insert_axis(Axis(1)));
        let ideal = g.t().dot(&x);
        for ohm in [0.25, 1.0, 4.0] {
            let wires = Wires { word_line_ohm: ohm, bit_line_ohm: ohm, ..WIRES };
            let exact = transfer_matrix(g.view(), &wires).dot(&x);
            let fast = estimate_transfer_matrix(g.view(), &wires).dot(&x);
            let size = |values: Array2<f64>| 100.0 * values.mapv(|it| it * it).sum().sqrt();
            let all = size(ideal.clone()) / 100.0;
            let (drop, error) = (size(&ideal - &exact) / all, size(&fast - &exact) / all);
            println!("| {n} x {n} | {ohm} | {drop:.2} % | {error:.3} % |");
        }
    }
}

/// The exact transfer matrix of `n` by `n` ohmic cells.
#[divan::bench(args = [64, 128, 256])]
fn exact_transfer_matrix(bencher: divan::Bencher<'_, '_>, n: usize) {
    let g = cells(n);
    bencher.bench_local(|| transfer_matrix(g.view(), &WIRES));
}

/// The estimated transfer matrix of `n` by `n` ohmic cells.
#[divan::bench(args = [64, 128, 256])]
fn estimated_transfer_matrix(bencher: divan::Bencher<'_, '_>, n: usize) {
    let g = cells(n);
    bencher.bench_local(|| estimate_transfer_matrix(g.view(), &WIRES));
}

/// One vector on `n` by `n` cells.
#[divan::bench(args = [64, 128, 256])]
fn ohmic_vector(bencher: divan::Bencher<'_, '_>, n: usize) {
    measure_vector(bencher, n, CellLaw::Ohmic);
}

/// One vector on `n` by `n` cells that follow Milo's law.
#[divan::bench(args = [64, 128, 256])]
fn nonlinear_vector(bencher: divan::Bencher<'_, '_>, n: usize) {
    measure_vector(bencher, n, milo());
}

fn measure_vector(bencher: divan::Bencher<'_, '_>, n: usize, law: CellLaw) {
    let (crossbar, volts) = (Crossbar::new(cells(n).view(), &WIRES, law), volts(n).to_vec());
    let (mut workspace, mut currents) = (crossbar.new_workspace(), vec![0.0; n]);
    bencher.bench_local(|| {
        crossbar
            .solve(&volts, DEFAULT_TOLERANCE, &mut workspace, &mut currents)
            .expect("wires of one ohm do not stop the solver")
    });
}

/// One pattern on `n` by `n` gated cells, source lines at ground.
#[divan::bench(args = [64, 128, 256])]
fn gated_pattern(bencher: divan::Bencher<'_, '_>, n: usize) {
    measure_pattern(bencher, n, 0.0);
}

/// One pattern on `n` by `n` gated cells, source lines with resistance.
#[divan::bench(args = [64, 128, 256])]
fn gated_pattern_with_source_lines(bencher: divan::Bencher<'_, '_>, n: usize) {
    measure_pattern(bencher, n, 2.0);
}

fn measure_pattern(bencher: divan::Bencher<'_, '_>, n: usize, source_line_ohm: f64) {
    let wires = GatedWires {
        bit_line_ohm: 1.0,
        sense_ohm: 100.0,
        source_line_ohm,
        bit_line_volts: 0.5,
        output_conductance_per_volt: 0.1,
        subthreshold_volts: 0.039,
    };
    let g = cells(n) * 0.01;
    let on: Vec<_> = volts(n).iter().map(|&volts| volts > 0.1).collect();
    let mut currents = vec![0.0; n];
    bencher.bench_local(|| {
        column_currents(g.view(), &on, &wires, &mut currents)
            .expect("good source lines do not stop the solver")
    });
}

/// The fitted cells of a preset.
fn milo() -> CellLaw {
    let chip = find_preset("rram-milo").expect("a preset of this name");
    CellLaw::Fitted(chip.effects.iv.expect("its cells are nonlinear"))
}
