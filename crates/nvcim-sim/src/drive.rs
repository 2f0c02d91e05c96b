//! Word line drivers: input values become drives, signed ones become passes, and bits become slices.
//!
//! Arithmetic, all of it in the kernel's type `T`, each operation rounded once. An input `x` is brought to
//! `T` and becomes `code = rint(clip(x p, -1, 1) s)` with `p` full scales per input unit and
//! `s = 2^bits - 1` steps; a pass of one polarity takes `max(x p, 0)` or `max(x (-p), 0)`. Codes are whole
//! numbers, which products keep exact for longer than shares of full scale. Without the effect `dac` the
//! drive is `x p` as it stands.
//!
//! A tile may shift its drives by `d` steps, to round elsewhere than its copies do: `|code| =
//! clip(rint(clip(|x p|, 0, 1) s + d), 0, s)`, with the sign of `x`.
//!
//! Where a design's steps are uneven, word lines see `code + [inl]` for positive codes, `code - [inl]` for
//! negative ones and 0 at rest, with inl that of `|code|`, rounded to `T`. Codes themselves stay what they
//! are: sums of drives are digital.
//!
//! Bit-serial drives are the digits of `|code|` to the base `2^n`, lowest first, with the sign of `code`:
//! whole numbers again. Slices stand side by side as columns of one matrix as long as it stays narrow, so
//! that one product serves several.
//!
//! Pulse-width jitter adds `[sd] z` to the drive of every code other than 0, with one draw per row and column. Tiles that
//! take the same rows share their drivers, and with them the draw.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, Zip, s};
use nvcim_chip::describe::{Accumulate, NegativeInputs};
use nvcim_chip::effects::dac::{drive_code, drive_steps, shifted_drive_code};
use nvcim_chip::effects::driver_errors::uneven_steps;
use nvcim_chip::effects::read::Correlation;
use nvcim_chip::random::Stream;
use nvcim_chip::real::Real;
use nvcim_ops::run_program::Columns;

use crate::noise::Block;
use crate::periphery::{Periphery, Slicing};
use crate::room::{Layout, take_slice};

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

/// Whether one draw of read noise holds for several of a sample's `n_columns` products in a pass.
///
/// Passes of opposite polarity drive different rows, whose noise is independent. So a sample of a single
/// product meets every draw once, and noise that holds for a sample is as good as new for each product.
pub(crate) fn holds_for_columns(correlation: Correlation, n_columns: usize) -> bool {
    correlation == Correlation::Image && n_columns > 1
}

/// From input units to steps of the drivers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coding<T> {
    /// Full scales per input unit.
    pub per_input: T,
    /// Steps that are added to the size of every input, within half of one.
    pub shift: T,
}

impl<T: Real> Coding<T> {
    /// Inputs rounded to the nearest step.
    pub fn plain(per_input: T) -> Self {
        Self { per_input, shift: T::ZERO }
    }
}

/// The drivers of a die.
#[derive(Debug, Clone)]
pub struct Driver<T = f32> {
    steps: Option<T>,
    way: Way<T>,
    /// How long read noise holds, where there is any.
    read: Option<Correlation>,
}

/// How codes reach word lines.
#[derive(Debug, Clone)]
enum Way<T> {
    /// As they are.
    Whole,
    /// Off their places by a shift per code, none where there are no shifts, and with jitter of pulses.
    Uneven(Arc<[T]>, Option<(T, Stream)>),
    /// Slice by slice, each of them converted.
    Digital(Slicing),
    /// Slice by slice, added before the conversion: only noise can tell this from whole codes.
    Analog(Slicing),
}

impl<T: Real> Driver<T> {
    /// The drivers of `periphery`.
    pub fn new(periphery: &Periphery) -> Self {
        let way = match (periphery.slicing, periphery.jitter) {
            (Some(slicing), _) if slicing.accumulate == Accumulate::Digital => {
                Way::Digital(slicing)
            }
            (Some(slicing), _) => Way::Analog(slicing),
            (None, None) if periphery.inl_steps.is_empty() => Way::Whole,
            (None, jitter) => Way::Uneven(
                periphery.inl_steps.iter().map(|&shift| T::from_f64(shift)).collect(),
                jitter.map(|(sd, stream)| (T::from_f64(sd), stream)),
            ),
        };
        Self {
            steps: periphery.dac_bits.map(drive_steps),
            way,
            read: periphery.read.map(|it| it.0),
        }
    }

