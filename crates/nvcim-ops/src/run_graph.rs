//! The digital reference executor: a graph, in floating point.

use nvcim_ir::graph::Graph;
use nvcim_ir::ids::NodeId;

use crate::apply::Sources;
use crate::store::Store;
use crate::tensor::Tensor;

/// Runs a verified graph on `input`, `[samples, input shape...]`, and returns its outputs in order.
///
/// `visit` sees every node's tensor, `[samples, shape...]`, once and right after it is made; a tensor
/// is dropped after its last use.
///
/// # Panics
///
/// If `input` does not have the shape of the graph's input behind a batch axis.
pub fn run_graph(
    graph: &Graph,
    input: &Tensor,
    visit: &mut dyn FnMut(NodeId, &Tensor),
) -> Vec<Tensor> {
    let want = &graph.node(graph.input()).shape;
    assert_eq!(input.shape().get(1..), Some(want.as_slice()), "a sample has the input's shape");
    let order = graph.topological_order().expect("the verifier has seen no cycle");
    let plan: Vec<_> = order.into_iter().map(|id| (id, graph.operands(id))).collect();
    let reads = plan.iter().flat_map(|(_, operands)| operands).chain(&graph.outputs);
    let mut store = Store::new(reads.copied());
    let sources = Sources { input, consts: &graph.consts };
    for (id, operands) in &plan {
        let node = graph.node(*id);
        let tensor = sources.apply(&node.op, store.take(operands), &node.shape);
        store.drop_spent(operands);
        visit(*id, &tensor);
        store.put(*id, tensor);
    }
    store.take_outputs(&graph.outputs)
}
