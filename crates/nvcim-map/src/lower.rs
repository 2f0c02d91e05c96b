//! Graph to digital program: every Conv and Dense becomes a matrix layer, the rest stays an operator.
//!
//! A layer's rows are the im2col rows of its window (channel, then kernel row, then kernel column), its
//! columns the output channels. A grouped convolution keeps its groups as blocks on the diagonal, and a
//! depthwise one stays an operator where the chip says so. Matrices that are equal, bias included, become one
//! layer that several steps use, whether the file stores them once or more often.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArcArray, Axis, Ix2, Ix3, IxDyn};
use nvcim_chip::describe::Depthwise;
use nvcim_ir::graph::{Constant, Graph};
use nvcim_ir::ids::{ConstId, IdVec, LayerId, NodeId, StepId};
use nvcim_ir::op::Op;
use nvcim_ir::program::{Lowering, Program, Step, StepOp};
use nvcim_ir::tiled::{InputCoding, MatrixLayer};

use crate::span::Span;

/// A graph as a program and its matrices.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The steps.
    pub program: Program,
    /// The matrices. Their input coding is a placeholder, full scale 1 and unsigned, until calibration.
    pub layers: IdVec<LayerId, MatrixLayer>,
    /// The layer of each matrix node.
    pub layer_of: BTreeMap<NodeId, LayerId>,
    /// The nodes that became a step; no output depends on the others.
    pub live: BTreeSet<NodeId>,
}

/// Lowers a verified graph, depthwise convolutions as told. Nodes and constants that no output depends on are
/// left out, the input stays.
pub fn lower_graph(graph: &Graph, depthwise: Depthwise) -> Lowered {
    let live = find_live(graph);
    let input = graph.input();
    let order = graph.topological_order().expect("a verified graph has no cycle");
    let rest = order.into_iter().filter(|&id| id != input && live.contains(&id));
    let mut lowering = State::new(graph, depthwise);
    for id in std::iter::once(input).chain(rest) {
        lowering.lower_node(id);
    }
    let State { mut program, layers, layer_of, step_of, .. } = lowering;
    program.outputs = graph.outputs.iter().map(|id| step_of[id]).collect();
    Lowered { program, layers, layer_of, live }
}

/// The input, and every node that an output depends on.
fn find_live(graph: &Graph) -> BTreeSet<NodeId> {
    let mut live = BTreeSet::from([graph.input()]);
    let mut waiting = graph.outputs.clone();
    while let Some(id) = waiting.pop() {
        if live.insert(id) {
            waiting.extend(graph.operands(id));
        }
    }
    live
}

/// Whether an operator is a convolution with filters of their own for each of several channels.
pub fn is_depthwise(op: &Op, graph: &Graph) -> bool {
    matches!(op, Op::Conv { weight, groups, .. }
        if *groups > 1 && graph.consts[*weight].value.shape()[1] == 1)
}

struct State<'a> {
    graph: &'a Graph,
    depthwise: Depthwise,
    program: Program,
    layers: IdVec<LayerId, MatrixLayer>,
    layer_of: BTreeMap<NodeId, LayerId>,
    step_of: BTreeMap<NodeId, StepId>,
    const_of: BTreeMap<ConstId, ConstId>,
}

impl<'a> State<'a> {
    fn new(graph: &'a Graph, depthwise: Depthwise) -> Self {
        Self {
            graph,
            depthwise,
            program: Program::default(),
            layers: IdVec::new(),
            layer_of: BTreeMap::new(),
            step_of: BTreeMap::new(),
            const_of: BTreeMap::new(),
        }
    }

