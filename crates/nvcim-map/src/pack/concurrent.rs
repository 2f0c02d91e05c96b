//! Concurrent packing: the tiles of a site share no row place and no column place.
//!
//! Where on its lines a tile sits does not matter then: a site is a budget of rows and one of columns, and its
//! tiles lie along a diagonal.
//!
//! # Notation
//! A site of `R x C` places takes pieces of `r_i x c_i` with `sum r_i <= R` and `sum c_i <= C`. A part of
//! `m x n` gives any piece of at most that size.
//!
//! # Phases
//! Site by site. The first piece is chosen with the best second one in mind: the sum of their weights,
//! `r_1 c_1 + r_2 c_2`, is linear in each of the four sizes, so that its largest value has `r_1` at all that there
//! is or at what the second part's rows leave, and `c_1` likewise. What budget is left then takes one
//! best piece after the other. A cut that room does not ask for costs a penalty in weights, and several
//! penalties are tried.
//!
//! # Cost
//! Sites times the square of the number of different sizes of parts.

use std::collections::BTreeMap;

use super::stock::{Part, Stock};
use super::{Put, Space, Spot};

/// What a cut costs, in shares of a site's weights.
const PENALTIES: [f64; 5] = [0.0, 0.004, 0.02, 0.08, 1.0];

/// Rows and columns that are free on a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    n_rows: usize,
    n_cols: usize,
}

/// Rows, columns, whether it must stay whole: what makes parts alike.
type Size = (usize, usize, bool);

/// A piece of a part, and what it is worth in weights less penalties.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    size: Size,
    n_rows: usize,
    n_cols: usize,
    worth: f64,
}

struct Filler<'a> {
    stock: &'a Stock,
    space: Space,
    /// Weights that a cut must gain.
    penalty: f64,
    waiting: BTreeMap<Size, Vec<Part>>,
    puts: Vec<Put>,
}

/// Packings under several penalties.
pub(super) fn pack(stock: &Stock, space: Space) -> Vec<Vec<Put>> {
    let pack = |share: &f64| {
        let penalty = share * (space.n_rows * space.n_cols) as f64;
        let (waiting, puts) = (BTreeMap::new(), Vec::new());
        let mut filler = Filler { stock, space, penalty, waiting, puts };
        stock.parts.iter().for_each(|&part| filler.wait(part));
        let mut site = 0;
        while !filler.waiting.is_empty() {
            filler.fill_site(site);
            site += 1;
        }
        filler.puts
    };
    PENALTIES.iter().map(pack).collect()
}

impl Filler<'_> {
    fn wait(&mut self, part: Part) {
        let solid = self.stock.sheets[part.sheet].is_solid;
        self.waiting.entry((part.n_rows, part.n_cols, solid)).or_default().push(part);
    }

    fn fill_site(&mut self, site: usize) {
        let mut free = Budget { n_rows: self.space.n_rows, n_cols: self.space.n_cols };
        let mut next = self.choose_first(free);
        while let Some(choice) = next {
            let spot = Spot {
                site,
                row: self.space.n_rows - free.n_rows,
                col: self.space.n_cols - free.n_cols,
            };
            self.put(choice, spot);
            free = self.left_of(free, choice.n_rows, choice.n_cols);
            next = self.choose_next(free);
        }
    }

    /// The first piece of a site: with what may follow, worth most.
    fn choose_first(&self, free: Budget) -> Option<Choice> {
        let mut best: Option<(f64, Choice)> = None;
        let mut offer = |total: f64, choice: Choice| {
            if best.as_ref().is_none_or(|(most, _)| total > *most) {
                best = Some((total, choice));
            }
        };
        for (&size, parts) in self.waiting.iter().rev() {
            let Some(whole) = self.choose(size, free) else { continue };
            offer(whole.worth, whole);
            let full = (whole.n_rows, whole.n_cols) == (free.n_rows, free.n_cols);
            if full {
                break;
            }
            for &other in self.waiting.keys() {
                if other == size && parts.len() == 1 {
                    continue;
                }
                for first in self.trims(size, other, free) {
                    let left = self.left_of(free, first.n_rows, first.n_cols);
                    let second = self.choose(other, left).map_or(0.0, |second| second.worth);
                    offer(first.worth + second.max(0.0), first);
                }
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// The best piece of any part within a budget, where one is worth its cuts.
    fn choose_next(&self, free: Budget) -> Option<Choice> {
        let choices = self.waiting.keys().filter_map(|&size| self.choose(size, free));
        let better =
            |best: Choice, other: Choice| if other.worth > best.worth { other } else { best };
        choices.filter(|it| it.worth > 0.0).reduce(better)
    }

    /// The largest piece of a part within a budget.
    fn choose(&self, size: Size, free: Budget) -> Option<Choice> {
        self.piece(size, free.n_rows, free.n_cols.checked_sub(self.space.references)?)
    }

    /// Pieces of a part that leave room for all rows, all columns or both of another one.
    fn trims(&self, size: Size, other: Size, free: Budget) -> impl Iterator<Item = Choice> {
        let rows = [free.n_rows, free.n_rows.saturating_sub(other.0)];
        let free_cols = free.n_cols.saturating_sub(self.space.references);
        let cols = [free_cols, free_cols.saturating_sub(other.1 + self.space.references)];
        let trims = rows.into_iter().flat_map(move |rows| cols.map(|cols| (rows, cols)));
        trims.filter_map(move |(rows, cols)| self.piece(size, rows, cols))
    }

    /// A piece of a part of at most so many rows and columns; none of a solid part that does not fit.
    fn piece(&self, size: Size, n_rows: usize, n_cols: usize) -> Option<Choice> {
        let (all_rows, all_cols, solid) = size;
        let (n_rows, n_cols) = (n_rows.min(all_rows), n_cols.min(all_cols));
        let whole = (n_rows, n_cols) == (all_rows, all_cols);
        if n_rows == 0 || n_cols == 0 || (solid && !whole) {
            return None;
        }
        let room = self.space.room();
        let cuts = usize::from(n_rows < all_rows.min(room.n_rows))
            + usize::from(n_cols < all_cols.min(room.n_cols));
        let worth = (n_rows * n_cols) as f64 - self.penalty * cuts as f64;
        Some(Choice { size, n_rows, n_cols, worth })
    }

    fn left_of(&self, free: Budget, n_rows: usize, n_cols: usize) -> Budget {
        Budget {
            n_rows: free.n_rows - n_rows,
            n_cols: free.n_cols - n_cols - self.space.references,
        }
    }

    fn put(&mut self, choice: Choice, spot: Spot) {
        let Choice { size, n_rows, n_cols, worth: _ } = choice;
        let parts = self.waiting.get_mut(&size).expect("sizes that wait have parts");
        let part = parts.pop().expect("sizes that wait have parts");
        if parts.is_empty() {
            self.waiting.remove(&size);
        }
        let (taken, left) = part.take(n_rows, n_cols);
        left.into_iter().for_each(|part| self.wait(part));
        self.puts.push((taken, spot));
    }
}
