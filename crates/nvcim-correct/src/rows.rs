//! Rows and columns to places, and signs to columns: stuck cells go where they do least harm.
//!
//! In a place with stuck cells a weight `w` becomes the nearest that the place can hold, `clip(w)`. With
//! `e_i` the energy of input `i` (its variance: means are left to the bias), a matrix row `i` at place `p`
//! costs
//!
//! ```text
//! cost[i, p] = e_i sum_j a_j^2 (clip_pj(s_j w_ij / a_j) - s_j w_ij / a_j)^2
//! ```
//!
//! with `a_j` the weight that takes the whole range of column `j`, and `s_j` its sign. Rows are assigned to
//! places at least total cost, which is a linear program with an integral optimum; so are columns to their
//! places, with rows as they are; signs are chosen by comparison. The three are taken in turn: no turn can
//! make the sum worse. Rows that are pinned or kept off places ([`crate::row_rules`]) are assigned by the same
//! program with those pairs alone that the rules leave; columns and signs are free of them. Tiles that share
//! their array move within their yards ([`crate::yard`]). Idea of remapping rows round faults: L. Xia et al., DAC 2017,
//! doi 10.1145/3061639.3062248.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, Zip};
use nvcim_lp::assign::{Assignment, assign};
use nvcim_lp::place::Rules;
use nvcim_lp::program::{Solver, Unsolved};

use crate::grid::Grid;
use crate::piece::{Piece, excess};

/// The most times that rows, signs and columns are gone through.
const TURNS: usize = 3;

/// A turn that takes a smaller share of the error than this off is the last.
const LEAST_GAIN: f64 = 0.02;

/// What is wanted of a piece, and how much errors count.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Weights as shares of what takes the whole range, `[tile rows, columns]`.
    pub(crate) shares: Array2<f64>,
    /// Energies of the inputs, `[tile rows]`.
    pub(crate) energies: Vec<f64>,
    /// Squares of the weights that take the whole range, `[columns]`.
    pub(crate) worths: Vec<f64>,
}

/// What may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freedom {
    pub(crate) rows: bool,
    pub(crate) cols: bool,
    pub(crate) signs: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    /// Weighted square error with everything where mapping put it.
    pub(crate) before: f64,
    /// The same now.
    pub(crate) after: f64,
    /// Largest relative gap between an assignment's cost and its certificate.
    pub(crate) gap: f64,
    /// Rows, copies of columns and signs that changed.
    pub(crate) changed: usize,
}

/// Moves what may move of a piece, its rows by `rules`.
///
/// # Errors
/// Rules that no placement obeys, or that name what is not there.
pub(crate) fn place(
    piece: &mut Piece,
    wish: &Wish,
    freedom: Freedom,
    rules: &Rules,
    grid: &Grid,
) -> Result<Placed, Unsolved> {
    let mapped = piece.clone();
    let before = total(piece, wish, grid);
    let may_stay = obeys(&mapped.rows, rules);
    let freedom = Freedom { rows: freedom.rows && piece.yard.rows_move, ..freedom };
    if !(may_stay || freedom.rows) {
        return Err(Unsolved::Infeasible);
    }
    let (mut gap, mut after) = (0.0_f64, if may_stay { before } else { f64::INFINITY });
    let spoiled = piece.site.spoiled.iter().any(|row| !row.is_empty());
    for _ in 0..if spoiled || !may_stay { TURNS } else { 0 } {
        let last = after;
        if freedom.cols {
            gap = gap.max(assign_cols(piece, wish));
        }
        if freedom.rows {
            gap = gap.max(assign_rows(piece, wish, rules, grid)?);
        }
        if freedom.signs {
            choose_signs(piece, wish, grid);
        }
        after = total(piece, wish, grid);
        if after >= (1.0 - LEAST_GAIN) * last {
            break;
        }
    }
    if after >= before && may_stay {
        *piece = mapped.clone();
        after = before;
    }
    let moved = |a: &[usize], b: &[usize]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let flat = |cols: &[Vec<usize>]| cols.concat();
    let turned = piece.signs.iter().filter(|sign| **sign < 0.0).count();
    let changed =
        moved(&piece.rows, &mapped.rows) + moved(&flat(&piece.cols), &flat(&mapped.cols)) + turned;
    Ok(Placed { before, after, gap, changed })
}

