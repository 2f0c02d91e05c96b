//! A sense stage that bends its currents, in front of gains and converters.
//!
//! Arithmetic, in the kernel's type `T`, each operation rounded once, in place of steps 2 and 3 of the
//! kernel's, and in its notation:
//! 1. `y += [leakage]`, where there is any.
//! 2. Read noise that is new for each product: `y += sqrt(v) z` with `v = sum_i x_ic^2 [V_ji u^2]`.
//! 3. `y = clip(y / (1 + [n] |y|), -[limit], [limit])`, the limit infinite where there is none.
//! 4. `code = [gain / D] y + [(offset - lo) / D]`, then output noise `code += [s / D] z'`.
//!
//! z and z' are draws of their own: behind a curve the sum of both noises is no longer Gaussian, and no
//! one draw has its distribution. Where slices are added before the conversion, y is their sum: the stage
//! senses what was accumulated, leakage times the sum of the slices' weights included.
//!
//! Cost: a division per conversion, and with both noises a second draw.

use nvcim_chip::effects::nonlinearity::Curve;
use nvcim_chip::real::Real;

use super::{Currents, FreshNoise, Scratch};
use crate::drive::SliceGroup;
use crate::noise::Block;
use crate::periphery::Periphery;

/// What happens to currents between the network and the columns' gains.
#[derive(Debug, Clone)]
pub(super) struct Stage<T> {
    curve: Curve<T>,
    /// Per conversion; empty for none.
    leakage: Vec<T>,
    /// Of the reads, in currents.
    noise: Option<FreshNoise<T>>,
}

impl<T: Real> Stage<T> {
    /// The stage of `periphery`, if it has one that is not linear. Leakage counts `leaks` times.
    pub(super) fn new(periphery: &Periphery, currents: &Currents, leaks: f64) -> Option<Self> {
        let curve = periphery.stage?.curve();
        let unit = periphery.drive_unit();
        let read = periphery.read.zip(currents.variances.as_ref());
        let noise = |((_, stream), variances): ((_, _), &ndarray::Array2<f64>)| FreshNoise {
            output: None,
            deviations: vec![T::ZERO; variances.nrows()],
            read: Some((stream, variances.mapv(|variance| T::from_f64(variance * unit * unit)))),
        };
        let leakage = currents.leakage.iter().map(|leakage| T::from_f64(leaks * leakage));
        Some(Self { curve, leakage: leakage.collect(), noise: read.map(noise) })
    }

    /// Brings the currents of some slices, `[conversions, slices, columns]`, to what gains meet.
    pub(super) fn pass(
        &self,
        group: &SliceGroup<'_, T>,
        block: Block,
        n_columns: usize,
        currents: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let noise = self.noise.as_ref();
        let noise =
            noise.and_then(|noise| noise.draw(group, block, n_columns, currents.len(), scratch));
        let width = group.driven.ncols();
        for (conversion, row) in currents.chunks_exact_mut(width).enumerate() {
            if let Some(&leakage) = self.leakage.get(conversion) {
                row.iter_mut().for_each(|y| *y += leakage);
            }
            if let Some(noise) = &noise {
                noise.row(conversion, width).add(row);
            }
            row.iter_mut().for_each(|y| *y = self.curve.apply(*y));
        }
    }
}
