//! How many LeNet-5 images per second one core simulates, on an ideal chip and with noise.
//!
//! `cargo bench -p nvcim-sim` prints images per second.

use divan::counter::ItemsCount;
use ndarray::{Array2, Array4};
use nvcim_chip::circuits::Circuits;
use nvcim_chip::describe::{
    Adc, AdcCoding, Arrays, Cell, Chip, Dac, Depthwise, Effects, Holds, InputDrive, NegativeInputs,
    PairAxis, RangePer, Subtract, Topology, Weights,
};
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::read::ReadNoise;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::random::Stream;
use nvcim_chip::unit_costs::UnitCosts;
use nvcim_image::layout::{Image, Provenance};
use nvcim_ir::ids::{ArrayId, Id, LayerId, StepId};
use nvcim_ir::op::{Op, Unary, Window};
use nvcim_ir::program::{LayerShape, Lowering, Step, StepOp};
use nvcim_ir::programmed::{
    ProgrammedLayer, ProgrammedNet, ProgrammedTile, ScaledReadout, Targets,
};
use nvcim_ir::tiled::{AdcRange, InputCoding, Readout, RowSpan, Terminal, Wiring};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::conditions::Conditions;
use nvcim_sim::machine::Machine;
use nvcim_sim::sample::sample_die;

const IMAGES: usize = 256;

fn main() {
    divan::main();
}

/// 8-bit converters and 256 levels, nothing else.
#[divan::bench]
fn ideal(bencher: divan::Bencher<'_, '_>) {
    measure(bencher, &chip(false));
}

/// Read and output noise besides.
#[divan::bench]
fn noisy(bencher: divan::Bencher<'_, '_>) {
    measure(bencher, &chip(true));
}

/// Programming and preparing, once per die.
#[divan::bench]
fn load(bencher: divan::Bencher<'_, '_>) {
    let image = lenet(chip(true));
    let die = sample_die(&image.chip, 0, 8);
    bencher.bench(|| Machine::load(&image, &die, conditions()).unwrap());
}

