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

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, int, ints, string};

    #[test]
    fn strides_pads_dilations_and_groups() {
        for (stride, pad, dilation, group) in
            [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), (3, 0, 2, 4)]
        {
            TestModel::new(13, &[0, 4, 9, 10])
                .weight("w", &[8, 4 / group, 3, 2])
                .weight("b", &[8])
                .node(
                    "Conv",
                    "x w b",
                    "y",
                    &[
                        ints("strides", &[stride, 1]),
                        ints("pads", &[pad, 0, 1, pad]),
                        ints("dilations", &[dilation, 1]),
                        int("group", group),
                    ],
                )
                .output("y")
                .agree();
        }
    }

    #[test]
    fn automatic_padding() {
        for mode in ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"] {
            TestModel::new(13, &[0, 2, 8, 9])
                .weight("w", &[3, 2, 4, 3])
                .node("Conv", "x w", "y", &[string("auto_pad", mode), ints("strides", &[2, 1])])
                .output("y")
                .agree();
        }
    }

    #[test]
    fn one_dimensional_convolutions_are_lifted() {
        let graph = TestModel::new(13, &[0, 2, 9])
            .weight("w", &[3, 2, 4])
            .weight("b", &[3])
            .node("Conv", "x w b", "y", &[ints("pads", &[1, 2]), ints("strides", &[2])])
            .output("y")
            .agree();
        assert!(graph.to_string().contains("k=1x4 s=1x2 p=0,1,0,2"), "{graph}");
    }

    #[test]
    fn computed_weights_and_volumes_are_refused() {
        TestModel::new(13, &[1, 1, 4, 4])
            .node("Conv", "x x", "y", &[])
            .output("y")
            .refuse(Kind::Unsupported, "computed from the input");
        TestModel::new(13, &[0, 1, 4, 4, 4])
            .weight("w", &[1, 1, 2, 2, 2])
            .node("Conv", "x w", "y", &[])
            .output("y")
            .refuse(Kind::Unsupported, "only 1-D and 2-D");
    }
}
