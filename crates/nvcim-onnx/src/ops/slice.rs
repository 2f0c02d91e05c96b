//! Strided parts of a tensor.

use nvcim_ir::op::{Op, SliceAxis};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `Slice`: bounds are attributes before operator set 10 and operands since.
pub(crate) fn convert_slice(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let whole: Vec<usize> = std::iter::once(site.batch).chain(x.shape.clone()).collect();
    let [starts, ends, axes, steps] = read_bounds(&site)?;
    let starts = starts.ok_or_else(|| Refusal::broken("lacks `starts`"))?;
    let ends = ends.ok_or_else(|| Refusal::broken("lacks `ends`"))?;
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Refusal::broken("has `starts`, `ends`, `axes` and `steps` of unequal length"));
    }
    let full = |&len: &usize| SliceAxis { start: 0, step: 1, len };
    let mut parts: Vec<SliceAxis> = whole.iter().map(full).collect();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = site::whole_axis(axis, whole.len())?;
        parts[axis] = cut(whole[axis], start, end, step)?;
    }
    if parts[0] != full(&site.batch) {
        return Err(Refusal::mixes_samples("takes part of the batch"));
    }
    let output = site.sample_output()?;
    Ok(site.keep(Op::Slice { axes: parts.split_off(1) }, &[x.id], &output))
}

/// `starts`, `ends`, `axes`, `steps`.
fn read_bounds(site: &Site<'_>) -> Result<[Option<Vec<i64>>; 4], Refusal> {
    if site.opset >= 10 {
        return Ok([site.ints(1)?, site.ints(2)?, site.ints(3)?, site.ints(4)?]);
    }
    let list = |name| Ok(attributes::ints(site.node, name)?.map(<[i64]>::to_vec));
    Ok([list("starts")?, list("ends")?, list("axes")?, None])
}

/// One axis of `len` elements, bounds clamped as ONNX says.
fn cut(len: usize, start: i64, end: i64, step: i64) -> Result<SliceAxis, Refusal> {
    let whole = len as i64;
    let from_start = |bound: i64| if bound < 0 { bound.saturating_add(whole) } else { bound };
    let (lowest, highest) = if step > 0 { (0, whole) } else { (-1, whole - 1) };
    let start = from_start(start).clamp(lowest.max(0), highest);
    let end = from_start(end).clamp(lowest, highest);
    let taken = match (step, end - start) {
        (0, _) => return Err(Refusal::broken("has a step of 0")),
        (1.., span @ 1..) => (span - 1) / step + 1,
        (..=-1, span @ ..=-1) => (-span - 1) / step.saturating_neg() + 1,
        _ => 0,
    };
    match (usize::try_from(start), usize::try_from(taken), isize::try_from(step)) {
        (Ok(start), Ok(len @ 1..), Ok(step)) => Ok(SliceAxis { start, step, len }),
        _ => Err(Refusal::unsupported("takes no element", "export without empty tensors")),
    }
}
