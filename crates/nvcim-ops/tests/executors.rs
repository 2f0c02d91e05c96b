//! Both executors on a small network: agreement, batch splits, and what visitors see.

use ndarray::{Array3, ArrayD, ArrayView2, ArrayViewMut2, Axis, Ix2, IxDyn, s};
use nvcim_ir::graph::{Constant, Graph, Node, verify_graph};
use nvcim_ir::ids::{ConstId, Id, IdVec, LayerId, NodeId, StepId};
use nvcim_ir::op::{Binary, Op, Reduction, SliceAxis, Unary, Window};
use nvcim_ir::program::{Lowering, Program, Step, StepOp, verify_program};
use nvcim_ir::tiled::{InputCoding, MatrixLayer};
use nvcim_ops::float_engine::FloatEngine;
use nvcim_ops::run_graph::run_graph;
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;

/// Reproducible values between -1 and 1 that no sum makes look alike.
fn values(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// Builds a graph whose nodes are named after their place.
#[derive(Default)]
struct Builder {
    graph: Graph,
}

impl Builder {
    fn constant(&mut self, shape: &[usize]) -> ConstId {
        let seed = self.graph.consts.len();
        let value = values(shape, seed as u32).into_shared();
        self.graph.consts.push(Constant { name: format!("c{seed}"), value })
    }

    fn node(&mut self, op: Op, operands: &[NodeId], shape: &[usize]) -> NodeId {
        let name = format!("n{}", self.graph.len());
        let node = Node { name: name.clone(), tensor: name, op, shape: shape.to_vec() };
        self.graph.add_node(node, operands)
    }

    fn conv(&mut self, x: NodeId, weight: &[usize], window: Window, shape: &[usize]) -> NodeId {
        let groups = self.graph.node(x).shape[0] / weight[1];
        let (weight, bias) = (self.constant(weight), Some(self.constant(&shape[..1])));
        self.node(Op::Conv { weight, bias, window, groups }, &[x], shape)
    }

    fn dense(&mut self, x: NodeId, weight: &[usize], transposed: bool, shape: &[usize]) -> NodeId {
        let bias = Some(self.constant(&shape[shape.len() - 1..]));
        let weight = self.constant(weight);
        self.node(Op::Dense { weight, bias, transposed }, &[x], shape)
    }
}

/// Plain, pointwise and grouped convolutions, a skip connection, a constant operand, dense layers on
/// vectors and on rows; the outputs are the result, an inner tensor, a constant and the input.
fn build_graph() -> Graph {
    let mut net = Builder::default();
    let x = net.node(Op::Input, &[], &[2, 8, 8]);
    let conv = net.conv(x, &[4, 2, 3, 3], Window::square(3, 1, 1), &[4, 8, 8]);
    let relu = net.node(Op::Unary(Unary::Relu), &[conv], &[4, 8, 8]);
    let point = net.conv(relu, &[4, 4, 1, 1], Window::square(1, 1, 0), &[4, 8, 8]);
    let skip = net.node(Op::Binary(Binary::Add), &[relu, point], &[4, 8, 8]);
    let twice = net.node(Op::Binary(Binary::Add), &[skip, skip], &[4, 8, 8]);
    let pool = net.node(Op::MaxPool { window: Window::square(2, 2, 0) }, &[twice], &[4, 4, 4]);
    let grouped = net.conv(pool, &[6, 2, 3, 3], Window::square(3, 2, 1), &[6, 2, 2]);
    let rows = net.node(Op::Reshape, &[grouped], &[6, 4]);
    let mixed = net.dense(rows, &[4, 5], false, &[6, 5]);
    let scale = net.constant(&[6, 1]);
    let scale = net.node(Op::Const(scale), &[], &[6, 1]);
    let scaled = net.node(Op::Binary(Binary::Mul), &[scale, mixed], &[6, 5]);
    let flat = net.node(Op::Reshape, &[scaled], &[30]);
    let logits = net.dense(flat, &[10, 30], true, &[10]);
    let softmax = net.node(Op::Softmax { axis: 0 }, &[logits], &[10]);
    net.graph.outputs = vec![softmax, logits, scale, x, softmax];
    verify_graph(&net.graph).unwrap();
    net.graph
}

/// The operators that [`build_graph`] lacks, one after the other.
fn build_tour() -> Graph {
    let mut net = Builder::default();
    let x = net.node(Op::Input, &[], &[3, 9, 8]);
    let per_channel = [(); 3].map(|()| net.constant(&[3]));
    let [scale, bias, mean] = per_channel;
    let var = values(&[3], 77).mapv(f32::abs).into_shared();
    let var = net.graph.consts.push(Constant { name: "var".into(), value: var });
    let norm = Op::BatchNorm { scale, bias, mean, var, epsilon: 1e-5 };
    let norm = net.node(norm, &[x], &[3, 9, 8]);
    let depthwise = net.conv(norm, &[6, 1, 3, 3], Window::square(3, 2, 1), &[6, 5, 4]);
    let hard = net.node(Op::Unary(Unary::HardSwish), &[depthwise], &[6, 5, 4]);
    let mean = Op::AveragePool { window: Window::square(3, 1, 1), count_pad: true };
    let mean = net.node(mean, &[hard], &[6, 5, 4]);
    let global = net.node(Op::GlobalAveragePool, &[mean], &[6, 1, 1]);
    let gate = net.node(Op::Unary(Unary::Sigmoid), &[global], &[6, 1, 1]);
    let gated = net.node(Op::Binary(Binary::Div), &[mean, gate], &[6, 5, 4]);
    let turned = net.node(Op::Transpose { perm: vec![2, 0, 1] }, &[gated], &[4, 6, 5]);
    let wide = Op::Pad { before: vec![0, 0, 2], after: vec![1, 0, 0], value: 0.5 };
    let wide = net.node(wide, &[turned], &[5, 6, 7]);
    let axes =
        [(4, -2, 3), (0, 1, 6), (1, 3, 2)].map(|(start, step, len)| SliceAxis { start, step, len });
    let part = net.node(Op::Slice { axes: axes.to_vec() }, &[wide], &[3, 6, 2]);
    let pair = net.node(Op::Concat { axis: 2 }, &[part, part], &[3, 6, 4]);
    let rows = net.node(Op::Reduce { reduction: Reduction::Mean, axes: vec![0] }, &[pair], &[6, 4]);
    let bounded = net.node(Op::Unary(Unary::Tanh), &[rows], &[6, 4]);
    let log = net.node(Op::LogSoftmax { axis: 0 }, &[bounded], &[6, 4]);
    net.graph.outputs = vec![log];
    verify_graph(&net.graph).unwrap();
    net.graph
}

/// The graph as a program in which every convolution and dense layer is a matrix.
fn lower_graph(graph: &Graph) -> (Program, IdVec<LayerId, MatrixLayer>) {
    let mut program = Program { consts: graph.consts.clone(), ..Program::default() };
    let mut layers = IdVec::new();
    for id in graph.topological_order().unwrap() {
        let node = graph.node(id);
        let op = match &node.op {
            Op::Conv { weight, bias, window, groups } => {
                let weight = &graph.consts[*weight].value;
                let (filters, groups) = (node.shape[0], *groups);
                let k = weight.len() / filters;
                let blocks = weight.to_shape((groups, filters / groups, k)).unwrap();
                let blocks = blocks.permuted_axes([0, 2, 1]).to_owned();
                let layer = layers.push(layer(graph, blocks, bias.unwrap()));
                StepOp::Matrix { layer, lowering: Lowering::Conv(window.clone()) }
            }
            Op::Dense { weight, bias, transposed } => {
                let weight =
                    graph.consts[*weight].value.view().into_dimensionality::<Ix2>().unwrap();
                let weight = if *transposed { weight.reversed_axes() } else { weight };
                let blocks = weight.insert_axis(Axis(0)).to_owned();
                let layer = layers.push(layer(graph, blocks, bias.unwrap()));
                StepOp::Matrix { layer, lowering: Lowering::Dense }
            }
            op => StepOp::Digital(op.clone()),
        };
        let (name, tensor) = (node.name.clone(), node.tensor.clone());
        let operands = graph.operands(id).into_iter().map(to_step).collect();
        program.steps.push(Step { name, tensor, op, operands, shape: node.shape.clone() });
    }
    program.outputs = graph.outputs.iter().copied().map(to_step).collect();
    let shapes = layers.iter().map(MatrixLayer::shape).collect();
    verify_program(&program, &shapes).unwrap();
    (program, layers)
}

/// The builder adds nodes in topological order, so that steps and nodes share their numbers.
fn to_step(id: NodeId) -> StepId {
    StepId::new(id.index())
}

fn layer(graph: &Graph, blocks: Array3<f32>, bias: ConstId) -> MatrixLayer {
    let bias: Vec<f32> = graph.consts[bias].value.iter().copied().collect();
    MatrixLayer {
        name: "matrix".into(),
        blocks: blocks.into_shared(),
        ranges: vec![1.0; bias.len()],
        bias,
        input: InputCoding { full_scale: 1.0, signed: true },
    }
}

/// Multiplies by the whole matrix, zeros included, in double precision, and keeps what it was asked.
struct NaiveEngine<'a> {
    layers: &'a IdVec<LayerId, MatrixLayer>,
    asked: Vec<(LayerId, Columns, usize)>,
}

