//! The random draws behind a cell: what each is shared by, and the key that it is drawn under.
//!
//! What a die is does not depend on the run, so all draws stand under the run seed 0. A draw is named by
//! die, effect and place, so that a cell compiled for at one time and used at another is the same cell.

use crate::effects::Effect;
use crate::random::{LANES, Stream};

/// What shares one draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All cells of a die.
    Die,
    /// All cells of an array.
    Array,
    /// A cell, from its first write to its last: a property of the device.
    Cell,
    /// A cell until it is written again.
    Write,
}

/// One number that an effect asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Normal with mean 0 and variance 1.
    Normal(Scope),
    /// Uniform in the open interval (0, 1).
    Uniform(Scope),
}

/// Where a cell sits on a die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellPlace {
    /// Number of the array.
    pub array: u32,
    /// Physical word line.
    pub row: u32,
    /// Physical bit line.
    pub col: u32,
}

/// All draws of a chain of effects, in order, on one die.
#[derive(Debug, Clone)]
pub struct CellDraws {
    draws: Vec<(Stream, u32, Draw)>,
}

/// Stands for "all of them" where a place has no row, column or array of its own; no line reaches it.
const ALL: u32 = u32::MAX;
/// Bits of a draw's number that count writes; the draws of one effect are told apart above them.
const WRITE_BITS: u32 = 24;

impl CellDraws {
    /// The draws of these effects on the die that `die_seed` draws.
    pub(crate) fn new<'a>(
        die_seed: u64,
        effects: impl Iterator<Item = (Effect, &'a [Draw])>,
    ) -> Self {
        let numbered = effects.flat_map(|(effect, draws)| {
            let stream = Stream::new(0, die_seed, effect);
            (0..).zip(draws).map(move |(index, &draw)| (stream, index, draw))
        });
        Self { draws: numbered.collect() }
    }

    /// Overwrites `out` with the draws of a cell on its `write`-th programming, counted from 0. No cell
    /// lives to see 2^24 writes, where the count begins anew.
    pub fn fill(&self, place: CellPlace, write: u32, out: &mut Vec<f64>) {
        out.clear();
        out.extend(self.draws.iter().map(|&(stream, index, draw)| {
            let key = draw.scope().key(place, write, index);
            match draw {
                Draw::Normal(_) => stream.normal(key),
                Draw::Uniform(_) => stream.uniform(key),
            }
        }));
    }

    /// The draws of many cells, as [`CellDraws::fill`] gives them, one cell after the other: faster than cell by
    /// cell.
    pub fn fill_all(&self, cells: &[(CellPlace, u32)], out: &mut Vec<f64>) {
        let n_draws = self.draws.len();
        out.clear();
        out.resize(cells.len() * n_draws, 0.0);
        for (at, &(stream, index, draw)) in self.draws.iter().enumerate() {
            let key = |&(place, write): &(CellPlace, u32)| draw.scope().key(place, write, index);
            let out = out.get_mut(at..).unwrap_or_default().chunks_mut(n_draws * LANES);
            for (cells, out) in cells.chunks(LANES).zip(out) {
                // What is left of the last few repeats the first of them.
                let keys: [_; LANES] =
                    std::array::from_fn(|it| key(cells.get(it).unwrap_or(&cells[0])));
                let drawn = match draw {
                    Draw::Normal(_) => stream.normals(keys),
                    Draw::Uniform(_) => keys.map(|key| stream.uniform(key)),
                };
                out.iter_mut().step_by(n_draws).zip(drawn).for_each(|(out, z)| *out = z);
            }
        }
    }

    /// Draws of a cell.
    pub fn n_draws(&self) -> usize {
        self.draws.len()
    }
}

impl Draw {
    fn scope(self) -> Scope {
        match self {
            Self::Normal(scope) | Self::Uniform(scope) => scope,
        }
    }
}

impl Scope {
    /// The key of draw `index` of an effect.
    fn key(self, CellPlace { array, row, col }: CellPlace, write: u32, index: u32) -> [u32; 4] {
        let ([a, b, c], write) = match self {
            Self::Die => ([ALL; 3], 0),
            Self::Array => ([array, ALL, ALL], 0),
            Self::Cell => ([array, row, col], 0),
            Self::Write => ([array, row, col], write & ((1 << WRITE_BITS) - 1)),
        };
        [a, b, c, index << WRITE_BITS | write]
    }
}

#[cfg(test)]
mod tests {
    use super::{CellDraws, CellPlace, Draw, Scope};
    use crate::effects::Effect;
    use crate::random::Stream;

    fn draw(draw: Draw, place: CellPlace, write: u32) -> f64 {
        let mut out = Vec::new();
        CellDraws::new(1, [(Effect::Drift, &[draw][..])].into_iter()).fill(place, write, &mut out);
        out[0]
    }

    #[test]
    fn draws_are_shared_as_far_as_their_scope_goes() {
        let home = CellPlace { array: 1, row: 2, col: 3 };
        let away = [
            (home, 1),
            (CellPlace { col: 4, ..home }, 0),
            (CellPlace { row: 3, ..home }, 0),
            (CellPlace { array: 0, ..home }, 0),
        ];
        let shared = |scope| {
            away.map(|(place, write)| {
                let normal = draw(Draw::Normal(scope), place, write);
                let uniform = draw(Draw::Uniform(scope), place, write);
                let same = normal == draw(Draw::Normal(scope), home, 0);
                assert_eq!(same, uniform == draw(Draw::Uniform(scope), home, 0));
                same
            })
        };
        assert_eq!(shared(Scope::Write), [false, false, false, false]);
        assert_eq!(shared(Scope::Cell), [true, false, false, false]);
        assert_eq!(shared(Scope::Array), [true, true, true, false]);
        assert_eq!(shared(Scope::Die), [true; 4]);
    }

    #[test]
    fn the_draws_of_one_effect_differ_and_the_first_is_the_plain_one() {
        let place = CellPlace { array: 1, row: 2, col: 3 };
        let normals = [Draw::Normal(Scope::Write); 3];
        let draws = CellDraws::new(7, [(Effect::Programming, &normals[..])].into_iter());
        let mut out = vec![9.0];
        draws.fill(place, 5, &mut out);
        assert_eq!(out[0], Stream::new(0, 7, Effect::Programming).normal([1, 2, 3, 5]));
        assert!(out.len() == 3 && out[0] != out[1] && out[1] != out[2], "{out:?}");
    }

    #[test]
    fn many_cells_are_drawn_like_each_of_them() {
        let of_programming =
            [Draw::Normal(Scope::Write), Draw::Uniform(Scope::Cell), Draw::Normal(Scope::Array)];
        let of_drift = [Draw::Normal(Scope::Cell), Draw::Normal(Scope::Die)];
        let effects = [(Effect::Programming, &of_programming[..]), (Effect::Drift, &of_drift[..])];
        let draws = CellDraws::new(7, effects.into_iter());
        let cell = |col: u32| (CellPlace { array: 1, row: 2, col: 3 * col }, col % 5);
        for n_cells in [0, 1, 7, 8, 21] {
            let cells: Vec<_> = (0..n_cells).map(cell).collect();
            let (mut all, mut one) = (vec![9.0], Vec::new());
            draws.fill_all(&cells, &mut all);
            let each: Vec<f64> = cells
                .iter()
                .flat_map(|&(place, write)| {
                    draws.fill(place, write, &mut one);
                    one.clone()
                })
                .collect();
            assert_eq!(all, each);
        }
    }
}
