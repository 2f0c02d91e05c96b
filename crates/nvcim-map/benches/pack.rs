//! Packing published networks onto arrays of 512x512 weights: arrays, bound, cells in use, and time.
//!
//! `cargo bench -p nvcim-map --bench pack` prints a table and then times. An array is 512 places for rows by
//! 512 for columns, each a weight: 512x1024 cells for pairs on columns. Nothing is replicated; depthwise layers
//! run digitally.

use std::time::Instant;

use nvcim_chip::describe::Pack;
use nvcim_map::pack::{Matrix, Packing, Space, bound_sites, pack_matrices};

#[path = "../tests/networks/mod.rs"]
mod networks;

const SPACE: Space = Space { n_rows: 512, n_cols: 512, references: 0 };

#[expect(clippy::print_stdout, reason = "the table is what this prints")]
fn main() {
    println!("network      mode        arrays  bound  tiles  conversions  cells used  time");
    for network in networks::all() {
        for &(name, mode) in Pack::NAMES {
            let start = Instant::now();
            let packing = pack_matrices(&network.matrices, SPACE, mode);
            let seconds = start.elapsed().as_secs_f64();
            let bound = bound_sites(&network.matrices, SPACE, mode);
            println!(
                "{:<12} {name:<10} {:>7} {bound:>6} {:>6} {:>12} {:>9.1} % {:>7.2} ms",
                network.name,
                packing.n_sites,
                packing.placed.len(),
                packing.placed.iter().map(|it| it.cut.cols.len()).sum::<usize>(),
                100.0 * utilisation(&packing),
                1e3 * seconds,
            );
        }
    }
    divan::main();
}

fn utilisation(packing: &Packing) -> f64 {
    let used: usize = packing.placed.iter().map(|it| it.cut.rows.len() * it.cut.cols.len()).sum();
    used as f64 / (packing.n_sites * SPACE.n_rows * SPACE.n_cols) as f64
}

fn matrices(name: &str) -> Vec<Matrix> {
    let found = networks::all().into_iter().find(|network| network.name == name);
    found.expect("the table has it").matrices
}

#[divan::bench(args = ["ResNet-18", "ResNet-50", "MobileNetV2", "ViT-tiny", "BERT-base"])]
fn concurrent(bencher: divan::Bencher<'_, '_>, name: &str) {
    let matrices = matrices(name);
    bencher.bench(|| pack_matrices(&matrices, SPACE, Pack::Concurrent));
}

#[divan::bench(args = ["ResNet-18", "ResNet-50", "MobileNetV2", "ViT-tiny", "BERT-base"])]
fn dense(bencher: divan::Bencher<'_, '_>, name: &str) {
    let matrices = matrices(name);
    bencher.bench(|| pack_matrices(&matrices, SPACE, Pack::Dense));
}
