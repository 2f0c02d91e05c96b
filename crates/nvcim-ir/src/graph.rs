//! The network as imported: operators and tensors with their ONNX names, on a petgraph.
//!
//! Each node makes exactly one tensor, so a [`NodeId`] names both. The operand slot stands on the edge,
//! because petgraph does not promise an order of neighbours.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;

use ndarray::{ArcArray, IxDyn};
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::diag::{Diagnostic, Result, fail_if_any};
use crate::finite::are_finite;
use crate::ids::{ConstId, Id, IdVec, NodeId};
use crate::op::Op;
use crate::shape;

/// A constant tensor. Cloning shares the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// The initialiser's name in the ONNX file, or a name derived from it.
    pub name: String,
    /// The value; its shape has no batch axis.
    pub value: ArcArray<f32, IxDyn>,
}

/// One operator and the tensor that it makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The node's name in the ONNX file, or its output's where the file gives none.
    pub name: String,
    /// The ONNX name of the tensor made here.
    pub tensor: String,
    /// What is computed.
    pub op: Op,
    /// The shape of one sample of the tensor.
    pub shape: Vec<usize>,
}

/// A network: a directed acyclic graph of operators.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    dag: StableDiGraph<Node, u32>,
    /// The constants, initialisers first seen first.
    pub consts: IdVec<ConstId, Constant>,
    /// The nodes whose tensors are the network's outputs, in the file's order.
    pub outputs: Vec<NodeId>,
}

impl Graph {
    /// Adds a node fed by `operands`, in slot order.
    pub fn add_node(&mut self, node: Node, operands: &[NodeId]) -> NodeId {
        let index = self.dag.add_node(node);
        for (slot, &operand) in (0..).zip(operands) {
            self.dag.add_edge(to_index(operand), index, slot);
        }
        to_id(index)
    }

    /// The node of this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.dag[to_index(id)]
    }

    /// The node of this id, to change in place.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.dag[to_index(id)]
    }

    /// Every node, in the order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.dag.node_indices().map(to_id)
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes that feed `id`, in slot order.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        let edges = self.dag.edges_directed(to_index(id), Direction::Incoming);
        let mut slots: Vec<_> = edges.map(|edge| (*edge.weight(), to_id(edge.source()))).collect();
        slots.sort_unstable();
        slots.into_iter().map(|(_, operand)| operand).collect()
    }

    /// The nodes that `id` feeds, each once, in the order of their ids.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let users: BTreeSet<_> =
            self.dag.neighbors_directed(to_index(id), Direction::Outgoing).map(to_id).collect();
        users.into_iter().collect()
    }

    /// Whether the tensor of `id` is one of the network's outputs.
    pub fn is_output(&self, id: NodeId) -> bool {
        self.outputs.contains(&id)
    }

    /// Lets everything that reads `old` read `new` instead, outputs included.
    pub fn replace_uses(&mut self, old: NodeId, new: NodeId) {
        let edges = self.dag.edges_directed(to_index(old), Direction::Outgoing);
        let moved: Vec<_> = edges.map(|edge| (edge.id(), edge.target(), *edge.weight())).collect();
        for (edge, user, slot) in moved {
            self.dag.remove_edge(edge);
            self.dag.add_edge(to_index(new), user, slot);
        }
        for output in self.outputs.iter_mut().filter(|output| **output == old) {
            *output = new;
        }
    }

    /// Removes a node that nothing reads.
    pub fn remove_node(&mut self, id: NodeId) {
        debug_assert!(self.users(id).is_empty() && !self.is_output(id), "{id} is still read");
        self.dag.remove_node(to_index(id));
    }

    /// The input node; a verified graph has exactly one.
    pub fn input(&self) -> NodeId {
        self.ids()
            .find(|&id| self.node(id).op == Op::Input)
            .expect("the verifier has seen one input")
    }

    /// Every node after the nodes that feed it, small ids first; `None` where there is a cycle.
    pub fn topological_order(&self) -> Option<Vec<NodeId>> {
        let incoming = |id| self.dag.edges_directed(to_index(id), Direction::Incoming).count();
        let mut waiting: BTreeMap<NodeId, usize> =
            self.ids().map(|id| (id, incoming(id))).collect();
        let mut ready: BinaryHeap<_> =
            self.ids().filter(|id| waiting[id] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for edge in self.dag.edges_directed(to_index(id), Direction::Outgoing) {
                let user = to_id(edge.target());
                let left = waiting.get_mut(&user).expect("every node waits");
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
        (order.len() == self.len()).then_some(order)
    }
}

fn to_index(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.index())
}

fn to_id(index: NodeIndex) -> NodeId {
    NodeId::new(index.index())
}

/// Checks a graph; later stages rely on every rule and do not panic on what passes.
///
/// 1. There is exactly one input and at least one output.
/// 2. No node feeds itself, directly or through others.
/// 3. Each operand slot is filled once, and their number suits the operator.
/// 4. Every constant named exists.
/// 5. Every shape follows from the operands' shapes (see [`shape::check_shape`]).
/// 6. Tensor names are not empty and not shared.
/// 7. Weights, biases and statistics are finite; constant operands are numbers.
pub fn verify_graph(graph: &Graph) -> Result<()> {
    let mut problems = Vec::new();
    let inputs = graph.ids().filter(|&id| graph.node(id).op == Op::Input).count();
    if inputs != 1 {
        problems
            .push(Diagnostic::unsupported("graph", format!("has {inputs} inputs, must have 1")));
    }
    if graph.outputs.is_empty() {
        problems.push(Diagnostic::bad_input("graph", "has no output"));
    }
    if graph.topological_order().is_none() {
        problems.push(Diagnostic::bad_input("graph", "has a cycle"));
    }
    let mut tensors = BTreeSet::new();
    let numbers = Numbers::new(&graph.consts);
    for id in graph.ids() {
        let node = graph.node(id);
        if node.tensor.is_empty() || !tensors.insert(node.tensor.as_str()) {
            let message = format!("makes tensor `{}`, whose name is empty or taken", node.tensor);
            problems.push(Diagnostic::bad_input(format!("node `{}`", node.name), message));
        }
        if let Err(message) = check_node(graph, id, &numbers) {
            problems.push(Diagnostic::bad_input(format!("node `{}`", node.name), message));
        }
    }
    fail_if_any(problems)
}

