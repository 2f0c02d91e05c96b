//! How an array answers its drives: by its cells alone, through its wires, along their curves, or as a
//! network that every input vector makes anew.
//!
//! | array | wires | cells | drives | answer |
//! |---|---|---|---|---|
//! | passive | ideal | ohmic | any | conductances |
//! | passive | resistive | ohmic | any | one transfer matrix, made once |
//! | passive | ideal | curved | at one voltage | conductances at that voltage |
//! | passive | ideal | curved | by amplitude | a cubic per cell: three matrix products |
//! | passive | resistive | curved | any | a network per vector |
//! | gated | ideal, or without effect on the cells | any | any | conductances |
//! | gated | resistive | any | any | a network per pattern of gates |
//!
//! Pulses, and bits one by one, drive every row at the same voltage or not at all. A wire has no effect on
//! cells whose current depends on neither of their terminals' voltages.

use ndarray::Array2;
use nvcim_chip::describe::{BitSerial, Chip, InputDrive, Topology};
use nvcim_chip::effects::ir_drop::{GatedLines, IrDrop, IrDropMethod};
use nvcim_chip::effects::iv::Iv;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::network::gated::GatedWires;
use nvcim_chip::network::{Wires, fast, passive};

use crate::cells::ArrayCells;

/// How the arrays of a chip answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    /// Each cell by its conductance.
    Cells,
    /// Each cell by its conductance at the voltage of a full-scale drive.
    CellsAtVoltage(Iv),
    /// Each cell by its curve.
    Curves(Iv),
    /// All cells through wires, linearly.
    Wires(IrDrop),
    /// All cells through wires, each by its curve.
    CurvedNetwork(Wires, Iv),
    /// All cells of a column that are on, through its lines.
    GatedNetwork(GatedWires),
}

impl Answer {
    /// The answer of a chip's arrays under some of its effects.
    pub(crate) fn new(chip: &Chip, set: EffectSet) -> Self {
        let iv = chip.effects.iv.filter(|_| set.has(Effect::Iv));
        let ir_drop = chip.effects.ir_drop.filter(|_| set.has(Effect::IrDrop));
        match (chip.arrays.topology, ir_drop.filter(matters), iv) {
            (Topology::Passive, None, None) | (Topology::Gated, None, _) => Self::Cells,
            (Topology::Passive, None, Some(iv)) if drives_one_voltage(chip) => {
                Self::CellsAtVoltage(iv)
            }
            (Topology::Passive, None, Some(iv)) => Self::Curves(iv),
            (Topology::Passive, Some(ir_drop), None) => Self::Wires(ir_drop),
            (Topology::Passive, Some(ir_drop), Some(iv)) => Self::CurvedNetwork(ir_drop.wires, iv),
            (Topology::Gated, Some(ir_drop), _) => {
                ir_drop.gated_wires().map_or(Self::Cells, Self::GatedNetwork)
            }
        }
    }

    /// What a row's full-scale drive makes of each bit line's current, over its voltage, in siemens,
    /// `[word lines, bit lines]`; none where conductances say it, or where nothing linear does.
    pub(crate) fn linear(&self, cells: &ArrayCells) -> Option<Array2<f64>> {
        match *self {
            Self::Cells | Self::Curves(_) | Self::CurvedNetwork(..) | Self::GatedNetwork(_) => None,
            Self::CellsAtVoltage(iv) => {
                let at_voltage = |g: f64| iv.current(g, iv.full_scale) / iv.full_scale;
                Some(cells.conductances().mapv(at_voltage))
            }
            Self::Wires(IrDrop { wires, method, gated: _ }) => {
                let g = cells.conductances();
                let transfer = match method {
                    IrDropMethod::Exact => passive::transfer_matrix(g.view(), &wires),
                    IrDropMethod::Fast => fast::estimate_transfer_matrix(g.view(), &wires),
                };
                Some(transfer.reversed_axes())
            }
        }
    }
}

/// Whether wires change any current.
fn matters(ir_drop: &IrDrop) -> bool {
    let resistive = ir_drop.wires != Wires::IDEAL;
    ir_drop.gated.map_or(resistive, |lines: GatedLines| {
        lines.source_line_ohm > 0.0 || resistive && lines.output_conductance_per_volt > 0.0
    })
}

/// Whether every row is driven at full scale or not at all, for a while. Without the effect `dac`, bits
/// one by one are as many as it takes.
pub(crate) fn drives_one_voltage(chip: &Chip) -> bool {
    match chip.dac.coding {
        InputDrive::PulseWidth => true,
        InputDrive::BitSerial(BitSerial { bits_per_slice, .. }) => bits_per_slice == 1,
        InputDrive::Amplitude => false,
    }
}
