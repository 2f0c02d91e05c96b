//! What the periphery costs: a prepared tile of 512 conversions over 512 rows against the bare product.
//!
//! `cargo bench -p nvcim-sim --bench kernel` prints times, and before them ratios to a plain f32 product of
//! the same size: the fastest run over the fastest, taken in turns, since other programs only ever slow
//! one down. Bounds to keep: converters of 8 bits 1.5, with read and output noise 4, eight slices with a
//! conversion each 12. `pcm-ibm` is the preset a day after programming, with output noise.

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use divan::counter::ItemsCount;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};
use nvcim_chip::describe::{Accumulate, Adc, AdcCoding, BitSerial, Chip, RangePer};
use nvcim_chip::effects::output_noise::OutputNoise;
use nvcim_chip::effects::read::{Correlation, ReadCell, pair_variance};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::presets::find_preset;
use nvcim_chip::random::Stream;
use nvcim_chip::real::Real;
use nvcim_ir::ids::{Id, TileId};
use nvcim_ir::tiled::AdcRange;
use nvcim_ops::run_program::{Columns, Nth};
use nvcim_sim::conditions::Conditions;
use nvcim_sim::drive::{Coding, Driver, Drives, Part};
use nvcim_sim::kernel::{Currents, Kernel};
use nvcim_sim::noise::{Block, Purpose};
use nvcim_sim::periphery::{Periphery, Sense, Slicing};
use nvcim_sim::tile::{PreparedTile, Target, TileScratch, Worth};

/// Conversions and rows of the tile.
const N: usize = 512;
/// Samples of a product, one position each.
const BATCH: usize = 256;
const RANGE: AdcRange = AdcRange { lo: -16.0, hi: 16.0 };
/// Seconds after programming at which the preset is used.
const DAY: f64 = 86_400.0;
const CASES: [&str; 6] =
    ["ideal", "converters", "two noises", "pcm-ibm", "bit serial", "bit serial, noisy"];

#[expect(clippy::print_stdout, reason = "the ratios are what this prints")]
fn main() {
    let x = inputs();
    for case in CASES {
        let ratio = measure_ratio(&mut Bench::<f32>::new(case), &x);
        println!("{case:18} {ratio:6.2} x the plain product");
    }
    divan::main();
}

/// The bare product of the weights and the inputs.
#[divan::bench]
fn product(bencher: divan::Bencher<'_, '_>) {
    let (w, x) = (weights().mapv(|w| w as f32), inputs());
    let mut out = Array2::zeros((N, BATCH));
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| general_mat_mul(1.0, &w, black_box(&x), 0.0, &mut out));
}

/// Drives, conversions and sums of a tile.
#[divan::bench(types = [f32, f64], args = CASES)]
fn tile<T: Real>(bencher: divan::Bencher<'_, '_>, case: &str) {
    let (mut bench, x) = (Bench::<T>::new(case), inputs());
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| bench.run(black_box(x.view())));
}

/// A tile with what it works in.
struct Bench<T> {
    driver: Driver<T>,
    tile: PreparedTile<T>,
    drives: Drives<T>,
    scratch: TileScratch<T>,
    out: Array2<f32>,
}

impl<T: Real> Bench<T> {
    fn new(case: &str) -> Self {
        let periphery = periphery(case);
        let weights = weights();
        let variances = periphery.read.map(|_| match case {
            "pcm-ibm" => weights.mapv(pcm_variance),
            _ => weights.mapv(|w| (0.02 * w).powi(2)),
        });
        let currents = Currents { weights, variances, leakage: Vec::new() };
        let range = [RANGE.lo, RANGE.hi].map(f64::from);
        let senses = vec![Sense { gain: 1.0, offset_lsb: 0.0, range, levels: None }; N];
        let worth = |col| Worth { target: Target::Column(col), scale: T::ONE, shift: T::ZERO };
        Self {
            driver: Driver::new(&periphery),
            tile: PreparedTile {
                id: TileId::new(0),
                rows: 0..N,
                cols: 0..N,
                kernel: Kernel::new(&periphery, &currents, &senses),
                worths: (0..N).map(worth).collect(),
                drive_sum: Vec::new(),
                shift: 0,
            },
            drives: Drives::default(),
            scratch: TileScratch::default(),
            out: Array2::zeros((N, BATCH)),
        }
    }

