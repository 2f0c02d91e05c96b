//! Pooling over sliding windows.
//!
//! The output's shape says whether the last window may hang over the padding: cells beyond the padding
//! never count, and padding itself counts only in a mean that says so.

use nvcim_ir::op::Window;

use crate::tensor::{Operand, Tensor, count_samples, elements, elements_mut, zeros};
use crate::walk::{Span, find_spans};

/// The largest element of each window of `[c, h, w]`, to `shape` `[c, oh, ow]`. Padding never wins: a
/// window that sees nothing else gives negative infinity.
pub fn max_pool(x: &Operand<'_>, window: &Window, shape: &[usize]) -> Tensor {
    let larger = |best: f32, value: f32| if value > best { value } else { best };
    pool(
        x,
        window,
        shape,
        &Fold { start: f32::NEG_INFINITY, join: larger, finish: |best, _, _| best },
    )
}

/// The mean of each window of `[c, h, w]`, to `shape` `[c, oh, ow]`, with padding counted as zeros where
/// `count_pad`. A window that counts nothing gives 0.
pub fn average_pool(x: &Operand<'_>, window: &Window, count_pad: bool, shape: &[usize]) -> Tensor {
    let mean =
        |sum: f32, inside: f32, padded: f32| sum / if count_pad { padded } else { inside }.max(1.0);
    pool(x, window, shape, &Fold { start: 0.0, join: |sum, value| sum + value, finish: mean })
}

/// How the elements of a window become one: joined to `start` in row-major order, then finished with
/// the numbers of taps inside the input and inside the padded input.
struct Fold<J, F> {
    start: f32,
    join: J,
    finish: F,
}

fn pool<J, F>(x: &Operand<'_>, window: &Window, shape: &[usize], fold: &Fold<J, F>) -> Tensor
where
    J: Fn(f32, f32) -> f32,
    F: Fn(f32, f32, f32) -> f32,
{
    let (&[_, _, height, width], &[_, out_height, out_width]) = (x.shape(), shape) else {
        unreachable!("the verifier has seen [c, h, w] on both sides of a pool")
    };
    let mut res = zeros(count_samples(x), shape);
    let planes = elements(x).chunks_exact(height * width);
    let outputs = elements_mut(&mut res).chunks_exact_mut(out_height * out_width);
    let disjoint_pairs = window.kernel == [2; 2]
        && window.strides == [2; 2]
        && window.dilations == [1; 2]
        && window.pads_begin == [0; 2]
        && (2 * out_height <= height && 2 * out_width <= width);
    if disjoint_pairs {
        planes.zip(outputs).for_each(|(plane, out)| pool_pairs(plane, width, out, out_width, fold));
    } else {
        let rows = find_spans(window, 0, height, out_height);
        let cols = find_spans(window, 1, width, out_width);
        for (plane, out) in planes.zip(outputs) {
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(out_width)) {
                for (col, out) in cols.iter().zip(out) {
                    *out = pool_window(plane, width, window.dilations, row, col, fold);
                }
            }
        }
    }
    res
}

/// Pools one plane over 2x2 windows at stride 2 that all lie inside it: the common case, in vectors.
fn pool_pairs<J, F>(
    plane: &[f32],
    width: usize,
    out: &mut [f32],
    out_width: usize,
    fold: &Fold<J, F>,
) where
    J: Fn(f32, f32) -> f32,
    F: Fn(f32, f32, f32) -> f32,
{
    let join = |best, value| (fold.join)(best, value);
    for (lines, out) in plane.chunks_exact(2 * width).zip(out.chunks_exact_mut(out_width)) {
        let (top, bottom) = lines.split_at(width);
        let (top, bottom) = (top.as_chunks::<2>().0, bottom.as_chunks::<2>().0);
        for (out, ([a, b], [c, d])) in out.iter_mut().zip(top.iter().zip(bottom)) {
            let joined = join(join(join(join(fold.start, *a), *b), *c), *d);
            *out = (fold.finish)(joined, 4.0, 4.0);
        }
    }
}

fn pool_window<J, F>(
    plane: &[f32],
    width: usize,
    [dilation_h, dilation_w]: [usize; 2],
    row: &Span,
    col: &Span,
    fold: &Fold<J, F>,
) -> f32
where
    J: Fn(f32, f32) -> f32,
    F: Fn(f32, f32, f32) -> f32,
{
    let mut joined = fold.start;
    for tap in 0..row.inside {
        let line = &plane[(row.first + tap * dilation_h) * width..][..width];
        let taps = line[col.first..].iter().step_by(dilation_w).take(col.inside);
        joined = taps.fold(joined, |joined, &value| (fold.join)(joined, value));
    }
    // Products of counts as floats: padding may be so wide that integers overflow.
    let count = |row: usize, col: usize| row as f32 * col as f32;
    (fold.finish)(joined, count(row.inside, col.inside), count(row.padded, col.padded))
}

