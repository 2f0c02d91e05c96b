//! Steps between floats and the integers of quantised networks, spelled with the arithmetic that defines them.
//!
//! Integers are held in floats, which are exact for them: `q = clip(round(x / s) + z)` and `x = s (q - z)`, with
//! scale `s` and zero point `z` for a tensor or for each element of an axis. Weights that are stored as integers
//! never come here: they are constants, and constants are computed.

use ndarray::IxDyn;
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op, Unary};
use tract_onnx::prelude::DatumType;

use crate::attributes;
use crate::data::{Floats, name_type};
use crate::refusal::Refusal;
use crate::site::{Converted, Site, numbers_of, to_floats};

/// `QuantizeLinear` to 8-bit integers.
pub(crate) fn convert_quantize(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let Grid { scale, zero, datum } = site.grid()?;
    let [lo, hi] = match datum {
        DatumType::I8 => [-128.0, 127.0],
        DatumType::U8 => [0.0, 255.0],
        other => {
            return Err(Refusal::unsupported(
                format!("quantises to {}, must be int8 or uint8", name_type(other)),
                "quantise the network to 8 bits, or export it in 32-bit floats",
            ));
        }
    };
    let scaled = site.help(Op::Binary(Binary::Div), &[x.id, scale], &x.shape);
    let rounded = site.help(Op::Unary(Unary::Round), &[scaled], &x.shape);
    let shifted = match zero {
        Some(zero) => site.help(Op::Binary(Binary::Add), &[rounded, zero], &x.shape),
        None => rounded,
    };
    Ok(site.keep(Op::Unary(Unary::Clip { lo, hi }), &[shifted], &x.shape))
}

/// `DequantizeLinear` of what the network computes.
pub(crate) fn convert_dequantize(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let q = site.elements(0)?;
    let Grid { scale, zero, .. } = site.grid()?;
    let shifted = match zero {
        Some(zero) => site.help(Op::Binary(Binary::Sub), &[q.id, zero], &q.shape),
        None => q.id,
    };
    Ok(site.keep(Op::Binary(Binary::Mul), &[shifted, scale], &q.shape))
}

/// The integers of a tensor and what they stand for.
struct Grid {
    scale: NodeId,
    /// `None` where it is 0 everywhere.
    zero: Option<NodeId>,
    /// The type of the integers.
    datum: DatumType,
}