impl MatrixEngine for NaiveEngine<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        self.asked.push((layer, columns, x.ncols()));
        let layer = &self.layers[layer];
        let shape = layer.shape();
        let weights = layer.weights(0..shape.n_rows, 0..shape.n_cols);
        for ((col, at), out) in out.indexed_iter_mut() {
            let terms = (0..shape.n_rows)
                .map(|row| f64::from(weights[(row, col)]) * f64::from(x[(row, at)]));
            *out = (f64::from(layer.bias[col]) + terms.sum::<f64>()) as f32;
        }
    }
}

fn assert_close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} is not {b}");
    }
}

/// Compares every tensor of a graph and its program; `exact` where both sum in the same order.
fn compare_executors(graph: &Graph, exact: bool) {
    let (program, layers) = lower_graph(graph);
    let input = values(&[&[3], &graph.node(graph.input()).shape[..]].concat(), 99);
    let mut reference = Vec::new();
    let outputs = run_graph(graph, &input, &mut |id, tensor| {
        reference.push((to_step(id), tensor.clone()));
    });
    assert_eq!(reference.len(), graph.len());

    let mut float = FloatEngine::new(&layers);
    let mut naive = NaiveEngine { layers: &layers, asked: Vec::new() };
    let engines: [(&mut dyn MatrixEngine, bool); 2] = [(&mut float, exact), (&mut naive, false)];
    for (engine, exact) in engines {
        let mut seen = reference.iter();
        let got = run_program(&program, &input, 0, engine, &mut |id, tensor| {
            let (want_id, want) = seen.next().unwrap();
            assert_eq!(id, *want_id);
            assert_close(tensor, want);
            assert!(!exact || tensor == want, "{id} differs in the last bits");
        });
        assert_eq!(seen.next(), None);
        got.iter().zip(&outputs).for_each(|(got, want)| assert_close(got, want));
    }
}

