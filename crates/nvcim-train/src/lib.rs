//! Hardware-aware training: fine-tunes the matrices of a tiled net so that they survive their chip.
//!
//! [`train::train`] runs batches through the net as its chip would compute it, each step on a die of its own,
//! straight through on the way back. What it learns are the matrices and biases of the layers as mapping has
//! made them, norms folded in; the digital program stays as it is. `docs/training.md` has the method.

pub mod batches;
mod convert;
mod digital;
mod draw;
mod drive;
mod loss;
mod matrix;
mod moments;
mod network;
mod pick;
mod tape;

pub mod ground;
pub mod optimizer;
pub mod train;

#[cfg(test)]
mod tests;
