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
    let mean = |sum: f32, inside: usize, padded: usize| {
        sum / if count_pad { padded } else { inside }.max(1) as f32
    };
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
    F: Fn(f32, usize, usize) -> f32,
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
    F: Fn(f32, usize, usize) -> f32,
{
    let join = |best, value| (fold.join)(best, value);
    for (lines, out) in plane.chunks_exact(2 * width).zip(out.chunks_exact_mut(out_width)) {
        let (top, bottom) = lines.split_at(width);
        let (top, bottom) = (top.as_chunks::<2>().0, bottom.as_chunks::<2>().0);
        for (out, ([a, b], [c, d])) in out.iter_mut().zip(top.iter().zip(bottom)) {
            let joined = join(join(join(join(fold.start, *a), *b), *c), *d);
            *out = (fold.finish)(joined, 4, 4);
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
    F: Fn(f32, usize, usize) -> f32,
{
    let mut joined = fold.start;
    for tap in 0..row.inside {
        let line = &plane[(row.first + tap * dilation_h) * width..][..width];
        let taps = line[col.first..].iter().step_by(dilation_w).take(col.inside);
        joined = taps.fold(joined, |joined, &value| (fold.join)(joined, value));
    }
    (fold.finish)(joined, row.inside * col.inside, row.padded * col.padded)
}
