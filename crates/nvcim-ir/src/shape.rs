//! Whether an operator's output shape follows from its operands: the rule both verifiers share.
//!
//! Shapes are per sample. Pooling may round its output length down or up; everything else has exactly
//! one right shape.

use crate::ids::ConstId;
use crate::op::{Op, Window};

/// The most elements one sample's tensor may have; keeps a hostile file from exhausting memory.
pub const MAX_ELEMENTS: usize = 1 << 30;

/// The number of elements of a shape, `None` above [`MAX_ELEMENTS`].
pub fn count_elements(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |count, &len| count.checked_mul(len))?;
    (count <= MAX_ELEMENTS).then_some(count)
}

/// The shape two operands broadcast to within a sample, if they do.
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, x) | (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// Checks `output` against what `op` makes of `operands`.
///
/// `const_shape` gives the shape of a constant. Neither the output nor, for a convolution, the im2col
/// matrix of one sample may exceed [`MAX_ELEMENTS`]. The message of an error names both shapes.
pub fn check_shape<'a>(
    op: &Op,
    operands: &[&[usize]],
    const_shape: impl Fn(ConstId) -> &'a [usize],
    output: &[usize],
) -> Result<(), String> {
    if count_elements(output).is_none_or(|count| count == 0) {
        return Err(format!("has shape {output:?}, outside 1 to {MAX_ELEMENTS} elements"));
    }
    let want = match op {
        Op::Input => return Ok(()),
        Op::Const(value) => const_shape(*value).to_vec(),
        Op::Conv { weight, bias, window, groups } => {
            let bias = bias.map(&const_shape);
            infer_conv(operands[0], const_shape(*weight), bias, window, *groups)?
        }
        Op::Dense { weight, bias, transposed } => {
            let bias = bias.map(&const_shape);
            infer_dense(operands[0], const_shape(*weight), bias, *transposed)?
        }
        Op::BatchNorm { scale, bias, mean, var, epsilon: _ } => {
            let channels = operands[0].first().ok_or("needs a channel axis")?;
            for id in [scale, bias, mean, var] {
                if const_shape(*id) != [*channels] {
                    return Err(format!(
                        "has {channels} channels, but {id} has shape {:?}",
                        const_shape(*id)
                    ));
                }
            }
            operands[0].to_vec()
        }
        Op::Unary(_) => operands[0].to_vec(),
        Op::Binary(_) => broadcast(operands[0], operands[1])
            .ok_or_else(|| format!("cannot broadcast {:?} with {:?}", operands[0], operands[1]))?,
        Op::Select => infer_select(operands)?,
        Op::MatMul => infer_mat_mul(operands[0], operands[1])?,
        Op::Softmax { axis } | Op::LogSoftmax { axis } | Op::CumSum { axis, .. } => {
            in_range(*axis, operands[0])?;
            operands[0].to_vec()
        }
        Op::MaxPool { window } | Op::AveragePool { window, .. } => {
            return check_pool(operands[0], window, output);
        }
        Op::GlobalAveragePool => {
            let [channels, _, _] = spatial(operands[0])?;
            vec![channels, 1, 1]
        }
        Op::Reduce { reduction: _, axes } => return check_reduce(operands[0], axes, output),
        Op::ArgMax { axis, last: _ } => return check_reduce(operands[0], &[*axis], output),
        Op::Normalize { axes, epsilon: _, centred: _ } => {
            axes.iter().try_for_each(|&axis| in_range(axis, operands[0]))?;
            if axes.is_empty() || !axes.is_sorted_by(|a, b| a < b) {
                return Err(format!("normalises over {axes:?}, which must ascend"));
            }
            operands[0].to_vec()
        }
        Op::Reshape => {
            return if count_elements(operands[0]) == count_elements(output) {
                Ok(())
            } else {
                Err(format!("cannot give {:?} the shape {output:?}", operands[0]))
            };
        }
        Op::Transpose { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if sorted.iter().copied().ne(0..operands[0].len()) {
                return Err(format!("{perm:?} does not permute {:?}", operands[0]));
            }
            perm.iter().map(|&axis| operands[0][axis]).collect()
        }
        Op::Concat { axis } => infer_concat(operands, *axis)?,
        Op::Expand => {
            return match broadcast(operands[0], output) {
                Some(shape) if shape == output => Ok(()),
                _ => Err(format!("cannot expand {:?} to {output:?}", operands[0])),
            };
        }
        Op::Gather { axis, indices } => {
            in_range(*axis, operands[0])?;
            let mut shape = operands[0].to_vec();
            if let Some(index) = indices.iter().find(|&&index| index >= shape[*axis]) {
                return Err(format!("takes element {index} of {}", shape[*axis]));
            }
            shape[*axis] = indices.len();
            shape
        }
        Op::Lookup { table } => match const_shape(*table) {
            [_, entry @ ..] => [operands[0], entry].concat(),
            [] => return Err("looks up entries of a single number".into()),
        },
        Op::Slice { axes } => {
            if axes.len() != operands[0].len() {
                return Err(format!("slices {} axes of {:?}", axes.len(), operands[0]));
            }
            for (axis, &len) in axes.iter().zip(operands[0]) {
                if axis.step == 0 {
                    return Err("has a slice of step 0".into());
                }
                let last = (axis.len as i128 - 1) * axis.step as i128 + axis.start as i128;
                if axis.len == 0 || axis.start >= len || !(0..len as i128).contains(&last) {
                    return Err(format!("takes elements {} to {last} of {len}", axis.start));
                }
            }
            axes.iter().map(|axis| axis.len).collect()
        }
        Op::Pad { before, after, value: _ } => {
            if before.len() != operands[0].len() || after.len() != operands[0].len() {
                return Err(format!("pads {} axes of {:?}", before.len(), operands[0]));
            }
            let sum =
                |((len, a), b): ((&usize, &usize), &usize)| len.checked_add(*a)?.checked_add(*b);
            let padded = operands[0].iter().zip(before).zip(after).map(sum);
            padded.collect::<Option<_>>().ok_or("pads beyond the address space")?
        }
    };
    if want == output { Ok(()) } else { Err(format!("has shape {output:?}, must be {want:?}")) }
}

