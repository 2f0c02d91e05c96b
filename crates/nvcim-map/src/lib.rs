//! Graph to [`nvcim_ir::tiled::TiledNet`]: fold, lower, pack, calibrate, place.
//!
//! [`map_graph::map_graph`] is the stage, in straight-line code; one file per step beside it. What the result
//! costs, and copies of layers that would make it faster, are in [`cost`] and [`replicate`].

pub mod calibrate;
pub mod cost;
pub mod cut;
pub mod explain;
pub mod fold;
mod lattice;
pub mod lower;
pub mod map_graph;
pub mod pack;
pub mod place;
pub mod replicate;
mod span;
pub mod unfold;

#[cfg(test)]
mod testing;