    /// Slices that are converted one by one.
    fn n_slices(&self) -> usize {
        match self.way {
            Way::Digital(slicing) => slicing.n_slices as usize,
            Way::Whole | Way::Uneven(..) | Way::Analog(_) => 1,
        }
    }

    /// Whether noise will ask for the squares of drives.
    fn needs_squares(&self, columns: Columns) -> bool {
        let n_slices = match self.way {
            Way::Digital(slicing) | Way::Analog(slicing) => slicing.n_slices as usize,
            Way::Whole | Way::Uneven(..) => 1,
        };
        let n_products = n_slices * columns.per_sample * columns.layer_use.of as usize;
        let holds = |correlation| holds_for_columns(correlation, n_products);
        self.read.is_some_and(|correlation| !holds(correlation))
    }

    /// Writes the codes of one pass to `out`, shaped as `x`.
    fn code<X: Real>(
        &self,
        part: Part,
        Coding { per_input, shift }: Coding<T>,
        x: ArrayView2<'_, X>,
        out: ArrayViewMut2<'_, T>,
    ) {
        match part {
            Part::Whole => self.code_with(shift, x, out, |x| x * per_input),
            Part::Positive => self.code_with(shift, x, out, |x| (x * per_input).max(T::ZERO)),
            Part::Negative => self.code_with(shift, x, out, |x| (x * -per_input).max(T::ZERO)),
        }
    }

    fn code_with<X: Real>(
        &self,
        shift: T,
        x: ArrayView2<'_, X>,
        out: ArrayViewMut2<'_, T>,
        part: impl Fn(T) -> T,
    ) {
        let zip = Zip::from(out).and(x);
        match self.steps {
            Some(steps) if shift == T::ZERO => {
                zip.for_each(|out, &x| *out = drive_code(part(T::from_real(x)), steps));
            }
            Some(steps) => zip.for_each(|out, &x| {
                *out = shifted_drive_code(part(T::from_real(x)), steps, shift);
            }),
            None => zip.for_each(|out, &x| *out = part(T::from_real(x))),
        }
    }
}

/// The drives of every pass over a layer's rows, in room that is kept from layer to layer.
#[derive(Debug, Default)]
pub struct Drives<T = f32> {
    passes: [PassRoom<T>; 2],
    n_passes: usize,
    layout: Layout,
    n_slices: usize,
    /// Full scales per code.
    unit: T,
}

/// Room for one pass.
#[derive(Debug, Default)]
struct PassRoom<T> {
    codes: Vec<T>,
    /// Slices or pulses.
    driven: Vec<T>,
    /// Whether word lines see these, rather than the codes.
    drives_apart: bool,
    squares: Vec<T>,
    has_squares: bool,
    /// What is left of codes while digits are taken.
    rest: Vec<T>,
    draws: Vec<f32>,
    scratch: Vec<f32>,
}

/// The drives of one pass over some rows.
#[derive(Debug, Clone)]
pub struct Drive<'a, T = f32> {
    driven: &'a [T],
    squares: Option<&'a [T]>,
    /// Of one slice, over all rows.
    layout: Layout,
    rows: Range<usize>,
    n_slices: usize,
}

/// Slices that stand side by side in one matrix.
#[derive(Debug)]
pub(crate) struct SliceGroup<'a, T> {
    /// The first slice.
    pub(crate) first: usize,
    /// What word lines see, `[rows, slices x columns]`, in drive units.
    pub(crate) driven: ArrayView2<'a, T>,
    /// Squares of what is added before a conversion, in squared drive units, shaped as `driven`; none
    /// where nothing asks for them.
    pub(crate) squares: Option<ArrayView2<'a, T>>,
}

