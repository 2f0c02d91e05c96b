//! Giving each packed rectangle its array and its cells physical rows and columns.
//!
//! Weights fill an array from row 0 and column 0; spare lines follow, reserved ones come last. A pair's
//! cells are neighbours, lines `2 i` and `2 i + 1` along the pair axis, or sit on the same lines of two
//! arrays, `2 s` and `2 s + 1` for site `s`. The slices of a column are neighbours too.

use std::collections::BTreeSet;

use nvcim_chip::describe::{Chip, Pack, PairAxis, SignCoding, Weights};
use nvcim_ir::diag::Diagnostic;
use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId, TileId};
use nvcim_ir::tiled::{MatrixLayer, Readout, Tile, Wiring};

use crate::pack::{self, Matrix, Packing, Placed, Space, Spot};

/// What a network takes up on a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Arrays used.
    pub arrays_needed: usize,
    /// Arrays below which no placement could go, see [`pack::bound_sites`].
    pub arrays_bound: usize,
    /// Cells used by tiles, zeros between blocks on a tile included.
    pub cells_used: usize,
}

/// Counts arrays and cells.
pub fn count_demand(packing: &Packing, bound: usize, chip: &Chip) -> Demand {
    let references = usize::from(chip.weights.sign == SignCoding::OffsetColumn);
    let cuts = packing.placed.iter().map(|it| &it.cut);
    let on_tiles: usize = cuts.map(|cut| cut.rows.len() * (cut.cols.len() + references)).sum();
    let per_site = chip.arrays.arrays_per_tile();
    Demand {
        arrays_needed: per_site * packing.n_sites,
        arrays_bound: per_site * bound,
        cells_used: chip.weights.cells_per_weight() * on_tiles,
    }
}

/// The sites of a chip that can be used: those without a dead array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sites {
    dead: BTreeSet<usize>,
    /// Sites that can be used; `None` for any number.
    count: Option<usize>,
}

impl Sites {
    /// The sites of `chip` but for those with an array in `dead`.
    pub fn new(chip: &Chip, dead: &[ArrayId]) -> Self {
        let per_site = chip.arrays.arrays_per_tile();
        let all = chip.arrays.count.map(|count| count / per_site);
        let of_chip = |site: &usize| all.is_none_or(|all| *site < all);
        let dead: BTreeSet<usize> =
            dead.iter().map(|array| array.index() / per_site).filter(of_chip).collect();
        Self { count: all.map(|all| all - dead.len()), dead }
    }

    /// The site of the chip that a packing's site stands for.
    fn resolve(&self, site: usize) -> usize {
        // Ascending, so that every dead one at or below moves all that follow.
        self.dead.iter().fold(site, |site, &dead| if dead <= site { site + 1 } else { site })
    }
}

/// What a refusal speaks of: a network that is packed, and a chip.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// The layers.
    pub layers: &'a IdVec<LayerId, MatrixLayer>,
    /// The same as matrices.
    pub matrices: &'a [Matrix],
    /// How they are packed.
    pub mode: Pack,
    /// The chip.
    pub chip: &'a Chip,
    /// Its sites that can be used.
    pub sites: &'a Sites,
}

/// Why a chip has too few arrays for a packing: what each layer needs, and what would fit.
pub fn explain_misfit(fit: &Fit<'_>, packing: &Packing) -> Option<Diagnostic> {
    let &Fit { layers, mode, chip, sites, .. } = fit;
    let arrays = &chip.arrays;
    let per_site = arrays.arrays_per_tile();
    let available = sites.count.filter(|&count| count < packing.n_sites)?;
    let (count, needed) = (per_site * available, per_site * packing.n_sites);
    let first_out = packing.placed.iter().find(|it| it.spot.site >= available)?;
    let first_out = &layers[first_out.cut.layer].name;
    let usable = if sites.dead.is_empty() { "" } else { "usable " };
    let packed = match mode {
        Pack::None => String::new(),
        mode => format!(" by `{}` packing", mode.name()),
    };
    let message = format!(
        "has {count} {usable}arrays of {}x{}, too few for the {needed} that the network needs{packed}; \
         layer `{first_out}` is the first without room",
        arrays.n_rows, arrays.n_cols,
    );
    let dead = per_site * sites.dead.len();
    let problem = Diagnostic::unsupported(format!("chip `{}`", chip.name), message)
        .hint(format!("arrays needed by layer: {}", list_needs(fit, packing).join(", ")))
        .hint(format!("a chip with `arrays.count` of at least {} would fit", needed + dead));
    let larger = find_size_that_fits(fit, available);
    let hints = [
        larger.map(|(n_rows, n_cols)| format!("so would {count} arrays of {n_rows}x{n_cols}")),
        find_freer_mode(fit, available),
    ];
    Some(hints.into_iter().flatten().fold(problem, Diagnostic::hint))
}

