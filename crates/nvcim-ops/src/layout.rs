//! Operators that move elements and compute nothing.

use ndarray::{Axis, Slice};
use nvcim_ir::graph::Constant;
use nvcim_ir::op::SliceAxis;

use crate::tensor::{Operand, Tensor, batched, copy_standard, count_samples, elements};

/// The same elements in row-major order under `shape`; moves where the operand was handed over.
pub fn reshape(x: Operand<'_>, shape: &[usize]) -> Tensor {
    let shape = batched(count_samples(&x), shape);
    x.into_owned().into_shape_with_order(shape).expect("both shapes have the same elements")
}

/// Axis `i` of an output sample is axis `perm[i]` of the input sample.
pub fn transpose(x: &Operand<'_>, perm: &[usize]) -> Tensor {
    let perm: Vec<_> = std::iter::once(0).chain(perm.iter().map(|axis| axis + 1)).collect();
    copy_standard(&x.view().permuted_axes(perm))
}

/// Joins tensors along `axis` of a sample, to `shape`.
pub fn concat(operands: &[Operand<'_>], axis: usize, shape: &[usize]) -> Tensor {
    let samples = count_samples(&operands[0]);
    let blocks = samples * shape[..axis].iter().product::<usize>();
    let mut parts: Vec<_> = operands
        .iter()
        .map(|x| elements(x).chunks_exact(x.shape()[axis + 1..].iter().product()))
        .collect();
    let mut joined = Vec::with_capacity(samples * shape.iter().product::<usize>());
    for _ in 0..blocks {
        parts.iter_mut().filter_map(Iterator::next).for_each(|part| joined.extend_from_slice(part));
    }
    Tensor::from_shape_vec(batched(samples, shape), joined).expect("the parts make the shape")
}

/// Takes the elements of these numbers along `axis` of a sample.
pub fn gather(x: &Operand<'_>, axis: usize, indices: &[usize]) -> Tensor {
    copy_standard(&x.select(Axis(axis + 1), indices).view())
}

/// Takes the entries of `table` that the operand's elements number, from the end where they are negative; entries of
/// NaN for what is no number of one.
pub fn lookup(x: &Operand<'_>, table: &Constant, shape: &[usize]) -> Tensor {
    let n_entries = table.value.shape()[0];
    let len = table.value.len() / n_entries;
    let values = table.value.as_slice().expect("constants are in standard layout");
    let mut taken = Vec::with_capacity(x.len() * len);
    for &number in elements(x) {
        let from_start = if number < 0.0 { number + n_entries as f32 } else { number };
        // Numbers that are not whole, too large or NaN have no entry; casts saturate.
        let at = from_start as usize;
        if at < n_entries && at as f32 == from_start {
            taken.extend_from_slice(&values[at * len..(at + 1) * len]);
        } else {
            taken.extend(std::iter::repeat_n(f32::NAN, len));
        }
    }
    Tensor::from_shape_vec(batched(count_samples(x), shape), taken).expect("entries make the shape")
}

/// Takes a strided part of every axis of a sample.
pub fn slice(x: &Operand<'_>, axes: &[SliceAxis]) -> Tensor {
    let part = x.slice_each_axis(|at| match at.axis {
        Axis(0) => Slice::from(..),
        Axis(axis) => to_slice(axes[axis - 1]),
    });
    copy_standard(&part)
}

/// A slice with a negative step runs down from the end of its range.
fn to_slice(SliceAxis { start, step, len }: SliceAxis) -> Slice {
    let start = start as isize;
    // One element has no distance to the next: any step that is not 0 will do.
    let step = if len == 1 { 1 } else { step };
    let last = start + (len as isize - 1) * step;
    Slice::new(start.min(last), Some(start.max(last) + 1), step)
}

/// Surrounds every sample with `value`, `before` elements in front of each axis, to `shape`.
pub fn pad(x: &Operand<'_>, before: &[usize], value: f32, shape: &[usize]) -> Tensor {
    let mut res = Tensor::from_elem(batched(count_samples(x), shape), value);
    let mut inside = res.slice_each_axis_mut(|at| match at.axis {
        Axis(0) => Slice::from(..),
        Axis(axis) => Slice::from(before[axis - 1]..before[axis - 1] + x.shape()[axis]),
    });
    inside.assign(x);
    res
}

#[cfg(test)]
mod tests {
    use ndarray::IxDyn;
    use nvcim_ir::graph::Constant;
    use nvcim_ir::op::SliceAxis;
    use proptest::prelude::{Just, Strategy, any, proptest};

    use super::{concat, gather, lookup, pad, reshape, slice, transpose};
    use crate::tensor::{Operand, Tensor};
    use crate::testing::{tensor, values};

    #[test]
    fn reshaping_keeps_the_row_major_order_and_moves_what_it_owns() {
        let x = values(&[2, 2, 3], 1);
        let lent = reshape(Operand::from(&x), &[6]);
        assert_eq!(lent.shape(), [2, 6]);
        assert!(lent.iter().eq(&x));
        let place = x.as_ptr();
        assert_eq!(reshape(Operand::from(x), &[3, 2]).as_ptr(), place);
    }

    #[test]
    fn entries_are_looked_up_and_what_has_none_is_no_number() {
        let value = tensor(&[3, 2], &[1., 2., 3., 4., 5., 6.]).into_shared();
        let table = Constant { name: "words".into(), value };
        let x = tensor(&[2, 2], &[2., 0., -1., -3.]);
        let got = lookup(&Operand::from(&x), &table, &[2, 2]);
        assert_eq!(got, tensor(&[2, 2, 2], &[5., 6., 1., 2., 5., 6., 1., 2.]));
        let astray = tensor(&[1, 6], &[3., -4., 0.5, f32::NAN, f32::INFINITY, -1e30]);
        assert!(lookup(&Operand::from(&astray), &table, &[6, 2]).iter().all(|it| it.is_nan()));
    }

    #[test]
    fn elements_are_taken_in_any_order() {
        let x = tensor(&[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
        let got = gather(&Operand::from(&x), 1, &[1, 0, 1]);
        let want = [2., 1., 2., 4., 3., 4., 6., 5., 6., 8., 7., 8.];
        assert_eq!(got, tensor(&[2, 2, 3], &want));
    }

    #[test]
    fn concat_joins_along_the_middle_axis() {
        let a = tensor(&[2, 2, 1, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
        let b = tensor(&[2, 2, 2, 2], &[0.; 16]);
        let got = concat(&[Operand::from(&a), Operand::from(&b)], 1, &[2, 3, 2]);
        let want = Tensor::from_shape_fn(IxDyn(&[2, 2, 3, 2]), |at| {
            if at[2] == 0 { a[[at[0], at[1], 0, at[3]]] } else { 0.0 }
        });
        assert_eq!(got, want);
        assert_eq!(concat(&[Operand::from(&a)], 2, &[2, 1, 2]), a);
    }

    #[test]
    fn a_negative_step_runs_backwards() {
        let x = tensor(&[1, 5], &[0., 1., 2., 3., 4.]);
        let take = |start, step, len| {
            let axes = [SliceAxis { start, step, len }];
            slice(&Operand::from(&x), &axes).into_raw_vec_and_offset().0
        };
        assert_eq!(take(4, -1, 5), [4., 3., 2., 1., 0.]);
        assert_eq!(take(3, -2, 2), [3., 1.]);
        assert_eq!(take(0, -3, 1), [0.]);
        assert_eq!(take(1, 3, 2), [1., 4.]);
        assert_eq!(take(2, isize::MIN, 1), [2.]);
    }

    #[test]
    fn padding_surrounds_every_sample() {
        let x = tensor(&[2, 1, 2], &[1., 2., 3., 4.]);
        let got = pad(&Operand::from(&x), &[1, 0], 9.0, &[2, 3]);
        let want = [9., 9., 9., 1., 2., 9., 9., 9., 9., 3., 4., 9.];
        assert_eq!(got, tensor(&[2, 2, 3], &want));
    }

    /// A slice that stays inside an axis of `len`.
    fn slice_axis(len: usize) -> impl Strategy<Value = SliceAxis> {
        (0..len, 1..4isize, any::<bool>())
            .prop_map(move |(start, step, down)| {
                let room = if down { start } else { len - 1 - start };
                let most = room / step as usize + 1;
                (start, if down { -step } else { step }, most)
            })
            .prop_flat_map(|(start, step, most)| (Just(start), Just(step), 1..=most))
            .prop_map(|(start, step, len)| SliceAxis { start, step, len })
    }

    proptest! {
        #[test]
        fn slices_take_the_elements_they_name(axes in [slice_axis(4), slice_axis(5), slice_axis(6)]) {
            let x = values(&[2, 4, 5, 6], 1);
            let got = slice(&Operand::from(&x), &axes);
            let full = [2, axes[0].len, axes[1].len, axes[2].len];
            let from = |axis: usize, at: usize| {
                axes[axis].start.strict_add_signed(axes[axis].step * at as isize)
            };
            let want = Tensor::from_shape_fn(IxDyn(&full), |at| {
                x[[at[0], from(0, at[1]), from(1, at[2]), from(2, at[3])]]
            });
            assert_eq!(&got, &want);
            assert!(got.is_standard_layout());
        }

        #[test]
        fn transposing_moves_axis_to_axis(perm in Just(vec![0usize, 1, 2]).prop_shuffle()) {
            let x = values(&[2, 3, 4, 5], 1);
            let got = transpose(&Operand::from(&x), &perm);
            assert!(got.is_standard_layout());
            for (at, value) in got.indexed_iter() {
                let mut from = [at[0]; 4];
                perm.iter().enumerate().for_each(|(to, &axis)| from[axis + 1] = at[to + 1]);
                assert_eq!(*value, x[from]);
            }
        }
    }
}
