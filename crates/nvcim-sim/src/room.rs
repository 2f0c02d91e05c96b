//! Room for numbers that is kept from call to call, so that running an image allocates nothing per layer.

use ndarray::{ArrayView2, ArrayViewMut2, Ix2, ShapeBuilder, StrideShape};
use nvcim_chip::real::Real;

/// The first `len` places of a buffer that only ever grows; what stands there is left over.
pub(crate) fn take_slice<T: Real>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..len]
}

/// A matrix's shape and memory order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    pub(crate) n_rows: usize,
    pub(crate) n_columns: usize,
    /// Whether the rows lie side by side in memory, and the columns apart.
    columns_apart: bool,
}

impl Layout {
    /// The layout of `matrix`.
    pub(crate) fn of<X>(matrix: &ArrayView2<'_, X>) -> Self {
        let (n_rows, n_columns) = matrix.dim();
        Self { n_rows, n_columns, columns_apart: matrix.strides()[0] < matrix.strides()[1] }
    }

    /// The same with `times` as many columns.
    pub(crate) fn repeat(self, times: usize) -> Self {
        Self { n_columns: times * self.n_columns, ..self }
    }

    /// Room for a matrix.
    pub(crate) fn take<T: Real>(self, buffer: &mut Vec<T>) -> ArrayViewMut2<'_, T> {
        self.view_mut(take_slice(buffer, self.n_rows * self.n_columns))
    }

    /// The matrix that stands in `room`, which has its length.
    pub(crate) fn view_mut<T: Real>(self, room: &mut [T]) -> ArrayViewMut2<'_, T> {
        ArrayViewMut2::from_shape(self.shape(), room).expect("the room has the matrix's length")
    }

    /// The matrix that [`Layout::take`] made room for.
    pub(crate) fn view<T: Real>(self, buffer: &[T]) -> ArrayView2<'_, T> {
        let room = &buffer[..self.n_rows * self.n_columns];
        ArrayView2::from_shape(self.shape(), room).expect("the slice has the matrix's length")
    }

    fn shape(self) -> StrideShape<Ix2> {
        (self.n_rows, self.n_columns).set_f(self.columns_apart).into()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView2, array};

    use super::Layout;

    #[test]
    fn room_is_laid_out_as_its_model() {
        let model = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        for view in [model.view(), model.t()] {
            let layout = Layout::of(&view);
            let mut buffer: Vec<f32> = Vec::new();
            layout.take(&mut buffer).assign(&view);
            assert_eq!(buffer, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            assert_eq!(layout.view(&buffer), view);
            assert_eq!(layout.repeat(2).take(&mut buffer).ncols(), 2 * view.ncols());
        }
        assert_eq!(Layout::of(&ArrayView2::<f32>::from_shape((0, 3), &[]).unwrap()).n_columns, 3);
    }
}