fn in_range(axis: usize, shape: &[usize]) -> Result<(), String> {
    if axis < shape.len() { Ok(()) } else { Err(format!("has no axis {axis} in {shape:?}")) }
}

fn spatial(shape: &[usize]) -> Result<[usize; 3], String> {
    shape.try_into().map_err(|_| format!("needs [channels, height, width], not {shape:?}"))
}

fn check_window(window: &Window) -> Result<(), String> {
    let positive = |values: [usize; 2]| values[0] > 0 && values[1] > 0;
    if positive(window.kernel) && positive(window.strides) && positive(window.dilations) {
        Ok(())
    } else {
        Err(format!("has a kernel, stride or dilation of 0 in `{window}`"))
    }
}

fn infer_conv(
    input: &[usize],
    weight: &[usize],
    bias: Option<&[usize]>,
    window: &Window,
    groups: usize,
) -> Result<Vec<usize>, String> {
    check_window(window)?;
    let [channels, height, width] = spatial(input)?;
    let &[filters, per_group, kernel_h, kernel_w] = weight else {
        return Err(format!("needs a weight of four axes, not {weight:?}"));
    };
    if groups == 0
        || !filters.is_multiple_of(groups)
        || per_group.checked_mul(groups) != Some(channels)
    {
        return Err(format!(
            "has {channels} input channels in {groups} groups, but weight {weight:?}"
        ));
    }
    if [kernel_h, kernel_w] != window.kernel {
        return Err(format!("has kernel {:?}, but weight {weight:?}", window.kernel));
    }
    check_bias(bias, filters)?;
    let positions = |axis, len| {
        window.positions(axis, len).ok_or_else(|| format!("`{window}` does not fit {input:?}"))
    };
    let (out_h, out_w) = (positions(0, height)?, positions(1, width)?);
    check_columns(&[channels, kernel_h, kernel_w, out_h, out_w])?;
    Ok(vec![filters, out_h, out_w])
}

