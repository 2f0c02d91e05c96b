//! The walk through a network, layer by layer: what a layer gets from the corrected layers before it,
//! beside what the float network would have made of the same images.
//!
//! A *teacher* runs the calibration images once in float and keeps, at a few positions of each image,
//! every layer's clean outputs `z`. A *student*, a corrected net as it is predicted or measured, then runs
//! the same images; when the inputs `x` of a layer arrive, those at the same positions are set beside `z`,
//! the student fits the layer to them, and goes on with what the fitted layer makes of all inputs. So every
//! layer makes up for what the layers before it left wrong, as far as it can.
//!
//! A layer that several steps use is fitted when its first inputs arrive, to vectors of all its uses. What the
//! student would bring to later uses depends on the fit itself, as the state of a recurrent layer does; the
//! clean inputs of the teacher stand in for them.
//!
//! The last quarter of the images is held out: a correction that does not help there is dropped.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, concatenate, s};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::program::{LayerUse, group_uses};
use nvcim_ir::tiled::{MatrixLayer, TiledNet};
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_program::{Columns, LayerInputs, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;

/// Positions of a feature map taken from each image. Neighbouring positions say nearly the same, so
/// that a few from many images tell more than all of a few images.
const POSITIONS_PER_SAMPLE: usize = 12;

/// Images that the teacher runs at once: bounds memory, not results.
const SAMPLES_AT_ONCE: usize = 16;

/// The share of images that layers are fitted to, in quarters.
const FIT_QUARTERS: usize = 3;

/// The vectors of one layer that fits look at: those that it is fitted to before those that are held out, by use
/// of the layer, in the order of their images.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Samples {
    /// Inputs as the student has them, `[vectors, n_rows]`, in input units.
    pub(crate) x: Array2<f32>,
    /// Outputs as the teacher has them, bias included, `[vectors, n_cols]`, in output units.
    pub(crate) z: Array2<f32>,
    /// The first vectors, which layers are fitted to; the others are held out.
    pub(crate) n_fit: usize,
}

impl Samples {
    /// Inputs to fit to.
    pub(crate) fn fit_x(&self) -> ArrayView2<'_, f32> {
        self.x.slice(s![..self.n_fit, ..])
    }

    /// The first vector of those that are held out: at least one is.
    pub(crate) fn first_held_out(&self) -> usize {
        self.n_fit.min(self.z.nrows().saturating_sub(1))
    }

    /// Inputs that are held out.
    pub(crate) fn held_out_x(&self) -> ArrayView2<'_, f32> {
        self.x.slice(s![self.first_held_out().., ..])
    }

    /// Outputs that are held out.
    pub(crate) fn held_out_z(&self) -> ArrayView2<'_, f32> {
        self.z.slice(s![self.first_held_out().., ..])
    }

    /// Outputs to fit to.
    pub(crate) fn fit_z(&self) -> ArrayView2<'_, f32> {
        self.z.slice(s![..self.n_fit, ..])
    }
}

/// Unlabelled calibration images and what the float network makes of them.
#[derive(Debug, Clone)]
pub struct Teacher<'a> {
    /// `[samples, sample shape...]`.
    images: &'a Tensor,
    /// What is kept of each use of each layer.
    kept: IdVec<LayerId, Vec<Kept>>,
    /// Mean squares of clean inputs about their means, `[n_rows]`, in squares of input units.
    pub(crate) input_variances: IdVec<LayerId, Vec<f64>>,
    /// Mean squares of clean inputs, `[n_rows]`, in squares of input units.
    pub(crate) input_squares: IdVec<LayerId, Vec<f64>>,
    /// Mean squares of clean outputs about their means, summed over outputs, in squares of output units.
    pub(crate) output_variances: IdVec<LayerId, f64>,
}

