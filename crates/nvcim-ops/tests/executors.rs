//! Both executors on a small network: agreement, batch splits, and what visitors see.

use ndarray::{Array3, ArrayD, ArrayView2, ArrayViewMut2, Ix2, IxDyn, s};
use nvcim_ir::graph::{Constant, Graph, Node, verify_graph};
use nvcim_ir::ids::{ConstId, Id, IdVec, LayerId, NodeId, StepId};
use nvcim_ir::op::{Binary, Op, Unary, Window};
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

fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        strides: [stride; 2],
        dilations: [1; 2],
        pads_begin: [pad; 2],
        pads_end: [pad; 2],
    }
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
    let conv = net.conv(x, &[4, 2, 3, 3], window(3, 1, 1), &[4, 8, 8]);
    let relu = net.node(Op::Unary(Unary::Relu), &[conv], &[4, 8, 8]);
    let point = net.conv(relu, &[4, 4, 1, 1], window(1, 1, 0), &[4, 8, 8]);
    let skip = net.node(Op::Binary(Binary::Add), &[relu, point], &[4, 8, 8]);
    let twice = net.node(Op::Binary(Binary::Add), &[skip, skip], &[4, 8, 8]);
    let pool = net.node(Op::MaxPool { window: window(2, 2, 0) }, &[twice], &[4, 4, 4]);
    let grouped = net.conv(pool, &[6, 2, 3, 3], window(3, 2, 1), &[6, 2, 2]);
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
                let blocks = weight.insert_axis(ndarray::Axis(0)).to_owned();
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
    MatrixLayer {
        name: "matrix".into(),
        blocks,
        bias: graph.consts[bias].value.iter().copied().collect(),
        input: InputCoding { full_scale: 1.0, signed: true },
        w_max: 1.0,
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

#[test]
fn graph_and_program_agree_on_every_tensor() {
    let graph = build_graph();
    let (program, layers) = lower_graph(&graph);
    let input = values(&[3, 2, 8, 8], 99);
    let mut reference = Vec::new();
    let outputs = run_graph(&graph, &input, &mut |id, tensor| {
        reference.push((to_step(id), tensor.clone()));
    });
    assert_eq!(reference.len(), graph.len());

    let mut float = FloatEngine::new(&layers);
    let mut naive = NaiveEngine { layers: &layers, asked: Vec::new() };
    let engines: [(&mut dyn MatrixEngine, bool); 2] = [(&mut float, true), (&mut naive, false)];
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
    let graph = build_graph();
    let (program, layers) = lower_graph(&graph);
    let n = 21;
    let input = values(&[n, 2, 8, 8], 5);
    let whole = run_graph(&graph, &input, &mut |_, _| {});
    for size in [1, 3, 7] {
        for start in (0..n).step_by(size) {
            let part = input.slice(s![start..start + size, .., .., ..]).into_dyn().to_owned();
            let mut engine = FloatEngine::new(&layers);
            let outputs = [
                run_graph(&graph, &part, &mut |_, _| {}),
                run_program(&program, &part, start as u64, &mut engine, &mut |_, _| {}),
            ];
            for (part, whole) in outputs.iter().flat_map(|outputs| outputs.iter().zip(&whole)) {
                let whole = whole.slice_axis(ndarray::Axis(0), (start..start + size).into());
                let bits = |value: &f32| value.to_bits();
                assert!(part.iter().map(bits).eq(whole.iter().map(bits)), "{start}+{size}");
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
