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
//! magnitude onto one drive scale. Sums and products are taken in f64 and stored in f32.

mod affine;
mod after;
mod before;
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
