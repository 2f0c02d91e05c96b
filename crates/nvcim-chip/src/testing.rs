//! Small chips for this crate's tests.

use nvcim_ir::tiled::AdcRange;

use crate::circuits::Circuits;
use crate::describe::{
    Adc, AdcCoding, Arrays, Cell, Chip, Dac, Depthwise, Effects, Holds, InputDrive, NegativeInputs,
    PairAxis, RangePer, Subtract, Topology, Weights,
};
use crate::effects::conductance::CellState;
use crate::unit_costs::UnitCosts;

/// A cell of 1 to 100 uS in the middle of its array, told to reach `target`, `at_s` seconds on.
pub(crate) fn state_at(target: f64, at_s: f64) -> CellState {
    let cell = plain_chip().cell;
    CellState { cell, target, programmed: target, programming: None, at_s, position: [0.0; 2] }
}

/// Two small arrays of continuous cells without effects.
pub(crate) fn plain_chip() -> Chip {
    Chip {
        name: "plain".into(),
        description: String::new(),
        arrays: Arrays {
            count: Some(2),
            n_rows: 6,
            n_cols: 8,
            spare_rows: 0,
            spare_cols: 0,
            reserved_rows: 0,
            reserved_cols: 0,
            topology: Topology::Passive,
            pairs: PairAxis::Columns,
            subtract: Subtract::Analog,
            max_active_rows: None,
            pack: None,
            depthwise: Depthwise::Arrays,
        },
        cell: Cell { g_min: 1e-6, g_max: 100e-6, n_levels: None },
        weights: Weights::pairs(),
        dac: Dac {
            bits: 8,
            coding: InputDrive::Amplitude,
            negative: NegativeInputs::TwoPass,
            jitter_sd_steps: 0.0,
        },
        adc: Adc {
            bits: 8,
            nominal: AdcRange { lo: -8.0, hi: 8.0 },
            range_per: RangePer::Tile,
            coding: AdcCoding::Binary,
        },
        holds: Holds::PER_CONVERSION,
        effects: Effects::default(),
        circuits: Circuits::default(),
        cost: UnitCosts::default(),
        sources: Vec::new(),
    }
}
