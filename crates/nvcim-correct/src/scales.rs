//! A measurement: what the scales that `before.rs` tries for each column are worth, clipped outliers included.

use ndarray::{Array1, Array2, ArrayView1, s};
use nvcim_chip::effects::Effect;
use nvcim_chip::random::Stream;

use crate::before::SCALES;
use crate::moments::{BoxFit, Moments};

const N_ROWS: usize = 64;
const N_COLS: usize = 24;
const N_FIT: usize = 768;
const N_HELD: usize = 256;

/// A layer on cells with a programming error of the same size everywhere.
struct Layer {
    fit: Moments,
    held_out: Moments,
    w: Array2<f64>,
    /// Standard deviation of a cell, as a share of the range.
    cell: f64,
}

impl Layer {
    /// Rectified inputs that share a part; weights are normal ones, `outliers` of them five times as large.
    fn new(outliers: f64, cell: f64) -> Self {
        let stream = Stream::new(17, 0, Effect::Programming);
        let draw = |a, b, k| stream.normal([a as u32, b as u32, k, 0]);
        let n = N_FIT + N_HELD;
        let x = Array2::from_shape_fn((n, N_ROWS), |(v, row)| {
            (draw(v, row, 0) + 0.7 * draw(v, row % 4, 1)).max(0.0) as f32
        });
        let w = Array2::from_shape_fn((N_ROWS, N_COLS), |(row, col)| {
            let far = stream.uniform([row as u32, col as u32, 3, 0]) < outliers;
            draw(row, col, 2) * if far { 5.0 } else { 1.0 }
        });
        let z = x.dot(&w.mapv(|w| w as f32));
        let moments = |rows: std::ops::Range<usize>| {
            Moments::new(x.slice(s![rows.clone(), ..]), z.slice(s![rows, ..]))
        };
        Self { fit: moments(0..N_FIT), held_out: moments(N_FIT..n), w, cell }
    }

    /// Root mean square error on held-out vectors, relative to the outputs, with the best of `scales` for each
    /// column; and the share of columns whose best is below 1.
    fn error(&self, scales: &[f64]) -> [f64; 2] {
        let fit = BoxFit::new(&self.fit, self.w.view(), Array1::zeros(N_ROWS).view());
        let largest =
            |column: ArrayView1<'_, f64>| column.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
        let ranges: Array1<f64> = self.w.columns().into_iter().map(largest).collect();
        let energy = self.held_out.energies().sum();
        let mut best = vec![(f64::INFINITY, 1.0); N_COLS];
        for &scale in scales {
            let row = &ranges * scale;
            let hi = Array2::from_shape_fn((N_ROWS, N_COLS), |(_, col)| row[col]);
            let mut start = self.w.clone();
            start.zip_mut_with(&hi, |w, hi| *w = w.clamp(-hi, *hi));
            let v = fit.descend(start, (-&hi).view(), hi.view(), 24);
            let lost = self.held_out.errors(v.view());
            for (col, best) in best.iter_mut().enumerate() {
                // Both cells of a pair err.
                let cells = 2.0 * (self.cell * row[col]).powi(2) * energy;
                if lost[col] + cells < best.0 {
                    *best = (lost[col] + cells, scale);
                }
            }
        }
        let errors = best.iter().map(|(error, _)| error).sum::<f64>();
        let below = best.iter().filter(|(_, scale)| *scale < 1.0).count();
        [(errors / self.held_out.variance_z.sum()).sqrt(), below as f64 / N_COLS as f64]
    }
}

/// Narrower ranges help where cells err much; see docs/decisions/scales.md.
#[test]
#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn scales_measured() {
    let fine: Vec<f64> = (4..=30).map(|step| f64::from(step) * 0.05).collect();
    let narrow = [&SCALES[..], &[0.55, 0.4]].concat();
    println!("| outliers | cell error | scale 1 | SCALES | and 0.55, 0.4 | fine grid | clipped |");
    println!("|---|---|---|---|---|---|---|");
    for outliers in [0.0, 0.02, 0.05] {
        for cell in [0.01, 0.03, 0.1] {
            let layer = Layer::new(outliers, cell);
            let [[one, _], [grid, below], [narrower, _], [finest, _]] =
                [&SCALES[..1], &SCALES[..], &narrow[..], &fine[..]]
                    .map(|scales| layer.error(scales));
            let errors = [one, grid, narrower, finest].map(|it| format!("{:.2} %", 100.0 * it));
            let [outliers, cell, below] =
                [outliers, cell, below].map(|it| format!("{:.0} %", 100.0 * it));
            println!("| {outliers} | {cell} | {} | {below} |", errors.join(" | "));
            assert!(grid <= one && finest <= 1.001 * grid, "{one} {grid} {finest}");
        }
    }
}
