//! Digital operators as pure functions, and the executors built on them.
//!
//! Calibration, correction and simulation all compute the digital part of a network here. An operator
//! maps tensors `[samples, sample shape...]` to one such tensor; what it does to a sample depends on
//! that sample alone, bit for bit, so any split of a batch gives the same bytes. Operators rely on the
//! verifiers of `nvcim-ir`: shapes, constants and axes that passed there cannot fail here.

pub mod batch_norm;
pub mod binary;
pub mod conv;
pub mod dense;
pub mod float_engine;
pub mod im2col;
pub mod layout;
pub mod mat_mul;
pub mod normalize;
pub mod pool;
pub mod reduce;
pub mod run_graph;
pub mod run_program;
pub mod scan;
pub mod softmax;
pub mod tensor;
pub mod unary;

mod apply;
mod store;
#[cfg(test)]
mod testing;
mod walk;
