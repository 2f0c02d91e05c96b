//! Means and variances of every layer's inputs, as clean images make them.

use ndarray::{ArrayView2, Axis};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::TiledNet;
use nvcim_ops::float_engine::WatchedEngine;
use nvcim_ops::run_program::run_program;
use nvcim_ops::tensor::Tensor;

use crate::draw::InputMoments;

/// Looks at the inputs that `images` make, `[samples, shape...]`.
pub(crate) fn look_at_inputs(net: &TiledNet, images: &Tensor) -> IdVec<LayerId, InputMoments> {
    // Sums and sums of squares, by row.
    let mut sums: IdVec<LayerId, Vec<[f64; 2]>> =
        net.layers.iter().map(|layer| vec![[0.0; 2]; layer.shape().n_rows]).collect();
    let mut counts: IdVec<LayerId, u32> = net.layers.iter().map(|_| 0).collect();
    let mut see = |layer: LayerId, x: &ArrayView2<'_, f32>| {
        for (sums, row) in sums[layer].iter_mut().zip(x.axis_iter(Axis(0))) {
            for &x in row {
                sums[0] += f64::from(x);
                sums[1] += f64::from(x) * f64::from(x);
            }
        }
        counts[layer] += x.ncols() as u32;
    };
    let mut engine = WatchedEngine::new(&net.layers, &mut see);
    run_program(&net.program, images, 0, &mut engine, &mut |_, _| {});
    let moments = net.layers.iter().zip(&sums).zip(&counts).map(|((layer, sums), &count)| {
        let (unit, count) = (1.0 / f64::from(layer.input.full_scale), f64::from(count.max(1)));
        let mean = |[sum, _]: &[f64; 2]| sum / count * unit;
        let variance = |sums: &[f64; 2]| {
            let mean = mean(sums);
            (sums[1] / count * unit * unit - mean * mean).max(0.0)
        };
        InputMoments {
            means: sums.iter().map(|it| mean(it) as f32).collect(),
            // A row that never changes still counts a little, or a column of such rows had no gain.
            variances: sums.iter().map(|it| (variance(it) + 1e-6) as f32).collect(),
        }
    });
    moments.collect()
}
