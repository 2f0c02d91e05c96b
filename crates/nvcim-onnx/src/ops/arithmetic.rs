//! Sums, differences, products and quotients of two tensors.

use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op, Unary};
use nvcim_ir::shape;

use crate::refusal::Refusal;
use crate::site::{Converted, Site, Value};

/// `Add`, `Sub`, `Mul`, `Div`, `Pow` with ONNX broadcasting, inside each sample.
///
/// A square and a root are computed as such: exactly rounded, and faster than a power.
pub(crate) fn convert_binary(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let binary = match site.node.op_type.as_str() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        _ => Binary::Pow,
    };
    let output = site.sample_output()?;
    if binary == Binary::Pow
        && let (Some(Value::Activation(_)), Some(Value::Constant(exponent))) =
            (site.operand(0), site.operand(1))
        && exponent.value.len() == 1
    {
        let x = site.activation(0)?;
        match site.scalar(1)? {
            _ if x.shape != output => {}
            Some(2.0) => return Ok(site.keep(Op::Binary(Binary::Mul), &[x.id, x.id], &output)),
            Some(0.5) => return Ok(site.keep(Op::Unary(Unary::Sqrt), &[x.id], &output)),
            Some(power) => {
                let power = site.number(power);
                return Ok(site.keep(Op::Binary(Binary::Pow), &[x.id, power], &output));
            }
            None => {}
        }
    }
    let operands = [site.broadcast(0)?, site.broadcast(1)?];
    Ok(site.keep(Op::Binary(binary), &operands, &output))
}

/// `Min`, `Max`, `Sum`, `Mean` of any number of tensors, one after the other.
pub(crate) fn convert_variadic(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let binary = match site.node.op_type.as_str() {
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        _ => Binary::Add,
    };
    let output = site.sample_output()?;
    let count = site.operands.len();
    if count == 1 {
        return site.activation(0).map(Converted::Alias);
    }
    let mut operands =
        (0..count).map(|slot| site.broadcast(slot)).collect::<Result<Vec<_>, _>>()?;
    let last = operands.pop().ok_or_else(|| Refusal::lacks_operand(0))?;
    let mut so_far = operands[0];
    for &operand in &operands[1..] {
        let shapes = [so_far, operand].map(|id| site.builder.graph.node(id).shape.clone());
        let shape = shape::broadcast(&shapes[0], &shapes[1]).ok_or_else(|| {
            let [a, b] = &shapes;
            Refusal::broken(format!("cannot broadcast {a:?} with {b:?}"))
        })?;
        so_far = site.help(Op::Binary(binary), &[so_far, operand], &shape);
    }
    if site.node.op_type != "Mean" {
        return Ok(site.keep(Op::Binary(binary), &[so_far, last], &output));
    }
    let sum = site.help(Op::Binary(binary), &[so_far, last], &output);
    let count = site.number(count as f32);
    Ok(site.keep(Op::Binary(Binary::Div), &[sum, count], &output))
}

/// `Where`, by a constant or by truth values that the network computes.
pub(crate) fn convert_where(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let output = site.sample_output()?;
    let operands = [site.compared(0)?, site.broadcast(1)?, site.broadcast(2)?];
    Ok(site.keep(Op::Select, &operands, &output))
}

