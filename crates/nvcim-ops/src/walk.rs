//! Where the taps of a sliding window meet its input, along one axis.
//!
//! Coordinates are *padded*: 0 is the first padding cell, `pads_begin` the first input element. All
//! bounds are found by division, so that no loop runs over padding however wide it is.

use std::ops::Range;

use nvcim_ir::op::Window;

/// The taps of the window at one output position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The input element under the first tap inside the input; 0 where there is none.
    pub(crate) first: usize,
    /// Taps inside the input.
    pub(crate) inside: usize,
    /// Taps inside the input or its padding.
    pub(crate) padded: usize,
}

/// The taps of every output position along `axis`, for an input of `len` elements.
pub(crate) fn find_spans(window: &Window, axis: usize, len: usize, n_out: usize) -> Vec<Span> {
    let (kernel, dilation) = (window.kernel[axis], window.dilations[axis]);
    let begin = window.pads_begin[axis];
    let span = |position: usize| {
        let start = position * window.strides[axis];
        let taps_before = |end: usize| end.saturating_sub(start).div_ceil(dilation).min(kernel);
        let skipped = taps_before(begin);
        let inside = taps_before(begin + len) - skipped;
        let first = if inside == 0 { 0 } else { start + skipped * dilation - begin };
        Span { first, inside, padded: taps_before(begin + len + window.pads_end[axis]) }
    };
    (0..n_out).map(span).collect()
}

/// The output positions at which one tap lies inside the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The output positions.
    pub(crate) positions: Range<usize>,
    /// The input element under the tap at the first of these positions; 0 where there is none.
    pub(crate) first: usize,
}

/// The reach of every tap along `axis`, for an input of `len` elements.
pub(crate) fn find_reaches(window: &Window, axis: usize, len: usize, n_out: usize) -> Vec<Reach> {
    let (stride, begin) = (window.strides[axis], window.pads_begin[axis]);
    let reach = |tap: usize| {
        let offset = tap * window.dilations[axis];
        let positions_before = |end: usize| end.saturating_sub(offset).div_ceil(stride).min(n_out);
        let positions = positions_before(begin)..positions_before(begin + len);
        let first =
            if positions.is_empty() { 0 } else { positions.start * stride + offset - begin };
        Reach { positions, first }
    };
    (0..window.kernel[axis]).map(reach).collect()
}

/// The input lines under one tap, `[width]` each, one per output line in the tap's `row` reach.
pub(crate) fn lines_under<'a>(
    plane: &'a [f32],
    width: usize,
    row: &Reach,
    stride: usize,
) -> impl Iterator<Item = &'a [f32]> {
    let step = width.saturating_mul(stride);
    plane[row.first * width..].chunks(step).map(move |lines| &lines[..width])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{find_reaches, find_spans};
    use crate::testing::{element_under, pool_windows};

    proptest! {
        #[test]
        fn spans_count_the_taps_inside((window, size, out) in pool_windows()) {
            for axis in 0..2 {
                let spans = find_spans(&window, axis, size[axis], out[axis]);
                assert_eq!(spans.len(), out[axis]);
                for (position, span) in spans.into_iter().enumerate() {
                    let taps: Vec<_> = (0..window.kernel[axis])
                        .map(|tap| element_under(&window, axis, size[axis], position, tap))
                        .collect();
                    let inside: Vec<_> = taps.iter().filter_map(|tap| tap.ok()).collect();
                    assert_eq!(span.inside, inside.len());
                    assert_eq!(span.first, inside.first().copied().unwrap_or(0));
                    assert_eq!(span.padded, taps.iter().filter(|tap| **tap != Err(false)).count());
                }
            }
        }

        #[test]
        fn reaches_hold_the_positions_inside((window, size, out) in pool_windows()) {
            for axis in 0..2 {
                let reaches = find_reaches(&window, axis, size[axis], out[axis]);
                assert_eq!(reaches.len(), window.kernel[axis]);
                for (tap, reach) in reaches.into_iter().enumerate() {
                    let under = |position| element_under(&window, axis, size[axis], position, tap);
                    for position in 0..out[axis] {
                        assert_eq!(reach.positions.contains(&position), under(position).is_ok());
                    }
                    let first = reach.positions.clone().next().map(under);
                    assert_eq!(first.unwrap_or(Ok(0)), Ok(reach.first));
                }
            }
        }
    }
}
