//! What pre-distortion promises, checked on networks that are solved anew from the cells it returns.

use ndarray::Array2;
use nvcim_chip::describe::Cell;
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::ir_drop::{IrDrop, IrDropMethod};
use nvcim_chip::network::Wires;
use nvcim_chip::network::fast::estimate_transfer_matrix;
use nvcim_chip::network::passive::transfer_matrix;
use nvcim_chip::random::Stream;
use nvcim_ir::ids::{ArrayId, Id};
use nvcim_ir::tiled::{ArraySize, Wiring};

use crate::ir_drop::{
    Distorted, Effort, FixedCells, Gain, Group, PreDistorted, Reach, pre_distort,
};

const CELL: Cell = Cell { g_min: 1e-6, g_max: 1e-4, n_levels: None };
const ONE: Gain<'_> = Gain::Common { at_most: 1.0, allowance: 0.0 };
const PER_LANE: Gain<'_> = Gain::PerLane { at_most: 1.0, allowance: 0.0 };

/// Where the cells of a pair sit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Geometry {
    Separate,
    Columns,
    Rows,
    Single,
}
use Geometry::{Columns, Rows, Separate, Single};

const ALL: [Geometry; 4] = [Separate, Columns, Rows, Single];

/// One tile.
#[derive(Debug, Clone)]
struct Case {
    wiring: Wiring,
    size: ArraySize,
    ir_drop: IrDrop,
    cell: Cell,
    wanted: Array2<f64>,
    fixed: [FixedCells; 2],
}

impl Case {
    /// A tile that fills arrays of `n` by `n` cells, with normal weights, the largest of which takes the
    /// whole range.
    fn new(geometry: Geometry, n: usize, cell: Cell, ohm: f64, seed: u64) -> Self {
        let all = |n: usize, first: u32, step: usize| -> Vec<u32> {
            (first..n as u32).step_by(step).collect()
        };
        let (row_step, col_step) = match geometry {
            Separate | Single => (1, 1),
            Columns => (1, 2),
            Rows => (2, 1),
        };
        let wiring = Wiring {
            n_slices: 1,
            plus_rows: all(n, 0, row_step),
            plus_cols: all(n, 0, col_step),
            minus_rows: if geometry == Single {
                vec![]
            } else {
                all(n, row_step as u32 - 1, row_step)
            },
            minus_cols: if geometry == Single {
                vec![]
            } else {
                all(n, col_step as u32 - 1, col_step)
            },
            minus_array: (geometry == Separate).then(|| ArrayId::new(1)),
        };
        let stream = Stream::new(seed, 0, Effect::IrDrop);
        let dim = (wiring.plus_rows.len(), wiring.plus_cols.len());
        let w = Array2::from_shape_fn(dim, |(i, j)| stream.normal([i as u32, j as u32, 0, 0]));
        let most = w.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
        let wanted = match geometry {
            // Offset by what every cell can come down to: at least its leakage through others.
            Single => {
                w.mapv(|w| 4.0 * cell.g_min.max(1e-6) + (w / most + 1.0) * 0.48 * cell.range())
            }
            _ => w * (cell.range() / most),
        };
        let wires =
            Wires { word_line_ohm: ohm, bit_line_ohm: ohm, driver_ohm: 0.0, sense_ohm: 0.0 };
        Self {
            wiring,
            size: ArraySize { n_rows: n, n_cols: n, count: None },
            ir_drop: IrDrop { wires, method: IrDropMethod::Exact, gated: None },
            cell,
            wanted,
            fixed: [FixedCells::new(), FixedCells::new()],
        }
    }

    /// Sticks a share of cells at the bottom of the range, another at the top, and a few beyond it.
    fn stick(mut self, low: f64, high: f64, seed: u64) -> Self {
        for (array, fixed) in (0..).zip(&mut self.fixed) {
            let stream = Stream::new(seed, array, Effect::Stuck);
            for at in 0..(self.size.n_rows * self.size.n_cols) as u32 {
                let (row, col) = (at / self.size.n_cols as u32, at % self.size.n_cols as u32);
                let u = stream.uniform([row, col, 0, 0]);
                let g = if u < low { self.cell.g_min } else { self.cell.g_max };
                if u < low + high {
                    fixed.insert((row, col), if u < 0.002 { 0.0 } else { g });
                }
            }
        }
        self
    }