/// The arrays that each layer needs: whole ones where tiles have them to themselves, else what its cells are
/// of an array's.
fn list_needs(fit: &Fit<'_>, packing: &Packing) -> Vec<String> {
    let per_site = fit.chip.arrays.arrays_per_tile();
    let mut tiles: IdVec<LayerId, usize> = fit.layers.iter().map(|_| 0).collect();
    let mut weights = tiles.clone();
    for Placed { cut, .. } in &packing.placed {
        tiles[cut.layer] += 1;
        weights[cut.layer] += cut.rows.len() * cut.cols.len();
    }
    let room = crate::cut::room_of(fit.chip);
    let per_array = (room.n_rows * room.n_cols) as f64 / per_site as f64;
    let need = |(id, layer): (LayerId, &MatrixLayer)| match fit.mode {
        Pack::None => format!("`{}` {}", layer.name, per_site * tiles[id]),
        _ => format!("`{}` {:.2}", layer.name, weights[id] as f64 / per_array),
    };
    fit.layers.iter_enumerated().map(need).collect()
}

/// The smallest array, in doublings of the chip's, of which the sites at hand hold every layer.
fn find_size_that_fits(fit: &Fit<'_>, available: usize) -> Option<(usize, usize)> {
    let mut larger = fit.chip.clone();
    // However large, a site holds one layer at most where tiles do not share it.
    let least = if fit.mode == Pack::None { fit.layers.len() } else { 1 };
    if least > available {
        return None;
    }
    loop {
        larger.arrays.n_rows = larger.arrays.n_rows.checked_mul(2)?;
        larger.arrays.n_cols = larger.arrays.n_cols.checked_mul(2)?;
        let space = Space::of_chip(&larger).ok()?;
        if pack::pack_matrices(fit.matrices, space, fit.mode).n_sites <= available {
            return Some((larger.arrays.n_rows, larger.arrays.n_cols));
        }
    }
}

/// A way of packing that fits the chip as it is, where it allows one.
fn find_freer_mode(fit: &Fit<'_>, available: usize) -> Option<String> {
    let space = Space::of_chip(fit.chip).ok()?;
    let most = fit.chip.arrays.pack.unwrap_or(Pack::Dense);
    let freer = [Pack::Concurrent, Pack::Dense].into_iter();
    let mut freer = freer.filter(|&mode| mode > fit.mode && mode <= most);
    freer.find_map(|mode| {
        let needed = pack::pack_matrices(fit.matrices, space, mode).n_sites;
        let arrays = fit.chip.arrays.arrays_per_tile() * needed;
        (needed <= available)
            .then(|| format!("`--pack {}` would fit the network on {arrays} arrays", mode.name()))
    })
}

/// Puts each rectangle with its readouts on its array, or its two arrays.
pub fn place_cuts(
    placed: Vec<Placed>,
    readouts: Vec<Vec<Readout>>,
    chip: &Chip,
    sites: &Sites,
) -> IdVec<TileId, Tile> {
    let per_site = chip.arrays.arrays_per_tile();
    let place = |(placed, readouts): (Placed, Vec<Readout>)| {
        let Placed { cut, spot } = placed;
        let site = sites.resolve(spot.site);
        let minus_array = (per_site == 2).then(|| ArrayId::new(per_site * site + 1));
        let wiring =
            Wiring { minus_array, ..wire_lines(cut.rows.len(), cut.cols.len(), spot, chip) };
        let (layer, array) = (cut.layer, ArrayId::new(per_site * site));
        Tile { layer, array, rows: cut.rows, cols: cut.cols, wiring, readouts }
    };
    placed.into_iter().zip(readouts).map(place).collect()
}

