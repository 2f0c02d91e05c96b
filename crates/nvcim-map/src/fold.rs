//! Folds per-channel affine nodes into the matrices beside them, so that they cost nothing on the chip.
//!
//! An affine node computes `scale x + shift` with constants: BatchNorm, or an element-wise Add, Sub, Mul or
//! Div with a constant. Two passes, each over every node once:
//!
//! 1. In execution order, into the Conv or Dense that feeds it (`after`). A chain such as
//!    Conv, BatchNorm, Mul, Add disappears link by link.
//! 2. Against execution order, what is left into every Conv or Dense that reads it (`before`).
//!
//! The first pass comes first because it costs no input range: the second merges channels of different
//! magnitude onto one drive scale. It leaves quantisers' zero points where they are (`codes`). Sums and products are taken in f64 and stored in f32.

mod affine;
mod after;
mod before;
mod codes;
mod weights;

use std::collections::BTreeMap;

use nvcim_ir::graph::Graph;
use nvcim_ir::ids::NodeId;

/// A graph after folding; nodes that are left keep their ids.
#[derive(Debug, Clone)]
pub struct Folded {
    /// What is left.
    pub graph: Graph,
    /// Each node that is gone, and the node that now does its work.
    pub into: BTreeMap<NodeId, NodeId>,
}

/// Folds what can be folded in a verified graph; the outputs keep their values up to rounding.
///
/// A matrix node keeps its name; its tensor becomes the one whose value it now makes.
pub fn fold_graph(graph: &Graph) -> Folded {
    let mut folded = Folded { graph: graph.clone(), into: BTreeMap::new() };
    let order = graph.topological_order().expect("a verified graph has no cycle");
    for &id in &order {
        if let Some(matrix) = after::fold_into_producer(&mut folded.graph, id) {
            folded.remove(id, matrix);
        }
    }
    for &id in order.iter().rev() {
        if !folded.into.contains_key(&id)
            && let Some(matrix) = before::fold_into_readers(&mut folded.graph, id)
        {
            folded.remove(id, matrix);
        }
    }
    folded
}