    fn run(&mut self, x: ArrayView2<'_, f32>) {
        let columns = Columns { first_sample: 0, per_sample: 1, layer_use: Nth::ONLY };
        let block = Block { purpose: Purpose::Inference, unit: 0, cells: 0, columns };
        self.out.fill(0.0);
        self.drives.fill(&self.driver, &[Part::Positive], Coding::plain(T::ONE), x, block);
        self.tile.multiply(&self.drives, columns, self.out.view_mut(), &mut self.scratch);
    }
}

/// The preset of phase-change memory, with noise of its sense stages besides.
fn pcm() -> Chip {
    let mut chip = find_preset("pcm-ibm").expect("a preset of this name");
    chip.effects.output_noise = Some(OutputNoise { sd_lsb: 0.5, ..OutputNoise::default() });
    chip
}

/// The variance of the read noise of a weight's pair, one of whose cells is at rest.
fn pcm_variance(weight: f64) -> f64 {
    static PCM: LazyLock<Chip> = LazyLock::new(pcm);
    let (cell, read) = (&PCM.cell, PCM.effects.read.expect("phase-change memory is noisy"));
    let sd = |g: f64| read.sd(cell, &ReadCell { programmed: g, g, at_s: DAY }) / cell.g_max;
    pair_variance(sd(weight.abs().min(1.0) * cell.g_max), sd(cell.g_min))
}

fn periphery(case: &str) -> Periphery {
    if case == "pcm-ibm" {
        let conditions =
            Conditions { effects: EffectSet::ALL, at_s: DAY, extrapolate: false, run_seed: 0 };
        return Periphery::new(&pcm(), 0, &conditions);
    }
    let adc = Adc { bits: 8, nominal: RANGE, range_per: RangePer::Tile, coding: AdcCoding::Binary };
    let stream = |effect| Stream::new(1, 2, effect);
    let serial = BitSerial { bits_per_slice: 1, accumulate: Accumulate::Digital };
    let (read, output) = match case {
        "two noises" | "bit serial, noisy" => (Some(Correlation::Mvm), true),
        _ => (None, false),
    };
    Periphery {
        dac_bits: (case != "ideal").then_some(8),
        slicing: case.starts_with("bit serial").then(|| Slicing::new(8, serial)),
        inl_steps: Vec::new(),
        jitter: None,
        stage: None,
        adc,
        rounds: case != "ideal",
        read: read.map(|correlation| (correlation, stream(Effect::Read))),
        output: output.then(|| (0.05, stream(Effect::OutputNoise))),
    }
}

fn weights() -> Array2<f64> {
    let stream = Stream::new(0, 0, Effect::Programming);
    Array2::from_shape_fn((N, N), |(j, i)| 0.2 * stream.normal([j as u32, i as u32, 0, 0]))
}

fn inputs() -> Array2<f32> {
    let stream = Stream::new(0, 1, Effect::Dac);
    Array2::from_shape_fn((N, BATCH), |(i, c)| stream.uniform([i as u32, c as u32, 0, 0]) as f32)
}

/// The time of the tile over that of the product, run in turns.
fn measure_ratio(bench: &mut Bench<f32>, x: &Array2<f32>) -> f64 {
    let w = weights().mapv(|w| w as f32);
    let mut out = Array2::zeros((N, BATCH));
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let (mut plain, mut tile) = (Duration::MAX, Duration::MAX);
    for _ in 0..40 {
        plain = plain.min(time(&mut || general_mat_mul(1.0, &w, black_box(x), 0.0, &mut out)));
        tile = tile.min(time(&mut || bench.run(black_box(x.view()))));
    }
    tile.as_secs_f64() / plain.as_secs_f64()
}