impl<'a, T: Real> Drive<'a, T> {
    /// The slices, in order, in groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = SliceGroup<'a, T>> {
        let Self { driven, squares, layout, rows, n_slices } = self.clone();
        groups(layout, n_slices).map(move |(first, range, layout)| {
            let view = |buffer: &'a [T]| {
                layout.view(&buffer[range.clone()]).slice_move(s![rows.clone(), ..])
            };
            SliceGroup { first, driven: view(driven), squares: squares.map(view) }
        })
    }
}

/// Columns up to which slices are put side by side: a product much wider gains nothing, and what it needs
/// no longer fits the cache.
const WIDE: usize = 256;

/// Groups of slices: the first slice, the place in a buffer, and the layout.
fn groups(layout: Layout, n_slices: usize) -> impl Iterator<Item = (usize, Range<usize>, Layout)> {
    let at_once = (WIDE / layout.n_columns.max(1)).max(1);
    let slice_len = layout.n_rows * layout.n_columns;
    (0..n_slices).step_by(at_once).map(move |first| {
        let end = n_slices.min(first + at_once);
        (first, first * slice_len..end * slice_len, layout.repeat(end - first))
    })
}

impl<T: Real> Drives<T> {
    /// Drives `x`, `[rows, columns]`, in `passes`. `block`
    /// names the draws of the first pass, the next unit those of the second.
    pub fn fill<X: Real>(
        &mut self,
        driver: &Driver<T>,
        passes: &[Part],
        coding: Coding<T>,
        x: ArrayView2<'_, X>,
        block: Block,
    ) {
        self.n_passes = passes.len();
        self.layout = Layout::of(&x);
        self.n_slices = driver.n_slices();
        self.unit = driver.steps.map_or(T::ONE, |steps| T::ONE / steps);
        for ((pass, &part), room) in (0..).zip(passes).zip(&mut self.passes) {
            driver.code(part, coding, x, self.layout.take(&mut room.codes));
            let block = Block { unit: block.unit + pass, ..block };
            room.drive(driver, self.layout, block);
            room.has_squares = driver.needs_squares(block.columns);
            if room.has_squares {
                room.square(driver, self.layout);
            }
        }
    }

    /// One or two.
    pub fn n_passes(&self) -> usize {
        self.n_passes
    }

    /// The drives of a pass over `rows`.
    pub fn pass(&self, pass: usize, rows: Range<usize>) -> Drive<'_, T> {
        let room = &self.passes[pass];
        Drive {
            driven: if room.drives_apart { &room.driven } else { &room.codes },
            squares: room.has_squares.then_some(&room.squares),
            layout: self.layout,
            rows,
            n_slices: self.n_slices,
        }
    }

    /// Writes each column's sum of drives over `rows`, in full scales, to `sums`; a second pass counts
    /// negatively.
    ///
    /// These are the digital values: neither slices nor jitter play a part. Codes sum without rounding,
    /// and the sum is rounded once, into full scales.
    pub fn sum_rows(&self, rows: Range<usize>, sums: &mut [T]) {
        sums.fill(T::ZERO);
        for (pass, sign) in self.passes[..self.n_passes].iter().zip([T::ONE, -T::ONE]) {
            let codes = self.layout.view(&pass.codes);
            for row in codes.slice(s![rows.clone(), ..]).outer_iter() {
                sums.iter_mut().zip(row).for_each(|(sum, &code)| *sum += sign * code);
            }
        }
        sums.iter_mut().for_each(|sum| *sum = *sum * self.unit);
    }
}

