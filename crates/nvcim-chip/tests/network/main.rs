//! Array networks against circuits solved in the dense way, which share no code with them.

mod circuit;
mod gated;
mod passive;