/// Whether rows at these places obey `rules`.
fn obeys(rows: &[usize], rules: &Rules) -> bool {
    let sits = |&(row, place): &(usize, usize)| rows.get(row) == Some(&place);
    rules.pinned.iter().all(sits) && !rules.forbidden.iter().any(sits)
}

/// The weighted square error of a piece as it is.
fn total(piece: &Piece, wish: &Wish, grid: &Grid) -> f64 {
    let cols = piece.cols_at_places(grid);
    let mut sum = 0.0;
    for (row, &place) in piece.rows.iter().enumerate() {
        for (col, reach) in piece.reaches_at(place, &cols) {
            let off = excess(wish.shares[(row, col)], reach);
            sum += wish.energies[row] * wish.worths[col] * off * off;
        }
    }
    sum
}

/// Assigns rows to places; answers with the gap.
fn assign_rows(
    piece: &mut Piece,
    wish: &Wish,
    rules: &Rules,
    grid: &Grid,
) -> Result<f64, Unsolved> {
    let cols = piece.cols_at_places(grid);
    let shares = wish.shares.t().as_standard_layout().into_owned();
    let n_rows = piece.rows.len();
    let yard = piece.yard.rows.clone();
    let mut costs = Array2::zeros((yard.len(), n_rows));
    for (place, mut costs) in yard.clone().zip(costs.outer_iter_mut()) {
        for (col, reach) in piece.reaches_at(place, &cols) {
            let worth = wish.worths[col];
            Zip::from(&mut costs).and(shares.row(col)).for_each(|cost, &share| {
                let off = excess(share, reach);
                *cost += worth * off * off;
            });
        }
        costs.iter_mut().zip(&wish.energies).for_each(|(cost, energy)| *cost *= energy);
    }
    let assignment = if *rules == Rules::default() {
        assign(costs.t())
    } else {
        let rules = rules_within(&yard, rules, grid)?;
        Some(nvcim_lp::place::place(costs.t(), &rules, Solver::Vertex)?)
    };
    let (order, gap) = order_of(assignment);
    if let Some(order) = order {
        piece.rows = order.into_iter().map(|place| yard.start + place).collect();
    }
    Ok(gap)
}

/// Rules by places of the array as rules by places of a yard.
fn rules_within(yard: &Range<usize>, rules: &Rules, grid: &Grid) -> Result<Rules, Unsolved> {
    let mut within = rules.clone();
    for (_, place) in &mut within.pinned {
        *place = place.checked_sub(yard.start).ok_or(Unsolved::Infeasible)?;
    }
    // The rest of the array is out of reach as it is; what is beyond the array is a mistake to tell.
    within.forbidden.retain(|(_, place)| yard.contains(place) || *place >= grid.n_rows);
    within.forbidden.iter_mut().for_each(|(_, place)| *place -= yard.start);
    Ok(within)
}

/// Assigns copies of columns to places, one by one as if each stood alone; answers with the gap.
fn assign_cols(piece: &mut Piece, wish: &Wish) -> f64 {
    let copies = piece.copies();
    let yard = piece.yard.cols.clone();
    // What every column would cost at each place, whichever of its copies it is, `[places, columns]`.
    let mut alone = Array2::<f64>::zeros((yard.len(), piece.cols.len()));
    let signs = ArrayView1::from(&piece.signs);
    let worths = ArrayView1::from(&wish.worths);
    for (row, &place) in piece.rows.iter().enumerate() {
        let signed = &wish.shares.row(row) * &signs;
        let counts = &worths * wish.energies[row];
        for spoiled in piece.site.spoiled[place].iter().filter(|it| yard.contains(&it.col)) {
            Zip::from(alone.row_mut(spoiled.col - yard.start)).and(&signed).and(&counts).for_each(
                |cost, &share, &counts| {
                    let off = excess(share, spoiled.reach);
                    *cost += counts * off * off;
                },
            );
        }
    }
    let costs = Array2::from_shape_fn((piece.cols.len() * copies, yard.len()), |(at, place)| {
        alone[(place, at / copies)]
    });
    let (order, gap) = order_of(assign(costs.view()));
    if let Some(order) = order {
        let at = |&place: &usize| yard.start + place;
        piece.cols = order.chunks(copies).map(|places| places.iter().map(at).collect()).collect();
    }
    gap
}

