//! Comparisons and what follows from truth values, which are 0 and 1 in the graph; places of extremes and
//! running sums.

use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op, Unary};
use tract_onnx::prelude::DatumType;

use crate::attributes;
use crate::data::name_type;
use crate::refusal::Refusal;
use crate::site::{Constant, Converted, Site, Value};

/// The largest integer up to which every integer is a float.
const EXACT: i64 = 1 << 24;

/// `Equal`, `Greater`, `Less` and those with equality, of two tensors of numbers.
pub(crate) fn convert_comparison(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let output = site.sample_output()?;
    let [a, b] = [site.compared(0)?, site.compared(1)?];
    let (function, operands) = match site.node.op_type.as_str() {
        "Equal" => (Binary::Equal, [a, b]),
        "Greater" => (Binary::Greater, [a, b]),
        "GreaterOrEqual" => (Binary::GreaterOrEqual, [a, b]),
        "Less" => (Binary::Greater, [b, a]),
        _ => (Binary::GreaterOrEqual, [b, a]),
    };
    Ok(site.keep(Op::Binary(function), &operands, &output))
}

/// `And`, `Or` and `Xor` of two tensors of truth values.
pub(crate) fn convert_connective(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let output = site.sample_output()?;
    let operands = [site.truth_values(0)?, site.truth_values(1)?];
    Ok(match site.node.op_type.as_str() {
        "And" => site.keep(Op::Binary(Binary::Min), &operands, &output),
        "Or" => site.keep(Op::Binary(Binary::Max), &operands, &output),
        _ => {
            let equal = site.help(Op::Binary(Binary::Equal), &operands, &output);
            site.negate(equal, &output)
        }
    })
}

/// `Not`.
pub(crate) fn convert_not(mut site: Site<'_>) -> Result<Converted, Refusal> {
    site.truth_values(0)?;
    let x = site.elements(0)?;
    Ok(site.negate(x.id, &x.shape))
}

/// `ArgMax` and `ArgMin` along any axis but the batch.
pub(crate) fn convert_arg(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let mut x = site.activation(0)?;
    let axis = attributes::int(site.node, "axis", 0)?;
    let axis = site.sample_axis(axis, x.shape.len() + site.lead)?;
    let last = attributes::int(site.node, "select_last_index", 0)? != 0;
    let output = site.sample_output()?;
    if site.node.op_type == "ArgMin" {
        let minus = site.number(-1.0);
        x.id = site.help(Op::Binary(Binary::Mul), &[x.id, minus], &x.shape);
    }
    Ok(site.keep(Op::ArgMax { axis, last }, &[x.id], &output))
}

/// `CumSum` along a constant axis, any but the batch.
pub(crate) fn convert_cum_sum(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let axis = match site.ints(1)?.as_deref() {
        Some(&[axis]) => axis,
        Some(other) => return Err(Refusal::broken(format!("sums along axes {other:?}, not one"))),
        None => return Err(Refusal::broken("lacks operand 1")),
    };
    let axis = site.sample_axis(axis, x.shape.len() + site.lead)?;
    let exclusive = attributes::int(site.node, "exclusive", 0)? != 0;
    let reverse = attributes::int(site.node, "reverse", 0)? != 0;
    Ok(site.keep(Op::CumSum { axis, exclusive, reverse }, &[x.id], &x.shape))
}

