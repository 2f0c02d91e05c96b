//! Dense packing: rectangles that share no cell.
//!
//! # Phases
//! 1. Parts are cut into chunks that fit a site, whole sites first, and placed in order: each uncut into the
//!    hole whose shorter side it leaves the least of, or on a site of its own while there are fewer than the
//!    bound. A hole that takes a chunk is cut in two, the larger part as large as can be.
//! 2. What has no place yet is poured into the holes that are left: the largest chunk into the hole that takes
//!    most of it, and what stays over again. Since a hole takes a piece of any chunk, this ends at the bound
//!    wherever chunks may be cut and no reference columns add to them.
//!
//! # Cost
//! Chunks times holes; there are few holes, since whole sites leave none.
//!
//! # Source
//! Best short side fit with guillotine cuts: J. Jylänki, "A thousand ways to pack the bin" (2010). Pouring is
//! our own: matrices, unlike goods, may be cut.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::stock::{Part, Stock, cut_l};
use super::{Put, Space, Spot};
use crate::cut::Room;

/// What chunks are placed by, largest first.
const ORDERS: [fn(&Part) -> usize; 4] =
    [|part| part.n_rows.max(part.n_cols), Part::n_weights, |part| part.n_rows, |part| part.n_cols];

/// Free cells of a site.
#[derive(Debug, Clone, Copy)]
struct Hole {
    spot: Spot,
    n_rows: usize,
    n_cols: usize,
}

struct Floor<'a> {
    stock: &'a Stock,
    space: Space,
    n_sites: usize,
    holes: Vec<Hole>,
    puts: Vec<Put>,
}

/// Packings in several orders, on no more than `bound` sites where that can be.
pub(super) fn pack(stock: &Stock, space: Space, bound: usize) -> Vec<Vec<Put>> {
    let chunks: Vec<Part> =
        stock.parts.iter().flat_map(|&part| chunk(part, space.room())).collect();
    let pack = |order: &fn(&Part) -> usize| {
        let mut chunks = chunks.clone();
        chunks.sort_by_key(|part| (Reverse(order(part)), Reverse(part.n_weights())));
        let holes = Vec::new();
        let mut floor = Floor { stock, space, n_sites: 0, holes, puts: Vec::new() };
        chunks.retain(|part| !floor.place(part, bound));
        floor.pour(chunks);
        floor.puts
    };
    ORDERS.iter().map(pack).collect()
}

/// A part in pieces that fit a site, as large as can be.
fn chunk(part: Part, room: Room) -> Vec<Part> {
    let mut chunks = Vec::new();
    let mut rest = vec![part];
    while let Some(part) = rest.pop() {
        let (taken, left) = part.take(part.n_rows.min(room.n_rows), part.n_cols.min(room.n_cols));
        chunks.push(taken);
        rest.extend(left);
    }
    chunks
}

impl Floor<'_> {
    /// Places a chunk uncut; whether that could be done on `bound` sites.
    fn place(&mut self, part: &Part, bound: usize) -> bool {
        let n_cols = part.n_cols + self.space.references;
        let left = |hole: &Hole| {
            let rows = hole.n_rows.checked_sub(part.n_rows)?;
            let cols = hole.n_cols.checked_sub(n_cols)?;
            Some((rows.min(cols), rows.max(cols)))
        };
        let holes = self.holes.iter().enumerate();
        let best = holes.filter_map(|(at, hole)| Some((left(hole)?, at))).min();
        let at = match best {
            Some((_, at)) => at,
            None if self.n_sites < bound => self.open(),
            None => return false,
        };
        self.fill(at, *part);
        true
    }

    /// Cuts what is left over into holes, the largest first.
    fn pour(&mut self, parts: Vec<Part>) {
        let mut waiting: BTreeSet<(usize, Part)> =
            parts.into_iter().map(|part| (part.n_weights(), part)).collect();
        while let Some((_, part)) = waiting.pop_last() {
            let holes = self.holes.iter().enumerate();
            let best = holes
                .map(|(at, hole)| (self.taken(&part, hole), Reverse(hole.n_rows * hole.n_cols), at))
                .filter(|((n_weights, _), ..)| *n_weights > 0)
                .max();
            let at = best.map_or_else(|| self.open(), |(.., at)| at);
            let (n_rows, n_cols) = self.overlap(&part, &self.holes[at]);
            let (taken, left) = part.take(n_rows, n_cols);
            self.fill(at, taken);
            waiting.extend(left.into_iter().map(|part| (part.n_weights(), part)));
        }
    }

    /// Weights that a hole takes of a part, and whether it takes all its rows: cuts between columns cost no
    /// conversion.
    fn taken(&self, part: &Part, hole: &Hole) -> (usize, bool) {
        let (n_rows, n_cols) = self.overlap(part, hole);
        let whole = (n_rows, n_cols) == (part.n_rows, part.n_cols);
        if self.stock.sheets[part.sheet].is_solid && !whole {
            return (0, false);
        }
        (n_rows * n_cols, n_rows == part.n_rows)
    }

    /// The rows and columns of a part that a hole has room for.
    fn overlap(&self, part: &Part, hole: &Hole) -> (usize, usize) {
        let free_cols = hole.n_cols.saturating_sub(self.space.references);
        (part.n_rows.min(hole.n_rows), part.n_cols.min(free_cols))
    }

    /// One site more, as a hole.
    fn open(&mut self) -> usize {
        let spot = Spot { site: self.n_sites, row: 0, col: 0 };
        self.n_sites += 1;
        self.holes.push(Hole { spot, n_rows: self.space.n_rows, n_cols: self.space.n_cols });
        self.holes.len() - 1
    }

    /// Puts a part that fits into a hole.
    fn fill(&mut self, at: usize, part: Part) {
        let hole = self.holes.swap_remove(at);
        let Hole { spot, n_rows, n_cols } = hole;
        let taken_cols = part.n_cols + self.space.references;
        let [below, beside] = cut_l([n_rows, n_cols], [part.n_rows, taken_cols]);
        let left = [
            Hole {
                spot: Spot { row: spot.row + part.n_rows, ..spot },
                n_rows: below[0],
                n_cols: below[1],
            },
            Hole {
                spot: Spot { col: spot.col + taken_cols, ..spot },
                n_rows: beside[0],
                n_cols: beside[1],
            },
        ];
        let references = self.space.references;
        self.holes.extend(left.iter().filter(|it| it.n_rows > 0 && it.n_cols > references));
        self.puts.push((part, spot));
    }
}
