//! Small chips and images for this crate's tests.

use ndarray::Array2;
use nvcim_chip::describe::{
    Adc, AdcCoding, Arrays, Cell, Chip, Dac, Effects, Holds, InputDrive, NegativeInputs, PairAxis,
    RangePer, Subtract, Topology,
};
use nvcim_chip::effects::EffectSet;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::ids::{ArrayId, Id, LayerId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{LayerShape, Lowering, Program, Step, StepOp};
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets,
};
use nvcim_ir::tiled::{AdcRange, InputCoding, Readout, Terminal, Wiring};

use crate::conditions::Conditions;

/// Small arrays of continuous cells without effects; converters of 8 bits.
pub(crate) fn plain_chip() -> Chip {
    Chip {
        name: "plain".into(),
        description: String::new(),
        arrays: Arrays {
            count: None,
            n_rows: 8,
            n_cols: 8,
            spare_rows: 0,
            spare_cols: 0,
            reserved_rows: 0,
            reserved_cols: 0,
            topology: Topology::Passive,
            pairs: PairAxis::Columns,
            subtract: Subtract::Analog,
        },
        cell: Cell { g_min: 0.0, g_max: 100e-6, n_levels: None },
        dac: Dac {
            bits: 8,
            coding: InputDrive::Amplitude,
            negative: NegativeInputs::TwoPass,
            jitter_sd_steps: 0.0,
        },
        adc: Adc {
            bits: 8,
            nominal: AdcRange { lo: -4.0, hi: 4.0 },
            range_per: RangePer::Tile,
            coding: AdcCoding::Binary,
        },
        holds: Holds { column_affine: true, ranges: true, rows: true, column_signs: true },
        effects: Effects::default(),
        sources: Vec::new(),
    }
}

/// Right after programming, with these effects.
pub(crate) fn fresh(effects: EffectSet) -> Conditions {
    Conditions { effects, at_s: 0.0, run_seed: 11 }
}

/// A dense layer `[n_rows] -> [n_cols]` of `weights`, -1 to 1 as shares of the cells' range, in one tile
/// on array 0, laid out as the chip has its pairs. Outputs are in normalised currents.
pub(crate) fn dense_image(chip: &Chip, weights: &Array2<f32>, signed: bool) -> Image {
    let (n_rows, n_cols) = weights.dim();
    let step = |name: &str, op, operands, shape| Step {
        name: name.into(),
        tensor: name.into(),
        op,
        operands,
        shape,
    };
    let (input, layer) = (StepId::new(0), LayerId::new(0));
    let matrix = StepOp::Matrix { layer, lowering: Lowering::Dense };
    let program = Program {
        steps: [
            step("x", StepOp::Digital(Op::Input), vec![], vec![n_rows]),
            step("y", matrix, vec![input], vec![n_cols]),
        ]
        .into_iter()
        .collect(),
        outputs: vec![StepId::new(1)],
        ..Program::default()
    };
    let layer = ProgrammedLayer {
        name: "y".into(),
        shape: LayerShape { n_rows, n_cols },
        bias: vec![0.0; n_cols],
        input: InputCoding { full_scale: 1.0, signed },
    };
    let net = ProgrammedNet {
        program,
        layers: std::iter::once(layer).collect(),
        tiles: std::iter::once(tile(chip, weights)).collect(),
    };
    Image { chip: chip.clone(), net, provenance: no_provenance() }
}

/// The tile of [`dense_image`].
pub(crate) fn tile(chip: &Chip, weights: &Array2<f32>) -> ProgrammedTile {
    let (n_rows, n_cols) = weights.dim();
    let plain = |n: usize| (0..n as u32).collect::<Vec<_>>();
    let pairs = |n: usize, odd: u32| (0..n as u32).map(|at| 2 * at + odd).collect::<Vec<_>>();
    let wiring = match chip.arrays.pairs {
        PairAxis::Columns => Wiring {
            plus_rows: plain(n_rows),
            minus_rows: plain(n_rows),
            plus_cols: pairs(n_cols, 0),
            minus_cols: pairs(n_cols, 1),
        },
        PairAxis::Rows => Wiring {
            plus_rows: pairs(n_rows, 0),
            minus_rows: pairs(n_rows, 1),
            plus_cols: plain(n_cols),
            minus_cols: plain(n_cols),
        },
    };
    let terminals: &[Terminal] = match chip.arrays.subtract {
        Subtract::Analog => &[Terminal::Pair],
        Subtract::Digital => &[Terminal::Plus, Terminal::Minus],
    };
    let readouts = (0..n_cols as u32).flat_map(|col| {
        terminals.iter().map(move |&terminal| ScaledReadout {
            readout: Readout { col, terminal, range: AdcRange { lo: -4.0, hi: 4.0 } },
            scale: terminal.sign(),
            shift: 0.0,
        })
    });
    let targets = |pick: fn((f64, f64)) -> f64| {
        weights.mapv(|weight| pick(chip.cell.pair_for(f64::from(weight))) as f32)
    };
    ProgrammedTile {
        layer: LayerId::new(0),
        array: ArrayId::new(0),
        rows: 0..n_rows,
        cols: 0..n_cols,
        targets: Targets::Siemens { plus: targets(|pair| pair.0), minus: targets(|pair| pair.1) },
        readouts: readouts.collect(),
        wiring,
    }
}

/// The provenance of an image made by hand.
fn no_provenance() -> Provenance {
    Provenance {
        tool_version: String::new(),
        model_hash: [0; 32],
        calibration_hash: None,
        die: None,
        corrections: Vec::new(),
        effects: Vec::new(),
        at_s: 0.0,
    }
}
