//! A tile's conversions in one step of training: currents with noise become codes, codes become output.
//!
//! Per conversion and input vector, as on the chip (see `nvcim-sim`'s kernel):
//!
//! ```text
//! y    = sum x^ V + read noise              V normalised current per full-scale drive
//! code = rint(clip((gain stage(y) + offset - lo) / D + output noise, 0, max_code))
//! out += counts scale (lo + D code)
//! ```
//!
//! Independent noise before a linear stage and after it is drawn as one Gaussian with the sum of the variances.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use nvcim_chip::effects::nonlinearity::Curve;
use nvcim_chip::random::Stream;
use nvcim_chip::real::Real;

use crate::drive::Part;

/// Names the draws of one conversion: what is converted where.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Key {
    /// The number of the step that uses the layer.
    pub(crate) step: usize,
    /// The tile's number in its layer.
    pub(crate) tile: usize,
    /// The chunk's number in its batch.
    pub(crate) chunk: usize,
    /// The piece's number in its chunk.
    pub(crate) piece: usize,
}

impl Key {
    /// The place of the draws of a part. Nothing here counts beyond 16 bits but in absurd networks, whose
    /// draws would return.
    pub(crate) fn place(self, part: usize) -> [u32; 3] {
        let pair = |high: usize, low: usize| (high as u32) << 16 | (low as u32 & 0xffff);
        [pair(self.step, self.tile), pair(self.chunk, self.piece), part as u32]
    }
}

/// The conversions of a tile.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    /// Normalised current per full-scale drive, `[conversions, rows]`.
    pub(crate) currents: Array2<f32>,
    /// Variance of the normalised current per squared full-scale drive, where reads are noisy.
    pub(crate) variances: Option<Array2<f32>>,
    /// The sense stage, where it is not linear.
    pub(crate) stage: Option<Curve<f32>>,
    /// The way of each current to its code and on.
    pub(crate) ways: Vec<Way>,
    /// The highest code; `None` for converters that neither round nor clip.
    pub(crate) max_code: Option<f32>,
    /// The draws of read noise.
    pub(crate) read: Stream,
    /// The draws of output noise.
    pub(crate) output: Stream,
    /// Output per unit of summed drive over the tile's rows, `[columns]`; empty for none.
    pub(crate) drive_sum: Vec<f32>,
}

/// One conversion's way from current to output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// The tile's column; `None` for all of them.
    pub(crate) col: Option<usize>,
    /// Codes per normalised current, gain included.
    pub(crate) per_current: f32,
    /// The code of no current.
    pub(crate) at_rest: f32,
    /// The current of code 0.
    pub(crate) lo: f32,
    /// Current per code.
    pub(crate) step: f32,
    /// Output per normalised current.
    pub(crate) scale: f32,
    /// Standard deviation of the output noise as a current in front of the column's gain, 0 for none.
    pub(crate) output_sd: f32,
}

/// Where a tile's columns were clipped, `[columns, input vectors]`; empty for nowhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clipped(Vec<bool>);

impl Clipped {
    /// The gradient of a tile's outputs without what was clipped; `None` where all of it passes.
    pub(crate) fn mask(&self, gradient: ArrayView2<'_, f32>) -> Option<Array2<f32>> {
        (!self.0.is_empty()).then(|| {
            let open = gradient.iter().zip(&self.0);
            let open = open.map(|(gradient, clipped)| if *clipped { 0.0 } else { *gradient });
            Array2::from_shape_vec(gradient.dim(), open.collect()).expect("one mark per output")
        })
    }
}

