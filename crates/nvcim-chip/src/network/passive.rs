//! The exact transfer matrix of a passive array of ohmic cells, by merging blocks.
//!
//! **Notation.** `G` [word lines, bit lines] conductances, `V` [word lines] source voltages, `I` [bit
//! lines] currents into the virtual grounds, `T` [bit lines, word lines] with `I = T V`. Every entry of `T`
//! is at least 0.
//!
//! **Idea.** Sources and virtual grounds are nodes like all others. Once every other node has been removed,
//! the conductance of the mesh between source `m` and ground `n` is `T[n][m]`: with sources at `V` and
//! grounds at 0, no other conductance carries current into ground `n`.
//!
//! **Phases.** The order of removal is nested dissection (A. George, SIAM J. Numer. Anal. 10, 345 (1973),
//! doi:10.1137/0710032). A rectangular block of cells meets the rest of the array only where word lines
//! leave it on the left and right, and bit lines at the top and bottom: a `k` by `k` block has `2 k^2`
//! nodes inside and `4 k` on its border.
//!
//! 1. Blocks of up to `LEAF` by `LEAF` cells are written down wire by wire and reduced to their border.
//! 2. Two neighbours become one block: their common border is identified and removed.
//! 3. The last block has sources on its left and grounds at its bottom.
//!
//! A wire without resistance makes one node of its two ends, so that a block may have the same node on two
//! sides. The split of rows and columns depends on the size alone, and the order of all sums on the split.
//!
//! **Accuracy.** No subtraction occurs (see the mesh file): each entry of `T` is right to a few
//! hundred roundings relative to itself, at any ratio of wire to cell resistances.
//!
//! **Cost.** Merging up to a `k` by `k` block takes about `30 k^3` floating-point operations, all levels of an `n` by
//! `n` array about `35 n^3`, most of them in matrix products; memory is that of the last merge, `9 n^2`
//! numbers. Marching down the rows with dense matrices of bit lines would take `2 n^4`.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use crate::network::{Wires, mesh};

/// Blocks of up to this many word and bit lines are written down wire by wire.
const LEAF: usize = 4;

/// A wire below this many ohms makes one node of its ends: no cell could tell the difference, and its
/// conductance would be near the end of the range of numbers.
const SHORT_OHM: f64 = 1e-30;

/// The exact transfer matrix `T` [bit lines, word lines] in siemens of an array with conductances `g`
/// [word lines, bit lines] in siemens: currents into the virtual grounds are `T V`.
///
/// # Panics
/// Where a conductance or a resistance is negative or not finite.
pub fn transfer_matrix(g: ArrayView2<'_, f64>, wires: &Wires) -> Array2<f64> {
    let is_valid = |value: f64| value.is_finite() && value >= 0.0;
    let Wires { word_line_ohm, bit_line_ohm, driver_ohm, sense_ohm } = *wires;
    assert!(
        [word_line_ohm, bit_line_ohm, driver_ohm, sense_ohm].into_iter().all(is_valid),
        "resistances are finite and at least 0: {wires:?}"
    );
    assert!(g.iter().copied().all(is_valid), "conductances are finite and at least 0");
    let (n_rows, n_cols) = g.dim();
    if g.is_empty() {
        return Array2::zeros((n_cols, n_rows));
    }
    let array = reduce_block(&Cells { g, wires }, 0..n_rows, 0..n_cols);
    let (sources, grounds) = (array.sides.left, array.sides.bottom);
    Array2::from_shape_fn((n_cols, n_rows), |(n, m)| array.mesh[[sources[m], grounds[n]]])
}

/// What the array is made of.
struct Cells<'a> {
    g: ArrayView2<'a, f64>,
    wires: &'a Wires,
}

/// A rectangle of cells, reduced to the nodes on its border.
struct Block {
    /// Conductances between those nodes.
    mesh: Array2<f64>,
    sides: Sides,
}

/// The nodes through which a block meets its neighbours: one per word line on the left and right, one per
/// bit line at the top and bottom. Sides with an open end are empty.
struct Sides {
    left: Vec<usize>,
    right: Vec<usize>,
    top: Vec<usize>,
    bottom: Vec<usize>,
}

impl Sides {
    fn map(&self, to: impl Fn(usize) -> usize) -> Self {
        let turn = |side: &[usize]| side.iter().map(|&node| to(node)).collect();
        Self {
            left: turn(&self.left),
            right: turn(&self.right),
            top: turn(&self.top),
            bottom: turn(&self.bottom),
        }
    }
}

fn reduce_block(cells: &Cells<'_>, rows: Range<usize>, cols: Range<usize>) -> Block {
    if rows.len().max(cols.len()) <= LEAF {
        return write_leaf(cells, rows, cols);
    }
    if rows.len() > cols.len() {
        let middle = rows.start + rows.len() / 2;
        let upper = reduce_block(cells, rows.start..middle, cols.clone());
        let lower = reduce_block(cells, middle..rows.end, cols);
        merge_rows(&upper, &lower)
    } else {
        let middle = cols.start + cols.len() / 2;
        let left = reduce_block(cells, rows.clone(), cols.start..middle);
        let right = reduce_block(cells, rows, middle..cols.end);
        merge_cols(&left, &right)
    }
}

