//! Dense meshes of conductances, and the removal of nodes from them without a subtraction.
//!
//! **Notation.** A mesh on `n` nodes is the symmetric matrix `a`, where `a[i][j] >= 0` is the conductance
//! between nodes `i` and `j`; the diagonal has no meaning. No node is grounded: grounds are nodes too.
//!
//! **Step.** The star-mesh transform (A. Rosen, J. IEE 62, 916 (1924)) removes node `p` and leaves the
//! currents of all others as they were: with `s = sum_j a[p][j]`,
//!
//! ```text
//! a[i][j] += a[p][i] a[p][j] / s
//! ```
//!
//! This is symmetric Gaussian elimination on the nodal matrix whose diagonal is never stored. Diagonals
//! there are the only entries that cancel, so here every number is a sum of products and quotients of
//! positive numbers, and each conductance is right to a few roundings per removed node, however far
//! apart wires and cells are (the argument of W. Grassmann, M. Taksar and D. Heyman, Oper. Res. 33, 1107
//! (1985), doi:10.1287/opre.33.5.1107, for Markov chains).
//!
//! **Phases.** Nodes to be removed come first and go in panels of `PANEL`. Inside a panel rows are
//! updated one by one; what a whole panel does to the nodes behind it is one matrix product per stripe of
//! `STRIPE` columns, upper triangle only.
//!
//! **Cost.** Removing `e` of `n` nodes takes about `e n (n - e) + e^3 / 3` floating-point operations.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut1, Axis, s};

use crate::network::lines::sum_of;

/// Nodes removed between two matrix products.
const PANEL: usize = 32;
/// Columns updated by one matrix product.
const STRIPE: usize = 128;

/// Removes the first `n_gone` nodes of `mesh` [n, n] and returns the mesh of the others, in their order.
pub(super) fn remove_first(mut mesh: Array2<f64>, n_gone: usize) -> Array2<f64> {
    let n_nodes = mesh.nrows();
    let mut shares = Array2::zeros((PANEL.min(n_gone), n_nodes));
    for start in (0..n_gone).step_by(PANEL) {
        let end = n_gone.min(start + PANEL);
        for pivot in start..end {
            remove_inside_panel(&mut mesh, pivot, end, shares.row_mut(pivot - start));
        }
        update_behind_panel(&mut mesh, start, end, &shares);
    }
    for row in n_gone..n_nodes {
        for col in n_gone..row {
            mesh[[row, col]] = mesh[[col, row]];
        }
    }
    mesh.slice(s![n_gone.., n_gone..]).to_owned()
}

/// Removes node `pivot` from the rows up to `end`; `shares` gets its row divided by its sum.
fn remove_inside_panel(
    mesh: &mut Array2<f64>,
    pivot: usize,
    end: usize,
    mut shares: ArrayViewMut1<'_, f64>,
) {
    let (done, mut later) = mesh.view_mut().split_at(Axis(0), pivot + 1);
    let row = done.row(pivot);
    let row = row.as_slice().expect("rows of a mesh are contiguous");
    let shares = shares.as_slice_mut().expect("rows of the shares are contiguous");
    let later_row = &row[pivot + 1..];
    let sum = sum_of(later_row.len(), |at| later_row[at]);
    // A node without neighbours goes without a trace.
    let scale = if sum > 0.0 { sum.recip() } else { 0.0 };
    for (share, conductance) in shares[pivot + 1..].iter_mut().zip(&row[pivot + 1..]) {
        *share = conductance * scale;
    }
    for (below, mut target) in later.rows_mut().into_iter().take(end - pivot - 1).enumerate() {
        let at = pivot + 1 + below;
        let conductance = row[at];
        // Small meshes are mostly empty.
        if conductance > 0.0 {
            let target = target.as_slice_mut().expect("rows of a mesh are contiguous");
            for (target, share) in target[at + 1..].iter_mut().zip(&shares[at + 1..]) {
                *target += conductance * share;
            }
        }
    }
}

/// Adds what the removal of nodes `start..end` does to all nodes behind them.
fn update_behind_panel(mesh: &mut Array2<f64>, start: usize, end: usize, shares: &Array2<f64>) {
    let n_nodes = mesh.nrows();
    let (panel, mut rest) = mesh.view_mut().split_at(Axis(0), end);
    for left in (end..n_nodes).step_by(STRIPE) {
        let right = n_nodes.min(left + STRIPE);
        general_mat_mul(
            1.0,
            &panel.slice(s![start.., end..right]).t(),
            &shares.slice(s![..end - start, left..right]),
            1.0,
            &mut rest.slice_mut(s![..right - end, left..right]),
        );
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::{PANEL, remove_first};

    #[test]
    fn a_star_becomes_its_mesh() {
        // Node 0 joins three others by 1, 2 and 3 S; 1 S lies between the last two already.
        let star = array![
            [0.0, 1.0, 2.0, 3.0],
            [1.0, 0.0, 0.0, 0.0],
            [2.0, 0.0, 0.0, 1.0],
            [3.0, 0.0, 1.0, 0.0]
        ];
        let mesh = remove_first(star, 1);
        assert_eq!([mesh[[0, 1]], mesh[[0, 2]], mesh[[1, 2]]], [2.0 / 6.0, 3.0 / 6.0, 1.0 + 1.0]);
        assert_eq!(mesh[[2, 0]], mesh[[0, 2]]);
    }

    #[test]
    fn a_node_without_neighbours_leaves_no_trace() {
        let mut mesh = Array2::zeros((3, 3));
        mesh[[1, 2]] = 5.0;
        mesh[[2, 1]] = 5.0;
        let left = remove_first(mesh, 1);
        assert_eq!([left[[0, 1]], left[[1, 0]]], [5.0, 5.0]);
    }

    /// A chain of resistors of one ohm each has the sum of them between its ends: panels, stripes and
    /// single rows must agree on that, and nothing may be lost to 1e-9 ohm beside 1 ohm.
    #[test]
    fn a_chain_of_resistors_is_their_sum() {
        let n_inner = 3 * PANEL + 5;
        let n_nodes = n_inner + 2;
        let mut mesh = Array2::zeros((n_nodes, n_nodes));
        // First end, inner nodes, last end.
        let order: Vec<_> = [n_inner].into_iter().chain(0..n_inner).chain([n_inner + 1]).collect();
        let mut sum = 0.0;
        for (step, pair) in order.windows(2).enumerate() {
            let ohm = if step % 2 == 0 { 1.0 } else { 1e-9 };
            sum += ohm;
            mesh[[pair[0], pair[1]]] = 1.0 / ohm;
            mesh[[pair[1], pair[0]]] = 1.0 / ohm;
        }
        let ends = remove_first(mesh, n_inner);
        assert!((ends[[0, 1]] * sum - 1.0).abs() < 1e-14, "{}", ends[[0, 1]] * sum - 1.0);
    }
}
