//! Small chips and graphs for this crate's tests.

use ndarray::{ArcArray, ArrayD, IxDyn};
use nvcim_chip::circuits::Circuits;
use nvcim_chip::describe::{
    Adc, AdcCoding, Arrays, Cell, Chip, Dac, Depthwise, Effects, Holds, InputDrive, NegativeInputs,
    PairAxis, RangePer, Subtract, Topology, Weights,
};
use nvcim_chip::unit_costs::UnitCosts;
use nvcim_ir::graph::{self, Constant, Graph, Node};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::{Op, Window};
use nvcim_ir::shape;
use nvcim_ir::tiled::AdcRange;
use nvcim_ops::run_graph;
use nvcim_ops::tensor::Tensor;

use crate::span::Span;

/// Any number of 16x16 arrays of continuous cells, pairs on columns, without effects.
pub(crate) fn plain_chip() -> Chip {
    Chip {
        name: "plain".into(),
        description: String::new(),
        arrays: Arrays {
            count: None,
            n_rows: 16,
            n_cols: 16,
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
        cell: Cell { g_min: 1e-6, g_max: 100e-6, n_levels: None },
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
            range_per: RangePer::Column,
            coding: AdcCoding::Binary,
        },
        holds: Holds::PER_CONVERSION,
        effects: Effects::default(),
        circuits: Circuits::default(),
        cost: UnitCosts::default(),
        sources: Vec::new(),
    }
}

/// Numbers that look random, between -1 and 1, the same for the same seed.
pub(crate) fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    // The first draws of neighbouring seeds are alike.
    for _ in 0..4 {
        draw();
    }
    (0..count).map(|_| draw()).collect()
}

/// A tensor of such numbers.
pub(crate) fn random_tensor(seed: u64, shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    ArrayD::from_shape_vec(IxDyn(shape), values(seed, count)).unwrap()
}

/// Builds a graph node by node; names and tensors are `conv0`, `relu1` and so on.
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    seed: u64,
}

impl Builder {
    /// A graph with an input of this shape, node 0.
    pub(crate) fn new(seed: u64, input: &[usize]) -> (Self, NodeId) {
        let mut res = Self { graph: Graph::default(), seed };
        let input = res.add(Op::Input, &[], input);
        (res, input)
    }

    /// A node of this shape.
    pub(crate) fn add(&mut self, op: Op, operands: &[NodeId], shape: &[usize]) -> NodeId {
        let name = format!("{}{}", op.name(), self.graph.len());
        let node = Node { tensor: name.clone(), name, op, shape: shape.to_vec() };
        self.graph.add_node(node, operands)
    }

    /// A node whose shape is its first operand's.
    pub(crate) fn map(&mut self, op: Op, operands: &[NodeId]) -> NodeId {
        let shape = self.shape(operands[0]);
        self.add(op, operands, &shape)
    }

    pub(crate) fn shape(&self, id: NodeId) -> Vec<usize> {
        self.graph.node(id).shape.clone()
    }

    /// A constant with these values.
    pub(crate) fn value(&mut self, shape: &[usize], values: Vec<f32>) -> ConstId {
        let value = ArcArray::from_shape_vec(IxDyn(shape), values).unwrap();
        let name = format!("const{}", self.graph.consts.len());
        self.graph.consts.push(Constant { name, value })
    }

    /// A constant of random values between `lo` and `hi`.
    pub(crate) fn random(&mut self, shape: &[usize], lo: f32, hi: f32) -> ConstId {
        self.seed += 1;
        let values = values(self.seed, shape.iter().product());
        let spread = |value: f32| lo + (hi - lo) * (value + 1.0) / 2.0;
        self.value(shape, values.into_iter().map(spread).collect())
    }

    /// A constant operand of random values of magnitude 0.5 to 1.5.
    pub(crate) fn operand(&mut self, shape: &[usize]) -> NodeId {
        let id = self.random(shape, 0.5, 1.5);
        self.add(Op::Const(id), &[], shape)
    }

    pub(crate) fn conv(
        &mut self,
        x: NodeId,
        filters: usize,
        groups: usize,
        window: Window,
    ) -> NodeId {
        let &[channels, height, width] = self.shape(x).as_slice() else { unreachable!() };
        let [kernel_h, kernel_w] = window.kernel;
        let scale = 1.0 / ((channels / groups * kernel_h * kernel_w) as f32).sqrt();
        let weight = self.random(&[filters, channels / groups, kernel_h, kernel_w], -scale, scale);
        let bias = filters.is_multiple_of(2).then(|| self.random(&[filters], -0.5, 0.5));
        let out =
            [filters, window.positions(0, height).unwrap(), window.positions(1, width).unwrap()];
        self.add(Op::Conv { weight, bias, window, groups }, &[x], &out)
    }

