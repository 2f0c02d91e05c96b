//! A dense circuit solver: modified nodal analysis, one unknown per node and per resistor.
//!
//! Resistors and sources are branches with a current of their own, so that 0 ohm needs no special case
//! (C.-W. Ho, A. Ruehli and P. Brennan, IEEE Trans. Circuits Syst. 22, 504 (1975),
//! doi:10.1109/TCS.1975.1084079).

use ndarray::{Array1, Array2, ArrayView2};
use nvcim_chip::network::Wires;

/// Ground.
pub(crate) const GROUND: Option<usize> = None;

/// A circuit under construction; nodes are numbers, or ground.
pub(crate) struct Circuit {
    n_nodes: usize,
    /// From, to, ohm, volts of a source in series, positive at its first node.
    branches: Vec<(Option<usize>, Option<usize>, f64, f64)>,
    /// From, to, siemens, ampere from the first to the second node at no voltage.
    cells: Vec<(Option<usize>, Option<usize>, f64, f64)>,
}

impl Circuit {
    pub(crate) fn new(n_nodes: usize) -> Self {
        Self { n_nodes, branches: Vec::new(), cells: Vec::new() }
    }

    /// Adds a resistor in series with a source; returns the number of its current.
    pub(crate) fn add_branch(
        &mut self,
        from: Option<usize>,
        to: Option<usize>,
        ohm: f64,
        volts: f64,
    ) -> usize {
        self.branches.push((from, to, ohm, volts));
        self.branches.len() - 1
    }

    /// Adds a conductance with a current beside it.
    pub(crate) fn add_cell(&mut self, from: usize, to: usize, siemens: f64, ampere: f64) {
        self.cells.push((Some(from), Some(to), siemens, ampere));
    }

    /// Node voltages and branch currents.
    pub(crate) fn solve(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.n_nodes + self.branches.len();
        let (mut a, mut rhs) = (Array2::zeros((n, n)), Array1::zeros(n));
        for &(from, to, siemens, ampere) in &self.cells {
            for (node, other, sign) in [(from, to, 1.0), (to, from, -1.0)] {
                let Some(node) = node else { continue };
                a[[node, node]] += siemens;
                rhs[node] -= sign * ampere;
                if let Some(other) = other {
                    a[[node, other]] -= siemens;
                }
            }
        }
        for (branch, &(from, to, ohm, volts)) in self.branches.iter().enumerate() {
            let row = self.n_nodes + branch;
            for (node, sign) in [(from, 1.0), (to, -1.0)] {
                let Some(node) = node else { continue };
                a[[node, row]] += sign;
                a[[row, node]] += sign;
            }
            a[[row, row]] -= ohm;
            rhs[row] += volts;
        }
        let solution = solve_dense(a, rhs);
        (solution[..self.n_nodes].to_vec(), solution[self.n_nodes..].to_vec())
    }
}

/// Gaussian elimination with row pivoting.
fn solve_dense(mut a: Array2<f64>, mut rhs: Array1<f64>) -> Vec<f64> {
    let n = rhs.len();
    for col in 0..n {
        let pivot = (col..n)
            .max_by(|&x, &y| a[[x, col]].abs().total_cmp(&a[[y, col]].abs()))
            .expect("there are rows left");
        for k in 0..n {
            a.swap([col, k], [pivot, k]);
        }
        rhs.swap(col, pivot);
        for row in col + 1..n {
            let factor = a[[row, col]] / a[[col, col]];
            for k in col..n {
                a[[row, k]] -= factor * a[[col, k]];
            }
            rhs[row] -= factor * rhs[col];
        }
    }
    for row in (0..n).rev() {
        for col in row + 1..n {
            rhs[row] -= a[[row, col]] * rhs[col];
        }
        rhs[row] /= a[[row, row]];
    }
    rhs.to_vec()
}

/// The currents of a passive array, given what each cell is linearised to, and the voltages across cells.
pub(crate) fn solve_array(
    shape: (usize, usize),
    wires: &Wires,
    volts: &[f64],
    cell: impl Fn(usize, usize) -> (f64, f64),
) -> (Vec<f64>, Array2<f64>) {
    let (n_rows, n_cols) = shape;
    let word = |row: usize, col: usize| row * n_cols + col;
    let bit = |row: usize, col: usize| n_rows * n_cols + row * n_cols + col;
    let mut circuit = Circuit::new(2 * n_rows * n_cols);
    for (row, &volts) in volts.iter().enumerate() {
        let ohm = wires.driver_ohm + wires.word_line_ohm;
        circuit.add_branch(Some(word(row, 0)), GROUND, ohm, volts);
        for col in 1..n_cols {
            let (from, to) = (word(row, col - 1), word(row, col));
            circuit.add_branch(Some(from), Some(to), wires.word_line_ohm, 0.0);
        }
    }
    let mut outputs = Vec::new();
    for col in 0..n_cols {
        for row in 0..n_rows {
            let (siemens, ampere) = cell(row, col);
            circuit.add_cell(word(row, col), bit(row, col), siemens, ampere);
            if row > 0 {
                let (from, to) = (bit(row - 1, col), bit(row, col));
                circuit.add_branch(Some(from), Some(to), wires.bit_line_ohm, 0.0);
            }
        }
        let ohm = wires.bit_line_ohm + wires.sense_ohm;
        outputs.push(circuit.add_branch(Some(bit(n_rows - 1, col)), GROUND, ohm, 0.0));
    }
    let (nodes, branches) = circuit.solve();
    let across =
        Array2::from_shape_fn(shape, |(row, col)| nodes[word(row, col)] - nodes[bit(row, col)]);
    (outputs.into_iter().map(|output| branches[output]).collect(), across)
}

/// The transfer matrix [bit lines, word lines], a column per vector with one source at 1 V.
pub(crate) fn dense_transfer_matrix(g: ArrayView2<'_, f64>, wires: &Wires) -> Array2<f64> {
    let (n_rows, n_cols) = g.dim();
    let mut transfer = Array2::zeros((n_cols, n_rows));
    for row in 0..n_rows {
        let mut volts = vec![0.0; n_rows];
        volts[row] = 1.0;
        let (currents, _) = solve_array(g.dim(), wires, &volts, |m, n| (g[[m, n]], 0.0));
        transfer.column_mut(row).assign(&Array1::from(currents));
    }
    transfer
}
