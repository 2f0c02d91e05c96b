//! What the digital part of LeNet-5 costs per batch of 64 images of 28x28: `cargo bench -p nvcim-ops`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ndarray::{ArcArray, ArrayView2, ArrayViewMut2, IxDyn};
use nvcim_ir::ids::{Id, IdVec, LayerId, StepId};
use nvcim_ir::op::{Op, Unary, Window};
use nvcim_ir::program::{Lowering, Program, Step, StepOp, verify_program};
use nvcim_ir::tiled::{InputCoding, MatrixLayer};
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::im2col::Im2col;
use nvcim_ops::pool::{average_pool, max_pool};
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::{Operand, Tensor};
use nvcim_ops::unary::unary;

const BATCH: usize = 64;

fn main() {
    divan::main();
}

/// Values between -1 and 1.
fn images(shape: &[usize]) -> Tensor {
    let mut state = 1u32;
    Tensor::from_shape_simple_fn(IxDyn(&[&[BATCH], shape].concat()), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The two convolutions' inputs, padding and output sizes.
const LOWERINGS: [([usize; 3], usize, usize); 3] =
    [([1, 28, 28], 0, 24), ([1, 28, 28], 2, 28), ([6, 12, 12], 0, 8)];

#[divan::bench(args = LOWERINGS)]
fn im2col(bencher: Bencher, (sample, pad, out): ([usize; 3], usize, usize)) {
    let x = images(&sample);
    let plan = Im2col::new(&Window::square(5, 1, pad), sample, [out; 2]);
    let mut columns = vec![0.0; plan.n_rows() * plan.n_positions()];
    let samples = x.as_slice().expect("built in standard layout");
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for sample in samples.chunks_exact(sample.iter().product()) {
            plan.fill(black_box(sample), &mut columns);
            black_box(&mut columns);
        }
    });
}

#[divan::bench]
fn relu(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| images(&[6, 24, 24]))
        .bench_local_values(|x| unary(Unary::Relu, Operand::from(x)));
}

#[divan::bench]
fn max_pool_pairs(bencher: Bencher) {
    let x = images(&[6, 24, 24]);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| max_pool(&Operand::from(&x), &Window::square(2, 2, 0), &[6, 12, 12]));
}

#[divan::bench]
fn max_pool_windows(bencher: Bencher) {
    let x = images(&[6, 24, 24]);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| max_pool(&Operand::from(&x), &Window::square(3, 2, 1), &[6, 12, 12]));
}

#[divan::bench]
fn average_pool_pairs(bencher: Bencher) {
    let x = images(&[6, 24, 24]);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        average_pool(&Operand::from(&x), &Window::square(2, 2, 0), false, &[6, 12, 12])
    });
}

/// Multiplies nothing, which leaves the digital part alone.
struct NoEngine;

impl MatrixEngine for NoEngine {
    fn multiply(
        &mut self,
        _: LayerId,
        _: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) {
        black_box((x, out));
    }
}

/// LeNet-5 as a program: two convolutions with ReLU and pooling, three dense layers.
fn lenet() -> (Program, IdVec<LayerId, MatrixLayer>) {
    let mut program = Program::default();
    let mut layers = IdVec::new();
    let mut add = |op: StepOp, shape: &[usize]| {
        let at = program.steps.len();
        let name = format!("s{at}");
        let operands = at.checked_sub(1).map(StepId::new).into_iter().collect();
        let shape = shape.to_vec();
        program.steps.push(Step { tensor: name.clone(), name, op, operands, shape })
    };
    let mut matrix = |n_rows: usize, n_cols: usize, lowering: Lowering| {
        let layer = layers.push(MatrixLayer {
            name: format!("{n_rows}x{n_cols}"),
            blocks: ArcArray::from_elem((1, n_rows, n_cols), 0.01),
            bias: vec![0.0; n_cols],
            input: InputCoding { full_scale: 1.0, signed: false },
            ranges: vec![1.0; n_cols],
        });
        StepOp::Matrix { layer, lowering }
    };
    let relu = || StepOp::Digital(Op::Unary(Unary::Relu));
    let pool = || StepOp::Digital(Op::MaxPool { window: Window::square(2, 2, 0) });
    add(StepOp::Digital(Op::Input), &[1, 28, 28]);
    add(matrix(25, 6, Lowering::Conv(Window::square(5, 1, 0))), &[6, 24, 24]);
    add(relu(), &[6, 24, 24]);
    add(pool(), &[6, 12, 12]);
    add(matrix(150, 16, Lowering::Conv(Window::square(5, 1, 0))), &[16, 8, 8]);
    add(relu(), &[16, 8, 8]);
    add(pool(), &[16, 4, 4]);
    add(StepOp::Digital(Op::Reshape), &[256]);
    add(matrix(256, 120, Lowering::Dense), &[120]);
    add(relu(), &[120]);
    add(matrix(120, 84, Lowering::Dense), &[84]);
    add(relu(), &[84]);
    let logits = add(matrix(84, 10, Lowering::Dense), &[10]);
    program.outputs = vec![logits];
    let shapes = layers.iter().map(MatrixLayer::shape).collect();
    verify_program(&program, &shapes).expect("the network is well formed");
    (program, layers)
}

#[divan::bench]
fn lenet_digital_part(bencher: Bencher) {
    let (program, _) = lenet();
    let x = images(&[1, 28, 28]);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| run_program(&program, &x, 0, &mut NoEngine, &mut |_, _| {}));
}

#[divan::bench]
fn lenet_whole(bencher: Bencher) {
    let (program, layers) = lenet();
    let x = images(&[1, 28, 28]);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        run_program(&program, &x, 0, &mut FloatEngine::new(&layers), &mut |_, _| {})
    });
}
