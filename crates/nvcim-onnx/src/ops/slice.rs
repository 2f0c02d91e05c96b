//! Strided parts of a tensor.

use nvcim_ir::op::{Op, SliceAxis};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Converted, Site};

/// `Slice`: bounds are attributes before operator set 10 and operands since.
pub(crate) fn convert_slice(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let batch = std::iter::repeat_n(site.batch, site.lead);
    let whole: Vec<usize> = batch.chain(x.shape.clone()).collect();
    let [starts, ends, axes, steps] = read_bounds(&site)?;
    let starts = starts.ok_or_else(|| Refusal::broken("lacks its first elements, `starts`"))?;
    let ends = ends.ok_or_else(|| Refusal::broken("lacks its last elements, `ends`"))?;
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Refusal::broken("has `starts`, `ends`, `axes` and `steps` of unequal lengths"));
    }
    let full = |&len: &usize| SliceAxis { start: 0, step: 1, len };
    let mut parts: Vec<SliceAxis> = whole.iter().map(full).collect();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = site::whole_axis(axis, whole.len())?;
        parts[axis] = cut(whole[axis], start, end, step)?;
    }
    if site.lead == 1 && parts[0] != full(&site.batch) {
        return Err(Refusal::mixes_samples("takes part of the batch"));
    }
    let output = site.sample_output()?;
    Ok(site.keep(Op::Slice { axes: parts.split_off(site.lead) }, &[x.id], &output))
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
        (0, _) => return Err(Refusal::broken("has a step of 0 in `steps`")),
        (1.., span @ 1..) => (span - 1) / step + 1,
        (..=-1, span @ ..=-1) => (-span - 1) / step.saturating_neg() + 1,
        _ => 0,
    };
    match (usize::try_from(start), usize::try_from(taken), isize::try_from(step)) {
        (Ok(start), Ok(len @ 1..), Ok(step)) => Ok(SliceAxis { start, step, len }),
        _ => Err(Refusal::unsupported(
            format!("takes none of the {len} elements of an axis"),
            "export without empty tensors",
        )),
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use super::cut;
    use crate::testing::{TestModel, ints};

    #[test]
    fn bounds_come_as_attributes_or_operands() {
        let old = TestModel::new(9, &[0, 6, 7]);
        let attributes = [ints("starts", &[1, -4]), ints("ends", &[5, 99]), ints("axes", &[1, 2])];
        old.node("Slice", "x", "y", &attributes).output("y").agree();
        let new = TestModel::new(13, &[0, 6, 7])
            .ints("starts", &[-1, 6])
            .ints("ends", &[i64::MIN, 1])
            .ints("axes", &[1, -1])
            .ints("steps", &[-2, -3]);
        new.node("Slice", "x starts ends axes steps", "y", &[]).output("y").agree();
    }

    #[test]
    fn the_batch_stays_whole() {
        let model = TestModel::new(13, &[0, 6]).ints("starts", &[0]).ints("ends", &[2]);
        model
            .node("Slice", "x starts ends", "y", &[])
            .output("y")
            .refuse(Kind::Unsupported, "batch");
    }

    #[test]
    fn cutting_agrees_with_stepping_through_the_axis() {
        let bounds = [i64::MIN, -9, -5, -4, -1, 0, 1, 3, 4, 5, 9, i64::MAX];
        for len in 1..5i64 {
            let clamp = |bound: i64, lowest: i64, highest: i64| {
                if bound < 0 { bound.saturating_add(len) } else { bound }.clamp(lowest, highest)
            };
            for (start, end, step) in bounds.iter().flat_map(|&start| {
                let steps = [-3, -1, 1, 2, i64::MAX, -i64::MAX];
                bounds.iter().flat_map(move |&end| steps.map(|step| (start, end, step)))
            }) {
                let taken: Vec<i64> = if step > 0 {
                    let range = clamp(start, 0, len)..clamp(end, 0, len);
                    range.step_by(step as usize).collect()
                } else {
                    let range = clamp(end, -1, len - 1) + 1..clamp(start, 0, len - 1) + 1;
                    range.rev().step_by(step.unsigned_abs() as usize).collect()
                };
                match cut(len as usize, start, end, step) {
                    Ok(part) => {
                        let want = (part.start as i64, part.len);
                        assert_eq!((taken[0], taken.len()), want, "{len} {start} {end} {step}");
                    }
                    Err(_) => assert!(taken.is_empty(), "{len} {start} {end} {step}"),
                }
            }
        }
    }
}
