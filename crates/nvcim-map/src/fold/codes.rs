//! Which tensors hold codes: whole numbers that a quantiser has rounded to, before its zero point is taken off.

use nvcim_ir::graph::Graph;
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op, Unary};

use super::affine::const_of;

/// Whether every element of what `id` makes is a rounded number, perhaps clipped, moved by a constant or chosen
/// among others since.
pub(super) fn holds_codes(graph: &Graph, mut id: NodeId) -> bool {
    loop {
        let operands = graph.operands(id);
        let is_const = |slot: usize| const_of(graph, operands[slot]).is_some();
        id = match &graph.node(id).op {
            Op::Unary(Unary::Round | Unary::Floor | Unary::Ceil) => return true,
            Op::Unary(Unary::Clip { .. } | Unary::Relu)
            | Op::MaxPool { .. }
            | Op::Reshape
            | Op::Transpose { .. }
            | Op::Expand
            | Op::Gather { .. }
            | Op::Slice { .. } => operands[0],
            Op::Binary(Binary::Add | Binary::Sub | Binary::Min | Binary::Max) if is_const(1) => {
                operands[0]
            }
            Op::Binary(Binary::Add | Binary::Sub | Binary::Min | Binary::Max) if is_const(0) => {
                operands[1]
            }
            _ => return false,
        };
    }
}
