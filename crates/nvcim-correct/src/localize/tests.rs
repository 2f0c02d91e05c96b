//! Fault finding on simulated columns whose faults are known.

use std::fmt::Write;

use ndarray::Array2;
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;

use super::{ArrayReads, CellNoise, FaultSearch, minimax_risk, reads_needed, search_drives};

const N_ROWS: usize = 128;

/// An array of simulated columns.
struct Simulated {
    drives: Array2<f64>,
    low: Array2<f64>,
    high: Array2<f64>,
    /// Where cells are stuck, from 0 at `g_min` to 1 at `g_max`; no number where they are not.
    stuck: Array2<f64>,
    cells: CellNoise,
}

/// How an array is made.
#[derive(Clone, Copy)]
struct Recipe {
    n_reads: usize,
    n_cols: usize,
    /// Shares of cells stuck at `g_min` and at `g_max`.
    faults: [f64; 2],
    written: f64,
    result: f64,
    /// Results per swing.
    scale: f64,
    seed: u64,
}

impl Recipe {
    fn make(self) -> Simulated {
        let Self { n_reads, n_cols, faults: [low, high], written, result, scale, seed } = self;
        let drives = search_drives(n_reads, N_ROWS, seed);
        let (places, writes, noise) = (
            Stream::new(seed, 0, Effect::Stuck),
            Stream::new(seed, 0, Effect::Programming),
            Stream::new(seed, 0, Effect::OutputNoise),
        );
        let size = (N_ROWS, n_cols);
        let stuck = Array2::from_shape_fn(size, |(row, col)| {
            let u = places.uniform([row as u32, col as u32, 1, 0]);
            if u < low {
                0.0
            } else if u < low + high {
                1.0
            } else {
                f64::NAN
            }
        });
        let cells = CellNoise {
            g_min: 1e-6,
            g_max: 101e-6,
            written: [written; 2],
            read: [0.0; 2],
            result: result * scale,
        };
        let results = |write: u32| {
            let u = Array2::from_shape_fn(size, |(row, col)| {
                let z = writes.normal([row as u32, col as u32, write, 0]);
                let at = stuck[(row, col)];
                let at = if at.is_nan() { f64::from(write) + written * z } else { at };
                // Conductances end at 0: `g_min` is 0.01 swings above it.
                (at + 0.01).max(0.0)
            });
            let mut results = drives.dot(&u);
            for ((read, col), y) in results.indexed_iter_mut() {
                let z = |k| noise.normal([read as u32, col as u32, write, k]);
                let column = |k| noise.normal([0, col as u32, 7, k]);
                let gain = scale * (1.0 + 0.1 * column(0));
                *y = gain * *y + scale * (4.0 * column(1) + result * z(0));
            }
            results
        };
        Simulated { low: results(0), high: results(1), drives, stuck, cells }
    }
}

/// Counts of what a search got right and wrong.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    stuck: usize,
    missed: usize,
    invented: usize,
    mistaken: usize,
    trusted: usize,
}

impl Simulated {
    fn search(&self) -> FaultSearch {
        let reads =
            ArrayReads { drives: self.drives.view(), low: self.low.view(), high: self.high.view() };
        FaultSearch::new(reads, self.cells).unwrap()
    }

    fn score(&self) -> Score {
        let search = self.search();
        let mut score = Score::default();
        for col in 0..self.low.ncols() {
            let found = search.find(self.low.column(col), self.high.column(col)).unwrap();
            score.trusted += usize::from(found.trusted);
            for row in 0..N_ROWS {
                let true_g = self.stuck[(row, col)];
                let finding = found.stuck.iter().find(|cell| cell.row as usize == row);
                score.stuck += usize::from(!true_g.is_nan());
                match finding {
                    None => score.missed += usize::from(!true_g.is_nan()),
                    Some(_) if true_g.is_nan() => score.invented += 1,
                    Some(cell) => {
                        let ends = [self.cells.g_min, self.cells.g_max];
                        score.mistaken += usize::from(cell.g != ends[true_g as usize]);
                    }
                }
            }
        }
        score
    }
}

