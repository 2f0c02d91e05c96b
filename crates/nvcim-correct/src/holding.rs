//! From wanted weights to cell targets: copies share a weight, pairs come as close as stuck cells let them.

use ndarray::{Array2, ArrayView1, ArrayView2};
use nvcim_chip::closest::{StuckPair, closest_slices};
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::Cell;
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::programmed::Targets;

use crate::faults::reach_of;
use crate::piece::{Ground, Piece};

/// The share of each copy, so that their mean is `wanted` as nearly as they can: all alike, but for those
/// that cannot reach that, whose part the others take over.
///
/// `reaches` holds what each copy can hold. The level `t` that all free copies take solves
/// `sum clip(t, lo, hi) = n wanted`, by bisection of a sum that never falls.
pub(crate) fn share_out(wanted: f64, reaches: &[[f64; 2]]) -> Vec<f64> {
    let clip = |t: f64| reaches.iter().map(move |[lo, hi]| t.clamp(*lo, *hi));
    if clip(wanted).all(|share| share == wanted) {
        return vec![wanted; reaches.len()];
    }
    let total = wanted * reaches.len() as f64;
    let mut below = reaches.iter().fold(wanted, |least, reach| least.min(reach[0]));
    let mut above = reaches.iter().fold(wanted, |most, reach| most.max(reach[1]));
    for _ in 0..60 {
        let middle = 0.5 * (below + above);
        if clip(middle).sum::<f64>() < total {
            below = middle;
        } else {
            above = middle;
        }
    }
    clip(0.5 * (below + above)).collect()
}

/// Targets of a tile's pieces that hold `shares`, `[tile rows, columns]`, each in its columns' signs, and the
/// number of weights with a stuck cell.
pub(crate) fn hold(
    pieces: &[Piece],
    shares: ArrayView2<'_, f64>,
    ground: &Ground<'_>,
    statistics: &CellStatistics,
) -> (Vec<Targets>, usize) {
    if pieces.iter().all(|piece| piece.site.faults.is_empty()) {
        let free = |piece| hold_free(piece, shares, ground, statistics);
        return (pieces.iter().map(free).collect(), 0);
    }
    hold_round_faults(pieces, shares, ground, statistics)
}

/// Targets of a piece without a stuck cell: every copy holds the whole weight.
fn hold_free(
    piece: &Piece,
    shares: ArrayView2<'_, f64>,
    ground: &Ground<'_>,
    statistics: &CellStatistics,
) -> Targets {
    let Ground { used, chip, .. } = ground;
    let cell = &chip.cell;
    let told = |g: f64| statistics.target_for(used.snap(g));
    let Some(_) = cell.n_levels else {
        let [plus, minus] = fill_free(piece, shares, ground, |g| told(g) as f32);
        return Targets::Siemens { plus, minus };
    };
    let level = |g: f64| cell.level_of(told(g)).expect("the cell has levels");
    // Almost always the cell of the time of use has levels too, so that each has to be asked for but once.
    let levels = used.n_levels.map(|n| n.saturating_sub(1).min(u32::from(u16::MAX)) as u16);
    let table: Option<Vec<u16>> =
        levels.map(|top| (0..=top).map(|at| level(used.siemens_of(at))).collect());
    let [plus, minus] = fill_free(piece, shares, ground, |g| match (used.level_of(g), &table) {
        (Some(at), Some(table)) => table[usize::from(at)],
        _ => level(g),
    });
    Targets::Levels { plus, minus }
}

/// The positive and the negative cells of a piece without a stuck cell; `target` turns the conductance that a
/// cell is to have, in siemens, into what it is told.
fn fill_free<T: Clone>(
    piece: &Piece,
    shares: ArrayView2<'_, f64>,
    ground: &Ground<'_>,
    target: impl Fn(f64) -> T,
) -> [Array2<T>; 2] {
    let Ground { code, used, .. } = ground;
    let [lo, hi] = reach_of(&vec![(None, None); code.n_slices()], code, used);
    let paired = code.is_paired();
    let at_rest = target(used.g_min);
    let of_share = |share: f64| target(used.g_min + used.range() * share);
    let count = piece.rows.len() * piece.cols.len() * piece.copies() * code.n_slices();
    let mut plus = Vec::with_capacity(count);
    let mut minus = Vec::with_capacity(if paired { count } else { 0 });
    for row in shares.rows() {
        for (&wanted, sign) in row.iter().zip(&piece.signs) {
            let share = sign * wanted.clamp(lo, hi);
            for _ in 0..piece.copies() {
                for share in code.shares(share) {
                    if !paired || share > 0.0 {
                        plus.push(of_share(share.min(1.0)));
                    } else {
                        plus.push(at_rest.clone());
                    }
                    if paired && share < 0.0 {
                        minus.push(of_share(-share.max(-1.0)));
                    } else if paired {
                        minus.push(at_rest.clone());
                    }
                }
            }
        }
    }
    let n_rows = piece.rows.len();
    [plus, minus].map(|cells| {
        let n_lanes = cells.len() / n_rows.max(1);
        Array2::from_shape_vec((n_rows, n_lanes), cells).expect("rows are of one length")
    })
}

