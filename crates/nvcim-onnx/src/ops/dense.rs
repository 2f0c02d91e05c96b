//! Matrix products with a constant matrix: `Gemm` and `MatMul`.

use ndarray::{ArcArray, IxDyn};
use nvcim_ir::op::Op;

use crate::attributes;
use crate::data::Floats;
use crate::refusal::Refusal;
use crate::site::{self, Constant, Converted, Site, Value};

/// `Gemm`: `alpha A B + beta C` with constant `B` and `C`.
pub(crate) fn convert_gemm(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let mut x = site.activation(0)?;
    if attributes::int(site.node, "transA", 0)? != 0 {
        let ([rows, columns], 0) = (&x.shape[..], site.lead) else {
            return Err(Refusal::mixes_samples(
                "transposes its first operand (`transA`), whose axis 0 is the batch",
            ));
        };
        let turned = [*columns, *rows];
        x.id = site.help(Op::Transpose { perm: vec![1, 0] }, &[x.id], &turned);
    }
    let transposed = attributes::int(site.node, "transB", 0)? != 0;
    let alpha = attributes::float(site.node, "alpha", 1.0)?;
    let beta = attributes::float(site.node, "beta", 1.0)?;
    let matrix = site.constant(1)?.clone();
    let weight = scale(site::to_floats(&matrix)?, alpha);
    let weight = site.builder.constant(&scaled_name(&matrix, alpha), weight);
    let output = site.sample_output()?;
    let bias = match site.optional_constant(2)?.cloned() {
        Some(constant) => {
            let (name, value) = spread_bias(&constant, &output)?;
            let name = scaled_name(&Constant { name, ..constant }, beta);
            Some(site.builder.constant(&name, scale(value, beta)))
        }
        None => None,
    };
    Ok(site.keep(Op::Dense { weight, bias, transposed }, &[x.id], &output))
}

/// `MatMul`: on arrays where one operand is a constant matrix, else a digital product.
pub(crate) fn convert_matmul(mut site: Site<'_>) -> Result<Converted, Refusal> {
    if let Some(matrix) = single_matrix(&site, 1)? {
        let x = site.activation(0)?;
        let weight = site.builder.constant(&matrix.0, matrix.1);
        let output = site.sample_output()?;
        let op = Op::Dense { weight, bias: None, transposed: false };
        return Ok(site.keep(op, &[x.id], &output));
    }
    if let Some(matrix) = single_matrix(&site, 0)? {
        return multiply_from_left(site, matrix);
    }
    let output = site.sample_output()?;
    let operands = [site.broadcast(0)?, site.broadcast(1)?];
    let shapes = operands.map(|id| site.builder.graph.node(id).shape.len());
    if shapes.iter().any(|&axes| axes < 2) {
        return Err(Refusal::mixes_samples("multiplies two vectors, whose axis 0 is the batch"));
    }
    Ok(site.keep(Op::MatMul, &operands, &output))
}

/// The operand in `slot` as a name and a matrix, if it is a constant and only one matrix.
fn single_matrix(site: &Site<'_>, slot: usize) -> Result<Option<(String, Floats)>, Refusal> {
    let Some(Value::Constant(constant)) = site.operand(slot) else { return Ok(None) };
    let shape = constant.value.shape().to_vec();
    let [front @ .., _, _] = &shape[..] else { return Ok(None) };
    if front.iter().any(|&length| length != 1) {
        return Ok(None);
    }
    let value = site::reshape(site::to_floats(constant)?, &shape[front.len()..])?;
    Ok(Some((constant.name.clone(), value)))
}

/// `W x` is `(x^T W^T)^T`: the matrix meets the last axis between two transpositions.
fn multiply_from_left(
    mut site: Site<'_>,
    (name, matrix): (String, Floats),
) -> Result<Converted, Refusal> {
    let x = site.activation(1)?;
    let output = site.sample_output()?;
    let rank = x.shape.len();
    if rank < 2 {
        return Err(Refusal::mixes_samples(
            "multiplies a constant by a tensor whose axis 0, the batch, is summed over",
        ));
    }
    let perm: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
    let turned = |shape: &[usize]| perm.iter().map(|&axis| shape[axis]).collect::<Vec<_>>();
    let (flat, made) = (turned(&x.shape), turned(&output));
    let columns = site.help(Op::Transpose { perm: perm.clone() }, &[x.id], &flat);
    let weight = site.builder.constant(&name, matrix);
    let op = Op::Dense { weight, bias: None, transposed: true };
    let product = site.help(op, &[columns], &made);
    Ok(site.keep(Op::Transpose { perm }, &[product], &output))
}

