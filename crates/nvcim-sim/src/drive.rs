//! Word line drivers: input values become drives, and signed ones become passes.

use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, Zip};
use nvcim_chip::describe::{Dac, NegativeInputs};
use nvcim_chip::effects::dac::{drive_code, drive_steps};
use nvcim_chip::effects::{Effect, EffectSet};

/// Which part of its inputs a pass drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything, with drivers of either polarity.
    Whole,
    /// `max(x, 0)`.
    Positive,
    /// `max(-x, 0)`; its result is subtracted.
    Negative,
}

/// The passes of a layer. Inputs that are never negative need one with drivers of one polarity, which
/// stay at rest should a value be negative after all.
pub(crate) fn choose_passes(signed: bool, negative: NegativeInputs) -> &'static [Part] {
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
pub(crate) struct Driver {
    steps: Option<f32>,
}

impl Driver {
    pub(crate) fn new(dac: &Dac, effects: EffectSet) -> Self {
        Self { steps: effects.has(Effect::Dac).then(|| drive_steps(dac.bits)) }
    }

    /// What a drive of 1 stands for, in full scales.
    pub(crate) fn unit(&self) -> f64 {
        self.steps.map_or(1.0, |steps| 1.0 / f64::from(steps))
    }

    /// Writes the drives of one pass to `out`, shaped as `x`. `per_input` is full scales per input unit.
    pub(crate) fn fill(
        &self,
        part: Part,
        per_input: f32,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) {
        match part {
            Part::Whole => self.fill_with(x, out, |x| x * per_input),
            Part::Positive => self.fill_with(x, out, |x| (x * per_input).max(0.0)),
            Part::Negative => self.fill_with(x, out, |x| (x * -per_input).max(0.0)),
        }
    }

    fn fill_with(
        &self,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
        part: impl Fn(f32) -> f32,
    ) {
        let zip = Zip::from(out).and(x);
        match self.steps {
            Some(steps) => zip.for_each(|out, &x| *out = drive_code(part(x), steps)),
            None => zip.for_each(|out, &x| *out = part(x)),
        }
    }
}

/// The first `len` places of a buffer that only ever grows; what stands there is left over.
pub(crate) fn take_slice(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// Room for a matrix of the shape and memory order of `model`.
pub(crate) fn take_like<'a>(
    buffer: &'a mut Vec<f32>,
    model: &ArrayView2<'_, f32>,
) -> ArrayViewMut2<'a, f32> {
    let columns_apart = model.strides()[0] < model.strides()[1];
    let shape = model.raw_dim().set_f(columns_apart);
    ArrayViewMut2::from_shape(shape, take_slice(buffer, model.len()))
        .expect("the slice has the model's length")
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
