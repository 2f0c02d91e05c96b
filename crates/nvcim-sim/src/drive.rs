//! Word line drivers: input values become drives, and signed ones become passes.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, Zip, s};
use nvcim_chip::describe::{Dac, NegativeInputs};
use nvcim_chip::effects::dac::{drive_code, drive_steps};
use nvcim_chip::effects::{Effect, EffectSet};
use nvcim_chip::real::Real;

/// Which part of its inputs a pass drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything, with drivers of either polarity.
    Whole,
    /// `max(x, 0)`.
    Positive,
    /// `max(-x, 0)`; its result is subtracted.
    Negative,
}

/// The passes of a layer. Inputs that are never negative need one with drivers of one polarity, which
/// stay at rest should a value be negative after all.
pub fn choose_passes(signed: bool, negative: NegativeInputs) -> &'static [Part] {
    match (signed, negative) {
        (false, _) => &[Part::Positive],
        (true, NegativeInputs::TwoPass) => &[Part::Positive, Part::Negative],
        (true, NegativeInputs::SignMagnitude) => &[Part::Whole],
    }
}

/// The drivers of a die.
///
/// Drives are whole numbers of DAC steps, which products keep exact for longer. Without the effect
/// `dac` they are full scales, neither rounded nor clipped.
#[derive(Debug, Clone, Copy)]
pub struct Driver<T = f32> {
    steps: Option<T>,
}

impl<T: Real> Driver<T> {
    /// The drivers of `dac` under the effects of a run.
    pub fn new(dac: &Dac, effects: EffectSet) -> Self {
        Self { steps: effects.has(Effect::Dac).then(|| drive_steps(dac.bits)) }
    }

    /// Writes the drives of one pass to `out`, shaped as `x`. `per_input` is full scales per input unit.
    ///
    /// Inputs are brought to `T` first; `x per_input` is rounded once, then clipped, times the steps,
    /// rounded once more, and brought to a whole number.
    pub fn fill<X: Real>(
        &self,
        part: Part,
        per_input: T,
        x: ArrayView2<'_, X>,
        out: ArrayViewMut2<'_, T>,
    ) {
        match part {
            Part::Whole => self.fill_with(x, out, |x| x * per_input),
            Part::Positive => self.fill_with(x, out, |x| (x * per_input).max(T::ZERO)),
            Part::Negative => self.fill_with(x, out, |x| (x * -per_input).max(T::ZERO)),
        }
    }

    fn fill_with<X: Real>(
        &self,
        x: ArrayView2<'_, X>,
        out: ArrayViewMut2<'_, T>,
        part: impl Fn(T) -> T,
    ) {
        let zip = Zip::from(out).and(x);
        match self.steps {
            Some(steps) => {
                zip.for_each(|out, &x| *out = drive_code(part(T::from_real(x)), steps));
            }
            None => zip.for_each(|out, &x| *out = part(T::from_real(x))),
        }
    }
}

/// The drives of every pass over a layer's rows, in room that is kept from layer to layer.
#[derive(Debug, Default)]
pub struct Drives<T = f32> {
    passes: [Vec<T>; 2],
    n_passes: usize,
    /// Rows and columns.
    dim: (usize, usize),
    /// Whether the columns lie apart in memory, and rows side by side.
    columns_apart: bool,
    /// Full scales per drive unit.
    unit: T,
}

impl<T: Real> Drives<T> {
    /// Drives `x`, `[rows, columns]`, in `passes`; `per_input` is full scales per input unit.
    pub fn fill<X: Real>(
        &mut self,
        driver: &Driver<T>,
        passes: &[Part],
        per_input: T,
        x: ArrayView2<'_, X>,
    ) {
        self.n_passes = passes.len();
        self.dim = x.dim();
        self.columns_apart = is_transposed(&x);
        self.unit = driver.steps.map_or(T::ONE, |steps| T::ONE / steps);
        for (&part, buffer) in passes.iter().zip(&mut self.passes) {
            driver.fill(part, per_input, x, take_like(buffer, &x));
        }
    }

    /// One or two.
    pub fn n_passes(&self) -> usize {
        self.n_passes
    }