fn measure(bencher: divan::Bencher<'_, '_>, chip: &Chip) {
    let image = lenet(chip.clone());
    let die = sample_die(chip, 0, 8);
    let machine = Machine::load(&image, &die, conditions()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let stream = Stream::new(0, 0, Effect::Dac);
    let pixel = |at: usize| stream.uniform([at as u32, 0, 0, 0]).powi(4) as f32;
    let input = Array4::from_shape_vec([IMAGES, 1, 28, 28], (0..IMAGES * 784).map(pixel).collect());
    let input: Tensor = input.unwrap().into_dyn();
    bencher
        .counter(ItemsCount::new(IMAGES))
        .bench(|| pool.install(|| machine.run(divan::black_box(&input), 0)));
}

fn conditions() -> Conditions {
    Conditions { effects: EffectSet::ALL, at_s: 0.0, extrapolate: false, run_seed: 0 }
}

fn chip(noisy: bool) -> Chip {
    let effects = Effects {
        read: noisy.then_some(ReadNoise::share(0.01)),
        output_noise: noisy.then_some(OutputNoise { sd_lsb: 0.5, ..OutputNoise::default() }),
        ..Effects::default()
    };
    Chip {
        name: "bench".into(),
        description: String::new(),
        arrays: Arrays {
            count: None,
            n_rows: 256,
            n_cols: 256,
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
        cell: Cell { g_min: 0.0, g_max: 100e-6, n_levels: Some(256) },
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
        effects,
        circuits: Circuits::default(),
        cost: UnitCosts::default(),
        sources: Vec::new(),
    }
}

/// LeNet-5 on 28x28 pixels with random weights.
fn lenet(chip: Chip) -> Image {
    let mut net = Builder::default();
    net.digital("x", Op::Input, &[1, 28, 28]);
    net.conv(Window::square(5, 1, 2), &[6, 28, 28], 25);
    net.pool(&[6, 14, 14]);
    net.conv(Window::square(5, 1, 0), &[16, 10, 10], 150);
    net.pool(&[16, 5, 5]);
    net.digital("flat", Op::Reshape, &[400]);
    net.dense(400, 120);
    net.dense(120, 84);
    net.dense(84, 10);
    net.net.program.outputs = vec![StepId::new(net.net.program.steps.len() - 1)];
    let provenance = Provenance {
        tool_version: String::new(),
        model_hash: [0; 32],
        calibration_hash: None,
        die: None,
        corrections: Vec::new(),
        effects: Vec::new(),
        at_s: 0.0,
    };
    let net = net.net;
    Image { chip, net, provenance }
}

struct Builder {
    net: ProgrammedNet,
}

impl Default for Builder {
    fn default() -> Self {
        let (program, layers, tiles) = Default::default();
        Self { net: ProgrammedNet { program, layers, tiles } }
    }
}

impl Builder {
    fn step(&mut self, name: &str, op: StepOp, shape: &[usize]) {
        let steps = &mut self.net.program.steps;
        let operands = steps.len().checked_sub(1).map(StepId::new).into_iter().collect();
        let (name, shape) = (format!("{name}{}", steps.len()), shape.to_vec());
        steps.push(Step { tensor: name.clone(), name, op, operands, shape });
    }

    fn digital(&mut self, name: &str, op: Op, shape: &[usize]) {
        self.step(name, StepOp::Digital(op), shape);
    }

    fn pool(&mut self, shape: &[usize]) {
        self.digital("pool", Op::MaxPool { window: Window::square(2, 2, 0) }, shape);
    }

    fn conv(&mut self, window: Window, shape: &[usize], n_rows: usize) {
        let layer = self.layer(n_rows, shape[0]);
        self.step("conv", StepOp::Matrix { layer, lowering: Lowering::Conv(window) }, shape);
        self.digital("relu", Op::Unary(Unary::Relu), shape);
    }

    fn dense(&mut self, n_rows: usize, n_cols: usize) {
        let layer = self.layer(n_rows, n_cols);
        self.step("dense", StepOp::Matrix { layer, lowering: Lowering::Dense }, &[n_cols]);
        if n_cols > 10 {
            self.digital("relu", Op::Unary(Unary::Relu), &[n_cols]);
        }
    }

    /// A layer of random weights, cut after 256 rows.
    fn layer(&mut self, n_rows: usize, n_cols: usize) -> LayerId {
        let layer = self.net.layers.push(ProgrammedLayer {
            name: "matrix".into(),
            shape: LayerShape { n_rows, n_cols },
            bias: vec![0.01; n_cols],
            input: InputCoding { full_scale: 1.0, signed: false },
        });
        for start in (0..n_rows).step_by(256) {
            self.tile(layer, start..n_rows.min(start + 256), n_cols);
        }
        layer
    }

    fn tile(&mut self, layer: LayerId, rows: std::ops::Range<usize>, n_cols: usize) {
        let array = ArrayId::new(self.net.tiles.len());
        let stream = Stream::new(1, array.index() as u64, Effect::Dac);
        let weights = Array2::from_shape_fn((rows.len(), n_cols), |(row, col)| {
            stream.normal([row as u32, col as u32, 0, 0]) * 80.0
        });
        let lines =
            |n: usize, step: u32, odd: u32| (0..n as u32).map(|at| step * at + odd).collect();
        let readout = |col| ScaledReadout {
            readout: Readout {
                col,
                slice: 0,
                rows: RowSpan { start: 0, end: rows.len() as u32 },
                terminal: Terminal::Pair,
                range: AdcRange { lo: -8.0, hi: 8.0 },
            },
            scale: 0.1,
            shift: 0.0,
        };
        self.net.tiles.push(ProgrammedTile {
            layer,
            array,
            wiring: Wiring {
                n_slices: 1,
                minus_array: None,
                plus_rows: lines(rows.len(), 1, 0),
                minus_rows: lines(rows.len(), 1, 0),
                plus_cols: lines(n_cols, 2, 0),
                minus_cols: lines(n_cols, 2, 1),
            },
            targets: Targets::Levels {
                plus: weights.mapv(|weight| weight.clamp(0.0, 255.0) as u16),
                minus: weights.mapv(|weight| (-weight).clamp(0.0, 255.0) as u16),
            },
            readouts: (0..n_cols as u32).map(readout).collect(),
            drive_sum: Vec::new(),
            drive_shift: 0.0,
            rows,
            cols: 0..n_cols,
        });
    }
}
