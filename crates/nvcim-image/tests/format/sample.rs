//! A small image for tests that uses every operator, both lowerings and every kind of readout.

use ndarray::{ArcArray, Array2, IxDyn};
use nvcim_chip::circuits::Circuits;
use nvcim_chip::describe::{
    Adc, AdcCoding, Arrays, Cell, Chip, Dac, Depthwise, Effects, Holds, InputDrive, NegativeInputs,
    PairAxis, RangePer, Subtract, Topology, Weights,
};
use nvcim_chip::effects::column_gain::ColumnGain;
use nvcim_chip::effects::stuck::Stuck;
use nvcim_chip::unit_costs::UnitCosts;
use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ArrayId, Id, LayerId, StepId};
use nvcim_ir::op::{Binary, Op, Reduction, SliceAxis, Unary, Window};
use nvcim_ir::program::{LayerShape, Lowering, Program, Step, StepOp};
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets,
};
use nvcim_ir::tiled::{AdcRange, InputCoding, Readout, RowSpan, Terminal, Wiring};

use nvcim_image::layout::{DieStamp, Image, Provenance};

/// An image for a chip whose cells have `n_levels` levels.
pub(crate) fn sample_image(n_levels: Option<u32>) -> Image {
    let layers = [("conv", 18, vec![0.5, -0.25]), ("fc", 4, vec![0.0, 1.0, -1.0])];
    let layer = |(name, n_rows, bias): (&str, usize, Vec<f32>)| ProgrammedLayer {
        name: name.into(),
        shape: LayerShape { n_rows, n_cols: bias.len() },
        bias,
        input: InputCoding { full_scale: 1.5, signed: name == "fc" },
    };
    let tiles = [
        sample_tile(n_levels, 0, 0, 0..10, 2),
        sample_tile(n_levels, 0, 1, 10..18, 2),
        sample_tile(n_levels, 1, 2, 0..4, 3),
    ];
    Image {
        chip: sample_chip(n_levels),
        net: ProgrammedNet {
            program: sample_program(),
            layers: layers.into_iter().map(layer).collect(),
            tiles: tiles.into_iter().collect(),
        },
        provenance: Provenance {
            tool_version: "0.1.0".into(),
            model_hash: [0x11; 32],
            calibration_hash: Some([0x22; 32]),
            die: Some(DieStamp { name: "die 7".into(), seed: Some(7), hash: [0x33; 32] }),
            corrections: vec!["closest".into(), "ranges".into()],
            effects: vec!["stuck".into(), "column_gain".into()],
            at_s: 86_400.0,
        },
    }
}

fn sample_chip(n_levels: Option<u32>) -> Chip {
    Chip {
        name: "sample".into(),
        description: "A chip for tests of the image".into(),
        arrays: Arrays {
            count: Some(4),
            n_rows: 12,
            n_cols: 8,
            spare_rows: 1,
            spare_cols: 0,
            reserved_rows: 0,
            reserved_cols: 0,
            topology: Topology::Gated,
            pairs: PairAxis::Columns,
            subtract: Subtract::Digital,
            max_active_rows: None,
            pack: None,
            depthwise: Depthwise::Arrays,
        },
        cell: Cell { g_min: 0.0, g_max: 1e-6, n_levels },
        weights: Weights::pairs(),
        dac: Dac {
            bits: 8,
            coding: InputDrive::PulseWidth,
            negative: NegativeInputs::TwoPass,
            jitter_sd_steps: 0.0,
        },
        adc: Adc {
            bits: 8,
            nominal: AdcRange { lo: 0.0, hi: 4.0 },
            range_per: RangePer::Column,
            coding: AdcCoding::Binary,
        },
        holds: Holds::PER_CONVERSION,
        effects: Effects {
            stuck: Some(Stuck { stuck_gmin: 0.0175, stuck_gmax: 0.0904, ..Stuck::default() }),
            column_gain: Some(ColumnGain { sd: 0.05, ..ColumnGain::default() }),
            ..Effects::default()
        },
        circuits: Circuits::default(),
        cost: UnitCosts::default(),
        sources: Vec::new(),
    }
}

/// A tile with its positive cells on even bit lines and the negative ones beside them, or on two arrays.
fn sample_tile(
    n_levels: Option<u32>,
    layer: usize,
    array: usize,
    rows: std::ops::Range<usize>,
    n_cols: usize,
) -> ProgrammedTile {
    // The second layer has two slices, whose negative cells sit on an array of their own.
    let n_slices: u32 = if layer == 1 { 2 } else { 1 };
    let minus_array = (layer == 1).then(|| ArrayId::new(3));
    let dim = (rows.len(), n_cols * n_slices as usize);
    let targets = match n_levels {
        Some(n_levels) => {
            let level =
                |code: usize| u16::try_from(code % n_levels as usize).expect("16-bit levels");
            Targets::Levels {
                plus: Array2::from_shape_fn(dim, |(row, col)| level(7 * row + col)),
                minus: Array2::from_shape_fn(dim, |(row, col)| level(65_535 - 5 * row - col)),
            }
        }
        None => {
            let siemens = |(row, col): (usize, usize)| (row + 3 * col) as f32 * 2.5e-8;
            Targets::Siemens {
                plus: Array2::from_shape_fn(dim, siemens),
                minus: Array2::from_shape_fn(dim, |at| 1e-6 - siemens(at)),
            }
        }
    };
    // The last rows first, so that no order of rows can be mistaken for another.
    let lines: Vec<u32> = (0..rows.len() as u32).rev().collect();
    let cols = 0..n_cols as u32;
    let terminals = |col| match col {
        0 => vec![Terminal::Pair],
        _ => vec![Terminal::Plus, Terminal::Minus],
    };
    let span = RowSpan { start: 0, end: rows.len() as u32 };
    let lanes = 0..n_cols as u32 * n_slices;
    let line = |lane: u32, side: u32| if layer == 1 { lane } else { 2 * lane + side };
    let readout = |(col, slice, terminal): (u32, u32, Terminal)| ScaledReadout {
        readout: Readout {
            col,
            slice,
            rows: span,
            terminal,
            range: AdcRange { lo: -0.5, hi: 3.5 + col as f32 },
        },
        scale: 0.75 * terminal.sign(),
        shift: 0.125 * col as f32,
    };
    ProgrammedTile {
        layer: LayerId::new(layer),
        array: ArrayId::new(array),
        rows,
        cols: 0..n_cols,
        wiring: Wiring {
            n_slices,
            plus_rows: lines.clone(),
            minus_rows: lines,
            plus_cols: lanes.clone().map(|lane| line(lane, 0)).collect(),
            minus_cols: lanes.map(|lane| line(lane, 1)).collect(),
            minus_array,
        },
        targets,
        readouts: cols
            .flat_map(|col| (0..n_slices).map(move |slice| (col, slice)))
            .flat_map(|(col, slice)| terminals(col).into_iter().map(move |it| (col, slice, it)))
            .map(readout)
            .collect(),
        drive_sum: if layer == 1 { vec![-0.5; n_cols] } else { Vec::new() },
        drive_shift: if layer == 1 { 0.25 } else { 0.0 },
    }
}

