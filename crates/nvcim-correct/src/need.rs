//! How many copies a tile asks for: as many as make the noise of its cells small beside what its layer says.
//!
//! With one copy, cells that err and reads that differ add to the outputs of a layer, summed over them,
//!
//! ```text
//! noise = sum_ij r_j^2 (var(x_i) C(w_ij / r_j) + mean(x_i^2) R(w_ij / r_j)),    signal = sum_j var(z_j)
//! ```
//!
//! where `C` and `R` are the variances of a pair of cells and of a read of it at a share of its range, `r_j` the weight
//! that takes the whole range, `x` and `z` the clean inputs and outputs. What cells are off by meets the mean of
//! an input always alike, and the bias makes up for that; reads differ, and nothing does. `n` copies divide both by `n`:
//! `n` is chosen for `noise / n` to be an even share, among all layers, of what is [`TOLERATED`] of the signal: the noise of
//! layers adds up on its way to the outputs, and a deep network needs cleaner layers. How much of a layer's noise the rest
//! of the network forgives is not known before it is corrected.

use nvcim_chip::describe::Holds;
use nvcim_ir::ids::{IdVec, LayerId, TileId};
use nvcim_ir::tiled::TiledNet;

use crate::holding::SpreadLaw;
use crate::rows::Wish;
use crate::samples::Teacher;

/// Noise of cells in all layers together, as a share of the signal, that no more copies are spent on: 19 dB.
const TOLERATED: f64 = 0.0125;

/// The most copies that a need leads to: the noise of that many is an eighth of the noise of one.
const MOST: usize = 64;

/// The spread of pairs of cells and of reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Laws {
    /// From cell to cell.
    pub(crate) cells: SpreadLaw,
    /// From read to read.
    pub(crate) reads: SpreadLaw,
    /// Of both together.
    pub(crate) both: SpreadLaw,
}

/// Copies that tiles ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Need {
    /// The most copies of each tile.
    pub(crate) most: IdVec<TileId, usize>,
    /// Noise of one copy over what is tolerated, by layer.
    pub(crate) noise: IdVec<LayerId, f64>,
}

impl Need {
    /// The copies that a chip's file asks for, or what `wishes` need.
    pub(crate) fn find(
        net: &TiledNet,
        wishes: &IdVec<TileId, Wish>,
        teacher: &Teacher<'_>,
        laws: Laws,
        holds: &Holds,
    ) -> Self {
        let mut noise: IdVec<LayerId, f64> = net.layers.iter().map(|_| 0.0).collect();
        for (tile, wish) in net.tiles.iter().zip(wishes) {
            let squares = &teacher.input_squares[tile.layer][tile.rows.clone()];
            noise[tile.layer] += noise_of(wish, squares, laws);
        }
        let of_layer = TOLERATED / net.layers.len() as f64;
        for (noise, signal) in noise.iter_mut().zip(&teacher.output_variances) {
            *noise /= of_layer * signal.max(f64::MIN_POSITIVE);
        }
        let most = net.tiles.iter().map(|tile| most_of(noise[tile.layer], holds)).collect();
        Self { most, noise }
    }
}

/// The most copies of a tile, the noise of one copy being so many times what is tolerated.
fn most_of(noise: f64, holds: &Holds) -> usize {
    holds.copies.unwrap_or((noise.ceil() as usize).clamp(Holds::USUAL_COPIES, MOST))
}

/// What one copy of a tile adds to its outputs, summed over them, in squares of output units.
fn noise_of(wish: &Wish, squares: &[f64], Laws { cells, reads, .. }: Laws) -> f64 {
    let rows = wish.shares.outer_iter().zip(wish.energies.iter().zip(squares));
    let of_row = |(shares, (energy, square)): (ndarray::ArrayView1<'_, f64>, (&f64, &f64))| {
        let of_pair = |(share, worth): (&f64, &f64)| {
            worth * (energy * cells.at(*share) + square * reads.at(*share))
        };
        shares.iter().zip(&wish.worths).map(of_pair).sum::<f64>()
    };
    rows.map(of_row).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use nvcim_chip::describe::Holds;

    use super::{Laws, most_of, noise_of};
    use crate::holding::SpreadLaw;
    use crate::rows::Wish;

    #[test]
    fn reads_meet_the_mean_of_an_input_and_cells_do_not() {
        let law = |constant, square| SpreadLaw { constant, square };
        let wish = Wish {
            shares: Array2::from_shape_vec((2, 1), vec![0.5, -1.0]).unwrap(),
            energies: vec![1.0, 2.0],
            worths: vec![4.0],
        };
        let of = |cells, reads| noise_of(&wish, &[10.0, 20.0], Laws { cells, reads, both: cells });
        let none = law(0.0, 0.0);
        // 4 (1 (0.1 + 0.4 / 4) + 2 (0.1 + 0.4)), and ten times that.
        assert!((of(law(0.1, 0.4), none) - 4.8).abs() < 1e-12);
        assert!((of(none, law(0.1, 0.4)) - 48.0).abs() < 1e-12);
        assert_eq!(of(none, none), 0.0);
    }

    #[test]
    fn a_chip_file_that_says_how_many_has_the_last_word() {
        let free = Holds::PER_CONVERSION;
        assert_eq!(
            [0.0, 7.9, 8.1, 63.2, 1e9].map(|noise| most_of(noise, &free)),
            [8, 8, 9, 64, 64]
        );
        let two = Holds { copies: Some(2), ..free };
        assert_eq!([0.0, 1e9].map(|noise| most_of(noise, &two)), [2, 2]);
    }
}
