//! The format from outside: round trips, golden files, damage, and well-sealed nonsense.

mod crafted;
mod damage;
mod docs;
mod golden;
mod operators;
#[path = "../hostile/reseal.rs"]
mod reseal;
mod round_trip;
mod sample;
