//! Means over axes.

use nvcim_ir::op::Op;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Converted, Site};

/// `ReduceMean`: axes are an attribute before operator set 18 and an operand since.
pub(crate) fn convert_reduce_mean(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + 1;
    let axes = match site.ints(1)? {
        Some(axes) => Some(axes),
        None => attributes::ints(site.node, "axes")?.map(<[i64]>::to_vec),
    };
    let axes = axes.unwrap_or_default();
    if axes.is_empty() {
        if attributes::int(site.node, "noop_with_empty_axes", 0)? != 0 {
            return Ok(Converted::Alias(x));
        }
        return Err(Refusal::mixes_samples("averages over every axis, the batch included"));
    }
    let mut sample: Vec<usize> =
        axes.iter().map(|&axis| site.sample_axis(axis, rank)).collect::<Result<_, _>>()?;
    sample.sort_unstable();
    sample.dedup();
    let output = site.sample_output()?;
    Ok(site.keep(Op::ReduceMean { axes: sample }, &[x.id], &output))
}

#[cfg(test)]
mod tests {
    use crate::testing::{TestModel, int, ints};

    #[test]
    fn axes_come_as_attribute_or_operand() {
        for keepdims in [0, 1] {
            let old = TestModel::new(13, &[0, 3, 4, 5]);
            let attributes = [ints("axes", &[-1, 2]), int("keepdims", keepdims)];
            old.node("ReduceMean", "x", "y", &attributes).output("y").agree();
            let new = TestModel::new(18, &[0, 3, 4, 5]).ints("axes", &[1]);
            let attributes = [int("keepdims", keepdims)];
            new.node("ReduceMean", "x axes", "y", &attributes).output("y").agree();
        }
    }
}
