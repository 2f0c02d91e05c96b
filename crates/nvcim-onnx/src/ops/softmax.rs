//! Softmax and its logarithm.

use nvcim_ir::op::Op;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `Softmax`, `LogSoftmax`.
///
/// Before operator set 13 the operand is seen as a matrix, split at `axis`, and each row sums to 1.
/// Where only one axis from `axis` on is longer than 1 that is the softmax over this axis; else the
/// operand is reshaped round it.
pub(crate) fn convert_softmax(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + 1;
    let over = |axis| match site.node.op_type.as_str() {
        "Softmax" => Op::Softmax { axis },
        _ => Op::LogSoftmax { axis },
    };
    if site.opset >= 13 {
        let axis = site.sample_axis(attributes::int(site.node, "axis", -1)?, rank)?;
        let op = over(axis);
        return Ok(site.keep(op, &[x.id], &x.shape));
    }
    let split = match site::whole_axis(attributes::int(site.node, "axis", 1)?, rank)? {
        0 => return Err(Refusal::mixes_samples("takes the softmax over the whole batch")),
        axis => axis - 1,
    };
    let (rows, row) = x.shape.split_at(split);
    let mut long = (split..x.shape.len()).filter(|&axis| x.shape[axis] > 1);
    let (axis, further) = (long.next().unwrap_or(split), long.next());
    if further.is_none() {
        let op = over(axis);
        return Ok(site.keep(op, &[x.id], &x.shape));
    }
    let matrix = [rows.iter().product(), row.iter().product()];
    let op = over(1);
    let flat = site.help(Op::Reshape, &[x.id], &matrix);
    let made = site.help(op, &[flat], &matrix);
    Ok(site.keep(Op::Reshape, &[made], &x.shape))
}