/// A bias as one number per output column, and its name.
fn spread_bias(constant: &Constant, output: &[usize]) -> Result<(String, Floats), Refusal> {
    let value = site::to_floats(constant)?;
    let columns = output.last().copied().unwrap_or(0);
    match value.len() {
        count if count == columns => Ok((constant.name.clone(), site::reshape(value, &[columns])?)),
        1 => {
            let number = value.first().copied().unwrap_or(0.0);
            let name = format!("{}/repeated", constant.name);
            Ok((name, ArcArray::from_elem(IxDyn(&[columns]), number)))
        }
        _ => Err(Refusal::mixes_samples(format!(
            "adds `{}` of shape {:?}, which differs between samples",
            constant.name,
            value.shape()
        ))),
    }
}

fn scale(value: Floats, factor: f32) -> Floats {
    if factor == 1.0 { value } else { value * factor }
}

fn scaled_name(constant: &Constant, factor: f32) -> String {
    if factor == 1.0 { constant.name.clone() } else { format!("{} * {factor}", constant.name) }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, float, int, ints};

    #[test]
    fn gemm_scales_transposes_and_spreads_its_bias() {
        for (bias, alpha, beta) in [(&[3][..], 1.0, 1.0), (&[1, 3], 0.5, 2.0), (&[1], 1.0, 0.25)] {
            TestModel::new(13, &[0, 4])
                .weight("w", &[3, 4])
                .weight("b", bias)
                .node(
                    "Gemm",
                    "x w b",
                    "y",
                    &[int("transB", 1), float("alpha", alpha), float("beta", beta)],
                )
                .output("y")
                .agree();
        }
        let plain = TestModel::new(13, &[0, 4]).weight("w", &[4, 3]);
        plain.node("Gemm", "x w", "y", &[]).output("y").agree();
    }

    #[test]
    fn matmul_works_on_the_last_axis() {
        let model = TestModel::new(13, &[0, 2, 5, 4]).weight("w", &[4, 3]);
        model.node("MatMul", "x w", "y", &[]).output("y").agree();
        let model = TestModel::new(13, &[0, 2, 4]).weight("w", &[1, 4, 3]);
        model.node("MatMul", "x w", "y", &[]).output("y").agree();
    }

    #[test]
    fn a_matrix_on_the_left_stands_between_transpositions() {
        let left = TestModel::new(13, &[0, 2, 4, 3]).weight("w", &[5, 4]);
        let graph = left.node("MatMul", "w x", "y", &[]).output("y").agree();
        assert!(graph.to_string().contains("dense w=c0^T"), "{graph}");
    }

    #[test]
    fn attention_of_several_heads_keeps_an_open_batch_apart() {
        let heads = |model: TestModel, name: &str, perm: &[i64]| {
            let [weight, flat, split] = ["w", "m", "r"].map(|part| format!("{part}{name}"));
            model
                .weight(&weight, &[8, 8])
                .node("MatMul", &format!("x {weight}"), &flat, &[])
                .node("Reshape", &format!("{flat} heads"), &split, &[])
                .node("Transpose", &split, name, &[ints("perm", perm)])
        };
        let model = TestModel::new(17, &[0, 5, 8])
            .ints("heads", &[0, 0, 2, 4])
            .ints("joined", &[0, 0, 8])
            .floats("root", &[], &[2.0])
            .floats("mask", &[1, 1, 1, 5], &[0.0, 0.0, f32::NEG_INFINITY, 0.0, 0.0]);
        let model = heads(model, "q", &[0, 2, 1, 3]);
        let model = heads(model, "k", &[0, 2, 3, 1]);
        let model = heads(model, "v", &[0, 2, 1, 3])
            .node("MatMul", "q k", "scores", &[])
            .node("Div", "scores root", "scaled", &[])
            .node("Add", "scaled mask", "masked", &[])
            .node("Softmax", "masked", "p", &[int("axis", -1)])
            .node("MatMul", "p v", "mixed", &[])
            .node("Transpose", "mixed", "turned", &[ints("perm", &[0, 2, 1, 3])])
            .node("Reshape", "turned joined", "y", &[])
            .output("y");
        model.agree();
    }

    #[test]
    fn products_that_change_with_the_input_are_digital() {
        let batched = TestModel::new(13, &[0, 2, 5, 4]).weight("w", &[2, 4, 3]);
        batched.node("MatMul", "x w", "y", &[]).output("y").agree();
        let scores = TestModel::new(13, &[0, 2, 5, 4])
            .node("Transpose", "x", "t", &[ints("perm", &[0, 1, 3, 2])])
            .node("MatMul", "x t", "s", &[])
            .node("Softmax", "s", "p", &[int("axis", -1)])
            .node("MatMul", "p x", "y", &[])
            .output("y");
        scores.agree();
    }

    #[test]
    fn a_whole_tensor_may_be_turned_before_its_product() {
        let gemm = TestModel::new(13, &[4, 5]).weight("w", &[4, 3]);
        gemm.node("Gemm", "x w", "y", &[int("transA", 1)]).output("y").agree();
    }

    #[test]
    fn products_that_do_not_fit_are_broken() {
        let wrong = TestModel::new(13, &[0, 4]).weight("w", &[5, 3]);
        wrong.node("MatMul", "x w", "y", &[]).output("y").refuse(Kind::BadInput, "do not fit");
    }
}