    fn stuck(&self, row: usize, lane: usize) -> [Option<f64>; 2] {
        let wiring = &self.wiring;
        let plus = self.fixed[0].get(&(wiring.plus_rows[row], wiring.plus_cols[lane]));
        let fixed = &self.fixed[usize::from(wiring.minus_array.is_some())];
        let minus = |row: &u32| fixed.get(&(*row, wiring.minus_cols[lane]));
        [plus.copied(), wiring.minus_rows.get(row).and_then(minus).copied()]
    }

    fn solve(&self, gain: Gain<'_>) -> PreDistorted {
        let reach = (Reach::of_cell(&self.cell), self.cell.g_min);
        let fixed = [&self.fixed[0], &self.fixed[1]];
        let wanted = (self.wanted.view(), gain);
        let group = Group::of_tile(&self.wiring, self.size, &self.ir_drop, reach, fixed, wanted);
        pre_distort(&group, Effort::default())
    }

    /// What pairs with these cells are worth, and the worst disagreement with what `got` says of them.
    fn check(&self, got: &Distorted) -> Array2<f64> {
        let size = (self.size.n_rows, self.size.n_cols);
        let mut arrays = [0, 1].map(|array| {
            let mut cells = Array2::from_elem(size, self.cell.g_min);
            for (&(row, col), &g) in &self.fixed[array] {
                cells[[row as usize, col as usize]] = g;
            }
            cells
        });
        let Wiring { plus_rows, plus_cols, minus_rows, minus_cols, minus_array, .. } = &self.wiring;
        let other = usize::from(minus_array.is_some());
        let sides =
            [(0, plus_rows, plus_cols, &got.plus), (other, minus_rows, minus_cols, &got.minus)];
        for (array, rows, cols, cells) in sides {
            for ((row, lane), &g) in cells.indexed_iter() {
                arrays[array][[rows[row] as usize, cols[lane] as usize]] = g;
            }
        }
        let transfer = arrays.map(|cells| match self.ir_drop.method {
            IrDropMethod::Exact => transfer_matrix(cells.view(), &self.ir_drop.wires),
            IrDropMethod::Fast => estimate_transfer_matrix(cells.view(), &self.ir_drop.wires),
        });
        let mut worth = Array2::zeros(self.wanted.dim());
        for (sign, (array, rows, cols, cells)) in [1.0, -1.0].into_iter().zip(sides) {
            for (row, lane) in ndarray::indices(cells.dim()) {
                let current = transfer[array][[cols[lane] as usize, rows[row] as usize]];
                worth[[row, lane]] += sign * current;
            }
        }
        let agree =
            worth.iter().zip(&got.effective).all(|(a, b): (&f64, &f64)| (a - b).abs() < 1e-15);
        assert!(agree, "{self:?}");
        worth
    }

    /// The Frobenius norm of `worth / gain - wanted` over that of `wanted`.
    fn error(&self, got: &Distorted) -> f64 {
        let reached =
            self.check(got) / Array2::from_shape_fn((1, got.gain.len()), |(_, at)| got.gain[at]);
        let norm = |values: &Array2<f64>| values.iter().map(|it| it * it).sum::<f64>().sqrt();
        norm(&(reached - &self.wanted)) / norm(&self.wanted)
    }
}

/// The case that is published: 128 by 128 cells, 2 ohm, 100 uS, cells that reach down to 1 %.
#[test]
#[expect(clippy::print_stdout, reason = "the figures stand in the documentation")]
fn large_arrays_hold_their_matrix_to_a_millionth() {
    for geometry in [Separate, Columns] {
        let case = Case::new(geometry, 128, CELL, 2.0, 1);
        let got = case.solve(ONE);
        let block = &got.blocks[0];
        let error = case.error(block);
        println!(
            "{geometry:?}: error {:.3} without, {error:.1e} with; gain {:.3}, {:.2} dB lost; {} matrices",
            block.error_before,
            block.gain[0],
            block.snr_lost_db(),
            got.iterations
        );
        assert!(got.converged && error <= 1e-6 && block.error_before > 0.07, "{error:e}");
        assert!(got.iterations <= 5 && block.gain[0] > 0.75);
    }
}