/// Checks that the im2col matrix of one sample, whose lengths are given, stays within [`MAX_ELEMENTS`].
pub(crate) fn check_columns(lens: &[usize]) -> Result<(), String> {
    count_elements(lens)
        .map(|_| ())
        .ok_or_else(|| format!("has taps times positions {lens:?}, above {MAX_ELEMENTS} elements"))
}

fn infer_dense(
    input: &[usize],
    weight: &[usize],
    bias: Option<&[usize]>,
    transposed: bool,
) -> Result<Vec<usize>, String> {
    let &[first, second] = weight else {
        return Err(format!("needs a weight of two axes, not {weight:?}"));
    };
    let (rows, cols) = if transposed { (second, first) } else { (first, second) };
    check_bias(bias, cols)?;
    match input.split_last() {
        Some((&last, front)) if last == rows => Ok(front.iter().copied().chain([cols]).collect()),
        _ => Err(format!("multiplies {input:?} by a matrix of {rows} rows")),
    }
}

fn check_bias(bias: Option<&[usize]>, outputs: usize) -> Result<(), String> {
    match bias {
        Some(shape) if shape != [outputs] => {
            Err(format!("has {outputs} outputs, but a bias of shape {shape:?}"))
        }
        _ => Ok(()),
    }
}

fn check_pool(input: &[usize], window: &Window, output: &[usize]) -> Result<(), String> {
    check_window(window)?;
    let [channels, height, width] = spatial(input)?;
    let [out_channels, out_height, out_width] = spatial(output)?;
    let mut good = channels == out_channels;
    for (axis, len, out) in [(0, height, out_height), (1, width, out_width)] {
        let down = window
            .positions(axis, len)
            .ok_or_else(|| format!("`{window}` does not fit {input:?}"))?;
        // Rounding up adds one window, which must start inside the input or its leading padding.
        let start = down.checked_mul(window.strides[axis]);
        let starts_inside = start.is_some_and(|start| start < len + window.pads_begin[axis]);
        good &= out == down || (out == down + 1 && starts_inside);
    }
    if good { Ok(()) } else { Err(format!("`{window}` over {input:?} cannot give {output:?}")) }
}

fn check_reduce(input: &[usize], axes: &[usize], output: &[usize]) -> Result<(), String> {
    axes.iter().try_for_each(|&axis| in_range(axis, input))?;
    let kept = |keep: bool| {
        let lens = input.iter().enumerate().filter_map(move |(axis, &len)| {
            match (axes.contains(&axis), keep) {
                (false, _) => Some(len),
                (true, true) => Some(1),
                (true, false) => None,
            }
        });
        lens.eq(output.iter().copied())
    };
    if kept(true) || kept(false) {
        Ok(())
    } else {
        Err(format!("cannot reduce {input:?} over {axes:?} to {output:?}"))
    }
}

fn infer_select(operands: &[&[usize]]) -> Result<Vec<usize>, String> {
    let values = broadcast(operands[1], operands[2]);
    values
        .and_then(|values| broadcast(operands[0], &values))
        .ok_or_else(|| format!("cannot broadcast {operands:?}"))
}

fn infer_mat_mul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let fit = || {
        let ([front @ .., rows, inner], [further @ .., outer, cols]) = (a, b) else { return None };
        let front = broadcast(front, further).filter(|_| inner == outer)?;
        Some([&front[..], &[*rows, *cols]].concat())
    };
    fit().ok_or_else(|| format!("cannot multiply {a:?} by {b:?}"))
}

