//! Normalisation: by the statistics of training, which the mapping folds into matrices, or of the sample.

use ndarray::ArrayD;
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `BatchNormalization` in inference form.
pub(crate) fn convert_batch_norm(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    if attributes::int(site.node, "training_mode", 0)? != 0 {
        return Err(Refusal::unsupported(
            "normalises by the statistics of the batch (`training_mode`)",
            "export the network in inference form",
        ));
    }
    if attributes::int(site.node, "spatial", 1)? != 1 {
        return Err(Refusal::unsupported(
            "normalises each pixel by its own statistics (`spatial` 0)",
            "export with statistics per channel (`spatial` 1)",
        ));
    }
    let epsilon = attributes::float(site.node, "epsilon", 1e-5)?;
    let [scale, bias, mean, var] =
        [site.vector(1)?, site.vector(2)?, site.vector(3)?, site.vector(4)?];
    let op = Op::BatchNorm { scale, bias, mean, var, epsilon };
    Ok(site.keep(op, &[x.id], &x.shape))
}

/// `LayerNormalization` and `RMSNormalization` over the axes from `axis` on.
pub(crate) fn convert_layer_norm(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + site.lead;
    let first = site.sample_axis(attributes::int(site.node, "axis", -1)?, rank)?;
    let op = Op::Normalize {
        axes: (first..x.shape.len()).collect(),
        epsilon: attributes::float(site.node, "epsilon", 1e-5)?,
        centred: site.node.op_type == "LayerNormalization",
    };
    let scale = site.tensor(1, rank)?;
    let bias = site.operand(2).is_some().then(|| site.tensor(2, rank)).transpose()?;
    let normal = site.help(op, &[x.id], &x.shape);
    Ok(finish_norm(&mut site, normal, scale, bias, &x.shape))
}

/// `InstanceNormalization` of each channel, `GroupNormalization` of each group of channels.
pub(crate) fn convert_group_norm(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let Some((&channels, plane)) = x.shape.split_first() else {
        return Err(Refusal::broken("has no channel axis"));
    };
    let groups = if site.node.op_type == "InstanceNormalization" {
        channels
    } else {
        let stated = attributes::int(site.node, "num_groups", 0)?;
        let groups = usize::try_from(stated).ok().filter(|&groups| groups > 0);
        let groups = groups.filter(|&groups| channels.is_multiple_of(groups));
        groups.ok_or_else(|| {
            Refusal::broken(format!("has `num_groups` {stated}, must divide {channels} channels"))
        })?
    };
    let op = Op::Normalize {
        axes: vec![1],
        epsilon: attributes::float(site.node, "epsilon", 1e-5)?,
        centred: true,
    };
    let rows = [groups, x.shape.iter().product::<usize>() / groups];
    let [scale, bias] = [1, 2].map(|slot| channel_tensor(&mut site, slot, channels, plane.len()));
    let apart = site.help(Op::Reshape, &[x.id], &rows);
    let normal = site.help(op, &[apart], &rows);
    let normal = site.help(Op::Reshape, &[normal], &x.shape);
    Ok(finish_norm(&mut site, normal, scale?, Some(bias?), &x.shape))
}

/// The vector in `slot`, one number per channel or per group of channels, as `[channels, 1...]`.
fn channel_tensor(
    site: &mut Site<'_>,
    slot: usize,
    channels: usize,
    plane_axes: usize,
) -> Result<NodeId, Refusal> {
    let constant = site.constant(slot)?.clone();
    let value = site::to_floats(&constant)?;
    if value.is_empty() || !channels.is_multiple_of(value.len()) {
        let message =
            format!("has {} numbers in `{}` for {channels} channels", value.len(), constant.name);
        return Err(Refusal::broken(message));
    }
    let each = channels / value.len();
    let spread = value.iter().flat_map(|&value| std::iter::repeat_n(value, each)).collect();
    let shape = [vec![channels], vec![1; plane_axes]].concat();
    let value = ArrayD::from_shape_vec(shape, spread)
        .map_err(|error| Refusal::broken(error.to_string()))?;
    Ok(site.constant_tensor(&format!("{}/per channel", constant.name), value))
}

fn finish_norm(
    site: &mut Site<'_>,
    normal: NodeId,
    scale: NodeId,
    bias: Option<NodeId>,
    shape: &[usize],
) -> Converted {
    let mul = Op::Binary(Binary::Mul);
    let Some(bias) = bias else { return site.keep(mul, &[normal, scale], shape) };
    let scaled = site.help(mul, &[normal, scale], shape);
    site.keep(Op::Binary(Binary::Add), &[scaled, bias], shape)
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
    fn samples_are_normalised_by_their_own_statistics() {
        let layer = |axis| {
            let model = TestModel::new(17, &[0, 3, 4]).weight("s", &[4]).weight("b", &[4]);
            let model = model.node("LayerNormalization", "x s b", "y", &[int("axis", axis)]);
            model.output("y").agree();
        };
        layer(-1);
        layer(2);
        let bare = TestModel::new(17, &[0, 3, 4]).weight("s", &[3, 4]);
        let bare = bare.node("LayerNormalization", "x s", "y", &[int("axis", 1)]).output("y");
        bare.agree();
        let instance = TestModel::new(17, &[0, 3, 4, 5]).weight("s", &[3]).weight("b", &[3]);
        instance.node("InstanceNormalization", "x s b", "y", &[]).output("y").agree();
        let root = TestModel::new(23, &[0, 3, 4]).weight("s", &[4]);
        root.node("RMSNormalization", "x s", "y", &[float("epsilon", 0.1)]).output("y").agree();
        let group = TestModel::new(21, &[0, 6, 4]).weight("s", &[6]).weight("b", &[6]);
        let group = group.node("GroupNormalization", "x s b", "y", &[int("num_groups", 3)]);
        group.output("y").agree();
    }

    #[test]
    fn training_form_is_refused() {
        batch_norm(&[0, 3, 4, 5], &[int("training_mode", 1)])
            .refuse(Kind::Unsupported, "statistics of the batch");
    }
}