impl<T: Real> PassRoom<T> {
    /// Makes of codes what word lines see, where that is something else.
    fn drive(&mut self, driver: &Driver<T>, layout: Layout, block: Block) {
        self.drives_apart = matches!(driver.way, Way::Uneven(..) | Way::Digital(_));
        let codes = layout.view(&self.codes);
        match &driver.way {
            Way::Whole => {}
            Way::Uneven(shifts, jitter) => {
                let mut drives = layout.take(&mut self.driven);
                Zip::from(&mut drives)
                    .and(codes)
                    .for_each(|drive, &code| *drive = uneven_steps(shifts, code));
                let &Some((sd, ref stream)) = jitter else { return };
                let (rows, columns) = codes.dim();
                let z = take_slice(&mut self.draws, codes.len());
                if !z.is_empty() {
                    block.fill(stream, 0, columns, rows, z, &mut self.scratch);
                }
                let z = ArrayView2::from_shape((rows, columns), &*z).expect("one draw per code");
                Zip::from(drives).and(codes).and(z).for_each(|drive, &code, &z| {
                    *drive += if code == T::ZERO { T::ZERO } else { sd * T::from_real(z) };
                });
            }
            Way::Analog(_) => {}
            &Way::Digital(slicing) => {
                let rest = codes_to_rest(codes, layout, &mut self.rest);
                split(rest, slicing, layout, &mut self.driven);
            }
        }
    }

    /// Squares what is added before a conversion.
    fn square(&mut self, driver: &Driver<T>, layout: Layout) {
        if let Way::Analog(slicing) = driver.way {
            let rest = codes_to_rest(layout.view(&self.codes), layout, &mut self.rest);
            return sum_squares(rest, slicing, layout.take(&mut self.squares));
        }
        let driven = if self.drives_apart { &self.driven } else { &self.codes };
        let len = driver.n_slices() * layout.n_rows * layout.n_columns;
        let squares = take_slice(&mut self.squares, len);
        squares.iter_mut().zip(driven).for_each(|(square, &x)| *square = x * x);
    }
}

/// A copy of codes to take digits from.
fn codes_to_rest<'a, T: Real>(
    codes: ArrayView2<'_, T>,
    layout: Layout,
    rest: &'a mut Vec<T>,
) -> ArrayViewMut2<'a, T> {
    let mut rest = layout.take(rest);
    rest.assign(&codes);
    rest
}

/// Takes digits off codes, the lowest first.
struct Digits<T> {
    base: T,
    per_base: T,
    /// Brings the fractions 0, 1 / base, ... to -1/2 + 1 / (2 base), ...: all of them round to 0.
    to_middle: T,
}

impl<T: Real> Digits<T> {
    fn new(slicing: Slicing) -> Self {
        let base = T::from_f64(f64::from(1u32 << slicing.bits_per_slice));
        let per_base = T::ONE / base;
        Self { base, per_base, to_middle: T::from_f64(0.5) * (per_base - T::ONE) }
    }

    /// The digit, with the code's sign; `rest` becomes what is left, over the base.
    #[inline]
    fn take(&self, rest: &mut T) -> T {
        let size = (rest.abs() * self.per_base + self.to_middle).round_half_even();
        let whole = size.copysign(*rest);
        let digit = *rest - whole * self.base;
        *rest = whole;
        digit
    }
}

/// Writes the digits of codes to the groups of their slices.
fn split<T: Real>(
    mut rest: ArrayViewMut2<'_, T>,
    slicing: Slicing,
    layout: Layout,
    driven: &mut Vec<T>,
) {
    let digits = Digits::new(slicing);
    let n_slices = slicing.n_slices as usize;
    let driven = take_slice(driven, n_slices * layout.n_rows * layout.n_columns);
    for (_, range, group) in groups(layout, n_slices) {
        let mut group = group.view_mut(&mut driven[range]);
        for slice in group.axis_chunks_iter_mut(Axis(1), layout.n_columns.max(1)) {
            Zip::from(slice).and(&mut rest).for_each(|digit, rest| *digit = digits.take(rest));
        }
    }
}

