//! Puts trained networks onto compute-in-memory chips: the whole way in one place.
//!
//! ```text
//! ONNX bytes -> Graph -> TiledNet -> ProgrammedNet -> image -> simulated outputs -> report
//! ```
//!
//! [`pipeline::compile_model`] goes from a model to a deployment image, [`simulate`] runs an image on
//! dies, [`verify`] compares it with the float network, [`campaign`] asks what corrections are worth.

pub mod base;
pub mod calibrate;
pub mod campaign;
pub mod check;
pub mod chips;
pub mod data;
pub mod demo;
pub mod die_io;
pub mod die_reads;
pub mod diff;
pub mod explain;
pub mod export;
mod fidelity;
pub mod inspect;
pub mod measured;
pub mod model;
pub mod pipeline;
pub mod recovery;
pub mod report;
pub mod simulate;
pub mod study;
pub mod time;
pub mod trace;
pub mod train;
pub mod verify;

pub use nvcim_chip::{describe, die_file, effects, file, meaning, presets, record, unit_costs};
pub use nvcim_correct::{outcome, plan};
pub use nvcim_image::{codec, layout};
pub use nvcim_ir::{diag, ids, program, programmed};
pub use nvcim_map::{cost, map_graph, replicate};
pub use nvcim_ops::tensor;
pub use nvcim_sim::{conditions, machine, sample};
pub use nvcim_train::{batches, optimizer};
