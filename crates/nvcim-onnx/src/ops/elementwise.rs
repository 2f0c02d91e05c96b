//! Element-wise functions of one tensor.

use nvcim_ir::op::{Binary, Op, Unary};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Converted, Site, Value};

/// The operators that are one element-wise function.
pub(crate) fn convert_unary(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let alpha = |default| attributes::float(site.node, "alpha", default);
    let unary = match site.node.op_type.as_str() {
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "HardSwish" => Unary::HardSwish,
        "LeakyRelu" => Unary::LeakyRelu { alpha: alpha(0.01)? },
        "Abs" => Unary::Abs,
        "Sqrt" => Unary::Sqrt,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Erf" => Unary::Erf,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        "Softplus" => Unary::Softplus,
        "Elu" => Unary::Elu { alpha: alpha(1.0)?, gamma: 1.0, width: 1.0 },
        "Selu" => Unary::Elu {
            alpha: alpha(1.673_263_2)?,
            gamma: attributes::float(site.node, "gamma", 1.050_701)?,
            width: 1.0,
        },
        "Celu" => Unary::Elu { alpha: alpha(1.0)?, gamma: 1.0, width: alpha(1.0)? },
        _ => match attributes::string(site.node, "approximate", "none")?.as_str() {
            "none" => Unary::Gelu,
            "tanh" => Unary::GeluTanh,
            other => return Err(Refusal::unknown_choice("approximate", other, &["none", "tanh"])),
        },
    };
    Ok(site.keep(Op::Unary(unary), &[x.id], &x.shape))
}

/// The element-wise operators that are written with others.
pub(crate) fn convert_composed(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let shape = x.shape.clone();
    let attribute = |site: &Site<'_>, name, default| attributes::float(site.node, name, default);
    Ok(match site.node.op_type.as_str() {
        "Neg" => {
            let minus = site.number(-1.0);
            site.keep(Op::Binary(Binary::Mul), &[x.id, minus], &shape)
        }
        "Reciprocal" => {
            let one = site.number(1.0);
            site.keep(Op::Binary(Binary::Div), &[one, x.id], &shape)
        }
        "HardSigmoid" => {
            let (alpha, beta) = (attribute(&site, "alpha", 0.2)?, attribute(&site, "beta", 0.5)?);
            let (alpha, beta) = (site.number(alpha), site.number(beta));
            let scaled = site.help(Op::Binary(Binary::Mul), &[x.id, alpha], &shape);
            let moved = site.help(Op::Binary(Binary::Add), &[scaled, beta], &shape);
            site.keep(Op::Unary(Unary::Clip { lo: 0.0, hi: 1.0 }), &[moved], &shape)
        }
        "Softsign" => {
            let size = site.help(Op::Unary(Unary::Abs), &[x.id], &shape);
            let one = site.number(1.0);
            let divisor = site.help(Op::Binary(Binary::Add), &[size, one], &shape);
            site.keep(Op::Binary(Binary::Div), &[x.id, divisor], &shape)
        }
        "Mish" => {
            let soft = site.help(Op::Unary(Unary::Softplus), &[x.id], &shape);
            let gate = site.help(Op::Unary(Unary::Tanh), &[soft], &shape);
            site.keep(Op::Binary(Binary::Mul), &[x.id, gate], &shape)
        }
        _ => {
            let alpha = attribute(&site, "alpha", 1.0)?;
            let alpha = site.number(alpha);
            let scaled = site.help(Op::Binary(Binary::Mul), &[x.id, alpha], &shape);
            let gate = site.help(Op::Unary(Unary::Sigmoid), &[scaled], &shape);
            site.keep(Op::Binary(Binary::Mul), &[x.id, gate], &shape)
        }
    })
}

/// `PRelu`: a leaky rectifier with one slope, else `max(x, 0) + slope min(x, 0)`.
pub(crate) fn convert_prelu(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    if let Some(Value::Constant(slope)) = site.operand(1)
        && slope.value.len() == 1
        && let Some(alpha) = site.scalar(1)?
    {
        return Ok(site.keep(Op::Unary(Unary::LeakyRelu { alpha }), &[x.id], &x.shape));
    }
    let rank = x.shape.len() + site.lead;
    let slope = site.tensor(1, rank)?;
    let below = Unary::Clip { lo: f32::NEG_INFINITY, hi: 0.0 };
    let positive = site.help(Op::Unary(Unary::Relu), &[x.id], &x.shape);
    let negative = site.help(Op::Unary(below), &[x.id], &x.shape);
    let scaled = site.help(Op::Binary(Binary::Mul), &[negative, slope], &x.shape);
    Ok(site.keep(Op::Binary(Binary::Add), &[positive, scaled], &x.shape))
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
        return Err(Refusal::broken("has a bound that is NaN, must be a number"));
    }
    Ok(site.keep(Op::Unary(Unary::Clip { lo, hi }), &[x.id], &x.shape))
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, float, string};

    #[test]
    fn every_function_agrees() {
        for op in [
            "Relu",
            "Sigmoid",
            "Tanh",
            "LeakyRelu",
            "HardSwish",
            "Abs",
            "Exp",
            "Erf",
            "Sin",
            "Cos",
            "Floor",
            "Ceil",
            "Round",
            "Sign",
            "Softplus",
            "Elu",
            "Selu",
            "Celu",
            "Gelu",
            "Neg",
            "Reciprocal",
            "HardSigmoid",
            "Softsign",
            "Mish",
        ] {
            TestModel::new(20, &[0, 3, 5]).node(op, "x", "y", &[]).output("y").agree();
        }
        let positive = TestModel::new(20, &[0, 3, 5]).node("Abs", "x", "a", &[]);
        positive.clone().node("Sqrt", "a", "y", &[]).output("y").agree();
        positive.node("Log", "a", "y", &[]).output("y").agree();
        let gelu = TestModel::new(20, &[0, 9]);
        gelu.node("Gelu", "x", "y", &[string("approximate", "tanh")]).output("y").agree();
        let leaky = TestModel::new(14, &[0, 9]);
        leaky.node("LeakyRelu", "x", "y", &[float("alpha", 0.3)]).output("y").agree();
    }

    #[test]
    fn slopes_are_one_or_one_per_channel() {
        for slope in [&[1][..], &[3, 1, 1], &[4]] {
            let model = TestModel::new(16, &[0, 3, 2, 4]).weight("slope", slope);
            let graph = model.node("PRelu", "x slope", "y", &[]).output("y").agree();
            assert_eq!(graph.to_string().contains("leaky_relu"), slope == [1], "{graph}");
        }
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
