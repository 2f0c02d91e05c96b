//! ADC: output quantisation and clipping.
