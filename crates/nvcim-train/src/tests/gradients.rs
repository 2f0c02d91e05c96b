//! Every operator forth against the executor, and back against finite differences.

use std::sync::Arc;

use ndarray::{ArcArray, IxDyn};
use nvcim_ir::graph::Constant;
use nvcim_ir::ids::{ConstId, Id, IdVec, LayerId, StepId};
use nvcim_ir::op::{Binary, Op, Reduction, SliceAxis, Unary, Window};
use nvcim_ir::program::{Lowering, Program, Step, StepOp};
use nvcim_ir::tiled::{InputCoding, MatrixLayer, TiledNet};
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_program::run_program;
use nvcim_ops::tensor::Tensor;

use super::networks::{numbers, tensor};
use crate::matrix::SeenLayer;
use crate::network::{Network, Shared};
use crate::tape::{self, Buffer, Tape};
use burn_backend::ops::FloatTensorOps;

/// Rounding of a few dozen f32 operations on numbers of order 1.
const FORTH: f32 = 2e-5;
/// Central differences of f32 with steps of 1/64: truncation of smooth functions and rounding.
const BACK: f32 = 6e-3;
const STEP: f32 = 1.0 / 64.0;

/// A program of an input and some steps, without a matrix.
struct Case {
    program: Program,
}

impl Case {
    fn new(input: &[usize]) -> Self {
        let mut program = Program::default();
        program.steps.push(step("input", StepOp::Digital(Op::Input), &[], input));
        Self { program }
    }

    fn constant(&mut self, shape: &[usize], values: Vec<f32>) -> ConstId {
        let value = ArcArray::from_shape_vec(IxDyn(shape), values).unwrap();
        self.program.consts.push(Constant { name: "c".into(), value })
    }

    fn add(&mut self, op: Op, operands: &[usize], shape: &[usize]) -> usize {
        let operands: Vec<StepId> = operands.iter().map(|&at| StepId::new(at)).collect();
        self.program.steps.push(step(op.name(), StepOp::Digital(op), &operands, shape)).index()
    }

    fn net(mut self) -> TiledNet {
        self.program.outputs = vec![StepId::new(self.program.steps.len() - 1)];
        TiledNet { program: self.program, layers: IdVec::new(), tiles: IdVec::new() }
    }
}

fn step(name: &str, op: StepOp, operands: &[StepId], shape: &[usize]) -> Step {
    Step {
        name: name.into(),
        tensor: name.into(),
        op,
        operands: operands.to_vec(),
        shape: shape.to_vec(),
    }
}

fn exact_layers(net: &TiledNet) -> IdVec<LayerId, Arc<SeenLayer>> {
    let exact = |layer: &MatrixLayer| {
        let weights: Vec<f32> = layer.blocks.iter().copied().collect();
        Arc::new(SeenLayer::exact(layer.blocks.dim(), &weights, &layer.bias))
    };
    net.layers.iter().map(exact).collect()
}

/// A weighted sum of the outputs, and its gradients by the input and by each layer's weights and biases.
fn score(net: &TiledNet, x: &Tensor) -> (f64, Vec<f32>, Vec<Vec<f32>>) {
    let network = Network::plan(net).unwrap();
    let layers = exact_layers(net);
    let leaves: IdVec<LayerId, _> = net
        .layers
        .iter()
        .map(|layer| {
            let weights: Vec<f32> = layer.blocks.iter().copied().collect();
            Shared::new(&weights, &layer.bias).leaves()
        })
        .collect();
    let input = Buffer::new(x.iter().copied().collect(), x.shape()).leaf();
    let out = network.run(&layers, &leaves, input.clone(), 0).unwrap();
    let shape = tape::shape_of(&out);
    let factors = numbers(99, shape.iter().product());
    let value = tape::values_of(&out).iter().zip(&factors).map(|(a, b)| f64::from(a * b)).sum();
    let loss = Tape::float_sum(Tape::float_mul(out, tape::constant(factors, &shape)));
    let wanted = leaves.iter().flat_map(|it| [&it.weights, &it.bias]);
    let wanted: Vec<_> = std::iter::once(&input).chain(wanted).collect();
    let mut found = tape::gradients(loss, wanted).into_iter();
    let of_input = found.next().unwrap();
    (value, of_input, found.collect())
}

