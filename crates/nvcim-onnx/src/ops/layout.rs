//! Operators that move or rename elements without computing.

use nvcim_ir::op::Op;
use tract_onnx::prelude::DatumType;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Activation, Converted, Site, Value};
use crate::{network_input, tensor_data};

/// `Identity`, and `Dropout`, which does nothing in inference.
pub(crate) fn convert_identity(site: Site<'_>) -> Result<Converted, Refusal> {
    let training = site.node.op_type == "Dropout" && site.scalar_flag(2)?;
    if training {
        return Err(Refusal::unsupported(
            "drops elements at random, as in training",
            "export the network in inference form",
        ));
    }
    site.elements(0).map(Converted::Alias)
}

/// `Cast` between floats, integers and truth values, all of which floats hold.
pub(crate) fn convert_cast(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.elements(0)?;
    let to = attributes::int(site.node, "to", 0)?;
    let number = i32::try_from(to);
    let target = number.ok().and_then(network_input::datum_of);
    // Integers of 8 bits wrap, in ways that differ from runtime to runtime.
    let widens = |target| target == x.datum || x.datum != DatumType::F32;
    match target {
        Some(DatumType::F32) => Ok(Converted::Alias(Activation { datum: DatumType::F32, ..x })),
        Some(DatumType::Bool) if x.datum != DatumType::Bool => Ok(site.truth(x.id, &x.shape)),
        Some(target @ (DatumType::I32 | DatumType::I64 | DatumType::Bool)) if widens(target) => {
            Ok(Converted::Alias(Activation { datum: target, ..x }))
        }
        Some(DatumType::I32 | DatumType::I64) => Ok(site.truncate(x.id, &x.shape)),
        _ => Err(Refusal::unsupported(
            format!(
                "casts to {}, must be to float, int32, int64 or bool",
                number.map_or_else(|_| format!("number {to}"), tensor_data::type_name)
            ),
            "export the network in 32-bit floats, without casts of what depends on its input",
        )),
    }
}

/// `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`: the same elements under the output's shape.
///
/// Row-major order keeps samples apart exactly when axis 0 stays the batch.
pub(crate) fn convert_reshape(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.elements(0)?;
    let output = site.sample_output()?;
    Ok(site.keep(Op::Reshape, &[x.id], &output))
}

/// `Transpose` that leaves the batch in place.
pub(crate) fn convert_transpose(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.elements(0)?;
    let rank = x.shape.len() + site.lead;
    let perm = match attributes::ints(site.node, "perm")? {
        Some(perm) => perm.to_vec(),
        None => (0..rank as i64).rev().collect(),
    };
    if perm.len() != rank {
        return Err(Refusal::broken(format!("permutes {rank} axes by `perm` {perm:?}")));
    }
    if site.lead == 1 && perm.first() != Some(&0) {
        return Err(Refusal::mixes_samples(format!("moves the batch, axis 0, by `perm` {perm:?}")));
    }
    let perm = perm[site.lead..]
        .iter()
        .map(|&axis| site.sample_axis(axis, rank))
        .collect::<Result<_, _>>()?;
    let output = site.sample_output()?;
    Ok(site.keep(Op::Transpose { perm }, &[x.id], &output))
}

/// `Concat` along any axis but the batch; constants may take part.
pub(crate) fn convert_concat(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let rank = site.output.len();
    let axis = attributes::int(site.node, "axis", 1)?;
    let axis = site.sample_axis(axis, rank)?;
    let slots = 0..site.operands.len();
    let operands = slots.map(|slot| site.tensor(slot, rank)).collect::<Result<Vec<_>, _>>()?;
    let output = site.sample_output()?;
    Ok(site.keep(Op::Concat { axis }, &operands, &output))
}

impl Site<'_> {
    /// Whether the constant in `slot` is there and true.
    fn scalar_flag(&self, slot: usize) -> Result<bool, Refusal> {
        match self.operand(slot) {
            Some(Value::Constant(flag)) => {
                Ok(flag.value.numbers().is_some_and(|flag| flag.iter().any(|&set| set != 0.0)))
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, int, ints};

    #[test]
    fn shapes_change_and_elements_stay() {
        let model =
            TestModel::new(13, &[0, 1, 4, 6]).ints("axes", &[1]).ints("target", &[0, -1, 2, 4]);
        model
            .node("Squeeze", "x axes", "a", &[])
            .node("Reshape", "a target", "b", &[])
            .node("Unsqueeze", "b axes", "c", &[])
            .node("Flatten", "c", "d", &[])
            .node("Identity", "d", "y", &[])
            .output("y")
            .agree();
        let old = TestModel::new(9, &[0, 4, 1]);
        old.node("Squeeze", "x", "y", &[ints("axes", &[-1])]).output("y").agree();
    }

    #[test]
    fn axes_are_permuted_and_joined() {
        let model = TestModel::new(13, &[0, 2, 3, 4]).weight("c", &[1, 2, 4, 3]);
        let model = model
            .node("Transpose", "x", "t", &[ints("perm", &[0, 1, 3, 2])])
            .node("Concat", "t t", "y", &[int("axis", -3)])
            .output("y");
        model.agree();
        model.node("Concat", "t c", "z", &[int("axis", 1)]).output("z").agree();
        let joined = TestModel::new(13, &[1, 2, 3]).weight("c", &[1, 2, 1]);
        joined.node("Concat", "x c", "y", &[int("axis", 2)]).output("y").agree();
        let batch = TestModel::new(13, &[0, 2]);
        batch
            .node("Concat", "x x", "y", &[int("axis", 0)])
            .output("y")
            .refuse(Kind::Unsupported, "batch");
    }

    #[test]
    fn casts_between_floats_of_one_kind_vanish() {
        let model = TestModel::new(13, &[0, 2]).node("Cast", "x", "a", &[int("to", 1)]);
        assert_eq!(model.node("Relu", "a", "y", &[]).output("y").agree().len(), 2);
        let model =
            TestModel::new(13, &[0, 2]).node("Cast", "x", "y", &[int("to", 11)]).output("y");
        assert!(model.import().is_err());
    }
}
