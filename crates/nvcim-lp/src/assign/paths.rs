//! Dijkstra's algorithm over the columns of an assignment, eight columns at a time.

use super::Costs;

/// Columns that are worked on together; rows are padded to whole lanes.
pub(super) const LANES: usize = 8;

/// One row that paths lead to: going on from it to column j makes a path of `offset + (c_ij - v_j)`.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) row: usize,
    pub(super) offset: f64,
}

/// What is known of the columns while one path is looked for.
///
/// A settled column leaves the search without a branch in the inner loop: its distance becomes infinite, and so does
/// what any row would pay for it. Which row a path passes before a column is not written down but found again at the
/// end, for the few columns on the path, as the row from which the same operations give the same length.
pub(super) struct Paths {
    /// Length of the shortest path found so far to each open column.
    distance: Vec<f64>,
    /// The prices of open columns, minus infinity for settled ones.
    price: Vec<f64>,
    /// The smallest distance of an open column.
    nearest: f64,
    /// Rows reached so far: where the path starts, then those that hold the settled columns.
    steps: Vec<Step>,
    /// Columns whose distance is final, with it, in the order of [`Self::steps`] after the first.
    settled: Vec<(usize, f64)>,
}

impl Paths {
    /// Room for paths over `width` columns, a multiple of [`LANES`].
    pub(super) fn new(width: usize) -> Self {
        Self {
            distance: vec![f64::INFINITY; width],
            price: vec![0.0; width],
            nearest: f64::INFINITY,
            steps: Vec::with_capacity(width),
            settled: Vec::with_capacity(width),
        }
    }

    /// Forgets the last path.
    pub(super) fn restart(&mut self, price: &[f64]) {
        self.distance.fill(f64::INFINITY);
        self.price.copy_from_slice(price);
        self.steps.clear();
        self.settled.clear();
    }

    /// Shortens the paths to open columns that are better reached by one more step.
    pub(super) fn relax(&mut self, costs: &Costs, step: Step) {
        self.steps.push(step);
        let mut nearest = [f64::INFINITY; LANES];
        let costs = costs.row(step.row).as_chunks::<LANES>().0;
        let prices = self.price.as_chunks::<LANES>().0;
        let distances = self.distance.as_chunks_mut::<LANES>().0;
        for ((costs, prices), distances) in costs.iter().zip(prices).zip(distances) {
            for lane in 0..LANES {
                let length = step.offset + (costs[lane] - prices[lane]);
                let known = distances[lane];
                let distance = if length < known { length } else { known };
                distances[lane] = distance;
                nearest[lane] = if distance < nearest[lane] { distance } else { nearest[lane] };
            }
        }
        self.nearest = nearest.into_iter().fold(f64::INFINITY, f64::min);
    }

    /// Takes the nearest open column out and returns it with its distance; among equals the first that nobody holds,
    /// then the first.
    ///
    /// `None` where no open column can be reached.
    pub(super) fn settle_nearest(&mut self, row_of_col: &[Option<usize>]) -> Option<(usize, f64)> {
        let length = self.nearest;
        if length == f64::INFINITY {
            return None;
        }
        let mut held = None;
        for (chunk, distances) in self.distance.as_chunks::<LANES>().0.iter().enumerate() {
            if !distances.iter().fold(false, |any, &distance| any | (distance == length)) {
                continue;
            }
            for (lane, &distance) in distances.iter().enumerate() {
                let col = chunk * LANES + lane;
                if distance == length {
                    if row_of_col[col].is_none() {
                        return Some((col, length));
                    }
                    held = held.or(Some(col));
                }
            }
        }
        let col = held.expect("some column has the smallest distance");
        self.settled.push((col, length));
        self.distance[col] = f64::INFINITY;
        self.price[col] = f64::NEG_INFINITY;
        Some((col, length))
    }

    /// The moves, as rows with their new columns, along the shortest path of `length` to `end`, from its end to its
    /// start. `price` are the prices under which the search ran.
    pub(super) fn trace_back(
        &self,
        costs: &Costs,
        price: &[f64],
        end: usize,
        length: f64,
    ) -> Vec<(usize, usize)> {
        let mut moves = Vec::new();
        let (mut col, mut distance) = (end, length);
        loop {
            let reaches =
                |step: &Step| step.offset + (costs.row(step.row)[col] - price[col]) == distance;
            let at = self.steps.iter().position(reaches).expect("some step made this distance");
            moves.push((self.steps[at].row, col));
            let Some(before) = at.checked_sub(1) else { return moves };
            (col, distance) = self.settled[before];
        }
    }

    /// Lowers the price of each settled column by what a path of `length` goes on after it.
    pub(super) fn lower_prices(&self, price: &mut [f64], length: f64) {
        for &(col, distance) in &self.settled {
            price[col] -= length - distance;
        }
    }
}
