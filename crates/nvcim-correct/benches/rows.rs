//! How long one core takes to find rows, columns and signs for one tile that fills its array.
//!
//! `cargo bench -p nvcim-correct --bench rows` prints the times to correct a net of that one tile with rows and
//! without: what lies between them is the placement. A fifth of all cells is stuck, the limit is 10 ms.

use divan::Bencher;
use ndarray::{ArcArray, IxDyn};
use nvcim_chip::describe::Chip;
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::presets::find_preset;
use nvcim_chip::random::Stream;
use nvcim_chip::record::{ArrayRecord, DieRecord, StuckCell};
use nvcim_correct::before::{Targeted, correct_before};
use nvcim_correct::known::Known;
use nvcim_correct::plan::{Correction, Plan};
use nvcim_correct::samples::Teacher;
use nvcim_ir::ids::{ArrayId, Id, LayerId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{Lowering, Program, Step, StepOp};
use nvcim_ir::tiled::{
    AdcRange, InputCoding, MatrixLayer, Readout, RowSpan, Terminal, Tile, TiledNet, Wiring,
};
use nvcim_ops::tensor::Tensor;

/// Word and bit lines of the array; pairs take two bit lines.
const N: usize = 256;

/// Images: enough for energies of inputs.
const N_IMAGES: usize = 64;

fn main() {
    divan::main();
}

#[divan::bench]
fn with_rows(bencher: Bencher<'_, '_>) {
    let task = Task::new();
    bencher.bench(|| task.correct(Plan::CLOSEST.with(Correction::Rows)));
}

#[divan::bench]
fn without_rows(bencher: Bencher<'_, '_>) {
    // Any other correction that looks at images, so that all else is done alike.
    let task = Task::new();
    bencher.bench(|| task.correct(Plan::CLOSEST.with(Correction::Pairs)));
}

struct Task {
    chip: Chip,
    die: DieRecord,
    net: TiledNet,
    images: Tensor,
}

impl Task {
    fn new() -> Self {
        let mut chip = find_preset("stress-a").expect("the preset is built in");
        (chip.arrays.n_rows, chip.arrays.n_cols) = (N, N);
        (chip.arrays.reserved_rows, chip.arrays.reserved_cols) = (0, 0);
        let stream = Stream::new(0, 1, Effect::Programming);
        let images = Tensor::from_shape_fn(IxDyn(&[N_IMAGES, N]), |at| {
            stream.uniform([at[0] as u32, at[1] as u32, 0, 1]) as f32
        });
        Self { die: draw_die(&chip), net: draw_net(&stream), chip, images }
    }

    fn correct(&self, plan: Plan) -> Targeted {
        let known = Known {
            chip: &self.chip,
            die: Some(&self.die),
            effects: EffectSet::ALL,
            at_s: 0.0,
            use_s: None,
        };
        let teacher = Teacher::new(&self.net, &self.images);
        correct_before(&self.net, &known, Some(&teacher), plan).expect("the task is sound")
    }
}

/// A die of one array with a fifth of its cells stuck, at either end alike.
fn draw_die(chip: &Chip) -> DieRecord {
    let stream = Stream::new(0, 2, Effect::Stuck);
    let at_place = |place: usize| {
        let (row, col) = ((place / N) as u32, (place % N) as u32);
        let end = match stream.uniform([row, col, 0, 0]) {
            u if u < 0.1 => chip.cell.g_min,
            u if u < 0.2 => chip.cell.g_max,
            _ => return None,
        };
        Some(StuckCell { row, col, g: end as f32 })
    };
    let stuck = (0..N * N).filter_map(at_place).collect();
    let array = ArrayRecord { stuck, ..ArrayRecord::default() };
    let arrays = std::iter::once(array).collect();
    DieRecord { name: "bench".into(), seed: Some(1), chip_hash: [0; 32], arrays }
}

/// One dense layer that takes all rows and all pairs.
fn draw_net(stream: &Stream) -> TiledNet {
    let n_cols = N / 2;
    let weight = |(_, row, col): (usize, usize, usize)| {
        2.0 * stream.uniform([row as u32, col as u32, 0, 2]) as f32 - 1.0
    };
    let layer = MatrixLayer {
        name: "dense".into(),
        blocks: ArcArray::from_shape_fn((1, N, n_cols), weight),
        bias: vec![0.0; n_cols],
        input: InputCoding { full_scale: 1.0, signed: false },
        ranges: vec![1.0; n_cols],
    };
    let range = AdcRange { lo: -16.0, hi: 16.0 };
    let rows = RowSpan { start: 0, end: N as u32 };
    let readout = |col| Readout { col, slice: 0, rows, terminal: Terminal::Pair, range };
    let lines = |first, step| (first..N as u32).step_by(step).collect::<Vec<_>>();
    let tile = Tile {
        layer: LayerId::new(0),
        array: ArrayId::new(0),
        rows: 0..N,
        cols: 0..n_cols,
        wiring: Wiring {
            n_slices: 1,
            plus_rows: lines(0, 1),
            minus_rows: lines(0, 1),
            plus_cols: lines(0, 2),
            minus_cols: lines(1, 2),
            minus_array: None,
        },
        readouts: (0..n_cols as u32).map(readout).collect(),
    };
    let step = |name: &str, op, operands, n| Step {
        name: name.into(),
        tensor: name.into(),
        op,
        operands,
        shape: vec![n],
    };
    let product = StepOp::Matrix { layer: LayerId::new(0), lowering: Lowering::Dense };
    let steps = [
        step("input", StepOp::Digital(Op::Input), Vec::new(), N),
        step("dense", product, vec![StepId::new(0)], n_cols),
    ];
    let program = Program {
        steps: steps.into_iter().collect(),
        outputs: vec![StepId::new(1)],
        ..Program::default()
    };
    TiledNet {
        program,
        layers: std::iter::once(layer).collect(),
        tiles: std::iter::once(tile).collect(),
    }
}