    /// The drives of a pass, `[rows, columns]`, in drive units.
    pub fn pass(&self, pass: usize) -> ArrayView2<'_, T> {
        let (rows, columns) = self.dim;
        let shape = self.dim.set_f(self.columns_apart);
        ArrayView2::from_shape(shape, &self.passes[pass][..rows * columns])
            .expect("the buffer was filled for this shape")
    }

    /// Writes each column's sum of drives over `rows`, in full scales, to `sums`; a second pass counts
    /// negatively.
    ///
    /// Drives that are whole steps sum without rounding; the sum is rounded once, into full scales.
    pub fn sum_rows(&self, rows: Range<usize>, sums: &mut [T]) {
        sums.fill(T::ZERO);
        for (pass, sign) in (0..self.n_passes).zip([T::ONE, -T::ONE]) {
            for row in self.pass(pass).slice(s![rows.clone(), ..]).outer_iter() {
                sums.iter_mut().zip(row).for_each(|(sum, &drive)| *sum += sign * drive);
            }
        }
        sums.iter_mut().for_each(|sum| *sum = *sum * self.unit);
    }
}

/// What a drive of 1 stands for, in full scales, on drivers of `dac` under the effects of a run.
pub(crate) fn drive_unit(dac: &Dac, effects: EffectSet) -> f64 {
    if effects.has(Effect::Dac) { 1.0 / drive_steps::<f64>(dac.bits) } else { 1.0 }
}

/// The first `len` places of a buffer that only ever grows; what stands there is left over.
pub(crate) fn take_slice<T: Real>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..len]
}

/// Room for a matrix of the shape and memory order of `model`.
pub(crate) fn take_like<'a, T: Real, U>(
    buffer: &'a mut Vec<T>,
    model: &ArrayView2<'_, U>,
) -> ArrayViewMut2<'a, T> {
    let shape = model.raw_dim().set_f(is_transposed(model));
    ArrayViewMut2::from_shape(shape, take_slice(buffer, model.len()))
        .expect("the slice has the model's length")
}

/// Whether the rows of a matrix lie side by side in memory, and its columns apart.
fn is_transposed<U>(matrix: &ArrayView2<'_, U>) -> bool {
    matrix.strides()[0] < matrix.strides()[1]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, array};
    use nvcim_chip::describe::NegativeInputs;
    use nvcim_chip::effects::{Effect, EffectSet};

    use super::{Driver, Part, choose_passes, take_like};
    use crate::testing::plain_chip;

    fn drives(effects: EffectSet, part: Part, x: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut chip = plain_chip();
        chip.dac.bits = 2;
        let mut buffer = Vec::new();
        let mut out = take_like(&mut buffer, &x);
        Driver::new(&chip.dac, effects).fill(part, 0.5, x, out.view_mut());
        out.to_owned()
    }

    #[test]
    fn inputs_become_whole_steps_within_full_scale() {
        let x = array![[-5.0, -0.7, 0.0], [0.7, 1.9, 5.0]];
        let all = EffectSet::ALL;
        let whole = array![[-3.0, -1.0, 0.0], [1.0, 3.0, 3.0]];
        assert_eq!(drives(all, Part::Whole, x.view()), whole);
        assert_eq!(drives(all, Part::Positive, x.view()), whole.mapv(|x: f32| x.max(0.0)));
        assert_eq!(drives(all, Part::Negative, x.view()), whole.mapv(|x: f32| (-x).max(0.0)));
        assert_eq!(drives(all, Part::Whole, x.t()), whole.t());
    }

    #[test]
    fn without_the_effect_drives_are_neither_rounded_nor_clipped() {
        let none = EffectSet::ALL.without(Effect::Dac);
        let x = array![[-5.0, 0.25]];
        assert_eq!(drives(none, Part::Whole, x.view()), array![[-2.5, 0.125]]);
        assert_eq!(drives(none, Part::Positive, x.view()), array![[0.0, 0.125]]);
    }

    #[test]
    fn only_signed_inputs_take_two_passes() {
        let passes = |signed, negative| choose_passes(signed, negative).len();
        assert_eq!(passes(false, NegativeInputs::TwoPass), 1);
        assert_eq!(passes(true, NegativeInputs::TwoPass), 2);
        assert_eq!(passes(true, NegativeInputs::SignMagnitude), 1);
    }
}