impl Site<'_> {
    /// Scale and zero point, the operands behind the data, as tensors that broadcast with it.
    fn grid(&mut self) -> Result<Grid, Refusal> {
        if attributes::int(self.node, "block_size", 0)? != 0 {
            return Err(Refusal::unsupported(
                "has a scale for every block of elements (`block_size`)",
                "quantise per tensor or per channel",
            ));
        }
        let scale = self.constant(1)?.clone();
        let values = to_floats(&scale)?;
        if !values.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
            return Err(Refusal::broken(format!(
                "has a scale in `{}` that is not positive and finite",
                scale.name
            )));
        }
        let scale = self.along_axis(&scale.name, values)?;
        let Some(zero) = self.optional_constant(2)?.cloned() else {
            return Ok(Grid { scale, zero: None, datum: DatumType::U8 });
        };
        let datum = zero.value.datum_type();
        let values = numbers_of(&zero)?;
        let zero = if values.iter().all(|&zero| zero == 0.0) {
            None
        } else {
            Some(self.along_axis(&format!("{}/float", zero.name), values)?)
        };
        Ok(Grid { scale, zero, datum })
    }

    /// One number, or one for every element of the axis that the node names, as a tensor of the graph.
    fn along_axis(&mut self, name: &str, values: Floats) -> Result<NodeId, Refusal> {
        let rank = self.output.len();
        if values.len() == 1 {
            let value = values.first().copied().unwrap_or(1.0);
            return Ok(self.number(value));
        }
        let axis = self.sample_axis(attributes::int(self.node, "axis", 1)?, rank)?;
        let mut shape = vec![1; rank - self.lead];
        shape[axis] = self.output[axis + self.lead];
        let have = values.shape().to_vec();
        let value = values.into_shape_with_order(IxDyn(&shape)).map_err(|_| {
            Refusal::broken(format!(
                "has `{name}` of shape {have:?}, must have one element, or {} as the axis it is along",
                shape[axis]
            ))
        })?;
        Ok(self.constant_tensor(&format!("{name}/axis {axis}"), value))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;
    use nvcim_ir::diag::Kind;
    use nvcim_ops::run_graph::run_graph;

    use crate::proto::TensorProto;
    use crate::testing::{TestModel, int};

    /// The `TensorProto.DataType` of 8-bit integers, without and with a sign, and of 16-bit ones.
    const UINT8: i32 = 2;
    const INT8: i32 = 3;
    const INT16: i32 = 5;

    fn with_zero(model: TestModel, name: &str, data_type: i32, values: &[i32]) -> TestModel {
        let mut model = model;
        let dims = if values.len() == 1 { Vec::new() } else { vec![values.len() as i64] };
        let int32_data = values.to_vec();
        let zero = TensorProto {
            name: name.into(),
            dims,
            data_type,
            int32_data,
            ..TensorProto::default()
        };
        model.graph.initializer.push(zero);
        model
    }

    fn quantised(data_type: i32, zero: i32) -> TestModel {
        let model = TestModel::new(13, &[0, 6]).floats("s", &[], &[0.25]);
        with_zero(model, "z", data_type, &[zero])
            .node("QuantizeLinear", "x s z", "q", &[])
            .node("DequantizeLinear", "q s z", "y", &[])
            .output("y")
    }

    /// By the definition of ONNX: halves go to even, and what is outside saturates.
    #[test]
    fn values_are_those_of_the_definition() {
        let run = |model: &TestModel, x: &[f32]| {
            let graph = model.import().unwrap_or_else(|problems| panic!("{problems:#?}"));
            let x = arr1(x).into_shape_with_order(vec![1, 6]).expect("6 numbers");
            run_graph(&graph, &x, &mut |_, _| {})[0].iter().copied().collect::<Vec<_>>()
        };
        let x = [0.125, 0.375, -0.125, 0.3, 100.0, -100.0];
        // Quarters: 0.5 and 1.5 to the even one, then 1.2; -128 + 5 to 127 + 5 quarters.
        let signed = [0.0, 0.5, 0.0, 0.25, 0.25 * (127.0 - 5.0), 0.25 * (-128.0 - 5.0)];
        assert_eq!(run(&quantised(INT8, 5), &x), signed);
        let unsigned = [0.0, 0.5, 0.0, 0.25, 0.25 * 255.0, 0.0];
        assert_eq!(run(&quantised(UINT8, 0), &x), unsigned);
        quantised(INT8, -7).agree();
        quantised(UINT8, 128).agree();
    }

    #[test]
    fn channels_have_scales_of_their_own() {
        let model = TestModel::new(13, &[0, 3, 4]).floats("s", &[3], &[0.5, 0.1, 0.02]);
        let model = with_zero(model, "z", INT8, &[3, 0, -9]);
        let axis = [int("axis", 1)];
        let model = model.node("QuantizeLinear", "x s z", "q", &axis);
        model.node("DequantizeLinear", "q s z", "y", &axis).output("y").agree();
    }

    #[test]
    fn whole_numbers_enter_and_leave() {
        let mut model = quantised(INT8, -3).node("Transpose", "q", "t", &[]).output("q");
        model.graph.node.pop();
        model.agree();
        let kind = model.graph.input[0].r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
        kind.expect("the builder declares a tensor").elem_type = INT8;
        model.graph.node[0].op_type = "DequantizeLinear".into();
        model.graph.node[0].output = vec!["f".into()];
        model.graph.node[1].op_type = "Relu".into();
        model.graph.node[1].input = vec!["f".into()];
        model.graph.output.remove(1);
        model.import().unwrap_or_else(|problems| panic!("{problems:#?}"));
    }

    #[test]
    fn weights_in_integers_are_constants() {
        let model = TestModel::new(13, &[0, 3]).floats("s", &[2], &[0.5, 0.25]);
        let mut model = with_zero(model, "z", INT8, &[0, 0]);
        model.graph.initializer.push(TensorProto {
            name: "w".into(),
            dims: vec![3, 2],
            data_type: INT8,
            int32_data: vec![1, -2, 3, 4, -128, 127],
            ..TensorProto::default()
        });
        let model = model.node("DequantizeLinear", "w s z", "f", &[int("axis", 1)]);
        let graph = model.node("MatMul", "x f", "y", &[]).output("y").agree();
        let weights: Vec<f32> =
            graph.consts.iter().flat_map(|it| it.value.iter().copied()).collect();
        assert_eq!(weights, [0.5, -0.5, 1.5, 1.0, -64.0, 31.75]);
    }

    #[test]
    fn what_has_no_8_bits_is_refused() {
        let model = TestModel::new(21, &[0, 6]).floats("s", &[], &[0.25]);
        let model = with_zero(model, "z", INT16, &[0]).node("QuantizeLinear", "x s z", "q", &[]);
        let problems = model.output("q").import().expect_err("16 bits are refused");
        assert!(problems[0].to_string().contains("quantises to int16"), "{problems:?}");
        let model = TestModel::new(13, &[0, 6]).floats("s", &[], &[-0.25]);
        let model = with_zero(model, "z", INT8, &[0]).node("QuantizeLinear", "x s z", "q", &[]);
        model.output("q").refuse(Kind::BadInput, "not positive");
    }
}
