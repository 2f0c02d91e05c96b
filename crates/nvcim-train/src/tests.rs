//! The whole of training on small networks: gradients, another program and the simulator as referees, and
//! results that repeat.

mod golden;
mod gradients;
mod networks;
mod referee;
mod repeats;
