//! Convolution.

use nvcim_ir::op::Op;

use super::spatial;
use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `Conv`: 1-D or 2-D, any stride, padding, dilation and number of groups, constant weights.
pub(crate) fn convert_conv(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let constant = site.constant(1)?.clone();
    let shape = constant.value.shape().to_vec();
    let spatial = spatial::read_spatial(site.node, &x.shape, shape.get(2..))?;
    let groups = attributes::int(site.node, "group", 1)? as usize;
    let mut weight = site::to_floats(&constant)?;
    if let (true, [filters, channels, width]) = (spatial.lifted, shape.as_slice()) {
        weight = site::reshape(weight, &[*filters, *channels, 1, *width])?;
    }
    let weight = site.builder.constant(&constant.name, weight);
    let bias = match site.operand(2) {
        Some(_) => Some(site.vector(2)?),
        None => None,
    };
    let output = site.sample_output()?;
    let image = spatial.lift(&mut site, x.id);
    let op = Op::Conv { weight, bias, window: spatial.window.clone(), groups };
    Ok(spatial.finish(&mut site, op, image, &output))
}
