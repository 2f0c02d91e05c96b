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
    let rank = x.shape.len() + site.lead;
    let over = |axis| match site.node.op_type.as_str() {
        "Softmax" => Op::Softmax { axis },
        _ => Op::LogSoftmax { axis },
    };
    if site.opset >= 13 {
        let axis = site.sample_axis(attributes::int(site.node, "axis", -1)?, rank)?;
        let op = over(axis);
        return Ok(site.keep(op, &[x.id], &x.shape));
    }
    let axis = site::whole_axis(attributes::int(site.node, "axis", 1)?, rank)?;
    let Some(split) = axis.checked_sub(site.lead) else {
        return Err(Refusal::mixes_samples("takes the softmax over axis 0, the batch"));
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

#[cfg(test)]
mod tests {
    use crate::testing::{TestModel, int, ints};

    #[test]
    fn both_functions_on_every_axis() {
        for op in ["Softmax", "LogSoftmax"] {
            for axis in [1, 2, 3, -1, -2] {
                let model = TestModel::new(13, &[0, 3, 4, 5]);
                model.node(op, "x", "y", &[int("axis", axis)]).output("y").agree();
            }
        }
    }

    #[test]
    fn old_softmax_sums_over_all_axes_behind_the_split() {
        for axis in [1, 2, 3] {
            let model = TestModel::new(11, &[0, 3, 4, 5]);
            let graph = model.node("Softmax", "x", "y", &[int("axis", axis)]).output("y").agree();
            assert_eq!(graph.len(), if axis == 3 { 2 } else { 4 }, "{graph}");
        }
        // Axes of whole tensors count from the first one.
        for axis in [0, 1, 2] {
            let turned = TestModel::new(11, &[1, 5, 4]);
            let turned = turned.node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])]);
            let model = turned.node("Softmax", "t", "y", &[int("axis", axis)]);
            model.output("y").agree();
        }
        let model = TestModel::new(11, &[0, 5, 1, 1]);
        assert_eq!(model.node("LogSoftmax", "x", "y", &[]).output("y").agree().len(), 2);
    }
}