/// Where a tile on `array` begins that [`place_cuts`] has wired.
pub fn find_spot(array: ArrayId, wiring: &Wiring, chip: &Chip) -> Spot {
    let pairs = (chip.weights.sign == SignCoding::Pairs).then_some(chip.arrays.pairs);
    let per = |axis| if pairs == Some(axis) { 2 } else { 1 };
    let place =
        |lines: &[u32], per_place| lines.first().map_or(0, |&line| line as usize / per_place);
    let per_col = chip.weights.significance.len() * per(PairAxis::Columns);
    Spot {
        site: array.index() / chip.arrays.arrays_per_tile(),
        row: place(&wiring.plus_rows, per(PairAxis::Rows)),
        col: place(&wiring.plus_cols, per_col),
    }
}

/// The lines of a rectangle that begins at a spot.
fn wire_lines(n_rows: usize, n_cols: usize, spot: Spot, chip: &Chip) -> Wiring {
    let Weights { sign, significance, .. } = &chip.weights;
    let n_slices = significance.len();
    let references = usize::from(*sign == SignCoding::OffsetColumn);
    let (rows, cols) = (spot.row..spot.row + n_rows, spot.col..spot.col + n_cols + references);
    let lanes = n_slices * cols.start..n_slices * cols.end;
    let lines = |places: &std::ops::Range<usize>, first: u32, step: u32| -> Vec<u32> {
        places.clone().map(|place| first + step * place as u32).collect()
    };
    let along = Wiring {
        n_slices: n_slices as u32,
        plus_rows: lines(&rows, 0, 1),
        minus_rows: lines(&rows, 0, 1),
        plus_cols: lines(&lanes, 0, 1),
        minus_cols: lines(&lanes, 0, 1),
        minus_array: None,
    };
    match (sign, chip.arrays.pairs) {
        (SignCoding::Pairs, PairAxis::Columns) => {
            Wiring { plus_cols: lines(&lanes, 0, 2), minus_cols: lines(&lanes, 1, 2), ..along }
        }
        (SignCoding::Pairs, PairAxis::Rows) => {
            Wiring { plus_rows: lines(&rows, 0, 2), minus_rows: lines(&rows, 1, 2), ..along }
        }
        (SignCoding::Pairs, PairAxis::Arrays) => along,
        (SignCoding::OffsetDigital | SignCoding::OffsetColumn, _) => {
            Wiring { minus_rows: Vec::new(), minus_cols: Vec::new(), ..along }
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::{PairAxis, SignCoding};
    use nvcim_ir::ids::{ArrayId, Id, LayerId};

    use super::{Sites, find_spot, place_cuts};
    use crate::cut::Cut;
    use crate::pack::{Placed, Spot};
    use crate::testing::plain_chip;

    #[test]
    fn spots_are_found_again_from_lines() {
        for sign in [SignCoding::Pairs, SignCoding::OffsetDigital, SignCoding::OffsetColumn] {
            for pairs in [PairAxis::Columns, PairAxis::Rows, PairAxis::Arrays] {
                let mut chip = plain_chip();
                (chip.weights.sign, chip.arrays.pairs) = (sign, pairs);
                if sign != SignCoding::Pairs {
                    chip.arrays.pairs = PairAxis::Columns;
                }
                chip.weights.significance = vec![1.0; 2];
                let spot = Spot { site: 3, row: 2, col: 1 };
                let placed =
                    Placed { cut: Cut { layer: LayerId::new(0), rows: 0..4, cols: 0..2 }, spot };
                let tiles =
                    place_cuts(vec![placed], vec![Vec::new()], &chip, &Sites::new(&chip, &[]));
                let tile = tiles.iter().next().expect("one was placed");
                assert_eq!(find_spot(tile.array, &tile.wiring, &chip), spot, "{sign:?} {pairs:?}");
            }
        }
    }

    #[test]
    fn dead_arrays_are_stepped_over() {
        let mut chip = plain_chip();
        chip.arrays.count = Some(8);
        let sites = Sites::new(&chip, &[0, 2, 3, 9].map(ArrayId::new));
        assert_eq!(sites.count, Some(5));
        assert_eq!([0, 1, 2, 3, 4].map(|site| sites.resolve(site)), [1, 4, 5, 6, 7]);
    }
}