impl Site<'_> {
    /// The operand in `slot` as one that broadcasts with others to the output.
    pub(crate) fn broadcast(&mut self, slot: usize) -> Result<NodeId, Refusal> {
        self.check_alignment(slot)?;
        self.tensor(slot, self.output.len())
    }

    /// Refuses an operand whose batch axis would not meet that of the output.
    pub(crate) fn check_alignment(&self, slot: usize) -> Result<(), Refusal> {
        match self.operand(slot) {
            // With a batch of 1 an operand of fewer axes has no batch to misplace.
            Some(Value::Activation(operand))
                if operand.shape.len() + self.lead != self.output.len()
                    && self.batch != 1
                    && self.lead == 1 =>
            {
                Err(Refusal::mixes_samples(format!(
                    "broadcasts `{}`, whose batch axis would meet another axis",
                    self.node.input[slot]
                )))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::TestModel;

    fn binary(op: &str, inputs: &str, constant: &[i64]) -> TestModel {
        let model = TestModel::new(13, &[0, 3, 4, 5]).weight("c", constant);
        model.node(op, inputs, "y", &[]).output("y")
    }

    #[test]
    fn constants_broadcast_from_either_side() {
        for shape in [&[][..], &[1], &[5], &[4, 1], &[3, 1, 1], &[1, 3, 4, 5], &[1, 1, 1, 1]] {
            for (op, inputs) in [("Add", "x c"), ("Sub", "c x"), ("Mul", "x c"), ("Div", "x c")] {
                binary(op, inputs, shape).agree();
            }
        }
    }

    #[test]
    fn powers_of_a_constant_exponent() {
        for exponent in [2.0, 0.5, 3.0, -1.0] {
            let model = TestModel::new(13, &[0, 3, 4]).floats("e", &[], &[exponent]);
            let model = model.node("Abs", "x", "a", &[]).node("Pow", "a e", "y", &[]);
            let graph = model.output("y").agree();
            assert_eq!(graph.to_string().contains("pow"), exponent != 2.0 && exponent != 0.5);
        }
        let rows = TestModel::new(13, &[0, 3, 4]).floats("e", &[4], &[1.0, 2.0, 3.0, 4.0]);
        rows.node("Pow", "x e", "y", &[]).output("y").agree();
    }

    #[test]
    fn any_number_of_tensors_meet() {
        for op in ["Min", "Max", "Sum", "Mean"] {
            let model = TestModel::new(13, &[0, 3, 4]).weight("c", &[4]).weight("d", &[3, 1]);
            model.node("Tanh", "x", "t", &[]).node(op, "t c x d", "y", &[]).output("y").agree();
        }
    }

    #[test]
    fn a_constant_condition_chooses() {
        let model = TestModel::new(13, &[0, 2, 3]).floats("m", &[2, 3], &[1., 0., 0., 1., 1., 0.]);
        let model = model.floats("low", &[], &[f32::NEG_INFINITY]);
        let model = model.node("Cast", "m", "mask", &[crate::testing::int("to", 9)]);
        let model = model.node("Where", "mask x low", "masked", &[]);
        model.node("Softmax", "masked", "y", &[]).output("y").agree();
    }

    #[test]
    fn a_constant_with_the_batch_must_repeat() {
        let model = |values: &[f32]| {
            TestModel::new(13, &[2, 2])
                .floats("c", &[2, 2], values)
                .node("Add", "x c", "y", &[])
                .output("y")
        };
        model(&[1.0, 2.0, 1.0, 2.0]).agree();
        // Else the two rows of the file are no batch.
        let graph = model(&[1.0, 2.0, 1.0, 3.0]).agree();
        assert_eq!(graph.node(graph.input()).shape, [2, 2]);
    }

    #[test]
    fn tensors_of_unequal_rank_would_misplace_the_batch() {
        let model = |batch| {
            TestModel::new(13, &[batch, 4, 4])
                .node(
                    "ReduceMean",
                    "x",
                    "m",
                    &[crate::testing::ints("axes", &[1]), crate::testing::int("keepdims", 0)],
                )
                .node("Sub", "x m", "y", &[])
                .output("y")
        };
        model(0).refuse(Kind::Unsupported, "lengths must be equal or 1");
        // A file of fixed lengths says what it means.
        assert_eq!(model(4).agree().to_string().matches("[4, 4, 4]").count(), 2);
        model(1).agree();
        binary("Add", "x c", &[1, 1, 3, 4, 5]).refuse(Kind::Unsupported, "axis 0 is not the batch");
    }
}