    fn lower_node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let op = match &node.op {
            op if self.depthwise == Depthwise::Digital && is_depthwise(op, self.graph) => {
                StepOp::Digital(self.move_consts(op.clone()))
            }
            Op::Conv { weight, bias, window, groups } => {
                let blocks = conv_blocks(&self.graph.consts[*weight], *groups);
                let layer = self.add_layer(id, blocks, *bias);
                StepOp::Matrix { layer, lowering: Lowering::Conv(window.clone()) }
            }
            Op::Dense { weight, bias, transposed } => {
                let blocks = dense_block(&self.graph.consts[*weight], *transposed);
                let layer = self.add_layer(id, blocks, *bias);
                StepOp::Matrix { layer, lowering: Lowering::Dense }
            }
            op => StepOp::Digital(self.move_consts(op.clone())),
        };
        let operands = self.graph.operands(id).iter().map(|id| self.step_of[id]).collect();
        let step = self.program.steps.push(Step {
            name: node.name.clone(),
            tensor: node.tensor.clone(),
            op,
            operands,
            shape: node.shape.clone(),
        });
        self.step_of.insert(id, step);
    }

    fn add_layer(
        &mut self,
        id: NodeId,
        blocks: ArcArray<f32, Ix3>,
        bias: Option<ConstId>,
    ) -> LayerId {
        let (groups, _, block_cols) = blocks.dim();
        let bias = bias.map_or_else(
            || vec![0.0; groups * block_cols],
            |bias| self.graph.consts[bias].value.iter().copied().collect(),
        );
        let same =
            |(_, it): &(LayerId, &MatrixLayer)| are_same(&it.blocks, &blocks) && it.bias == bias;
        let known = self.layers.iter_enumerated().find(same).map(|(layer, _)| layer);
        let layer = known.unwrap_or_else(|| {
            let mut layer = MatrixLayer {
                name: self.graph.node(id).name.clone(),
                blocks,
                bias,
                input: InputCoding { full_scale: 1.0, signed: false },
                ranges: Vec::new(),
            };
            layer.ranges = plain_ranges(&layer);
            self.layers.push(layer)
        });
        self.layer_of.insert(id, layer);
        layer
    }

    /// The operator with its constants taken over into the program.
    fn move_consts(&mut self, mut op: Op) -> Op {
        op.consts_mut().into_iter().for_each(|id| self.move_const(id));
        op
    }

    fn move_const(&mut self, id: &mut ConstId) {
        let (consts, graph) = (&mut self.program.consts, self.graph);
        *id = *self
            .const_of
            .entry(*id)
            .or_insert_with_key(|id| consts.push(graph.consts[*id].clone()));
    }
}

/// Whether two matrices hold the same weights. Matrices of one size tell each other apart within a few weights,
/// unless they are the same memory, which says so at once.
fn are_same(a: &ArcArray<f32, Ix3>, b: &ArcArray<f32, Ix3>) -> bool {
    let memory = |it: &ArcArray<f32, Ix3>| (it.as_ptr(), it.strides().to_vec());
    a.dim() == b.dim() && (memory(a) == memory(b) || a == b)
}

/// The range of every column of a layer whose columns share one: the largest weight, 1 where all are 0.
pub(crate) fn plain_ranges(layer: &MatrixLayer) -> Vec<f32> {
    let largest = Span::of_array(&layer.blocks).join(Span::ZERO).magnitude();
    vec![if largest > 0.0 { largest } else { 1.0 }; layer.shape().n_cols]
}

/// `[m, c / groups, kh, kw]` as `[groups, c / groups kh kw, m / groups]`, of the same memory.
fn conv_blocks(weight: &Constant, groups: usize) -> ArcArray<f32, Ix3> {
    let dims = weight.value.shape();
    let (block_rows, block_cols) = (dims[1] * dims[2] * dims[3], dims[0] / groups);
    let by_output = in_row_major_order(weight)
        .into_shape_with_order((groups, block_cols, block_rows))
        .expect("groups divide the filters of a verified convolution");
    by_output.permuted_axes([0, 2, 1])
}

