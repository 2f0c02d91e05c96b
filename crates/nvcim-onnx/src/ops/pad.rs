//! Padding with a constant.

use nvcim_ir::op::Op;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `Pad` in constant mode: amounts are attributes before operator set 11 and operands since.
pub(crate) fn convert_pad(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + site.lead;
    let mode = attributes::string(site.node, "mode", "constant")?;
    if mode != "constant" {
        return Err(Refusal::unsupported(
            format!("pads in mode `{mode}`, must be `constant`"),
            "pad with a constant (`ZeroPad2d`), or inside the convolution (`padding=`)",
        ));
    }
    let (pads, value, axes) = if site.opset < 11 {
        let pads = attributes::ints(site.node, "pads")?.map(<[i64]>::to_vec);
        (pads, attributes::float(site.node, "value", 0.0)?, None)
    } else {
        (site.ints(1)?, site.scalar(2)?.unwrap_or(0.0), site.ints(3)?)
    };
    let pads = pads.ok_or_else(|| Refusal::broken("lacks its amounts, `pads`"))?;
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * axes.len() {
        return Err(Refusal::broken(format!(
            "has {} pads for {} axes, must have two for each",
            pads.len(),
            axes.len()
        )));
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (at, &axis) in axes.iter().enumerate() {
        let axis = site::whole_axis(axis, rank)?;
        before[axis] = amount(pads[at])?;
        after[axis] = amount(pads[at + axes.len()])?;
    }
    if site.lead == 1 && (before.remove(0), after.remove(0)) != (0, 0) {
        return Err(Refusal::mixes_samples("pads the batch"));
    }
    let output = site.sample_output()?;
    Ok(site.keep(Op::Pad { before, after, value }, &[x.id], &output))
}

fn amount(pad: i64) -> Result<usize, Refusal> {
    usize::try_from(pad).map_err(|_| {
        Refusal::unsupported(
            format!("pads by {pad} elements, must be at least 0"),
            "take elements away by slicing (`x[..., 1:]`)",
        )
    })
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, float, ints, string};

    #[test]
    fn amounts_come_as_attribute_or_operand() {
        let old = TestModel::new(9, &[0, 2, 3]);
        let attributes = [ints("pads", &[0, 1, 0, 0, 0, 2]), float("value", 0.5)];
        old.node("Pad", "x", "y", &attributes).output("y").agree();
        let new = TestModel::new(13, &[0, 2, 3]).ints("pads", &[0, 1, 0, 0, 0, 2]);
        new.clone().node("Pad", "x pads", "y", &[]).output("y").agree();
        let value = new.floats("value", &[], &[-1.0]);
        value.node("Pad", "x pads value", "y", &[]).output("y").agree();
    }

    #[test]
    fn other_modes_negative_amounts_and_the_batch_are_refused() {
        let pad = |pads: &[i64], mode| {
            TestModel::new(13, &[0, 2])
                .ints("pads", pads)
                .node("Pad", "x pads", "y", &[string("mode", mode)])
                .output("y")
        };
        pad(&[0, 1, 0, 0], "reflect").refuse(Kind::Unsupported, "mode `reflect`");
        pad(&[0, -1, 0, 0], "constant").refuse(Kind::Unsupported, "pads by -1");
        pad(&[1, 0, 0, 0], "constant").refuse(Kind::Unsupported, "pads the batch");
    }
}