#[cfg(test)]
mod tests {
    use ndarray::IxDyn;
    use nvcim_ir::op::Window;
    use proptest::prelude::{any, proptest};

    use super::{average_pool, max_pool};
    use crate::tensor::{Operand, Tensor};
    use crate::testing::{assert_close, element_under, pool_windows, tensor, values};

    #[test]
    fn pairs_drop_what_rounding_down_leaves() {
        #[rustfmt::skip]
        let x = tensor(&[1, 1, 3, 5], &[
            1., 2.,   3., 4.,   100.,
            5., 6.,   8., 7.,   100.,
            100., 100., 100., 100., 100.,
        ]);
        let x = Operand::from(&x);
        let shape = [1, 1, 2];
        assert_eq!(
            max_pool(&x, &Window::square(2, 2, 0), &shape),
            tensor(&[1, 1, 1, 2], &[6., 8.])
        );
        let mean = average_pool(&x, &Window::square(2, 2, 0), false, &shape);
        assert_eq!(mean, tensor(&[1, 1, 1, 2], &[3.5, 5.5]));
    }

    #[test]
    fn padding_never_wins_and_counts_only_where_asked() {
        let x = tensor(&[1, 1, 2, 2], &[-1., -2., -3., -4.]);
        let x = Operand::from(&x);
        let shape = [1, 2, 2];
        let window = Window::square(2, 2, 1);
        let all = tensor(&[1, 1, 2, 2], &[-1., -2., -3., -4.]);
        assert_eq!(max_pool(&x, &window, &shape), all);
        assert_eq!(average_pool(&x, &window, false, &shape), all);
        assert_eq!(average_pool(&x, &window, true, &shape), all / 4.0);
    }

    #[test]
    fn cells_beyond_the_padding_never_count() {
        // Rounded up, the second window hangs one cell over the right edge of the padding.
        let x = tensor(&[1, 1, 1, 4], &[1., 2., 3., 4.]);
        let window = Window {
            kernel: [1, 3],
            strides: [1, 2],
            dilations: [1, 1],
            pads_begin: [0, 0],
            pads_end: [0, 0],
        };
        let got = average_pool(&Operand::from(&x), &window, true, &[1, 1, 2]);
        assert_eq!(got, tensor(&[1, 1, 1, 2], &[2., 3.5]));
    }

    #[test]
    fn a_huge_kernel_costs_no_more_than_its_input() {
        let far = 1 << 40;
        let window = Window {
            kernel: [far; 2],
            strides: [far; 2],
            dilations: [1; 2],
            pads_begin: [far - 1; 2],
            pads_end: [0; 2],
        };
        let x = tensor(&[1, 1, 1, 1], &[3.]);
        assert_eq!(max_pool(&Operand::from(&x), &window, &[1, 1, 1]), x);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            (window, [height, width], [out_h, out_w]) in pool_windows(),
            count_pad in any::<bool>(),
        ) {
            let x = values(&[2, 2, height, width], 7);
            let full = [2, 2, out_h, out_w];
            let fold = |at: &IxDyn| {
                let (mut largest, mut sum, mut count) = (f32::NEG_INFINITY, 0.0, 0);
                for (tap_h, tap_w) in ndarray::indices(window.kernel) {
                    let y = element_under(&window, 0, height, at[2], tap_h);
                    let x_at = element_under(&window, 1, width, at[3], tap_w);
                    match (y, x_at) {
                        (Ok(y), Ok(x_at)) => {
                            let value = x[[at[0], at[1], y, x_at]];
                            largest = largest.max(value);
                            sum += f64::from(value);
                            count += 1;
                        }
                        (Err(false), _) | (_, Err(false)) => {}
                        _ => count += i32::from(count_pad),
                    }
                }
                (largest, (sum / f64::from(count.max(1))) as f32)
            };
            let want = Tensor::from_shape_fn(IxDyn(&full), |at| fold(&at).0);
            assert_eq!(max_pool(&Operand::from(&x), &window, &full[1..]), want);
            let want = Tensor::from_shape_fn(IxDyn(&full), |at| fold(&at).1);
            assert_close(&average_pool(&Operand::from(&x), &window, count_pad, &full[1..]), &want);
        }
    }
}
