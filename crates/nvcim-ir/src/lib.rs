//! The nouns of the toolchain: what each stage hands to the next.
//!
//! [`graph::Graph`] -> [`tiled::TiledNet`] -> [`programmed::ProgrammedNet`]; both later nouns carry the
//! digital [`program::Program`] that surrounds the matrices. No behaviour but `verify` and printing.
//!
//! One convention holds everywhere: a tensor's shape is the shape of *one sample*. The batch axis is
//! always axis 0 of the arrays that executors move, and never appears in a shape, axis or permutation
//! stored here. An operator that would mix samples is refused by the front end.

pub mod diag;
mod finite;
pub mod graph;
pub mod ids;
pub mod op;
pub mod program;
pub mod programmed;
pub mod shape;
pub mod tiled;
