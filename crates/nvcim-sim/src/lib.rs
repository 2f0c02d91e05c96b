//! Runs a deployment image on a simulated die.
//!
//! The way of a weight: [`sample`] draws what a lab could measure of a die, [`die`] programs cells on it
//! and answers as a bench would, [`kernel`] turns what they do into prepared conversions, [`tile`] gives
//! each its worth, and [`machine`] runs the image with them. Only the image and the die record are read,
//! never the network that was compiled: what is computed here, the image alone has said.

pub mod check;
pub mod circuits;
pub mod clips;
pub mod conditions;
pub mod die;
pub mod drive;
pub mod engine;
pub mod kernel;
pub mod machine;
pub mod noise;
pub mod periphery;
pub mod record;
pub mod sample;
mod tap;
pub mod tile;

mod answer;
mod cells;
mod network;
mod prepared;
mod room;
#[cfg(test)]
mod testing;
mod wired;