/// Prints the table of `docs/corrections.md`:
/// `cargo test -p nvcim-correct --lib faults_are_found -- --nocapture`.
///
/// With the reads that [`reads_needed`] asks for, of 16 columns at most one stuck cell in a hundred is missed, at most one cell
/// in 500 accused for nothing, and of those found none is taken for the other kind; half the columns at least say that
/// they can be relied upon.
#[test]
#[expect(clippy::print_stdout, reason = "the table stands in the documentation")]
fn faults_are_found_with_the_reads_that_are_asked_for() {
    let mut table = String::from(
        "stuck low/high | programming | reads | stuck | missed | invented | wrong end\n",
    );
    for faults in [[0.0175f64, 0.0904], [0.005, 0.005], [0.05, 0.05], [0.2, 0.2]] {
        for written in [0.0, 0.03, 0.05, 0.1] {
            let result = 0.07;
            let n_reads = reads_needed(N_ROWS, faults[0].max(faults[1]), written, result);
            let recipe =
                Recipe { n_reads, n_cols: 16, faults, written, result, scale: 12.0, seed: 3 };
            let score = recipe.make().score();
            writeln!(
                table,
                "{:.2}/{:.2} % | {:.0} % | {n_reads} | {} | {} | {} | {} | trusted {}",
                100.0 * faults[0],
                100.0 * faults[1],
                100.0 * written,
                score.stuck,
                score.missed,
                score.invented,
                score.mistaken,
                score.trusted
            )
            .unwrap();
            assert!(100 * score.missed <= score.stuck, "{table}");
            assert!(500 * score.invented <= 16 * N_ROWS, "{table}");
            assert_eq!(score.mistaken, 0, "{table}");
            assert!(score.trusted >= 8, "{table}");
        }
    }
    println!("{table}");
}

/// 48 reads of 128 rows: what programming error makes of a number of reads that does without it.
/// `cargo test -p nvcim-correct --lib forty_eight -- --nocapture` prints the table.
#[test]
#[expect(clippy::print_stdout, reason = "the table stands in the documentation")]
fn forty_eight_reads_do_only_where_writing_is_nearly_exact() {
    let mut wrong = Vec::new();
    for written in [0.0, 0.03, 0.05, 0.1, 0.15] {
        let faults = [0.0175, 0.0904];
        let recipe =
            Recipe { n_reads: 48, n_cols: 24, faults, written, result: 0.07, scale: 1.0, seed: 6 };
        let score = recipe.make().score();
        println!("programming {written}: {score:?}");
        wrong.push(score.missed + score.invented + score.mistaken);
    }
    assert!(wrong[0] <= 1, "{wrong:?}");
    assert!(wrong[4] >= 10, "{wrong:?}");
}

/// What is honest: with half the reads that are needed, columns are wrong, and say so.
#[test]
fn too_few_reads_are_noticed() {
    let faults = [0.2, 0.2];
    let n_reads = reads_needed(N_ROWS, 0.2, 0.03, 0.07) / 2;
    let recipe =
        Recipe { n_reads, n_cols: 8, faults, written: 0.03, result: 0.07, scale: 1.0, seed: 5 };
    let score = recipe.make().score();
    assert!(score.missed > score.stuck / 20, "{score:?}");
    assert_eq!(score.trusted, 0, "{score:?}");
}

/// A line that answers nothing, one that is stuck at its highest throughout, and a clipped result.
#[test]
fn dead_lines_and_clipped_results_are_seen_through() {
    let recipe = Recipe {
        n_reads: 64,
        n_cols: 4,
        faults: [0.02, 0.02],
        written: 0.03,
        result: 0.07,
        scale: 5.0,
        seed: 8,
    };
    let mut array = recipe.make();
    array.low.column_mut(0).fill(3.0);
    array.high.column_mut(0).fill(3.0);
    let full = array.drives.sum_axis(ndarray::Axis(1)) * 5.0 * 1.01;
    array.low.column_mut(1).assign(&full);
    array.high.column_mut(1).assign(&full);
    // Two of 64 codes of a column stand at an end of their range, far from what they should say.
    array.low[(7, 2)] += 5.0 * 4.0;
    array.high[(9, 2)] -= 5.0 * 4.0;
    let search = array.search();
    let find = |col| search.find(array.low.column(col), array.high.column(col)).unwrap();
    let dead = find(0);
    assert_eq!(dead.stuck.len(), N_ROWS);
    assert!(dead.stuck.iter().all(|cell| cell.g == 0.0), "{dead:?}");
    let full = find(1);
    assert_eq!(full.stuck.len(), N_ROWS);
    assert!(full.stuck.iter().all(|cell| (cell.g - 101e-6).abs() < 15e-6), "{full:?}");
    let clipped = find(2);
    let truth = (0..N_ROWS as u32).filter(|row| !array.stuck[(*row as usize, 2)].is_nan());
    let found = clipped.stuck.iter().map(|cell| cell.row);
    assert_eq!(found.collect::<Vec<_>>(), truth.collect::<Vec<_>>(), "{clipped:?}");
    assert!(!clipped.trusted, "{clipped:?}");
}

