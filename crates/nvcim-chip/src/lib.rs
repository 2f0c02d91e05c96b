//! A chip as validated data, the effects its description calls for, and the trait every die implements.

pub mod cell;
pub mod describe;
pub mod die;
pub mod effects;
pub mod random;
pub mod record;

#[cfg(test)]
mod testing;