impl Folded {
    /// Removes a node whose work `matrix` has taken over, and the constant that only it read.
    fn remove(&mut self, id: NodeId, matrix: NodeId) {
        let operands = self.graph.operands(id);
        self.graph.remove_node(id);
        self.into.insert(id, matrix);
        for operand in operands {
            let is_const = affine::const_of(&self.graph, operand).is_some();
            if is_const && self.graph.users(operand).is_empty() && !self.graph.is_output(operand) {
                self.graph.remove_node(operand);
                self.into.insert(operand, matrix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::graph::{self, Graph};
    use nvcim_ir::ids::NodeId;
    use nvcim_ir::op::{Binary, Op, Unary, Window};
    use nvcim_ops::run_graph;
    use proptest::prelude::*;

    use super::{Folded, fold_graph};
    use crate::testing::{Builder, random_graph, random_tensor, run_and_measure, worst_difference};

    /// Rounding of weights to f32 after folding, relative to the largest value in the run.
    const FOLDING: f32 = 1e-4;

    /// Folds, and checks that outputs keep their values.
    fn fold(graph: &Graph) -> Folded {
        let folded = fold_graph(graph);
        graph::verify_graph(&folded.graph).unwrap();
        let shape = [&[3], graph.node(graph.input()).shape.as_slice()].concat();
        let input = random_tensor(7, &shape);
        let (want, largest) = run_and_measure(graph, &input);
        let got = run_graph::run_graph(&folded.graph, &input, &mut |_, _| {});
        let worst = worst_difference(&want, &got) / largest;
        assert!(worst <= FOLDING, "{worst} between\n{graph}\nand\n{}", folded.graph);
        folded
    }

    /// The names of the operators left, by id.
    fn ops(folded: &Folded) -> Vec<&'static str> {
        folded.graph.ids().map(|id| folded.graph.node(id).op.name()).collect()
    }

    fn relu(net: &mut Builder, x: NodeId) -> NodeId {
        net.map(Op::Unary(Unary::Relu), &[x])
    }

    fn with_const(net: &mut Builder, op: Binary, x: NodeId, shape: &[usize]) -> NodeId {
        let constant = net.operand(shape);
        net.map(Op::Binary(op), &[x, constant])
    }

    #[test]
    fn a_chain_of_affine_nodes_disappears_into_the_convolution_before_it() {
        for groups in [1, 2, 4] {
            let (mut net, x) = Builder::new(1, &[4, 6, 6]);
            let conv = net.conv(x, 8, groups, Window::square(3, 1, 1));
            let norm = net.batch_norm(conv);
            let scaled = with_const(&mut net, Binary::Mul, norm, &[8, 1, 1]);
            let moved = with_const(&mut net, Binary::Sub, scaled, &[1]);
            let out = relu(&mut net, moved);
            let graph = net.finish(&[out]);
            let folded = fold(&graph);
            assert_eq!(ops(&folded), ["input", "conv", "relu"]);
            assert!([norm, scaled, moved].iter().all(|id| folded.into[id] == conv));
            assert_eq!(folded.into.len(), 5, "two constants go with them");
            assert_eq!(folded.graph.node(conv).name, graph.node(conv).name);
            assert_eq!(folded.graph.node(conv).tensor, graph.node(moved).tensor);
        }
    }

    #[test]
    fn biases_that_stand_apart_are_taken_in() {
        let (mut net, x) = Builder::new(2, &[1, 8, 8]);
        let conv = net.conv(x, 3, 1, Window::square(5, 1, 2));
        let sum = with_const(&mut net, Binary::Add, conv, &[3, 1, 1]);
        let act = relu(&mut net, sum);
        let pooled = net.add(Op::MaxPool { window: Window::square(2, 2, 0) }, &[act], &[3, 4, 4]);
        let flat = net.flatten(pooled);
        let dense = net.dense(flat, 5, false);
        let out = with_const(&mut net, Binary::Add, dense, &[5]);
        let folded = fold(&net.finish(&[out]));
        assert_eq!(ops(&folded), ["input", "conv", "relu", "max_pool", "reshape", "dense"]);
        assert_eq!(folded.graph.outputs, [dense]);
    }

    #[test]
    fn a_constant_minus_the_tensor_turns_the_sign() {
        let (mut net, x) = Builder::new(3, &[4]);
        let dense = net.dense(x, 6, true);
        let constant = net.operand(&[6]);
        let out = net.map(Op::Binary(Binary::Sub), &[dense, constant]);
        let constant = net.operand(&[1]);
        let out = net.add(Op::Binary(Binary::Sub), &[constant, out], &[6]);
        assert_eq!(ops(&fold(&net.finish(&[out]))), ["input", "dense"]);
    }

    #[test]
    fn a_norm_after_relu_goes_into_every_matrix_that_reads_it() {
        let (mut net, x) = Builder::new(4, &[2, 6, 6]);
        let conv = net.conv(x, 4, 1, Window::square(3, 1, 0));
        let act = relu(&mut net, conv);
        let norm = net.batch_norm(act);
        let depthwise = net.conv(norm, 8, 4, Window::square(3, 1, 0));
        let pointwise = net.conv(norm, 3, 1, Window::square(1, 2, 0));
        let folded = fold(&net.finish(&[depthwise, pointwise]));
        assert_eq!(ops(&folded), ["input", "conv", "relu", "conv", "conv"]);
        assert_eq!(folded.graph.users(act), [depthwise, pointwise]);
    }

    #[test]
    fn padding_lets_a_scale_through_but_no_shift() {
        for (op, left) in [
            (Binary::Div, &["input", "conv"][..]),
            (Binary::Add, &["input", "const", "add", "conv"]),
        ] {
            let (mut net, x) = Builder::new(5, &[2, 4, 4]);
            let moved = with_const(&mut net, op, x, &[2, 1, 1]);
            let out = net.conv(moved, 2, 1, Window::square(3, 1, 1));
            assert_eq!(ops(&fold(&net.finish(&[out]))), left);
        }
    }

    #[test]
    fn a_flattened_norm_expands_over_the_rows_of_the_dense_layer() {
        let (mut net, x) = Builder::new(6, &[3, 2, 2]);
        let act = relu(&mut net, x);
        let norm = net.batch_norm(act);
        let flat = net.flatten(norm);
        let dense = net.dense(flat, 4, false);
        let graph = net.finish(&[dense]);
        let folded = fold(&graph);
        assert_eq!(ops(&folded), ["input", "relu", "reshape", "dense"]);
        assert_ne!(folded.graph.node(flat).tensor, graph.node(flat).tensor, "its value changed");
        assert_eq!(folded.graph.node(dense).tensor, graph.node(dense).tensor);
    }

    #[test]
    fn a_tensor_that_something_else_reads_keeps_its_value() {
        let (mut net, x) = Builder::new(7, &[2, 4, 4]);
        let conv = net.conv(x, 2, 1, Window::square(1, 1, 0));
        let norm = net.batch_norm(conv);
        let out = net.map(Op::Binary(Binary::Add), &[conv, norm]);
        let folded = fold(&net.finish(&[out]));
        assert_eq!(ops(&folded), ["input", "conv", "batch_norm", "add"]);

        let (mut net, x) = Builder::new(7, &[2, 4, 4]);
        let conv = net.conv(x, 2, 1, Window::square(1, 1, 0));
        let norm = net.batch_norm(conv);
        let next = net.conv(norm, 2, 1, Window::square(1, 1, 0));
        let folded = fold(&net.finish(&[conv, norm, next]));
        assert_eq!(ops(&folded), ["input", "conv", "batch_norm", "conv"], "all are outputs");
    }

    #[test]
    fn constants_that_vary_within_a_channel_stay() {
        let (mut net, x) = Builder::new(8, &[2, 4, 4]);
        let conv = net.conv(x, 2, 1, Window::square(1, 1, 0));
        let moved = with_const(&mut net, Binary::Mul, conv, &[2, 4, 4]);
        let along_width = with_const(&mut net, Binary::Add, moved, &[4]);
        let out = net.conv(along_width, 2, 1, Window::square(1, 1, 0));
        assert!(fold(&net.finish(&[out])).into.is_empty());
    }

    #[test]
    fn a_constant_per_element_folds_behind_the_flattening() {
        let (mut net, x) = Builder::new(9, &[2, 3, 3]);
        let moved = with_const(&mut net, Binary::Sub, x, &[2, 3, 3]);
        let flat = net.flatten(moved);
        let out = net.dense(flat, 2, true);
        assert_eq!(ops(&fold(&net.finish(&[out]))), ["input", "reshape", "dense"]);
    }

    #[test]
    fn a_zero_point_stays_in_front_of_the_matrix_and_its_scale_does_not() {
        // What importing makes of QuantizeLinear and DequantizeLinear.
        let (mut net, x) = Builder::new(11, &[2, 3, 3]);
        let act = relu(&mut net, x);
        let rounded = net.map(Op::Unary(Unary::Round), &[act]);
        let zero = net.operand(&[]);
        let moved = net.map(Op::Binary(Binary::Add), &[rounded, zero]);
        let codes = net.map(Op::Unary(Unary::Clip { lo: -128.0, hi: 127.0 }), &[moved]);
        let pooled = net.add(Op::MaxPool { window: Window::square(3, 1, 0) }, &[codes], &[2, 1, 1]);
        let back = net.map(Op::Binary(Binary::Sub), &[pooled, zero]);
        let scaled = with_const(&mut net, Binary::Mul, back, &[]);
        let flat = net.flatten(scaled);
        let out = net.dense(flat, 4, true);
        let folded = fold(&net.finish(&[out]));
        let left = [
            "input", "relu", "round", "const", "add", "clip", "max_pool", "sub", "reshape", "dense",
        ];
        assert_eq!(ops(&folded), left);
        assert_eq!(folded.into[&scaled], out);

        // The same difference on what is no code.
        let (mut net, x) = Builder::new(11, &[2, 3, 3]);
        let act = relu(&mut net, x);
        let moved = with_const(&mut net, Binary::Sub, act, &[]);
        let flat = net.flatten(moved);
        let out = net.dense(flat, 4, true);
        assert_eq!(ops(&fold(&net.finish(&[out]))), ["input", "relu", "reshape", "dense"]);
    }

    #[test]
    fn numbers_beyond_f32_are_not_folded() {
        let (mut net, x) = Builder::new(10, &[2]);
        let dense = net.dense(x, 2, false);
        let tiny = net.value(&[1], vec![1e-40]);
        let tiny = net.add(Op::Const(tiny), &[], &[1]);
        let out = net.map(Op::Binary(Binary::Div), &[dense, tiny]);
        let graph = net.finish(&[out]);
        assert!(fold_graph(&graph).into.is_empty());
    }

    proptest! {
        #[test]
        fn folding_keeps_the_outputs(seed in 0u64..1000, picks in prop::collection::vec(any::<u8>(), 1..12)) {
            fold(&random_graph(seed, &picks));
        }
    }
}
