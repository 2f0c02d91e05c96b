//! An approximate transfer matrix of a passive array of ohmic cells, in time proportional to its cells.
//!
//! **Notation.** `G` [word lines, bit lines] conductances, `T` [bit lines, word lines] as in the exact one.
//!
//! **Idea.** Each word line is solved on its own with all bit lines at ground, then each bit line with the
//! word lines as its sources see it:
//!
//! 1. Along word line `m`: the share `a` of the source's voltage that reaches cell `n`, and the conductance
//!    `z` of the wires, with the other cells of the line, behind that cell.
//! 2. The cell is a current source `g a V` with the conductance `g z / (g + z)` beside it.
//! 3. Down bit line `n`: the share `p` of each current that reaches the ground. `T[n][m] = g a p`.
//!
//! **Error.** Exact for a single bit line, and to first order in the wires' resistances.
//! What is neglected is that a bit line's voltage lowers what the other cells of a word line
//! draw, so that currents come out too low. `docs/models.md` has a table of measured errors.
//!
//! **Cost.** About 30 operations per cell, three of them divisions.

use ndarray::{Array1, Array2, ArrayView2, Zip};

use crate::network::Wires;

/// An estimate of the transfer matrix `T` [bit lines, word lines] in siemens of an array with conductances
/// `g` [word lines, bit lines] in siemens, each finite and at least 0.
pub fn estimate_transfer_matrix(g: ArrayView2<'_, f64>, wires: &Wires) -> Array2<f64> {
    let (n_rows, n_cols) = g.dim();
    let mut current = Array2::zeros((n_rows, n_cols));
    let mut conductance = Array2::zeros((n_rows, n_cols));
    for ((g, mut current), mut conductance) in
        g.rows().into_iter().zip(current.rows_mut()).zip(conductance.rows_mut())
    {
        let cells: Vec<f64> = g.to_vec();
        let current = current.as_slice_mut().expect("fresh arrays are contiguous");
        let conductance = conductance.as_slice_mut().expect("fresh arrays are contiguous");
        solve_word_line(&cells, wires, current, conductance);
    }
    divide_along_bit_lines(&conductance, wires, current)
        .reversed_axes()
        .as_standard_layout()
        .into_owned()
}

/// Phase 1 and 2 for one word line: each cell as a current source, in ampere per volt of the driver, and the
/// conductance beside it.
fn solve_word_line(cells: &[f64], wires: &Wires, current: &mut [f64], conductance: &mut [f64]) {
    // `conductance` holds at first what hangs behind the segment after each cell, seen through it.
    let mut behind = 0.0;
    for (col, (&g, seen)) in cells.iter().zip(conductance.iter_mut()).enumerate().rev() {
        *seen = behind;
        let here = g + behind;
        behind = here / (1.0 + wires.word_segment(col) * here);
    }
    // The share of the source's voltage at the node before, and the resistance back to the source there.
    let (mut share, mut ohm, mut load_before) = (1.0, 0.0, 0.0);
    for (col, ((&g, current), seen)) in cells.iter().zip(current).zip(conductance).enumerate() {
        let segment = wires.word_segment(col);
        let here = g + *seen;
        share /= 1.0 + segment * here;
        ohm = segment + ohm / (1.0 + ohm * load_before);
        *current = g * share;
        // The cell in series with what its word line is without it.
        *seen = g / (1.0 + g * ohm / (1.0 + ohm * *seen));
        load_before = g;
    }
}

/// Phase 3 for all bit lines at once: `current` [word lines, bit lines] times the share of each that
/// reaches the ground.
fn divide_along_bit_lines(
    conductance: &Array2<f64>,
    wires: &Wires,
    mut current: Array2<f64>,
) -> Array2<f64> {
    let (n_rows, n_cols) = current.dim();
    let mut passed = Array2::zeros((n_rows, n_cols));
    let mut above = Array1::<f64>::zeros(n_cols);
    for (row, (mut passed, conductance)) in
        passed.rows_mut().into_iter().zip(conductance.rows()).enumerate()
    {
        let ohm = wires.bit_segment(row, n_rows);
        Zip::from(&mut passed).and(conductance).and(&mut above).for_each(|passed, &g, above| {
            let here = g + *above;
            *passed = (1.0 + ohm * here).recip();
            *above = here * *passed;
        });
    }
    let mut share = Array1::<f64>::ones(n_cols);
    for (mut current, passed) in current.rows_mut().into_iter().zip(passed.rows()).rev() {
        share *= &passed;
        current *= &share;
    }
    current
}
