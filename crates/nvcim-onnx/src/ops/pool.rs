//! Pooling.

use nvcim_ir::op::{Op, Reduction};

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

/// `GlobalAveragePool`, `GlobalMaxPool`; over any but two axes a reduction of these axes.
pub(crate) fn convert_global_pool(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let output = site.sample_output()?;
    let reduce = |reduction, rank| Op::Reduce { reduction, axes: (1..rank).collect() };
    let op = match (site.node.op_type.as_str(), x.shape.len()) {
        ("GlobalAveragePool", 3) => Op::GlobalAveragePool,
        ("GlobalAveragePool", rank) => reduce(Reduction::Mean, rank),
        (_, rank) => reduce(Reduction::Max, rank),
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

#[cfg(test)]
mod tests {
    use crate::proto::AttributeProto;
    use crate::testing::{TestModel, int, ints, string};

    fn pool(op: &str, input: &[i64], attributes: &[AttributeProto]) {
        TestModel::new(13, input).node(op, "x", "y", attributes).output("y").agree();
    }

    #[test]
    fn windows_with_padding_and_rounding() {
        for op in ["MaxPool", "AveragePool"] {
            for ceil_mode in [0, 1] {
                let attributes = [
                    ints("kernel_shape", &[3, 2]),
                    ints("strides", &[2, 3]),
                    ints("pads", &[1, 0, 1, 1]),
                    int("ceil_mode", ceil_mode),
                ];
                pool(op, &[0, 2, 8, 9], &attributes);
            }
            let same = [
                ints("kernel_shape", &[3, 3]),
                ints("strides", &[2, 2]),
                string("auto_pad", "SAME_UPPER"),
            ];
            pool(op, &[0, 2, 8, 9], &same);
        }
        let count = [
            ints("kernel_shape", &[3, 3]),
            ints("pads", &[1, 1, 1, 1]),
            int("count_include_pad", 1),
        ];
        pool("AveragePool", &[0, 2, 8, 9], &count);
    }

    #[test]
    fn pools_over_one_axis() {
        pool("MaxPool", &[0, 2, 9], &[ints("kernel_shape", &[2]), ints("strides", &[2])]);
        pool("AveragePool", &[0, 2, 9], &[ints("kernel_shape", &[3])]);
        pool("GlobalAveragePool", &[0, 2, 9], &[]);
        pool("GlobalAveragePool", &[0, 2, 9, 3], &[]);
        pool("GlobalMaxPool", &[0, 2, 9, 3], &[]);
    }
}
