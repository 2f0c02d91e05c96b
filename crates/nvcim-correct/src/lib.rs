//! `TiledNet` in, `ProgrammedNet` out: corrections before and after programming.
//!
//! [`before::correct_before`] chooses cell targets from what is known of a die; [`after::correct_after`]
//! measures the programmed die through [`nvcim_chip::die::Die`] and sets ranges and digital scales.
//! One file per correction; [`plan::Plan`] says which of them run.

mod affine;
pub mod after;
pub mod before;
mod closest;
pub mod compensate;
pub mod localize;
pub mod plan;
mod probe;
mod ranges;
pub mod refresh;
pub mod span;
mod vectors;
