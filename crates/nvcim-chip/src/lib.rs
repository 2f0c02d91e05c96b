//! A chip as validated data, the effects its description calls for, and the trait every die implements.

pub mod describe;
pub mod die;
pub mod effects;
pub mod record;