#[track_caller]
fn assert_gradient(name: &str, got: f32, high: f64, low: f64) {
    let want = ((high - low) / f64::from(2.0 * STEP)) as f32;
    assert!((got - want).abs() <= BACK * (1.0 + want.abs()), "{name}: {got} is not {want}");
}

/// Checks outputs against the executor, and the gradient of the input against finite differences.
#[track_caller]
fn check(net: &TiledNet, x: &Tensor) {
    let name = net.program.to_string();
    let mut want = Tensor::zeros(IxDyn(&[]));
    let mut engine = FloatEngine::new(&net.layers);
    let last = net.program.outputs[0];
    run_program(&net.program, x, 0, &mut engine, &mut |id, tensor| {
        if id == last {
            want = tensor.clone();
        }
    });
    let factors = numbers(99, want.len());
    let sum: f64 = want.iter().zip(&factors).map(|(a, b)| f64::from(a * b)).sum();
    let (value, gradient, _) = score(net, x);
    let size: f32 = want.iter().fold(1.0, |most, x| most.max(x.abs()));
    let bound = f64::from(FORTH * size) * (want.len() as f64);
    assert!((value - sum).abs() <= bound, "{name}: {value} is not {sum}");
    for (at, got) in gradient.into_iter().enumerate() {
        let moved = |by: f32| {
            let mut x = x.clone();
            x.as_slice_mut().unwrap()[at] += by;
            score(net, &x).0
        };
        assert_gradient(&name, got, moved(STEP), moved(-STEP));
    }
}

/// Numbers that keep off whole and half numbers and off each other by more than a finite step.
fn apart(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let order = {
        let z = numbers(4, count);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| z[a].total_cmp(&z[b]));
        order
    };
    let mut values = vec![0.0; count];
    for (at, &to) in order.iter().enumerate() {
        values[to] = 0.09 * (at as f32 - count as f32 / 2.0) + 0.044;
        let off = values[to] * 2.0 - (values[to] * 2.0).round();
        if off.abs() < 0.08 {
            values[to] += 0.05;
        }
    }
    Tensor::from_shape_vec(IxDyn(shape), values).unwrap()
}

#[test]
fn functions_of_one_tensor() {
    let all = [
        Unary::Relu,
        Unary::Clip { lo: -0.27, hi: 0.36 },
        Unary::Clip { lo: f32::NEG_INFINITY, hi: 0.36 },
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::LeakyRelu { alpha: 0.2 },
        Unary::HardSwish,
        Unary::Abs,
        Unary::Exp,
        Unary::Erf,
        Unary::Sin,
        Unary::Cos,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sign,
        Unary::Softplus,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Elu { alpha: 1.2, gamma: 1.1, width: 0.9 },
    ];
    for function in all {
        let mut case = Case::new(&[8]);
        case.add(Op::Unary(function), &[0], &[8]);
        check(&case.net(), &apart(&[2, 8]));
    }
    for function in [Unary::Sqrt, Unary::Log] {
        let mut case = Case::new(&[5]);
        case.add(Op::Unary(function), &[0], &[5]);
        check(&case.net(), &tensor(2, &[2, 5]).mapv(|x| 1.0 + 0.4 * x));
    }
}

#[test]
fn functions_of_two_tensors_broadcast() {
    for function in
        [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Min, Binary::Max, Binary::Pow]
    {
        // A constant of fewer axes, and a sum over an axis that stays.
        let mut case = Case::new(&[2, 3]);
        let positive = Op::Unary(Unary::Exp);
        let x = case.add(positive, &[0], &[2, 3]);
        let value = case.constant(&[3], vec![0.61, 1.43, 2.18]);
        let c = case.add(Op::Const(value), &[], &[3]);
        let first = case.add(Op::Binary(function), &[x, c], &[2, 3]);
        let sums = Op::Reduce { reduction: Reduction::Sum, axes: vec![1] };
        let sum = case.add(sums, &[x], &[2, 1]);
        case.add(Op::Binary(function), &[sum, first], &[2, 3]);
        check(&case.net(), &apart(&[2, 2, 3]).mapv(|x| 0.7 * x));
    }
    for function in [Binary::Equal, Binary::Greater, Binary::GreaterOrEqual] {
        let mut case = Case::new(&[2, 3]);
        let turned = case.add(Op::Unary(Unary::Abs), &[0], &[2, 3]);
        let truth = case.add(Op::Binary(function), &[turned, 0], &[2, 3]);
        case.add(Op::Binary(Binary::Mul), &[truth, 0], &[2, 3]);
        check(&case.net(), &apart(&[2, 2, 3]));
    }
    let mut case = Case::new(&[2, 3]);
    let asked = case.constant(&[1, 3], vec![0.0, 1.0, -2.0]);
    let asked = case.add(Op::Const(asked), &[], &[1, 3]);
    let double = case.add(Op::Binary(Binary::Add), &[0, 0], &[2, 3]);
    case.add(Op::Select, &[asked, double, 0], &[2, 3]);
    check(&case.net(), &tensor(3, &[2, 2, 3]));
}

