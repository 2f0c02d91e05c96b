//! What becomes of each node of an ONNX file.

use nvcim_ir::diag::Warned;
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::NodeId;

/// The nodes of a file, and the graph where all of them can run.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Every node, in the file's order.
    pub nodes: Vec<SurveyedNode>,
    /// The graph; `None` where a node, the input or an output is unsupported.
    pub graph: Option<Warned<Graph>>,
}

/// One node of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedNode {
    /// Its name, or its output's where the file gives none or gives it twice.
    pub name: String,
    /// The ONNX operator.
    pub op_type: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is this node of the graph, if there is a graph.
    Kept(NodeId),
    /// It is many nodes of the graph, if there is a graph: it runs over a sequence, step by step.
    Unrolled {
        /// The first node that multiplies by each of its matrices.
        matrices: Vec<NodeId>,
        /// The steps.
        n_steps: usize,
    },
    /// It does nothing by itself and vanished into another.
    Folded {
        /// The name of the node that does its work, or why none has to.
        into: String,
    },
    /// Its value does not depend on the network's input.
    Constant,
    /// It cannot run here.
    Unsupported {
        /// Why.
        reason: String,
        /// What the user can do.
        hint: String,
    },
}
