//! Folding an affine node into every Conv or Dense that reads it, directly or through reshapes.
//!
//! `W^T (scale x + shift) + b = (scale W)^T x + (W^T shift + b)`. A convolution that pads would see
//! `shift` missing from its padding, which is zero before and after the map alike: there only a map
//! without shift is legal.
//!
//! One such map is legal, and does harm: taking off a quantiser's zero point. Codes rest there, which is what most
//! activations do most of the time. Once the bias has the zero point, what is at rest drives its word lines, and
//! noise of cells that is as large as their currents comes with it. The subtraction stays digital.

use nvcim_ir::graph::Graph;
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::Op;

use super::affine::{Affine, read_affine};
use super::codes::holds_codes;
use super::weights::{Side, Weights, channel_axis, take_in};

/// What folding changes besides the affine node itself.
#[derive(Default)]
struct Changes {
    /// The matrices that take the map in.
    matrices: Vec<(NodeId, Weights)>,
    /// The reshapes in between, whose tensors change value.
    passed: Vec<NodeId>,
}

/// Lets the matrices that read `id` do its work; the first of them, or `None` where that is not legal.
///
/// Every reader must be such a matrix. A reshape in between gets a tensor name of its own, since its value
/// is no longer the one that the ONNX file names. The emptied node `id` is left without users.
pub(super) fn fold_into_readers(graph: &mut Graph, id: NodeId) -> Option<NodeId> {
    let (source, affine) = read_affine(graph, id)?;
    if affine.shifts() && holds_codes(graph, source) {
        return None;
    }
    let Changes { matrices, passed } = plan_readers(graph, id, &affine)?;
    let &(first, _) = matrices.first()?;
    for (matrix, weights) in matrices {
        weights.give_to(graph, matrix);
    }
    for reshape in passed {
        let tensor = format!("{} before {}", graph.node(reshape).tensor, graph.node(id).tensor);
        graph.node_mut(reshape).tensor = tensor;
    }
    graph.replace_uses(id, source);
    Some(first)
}

/// Plans the fold of `affine`, made by `id`, into everything that reads it; `None` where one cannot.
fn plan_readers(graph: &Graph, id: NodeId, affine: &Affine) -> Option<Changes> {
    let mut changes = Changes::default();
    let mut made = vec![id];
    while let Some(from) = made.pop() {
        if graph.is_output(from) {
            return None;
        }
        let shape = &graph.node(from).shape;
        for user in graph.users(from) {
            let op = &graph.node(user).op;
            if *op == Op::Reshape {
                changes.passed.push(user);
                made.push(user);
                continue;
            }
            let channels = affine.along(shape, channel_axis(op, shape)?)?;
            if affine.shifts() && pads(op) {
                return None;
            }
            changes.matrices.push((user, take_in(graph, user, Side::Inputs, &channels)?));
        }
    }
    Some(changes)
}

fn pads(op: &Op) -> bool {
    matches!(op, Op::Conv { window, .. } if (window.pads_begin, window.pads_end) != ([0; 2], [0; 2]))
}
