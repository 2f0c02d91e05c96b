//! Padding with a constant.

use nvcim_ir::op::Op;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `Pad` in constant mode: amounts are attributes before operator set 11 and operands since.
pub(crate) fn convert_pad(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + 1;
    let mode = attributes::string(site.node, "mode", "constant")?;
    if mode != "constant" {
        return Err(Refusal::unsupported(
            format!("pads in mode `{mode}`"),
            "pad with a constant, or inside the convolution",
        ));
    }
    let (pads, value, axes) = if site.opset < 11 {
        let pads = attributes::ints(site.node, "pads")?.map(<[i64]>::to_vec);
        (pads, attributes::float(site.node, "value", 0.0)?, None)
    } else {
        (site.ints(1)?, site.scalar(2)?.unwrap_or(0.0), site.ints(3)?)
    };
    let pads = pads.ok_or_else(|| Refusal::broken("lacks `pads`"))?;
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
    if (before.remove(0), after.remove(0)) != (0, 0) {
        return Err(Refusal::mixes_samples("pads the batch"));
    }
    let output = site.sample_output()?;
    Ok(site.keep(Op::Pad { before, after, value }, &[x.id], &output))
}

fn amount(pad: i64) -> Result<usize, Refusal> {
    usize::try_from(pad).map_err(|_| {
        Refusal::unsupported(format!("pads by {pad}"), "use a Slice to take elements away")
    })
}