/// The same where cells are stuck: copies make up for what others cannot hold.
fn hold_round_faults(
    pieces: &[Piece],
    shares: ArrayView2<'_, f64>,
    ground: &Ground<'_>,
    statistics: &CellStatistics,
) -> (Vec<Targets>, usize) {
    let n_slices = ground.code.n_slices();
    let mut cells: Vec<[Array2<f64>; 2]> = pieces
        .iter()
        .map(|piece| {
            let lanes = piece.cols.len() * piece.copies() * n_slices;
            let minus = if ground.code.is_paired() { lanes } else { 0 };
            [lanes, minus].map(|lanes| Array2::zeros((piece.rows.len(), lanes)))
        })
        .collect();
    let places: Vec<(usize, usize)> = (0..pieces.len())
        .flat_map(|piece| (0..pieces[piece].copies()).map(move |copy| (piece, copy)))
        .collect();
    let mut on_stuck = 0;
    // Of one weight, copy by copy and slice by slice.
    let mut stuck: Vec<StuckPair> = Vec::new();
    for ((row, col), &wanted) in shares.indexed_iter() {
        stuck.clear();
        for &(piece, copy) in &places {
            let piece = &pieces[piece];
            let place = piece.cols[col][copy];
            stuck.extend(ground.grid.stuck_at(&piece.site.faults, piece.rows[row], place));
        }
        on_stuck += usize::from(stuck.iter().any(|at| *at != (None, None)));
        let sign = |piece: usize| pieces[piece].signs[col];
        let reaches: Vec<[f64; 2]> = places
            .iter()
            .zip(stuck.chunks(n_slices))
            .map(|(&(piece, _), stuck)| {
                let [lo, hi] = reach_of(stuck, &ground.code, &ground.used);
                if sign(piece) < 0.0 { [-hi, -lo] } else { [lo, hi] }
            })
            .collect();
        for ((&(piece, copy), stuck), share) in
            places.iter().zip(stuck.chunks(n_slices)).zip(share_out(wanted, &reaches))
        {
            let pairs = closest_slices(sign(piece) * share, stuck, &ground.code, &ground.used);
            let first = (col * pieces[piece].copies() + copy) * n_slices;
            for (slice, (plus, minus)) in pairs.into_iter().enumerate() {
                let [to_plus, to_minus] = &mut cells[piece];
                to_plus[(row, first + slice)] = statistics.target_for(plus);
                if let Some(target) = to_minus.get_mut((row, first + slice)) {
                    *target = statistics.target_for(minus);
                }
            }
        }
    }
    let targets =
        cells.into_iter().map(|[plus, minus]| to_targets(&plus, &minus, &ground.chip.cell));
    (targets.collect(), on_stuck)
}

/// Conductances in siemens as the chip is told them.
pub(crate) fn to_targets(plus: &Array2<f64>, minus: &Array2<f64>, cell: &Cell) -> Targets {
    match cell.n_levels {
        None => Targets::Siemens { plus: plus.mapv(|g| g as f32), minus: minus.mapv(|g| g as f32) },
        Some(_) => {
            let level = |g: &f64| cell.level_of(*g).expect("the cell has levels");
            Targets::Levels { plus: plus.map(level), minus: minus.map(level) }
        }
    }
}

/// What the spread of cells costs: the variance of a weight, as `a + b w^2` in squares of the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SpreadLaw {
    pub(crate) constant: f64,
    pub(crate) square: f64,
}

impl SpreadLaw {
    /// The law of one copy whose cells have `variance` at a target, both in siemens: exact at 0 and at the largest weight.
    pub(crate) fn new(
        code: &WeightCode,
        used: &Cell,
        cell: &Cell,
        variance: impl Fn(f64) -> f64,
    ) -> Self {
        let per_share = 1.0 / (used.range() * used.range());
        let sides = if code.is_paired() { 2.0 } else { 1.0 };
        let slices: f64 = code.factors().iter().map(|factor| factor * factor).sum();
        let at_rest = slices * per_share * variance(cell.g_min);
        let at_full = slices * per_share * variance(cell.g_max);
        Self { constant: sides * at_rest, square: at_full - at_rest }
    }

    /// The variance at a share of the largest weight.
    pub(crate) fn at(self, share: f64) -> f64 {
        self.constant + self.square * share * share
    }

