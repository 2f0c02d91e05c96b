//! Linear programs stated, solved and re-checked; assignments with their certificates.
//!
//! [`assign::assign`] finds the cheapest assignment of rows to columns by shortest augmenting paths, and hands out a
//! lower bound on the cost of all assignments beside it.

pub mod assign;
pub mod fit;
pub mod place;
pub mod program;
mod sum;
