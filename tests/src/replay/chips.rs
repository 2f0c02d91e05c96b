//! The chips of the replays: one preset, turned into every kind of array with everything wrong at once.

use nvcim::describe::{
    Accumulate, BitSerial, Chip, InputDrive, NegativeInputs, PairAxis, SignCoding, Subtract,
    Topology,
};
use nvcim::effects::drift::Drift;
use nvcim::effects::ir_drop::{GatedLines, IrDrop, IrDropMethod, SourceLines};
use nvcim::presets::find_preset;
use nvcim_chip::network::Wires;

/// What a chip is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) topology: Topology,
    pub(crate) bit_serial: bool,
    pub(crate) subtract: Subtract,
}

impl Kind {
    /// Gated and passive, whole and bit-serial inputs, subtraction before and after the converter.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Topology::Gated, Topology::Passive].into_iter().flat_map(|topology| {
            [false, true].into_iter().flat_map(move |bit_serial| {
                let both = [Subtract::Analog, Subtract::Digital].into_iter();
                both.map(move |subtract| Self { topology, bit_serial, subtract })
            })
        })
    }

    pub(crate) fn name(self) -> String {
        let Self { topology, bit_serial, subtract } = self;
        let drive = match (topology, bit_serial) {
            (_, true) => "bit_serial",
            (Topology::Gated, false) => "pulse_width",
            (Topology::Passive, false) => "amplitude",
        };
        format!("{topology:?}_{drive}_{subtract:?}").to_lowercase()
    }

    /// The chip: stuck cells, programming error, drift, read and output noise, column gains and offsets of
    /// the preset, with wires that resist.
    pub(crate) fn chip(self) -> Chip {
        let Self { topology, bit_serial, subtract } = self;
        let mut chip = find_preset("nor-flash-lenet").expect("the preset is bundled");
        chip.name = self.name();
        chip.arrays.count = None;
        (chip.arrays.n_rows, chip.arrays.n_cols) = (64, 96);
        (chip.arrays.topology, chip.arrays.subtract) = (topology, subtract);
        chip.dac.coding = match (topology, bit_serial) {
            (_, true) => InputDrive::BitSerial(BitSerial {
                bits_per_slice: 2,
                accumulate: Accumulate::Digital,
            }),
            (Topology::Gated, false) => InputDrive::PulseWidth,
            (Topology::Passive, false) => InputDrive::Amplitude,
        };
        chip.effects.drift = Some(Drift::power(0.02, 0.005, 20.0));
        chip.effects.ir_drop = Some(wires(topology));
        if topology == Topology::Passive {
            (chip.cell.g_min, chip.cell.g_max) = (0.5e-6, 50e-6);
        }
        chip
    }
}

/// Chips that hold weights or drive rows in another way, by name.
pub(crate) fn variants() -> Vec<(&'static str, Chip)> {
    let base =
        |topology, bit_serial| Kind { topology, bit_serial, subtract: Subtract::Analog }.chip();
    let passive = |change: fn(&mut Chip)| {
        let mut chip = base(Topology::Passive, false);
        change(&mut chip);
        chip
    };
    let added = |topology| {
        let mut chip = base(topology, true);
        let slices = BitSerial { bits_per_slice: 3, accumulate: Accumulate::Analog };
        chip.dac.coding = InputDrive::BitSerial(slices);
        chip
    };
    vec![
        ("slices_added_in_passive_arrays", added(Topology::Passive)),
        ("slices_added_in_gated_arrays", added(Topology::Gated)),
        ("sign_magnitude", passive(|chip| chip.dac.negative = NegativeInputs::SignMagnitude)),
        ("pairs_on_rows", passive(|chip| chip.arrays.pairs = PairAxis::Rows)),
        ("pairs_on_arrays", passive(|chip| chip.arrays.pairs = PairAxis::Arrays)),
        ("few_active_rows", passive(|chip| chip.arrays.max_active_rows = Some(20))),
        ("offset_digital", passive(|chip| chip.weights.sign = SignCoding::OffsetDigital)),
        ("offset_column", passive(|chip| chip.weights.sign = SignCoding::OffsetColumn)),
        ("sliced_weights", passive(|chip| chip.weights.significance = vec![1.0, 16.0])),
        ("no_wires", passive(|chip| chip.effects.ir_drop = None)),
    ]
}

/// Wires of the chips; a column loses a few percent.
fn wires(topology: Topology) -> IrDrop {
    let resistive =
        Wires { word_line_ohm: 2.0, bit_line_ohm: 1.5, driver_ohm: 40.0, sense_ohm: 25.0 };
    match topology {
        Topology::Passive => IrDrop { wires: resistive, method: IrDropMethod::Exact, gated: None },
        // Cells of a gated array carry a fiftieth of the current.
        Topology::Gated => IrDrop {
            wires: Wires { bit_line_ohm: 50.0, sense_ohm: 1000.0, ..Wires::IDEAL },
            method: IrDropMethod::Exact,
            gated: Some(GatedLines {
                bit_line_volts: 0.8,
                source_line_ohm: 0.0,
                source_lines: SourceLines::AlongBitLines,
                output_conductance_per_volt: 1.5,
                subthreshold_volts: 0.039,
            }),
        },
    }
}