#[test]
fn pools_and_extremes() {
    let uneven = Window { pads_begin: [1, 0], pads_end: [0, 1], ..Window::square(2, 2, 0) };
    for (window, shape) in [
        (Window::square(2, 2, 0), [2, 2, 2]),
        (Window::square(3, 1, 1), [2, 4, 4]),
        (uneven, [2, 2, 2]),
        // Rounded up: the last windows hang over.
        (Window::square(3, 2, 0), [2, 2, 2]),
    ] {
        let mut case = Case::new(&[2, 4, 4]);
        case.add(Op::MaxPool { window: window.clone() }, &[0], &shape);
        check(&case.net(), &apart(&[2, 2, 4, 4]));
        for count_pad in [false, true] {
            let mut case = Case::new(&[2, 4, 4]);
            case.add(Op::AveragePool { window: window.clone(), count_pad }, &[0], &shape);
            check(&case.net(), &tensor(2, &[2, 2, 4, 4]));
        }
    }
    let mut case = Case::new(&[3, 2, 2]);
    case.add(Op::GlobalAveragePool, &[0], &[3, 1, 1]);
    check(&case.net(), &tensor(2, &[2, 3, 2, 2]));
    for reduction in
        [Reduction::Mean, Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod]
    {
        for (axes, shape) in [(vec![1], vec![2, 4]), (vec![0, 2], vec![1, 3, 1])] {
            let mut case = Case::new(&[2, 3, 4]);
            case.add(Op::Reduce { reduction, axes }, &[0], &shape);
            check(&case.net(), &apart(&[1, 2, 3, 4]).mapv(|x| 0.8 * x));
        }
    }
}

#[test]
fn normalisers() {
    for axis in 0..2 {
        for op in [Op::Softmax { axis }, Op::LogSoftmax { axis }] {
            let mut case = Case::new(&[2, 3]);
            // A softmax at the end would not be scored.
            let shares = case.add(op, &[0], &[2, 3]);
            case.add(Op::Unary(Unary::Exp), &[shares], &[2, 3]);
            check(&case.net(), &tensor(5, &[2, 2, 3]));
        }
    }
    for (axes, centred) in [(vec![1], true), (vec![0, 1], true), (vec![0], false)] {
        let mut case = Case::new(&[3, 4]);
        case.add(Op::Normalize { axes, epsilon: 0.1, centred }, &[0], &[3, 4]);
        check(&case.net(), &tensor(5, &[2, 3, 4]));
    }
    let mut case = Case::new(&[2, 2, 2]);
    let [scale, bias, mean] = [1, 2, 3].map(|seed| case.constant(&[2], numbers(seed, 2)));
    let var = case.constant(&[2], vec![0.5, 2.0]);
    let op = Op::BatchNorm { scale, bias, mean, var, epsilon: 1e-3 };
    case.add(op, &[0], &[2, 2, 2]);
    check(&case.net(), &tensor(5, &[2, 2, 2, 2]));
}

