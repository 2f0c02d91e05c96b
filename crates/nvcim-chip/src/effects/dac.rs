//! DAC: input quantisation and clipping.