impl Site<'_> {
    /// 1 where `x` is 0, and 0 where it is 1.
    fn negate(&mut self, x: NodeId, shape: &[usize]) -> Converted {
        let one = self.number(1.0);
        self.keep(Op::Binary(Binary::Sub), &[one, x], shape)
    }

    /// The operand in `slot`, which must hold truth values.
    fn truth_values(&mut self, slot: usize) -> Result<NodeId, Refusal> {
        match self.operand(slot) {
            Some(Value::Activation(x)) if x.datum != DatumType::Bool => {
                Err(Refusal::broken(format!(
                    "takes `{}` of type {}, must be bool",
                    self.node.input[slot],
                    name_type(x.datum)
                )))
            }
            _ => self.compared(slot),
        }
    }

    /// The operand in `slot` as one that is compared with another: numbers or truth values of any type that
    /// floats hold exactly.
    pub(crate) fn compared(&mut self, slot: usize) -> Result<NodeId, Refusal> {
        let Some(Value::Constant(constant)) = self.operand(slot) else {
            let x = self.elements(slot)?;
            self.check_alignment(slot)?;
            return Ok(x.id);
        };
        let Constant { name, value } = constant.clone();
        let beyond = |it: &i64| !(-EXACT..=EXACT).contains(it);
        if value.ints().is_some_and(|ints| ints.iter().any(beyond)) {
            return Err(Refusal::unsupported(
                format!(
                    "compares with an integer of `{name}` beyond 2^24, which floats do not hold"
                ),
                "compare with smaller integers, or with floats",
            ));
        }
        let numbers = value
            .numbers()
            .ok_or_else(|| Refusal::broken(format!("has no numbers in `{name}`")))?;
        let numbers = self.strip_batch(&name, numbers, self.output.len())?;
        Ok(self.constant_tensor(&format!("{name}/numbers"), numbers))
    }

    /// The whole part of `x`, towards 0.
    pub(crate) fn truncate(&mut self, x: NodeId, shape: &[usize]) -> Converted {
        let sign = self.help(Op::Unary(Unary::Sign), &[x], shape);
        let size = self.help(Op::Unary(Unary::Abs), &[x], shape);
        let whole = self.help(Op::Unary(Unary::Floor), &[size], shape);
        self.keep(Op::Binary(Binary::Mul), &[sign, whole], shape)
    }

    /// 1 where `x` is not 0, else 0.
    pub(crate) fn truth(&mut self, x: NodeId, shape: &[usize]) -> Converted {
        let zero = self.number(0.0);
        let is_zero = self.help(Op::Binary(Binary::Equal), &[x, zero], shape);
        self.negate(is_zero, shape)
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, int};

    /// Whole numbers from -3 to 3, so that some are equal.
    fn whole(input: &[i64]) -> TestModel {
        TestModel::new(16, input)
            .floats("three", &[], &[3.0])
            .node("Mul", "x three", "scaled", &[])
            .node("Round", "scaled", "r", &[])
    }

    #[test]
    fn comparisons_meet_tensors_and_constants() {
        for op in ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"] {
            for inputs in ["r c", "c r", "r n", "r x"] {
                whole(&[0, 3, 4])
                    .floats("c", &[3, 1], &[0.0, -1.0, 2.0])
                    .node("Neg", "r", "n", &[])
                    .node(op, inputs, "truth", &[])
                    .node("Cast", "truth", "y", &[int("to", 1)])
                    .output("y")
                    .agree();
            }
        }
    }

    #[test]
    fn truth_values_are_combined_and_choose() {
        for op in ["And", "Or", "Xor"] {
            whole(&[0, 3, 4])
                .floats("zero", &[], &[0.0])
                .node("Greater", "r zero", "a", &[])
                .node("Less", "x zero", "b", &[])
                .node("Not", "b", "c", &[])
                .node(op, "a c", "d", &[])
                .node("Where", "d x r", "y", &[])
                .output("y")
                .agree();
        }
    }

    #[test]
    fn truth_values_may_be_an_output() {
        whole(&[0, 4]).node("Equal", "r x", "y", &[]).output("y").agree();
    }

    #[test]
    fn integers_beyond_floats_are_not_compared() {
        let model = TestModel::new(13, &[0, 4]).ints("i", &[(1 << 24) + 1]);
        let model = model.node("ArgMax", "x", "a", &[int("axis", 1)]);
        model.node("Equal", "a i", "y", &[]).output("y").refuse(Kind::Unsupported, "2^24");
    }

    #[test]
    fn the_place_of_an_extreme_is_a_number() {
        for op in ["ArgMax", "ArgMin"] {
            for keepdims in [0, 1] {
                let attributes = [int("axis", -2), int("keepdims", keepdims)];
                whole(&[0, 3, 4]).node(op, "r", "y", &attributes).output("y").agree();
            }
        }
        let class = TestModel::new(13, &[0, 10]).node("ArgMax", "x", "y", &[int("axis", 1)]);
        class.output("y").agree();
        let batch = TestModel::new(13, &[0, 10]).node("ArgMax", "x", "y", &[int("axis", 0)]);
        batch.output("y").refuse(Kind::Unsupported, "the batch");
    }

    #[test]
    fn sums_run_along_an_axis() {
        for (exclusive, reverse) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let attributes = [int("exclusive", exclusive), int("reverse", reverse)];
            let axis = [int("value_int", -2)];
            let model = TestModel::new(14, &[0, 3, 4]).node("Constant", "", "axis", &axis);
            model.node("CumSum", "x axis", "y", &attributes).output("y").agree();
        }
    }

    #[test]
    fn numbers_are_cast_to_integers_and_truths_and_back() {
        for to in [6, 7, 9] {
            TestModel::new(13, &[0, 3, 4])
                .floats("three", &[], &[3.0])
                .node("Mul", "x three", "scaled", &[])
                .node("Cast", "scaled", "cast", &[int("to", to)])
                .node("Cast", "cast", "y", &[int("to", 1)])
                .output("y")
                .agree();
        }
    }
}