fn infer_concat(operands: &[&[usize]], axis: usize) -> Result<Vec<usize>, String> {
    let mut joined = operands[0].to_vec();
    in_range(axis, &joined)?;
    for operand in &operands[1..] {
        let same = operand.len() == joined.len()
            && operand.iter().zip(&joined).enumerate().all(|(at, (a, b))| at == axis || a == b);
        if !same {
            return Err(format!("cannot join {operand:?} to {joined:?} along axis {axis}"));
        }
        joined[axis] = joined[axis].checked_add(operand[axis]).ok_or("joins too much")?;
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::{broadcast, check_shape};
    use crate::ids::Id;
    use crate::op::{Op, SliceAxis, Window};

    fn check(op: &Op, operands: &[&[usize]], output: &[usize]) -> Result<(), String> {
        check_shape(op, operands, |_| &[], output)
    }

    #[test]
    fn pools_round_down_or_up() {
        let op = Op::MaxPool { window: Window::square(2, 2, 0) };
        assert!(check(&op, &[&[3, 5, 5]], &[3, 2, 2]).is_ok());
        assert!(check(&op, &[&[3, 5, 5]], &[3, 3, 3]).is_ok());
        assert!(check(&op, &[&[3, 5, 5]], &[3, 4, 3]).is_err());
        // The window that rounding up would add starts outside the input.
        assert!(check(&op, &[&[3, 4, 4]], &[3, 3, 3]).is_err());
    }

    #[test]
    fn a_stride_of_zero_is_an_error_not_a_panic() {
        let op = Op::MaxPool { window: Window::square(2, 0, 0) };
        assert!(check(&op, &[&[3, 5, 5]], &[3, 2, 2]).is_err());
    }

    #[test]
    fn paddings_near_the_address_space_are_an_error_not_an_overflow() {
        let half = 1 << (usize::BITS - 1);
        let window =
            Window { strides: [half, 1], pads_begin: [half, 0], ..Window::square(1, 1, 0) };
        assert!(check(&Op::MaxPool { window }, &[&[1, 5, 5]], &[1, 3, 5]).is_err());
    }

    #[test]
    fn a_slice_of_step_zero_is_an_error() {
        let slice = |step| Op::Slice { axes: vec![SliceAxis { start: 1, step, len: 2 }] };
        assert!(check(&slice(1), &[&[3]], &[2]).is_ok());
        assert!(check(&slice(-1), &[&[3]], &[2]).is_ok());
        assert!(check(&slice(0), &[&[3]], &[2]).is_err());
    }

    #[test]
    fn a_convolution_whose_columns_would_fill_memory_is_an_error() {
        let conv = |pad| Op::Conv {
            weight: Id::new(0),
            bias: None,
            window: Window::square(64, 1, pad),
            groups: 1,
        };
        let check = |pad, out| check_shape(&conv(pad), &[&[1, 64, 64]], |_| &[1, 1, 64, 64], out);
        assert_eq!(check(0, &[1, 1, 1]), Ok(()));
        let message = check(5000, &[1, 10_001, 10_001]).unwrap_err();
        assert!(message.contains("taps times positions"), "{message}");
    }

    #[test]
    fn matrices_multiply_where_inner_lengths_agree() {
        let product = |a, b, out: &[usize]| check(&Op::MatMul, &[a, b], out);
        assert!(product(&[2, 3, 4], &[4, 5], &[2, 3, 5]).is_ok());
        assert!(product(&[1, 3, 4], &[7, 4, 5], &[7, 3, 5]).is_ok());
        assert!(product(&[3, 4], &[3, 4], &[3, 4]).is_err());
        assert!(product(&[4], &[4, 5], &[5]).is_err(), "a vector is no matrix");
    }

    #[test]
    fn elements_taken_by_number_must_be_there() {
        let gather = |indices: &[usize]| Op::Gather { axis: 1, indices: indices.into() };
        assert!(check(&gather(&[2, 0, 2, 1]), &[&[2, 3]], &[2, 4]).is_ok());
        assert!(check(&gather(&[3]), &[&[2, 3]], &[2, 1]).is_err());
        assert!(check(&Op::Expand, &[&[3, 1]], &[2, 3, 4]).is_ok());
        assert!(check(&Op::Expand, &[&[3, 2]], &[3, 1]).is_err());
    }

    #[test]
    fn broadcasting_aligns_trailing_axes() {
        assert_eq!(broadcast(&[8, 4, 4], &[8, 1, 1]), Some(vec![8, 4, 4]));
        assert_eq!(broadcast(&[4], &[8, 1]), Some(vec![8, 4]));
        assert_eq!(broadcast(&[3], &[4]), None);
    }
}
