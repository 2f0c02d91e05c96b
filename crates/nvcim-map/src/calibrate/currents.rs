//! What each conversion of a tile senses: the weights it sums drives with.

use ndarray::Array2;
use nvcim_chip::describe::{Chip, Subtract};
use nvcim_ir::tiled::{MatrixLayer, Terminal};

use crate::cut::Cut;

/// The conversions of a tile, by column, positive before negative.
#[derive(Debug, Clone)]
pub(super) struct Sensed {
    /// Column and terminal of each conversion.
    pub(super) terminals: Vec<(u32, Terminal)>,
    /// Normalised current per full-scale drive, `[conversions, rows]`.
    pub(super) weights: Array2<f32>,
}

/// The conversions of a cut whose cells sit at the reachable one-sided pairs of its weights.
pub(super) fn sense_cut(layer: &MatrixLayer, cut: &Cut, chip: &Chip) -> Sensed {
    let weights = layer.weights(cut.rows.clone(), cut.cols.clone());
    let w_max = f64::from(layer.w_max);
    let pairs = weights.mapv(|weight| chip.cell.pair_for(f64::from(weight) / w_max));
    let each: &[Terminal] = match chip.arrays.subtract {
        Subtract::Analog => &[Terminal::Pair],
        Subtract::Digital => &[Terminal::Plus, Terminal::Minus],
    };
    let cols = 0..cut.cols.len() as u32;
    let terminals: Vec<_> =
        cols.flat_map(|col| each.iter().map(move |&terminal| (col, terminal))).collect();
    let weights = Array2::from_shape_fn((terminals.len(), cut.rows.len()), |(at, row)| {
        let (col, terminal) = terminals[at];
        let (plus, minus) = pairs[(row, col as usize)];
        let siemens = match terminal {
            Terminal::Pair => plus - minus,
            Terminal::Plus => plus,
            Terminal::Minus => minus,
        };
        (siemens / chip.cell.g_max) as f32
    });
    Sensed { terminals, weights }
}