/// Writes down a small block wire by wire: each word line with the segment before each cell, each bit line
/// with the segment after each cell.
fn write_leaf(cells: &Cells<'_>, rows: Range<usize>, cols: Range<usize>) -> Block {
    let (n_rows, n_cols) = cells.g.dim();
    let mut n_nodes = 0;
    let mut edges: Vec<(usize, usize, f64)> = Vec::new();
    let mut new_node = || {
        n_nodes += 1;
        n_nodes - 1
    };
    let mut sides = Sides { left: vec![], right: vec![], top: vec![], bottom: vec![] };
    let mut word_nodes = Vec::with_capacity(rows.len() * cols.len());
    for _ in rows.clone() {
        let mut at = new_node();
        sides.left.push(at);
        for col in cols.clone() {
            at = follow_wire(at, cells.wires.word_segment(col), &mut new_node, &mut edges);
            word_nodes.push(at);
        }
        sides.right.push(at);
    }
    for (col_idx, col) in cols.clone().enumerate() {
        let mut at = new_node();
        sides.top.push(at);
        for (row_idx, row) in rows.clone().enumerate() {
            edges.push((word_nodes[row_idx * cols.len() + col_idx], at, cells.g[[row, col]]));
            at = follow_wire(at, cells.wires.bit_segment(row, n_rows), &mut new_node, &mut edges);
        }
        sides.bottom.push(at);
    }
    if rows.start == 0 {
        sides.top.clear();
    }
    if cols.end == n_cols {
        sides.right.clear();
    }
    remove_inner(n_nodes, &sides, |position, mesh| {
        for &(from, to, conductance) in &edges {
            let (from, to) = (position[from], position[to]);
            mesh[[from, to]] += conductance;
            mesh[[to, from]] += conductance;
        }
    })
}

/// The node at the far end of a wire that starts at `from`.
fn follow_wire(
    from: usize,
    ohm: f64,
    new_node: &mut impl FnMut() -> usize,
    edges: &mut Vec<(usize, usize, f64)>,
) -> usize {
    if ohm < SHORT_OHM {
        return from;
    }
    let to = new_node();
    edges.push((from, to, ohm.recip()));
    to
}

/// Two neighbours side by side.
fn merge_cols(left: &Block, right: &Block) -> Block {
    merge(left, &left.sides.right, right, &right.sides.left, |first, second| Sides {
        left: first.left,
        right: second.right,
        top: [first.top, second.top].concat(),
        bottom: [first.bottom, second.bottom].concat(),
    })
}

/// Two neighbours one above the other.
fn merge_rows(upper: &Block, lower: &Block) -> Block {
    merge(upper, &upper.sides.bottom, lower, &lower.sides.top, |first, second| Sides {
        left: [first.left, second.left].concat(),
        right: [first.right, second.right].concat(),
        top: first.top,
        bottom: second.bottom,
    })
}

/// Makes one block of two that meet in `border` of the first and `other_border` of the second, node by node.
fn merge(
    first: &Block,
    border: &[usize],
    second: &Block,
    other_border: &[usize],
    join_sides: impl Fn(Sides, Sides) -> Sides,
) -> Block {
    let mut n_nodes = first.mesh.nrows();
    let mut of_second = vec![usize::MAX; second.mesh.nrows()];
    for (&node, &other) in border.iter().zip(other_border) {
        of_second[other] = node;
    }
    for node in &mut of_second {
        if *node == usize::MAX {
            *node = n_nodes;
            n_nodes += 1;
        }
    }
    let of_first: Vec<_> = (0..first.mesh.nrows()).collect();
    let sides = join_sides(first.sides.map(|node| node), second.sides.map(|node| of_second[node]));
    remove_inner(n_nodes, &sides, |position, mesh| {
        add_mesh(mesh, &first.mesh, &of_first, position);
        add_mesh(mesh, &second.mesh, &of_second, position);
    })
}

/// Adds the conductances of `part` to `whole`, where node `i` of the part stands at `position[nodes[i]]`.
fn add_mesh(whole: &mut Array2<f64>, part: &Array2<f64>, nodes: &[usize], position: &[usize]) {
    let places: Vec<_> = nodes.iter().map(|&node| position[node]).collect();
    for (from, row) in part.rows().into_iter().enumerate() {
        let mut target = whole.row_mut(places[from]);
        let target = target.as_slice_mut().expect("rows of a mesh are contiguous");
        for (&to, conductance) in places.iter().zip(row) {
            target[to] += conductance;
        }
    }
}

/// Orders nodes so that those on no side come first, has `fill` write the mesh in that order, and removes
/// them.
fn remove_inner(
    n_nodes: usize,
    sides: &Sides,
    fill: impl FnOnce(&[usize], &mut Array2<f64>),
) -> Block {
    let mut position = vec![usize::MAX; n_nodes];
    let mut n_kept = 0;
    let Sides { left, right, top, bottom } = sides;
    for &node in [left, right, top, bottom].into_iter().flatten() {
        // Without wire resistance a node may stand on two sides.
        if position[node] == usize::MAX {
            position[node] = n_kept;
            n_kept += 1;
        }
    }
    let n_gone = n_nodes - n_kept;
    let mut n_inner = 0;
    for place in &mut position {
        if *place == usize::MAX {
            *place = n_inner;
            n_inner += 1;
        } else {
            *place += n_gone;
        }
    }
    let mut mesh = Array2::zeros((n_nodes, n_nodes));
    fill(&position, &mut mesh);
    let mesh = mesh::remove_first(mesh, n_gone);
    Block { mesh, sides: sides.map(|node| position[node] - n_gone) }
}