#[test]
fn every_geometry_converges_whatever_the_wires() {
    for geometry in ALL {
        for (g_min, ohm) in [(0.0, 5.0), (1e-6, 40.0), (1e-5, 5.0), (1e-6, 0.0)] {
            let case = Case::new(geometry, 24, Cell { g_min, ..CELL }, ohm, 3);
            for gain in [ONE, PER_LANE] {
                let got = case.solve(gain);
                let error = case.error(&got.blocks[0]);
                assert!(got.converged && error <= 1e-6, "{geometry:?} {ohm} {gain:?} {error:e}");
                assert!((error - got.blocks[0].relative_error).abs() < 1e-12);
                assert!(got.iterations <= 12, "{geometry:?} {ohm} {} matrices", got.iterations);
            }
        }
    }
}

#[test]
fn perfect_wires_change_nothing() {
    for geometry in [Separate, Columns, Rows] {
        let case = Case::new(geometry, 8, CELL, 0.0, 1);
        let got = case.solve(ONE);
        assert_eq!((got.iterations, &got.blocks[0].gain[..1]), (1, &[1.0][..]));
        for ((&plus, &minus), &w) in
            got.blocks[0].plus.iter().zip(&got.blocks[0].minus).zip(&case.wanted)
        {
            let want = (CELL.g_min + w.max(0.0), CELL.g_min + (-w).max(0.0));
            assert!((plus - want.0).abs() < 1e-18 && (minus - want.1).abs() < 1e-18);
        }
    }
}

#[test]
fn no_larger_gain_is_in_reach() {
    let case = Case::new(Columns, 32, CELL, 10.0, 5);
    let largest = case.solve(ONE).blocks[0].gain[0];
    let at = |gain: f64| case.solve(Gain::Given(&[gain; 16])).blocks[0].relative_error;
    assert!(at(largest * 0.999) < 1e-6);
    assert!(at(largest * 1.01) > 1e-4);
    // Each lane by itself has no less.
    let each = case.solve(PER_LANE);
    assert!(each.blocks[0].gain.iter().all(|&gain| gain > largest * 0.99));
    assert!(each.blocks[0].snr_lost_db() < case.solve(ONE).blocks[0].snr_lost_db());
}

#[test]
fn an_allowance_buys_gain() {
    let case = Case::new(Separate, 32, CELL, 10.0, 5);
    let exact = &case.solve(ONE).blocks[0];
    let loose = &case.solve(Gain::Common { at_most: 1.0, allowance: 0.01 }).blocks[0];
    assert!((case.error(loose) - 0.01).abs() < 1e-4, "{}", loose.relative_error);
    assert!(loose.snr_lost_db() < 0.8 * exact.snr_lost_db());
}

#[test]
fn stuck_cells_stay_and_partners_do_what_they_can() {
    for geometry in ALL {
        for (share, seed) in [(0.02, 1), (0.2, 2)] {
            let case = Case::new(geometry, 24, CELL, 8.0, 9).stick(share, share, seed);
            let got = case.solve(ONE);
            let block = &got.blocks[0];
            case.check(block);
            assert!(got.converged && block.relative_error < block.error_before);
            for ((row, lane), &w) in case.wanted.indexed_iter() {
                let at = [row, lane];
                let stuck = case.stuck(row, lane);
                assert!(stuck[0].is_none_or(|g| block.plus[at] == g));
                assert!(stuck[1].is_none_or(|g| block.minus[at] == g));
                // In reach is reached, and out of reach is at the nearest end.
                let nearest = w.clamp(block.reach[0][at], block.reach[1][at]);
                let off = block.effective[at] / block.gain[lane] - nearest;
                assert!(off.abs() < 1e-5 * CELL.g_max, "{geometry:?} {row} {lane} {off:e}");
            }
        }
    }
}

/// What the box of a pair promises comes true when its cell is set there, up to what that does to losses.
#[test]
fn boxes_tell_what_a_pair_could_be_worth() {
    let case = Case::new(Columns, 16, CELL, 4.0, 2);
    let block = case.solve(ONE).blocks.remove(0);
    for at in [[0, 0], [7, 3], [15, 7]] {
        let mut pushed = block.clone();
        (pushed.plus[at], pushed.minus[at]) = (CELL.g_max, CELL.g_min);
        pushed.effective = worth_of(&case, &pushed);
        let promised = block.reach[1][at] * block.gain[0];
        assert!((pushed.effective[at] / promised - 1.0).abs() < 0.05, "{at:?}");
    }
}

