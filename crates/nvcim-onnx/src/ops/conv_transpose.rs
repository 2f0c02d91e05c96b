//! Transposed convolution, as a convolution over its input with zeros between the elements.
//!
//! Where a convolution of stride `s` gathers, its transpose scatters each element with the kernel over
//! every `s`-th place. The same sums are gathered by the kernel turned round, over an input whose elements
//! lie `s` apart, inside `extent - 1` zeros less the padding (Dumoulin and Visin, arXiv:1603.07285, 4.5).

use ndarray::Axis;
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Op, SliceAxis, Window};

use super::spatial;
use crate::attributes;
use crate::data::Floats;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `ConvTranspose`: 1-D or 2-D, any stride, padding, dilation and number of groups, constant weights.
pub(crate) fn convert_conv_transpose(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let constant = site.constant(1)?.clone();
    let shape = constant.value.shape().to_vec();
    let spatial = spatial::read_spatial(site.node, &x.shape, shape.get(2..))?;
    let groups = attributes::int(site.node, "group", 1)? as usize;
    let output = site.sample_output()?;
    let (image, whole) = (spatial.input, spatial.lift_shape(&output));
    let weight = turn_weight(site::to_floats(&constant)?, groups, spatial.lifted)?;
    let weight = site.builder.constant(&format!("{}/turned", constant.name), weight);
    let bias = match site.operand(2) {
        Some(_) => Some(site.vector(2)?),
        None => None,
    };
    let mut stuffed = spatial.lift(&mut site, x.id);
    let mut lens = [image[1], image[2]];
    let mut window = Window { strides: [1; 2], ..spatial.window.clone() };
    for axis in 0..2 {
        let stride = spatial.window.strides[axis];
        let (id, len) = stuff_zeros(&mut site, stuffed, image[0], lens, axis, stride)?;
        (stuffed, lens[axis]) = (id, len);
        let begin = find_begin(&site, &spatial.window, axis, whole[axis + 1], image[axis + 1])?;
        // The end takes what is left to make the output's length.
        let extent = window.extent(axis).ok_or_else(enormous)?;
        let end = (whole[axis + 1] + extent - 1) as i64 - len as i64 - begin;
        let kept = |pad: i64| (-pad).max(0) as usize;
        let cut = [kept(begin), kept(end)];
        if cut != [0, 0] {
            (stuffed, lens) = trim(&mut site, stuffed, image[0], lens, axis, cut)?;
        }
        window.pads_begin[axis] = begin.max(0) as usize;
        window.pads_end[axis] = end.max(0) as usize;
    }
    let op = Op::Conv { weight, bias, window, groups };
    Ok(spatial.finish(&mut site, op, stuffed, &output))
}

/// `[c, m / groups, kh, kw]` as the weight `[m, c / groups, kh, kw]` of a convolution, taps reversed.
fn turn_weight(mut weight: Floats, groups: usize, lifted: bool) -> Result<Floats, Refusal> {
    if lifted && weight.ndim() == 3 {
        weight = weight.insert_axis(Axis(2));
    }
    let [channels, per_group, height, width] = *weight.shape() else {
        return Err(Refusal::broken(format!(
            "has a weight of shape {:?}, must have two axes more than the kernel",
            weight.shape()
        )));
    };
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Refusal::broken(format!(
            "has `group` {groups}, must divide {channels} input channels"
        )));
    }
    weight.invert_axis(Axis(2));
    weight.invert_axis(Axis(3));
    let blocks = [groups, channels / groups, per_group, height, width];
    let blocks = weight.as_standard_layout().into_owned().into_shape_with_order(blocks);
    let blocks = blocks.map_err(|error| Refusal::broken(error.to_string()))?;
    let turned = blocks.permuted_axes([0, 2, 1, 3, 4]).as_standard_layout().into_owned();
    site::reshape(
        turned.into_shared().into_dyn(),
        &[groups * per_group, channels / groups, height, width],
    )
}

