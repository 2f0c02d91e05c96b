//! Element-wise functions of one tensor.

use nvcim_ir::op::{Op, Unary};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Converted, Site};

/// `Relu`, `Sigmoid`, `Tanh`, `LeakyRelu`, `HardSwish`.
pub(crate) fn convert_unary(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let unary = match site.node.op_type.as_str() {
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "HardSwish" => Unary::HardSwish,
        _ => Unary::LeakyRelu { alpha: attributes::float(site.node, "alpha", 0.01)? },
    };
    Ok(site.keep(Op::Unary(unary), &[x.id], &x.shape))
}

/// `Clip`: bounds are attributes before operator set 11 and operands since.
pub(crate) fn convert_clip(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let (lo, hi) = if site.opset < 11 {
        (
            attributes::float(site.node, "min", f32::NEG_INFINITY)?,
            attributes::float(site.node, "max", f32::INFINITY)?,
        )
    } else {
        (site.scalar(1)?.unwrap_or(f32::NEG_INFINITY), site.scalar(2)?.unwrap_or(f32::INFINITY))
    };
    if lo.is_nan() || hi.is_nan() {
        return Err(Refusal::broken("has a bound that is not a number"));
    }
    Ok(site.keep(Op::Unary(Unary::Clip { lo, hi }), &[x.id], &x.shape))
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, float};

    #[test]
    fn every_function_agrees() {
        for op in ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish"] {
            TestModel::new(14, &[0, 3, 5]).node(op, "x", "y", &[]).output("y").agree();
        }
        let leaky = TestModel::new(14, &[0, 9]);
        leaky.node("LeakyRelu", "x", "y", &[float("alpha", 0.3)]).output("y").agree();
    }

    #[test]
    fn clip_takes_its_bounds_from_either_place() {
        let old = TestModel::new(9, &[0, 9]);
        old.node("Clip", "x", "y", &[float("min", -0.2), float("max", 0.5)]).output("y").agree();
        let new = TestModel::new(13, &[0, 9]).floats("hi", &[], &[0.25]);
        let graph = new.node("Clip", "x - hi", "y", &[]).output("y").agree();
        assert!(graph.to_string().contains("clip -inf..0.25"), "{graph}");
        let wrong = TestModel::new(13, &[0, 9]).floats("lo", &[2], &[0.0, 1.0]);
        wrong.node("Clip", "x lo", "y", &[]).output("y").refuse(Kind::BadInput, "node `y`");
    }
}
