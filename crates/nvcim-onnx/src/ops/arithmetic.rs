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