/// Gain and offset are those of the column, whatever the unit.
#[test]
fn the_column_is_measured_beside_its_faults() {
    let recipe = Recipe {
        n_reads: 64,
        n_cols: 6,
        faults: [0.05, 0.05],
        written: 0.0,
        result: 0.02,
        scale: 1e-6,
        seed: 2,
    };
    let array = recipe.make();
    let search = array.search();
    for col in 0..6 {
        let found = search.find(array.low.column(col), array.high.column(col)).unwrap();
        let z = |k| Stream::new(2, 0, Effect::OutputNoise).normal([0, col as u32, 7, k]);
        // Four standard errors of an offset from 64 reads at a noise of 0.02, their sums varying by a tenth.
        assert!((found.offset / 1e-6 - 4.0 * z(1)).abs() < 0.15, "{found:?}");
        assert!((found.gain / 1e-6 - (1.0 + 0.1 * z(0))).abs() < 0.005, "{found:?}");
        assert!(found.stuck.iter().all(|cell| cell.confidence > 0.999), "{found:?}");
    }
}

/// Cells stuck in between lose their swing half at either write.
#[test]
fn cells_stuck_in_between_are_found_where_they_stand() {
    let recipe = Recipe {
        n_reads: 72,
        n_cols: 4,
        faults: [0.0, 0.06],
        written: 0.02,
        result: 0.05,
        scale: 1.0,
        seed: 4,
    };
    let mut array = recipe.make();
    // Stuck at 0.6 rather than 1: 0.4 swings less in both results.
    let ease = array.stuck.mapv(|at| if at.is_nan() { 0.0 } else { 0.4 });
    let less = array.drives.dot(&ease);
    for col in 0..4 {
        let z = Stream::new(4, 0, Effect::OutputNoise).normal([0, col as u32, 7, 0]);
        let gain = 1.0 + 0.1 * z;
        for read in 0..72 {
            array.low[(read, col)] -= gain * less[(read, col)];
            array.high[(read, col)] -= gain * less[(read, col)];
        }
    }
    let search = array.search();
    for col in 0..4 {
        let found = search.find(array.low.column(col), array.high.column(col)).unwrap();
        let truth = (0..N_ROWS as u32).filter(|row| !array.stuck[(*row as usize, col)].is_nan());
        let rows: Vec<u32> = found.stuck.iter().map(|cell| cell.row).collect();
        assert_eq!(rows, truth.collect::<Vec<_>>());
        for cell in &found.stuck {
            assert!((cell.g - 61e-6).abs() < 12e-6, "{cell:?}");
        }
    }
}

#[test]
fn results_that_cannot_be_are_refused() {
    let recipe = Recipe {
        n_reads: 8,
        n_cols: 2,
        faults: [0.0, 0.0],
        written: 0.0,
        result: 0.01,
        scale: 1.0,
        seed: 1,
    };
    let array = recipe.make();
    let refused = |reads: ArrayReads<'_>, what: &str| {
        let problems = FaultSearch::new(reads, array.cells).unwrap_err();
        assert!(problems[0].to_string().contains(what), "{problems:?}");
    };
    let (drives, low, high) = (array.drives.view(), array.low.view(), array.high.view());
    refused(ArrayReads { drives, low: high, high: low }, "no columns whose results rise");
    let short = array.low.slice(ndarray::s![..7, ..]);
    refused(ArrayReads { drives, low: short, high }, "for 8 reads");
    let double = &array.drives * 2.0;
    refused(ArrayReads { drives: double.view(), low, high }, "must be 0 to 1");
    let broken = &array.low * f64::NAN;
    refused(ArrayReads { drives, low: broken.view(), high }, "no finite number");
}

/// The risk of keeping everything is 1, of a column without faults 0; in between, published values of the weak
/// threshold for deviations of one sign: at a share of 0.1 about a quarter of the entries must be measured.
#[test]
fn more_faults_need_more_reads() {
    assert!((minimax_risk(1.0) - 1.0).abs() < 1e-9);
    assert!(minimax_risk(0.0) < 1e-9);
    let risks: Vec<f64> = (0..=10).map(|tenth| minimax_risk(f64::from(tenth) / 10.0)).collect();
    assert!(risks.windows(2).all(|pair| pair[0] < pair[1]), "{risks:?}");
    assert!((0.22..0.3).contains(&risks[1]), "{risks:?}");
    assert!(reads_needed(128, 0.1, 0.1, 0.0) > reads_needed(128, 0.1, 0.0, 0.0) + 40);
}
