//! Windows of convolutions and pools: kernel, strides, dilations and every way to state the padding.

use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Op, Window};

use crate::attributes;
use crate::proto::NodeProto;
use crate::refusal::Refusal;
use crate::site::{Activation, Converted, Site};

/// A window with the input seen as `[channels, height, width]`.
#[derive(Debug, Clone)]
pub(crate) struct Spatial {
    /// How the kernel walks.
    pub(crate) window: Window,
    /// The input's shape; a 1-D operator has height 1.
    pub(crate) input: [usize; 3],
    /// Whether the operator is 1-D, so that tensors gain an axis before it and lose it after.
    pub(crate) lifted: bool,
}

/// Reads the window of a node over operand 0 of sample shape `input`.
///
/// `kernel` is the kernel's shape where the weight tells it.
pub(crate) fn read_spatial(
    node: &NodeProto,
    input: &[usize],
    kernel: Option<&[usize]>,
) -> Result<Spatial, Refusal> {
    let (image, lifted) = match *input {
        [channels, width] => ([channels, 1, width], true),
        [channels, height, width] => ([channels, height, width], false),
        _ => {
            return Err(Refusal::unsupported(
                format!(
                    "works on samples of shape {input:?}, must be channels and one or two further axes"
                ),
                "export it with 1-D or 2-D convolutions and pools; of 3-D ones only `Conv` runs",
            ));
        }
    };
    let rank = if lifted { 1 } else { 2 };
    let stated = lengths(node, "kernel_shape", rank)?;
    let kernel = match (stated, kernel) {
        (Some(stated), Some(actual)) if stated != actual => {
            return Err(Refusal::broken(format!(
                "has `kernel_shape` {stated:?}, but a weight of kernel {actual:?}"
            )));
        }
        (_, Some(actual)) if actual.len() == rank => actual.to_vec(),
        (Some(stated), None) => stated,
        _ => {
            return Err(Refusal::broken(format!(
                "has no `kernel_shape` for the {rank} axes behind the channels of {input:?}"
            )));
        }
    };
    let ones = || vec![1; rank];
    let strides = lengths(node, "strides", rank)?.unwrap_or_else(ones);
    let dilations = lengths(node, "dilations", rank)?.unwrap_or_else(ones);
    let pads = lengths(node, "pads", 2 * rank)?.unwrap_or_else(|| vec![0; 2 * rank]);
    let (begin, end) = pads.split_at(rank);
    let mut window = Window {
        kernel: two(&kernel, 1),
        strides: two(&strides, 1),
        dilations: two(&dilations, 1),
        pads_begin: two(begin, 0),
        pads_end: two(end, 0),
    };
    pad_automatically(node, &mut window, [image[1], image[2]])?;
    Ok(Spatial { window, input: image, lifted })
}

/// The window of a 3-D operator: over a frame, and along the frames.
pub(crate) struct Volume {
    /// How the kernel walks over a frame.
    pub(crate) window: Window,
    /// Step along the frames.
    pub(crate) stride: usize,
    /// Distance between the kernel's frames.
    pub(crate) dilation: usize,
    pads: [usize; 2],
    height: usize,
}

/// Reads the window of a node over operand 0 of sample shape `[channels, depth, height, width]`.
pub(crate) fn read_volume(
    node: &NodeProto,
    input: &[usize],
    kernel: &[usize],
) -> Result<Volume, Refusal> {
    if attributes::string(node, "auto_pad", "NOTSET")? != "NOTSET" {
        return Err(Refusal::unsupported(
            "pads three axes by `auto_pad`",
            "export it with its `pads` written out",
        ));
    }
    let (&[_, _, height, _], &[_, kernel_height, kernel_width]) = (input, kernel) else {
        return Err(Refusal::broken(format!("has kernel {kernel:?} over {input:?}")));
    };
    let triple = |name, default: usize| {
        Ok::<_, Refusal>(lengths(node, name, 3)?.unwrap_or_else(|| vec![default; 3]))
    };
    let (strides, dilations) = (triple("strides", 1)?, triple("dilations", 1)?);
    let pads = lengths(node, "pads", 6)?.unwrap_or_else(|| vec![0; 6]);
    let window = Window {
        kernel: [kernel_height, kernel_width],
        strides: [strides[1], strides[2]],
        dilations: [dilations[1], dilations[2]],
        pads_begin: [pads[1], pads[2]],
        pads_end: [pads[4], pads[5]],
    };
    let (stride, dilation) = (strides[0], dilations[0]);
    Ok(Volume { window, stride, dilation, pads: [pads[0], pads[3]], height })
}

