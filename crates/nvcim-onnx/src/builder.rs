//! Puts operators and constants into the graph under names that stay unique.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_ir::graph::{Constant, Graph, Node};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::Op;

use crate::data::Floats;

/// The graph under construction.
#[derive(Clone, Default)]
pub(crate) struct Builder {
    /// What has been built.
    pub(crate) graph: Graph,
    consts: BTreeMap<(String, Vec<usize>), ConstId>,
    const_nodes: BTreeMap<ConstId, NodeId>,
    tensors: BTreeSet<String>,
}

impl Builder {
    /// An empty graph in which no invented tensor will be called like one of `names`.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { tensors: names.into_iter().collect(), ..Self::default() }
    }

    /// The node that makes `tensor`, a name of the file.
    pub(crate) fn add(
        &mut self,
        name: &str,
        tensor: &str,
        op: Op,
        operands: &[NodeId],
        shape: &[usize],
    ) -> NodeId {
        let node = Node { name: name.into(), tensor: tensor.into(), op, shape: shape.to_vec() };
        self.graph.add_node(node, operands)
    }

    /// A node that the file does not have, named after the one it serves.
    pub(crate) fn add_helper(
        &mut self,
        (name, tensor): (&str, &str),
        op: Op,
        operands: &[NodeId],
        shape: &[usize],
    ) -> NodeId {
        let suffix = op.name();
        let names = (format!("{name}/{suffix}"), format!("{tensor}/{suffix}"));
        self.add_unique((&names.0, &names.1), op, operands, shape)
    }

    /// A node of this name that makes a tensor of this name, or of one like it where that is taken.
    pub(crate) fn add_unique(
        &mut self,
        (name, tensor): (&str, &str),
        op: Op,
        operands: &[NodeId],
        shape: &[usize],
    ) -> NodeId {
        let mut invented = tensor.to_owned();
        while !self.tensors.insert(invented.clone()) {
            invented.push('\'');
        }
        self.add(name, &invented, op, operands, shape)
    }

    /// The constant of this name and shape; `value` is stored the first time.
    ///
    /// A name and a shape stand for one value: initialisers are read-only, and derived values get names
    /// that say how they were derived.
    pub(crate) fn constant(&mut self, name: &str, value: impl Into<Floats>) -> ConstId {
        let value = value.into();
        let key = (name.to_owned(), value.shape().to_vec());
        *self.consts.entry(key).or_insert_with(|| {
            let value = if value.is_standard_layout() {
                value
            } else {
                value.as_standard_layout().into_owned().into_shared()
            };
            self.graph.consts.push(Constant { name: name.into(), value })
        })
    }

    /// The node that makes a constant a tensor; one for all that read it.
    pub(crate) fn constant_node(&mut self, id: ConstId) -> NodeId {
        if let Some(&node) = self.const_nodes.get(&id) {
            return node;
        }
        let Constant { name, value } = self.graph.consts[id].clone();
        let node = self.add_helper((&name, &name), Op::Const(id), &[], value.shape());
        self.const_nodes.insert(id, node);
        node
    }
}