/// `[k, m]`, or `[m, k]` where `transposed`, as one block `[1, k, m]` of the same memory.
fn dense_block(weight: &Constant, transposed: bool) -> ArcArray<f32, Ix3> {
    let stored: ArcArray<f32, Ix2> = (weight.value.clone())
        .into_dimensionality()
        .expect("the weight of a verified dense operator has two axes");
    let by_row = if transposed { stored.reversed_axes() } else { stored };
    by_row.insert_axis(Axis(0))
}

/// The value, shared where it lies in row-major order already, as all that import makes does.
fn in_row_major_order(constant: &Constant) -> ArcArray<f32, IxDyn> {
    if constant.value.is_standard_layout() {
        return constant.value.clone();
    }
    constant.value.as_standard_layout().into_owned().into_shared()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use nvcim_chip::describe::Depthwise;
    use nvcim_ir::ids::Id;
    use nvcim_ir::op::{Op, Unary, Window};
    use nvcim_ir::program;
    use nvcim_ir::tiled::MatrixLayer;
    use nvcim_ops::float_engine::FloatEngine;
    use nvcim_ops::{run_graph, run_program};
    use proptest::prelude::*;

    use super::lower_graph;
    use crate::testing::{Builder, random_graph, random_tensor, run_and_measure, worst_difference};

    /// Different summation orders of the same float products, relative to the largest value in the run.
    const CLOSE: f32 = 1e-5;

    #[test]
    fn rows_go_channel_first_and_groups_become_blocks() {
        let (mut net, x) = Builder::new(1, &[4, 2, 1]);
        let weight = net.value(&[2, 2, 2, 1], (0..8).map(|value| value as f32).collect());
        let mut tall = Window::square(1, 1, 0);
        tall.kernel = [2, 1];
        let op = Op::Conv { weight, bias: None, window: tall, groups: 2 };
        let conv = net.add(op, &[x], &[2, 1, 1]);
        let lowered = lower_graph(&net.finish(&[conv]), Depthwise::Arrays);
        let MatrixLayer { blocks, bias, ranges, .. } = &lowered.layers[Id::new(0)];
        assert_eq!(blocks, array![[[0.0], [1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0], [7.0]]]);
        assert_eq!((&bias[..], &ranges[..]), (&[0.0, 0.0][..], &[7.0, 7.0][..]));
    }

    #[test]
    fn tables_move_with_the_operators_that_look_into_them() {
        let (mut net, x) = Builder::new(2, &[3]);
        let scores = net.dense(x, 4, false);
        let most = net.add(Op::ArgMax { axis: 0, last: false }, &[scores], &[1]);
        let table = net.value(&[4, 2], (0..8).map(|value| value as f32).collect());
        let word = net.add(Op::Lookup { table }, &[most], &[1, 2]);
        let graph = net.finish(&[word]);
        let lowered = lower_graph(&graph, Depthwise::Arrays);
        let images = random_tensor(7, &[9, 3]);
        let want = run_graph::run_graph(&graph, &images, &mut |_, _| {});
        let mut engine = FloatEngine::new(&lowered.layers);
        let got =
            run_program::run_program(&lowered.program, &images, 0, &mut engine, &mut |_, _| {});
        assert!(got[0].iter().all(|value| value.is_finite()), "{got:?}");
        assert_eq!(got, want);
    }

    #[test]
    fn what_no_output_needs_is_left_out() {
        let (mut net, x) = Builder::new(2, &[3]);
        net.dense(x, 4, false);
        let dense = net.dense(x, 2, true);
        let out = net.map(Op::Unary(Unary::Tanh), &[dense]);
        let lowered = lower_graph(&net.finish(&[out]), Depthwise::Arrays);
        assert_eq!(
            lowered.program.to_string(),
            "s0 [3] = input ()  # \"input0\"\n\
             s1 [2] = matrix l0 (s0)  # \"dense2\"\n\
             s2 [2] = tanh (s1)  # \"tanh3\"\n\
             return s2\n"
        );
        assert!(lowered.program.consts.is_empty());
    }

    #[test]
    fn an_all_zero_matrix_has_a_usable_scale() {
        let (mut net, x) = Builder::new(3, &[2]);
        let weight = net.value(&[2, 1], vec![0.0; 2]);
        let dense = net.add(Op::Dense { weight, bias: None, transposed: false }, &[x], &[1]);
        let lowered = lower_graph(&net.finish(&[dense]), Depthwise::Arrays);
        assert_eq!(lowered.layers[Id::new(0)].ranges[0], 1.0);
    }

    #[test]
    fn equal_matrices_are_one_layer_of_several_steps() {
        let (mut net, x) = Builder::new(4, &[2, 3]);
        let weight = net.random(&[3, 3], -1.0, 1.0);
        let equal = net.graph.consts[weight].clone();
        let equal = net.value(&[3, 3], equal.value.iter().copied().collect());
        let bias = net.random(&[3], -1.0, 1.0);
        let dense = |net: &mut Builder, weight, bias, transposed, x| {
            net.map(Op::Dense { weight, bias, transposed }, &[x])
        };
        let a = dense(&mut net, weight, None, false, x);
        let b = dense(&mut net, equal, None, false, a);
        let turned = dense(&mut net, weight, None, true, b);
        let moved = dense(&mut net, weight, Some(bias), false, turned);
        let last = dense(&mut net, weight, None, false, moved);
        let lowered = lower_graph(&net.finish(&[last]), Depthwise::Arrays);
        let layers: Vec<_> = lowered.layer_of.values().map(|layer| layer.index()).collect();
        assert_eq!(layers, [0, 0, 1, 2, 0]);
        let shapes = lowered.layers.iter().map(MatrixLayer::shape).collect();
        program::verify_program(&lowered.program, &shapes).unwrap();
    }

    #[test]
    fn depthwise_convolutions_stay_operators_where_told_and_others_do_not() {
        let (mut net, x) = Builder::new(5, &[1, 6, 6]);
        let first = net.conv(x, 4, 1, Window::square(3, 1, 1));
        let depthwise = net.conv(first, 8, 4, Window::square(3, 2, 1));
        let grouped = net.conv(depthwise, 8, 2, Window::square(1, 1, 0));
        let graph = net.finish(&[grouped]);
        assert_eq!(lower_graph(&graph, Depthwise::Arrays).layers.len(), 3);
        let lowered = lower_graph(&graph, Depthwise::Digital);
        assert_eq!(
            lowered.program.to_string(),
            "s0 [1, 6, 6] = input ()  # \"input0\"\n\
             s1 [4, 6, 6] = matrix l0 conv k=3x3 s=1x1 p=1,1,1,1 (s0)  # \"conv1\"\n\
             s2 [8, 3, 3] = conv w=c0 b=c1 k=3x3 s=2x2 p=1,1,1,1 groups=4 (s1)  # \"conv2\"\n\
             s3 [8, 3, 3] = matrix l1 conv k=1x1 s=1x1 (s2)  # \"conv3\"\n\
             return s3\n"
        );
    }

    proptest! {
        #[test]
        fn the_program_computes_what_the_graph_does(
            seed in 0u64..1000,
            picks in prop::collection::vec(any::<u8>(), 1..10),
        ) {
            let graph = random_graph(seed, &picks);
            let depthwise = if seed % 2 == 0 { Depthwise::Arrays } else { Depthwise::Digital };
            let lowered = lower_graph(&graph, depthwise);
            let shapes = lowered.layers.iter().map(MatrixLayer::shape).collect();
            program::verify_program(&lowered.program, &shapes).unwrap();
            let input = random_tensor(seed, &[2, 2, 5, 5]);
            let (want, largest) = run_and_measure(&graph, &input);
            let mut engine = FloatEngine::new(&lowered.layers);
            let got =
                run_program::run_program(&lowered.program, &input, 0, &mut engine, &mut |_, _| {});
            let worst = worst_difference(&want, &got) / largest;
            prop_assert!(worst <= CLOSE, "{worst}");
        }
    }
}