impl<'a> Teacher<'a> {
    /// Runs `images`, `[samples, sample shape...]`, in float.
    pub fn new(net: &TiledNet, images: &'a Tensor) -> Self {
        let n_samples = images.len_of(Axis(0));
        let uses = group_uses(&net.program, net.layers.len());
        let blank = |uses: &Vec<LayerUse>| uses.iter().map(|_| Seen::default()).collect();
        let mut watcher = Watcher {
            float: FloatEngine::new(&net.layers),
            seen: uses.iter().map(blank).collect(),
            chooser: Chooser { uses: &uses },
        };
        for first in (0..n_samples).step_by(SAMPLES_AT_ONCE) {
            let last = (first + SAMPLES_AT_ONCE).min(n_samples);
            let chunk = images.slice_axis(Axis(0), (first..last).into()).to_owned();
            run_program(&net.program, &chunk, first as u64, &mut watcher, &mut |_, _| ());
        }
        let keep = |(seen, layer): (&Vec<Seen>, &MatrixLayer)| -> Vec<Kept> {
            let shape = layer.shape();
            let keep = |seen: &Seen| Kept {
                samples: seen.samples.clone(),
                x: join(&seen.inputs, shape.n_rows),
                z: join(&seen.outputs, shape.n_cols),
            };
            seen.iter().map(keep).collect()
        };
        let mut kept: IdVec<LayerId, Vec<Kept>> =
            watcher.seen.iter().zip(&net.layers).map(keep).collect();
        let join = |kept: &[Kept], part: fn(&Kept) -> ArrayView2<'_, f32>| {
            let parts: Vec<_> = kept.iter().map(part).collect();
            concatenate(Axis(0), &parts).expect("vectors of a layer have one length")
        };
        let inputs = || kept.iter().map(|kept| join(kept, |it| it.x.view()));
        let input_variances = inputs().map(|x| variances(x.view())).collect();
        let input_squares = inputs().map(|x| squares(x.view())).collect();
        let outputs = kept.iter().map(|kept| join(kept, |it| it.z.view()));
        let output_variances = outputs.map(|z| variances(z.view()).iter().sum()).collect();
        for first in kept.iter_mut().filter_map(|uses| uses.first_mut()) {
            // The student brings its own.
            first.x = Array2::zeros((0, 0));
        }
        Self { images, kept, input_variances, input_squares, output_variances }
    }
}

/// What the teacher keeps of one use of a layer, in the order of the images.
#[derive(Debug, Clone)]
struct Kept {
    /// The image of each vector.
    samples: Vec<u64>,
    /// Clean inputs at the chosen positions, `[vectors, n_rows]`; none for a first use.
    x: Array2<f32>,
    /// Clean outputs there, `[vectors, n_cols]`.
    z: Array2<f32>,
}

/// A corrected net on its way through the calibration images.
pub(crate) trait Student {
    /// Fits a layer to its inputs, right after they have arrived.
    fn fit(&mut self, layer: LayerId, samples: &Samples) -> Result<()>;

    /// Overwrites `out`, `[n_cols, columns]`, with what the fitted layer makes of `x`, `[n_rows, columns]`.
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<()>;
}

/// Takes a student through the network, on the images that the teacher has seen.
///
/// # Errors
/// The first that the student has.
pub(crate) fn walk(net: &TiledNet, teacher: &Teacher<'_>, student: &mut dyn Student) -> Result<()> {
    let images = teacher.images;
    let uses = group_uses(&net.program, net.layers.len());
    let mut walker = Walker {
        chooser: Chooser { uses: &uses },
        teacher,
        student,
        met: BTreeSet::new(),
        n_fit_images: (images.len_of(Axis(0)) * FIT_QUARTERS).div_ceil(4),
        problems: Vec::new(),
    };
    run_program(&net.program, images, 0, &mut walker, &mut |_, _| ());
    nvcim_ir::diag::fail_if_any(walker.problems)
}

struct Walker<'a> {
    chooser: Chooser<'a>,
    teacher: &'a Teacher<'a>,
    student: &'a mut dyn Student,
    met: BTreeSet<LayerId>,
    n_fit_images: usize,
    problems: Vec<Diagnostic>,
}

impl MatrixEngine for Walker<'_> {
    fn meet(&mut self, layer: LayerId, inputs: &LayerInputs<'_>) {
        if !self.problems.is_empty() || !self.met.insert(layer) {
            return;
        }
        let mut parts = Vec::new();
        inputs.for_each(|columns, x| {
            let (chosen, _) = self.chooser.choose_columns(layer, columns, x.ncols());
            parts.push(x.select(Axis(1), &chosen).reversed_axes());
        });
        let samples = self.gather(&self.teacher.kept[layer], &join(&parts, 0));
        if let Err(problems) = self.student.fit(layer, &samples) {
            self.problems = problems;
        }
    }

    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        if self.problems.is_empty() {
            if let Err(problems) = self.student.multiply(layer, columns, x, out) {
                self.problems = problems;
            }
        } else {
            out.fill(0.0);
        }
    }
}

impl Walker<'_> {
    /// The vectors of all uses of a layer, the inputs of the first one being `x`.
    fn gather(&self, kept: &[Kept], x: &Array2<f32>) -> Samples {
        // Vectors lie in the order of their images.
        let n_fit = |kept: &Kept| kept.samples.partition_point(|&it| it < self.n_fit_images as u64);
        let inputs = std::iter::once(x).chain(kept.iter().skip(1).map(|kept| &kept.x));
        let mut parts = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for (kept, x) in kept.iter().zip(inputs) {
            let n_fit = n_fit(kept);
            parts[0].push(x.slice(s![..n_fit, ..]));
            parts[1].push(x.slice(s![n_fit.., ..]));
            parts[2].push(kept.z.slice(s![..n_fit, ..]));
            parts[3].push(kept.z.slice(s![n_fit.., ..]));
        }
        let [fit_x, held_x, fit_z, held_z] = parts;
        let join = |fit: Vec<_>, held: Vec<_>| {
            concatenate(Axis(0), &[fit, held].concat()).expect("a layer's vectors have one length")
        };
        Samples {
            x: join(fit_x, held_x),
            z: join(fit_z, held_z),
            n_fit: kept.iter().map(n_fit).sum(),
        }
    }
}