impl Volume {
    /// The height of a frame with its padding.
    pub(crate) fn padded_height(&self) -> Option<usize> {
        let begun = self.height.checked_add(self.window.pads_begin[0])?;
        begun.checked_add(self.window.pads_end[0])
    }

    /// The volume with its padding before, behind and above, and zeros below up to `height` lines.
    pub(crate) fn pad(&self, site: &mut Site<'_>, x: &Activation, height: usize) -> NodeId {
        let top = self.window.pads_begin[0];
        let bottom = height.saturating_sub(self.height + top);
        let (before, after) = (vec![0, self.pads[0], top, 0], vec![0, self.pads[1], bottom, 0]);
        let mut shape = x.shape.clone();
        shape[1] = shape[1].saturating_add(self.pads[0]).saturating_add(self.pads[1]);
        shape[2] = height;
        site.help(Op::Pad { before, after, value: 0.0 }, &[x.id], &shape)
    }
}

/// The last two axes, a missing height being `fill`.
fn two(values: &[usize], fill: usize) -> [usize; 2] {
    match *values {
        [height, width] => [height, width],
        [width] => [fill, width],
        _ => unreachable!("attribute lists have been checked to hold one or two lengths"),
    }
}

fn lengths(node: &NodeProto, name: &str, count: usize) -> Result<Option<Vec<usize>>, Refusal> {
    let Some(ints) = attributes::ints(node, name)? else { return Ok(None) };
    let lengths: Option<Vec<_>> = ints.iter().map(|&int| usize::try_from(int).ok()).collect();
    match lengths.filter(|lengths| lengths.len() == count) {
        Some(lengths) => Ok(Some(lengths)),
        None => Err(Refusal::broken(format!(
            "has `{name}` {ints:?}, must be {count} numbers of at least 0"
        ))),
    }
}

/// Sets the padding that `auto_pad` asks for.
///
/// `SAME_*` gives `ceil(length / stride)` positions; an odd cell goes to the end (`UPPER`) or the
/// beginning (`LOWER`).
fn pad_automatically(
    node: &NodeProto,
    window: &mut Window,
    lengths: [usize; 2],
) -> Result<(), Refusal> {
    let mode = attributes::string(node, "auto_pad", "NOTSET")?;
    let upper = match mode.as_str() {
        "NOTSET" | "" => return Ok(()),
        "VALID" => {
            (window.pads_begin, window.pads_end) = ([0; 2], [0; 2]);
            return Ok(());
        }
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        other => {
            let known = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"];
            return Err(Refusal::unknown_choice("auto_pad", other, &known));
        }
    };
    for (axis, length) in lengths.into_iter().enumerate() {
        let total = (|| {
            let positions = length.div_ceil(window.strides[axis]);
            let reach = positions.checked_sub(1)?.checked_mul(window.strides[axis])?;
            Some(reach.checked_add(window.extent(axis)?)?.saturating_sub(length))
        })();
        let total = total.ok_or_else(|| Refusal::broken("has a window of enormous extent"))?;
        let (less, more) = (total / 2, total - total / 2);
        let (begin, end) = if upper { (less, more) } else { (more, less) };
        (window.pads_begin[axis], window.pads_end[axis]) = (begin, end);
    }
    Ok(())
}

impl Spatial {
    /// The node of operand 0 as an image; a 1-D tensor gains its height.
    pub(crate) fn lift(&self, site: &mut Site<'_>, id: NodeId) -> NodeId {
        if self.lifted { site.help(Op::Reshape, &[id], &self.input) } else { id }
    }

    /// The shape of one sample of the result as an image.
    pub(crate) fn lift_shape(&self, output: &[usize]) -> [usize; 3] {
        match *output {
            [channels, height, width] => [channels, height, width],
            [channels, width] => [channels, 1, width],
            _ => [1; 3],
        }
    }

    /// Puts `op` over the lifted operand; the result has sample shape `output`, without the height that
    /// a 1-D operator gained.
    pub(crate) fn finish(
        &self,
        site: &mut Site<'_>,
        op: Op,
        image: NodeId,
        output: &[usize],
    ) -> Converted {
        match *output {
            [channels, width] if self.lifted => {
                let made = site.help(op, &[image], &[channels, 1, width]);
                site.keep(Op::Reshape, &[made], output)
            }
            _ => site.keep(op, &[image], output),
        }
    }
}