#[test]
fn graph_and_program_agree_on_every_tensor() {
    compare_executors(&build_graph(), true);
    // A depthwise convolution is summed tap by tap in a graph, as blocks of a matrix in a program.
    compare_executors(&build_tour(), false);
}

#[test]
fn outputs_may_repeat_and_may_be_the_input_or_a_constant() {
    let graph = build_graph();
    let input = values(&[3, 2, 8, 8], 99);
    let outputs = run_graph(&graph, &input, &mut |_, _| {});
    let [softmax, logits, scale, copy, again] = &outputs[..] else { panic!("five outputs") };
    assert_eq!((softmax.shape(), logits.shape()), (&[3, 10][..], &[3, 10][..]));
    assert_eq!((softmax, copy), (again, &input));
    assert_eq!(scale.shape(), [3, 6, 1]);
    assert_eq!(scale.slice(s![0, .., ..]), scale.slice(s![2, .., ..]));
}

#[test]
fn a_batch_may_be_split_anywhere_without_changing_a_bit() {
    for graph in [build_graph(), build_tour()] {
        let (program, layers) = lower_graph(&graph);
        let run = |part: &Tensor, first_sample| {
            let mut engine = FloatEngine::new(&layers);
            let mut outputs = run_graph(&graph, part, &mut |_, _| {});
            outputs.extend(run_program(&program, part, first_sample, &mut engine, &mut |_, _| {}));
            outputs
        };
        let n = 21;
        let input = values(&[&[n], &graph.node(graph.input()).shape[..]].concat(), 5);
        let whole = run(&input, 0);
        for size in [1, 3, 7] {
            for start in (0..n).step_by(size) {
                let cut =
                    |x: &Tensor| x.slice_axis(Axis(0), (start..start + size).into()).to_owned();
                let bits = |x: &Tensor| x.mapv(f32::to_bits);
                for (part, whole) in run(&cut(&input), start as u64).iter().zip(&whole) {
                    assert_eq!(bits(part), bits(&cut(whole)), "{start}+{size}");
                }
            }
        }
    }
}

#[test]
fn engines_learn_whose_columns_they_multiply() {
    let graph = build_graph();
    let (program, layers) = lower_graph(&graph);
    let mut engine = NaiveEngine { layers: &layers, asked: Vec::new() };
    run_program(&program, &values(&[2, 2, 8, 8], 1), 40, &mut engine, &mut |_, _| {});
    let asked: Vec<_> = engine
        .asked
        .iter()
        .map(|(layer, columns, count)| {
            (layer.index(), columns.first_sample, columns.per_sample, *count)
        })
        .collect();
    let want = [
        (0, 40, 64, 64),
        (0, 41, 64, 64),
        (1, 40, 64, 64),
        (1, 41, 64, 64),
        (2, 40, 4, 4),
        (2, 41, 4, 4),
        (3, 40, 6, 12),
        (4, 40, 1, 2),
    ];
    assert_eq!(asked, want);
}

#[test]
fn an_empty_batch_and_a_transposed_input_are_fine() {
    let graph = build_graph();
    let outputs = run_graph(&graph, &values(&[0, 2, 8, 8], 1), &mut |_, _| {});
    assert_eq!(outputs[0].shape(), [0, 10]);
    let input = values(&[3, 2, 8, 8], 1);
    let mut columns_first =
        input.clone().permuted_axes(vec![3, 2, 1, 0]).as_standard_layout().into_owned();
    columns_first = columns_first.permuted_axes(vec![3, 2, 1, 0]);
    assert!(!columns_first.is_standard_layout() && columns_first == input);
    let run = |input| run_graph(&graph, input, &mut |_, _| {});
    assert_eq!(run(&columns_first), run(&input));
}
