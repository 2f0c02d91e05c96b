//! A chip as validated data, the effects its description calls for, and the trait every die implements.

pub mod cell;
pub mod checks;
pub mod circuits;
pub mod closest;
pub mod coding;
pub mod describe;
pub mod device;
pub mod die;
pub mod die_file;
pub mod effects;
pub mod file;
pub mod meaning;
pub mod measured_csv;
pub mod network;
pub mod presets;
pub mod random;
pub mod reader;
pub mod real;
pub mod record;
mod source;
pub mod statistics;
pub mod unit_costs;
pub mod vary;
mod writer;

#[cfg(test)]
mod format_docs;
#[cfg(test)]
mod testing;