/// Puts `stride - 1` zeros between the elements along `axis` (0 height, 1 width); the new length too.
fn stuff_zeros(
    site: &mut Site<'_>,
    x: NodeId,
    channels: usize,
    [height, width]: [usize; 2],
    axis: usize,
    stride: usize,
) -> Result<(NodeId, usize), Refusal> {
    let len = [height, width][axis];
    if stride == 1 || len == 1 {
        return Ok((x, len));
    }
    let spread = len.checked_mul(stride).ok_or_else(enormous)?;
    let rows = if axis == 0 { channels } else { channels * height };
    let inner = if axis == 0 { width } else { 1 };
    let apart = site.help(Op::Reshape, &[x], &[rows, len, 1, inner]);
    let pad = Op::Pad { before: vec![0; 4], after: vec![0, 0, stride - 1, 0], value: 0.0 };
    let wide = site.help(pad, &[apart], &[rows, len, stride, inner]);
    let mut shape = [channels, height, width];
    shape[axis + 1] = spread;
    let joined = site.help(Op::Reshape, &[wide], &shape);
    // No zeros follow the last element.
    shape[axis + 1] = spread - (stride - 1);
    let axes = shape.map(|len| SliceAxis { start: 0, step: 1, len }).to_vec();
    Ok((site.help(Op::Slice { axes }, &[joined], &shape), shape[axis + 1]))
}

/// Takes elements off both ends of `axis` (0 height, 1 width); the new lengths too.
fn trim(
    site: &mut Site<'_>,
    x: NodeId,
    channels: usize,
    mut lens: [usize; 2],
    axis: usize,
    [before, after]: [usize; 2],
) -> Result<(NodeId, [usize; 2]), Refusal> {
    let left = lens[axis].checked_sub(before).and_then(|len| len.checked_sub(after));
    let left = left.filter(|&left| left > 0);
    lens[axis] = left.ok_or_else(|| Refusal::broken("takes its whole input away by `pads`"))?;
    let shape = [channels, lens[0], lens[1]];
    let mut axes = shape.map(|len| SliceAxis { start: 0, step: 1, len });
    axes[axis + 1].start = before;
    Ok((site.help(Op::Slice { axes: axes.to_vec() }, &[x], &shape), lens))
}

/// Zeros in front of the stuffed input; fewer than none cut it.
///
/// Where the file gives the output's length, it does not give the padding, which then is what takes the
/// full length down to it: the odd cell goes to the beginning, unless `auto_pad` says otherwise.
fn find_begin(
    site: &Site<'_>,
    window: &Window,
    axis: usize,
    made: usize,
    len: usize,
) -> Result<i64, Refusal> {
    let extent = window.extent(axis).ok_or_else(enormous)? as i64;
    let mode = attributes::string(site.node, "auto_pad", "NOTSET")?;
    let stated = attributes::ints(site.node, "output_shape")?.is_some();
    let pad = if stated || mode.starts_with("SAME") {
        let further = attributes::ints(site.node, "output_padding")?;
        let rank = further.map_or(0, <[i64]>::len);
        let further = further.and_then(|it| it.get((axis + rank).checked_sub(2)?)).copied();
        let strided = (window.strides[axis] as i64).checked_mul(len as i64 - 1);
        let full = strided.ok_or_else(enormous)? + further.unwrap_or(0) + extent;
        let total = full - made as i64;
        let half = total.div_euclid(2);
        if mode == "SAME_UPPER" { half } else { total - half }
    } else {
        window.pads_begin[axis] as i64
    };
    Ok(extent - 1 - pad)
}

fn enormous() -> Refusal {
    Refusal::broken("has a window of enormous extent")
}

#[cfg(test)]
mod tests {
    use crate::testing::{TestModel, int, ints};

    #[test]
    fn strides_pads_dilations_and_groups() {
        for (stride, pad, dilation, group, further) in
            [(1, 0, 1, 1, 0), (2, 1, 1, 1, 1), (2, 0, 2, 2, 0), (3, 2, 1, 4, 2)]
        {
            TestModel::new(13, &[0, 4, 5, 6])
                .weight("w", &[4, 2, 3, 2])
                .weight("b", &[2 * group])
                .node(
                    "ConvTranspose",
                    "x w b",
                    "y",
                    &[
                        ints("strides", &[stride, 1]),
                        ints("pads", &[pad, 0, 1, pad]),
                        ints("dilations", &[dilation, 1]),
                        ints("output_padding", &[further, 0]),
                        int("group", group),
                    ],
                )
                .output("y")
                .agree();
        }
    }

    #[test]
    fn one_dimensional_ones_are_lifted() {
        TestModel::new(13, &[0, 2, 9])
            .weight("w", &[2, 3, 4])
            .node("ConvTranspose", "x w", "y", &[ints("strides", &[2]), ints("pads", &[1, 2])])
            .output("y")
            .agree();
    }
}
