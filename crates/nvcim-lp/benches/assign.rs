//! How long one core takes for the cheapest assignment of rows to columns.
//!
//! `cargo bench -p nvcim-lp --bench assign` prints the optimality gaps that were proved, then the times.

use ndarray::Array2;
use nvcim_lp::assign::assign;

fn main() {
    print_gaps();
    divan::main();
}

/// Kinds of cost matrices.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Evenly spread numbers.
    Random,
    /// What faults cost: energy of a logical row times faults of a physical row, plus a smaller random part.
    Faults,
    /// Small integers, of which most are equal.
    Ties,
    /// `(i + 1) (j + 1)`: every row wants the same columns.
    Product,
}

const KINDS: [Kind; 4] = [Kind::Random, Kind::Faults, Kind::Ties, Kind::Product];

/// A fixed sequence of evenly spread numbers in [0, 1).
fn spread(row: usize, col: usize) -> f64 {
    let mut state = (row as u64) << 32 ^ (col as u64) ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        state = (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (state >> 11) as f64 / (1u64 << 53) as f64
}

fn costs(kind: Kind, n: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, n), |(row, col)| match kind {
        Kind::Random => spread(row, col),
        Kind::Faults => {
            let energy = spread(row, n);
            energy * (spread(n, col) + 0.5 * spread(row, col))
        }
        Kind::Ties => (4.0 * spread(row, col)).floor(),
        Kind::Product => ((row + 1) * (col + 1)) as f64,
    })
}

#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn print_gaps() {
    println!("| costs | 128 x 128 | 256 x 256 |\n|---|---|---|");
    for kind in KINDS {
        let [small, large] =
            [128, 256].map(|n| assign(costs(kind, n).view()).expect("every entry is finite").gap());
        println!("| {kind:?} | gap {small:.1e} | gap {large:.1e} |");
    }
}

/// Square costs of 128 rows.
#[divan::bench(args = KINDS)]
fn assign_128(bencher: divan::Bencher<'_, '_>, kind: Kind) {
    let costs = costs(kind, 128);
    bencher.bench_local(|| assign(costs.view()));
}

/// Square costs of 256 rows.
#[divan::bench(args = KINDS)]
fn assign_256(bencher: divan::Bencher<'_, '_>, kind: Kind) {
    let costs = costs(kind, 256);
    bencher.bench_local(|| assign(costs.view()));
}