impl Converter {
    /// Converts the currents of all `parts` and adds what they are worth to `out`, `[columns, input vectors]`.
    pub(crate) fn convert(
        &self,
        parts: &[Part<'_>],
        rows: Range<usize>,
        mut out: ArrayViewMut2<'_, f32>,
        key: Key,
    ) -> Clipped {
        let (n_cols, width) = out.dim();
        let mut marks = vec![false; n_cols * width];
        let mut any = false;
        let mut y = Array2::zeros((self.ways.len(), width));
        let mut worth = vec![0.0; width];
        for (at, part) in parts.iter().enumerate() {
            let drives = part.drives.slice(s![rows.clone(), ..]);
            general_mat_mul(1.0, &self.currents, &drives, 0.0, &mut y);
            let noise = self.draw_noise(drives, &mut y, key.place(at));
            for (conversion, (way, y)) in self.ways.iter().zip(y.outer_iter()).enumerate() {
                let y = y.to_slice().expect("rows of a standard layout");
                let noise = noise.as_ref().map(|noise| &noise[conversion * width..][..width]);
                let exact = |at: usize| {
                    let noise = noise.map_or(0.0, |noise| noise[at]);
                    way.per_current * (y[at] + noise) + way.at_rest
                };
                let marks = way.col.map(|col| &mut marks[col * width..][..width]);
                any |= self.settle(exact, way, marks, &mut worth);
                let scale = part.counts * way.scale;
                let mut gain = |col: usize| {
                    let out = out.row_mut(col);
                    out.into_iter().zip(&worth).for_each(|(out, worth)| *out += scale * worth);
                };
                match way.col {
                    Some(col) => gain(col),
                    None => (0..n_cols).for_each(gain),
                }
            }
            self.add_drive_sums(part.counts, drives, &mut out);
        }
        Clipped(if any { marks } else { Vec::new() })
    }

    /// Brings exact codes to the currents that settled ones stand for, and marks those that were clipped.
    fn settle(
        &self,
        exact: impl Fn(usize) -> f32,
        way: &Way,
        marks: Option<&mut [bool]>,
        worth: &mut [f32],
    ) -> bool {
        let Some(max_code) = self.max_code else {
            worth.iter_mut().enumerate().for_each(|(at, to)| *to = way.lo + way.step * exact(at));
            return false;
        };
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        for (at, worth) in worth.iter_mut().enumerate() {
            let code = exact(at);
            least = if code < least { code } else { least };
            most = if code > most { code } else { most };
            *worth = way.lo + way.step * code.clamp(0.0, max_code).round_half_even();
        }
        if least >= 0.0 && most <= max_code {
            return false;
        }
        let Some(marks) = marks else { return false };
        for (at, mark) in marks.iter_mut().enumerate() {
            let code = exact(at);
            *mark |= !(0.0..=max_code).contains(&code);
        }
        true
    }

    /// Lets currents pass a stage that is not linear, and returns what noise is left to add to them, in
    /// normalised current in front of the column's gain, `[conversions, input vectors]`.
    fn draw_noise(
        &self,
        drives: ArrayView2<'_, f32>,
        y: &mut Array2<f32>,
        place: [u32; 3],
    ) -> Option<Vec<f32>> {
        let width = drives.ncols();
        let draw = |stream: &Stream| {
            let mut z = vec![0.0; self.ways.len() * width];
            stream.fill_normals(place, &mut z);
            z
        };
        let of_reads = self.variances.as_ref().map(|variances| {
            let squares = drives.mapv(|drive| drive * drive);
            let mut sums = Array2::zeros(y.dim());
            general_mat_mul(1.0, variances, &squares, 0.0, &mut sums);
            sums
        });
        let mut fresh = of_reads;
        if let Some(stage) = &self.stage {
            if let Some(variances) = fresh.take() {
                let noisy = y.iter_mut().zip(draw(&self.read)).zip(&variances);
                noisy.for_each(|((y, z), variance)| *y += variance.max(0.0).sqrt() * z);
            }
            y.mapv_inplace(|y| stage.apply(y));
        }
        let has_output = self.ways.iter().any(|way| way.output_sd > 0.0);
        let mut z = match &fresh {
            None if !has_output => return None,
            None => draw(&self.output),
            Some(_) => draw(&self.read),
        };
        for (at, (way, z)) in self.ways.iter().zip(z.chunks_exact_mut(width)).enumerate() {
            let of_output = way.output_sd * way.output_sd;
            match &fresh {
                None => z.iter_mut().for_each(|z| *z *= way.output_sd),
                Some(variances) => {
                    let sums = z.iter_mut().zip(variances.row(at));
                    sums.for_each(|(z, sum)| *z *= (sum.max(0.0) + of_output).sqrt());
                }
            }
        }
        Some(z)
    }

    fn add_drive_sums(
        &self,
        counts: f32,
        drives: ArrayView2<'_, f32>,
        out: &mut ArrayViewMut2<'_, f32>,
    ) {
        if self.drive_sum.is_empty() {
            return;
        }
        let sums = drives.sum_axis(ndarray::Axis(0));
        for (mut out, &worth) in out.outer_iter_mut().zip(&self.drive_sum) {
            out.scaled_add(counts * worth, &sums);
        }
    }
}
