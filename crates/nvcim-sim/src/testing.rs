//! Small chips and images for this crate's tests.

use ndarray::{Array2, s};
use nvcim_chip::circuits::Circuits;
use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{
    Adc, AdcCoding, Arrays, Cell, Chip, Dac, Depthwise, Effects, Holds, InputDrive, NegativeInputs,
    PairAxis, RangePer, Subtract, Topology, Weights,
};
use nvcim_chip::effects::EffectSet;
use nvcim_chip::unit_costs::UnitCosts;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::ids::{ArrayId, Id, LayerId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{LayerShape, Lowering, Program, Step, StepOp};
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets,
};
use nvcim_ir::tiled::{AdcRange, InputCoding, Readout, RowSpan, Terminal, Wiring};

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
            max_active_rows: None,
            pack: None,
            depthwise: Depthwise::Arrays,
        },
        cell: Cell { g_min: 0.0, g_max: 100e-6, n_levels: None },
        weights: Weights::pairs(),
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
        holds: Holds::PER_CONVERSION,
        effects: Effects::default(),
        circuits: Circuits::default(),
        cost: UnitCosts::default(),
        sources: Vec::new(),
    }
}

/// What [`kolmogorov`] stays below in 999 of 1000 samples of the distribution itself:
/// `2 exp(-2 x 1.95^2) = 0.001`.
pub(crate) const KOLMOGOROV_BOUND: f64 = 1.95;

/// The Kolmogorov-Smirnov statistic of `values` against a normal distribution, times the root of their
/// number: the largest distance between the distribution functions.
pub(crate) fn kolmogorov<T: Copy + Into<f64>>(values: &[T], mean: f64, sd: f64) -> f64 {
    let mut z: Vec<f64> = values.iter().map(|&value| (value.into() - mean) / sd).collect();
    z.sort_by(f64::total_cmp);
    let n = z.len() as f64;
    let distance = |(at, z): (usize, f64)| {
        let share = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
        (share - at as f64 / n).max((at as f64 + 1.0) / n - share)
    };
    z.into_iter().enumerate().map(distance).fold(0.0, f64::max) * n.sqrt()
}

/// Right after programming, with these effects.
pub(crate) fn fresh(effects: EffectSet) -> Conditions {
    Conditions { effects, at_s: 0.0, extrapolate: false, run_seed: 11 }
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
    let code = WeightCode::new(chip);
    let with_reference = n_cols + usize::from(code.has_reference());
    let wiring = wiring(chip, &code, n_rows, with_reference);
    let lanes = Array2::from_shape_fn((n_rows, wiring.plus_cols.len()), |(row, lane)| {
        let weight = weights.get((row, lane / code.n_slices())).copied().unwrap_or(0.0);
        code.encode(f64::from(weight)).nth(lane % code.n_slices()).unwrap()
    });
    let minus = lanes.slice(s![.., ..wiring.minus_cols.len()]).mapv(|pair| pair.1 as f32);
    let at_rest: f64 = code.factors().iter().sum::<f64>() * chip.cell.g_min / chip.cell.range();
    let taken_off = (-at_rest - code.zero()) as f32;
    let digital = !code.is_paired() && !code.has_reference();
    ProgrammedTile {
        layer: LayerId::new(0),
        array: ArrayId::new(0),
        rows: 0..n_rows,
        cols: 0..n_cols,
        targets: Targets::Siemens { plus: lanes.mapv(|pair| pair.0 as f32), minus },
        readouts: readouts(chip, &code, n_rows, n_cols),
        drive_sum: if digital { vec![taken_off; n_cols] } else { Vec::new() },
        drive_shift: 0.0,
        wiring,
    }
}

fn wiring(chip: &Chip, code: &WeightCode, n_rows: usize, n_cols: usize) -> Wiring {
    let lines =
        |n: usize, first: u32, step: u32| (0..n as u32).map(|at| first + step * at).collect();
    let n_lanes = n_cols * code.n_slices();
    let one_side = Wiring {
        n_slices: code.n_slices() as u32,
        plus_rows: lines(n_rows, 0, 1),
        minus_rows: Vec::new(),
        plus_cols: lines(n_lanes, 0, 1),
        minus_cols: Vec::new(),
        minus_array: None,
    };
    let (minus_rows, minus_cols) = (one_side.plus_rows.clone(), one_side.plus_cols.clone());
    match chip.arrays.pairs {
        _ if !code.is_paired() => one_side,
        PairAxis::Columns => Wiring {
            plus_cols: lines(n_lanes, 0, 2),
            minus_rows,
            minus_cols: lines(n_lanes, 1, 2),
            ..one_side
        },
        PairAxis::Rows => Wiring {
            plus_rows: lines(n_rows, 0, 2),
            minus_rows: lines(n_rows, 1, 2),
            minus_cols,
            ..one_side
        },
        PairAxis::Arrays => {
            Wiring { minus_rows, minus_cols, minus_array: Some(ArrayId::new(1)), ..one_side }
        }
    }
}

fn readouts(chip: &Chip, code: &WeightCode, n_rows: usize, n_cols: usize) -> Vec<ScaledReadout> {
    let terminals: &[Terminal] = match chip.arrays.subtract {
        _ if !code.is_paired() => &[Terminal::Plus],
        Subtract::Analog => &[Terminal::Pair],
        Subtract::Digital => &[Terminal::Plus, Terminal::Minus],
    };
    let most = chip.arrays.rows_at_once(n_rows);
    let mut readouts = Vec::new();
    for col in 0..n_cols + usize::from(code.has_reference()) {
        let sign = if col == n_cols { -1.0 } else { 1.0 };
        for (slice, factor) in code.factors().iter().enumerate() {
            for start in (0..n_rows).step_by(most) {
                let end = (start + most).min(n_rows) as u32;
                readouts.extend(terminals.iter().map(|&terminal| ScaledReadout {
                    readout: Readout {
                        col: col as u32,
                        slice: slice as u32,
                        rows: RowSpan { start: start as u32, end },
                        terminal,
                        range: AdcRange { lo: -4.0, hi: 4.0 },
                    },
                    scale: terminal.sign()
                        * (sign * factor * chip.cell.g_max / chip.cell.range()) as f32,
                    shift: 0.0,
                }));
            }
        }
    }
    readouts
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
