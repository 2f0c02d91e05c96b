//! Matrix products with a constant matrix: `Gemm` and `MatMul`.

use ndarray::{ArrayD, IxDyn};
use nvcim_ir::op::Op;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Constant, Converted, Site};

/// `Gemm`: `alpha A B + beta C` with constant `B` and `C`.
pub(crate) fn convert_gemm(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    if attributes::int(site.node, "transA", 0)? != 0 {
        return Err(Refusal::mixes_samples(
            "transposes its first operand, whose axis 0 is the batch",
        ));
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

/// `MatMul` with a constant right operand of two axes.
pub(crate) fn convert_matmul(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let matrix = site.constant(1)?.clone();
    let value = site::to_floats(&matrix)?;
    let shape = value.shape().to_vec();
    let batched = shape.len().saturating_sub(2);
    if shape.len() < 2 || shape[..batched].iter().any(|&length| length != 1) {
        return Err(Refusal::unsupported(
            format!("multiplies by constant `{}` of shape {shape:?}", matrix.name),
            "give the constant two axes",
        ));
    }
    let value = site::reshape(value, &shape[batched..])?;
    let weight = site.builder.constant(&matrix.name, value);
    let output = site.sample_output()?;
    Ok(site.keep(Op::Dense { weight, bias: None, transposed: false }, &[x.id], &output))
}

/// A bias as one number per output column, and its name.
fn spread_bias(constant: &Constant, output: &[usize]) -> Result<(String, ArrayD<f32>), Refusal> {
    let value = site::to_floats(constant)?;
    let columns = output.last().copied().unwrap_or(0);
    match value.len() {
        count if count == columns => Ok((constant.name.clone(), site::reshape(value, &[columns])?)),
        1 => {
            let number = value.first().copied().unwrap_or(0.0);
            let name = format!("{}/repeated", constant.name);
            Ok((name, ArrayD::from_elem(IxDyn(&[columns]), number)))
        }
        _ => Err(Refusal::mixes_samples(format!(
            "adds `{}` of shape {:?}, which differs between samples",
            constant.name,
            value.shape()
        ))),
    }
}

fn scale(value: ArrayD<f32>, factor: f32) -> ArrayD<f32> {
    if factor == 1.0 { value } else { value * factor }
}

fn scaled_name(constant: &Constant, factor: f32) -> String {
    if factor == 1.0 { constant.name.clone() } else { format!("{} * {factor}", constant.name) }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, float, int};

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
    fn products_that_no_matrix_can_hold_are_refused() {
        let gemm = TestModel::new(13, &[4, 4]).weight("w", &[4, 3]);
        let gemm = gemm.node("Gemm", "x w", "y", &[int("transA", 1)]).output("y");
        gemm.refuse(Kind::Unsupported, "axis 0 is the batch");
        let batched = TestModel::new(13, &[0, 2, 5, 4]).weight("w", &[2, 4, 3]);
        batched.node("MatMul", "x w", "y", &[]).output("y").refuse(Kind::Unsupported, "two axes");
        let left = TestModel::new(13, &[0, 4, 3]).weight("w", &[5, 4]);
        left.node("MatMul", "w x", "y", &[]).output("y").refuse(Kind::Unsupported, "as its data");
        let wrong = TestModel::new(13, &[0, 4]).weight("w", &[5, 3]);
        wrong.node("MatMul", "x w", "y", &[]).output("y").refuse(Kind::BadInput, "do not fit");
    }
}
