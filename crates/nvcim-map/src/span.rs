//! The least and the largest of many values.

use ndarray::{ArrayBase, Data, Dimension};
use nvcim_ir::tiled::InputCoding;

/// Values side by side in one comparison; a multiple of every vector unit's width.
const LANES: usize = 16;

/// The least and the largest value seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    /// The least value.
    pub(crate) lo: f32,
    /// The largest value.
    pub(crate) hi: f32,
}

impl Span {
    /// No value seen.
    pub(crate) const EMPTY: Self = Self { lo: f32::INFINITY, hi: f32::NEG_INFINITY };
    /// Zero seen.
    pub(crate) const ZERO: Self = Self { lo: 0.0, hi: 0.0 };

    /// The span of both.
    pub(crate) fn join(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// The largest magnitude.
    pub(crate) fn magnitude(self) -> f32 {
        self.lo.abs().max(self.hi.abs())
    }

    /// The span of some numbers.
    pub(crate) fn of(values: &[f32]) -> Self {
        let (chunks, rest) = values.as_chunks::<LANES>();
        let (mut lo, mut hi) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        for chunk in chunks {
            lo = std::array::from_fn(|at| if chunk[at] < lo[at] { chunk[at] } else { lo[at] });
            hi = std::array::from_fn(|at| if chunk[at] > hi[at] { chunk[at] } else { hi[at] });
        }
        let lanes = lo.into_iter().zip(hi).map(|(lo, hi)| Self { lo, hi });
        let rest = rest.iter().map(|&value| Self { lo: value, hi: value });
        lanes.chain(rest).fold(Self::EMPTY, Self::join)
    }

    /// The span of an array.
    pub(crate) fn of_array<S: Data<Elem = f32>, D: Dimension>(values: &ArrayBase<S, D>) -> Self {
        match values.as_slice_memory_order() {
            Some(values) => Self::of(values),
            None => values
                .iter()
                .fold(Self::EMPTY, |span, &value| span.join(Self { lo: value, hi: value })),
        }
    }
}

/// The coding of drives within `span` whose full scale is `largest`; 1 where nothing is ever driven.
pub(crate) fn code_input(span: Span, largest: f32) -> InputCoding {
    let full_scale = if largest > 0.0 { largest } else { 1.0 };
    InputCoding { full_scale, signed: span.lo < 0.0 }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::Span;

    #[test]
    fn lanes_and_rest_are_both_seen() {
        let mut values = vec![1.0f32; 37];
        assert_eq!(Span::of(&values), Span { lo: 1.0, hi: 1.0 });
        values[20] = -3.0;
        values[36] = 7.0;
        assert_eq!(Span::of(&values), Span { lo: -3.0, hi: 7.0 });
        assert_eq!(Span::of(&values).magnitude(), 7.0);
        assert_eq!(Span::of(&[]), Span::EMPTY);
    }

    #[test]
    fn views_of_any_layout_give_the_same() {
        let values = Array2::from_shape_fn((3, 4), |(row, col)| row as f32 - 2.0 * col as f32);
        let all = Span { lo: -6.0, hi: 2.0 };
        assert_eq!(Span::of_array(&values.view()), all);
        assert_eq!(Span::of_array(&values.t()), all);
        assert_eq!(Span::of_array(&values.slice(s![.., ..;3])), all);
    }
}
