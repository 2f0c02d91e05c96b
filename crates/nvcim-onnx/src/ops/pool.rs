//! Pooling.

use nvcim_ir::op::Op;

use super::spatial::{self, Spatial};
use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Activation, Converted, Site};

/// `MaxPool` without its second output.
pub(crate) fn convert_max_pool(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let (x, spatial) = read_pool(&site)?;
    let op = Op::MaxPool { window: spatial.window.clone() };
    finish(&mut site, &spatial, op, &x)
}

/// `AveragePool`, with padding counted or not.
pub(crate) fn convert_average_pool(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let (x, spatial) = read_pool(&site)?;
    let count_pad = attributes::int(site.node, "count_include_pad", 0)? != 0;
    let op = Op::AveragePool { window: spatial.window.clone(), count_pad };
    finish(&mut site, &spatial, op, &x)
}

/// `GlobalAveragePool`; over one axis it is a mean over that axis.
pub(crate) fn convert_global_average_pool(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let output = site.sample_output()?;
    let op = match x.shape.len() {
        3 => Op::GlobalAveragePool,
        rank => Op::ReduceMean { axes: (1..rank).collect() },
    };
    Ok(site.keep(op, &[x.id], &output))
}

fn read_pool(site: &Site<'_>) -> Result<(Activation, Spatial), Refusal> {
    let x = site.activation(0)?;
    let spatial = spatial::read_spatial(site.node, &x.shape, None)?;
    Ok((x, spatial))
}

fn finish(
    site: &mut Site<'_>,
    spatial: &Spatial,
    op: Op,
    x: &Activation,
) -> Result<Converted, Refusal> {
    let output = site.sample_output()?;
    let image = spatial.lift(site, x.id);
    Ok(spatial.finish(site, op, image, &output))
}
