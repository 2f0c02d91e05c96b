//! What the tests of this crate share: reproducible values, random windows, closeness.

use ndarray::{ArrayD, IxDyn};
use nvcim_ir::graph::Constant;
use nvcim_ir::op::Window;
use proptest::prelude::{Strategy, any};

use crate::tensor::Tensor;

/// Reproducible values between -1 and 1.
pub(crate) fn values(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// A tensor with these elements.
pub(crate) fn tensor(shape: &[usize], elements: &[f32]) -> Tensor {
    Tensor::from_shape_vec(IxDyn(shape), elements.to_vec()).expect("as many elements as stated")
}

/// A constant without a name.
pub(crate) fn constant(value: Tensor) -> Constant {
    Constant { name: String::new(), value: value.into_shared() }
}

/// A window of any kind, the height and width of a sample on which it fits, and its output positions.
pub(crate) fn windows() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    let pair = |range: std::ops::Range<usize>| [range.clone(), range];
    let window = (pair(1..5), pair(1..4), pair(1..4), pair(0..4), pair(0..4));
    (window, pair(1..10)).prop_filter_map("the window must fit", |(window, size)| {
        let (kernel, strides, dilations, pads_begin, pads_end) = window;
        let window = Window { kernel, strides, dilations, pads_begin, pads_end };
        let out = [window.positions(0, size[0])?, window.positions(1, size[1])?];
        Some((window, size, out))
    })
}

/// As [`windows`], with outputs rounded up at random where one more window starts inside.
pub(crate) fn pool_windows() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    (windows(), any::<[bool; 2]>()).prop_map(|((window, size, mut out), up)| {
        for axis in 0..2 {
            let starts_inside =
                out[axis] * window.strides[axis] < size[axis] + window.pads_begin[axis];
            out[axis] += usize::from(up[axis] && starts_inside);
        }
        (window, size, out)
    })
}

/// The input element under a tap along one axis: `Ok` inside the input, `Err(true)` in its padding,
/// `Err(false)` beyond.
pub(crate) fn element_under(
    window: &Window,
    axis: usize,
    len: usize,
    position: usize,
    tap: usize,
) -> Result<usize, bool> {
    let at = position * window.strides[axis] + tap * window.dilations[axis];
    let (begin, end) = (window.pads_begin[axis], window.pads_end[axis]);
    if (begin..begin + len).contains(&at) { Ok(at - begin) } else { Err(at < begin + len + end) }
}

/// Checks equal shapes, and elements equal up to the rounding of short sums.
pub(crate) fn assert_close(got: &Tensor, want: &Tensor) {
    const ROUNDING: f32 = 2e-6;
    assert_eq!(got.shape(), want.shape());
    for ((at, got), want) in got.indexed_iter().zip(want) {
        let near = (got - want).abs() <= ROUNDING * (1.0 + want.abs());
        assert!(near || got == want, "{got} at {at:?} must be {want}");
    }
}
