//! Means, sums, products, extremes and norms over axes.

use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op, Reduction, Unary};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Converted, Site};

/// The `Reduce*` operators: axes are an attribute or, in later operator sets, an operand.
pub(crate) fn convert_reduce(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + site.lead;
    let axes = match site.ints(1)? {
        Some(axes) => axes,
        None => attributes::ints(site.node, "axes")?.map(<[i64]>::to_vec).unwrap_or_default(),
    };
    if axes.is_empty() && attributes::int(site.node, "noop_with_empty_axes", 0)? != 0 {
        return apply_without_axes(&mut site, x.id, &x.shape);
    }
    let mut sample = if axes.is_empty() {
        (0..rank as i64).map(|axis| site.sample_axis(axis, rank)).collect::<Result<Vec<_>, _>>()
    } else {
        axes.iter().map(|&axis| site.sample_axis(axis, rank)).collect()
    }?;
    sample.sort_unstable();
    sample.dedup();
    let output = site.sample_output()?;
    let terms = prepare_terms(&mut site, x.id, &x.shape);
    let reduce = |reduction| Op::Reduce { reduction, axes: sample.clone() };
    Ok(match site.node.op_type.as_str() {
        "ReduceMean" => site.keep(reduce(Reduction::Mean), &[terms], &output),
        "ReduceMax" => site.keep(reduce(Reduction::Max), &[terms], &output),
        "ReduceMin" => site.keep(reduce(Reduction::Min), &[terms], &output),
        "ReduceProd" => site.keep(reduce(Reduction::Prod), &[terms], &output),
        "ReduceL2" => {
            let sum = site.help(reduce(Reduction::Sum), &[terms], &output);
            site.keep(Op::Unary(Unary::Sqrt), &[sum], &output)
        }
        "ReduceLogSum" => {
            let sum = site.help(reduce(Reduction::Sum), &[terms], &output);
            site.keep(Op::Unary(Unary::Log), &[sum], &output)
        }
        "ReduceLogSumExp" => log_sum_exp(&mut site, terms, &x.shape, &sample, &output),
        _ => site.keep(reduce(Reduction::Sum), &[terms], &output),
    })
}

/// What is added up: the elements, their magnitudes or their squares.
fn prepare_terms(site: &mut Site<'_>, x: NodeId, shape: &[usize]) -> NodeId {
    match site.node.op_type.as_str() {
        "ReduceL1" => site.help(Op::Unary(Unary::Abs), &[x], shape),
        "ReduceL2" | "ReduceSumSquare" => site.help(Op::Binary(Binary::Mul), &[x, x], shape),
        _ => x,
    }
}

/// The largest element is taken off first, so that no exponential overflows.
fn log_sum_exp(
    site: &mut Site<'_>,
    x: NodeId,
    shape: &[usize],
    axes: &[usize],
    output: &[usize],
) -> Converted {
    let reduce = |reduction| Op::Reduce { reduction, axes: axes.to_vec() };
    let kept: Vec<_> = (shape.iter().enumerate())
        .map(|(axis, &len)| if axes.contains(&axis) { 1 } else { len })
        .collect();
    let largest = site.help(reduce(Reduction::Max), &[x], &kept);
    let below = site.help(Op::Binary(Binary::Sub), &[x, largest], shape);
    let terms = site.help(Op::Unary(Unary::Exp), &[below], shape);
    let sum = site.help(reduce(Reduction::Sum), &[terms], &kept);
    let log = site.help(Op::Unary(Unary::Log), &[sum], &kept);
    if kept == output {
        return site.keep(Op::Binary(Binary::Add), &[log, largest], output);
    }
    let whole = site.help(Op::Binary(Binary::Add), &[log, largest], &kept);
    site.keep(Op::Reshape, &[whole], output)
}

/// Without axes only the function of each single element is left.
fn apply_without_axes(
    site: &mut Site<'_>,
    x: NodeId,
    shape: &[usize],
) -> Result<Converted, Refusal> {
    Ok(match site.node.op_type.as_str() {
        "ReduceL1" | "ReduceL2" => site.keep(Op::Unary(Unary::Abs), &[x], shape),
        "ReduceSumSquare" => site.keep(Op::Binary(Binary::Mul), &[x, x], shape),
        "ReduceLogSum" => site.keep(Op::Unary(Unary::Log), &[x], shape),
        _ => return site.activation(0).map(Converted::Alias),
    })
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

    #[test]
    fn every_reduction_agrees() {
        for op in [
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ] {
            for keepdims in [0, 1] {
                let model = TestModel::new(18, &[0, 3, 4, 5]).ints("axes", &[1, 3]);
                let keepdims = [int("keepdims", keepdims)];
                model.node(op, "x axes", "y", &keepdims).output("y").agree();
            }
        }
        let positive = TestModel::new(18, &[0, 3, 4]).node("Exp", "x", "e", &[]).ints("a", &[2]);
        positive.node("ReduceLogSum", "e a", "y", &[]).output("y").agree();
    }
}