#[test]
fn moves_and_products() {
    let slice = |start, step, len| SliceAxis { start, step, len };
    let cases = [
        (Op::Transpose { perm: vec![1, 0] }, vec![4, 3]),
        (Op::Gather { axis: 1, indices: vec![3, 0, 3] }, vec![3, 3]),
        (Op::Slice { axes: vec![slice(2, -1, 3), slice(0, 2, 2)] }, vec![3, 2]),
        (Op::Pad { before: vec![1, 0], after: vec![0, 2], value: 0.5 }, vec![4, 6]),
        (Op::Reshape, vec![2, 6]),
        (Op::Expand, vec![2, 3, 4]),
    ];
    for (op, shape) in cases {
        let mut case = Case::new(&[3, 4]);
        case.add(op, &[0], &shape);
        check(&case.net(), &tensor(6, &[2, 3, 4]));
    }
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut case = Case::new(&[3, 4]);
        case.add(Op::CumSum { axis: 1, exclusive, reverse }, &[0], &[3, 4]);
        check(&case.net(), &tensor(6, &[2, 3, 4]));
    }
    let mut case = Case::new(&[3, 4]);
    let most = case.add(Op::ArgMax { axis: 1, last: false }, &[0], &[3, 1]);
    case.add(Op::Binary(Binary::Add), &[0, most], &[3, 4]);
    check(&case.net(), &apart(&[2, 3, 4]));
    for groups in [1, 2] {
        let mut case = Case::new(&[2, 4, 4]);
        let weight = case.constant(&[4, 2 / groups, 3, 3], numbers(7, 72 / groups));
        let bias = Some(case.constant(&[4], numbers(8, 4)));
        case.add(
            Op::Conv { weight, bias, window: Window::square(3, 1, 1), groups },
            &[0],
            &[4, 4, 4],
        );
        check(&case.net(), &tensor(6, &[2, 2, 4, 4]));
    }
    let mut case = Case::new(&[3, 4]);
    let turned = case.add(Op::Transpose { perm: vec![1, 0] }, &[0], &[4, 3]);
    let product = case.add(Op::MatMul, &[0, turned], &[3, 3]);
    case.add(Op::Concat { axis: 1 }, &[product, 0], &[3, 7]);
    check(&case.net(), &tensor(6, &[2, 3, 4]));
}

/// One matrix step on its input.
fn matrix(
    blocks: (usize, usize, usize),
    lowering: Lowering,
    from: &[usize],
    to: &[usize],
) -> TiledNet {
    let (groups, rows, cols) = blocks;
    let mut program = Program::default();
    program.steps.push(step("input", StepOp::Digital(Op::Input), &[], from));
    let op = StepOp::Matrix { layer: Id::new(0), lowering };
    program.steps.push(step("matrix", op, &[StepId::new(0)], to));
    program.outputs = vec![StepId::new(1)];
    let layer = MatrixLayer {
        name: "matrix".into(),
        blocks: ArcArray::from_shape_vec(blocks, numbers(7, groups * rows * cols)).unwrap(),
        bias: numbers(8, groups * cols),
        input: InputCoding { full_scale: 1.0, signed: true },
        ranges: vec![1.0; groups * cols],
    };
    TiledNet { program, layers: [layer].into_iter().collect(), tiles: IdVec::new() }
}

#[test]
fn matrices_of_every_kind() {
    let wide = Window { dilations: [2, 1], ..Window::square(2, 1, 1) };
    let nets = [
        (matrix((1, 3, 4), Lowering::Dense, &[2, 3], &[2, 4]), vec![2, 2, 3]),
        (
            matrix((1, 18, 3), Lowering::Conv(Window::square(3, 2, 1)), &[2, 5, 5], &[3, 3, 3]),
            vec![2, 2, 5, 5],
        ),
        (matrix((2, 4, 2), Lowering::Conv(wide), &[2, 4, 4], &[4, 4, 5]), vec![2, 2, 4, 4]),
        (
            matrix((1, 2, 3), Lowering::Conv(Window::square(1, 1, 0)), &[2, 3, 3], &[3, 3, 3]),
            vec![1, 2, 3, 3],
        ),
    ];
    for (net, shape) in nets {
        let x = tensor(5, &shape);
        check(&net, &x);
        let (_, _, gradients) = score(&net, &x);
        let moved = |change: &dyn Fn(&mut MatrixLayer)| {
            let mut net = net.clone();
            change(&mut net.layers[Id::new(0)]);
            score(&net, &x).0
        };
        for (at, got) in gradients[0].iter().enumerate() {
            let weigh = |by: f32| moved(&|layer| *layer.blocks.iter_mut().nth(at).unwrap() += by);
            assert_gradient("weight", *got, weigh(STEP), weigh(-STEP));
        }
        for (at, got) in gradients[1].iter().enumerate() {
            let lift = |by: f32| moved(&|layer| layer.bias[at] += by);
            assert_gradient("bias", *got, lift(STEP), lift(-STEP));
        }
    }
}
