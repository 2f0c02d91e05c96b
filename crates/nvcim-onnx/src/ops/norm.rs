//! Batch normalisation, kept as an operator; folding it into matrices is the mapping's business.

use nvcim_ir::op::Op;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Converted, Site};

/// `BatchNormalization` in inference form.
pub(crate) fn convert_batch_norm(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    if attributes::int(site.node, "training_mode", 0)? != 0 {
        return Err(Refusal::unsupported(
            "normalises by the statistics of the batch",
            "export the network in inference form",
        ));
    }
    if attributes::int(site.node, "spatial", 1)? != 1 {
        return Err(Refusal::unsupported(
            "normalises each pixel by its own statistics",
            "export with statistics per channel",
        ));
    }
    let epsilon = attributes::float(site.node, "epsilon", 1e-5)?;
    let [scale, bias, mean, var] =
        [site.vector(1)?, site.vector(2)?, site.vector(3)?, site.vector(4)?];
    let op = Op::BatchNorm { scale, bias, mean, var, epsilon };
    Ok(site.keep(op, &[x.id], &x.shape))
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::proto::AttributeProto;
    use crate::testing::{TestModel, float, int};

    fn batch_norm(input: &[i64], attributes: &[AttributeProto]) -> TestModel {
        TestModel::new(14, input)
            .weight("scale", &[3])
            .weight("bias", &[3])
            .weight("mean", &[3])
            .floats("var", &[3], &[0.5, 1.0, 2.0])
            .node("BatchNormalization", "x scale bias mean var", "y", attributes)
            .output("y")
    }

    #[test]
    fn statistics_apply_per_channel() {
        batch_norm(&[0, 3, 4, 5], &[]).agree();
        batch_norm(&[0, 3], &[float("epsilon", 0.1)]).agree();
    }

    #[test]
    fn training_form_is_refused() {
        batch_norm(&[0, 3, 4, 5], &[int("training_mode", 1)])
            .refuse(Kind::Unsupported, "statistics of the batch");
    }
}