/// An assignment and its gap; none where it is not possible.
fn order_of(assignment: Option<Assignment>) -> (Option<Vec<usize>>, f64) {
    match assignment {
        Some(assignment) => {
            let gap = assignment.gap();
            (Some(assignment.col_of_row), gap)
        }
        None => (None, 0.0),
    }
}

/// Turns the columns that are better held the other way round.
fn choose_signs(piece: &mut Piece, wish: &Wish, grid: &Grid) {
    let cols = piece.cols_at_places(grid);
    let mut gains = vec![0.0; piece.cols.len()];
    for (row, &place) in piece.rows.iter().enumerate() {
        for (col, reach) in piece.reaches_at(place, &cols) {
            let share = wish.shares[(row, col)];
            let (as_is, turned) = (excess(share, reach), excess(-share, reach));
            gains[col] += wish.energies[row] * (as_is * as_is - turned * turned);
        }
    }
    for (sign, gain) in piece.signs.iter_mut().zip(gains) {
        if gain > 0.0 {
            *sign = -*sign;
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use nvcim_chip::coding::WeightCode;
    use nvcim_chip::describe::Chip;
    use nvcim_chip::effects::Effect;
    use nvcim_chip::presets::find_preset;
    use nvcim_chip::random::Stream;
    use nvcim_chip::record::{ArrayRecord, DieRecord, StuckCell};
    use nvcim_ir::ids::{ArrayId, Id, TileId};
    use nvcim_lp::place::Rules;
    use nvcim_lp::program::Unsolved;

    use super::{Freedom, Placed, Wish, place};
    use crate::grid::Grid;
    use crate::piece::{Ground, Piece};
    use crate::yard::Yard;

    const N_ROWS: usize = 20;
    const N_COLS: usize = 10;
    const ALL: Freedom = Freedom { rows: true, cols: true, signs: true };

    fn chip() -> Chip {
        let mut chip = find_preset("stress-a").expect("a preset");
        (chip.arrays.n_rows, chip.arrays.n_cols) = (24, 2 * N_COLS);
        chip
    }

    /// An array with a tenth of its cells stuck at either end.
    fn die(chip: &Chip, stream: &Stream) -> DieRecord {
        let mut stuck = Vec::new();
        for row in 0..chip.arrays.n_rows as u32 {
            for col in 0..chip.arrays.n_cols as u32 {
                if stream.uniform([row, col, 0, 0]) < 0.1 {
                    let high = stream.uniform([row, col, 0, 1]) < 0.5;
                    let g = if high { chip.cell.g_max } else { chip.cell.g_min };
                    stuck.push(StuckCell { row, col, g: g as f32 });
                }
            }
        }
        let array = ArrayRecord { stuck, ..ArrayRecord::default() };
        let arrays = [array].into_iter().collect();
        DieRecord { name: "d".into(), seed: None, chip_hash: [0; 32], arrays }
    }

    /// Places a random tile by `rules`.
    fn placed(seed: u64, freedom: Freedom, rules: &Rules) -> Result<(Piece, Placed), Unsolved> {
        let (chip, stream) = (chip(), Stream::new(seed, 0, Effect::Stuck));
        let die = die(&chip, &stream);
        let (grid, code) = (Grid::new(&chip), WeightCode::new(&chip));
        let ground = Ground { chip: &chip, grid, code, used: chip.cell, die: Some(&die) };
        let mut piece = Piece {
            tile: TileId::new(0),
            site: ground.survey(ArrayId::new(0), None).expect("the die has one array"),
            rows: (0..N_ROWS).collect(),
            cols: (0..N_COLS).map(|col| vec![col]).collect(),
            signs: vec![1.0; N_COLS],
            yard: Yard::whole(&ground.grid),
        };
        let draw = |(row, col)| 2.0 * stream.uniform([row as u32, col as u32, 1, 0]) - 1.0;
        let energy = |row| stream.uniform([row as u32, 0, 2, 0]);
        let wish = Wish {
            shares: Array2::from_shape_fn((N_ROWS, N_COLS), draw),
            energies: (0..N_ROWS).map(energy).collect(),
            worths: vec![1.0; N_COLS],
        };
        let placed = place(&mut piece, &wish, freedom, rules, &ground.grid)?;
        Ok((piece, placed))
    }

    #[test]
    fn rules_without_content_change_nothing() {
        // One row a place is what holds anyway, but takes the general path.
        let general = Rules { capacity: vec![1; 24], ..Rules::default() };
        for seed in 0..8 {
            let (pure, of_pure) = placed(seed, ALL, &Rules::default()).expect("nothing is asked");
            let (ruled, of_ruled) = placed(seed, ALL, &general).expect("nothing is asked");
            assert_eq!(
                (&pure.rows, &pure.cols, &pure.signs),
                (&ruled.rows, &ruled.cols, &ruled.signs)
            );
            assert_eq!(of_pure, of_ruled);
            assert!(
                of_pure.after < 0.8 * of_pure.before,
                "there was something to gain: {of_pure:?}"
            );
        }
    }

    #[test]
    fn rules_are_obeyed_at_the_least_cost_they_leave() {
        let rows_alone = Freedom { rows: true, cols: false, signs: false };
        for seed in 0..8 {
            let (free, of_free) = placed(seed, rows_alone, &Rules::default()).expect("it is free");
            let elsewhere = (0..24).find(|place| !free.rows.contains(place)).expect("4 are spare");
            let rules = Rules {
                pinned: vec![(3, elsewhere)],
                forbidden: vec![(0, free.rows[0]), (5, 5)],
                capacity: Vec::new(),
            };
            let (ruled, of_ruled) = placed(seed, rows_alone, &rules).expect("plenty is left");
            assert_eq!(ruled.rows[3], elsewhere);
            assert!(ruled.rows[0] != free.rows[0] && ruled.rows[5] != 5);
            assert!(of_ruled.after >= of_free.after, "{of_ruled:?} {of_free:?}");
            assert!(of_ruled.gap <= 1e-9 && of_free.gap <= 1e-9, "{of_ruled:?} {of_free:?}");
            // Rules that the free answer obeys cost nothing.
            let pinned = (0..5).map(|row| (row, free.rows[row])).collect();
            let (_, again) =
                placed(seed, rows_alone, &Rules { pinned, ..Rules::default() }).unwrap();
            assert!((again.after - of_free.after).abs() <= 1e-12 * of_free.after);
        }
    }

    #[test]
    fn rules_that_leave_nothing_are_refused() {
        let two = Rules { pinned: vec![(0, 4), (1, 4)], ..Rules::default() };
        assert_eq!(placed(0, ALL, &two).err(), Some(Unsolved::Infeasible));
        let fixed = Freedom { rows: false, ..ALL };
        let moved = Rules { pinned: vec![(0, 4)], ..Rules::default() };
        assert_eq!(placed(0, fixed, &moved).err(), Some(Unsolved::Infeasible));
        let beyond = Rules { pinned: vec![(0, 24)], ..Rules::default() };
        assert!(matches!(placed(0, ALL, &beyond).err(), Some(Unsolved::Failed(_))));
    }
}