    pub(crate) fn dense(&mut self, x: NodeId, outputs: usize, transposed: bool) -> NodeId {
        let mut shape = self.shape(x);
        let inputs = shape.pop().unwrap();
        shape.push(outputs);
        let scale = 1.0 / (inputs as f32).sqrt();
        let dims = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let weight = self.random(&dims, -scale, scale);
        let bias = outputs.is_multiple_of(2).then(|| self.random(&[outputs], -0.5, 0.5));
        self.add(Op::Dense { weight, bias, transposed }, &[x], &shape)
    }

    pub(crate) fn batch_norm(&mut self, x: NodeId) -> NodeId {
        let channels = [self.shape(x)[0]];
        let scale = self.random(&channels, -1.5, 1.5);
        let bias = self.random(&channels, -0.5, 0.5);
        let mean = self.random(&channels, -0.5, 0.5);
        let var = self.random(&channels, 0.5, 1.5);
        self.map(Op::BatchNorm { scale, bias, mean, var, epsilon: 1e-5 }, &[x])
    }

    /// All elements in one axis.
    pub(crate) fn flatten(&mut self, x: NodeId) -> NodeId {
        let len = shape::count_elements(&self.shape(x)).unwrap();
        self.add(Op::Reshape, &[x], &[len])
    }

    /// The verified graph with these outputs.
    pub(crate) fn finish(mut self, outputs: &[NodeId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        graph::verify_graph(&self.graph).unwrap();
        self.graph
    }
}

/// A network of random operators picked by `picks`: convolutions of every kind, norms, constants of every
/// shape, residuals, a flattening, dense layers, and a second output where `picks` says so.
pub(crate) fn random_graph(seed: u64, picks: &[u8]) -> Graph {
    use nvcim_ir::op::{Binary, Unary};
    let (mut net, mut x) = Builder::new(seed, &[2, 5, 5]);
    let mut outputs = Vec::new();
    for &pick in picks {
        let shape = net.shape(x);
        let spatial = shape.len() == 3;
        let last = x;
        x = match pick % 20 {
            0 | 1 if spatial && shape[1] > 2 => net.conv(x, 4, 1, Window::square(3, 1, 0)),
            2 if spatial => net.conv(x, 3, 1, Window::square(3, 1, 1)),
            3 if spatial => net.conv(x, shape[0], shape[0], Window::square(3, 1, 1)),
            4 if spatial => net.conv(x, 2 * shape[0], shape[0], Window::square(1, 1, 0)),
            5 if spatial => net.conv(x, 2, 1, Window::square(1, 1, 0)),
            0..=5 => net.dense(x, 3 + usize::from(pick % 2), pick % 3 == 0),
            6 | 7 => net.batch_norm(x),
            8 => net.map(Op::Unary(Unary::Relu), &[x]),
            9..=15 => {
                let constant_shape = match (pick / 20 % 4, shape.as_slice()) {
                    (0, &[channels, _, _]) => vec![channels, 1, 1],
                    (1, &[_, _, width]) => vec![width],
                    (2, _) => vec![1],
                    (_, shape) => shape.to_vec(),
                };
                let constant = net.operand(&constant_shape);
                let op =
                    [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div][usize::from(pick % 4)];
                let swapped = pick % 20 == 15 && op != Binary::Div;
                let operands = if swapped { [constant, x] } else { [x, constant] };
                net.add(Op::Binary(op), &operands, &shape)
            }
            16 => net.flatten(x),
            17 => net.map(Op::Binary(Binary::Add), &[x, x]),
            18 => {
                let branch = net.batch_norm(x);
                net.map(Op::Binary(Binary::Sub), &[x, branch])
            }
            _ => {
                outputs.push(x);
                net.map(Op::Unary(Unary::Tanh), &[x])
            }
        };
        assert_ne!(last, x);
    }
    outputs.push(x);
    net.finish(&outputs)
}

/// A graph's outputs for `input`, and the largest magnitude among all tensors on the way to them.
///
/// That magnitude is what rounding is relative to: a difference or a rectifier may leave outputs that are
/// far smaller than what they are made of.
pub(crate) fn run_and_measure(graph: &Graph, input: &Tensor) -> (Vec<Tensor>, f32) {
    let mut span = Span::ZERO;
    let outputs = run_graph::run_graph(graph, input, &mut |_, tensor| {
        span = span.join(Span::of_array(tensor));
    });
    (outputs, span.magnitude())
}

/// The largest difference between two lists of tensors.
pub(crate) fn worst_difference(want: &[Tensor], got: &[Tensor]) -> f32 {
    assert_eq!(want.len(), got.len());
    let differences = want.iter().zip(got).flat_map(|(want, got)| {
        assert_eq!(want.shape(), got.shape());
        want.iter().zip(got).map(|(a, b)| (a - b).abs())
    });
    differences.fold(0.0, f32::max)
}
