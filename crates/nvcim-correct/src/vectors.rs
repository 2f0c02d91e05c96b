//! Calibration vectors: a few input vectors of every layer, taken from clean activations.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, concatenate};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::TiledNet;
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;

/// Positions of a feature map taken from each sample. Neighbouring positions say nearly the same, so
/// that a few from many samples tell more than all of a few samples.
const POSITIONS_PER_SAMPLE: usize = 4;

/// Samples run at once: bounds memory, not results.
const SAMPLES_AT_ONCE: usize = 16;

/// Collects input vectors of every layer, `[vectors, n_rows]` in input units, from clean activations.
pub(crate) fn collect_vectors(net: &TiledNet, calibration: &Tensor) -> IdVec<LayerId, Array2<f32>> {
    let none = || net.layers.iter().map(|_| Vec::new()).collect();
    let mut collector = Collector { float: FloatEngine::new(&net.layers), taken: none() };
    let n_samples = calibration.len_of(Axis(0));
    for first in (0..n_samples).step_by(SAMPLES_AT_ONCE) {
        let last = (first + SAMPLES_AT_ONCE).min(n_samples);
        let chunk = calibration.slice_axis(Axis(0), (first..last).into()).to_owned();
        run_program(&net.program, &chunk, first as u64, &mut collector, &mut |_, _| ());
    }
    let join = |(taken, layer): (&Vec<Array2<f32>>, _)| {
        let views: Vec<_> = taken.iter().map(|part| part.view()).collect();
        let n_rows = nvcim_ir::tiled::MatrixLayer::shape(layer).n_rows;
        concatenate(Axis(0), &views).unwrap_or_else(|_| Array2::zeros((0, n_rows)))
    };
    collector.taken.iter().zip(&net.layers).map(join).collect()
}

/// Runs float matrices and keeps a few of their input vectors.
struct Collector<'a> {
    float: FloatEngine<'a>,
    taken: IdVec<LayerId, Vec<Array2<f32>>>,
}

impl MatrixEngine for Collector<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) {
        let per_sample = columns.per_sample;
        let chosen: Vec<usize> = (0..x.ncols() / per_sample)
            .flat_map(|sample| {
                let number = columns.first_sample + sample as u64;
                choose_positions(number, per_sample).map(move |it| sample * per_sample + it)
            })
            .collect();
        self.taken[layer].push(x.select(Axis(1), &chosen).reversed_axes());
        self.float.multiply(layer, columns, x, out);
    }
}

/// The positions taken from one sample, ascending.
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
    let places: std::collections::BTreeSet<usize> = (0..taken).map(place).collect();
    places.into_iter()
}

#[cfg(test)]
mod tests {
    use super::choose_positions;

    #[test]
    fn every_position_and_every_border_gets_its_share() {
        let mut taken = [0usize; 64];
        for sample in 0..256 {
            choose_positions(sample, 64).for_each(|position| taken[position] += 1);
        }
        assert!(taken.iter().all(|&count| (8..=24).contains(&count)), "{taken:?}");
        assert_eq!(choose_positions(3, 1).collect::<Vec<_>>(), [0]);
    }
}
