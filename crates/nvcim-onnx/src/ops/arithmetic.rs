//! Sums, differences, products and quotients of two tensors.

use nvcim_ir::op::{Binary, Op};

use crate::refusal::Refusal;
use crate::site::{Converted, Site, Value};

/// `Add`, `Sub`, `Mul`, `Div` with ONNX broadcasting, inside each sample.
pub(crate) fn convert_binary(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let binary = match site.node.op_type.as_str() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        _ => Binary::Div,
    };
    let rank = site.output.len();
    for slot in [0, 1] {
        // With a batch of 1 an operand of fewer axes has no batch to misplace.
        match site.operand(slot) {
            Some(Value::Activation(operand))
                if operand.shape.len() + 1 != rank && site.batch != 1 =>
            {
                return Err(Refusal::mixes_samples(format!(
                    "broadcasts `{}`, whose batch axis would meet another axis",
                    site.node.input[slot]
                )));
            }
            _ => {}
        }
    }
    let output = site.sample_output()?;
    let operands = [site.tensor(0, rank)?, site.tensor(1, rank)?];
    Ok(site.keep(Op::Binary(binary), &operands, &output))
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
    fn a_constant_with_the_batch_must_repeat() {
        let model = |values: &[f32]| {
            TestModel::new(13, &[2, 2])
                .floats("c", &[2, 2], values)
                .node("Add", "x c", "y", &[])
                .output("y")
        };
        model(&[1.0, 2.0, 1.0, 2.0]).agree();
        model(&[1.0, 2.0, 1.0, 3.0]).refuse(Kind::Unsupported, "different constants");
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
        model(4).refuse(Kind::Unsupported, "whose batch axis would meet another axis");
        model(1).agree();
        binary("Add", "x c", &[1, 1, 3, 4, 5]).refuse(Kind::Unsupported, "meet another axis");
    }
}
