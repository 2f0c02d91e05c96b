//! Runs a deployment image on a simulated die
