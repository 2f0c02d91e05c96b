//! How long one core takes for the currents of one array.
//!
//! `cargo bench -p nvcim-chip` prints the times.

use ndarray::Array2;
use nvcim_chip::effects::Effect;
use nvcim_chip::network::Wires;
use nvcim_chip::network::passive::transfer_matrix;
use nvcim_chip::random::Stream;

const WIRES: Wires =
    Wires { word_line_ohm: 1.0, bit_line_ohm: 1.0, driver_ohm: 0.0, sense_ohm: 0.0 };

fn main() {
    divan::main();
}

/// Conductances of `n` by `n` cells, up to 100 uS.
fn cells(n: usize) -> Array2<f64> {
    let mut draws = vec![0.0f32; n * n];
    Stream::new(1, 1, Effect::IrDrop).fill_normals([0, 0, 0], &mut draws);
    let draws = Array2::from_shape_vec((n, n), draws).expect("the draws are as many as the cells");
    draws.mapv(|z| 1e-4 * (f64::from(z).abs() / 3.0).min(1.0))
}

/// The exact transfer matrix of `n` by `n` ohmic cells.
#[divan::bench(args = [64, 128, 256])]
fn exact_transfer_matrix(bencher: divan::Bencher<'_, '_>, n: usize) {
    let g = cells(n);
    bencher.bench_local(|| transfer_matrix(g.view(), &WIRES));
}
