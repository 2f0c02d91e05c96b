//! Graph to [`nvcim_ir::tiled::TiledNet`]: fold, lower, pack, calibrate, place.
//!
//! [`map_graph::map_graph`] is the stage, in straight-line code; one file per step beside it.

pub mod calibrate;
pub mod cut;
pub mod explain;
pub mod fold;
pub mod lower;
pub mod map_graph;
pub mod pack;
pub mod place;

#[cfg(test)]
mod testing;