/// Runs float matrices and keeps a few of their vectors.
struct Watcher<'a> {
    float: FloatEngine<'a>,
    seen: IdVec<LayerId, Vec<Seen>>,
    chooser: Chooser<'a>,
}

/// The vectors kept of one use of a layer, call by call.
#[derive(Default)]
struct Seen {
    samples: Vec<u64>,
    inputs: Vec<Array2<f32>>,
    outputs: Vec<Array2<f32>>,
}

impl MatrixEngine for Watcher<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        self.float.multiply(layer, columns, x, out.view_mut());
        let (chosen, samples) = self.chooser.choose_columns(layer, columns, x.ncols());
        let seen = &mut self.seen[layer][columns.layer_use.number as usize];
        seen.samples.extend(samples);
        seen.inputs.push(x.select(Axis(1), &chosen).reversed_axes());
        seen.outputs.push(out.select(Axis(1), &chosen).reversed_axes());
    }
}

fn join(parts: &[Array2<f32>], width: usize) -> Array2<f32> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(0), &views).unwrap_or_else(|_| Array2::zeros((0, width)))
}

fn variances(x: ArrayView2<'_, f32>) -> Vec<f64> {
    let n = x.nrows().max(1) as f64;
    let of_column = |column: ndarray::ArrayView1<'_, f32>| {
        let mean = column.iter().fold(0.0, |sum, &x| sum + f64::from(x)) / n;
        column.iter().fold(0.0, |sum, &x| sum + (f64::from(x) - mean) * (f64::from(x) - mean)) / n
    };
    x.columns().into_iter().map(of_column).collect()
}

fn squares(x: ArrayView2<'_, f32>) -> Vec<f64> {
    let n = x.nrows().max(1) as f64;
    let of_column = |column: ndarray::ArrayView1<'_, f32>| {
        column.iter().fold(0.0, |sum, &x| sum + f64::from(x) * f64::from(x)) / n
    };
    x.columns().into_iter().map(of_column).collect()
}

/// Chooses vectors of layers: some of the positions of all uses together.
#[derive(Clone, Copy)]
struct Chooser<'a> {
    uses: &'a IdVec<LayerId, Vec<LayerUse>>,
}

impl Chooser<'_> {
    /// The columns taken of `n_columns`, and the sample of each.
    fn choose_columns(
        &self,
        layer: LayerId,
        columns: Columns,
        n_columns: usize,
    ) -> (Vec<usize>, Vec<u64>) {
        let Columns { first_sample, per_sample, layer_use } = columns;
        let uses = &self.uses[layer];
        let first = uses[layer_use.number as usize].first_position;
        let n_positions = uses.iter().map(|it| it.n_positions).sum();
        let chosen = (first_sample..).zip((0..n_columns).step_by(per_sample));
        let chosen = chosen.flat_map(|(sample, start)| {
            let here = choose_positions(sample, n_positions)
                .filter(move |it| (first..first + per_sample).contains(it));
            here.map(move |it| (start + it - first, sample))
        });
        chosen.unzip()
    }
}

/// The positions taken from one sample, ascending; `per_sample` are there.
///
/// Steps of the golden ratio spread evenly over any number of positions, and no regular grid of a
/// feature map, such as its left border, catches more than its share.
fn choose_positions(sample: u64, per_sample: usize) -> impl Iterator<Item = usize> {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    let taken = POSITIONS_PER_SAMPLE.min(per_sample) as u64;
    let place = |k: u64| {
        let turns = (sample * taken + k) as f64 * GOLDEN;
        (((turns - turns.floor()) * per_sample as f64) as usize).min(per_sample - 1)
    };
    let places: BTreeSet<usize> = (0..taken).map(place).collect();
    places.into_iter()
}

#[cfg(test)]
mod tests {
    use super::{POSITIONS_PER_SAMPLE, choose_positions};

    #[test]
    fn every_position_and_every_border_gets_its_share() {
        let mut taken = [0usize; 64];
        for sample in 0..256 {
            choose_positions(sample, 64).for_each(|position| taken[position] += 1);
        }
        let fair = 256 * POSITIONS_PER_SAMPLE / 64;
        assert!(taken.iter().all(|&count| count >= fair / 2 && count <= fair * 3 / 2), "{taken:?}");
        assert_eq!(choose_positions(3, 1).collect::<Vec<_>>(), [0]);
    }
}
