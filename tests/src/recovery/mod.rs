//! What corrections bring back: one effect at a time and all at once, on third-party networks.
//!
//! [`cases`] says which chips, when and with which limits, [`networks`] on which networks and images,
//! [`results`] keeps what has been measured so that a run that was stopped goes on, [`study`] runs what is
//! missing, and [`table`] turns accuracies into the figures that `docs/recovery.md` explains.

pub mod cases;
pub mod networks;
pub mod results;
pub mod study;
pub mod table;