/// Sums the squares of the digits of codes, each in the weight that it has in the code.
fn sum_squares<T: Real>(
    mut rest: ArrayViewMut2<'_, T>,
    slicing: Slicing,
    mut out: ArrayViewMut2<'_, T>,
) {
    let digits = Digits::new(slicing);
    let mut weight = T::ONE;
    out.fill(T::ZERO);
    for _ in 0..slicing.n_slices {
        Zip::from(&mut out).and(&mut rest).for_each(|out, rest| {
            let digit = digits.take(rest);
            *out += weight * (digit * digit);
        });
        weight = weight * digits.base * digits.base;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, Axis, ShapeBuilder, array, concatenate, s};
    use nvcim_chip::describe::{Accumulate, BitSerial, Chip, InputDrive, NegativeInputs};
    use nvcim_chip::effects::read::ReadNoise;
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_ops::run_program::{Columns, Nth};

    use super::{Coding, Driver, Drives, Part, choose_passes};
    use crate::noise::{Block, Purpose};
    use crate::periphery::Periphery;
    use crate::testing::{fresh, plain_chip};

    fn two_bit_chip() -> Chip {
        let mut chip = plain_chip();
        chip.dac.bits = 2;
        chip
    }

    fn drive(chip: &Chip, effects: EffectSet, parts: &[Part], x: ArrayView2<'_, f32>) -> Drives {
        drive_as(chip, effects, parts, Coding::plain(0.5), x)
    }

    fn drive_as(
        chip: &Chip,
        effects: EffectSet,
        parts: &[Part],
        coding: Coding<f32>,
        x: ArrayView2<'_, f32>,
    ) -> Drives {
        let periphery = Periphery::new(chip, 0, &fresh(effects));
        let columns = Columns { first_sample: 0, per_sample: 1, layer_use: Nth::ONLY };
        let block = Block { purpose: Purpose::Mvm, unit: 0, cells: 0, columns };
        let mut drives = Drives::default();
        drives.fill(&Driver::new(&periphery), parts, coding, x, block);
        drives
    }

    fn driven(chip: &Chip, effects: EffectSet, part: Part, x: ArrayView2<'_, f32>) -> Array2<f32> {
        let drives = drive(chip, effects, &[part], x);
        let pass = drives.pass(0, 0..x.nrows());
        let groups: Vec<_> = pass.groups().map(|group| group.driven).collect();
        concatenate(Axis(1), &groups).unwrap()
    }

    #[test]
    fn inputs_become_whole_steps_within_full_scale() {
        let x = array![[-5.0, -0.7, 0.0], [0.7, 1.9, 5.0]];
        let drives = |part, x| driven(&two_bit_chip(), EffectSet::ALL, part, x);
        let whole = array![[-3.0, -1.0, 0.0], [1.0, 3.0, 3.0]];
        assert_eq!(drives(Part::Whole, x.view()), whole);
        assert_eq!(drives(Part::Positive, x.view()), whole.mapv(|x: f32| x.max(0.0)));
        assert_eq!(drives(Part::Negative, x.view()), whole.mapv(|x: f32| (-x).max(0.0)));
        assert_eq!(drives(Part::Whole, x.t()), whole.t());
    }

    #[test]
    fn a_shift_moves_where_sizes_are_rounded_in_every_pass() {
        let x = array![[-5.0, -0.7, 0.0], [0.3, 1.9, 5.0]];
        let drives = |part, effects| {
            let coding = Coding { per_input: 0.5, shift: 0.4 };
            let drives = drive_as(&two_bit_chip(), effects, &[part], coding, x.view());
            drives.pass(0, 0..2).groups().next().unwrap().driven.to_owned()
        };
        // Sizes 3, 1.05, 0; 0.45, 2.85, 3 in steps.
        let whole = array![[-3.0, -1.0, 0.0], [1.0, 3.0, 3.0]];
        assert_eq!(drives(Part::Whole, EffectSet::ALL), whole);
        assert_eq!(drives(Part::Positive, EffectSet::ALL), whole.mapv(|x: f32| x.max(0.0)));
        assert_eq!(drives(Part::Negative, EffectSet::ALL), whole.mapv(|x: f32| (-x).max(0.0)));
        // What is not rounded is not shifted.
        assert_eq!(drives(Part::Whole, EffectSet::NONE), x.mapv(|x: f32| 0.5 * x));
    }

    #[test]
    fn without_the_effect_drives_are_neither_rounded_nor_clipped_nor_sliced() {
        let mut chip = two_bit_chip();
        chip.dac.coding = bit_serial(1, Accumulate::Digital);
        let none = EffectSet::ALL.without(Effect::Dac);
        let x = array![[-5.0, 0.25]];
        assert_eq!(driven(&chip, none, Part::Whole, x.view()), array![[-2.5, 0.125]]);
        assert_eq!(driven(&chip, none, Part::Positive, x.view()), array![[0.0, 0.125]]);
    }

    #[test]
    fn only_signed_inputs_take_two_passes() {
        let passes = |signed, negative| choose_passes(signed, negative).len();
        assert_eq!(passes(false, NegativeInputs::TwoPass), 1);
        assert_eq!(passes(true, NegativeInputs::TwoPass), 2);
        assert_eq!(passes(true, NegativeInputs::SignMagnitude), 1);
    }

    fn bit_serial(bits_per_slice: u32, accumulate: Accumulate) -> InputDrive {
        InputDrive::BitSerial(BitSerial { bits_per_slice, accumulate })
    }

    /// Inputs for all codes of a chip of `bits` bits, positive and negative, upwards and downwards.
    fn all_codes(bits: u32) -> Array2<f32> {
        let steps = (1 << bits) - 1;
        let codes: Vec<_> = (-steps..=steps).map(|code| code as f32 / steps as f32 * 2.0).collect();
        let n = codes.len();
        Array2::from_shape_fn((2, n), |(row, at)| codes[if row == 0 { at } else { n - 1 - at }])
    }

    #[test]
    fn slices_are_the_digits_of_every_code() {
        for (bits, bits_per_slice) in [(8, 1), (8, 3), (5, 2), (16, 5), (6, 6)] {
            let mut chip = plain_chip();
            chip.dac.bits = bits;
            let x = all_codes(bits);
            let codes = driven(&chip, EffectSet::ALL, Part::Whole, x.view());
            chip.dac.coding = bit_serial(bits_per_slice, Accumulate::Digital);
            let slices = driven(&chip, EffectSet::ALL, Part::Whole, x.view());
            let mut turned = Array2::zeros(x.dim().f());
            turned.assign(&x);
            assert_eq!(driven(&chip, EffectSet::ALL, Part::Whole, turned.view()), slices);
            for ((row, at), &code) in codes.indexed_iter() {
                let mut rest = code.abs() as u32;
                for slice in 0..bits.div_ceil(bits_per_slice) as usize {
                    let digit = (rest % (1 << bits_per_slice)) as f32 * code.signum();
                    let got = slices[(row, slice * x.ncols() + at)];
                    assert_eq!(got, digit, "{bits} {code} {slice}");
                    rest >>= bits_per_slice;
                }
            }
        }
    }

    #[test]
    fn squares_are_of_what_is_added_before_a_conversion() {
        let mut chip = two_bit_chip();
        chip.effects.read = Some(ReadNoise::share(0.1));
        let x = array![[-2.0, 0.0, 0.7, 2.0], [2.0, 1.3, 0.0, -0.7]];
        let squares = |coding| {
            chip.dac.coding = coding;
            let drives = drive(&chip, EffectSet::ALL, &[Part::Whole], x.view());
            let group = drives.pass(0, 0..2).groups().next().unwrap();
            group.squares.unwrap().to_owned()
        };
        let [mut whole, analog, digital] = [
            InputDrive::Amplitude,
            bit_serial(1, Accumulate::Analog),
            bit_serial(1, Accumulate::Digital),
        ]
        .map(squares);
        assert_eq!(whole, array![[9.0, 0.0, 1.0, 9.0], [9.0, 4.0, 0.0, 1.0]]);
        // 3 is driven as 1 and 2, whose noise adds in squares.
        whole.mapv_inplace(|square| if square == 9.0 { 5.0 } else { square });
        assert_eq!(analog, whole);
        let low = array![[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]];
        let high = array![[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]];
        assert_eq!(digital, concatenate![Axis(1), low, high]);
    }

    #[test]
    fn uneven_steps_are_what_word_lines_see_and_logic_does_not() {
        let mut chip = two_bit_chip();
        chip.effects.read = Some(ReadNoise::share(0.1));
        let x = array![[-2.0, -1.3, -0.7, 0.0], [0.7, 1.3, 2.0, 5.0]];
        let even = driven(&chip, EffectSet::ALL, Part::Whole, x.view());
        let undigitised = EffectSet::ALL.without(Effect::Dac);
        let exact = driven(&chip, undigitised, Part::Whole, x.view());
        chip.circuits.dac.inl_steps = vec![0.0, 0.25, -0.5, 0.125];
        let uneven = array![[-3.125, -1.5, -1.25, 0.0], [1.25, 1.5, 3.125, 3.125]];
        for coding in [InputDrive::Amplitude, InputDrive::PulseWidth] {
            chip.dac.coding = coding;
            assert_eq!(driven(&chip, EffectSet::ALL, Part::Whole, x.view()), uneven);
            let drives = drive(&chip, EffectSet::ALL, &[Part::Whole], x.view());
            let group = drives.pass(0, 0..2).groups().next().unwrap();
            assert_eq!(group.squares.unwrap(), uneven.mapv(|x: f32| x * x));
            let mut sums = [9.0; 4];
            drives.sum_rows(0..2, &mut sums);
            assert_eq!(sums, [-2.0 / 3.0, 0.0, 2.0 / 3.0, 1.0]);
        }
        // Both passes of a signed input take the steps of their sizes.
        let negative = driven(&chip, EffectSet::ALL, Part::Negative, x.view());
        assert_eq!(negative, uneven.mapv(|x: f32| (-x).max(0.0)));
        assert_eq!(driven(&chip, undigitised, Part::Whole, x.view()), exact);
        chip.circuits.dac.inl_steps = vec![0.0; 4];
        assert_eq!(driven(&chip, EffectSet::ALL, Part::Whole, x.view()), even);
        // Jitter comes on top, with the draws that even steps have.
        chip.dac.jitter_sd_steps = 0.2;
        let jitter = driven(&chip, EffectSet::ALL, Part::Whole, x.view()) - even;
        chip.circuits.dac.inl_steps = vec![0.0, 0.25, -0.5, 0.125];
        let both = driven(&chip, EffectSet::ALL, Part::Whole, x.view()) - uneven;
        assert!(both.iter().zip(&jitter).all(|(a, b)| (a - b).abs() < 1e-6), "{both} {jitter}");
        assert!(jitter[(1, 3)] != 0.0 && jitter[(0, 3)] == 0.0);
    }

    #[test]
    fn sums_are_of_digital_values_whatever_word_lines_see() {
        let x = array![[-2.0, 0.7], [2.0, 2.0], [0.0, -0.7]];
        let mut chip = two_bit_chip();
        for coding in [InputDrive::PulseWidth, bit_serial(1, Accumulate::Digital)] {
            chip.dac.coding = coding;
            chip.dac.jitter_sd_steps = 0.5;
            for parts in [&[Part::Whole][..], &[Part::Positive, Part::Negative]] {
                let drives = drive(&chip, EffectSet::ALL, parts, x.view());
                let mut sums = [9.0; 2];
                drives.sum_rows(1..3, &mut sums);
                assert_eq!(sums, [1.0, 2.0 / 3.0]);
            }
        }
    }

    #[test]
    fn pulses_jitter_by_their_spread_and_only_where_there_are_any() {
        let mut chip = two_bit_chip();
        chip.dac.coding = InputDrive::PulseWidth;
        chip.dac.jitter_sd_steps = 0.2;
        let n = 40_000;
        let x = Array2::from_shape_fn((2, n), |(row, _)| if row == 0 { 2.0f32 } else { 0.0 });
        let pulses = driven(&chip, EffectSet::ALL, Part::Whole, x.view());
        assert!(pulses.row(1).iter().all(|pulse| *pulse == 0.0));
        let errors = pulses.slice(s![0, ..]).mapv(|pulse| f64::from(pulse) - 3.0);
        let variance = errors.mapv(|error| error * error).sum() / n as f64;
        // Four standard errors: 0.004 for the mean, 2.8 % for the variance.
        assert!((errors.sum() / n as f64).abs() < 0.004);
        assert!((variance / 0.04 - 1.0).abs() < 0.028, "{variance}");
    }
}
