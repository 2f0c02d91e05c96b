//! `TiledNet` in, `ProgrammedNet` out: corrections before and after programming.
//!
//! [`before::correct_before`] chooses places and cell targets from what is known of a die
//! ([`known::Known`]); [`after::correct_after`] measures the programmed die through
//! [`nvcim_chip::die::Die`] and sets ranges and digital scales. Both go through the network layer by layer,
//! each layer fitted to what the corrected layers before it give (`samples.rs`). [`plan::Plan`] says which
//! corrections run, [`outcome::Outcome`] what each of them did.

mod affine;
pub mod affine_norm;
pub mod after;
mod ageing;
mod arrays;
pub mod before;
pub mod box_l1;
mod coarse;
pub mod compensate;
mod contributions;
mod drives;
mod faults;
mod grid;
mod holding;
pub mod ir_drop;
pub mod known;
pub mod localize;
mod moments;
mod need;
pub mod outcome;
mod piece;
mod pinned;
pub mod plan;
mod pre_distort;
mod predict;
mod probe;
mod ranges;
pub mod row_rules;
mod rows;
pub mod samples;
#[cfg(test)]
mod scales;
pub mod span;
mod yard;
