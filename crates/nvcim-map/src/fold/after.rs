//! Folding an affine node into the Conv or Dense that feeds it.
//!
//! `scale (W^T x + b) + shift = (W scale)^T x + (scale b + shift)` holds for every convolution, padded,
//! grouped or not, as long as the map is the same over all positions of an output channel.

use nvcim_ir::graph::Graph;
use nvcim_ir::ids::NodeId;

use super::affine::read_affine;
use super::weights::{Side, channel_axis, take_in};

/// Lets the matrix that feeds `id` do its work; the matrix, or `None` where that is not legal.
///
/// Nothing else may read the matrix's tensor, because its value changes. The emptied node `id` is left
/// without users.
pub(super) fn fold_into_producer(graph: &mut Graph, id: NodeId) -> Option<NodeId> {
    let (producer, affine) = read_affine(graph, id)?;
    let node = graph.node(producer);
    let axis = channel_axis(&node.op, &node.shape)?;
    if graph.users(producer) != [id] || graph.is_output(producer) {
        return None;
    }
    let weights = take_in(graph, producer, Side::Outputs, &affine.along(&node.shape, axis)?)?;
    weights.give_to(graph, producer);
    graph.node_mut(producer).tensor = std::mem::take(&mut graph.node_mut(id).tensor);
    graph.replace_uses(id, producer);
    Some(producer)
}