fn check_node(graph: &Graph, id: NodeId, numbers: &Numbers<'_>) -> std::result::Result<(), String> {
    let node = graph.node(id);
    let edges = graph.dag.edges_directed(to_index(id), Direction::Incoming);
    let mut slots: Vec<_> = edges.map(|edge| *edge.weight()).collect();
    slots.sort_unstable();
    let (least, most) = node.op.arity();
    if slots.iter().copied().ne(0..slots.len() as u32) || !(least..=most).contains(&slots.len()) {
        return Err(format!("`{}` cannot take operand slots {slots:?}", node.op.name()));
    }
    numbers.check(&node.op)?;
    let operands = graph.operands(id);
    let shapes: Vec<_> = operands.iter().map(|&id| graph.node(id).shape.as_slice()).collect();
    shape::check_shape(&node.op, &shapes, |id| graph.consts[id].value.shape(), &node.shape)
}

/// What is known of the numbers in constants. Each is looked at once, when something first uses it: weights of
/// recurrent layers are used in every step.
pub(crate) struct Numbers<'a> {
    consts: &'a IdVec<ConstId, Constant>,
    finite: IdVec<ConstId, OnceCell<bool>>,
}

impl<'a> Numbers<'a> {
    /// Nothing is known yet.
    pub(crate) fn new(consts: &'a IdVec<ConstId, Constant>) -> Self {
        Self { consts, finite: consts.iter().map(|_| OnceCell::new()).collect() }
    }

    /// Checks that an operator's constants exist and that its numbers are finite. A constant operand may
    /// hold infinities, as attention masks do; nothing holds what is no number.
    pub(crate) fn check(&self, op: &Op) -> std::result::Result<(), String> {
        for id in op.consts() {
            let constant =
                self.consts.get(id).ok_or_else(|| format!("names {id}, which does not exist"))?;
            let finite = *self.finite[id].get_or_init(|| are_finite(&constant.value));
            let may_be_infinite = matches!(op, Op::Const(_));
            let numbers = || may_be_infinite && !constant.value.iter().any(|value| value.is_nan());
            if !(finite || numbers()) {
                let name = &constant.name;
                return Err(format!("constant `{name}` holds a number that is not finite"));
            }
        }
        Ok(())
    }
}

/// The text form: one line per node in topological order, `n3 [6, 24, 24] = conv w=c0 ... (n1)  # "name"`.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, constant) in self.consts.iter_enumerated() {
            writeln!(f, "{id} {:?}  # {:?}", constant.value.shape(), constant.name)?;
        }
        for id in self.topological_order().unwrap_or_else(|| self.ids().collect()) {
            let node = self.node(id);
            let operands: Vec<_> = self.operands(id).iter().map(NodeId::to_string).collect();
            let operands = operands.join(", ");
            writeln!(f, "{id} {:?} = {} ({operands})  # {:?}", node.shape, node.op, node.name)?;
        }
        let outputs: Vec<_> = self.outputs.iter().map(NodeId::to_string).collect();
        writeln!(f, "return {}", outputs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, Node, verify_graph};
    use crate::ids::NodeId;
    use crate::op::{Binary, Op, Unary};

    fn add(graph: &mut Graph, name: &str, op: Op, operands: &[NodeId]) -> NodeId {
        let node = Node { name: name.into(), tensor: name.into(), op, shape: vec![4] };
        graph.add_node(node, operands)
    }

    fn diamond() -> Graph {
        let mut graph = Graph::default();
        let x = add(&mut graph, "x", Op::Input, &[]);
        let a = add(&mut graph, "a", Op::Unary(Unary::Relu), &[x]);
        let b = add(&mut graph, "b", Op::Unary(Unary::Tanh), &[x]);
        let sum = add(&mut graph, "sum", Op::Binary(Binary::Sub), &[b, a]);
        graph.outputs = vec![sum];
        graph
    }

    #[test]
    fn operands_keep_their_slots() {
        let graph = diamond();
        let names: Vec<_> = graph
            .operands(graph.outputs[0])
            .into_iter()
            .map(|id| graph.node(id).name.clone())
            .collect();
        assert_eq!(names, ["b", "a"]);
        verify_graph(&graph).unwrap();
    }

    #[test]
    fn replacing_uses_moves_slots_and_outputs() {
        let mut graph = diamond();
        let [x, a, b, sum] = [0, 1, 2, 3].map(crate::ids::Id::new);
        graph.replace_uses(b, x);
        graph.remove_node(b);
        assert_eq!(graph.operands(sum), [x, a]);
        verify_graph(&graph).unwrap();
        assert!(graph.to_string().contains("n3 [4] = sub (n0, n1)  # \"sum\""));
    }

    #[test]
    fn a_wrong_shape_and_a_taken_name_are_both_reported() {
        let mut graph = diamond();
        let b: NodeId = crate::ids::Id::new(2);
        graph.node_mut(b).shape = vec![5];
        graph.node_mut(b).tensor = "a".into();
        let problems = verify_graph(&graph).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
