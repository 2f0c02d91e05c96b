//! Linear programs stated, solved and re-checked; assignments and fits with the proof of how good they are.
//!
//! * [`assign::assign`]: the cheapest assignment of rows to distinct columns, by shortest augmenting paths.
//! * [`place::place`]: the same with pinned rows, forbidden pairs and columns that take several rows.
//! * [`fit::fit_l1`], [`fit::fit_minimax`]: least sum and least maximum of deviations, within bounds.
//! * [`program::LinearProgram`]: everything else.
//!
//! Every answer carries a lower bound on what any answer could reach, the simplex's aside. Solvers are those of
//! good_lp; none of its types shows.

pub mod assign;
pub mod fit;
pub mod place;
pub mod program;
mod scale;
mod sum;
