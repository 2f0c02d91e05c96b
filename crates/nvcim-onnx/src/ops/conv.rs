//! Convolution.

use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Op, SliceAxis, Window};

use super::spatial;
use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Activation, Constant, Converted, Site};

/// `Conv`: 1-D or 2-D, any stride, padding, dilation and number of groups, constant weights.
///
/// A 3-D one is a 2-D one over planes of frames, see [`convert_volume`].
pub(crate) fn convert_conv(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let constant = site.constant(1)?.clone();
    let shape = constant.value.shape().to_vec();
    if x.shape.len() == 4 && shape.len() == 5 {
        return convert_volume(site, &x, &constant);
    }
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

/// A convolution over `[channels, depth, height, width]`.
///
/// The kernel's frames become channels: for every output frame the frames under the kernel's depth taps
/// lie side by side, `[channels, taps]`. Output frames are stacked into one image, each with its padding and
/// filled up to a multiple of the vertical stride, so that one matrix on arrays serves all of them; the
/// window positions that span two frames are computed and cut off.
fn convert_volume(
    mut site: Site<'_>,
    x: &Activation,
    constant: &Constant,
) -> Result<Converted, Refusal> {
    let shape = constant.value.shape();
    let &[_, _, depth_taps, ref kernel @ ..] = shape else {
        return Err(Refusal::broken(format!("has a weight of shape {shape:?}, must have 5 axes")));
    };
    let volume = spatial::read_volume(site.node, &x.shape, &shape[2..])?;
    let groups = attributes::int(site.node, "group", 1)? as usize;
    let output = site.sample_output()?;
    let ([channels, _, _, width], [filters, frames, rows, _]) = (&x.shape[..], &output[..]) else {
        return Err(Refusal::broken(format!("turns {:?} into {output:?}", x.shape)));
    };
    let (frames, rows, window) = (*frames, *rows, volume.window.clone());
    let stride = window.strides[0];
    let filled = window.extent(0).and_then(|extent| {
        let reach = (rows.checked_sub(1)?).checked_mul(stride)?.checked_add(extent)?;
        reach.max(volume.padded_height()?).checked_next_multiple_of(stride)
    });
    let height = filled.ok_or_else(|| Refusal::broken("has a window of enormous extent"))?;
    let padded = volume.pad(&mut site, x, height);
    let planes = [*channels, frames, height, *width];
    let image = stack_frames(&mut site, &volume, padded, planes, depth_taps);
    let weight = site::to_floats(constant)?;
    let weight = site::reshape(weight, &[*filters, shape[1] * depth_taps, kernel[0], kernel[1]])?;
    let weight = site.builder.constant(&constant.name, weight);
    let bias = match site.operand(2) {
        Some(_) => Some(site.vector(2)?),
        None => None,
    };
    // The rows under the last frame complete its last window positions' stride.
    let window = Window {
        pads_begin: [0, window.pads_begin[1]],
        pads_end: [window.extent(0).map_or(0, |extent| extent - 1), window.pads_end[1]],
        ..window
    };
    let lines = frames * height / stride;
    let stacked = [*filters, lines, output[3]];
    let op = Op::Conv { weight, bias, window, groups };
    let made = site.help(op, &[image], &stacked);
    let apart = [*filters, frames, lines / frames, output[3]];
    let made = site.help(Op::Reshape, &[made], &apart);
    let mut axes = apart.map(|len| SliceAxis { start: 0, step: 1, len });
    axes[2].len = rows;
    Ok(site.keep(Op::Slice { axes: axes.to_vec() }, &[made], &output))
}

/// The frames under each of the kernel's frames, `planes` each, as channels of one image.
fn stack_frames(
    site: &mut Site<'_>,
    volume: &spatial::Volume,
    padded: NodeId,
    planes: [usize; 4],
    depth_taps: usize,
) -> NodeId {
    let [channels, frames, height, width] = planes;
    let under = |tap: usize| {
        let mut axes = planes.map(|len| SliceAxis { start: 0, step: 1, len });
        let (start, step) = (tap * volume.dilation, volume.stride as isize);
        axes[1] = SliceAxis { start, step, len: frames };
        let part = site.help(Op::Slice { axes: axes.to_vec() }, &[padded], &planes);
        site.help(Op::Reshape, &[part], &[channels, 1, frames * height, width])
    };
    let taps: Vec<NodeId> = (0..depth_taps).map(under).collect();
    let joined = [channels, depth_taps, frames * height, width];
    let beside = site.help(Op::Concat { axis: 1 }, &taps, &joined);
    site.help(Op::Reshape, &[beside], &[channels * depth_taps, frames * height, width])
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
    fn volumes_are_planes_of_frames() {
        for (stride, pad, dilation, group) in [(1, 0, 1, 1), (2, 1, 1, 2), (1, 1, 2, 1)] {
            let list = |name, value| ints(name, &[value, value, 1]);
            TestModel::new(13, &[0, 2, 6, 7, 5])
                .weight("w", &[4, 2 / group, 2, 3, 2])
                .weight("b", &[4])
                .node(
                    "Conv",
                    "x w b",
                    "y",
                    &[
                        list("strides", stride),
                        list("dilations", dilation),
                        ints("pads", &[pad, pad, 0, 0, pad, pad]),
                        int("group", group),
                    ],
                )
                .output("y")
                .agree();
        }
    }

    #[test]
    fn computed_weights_and_further_axes_are_refused() {
        TestModel::new(13, &[1, 1, 4, 4])
            .node("Conv", "x x", "y", &[])
            .output("y")
            .refuse(Kind::Unsupported, "computed from the network's input");
        TestModel::new(13, &[0, 1, 3, 3, 3, 3])
            .weight("w", &[1, 1, 2, 2, 2, 2])
            .node("Conv", "x w", "y", &[])
            .output("y")
            .refuse(Kind::Unsupported, "one or two further axes");
    }
}