/// A program with every operator, in the order of their tags in the file, as far as shapes allow.
fn sample_program() -> Program {
    let mut program = Program::default();
    let mut constant = |name: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let values = (0..count).map(|at| 0.5 + at as f32 / 8.0).collect();
        let value =
            ArcArray::from_shape_vec(IxDyn(shape), values).expect("as many as the shape has");
        program.consts.push(Constant { name: name.into(), value })
    };
    let plane = constant("plane", &[2, 1, 1]);
    let (filter, filter_bias) = (constant("filter", &[2, 1, 1, 1]), constant("filter_bias", &[2]));
    let (matrix, matrix_bias) = (constant("matrix", &[4, 4]), constant("matrix_bias", &[4]));
    let [scale, shift, mean, var] =
        ["scale", "shift", "mean", "var"].map(|name| constant(name, &[2]));

    let steps = &mut program.steps;
    let mut step = |op: StepOp, operands: &[StepId], shape: &[usize]| {
        let name = format!("node{}", steps.len());
        let tensor = format!("tensor{}", steps.len());
        steps.push(Step { name, tensor, op, operands: operands.into(), shape: shape.into() })
    };
    let conv = Lowering::Conv(Window::square(3, 1, 1));
    let image = [2, 4, 4];
    let x = step(StepOp::Digital(Op::Input), &[], &image);
    let plane = step(StepOp::Digital(Op::Const(plane)), &[], &[2, 1, 1]);
    let x = step(StepOp::Matrix { layer: LayerId::new(0), lowering: conv }, &[x], &image);
    let pointwise = Op::Conv {
        weight: filter,
        bias: Some(filter_bias),
        window: Window::square(1, 1, 0),
        groups: 2,
    };
    let mut x = step(StepOp::Digital(pointwise), &[x], &image);
    for op in [
        Op::BatchNorm { scale, bias: shift, mean, var, epsilon: 1e-5 },
        Op::Unary(Unary::Relu),
        Op::Unary(Unary::Clip { lo: f32::NEG_INFINITY, hi: 6.0 }),
        Op::Unary(Unary::Sigmoid),
        Op::Unary(Unary::Tanh),
        Op::Unary(Unary::LeakyRelu { alpha: 0.1 }),
        Op::Unary(Unary::HardSwish),
    ] {
        x = step(StepOp::Digital(op), &[x], &image);
    }
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
        x = step(StepOp::Digital(Op::Binary(op)), &[x, plane], &image);
    }
    let reversed = SliceAxis { start: 2, step: -2, len: 2 };
    let forward = SliceAxis { start: 0, step: 1, len: 2 };
    for (op, shape) in [
        (Op::MaxPool { window: Window::square(2, 2, 0) }, &[2, 2, 2][..]),
        (Op::AveragePool { window: Window::square(2, 1, 1), count_pad: true }, &[2, 3, 3]),
        (Op::Slice { axes: vec![forward, reversed, forward] }, &[2, 2, 2]),
        (Op::Pad { before: vec![0, 1, 2], after: vec![2, 1, 0], value: -1.0 }, &[4, 4, 4]),
        (Op::Transpose { perm: vec![1, 2, 0] }, &[4, 4, 4]),
        (Op::GlobalAveragePool, &[4, 1, 1]),
        (Op::Reduce { reduction: Reduction::Mean, axes: vec![1, 2] }, &[4]),
        (Op::Reshape, &[1, 4]),
        (Op::Dense { weight: matrix, bias: Some(matrix_bias), transposed: false }, &[1, 4]),
        (Op::Dense { weight: matrix, bias: None, transposed: true }, &[1, 4]),
    ] {
        x = step(StepOp::Digital(op), &[x], shape);
    }
    let fc = StepOp::Matrix { layer: LayerId::new(1), lowering: Lowering::Dense };
    let logits = step(fc, &[x], &[1, 3]);
    let sum = step(StepOp::Digital(Op::Softmax { axis: 1 }), &[logits], &[1, 3]);
    let log = step(StepOp::Digital(Op::LogSoftmax { axis: 1 }), &[logits], &[1, 3]);
    let both = step(StepOp::Digital(Op::Concat { axis: 0 }), &[sum, log], &[2, 3]);
    program.outputs = vec![both, logits];
    program
}
