//! Graph to [`nvcim_ir::tiled::TiledNet`]: fold, lower, cut, calibrate, place.
//!
//! [`map_graph::map_graph`] is the stage, in straight-line code; one file per step beside it.

pub mod calibrate;
pub mod cut;
pub mod explain;
pub mod fold;
mod lattice;
pub mod lower;
pub mod map_graph;
pub mod place;

#[cfg(test)]
mod testing;
