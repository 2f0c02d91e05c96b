//! Small chips, graphs and numbers for this crate's tests.

use ndarray::{ArcArray, ArrayD, IxDyn};
use nvcim_chip::describe::Chip;
use nvcim_chip::presets::find_preset;
use nvcim_ir::graph::{self, Constant, Graph, Node};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::{Op, Unary, Window};
use nvcim_ir::tiled::TiledNet;
use nvcim_map::map_graph::map_graph;
use nvcim_ops::tensor::Tensor;

/// Numbers that look random, between -1 and 1, the same for the same seed.
pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    for _ in 0..4 {
        draw();
    }
    (0..count).map(|_| draw()).collect()
}

/// A tensor of such numbers.
pub(super) fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    ArrayD::from_shape_vec(IxDyn(shape), numbers(seed, shape.iter().product())).unwrap()
}

/// Builds a graph node by node.
pub(super) struct Builder {
    graph: Graph,
    seed: u64,
}

impl Builder {
    /// A graph with an input of this shape, node 0.
    pub(super) fn new(seed: u64, input: &[usize]) -> (Self, NodeId) {
        let mut res = Self { graph: Graph::default(), seed };
        let input = res.add(Op::Input, &[], input);
        (res, input)
    }

    /// A node of this shape.
    pub(super) fn add(&mut self, op: Op, operands: &[NodeId], shape: &[usize]) -> NodeId {
        let name = format!("{}{}", op.name(), self.graph.len());
        let node = Node { tensor: name.clone(), name, op, shape: shape.to_vec() };
        self.graph.add_node(node, operands)
    }

    /// A constant of random values up to `size`.
    pub(super) fn value(&mut self, shape: &[usize], size: f32) -> ConstId {
        self.seed += 1;
        let values = numbers(self.seed, shape.iter().product()).into_iter().map(|x| size * x);
        let value = ArcArray::from_shape_vec(IxDyn(shape), values.collect()).unwrap();
        let name = format!("const{}", self.graph.consts.len());
        self.graph.consts.push(Constant { name, value })
    }

    pub(super) fn conv(
        &mut self,
        x: NodeId,
        filters: usize,
        groups: usize,
        window: Window,
    ) -> NodeId {
        let &[channels, height, width] = self.graph.node(x).shape.as_slice() else {
            unreachable!()
        };
        let [kernel_h, kernel_w] = window.kernel;
        let scale = 1.0 / ((channels / groups * kernel_h * kernel_w) as f32).sqrt();
        let weight = self.value(&[filters, channels / groups, kernel_h, kernel_w], scale);
        let bias = Some(self.value(&[filters], 0.3));
        let shape =
            [filters, window.positions(0, height).unwrap(), window.positions(1, width).unwrap()];
        self.add(Op::Conv { weight, bias, window, groups }, &[x], &shape)
    }

    pub(super) fn dense(&mut self, x: NodeId, outputs: usize) -> NodeId {
        let mut shape = self.graph.node(x).shape.clone();
        let inputs = shape.pop().unwrap();
        shape.push(outputs);
        let weight = self.value(&[outputs, inputs], 1.0 / (inputs as f32).sqrt());
        let bias = Some(self.value(&[outputs], 0.3));
        self.add(Op::Dense { weight, bias, transposed: true }, &[x], &shape)
    }

    /// The verified graph with this output.
    pub(super) fn finish(mut self, output: NodeId) -> Graph {
        self.graph.outputs = vec![output];
        graph::verify_graph(&self.graph).unwrap();
        self.graph
    }
}

/// Convolution, rectifier, pool, depthwise convolution, dense layer: three scores from `[2, 8, 8]`.
pub(super) fn small_graph() -> Graph {
    let (mut net, x) = Builder::new(1, &[2, 8, 8]);
    let conv = net.conv(x, 4, 1, Window::square(3, 1, 1));
    let act = net.add(Op::Unary(Unary::Relu), &[conv], &[4, 8, 8]);
    let pool = net.add(Op::MaxPool { window: Window::square(2, 2, 0) }, &[act], &[4, 4, 4]);
    let depth = net.conv(pool, 4, 4, Window::square(3, 1, 1));
    let flat = net.add(Op::Reshape, &[depth], &[64]);
    let dense = net.dense(flat, 3);
    let out = net.add(Op::Softmax { axis: 0 }, &[dense], &[3]);
    net.finish(out)
}

/// A net on a chip, its ranges set on 16 images.
pub(super) fn map(graph: &Graph, chip: &Chip) -> TiledNet {
    let shape = [&[16], graph.node(graph.input()).shape.as_slice()].concat();
    map_graph(graph, chip, Some(&tensor(9, &shape))).unwrap().output.net
}

/// A preset.
pub(super) fn chip(name: &str) -> Chip {
    find_preset(name).unwrap()
}