/// What the cells are worth, without a claim to hold it against.
fn worth_of(case: &Case, block: &Distorted) -> Array2<f64> {
    let g = Array2::from_shape_fn((case.size.n_rows, case.size.n_cols), |(row, col)| {
        let cells = if col % 2 == 0 { &block.plus } else { &block.minus };
        cells[[row, col / 2]]
    });
    let transfer = transfer_matrix(g.view(), &case.ir_drop.wires);
    Array2::from_shape_fn(case.wanted.dim(), |(row, lane)| {
        transfer[[2 * lane, row]] - transfer[[2 * lane + 1, row]]
    })
}

#[test]
fn levels_are_kept_and_errors_are_those_of_rounding() {
    for geometry in ALL {
        for n_levels in [2, 4, 16, 64] {
            let cell = Cell { n_levels: Some(n_levels), ..CELL };
            for seed in 0..3 {
                let case = Case::new(geometry, 16, cell, 20.0, seed);
                let got = case.solve(PER_LANE);
                let block = &got.blocks[0];
                assert!(case.error(block) <= block.error_before);
                for &g in block.plus.iter().chain(&block.minus) {
                    assert!((cell.snap(g) - g).abs() < 1e-18, "{g} is no level");
                }
                // Half a step in every cell, at no loss; with few levels the step exceeds most weights.
                let step = cell.range() / f64::from(n_levels - 1);
                let half = (&block.effective / &block.gain_row() - &case.wanted) / (0.5 * step);
                let beyond = half.iter().filter(|it| it.abs() > 1.05 / block.least_gain()).count();
                assert!(n_levels < 16 || beyond == 0, "{geometry:?} {n_levels} {beyond}");
            }
            let case = Case::new(geometry, 16, cell, 20.0, 7).stick(0.1, 0.1, 1);
            let block = &case.solve(ONE).blocks[0];
            assert!(case.error(block) <= block.error_before, "{geometry:?} {n_levels}");
        }
    }
}

impl Distorted {
    fn gain_row(&self) -> Array2<f64> {
        Array2::from_shape_fn((1, self.gain.len()), |(_, lane)| self.gain[lane])
    }

    fn least_gain(&self) -> f64 {
        self.gain.iter().copied().fold(1.0, f64::min)
    }
}

/// Tiles smaller than their array, away from its corner, with slices and in any order of lines.
#[test]
fn tiles_may_sit_anywhere() {
    let mut case = Case::new(Columns, 40, CELL, 6.0, 4);
    case.wiring.plus_rows = vec![31, 7, 30, 12, 13];
    case.wiring.minus_rows = case.wiring.plus_rows.clone();
    case.wiring.plus_cols = vec![22, 24, 39, 5];
    case.wiring.minus_cols = vec![23, 25, 38, 4];
    case.wiring.n_slices = 2;
    case.wanted = case.wanted.slice(ndarray::s![..5, ..4]).to_owned();
    // A cell of another tile, and a dead one of this.
    case.fixed[0].extend([((0, 0), 5e-5), ((31, 22), 0.0)]);
    case.wanted[[0, 0]] = -0.3 * CELL.range();
    let got = case.solve(ONE);
    assert!(got.converged && case.error(&got.blocks[0]) < 1e-6);
    assert_eq!(got.blocks[0].plus[[0, 0]], 0.0);
}

#[test]
fn chips_that_are_estimated_are_corrected_so() {
    let mut case = Case::new(Columns, 32, CELL, 10.0, 4);
    case.ir_drop.method = IrDropMethod::Fast;
    let got = case.solve(ONE);
    assert!(got.converged && case.error(&got.blocks[0]) < 1e-6);
}

#[test]
fn the_same_task_has_the_same_answer() {
    let case = Case::new(Rows, 24, CELL, 8.0, 9).stick(0.05, 0.05, 4);
    assert_eq!(case.solve(PER_LANE), case.solve(PER_LANE));
}

/// Nothing to hold, nothing to lose.
#[test]
fn empty_and_zero_tiles_are_fine() {
    let mut case = Case::new(Columns, 8, CELL, 8.0, 9);
    case.wanted.fill(0.0);
    let got = case.solve(ONE);
    assert!(got.converged && got.blocks[0].relative_error < 1e-6);
    assert_eq!(got.blocks[0].snr_lost_db(), 0.0);
    case.wiring.plus_rows.clear();
    case.wiring.minus_rows.clear();
    case.wanted = Array2::zeros((0, 4));
    let got = case.solve(PER_LANE);
    assert_eq!((got.blocks[0].plus.dim(), got.blocks[0].snr_lost_db()), ((0, 4), 0.0));
}