    /// The same for the mean of `copies`.
    pub(crate) fn of_copies(self, copies: usize) -> Self {
        let n = copies as f64;
        Self { constant: self.constant / n, square: self.square / n }
    }
}

/// The largest magnitude of a column; 1 where all are 0.
pub(crate) fn largest(column: ArrayView1<'_, f64>) -> f64 {
    let largest = column.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
    if largest > 0.0 { largest } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use ndarray::Array2;
    use nvcim_chip::coding::WeightCode;
    use nvcim_chip::describe::{Chip, SignCoding};
    use nvcim_chip::effects::EffectSet;
    use nvcim_chip::presets::find_preset;
    use nvcim_chip::statistics::CellStatistics;
    use nvcim_ir::ids::{ArrayId, Id, TileId};

    use super::{hold_free, hold_round_faults, share_out};
    use crate::grid::Grid;
    use crate::piece::{Ground, Piece};
    use crate::yard::Yard;

    /// Levels and none, pairs and offsets, one slice and several of either kind.
    fn chips() -> Vec<Chip> {
        let base = find_preset("pcm-ibm").unwrap();
        let mut chips = Vec::new();
        for sign in [SignCoding::Pairs, SignCoding::OffsetDigital, SignCoding::OffsetColumn] {
            for n_levels in [None, Some(16)] {
                for (bits_per_slice, significance) in
                    [(None, vec![1.0]), (None, vec![1.0, 3.0]), (Some(4), vec![1.0; 2])]
                {
                    let mut chip = base.clone();
                    chip.cell.n_levels = n_levels;
                    chip.weights.sign = sign;
                    (chip.weights.bits_per_slice, chip.weights.significance) =
                        (bits_per_slice, significance);
                    chips.push(chip);
                }
            }
        }
        chips
    }

    #[test]
    fn without_a_fault_both_ways_of_holding_are_one() {
        let shares = Array2::from_shape_fn((5, 4), |(row, col)| {
            (row as f64 - 2.0) * 0.31 + (col as f64 - 1.5) * 0.47
        });
        assert!(shares.iter().any(|share| share.abs() > 1.0), "beyond the range, too");
        for (chip, set) in
            chips().iter().flat_map(|chip| [EffectSet::NONE, EffectSet::ALL].map(|set| (chip, set)))
        {
            let statistics = CellStatistics::new(chip, set, 1e4);
            let used = crate::before::used_cell(&chip.cell, &statistics);
            let (grid, code) = (Grid::new(chip), WeightCode::new(chip));
            let ground = Ground { chip, grid, code, used, die: None };
            let paired = ground.code.is_paired();
            let piece = Piece {
                tile: TileId::new(0),
                site: ground.survey(ArrayId::new(0), None).unwrap(),
                rows: (0..5).collect(),
                cols: (0..4).map(|col| vec![col, col + 4]).collect(),
                signs: vec![1.0, if paired { -1.0 } else { 1.0 }, 1.0, 1.0],
                yard: Yard::whole(&ground.grid),
            };
            let free = hold_free(&piece, shares.view(), &ground, &statistics);
            let (general, on_stuck) =
                hold_round_faults(&[piece], shares.view(), &ground, &statistics);
            assert_eq!((&general[..], on_stuck), (&[free][..], 0), "{:?}", chip.weights);
        }
    }

    #[test]
    fn a_free_copy_takes_over() {
        assert_eq!(share_out(0.25, &[[-1.0, 1.0]; 3]), [0.25; 3]);
        let shares = share_out(0.3, &[[-1.0, 1.0], [0.8, 1.8]]);
        assert!((shares[0] + 0.2).abs() < 1e-9 && shares[1] == 0.8, "{shares:?}");
        // Out of reach: as near as can be.
        assert_eq!(share_out(-1.0, &[[0.0, 1.0], [-0.5, 1.0]]), [0.0, -0.5]);
    }

    proptest! {
        #[test]
        fn the_mean_is_as_near_as_it_can(
            wanted in -1.0..1.0f64,
            boxes in prop::collection::vec((-1.0..0.5f64, 0.0..1.5f64), 1..5),
        ) {
            let reaches: Vec<[f64; 2]> = boxes.iter().map(|(lo, width)| [*lo, lo + width]).collect();
            let n = reaches.len() as f64;
            let shares = share_out(wanted, &reaches);
            let lo: f64 = reaches.iter().map(|it| it[0]).sum::<f64>() / n;
            let hi: f64 = reaches.iter().map(|it| it[1]).sum::<f64>() / n;
            let mean = shares.iter().sum::<f64>() / n;
            prop_assert!((mean - wanted.clamp(lo, hi)).abs() < 1e-9, "{} {}", mean, wanted);
            prop_assert!(shares.iter().zip(&reaches).all(|(s, [lo, hi])| s >= lo && s <= hi));
        }
    }
}
