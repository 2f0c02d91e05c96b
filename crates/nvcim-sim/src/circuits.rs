//! Draws the hidden part of a die's circuits: drivers, converter levels, how gains age.
//!
//! As with programming errors, everything is keyed by the die's seed, the effect and the place, never by
//! the run; a die file has none of it. `crate::sample` draws the measurable part.

use std::collections::BTreeMap;
use std::sync::Arc;

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::Effect;
use nvcim_chip::effects::adc_linearity::CodeTable;
use nvcim_chip::effects::driver_errors::DriverErrors;
use nvcim_chip::random::Stream;
use nvcim_ir::ids::{ArrayId, Id};

use crate::noise::{Purpose, place};

/// The word line drivers of an array, for the effect `dac`; `None` where all are alike.
pub fn draw_drivers(chip: &Chip, die_seed: u64, array: ArrayId) -> Option<DriverErrors> {
    let circuit = &chip.circuits.dac;
    let draws = Draws::new(die_seed, Effect::Dac, array);
    let driver = |row| [draws.normal(row, 0), draws.normal(row, 1)];
    let rows = 0..chip.arrays.n_rows as u32;
    circuit.drivers_differ().then(|| circuit.driver_errors(rows.map(driver)))
}

/// The transition levels of a converter, for the effect `adc`; `None` where it rounds evenly.
///
/// Bit lines name their `converter` by [`nvcim_chip::circuits::AdcCircuit::converter_of`]. Unless
/// [`nvcim_chip::circuits::AdcCircuit::levels_differ`], all converters have the table of the first.
pub fn draw_levels(
    chip: &Chip,
    die_seed: u64,
    array: ArrayId,
    converter: u32,
) -> Option<CodeTable> {
    let draws = Draws::new(die_seed, Effect::Adc, array);
    let e: Vec<_> = (0..chip.adc.bits).map(|bit| draws.normal(converter, bit)).collect();
    chip.circuits.adc.code_table(&chip.adc, &e)
}

/// The levels of a die's converters, drawn when first asked for; bit lines of one converter share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels {
    tables: BTreeMap<(ArrayId, u32), Option<Arc<CodeTable>>>,
}

impl Levels {
    /// The levels of the converter of a bit line; `None` where it rounds evenly.
    pub(crate) fn of_line(
        &mut self,
        chip: &Chip,
        die_seed: u64,
        array: ArrayId,
        line: u32,
    ) -> Option<Arc<CodeTable>> {
        let circuit = &chip.circuits.adc;
        let (array, converter) = if circuit.levels_differ() {
            (array, circuit.converter_of(line))
        } else {
            (ArrayId::new(0), 0)
        };
        let draw = || draw_levels(chip, die_seed, array, converter).map(Arc::new);
        self.tables.entry((array, converter)).or_insert_with(draw).clone()
    }
}

/// What the measured gain of a converter has been multiplied by `at_s` seconds after the reference read,
/// for the effect `column_gain`.
pub fn draw_gain_age(chip: &Chip, die_seed: u64, array: ArrayId, converter: u32, at_s: f64) -> f64 {
    let draws = Draws::new(die_seed, Effect::ColumnGain, array);
    chip.effects.column_gain.map_or(1.0, |gain| gain.aged_by(draws.normal(converter, 0), at_s))
}

/// The draws of one effect on one array of a die.
struct Draws {
    stream: Stream,
    array: u32,
}

impl Draws {
    fn new(die_seed: u64, effect: Effect, array: ArrayId) -> Self {
        Self { stream: Stream::new(0, die_seed, effect), array: array.index() as u32 }
    }

    /// Draw `k` of a line or converter.
    fn normal(&self, at: u32, k: u32) -> f64 {
        let [a, b, c] = place(Purpose::Die, self.array, at.into());
        self.stream.normal([a, b, c, k])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array as matrix};
    use nvcim_chip::circuits::{AdcCircuit, AdcInl, AdcKind, DacCircuit};
    use nvcim_chip::describe::Chip;
    use nvcim_chip::die::{Conversion, Die};
    use nvcim_chip::effects::column_gain::ColumnGain;
    use nvcim_chip::effects::{Effect, EffectSet};
    use nvcim_ir::ids::{ArrayId, Id};
    use nvcim_ir::tiled::AdcRange;

    use super::{draw_drivers, draw_gain_age, draw_levels};
    use crate::conditions::Conditions;
    use crate::die::SimDie;
    use crate::sample::sample_die;
    use crate::testing::{KOLMOGOROV_BOUND, fresh, kolmogorov, plain_chip};

    /// Draws per test.
    const N: u32 = 4096;

    fn array(index: usize) -> ArrayId {
        ArrayId::new(index)
    }

    fn uneven_chip() -> Chip {
        let mut chip = plain_chip();
        chip.arrays.n_rows = N as usize;
        chip.circuits.dac =
            DacCircuit { gain_sd: 0.02, offset_sd_steps: 0.75, inl_steps: Vec::new() };
        chip.circuits.adc =
            AdcCircuit { kind: AdcKind::Sar, capacitor_sd: 0.01, ..AdcCircuit::default() };
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, drift_sd_per_decade: 0.01 });
        chip
    }

    #[test]
    fn drivers_err_by_the_normal_distribution() {
        let drivers = draw_drivers(&uneven_chip(), 5, array(0)).expect("drivers differ");
        let gains: Vec<_> = (0..N).map(|row| drivers.gain(row)).collect();
        let offsets: Vec<_> = (0..N).map(|row| drivers.offset_steps(row)).collect();
        assert!(kolmogorov(&gains, 1.0, 0.02) < KOLMOGOROV_BOUND);
        assert!(kolmogorov(&offsets, 0.0, 0.75) < KOLMOGOROV_BOUND);
        // Gain and offset of one driver are independent: four standard errors of a correlation are 6.3 %.
        let products = gains.iter().zip(&offsets).map(|(gain, offset)| (gain - 1.0) * offset);
        let correlation = products.sum::<f64>() / (f64::from(N) * 0.02 * 0.75);
        assert!(correlation.abs() < 0.063, "{correlation}");
    }

    #[test]
    fn the_dnl_at_mid_code_follows_the_capacitors() {
        let chip = uneven_chip();
        let dnl = |converter| {
            let levels = draw_levels(&chip, 5, array(0), converter).expect("levels are uneven");
            levels.dnl().nth(126).expect("the code below the middle")
        };
        let dnl: Vec<f64> = (0..N).map(dnl).collect();
        // Six deviations from a missing code, so that the clip at -1 does not show.
        let theory = 0.01 * (255.0f64 - 1.0 / 255.0).sqrt();
        assert!(
            kolmogorov(&dnl, 0.0, theory) < KOLMOGOROV_BOUND,
            "{}",
            kolmogorov(&dnl, 0.0, theory)
        );
    }

    #[test]
    fn gains_age_by_the_normal_distribution() {
        let chip = uneven_chip();
        let age = |at_s| (0..N).map(move |at| draw_gain_age(&uneven_chip(), 5, array(0), at, at_s));
        let ages: Vec<f64> = age(9999.0).collect();
        assert!(kolmogorov(&ages, 1.0, 0.04) < KOLMOGOROV_BOUND);
        assert!(age(0.0).all(|age| age == 1.0));
        // A gain ages by its own draw, not by what it was: four standard errors of a correlation.
        let mut wide = chip.clone();
        wide.arrays.n_cols = N as usize;
        let die = crate::sample::sample_die(&wide, 5, 1);
        let gains = &die.arrays[array(0)].column_gain;
        let products =
            gains.iter().zip(&ages).map(|(&gain, age)| (f64::from(gain) - 1.0) * (age - 1.0));
        let correlation = products.sum::<f64>() / (f64::from(N) * 0.05 * 0.04);
        assert!(correlation.abs() < 0.063, "{correlation}");
    }

    #[test]
    fn circuits_belong_to_die_array_and_place() {
        let chip = uneven_chip();
        let levels = |seed, at, converter| draw_levels(&chip, seed, array(at), converter);
        assert_eq!(levels(1, 0, 0), levels(1, 0, 0));
        assert_ne!(levels(1, 0, 0), levels(2, 0, 0));
        assert_ne!(levels(1, 0, 0), levels(1, 1, 0));
        assert_ne!(levels(1, 0, 0), levels(1, 0, 1));
        assert_ne!(draw_drivers(&chip, 1, array(0)), draw_drivers(&chip, 1, array(1)));
        assert_ne!(draw_drivers(&chip, 1, array(0)), draw_drivers(&chip, 2, array(0)));
    }

    /// Codes of 100 drives of bit lines 2, 3 and 4 of array 1, whose only cells are at `g_max`.
    fn codes(chip: &Chip, effects: EffectSet, at_s: f64) -> Array2<f32> {
        let record = sample_die(chip, 6, 2);
        let mut die = SimDie::new(chip, &record, Conditions { at_s, ..fresh(effects) });
        die.program(array(1), &[0], &[2, 3, 4], matrix![[1e-4, 1e-4, 1e-4]].view()).unwrap();
        let range = AdcRange { lo: -0.5, hi: 1.5 };
        let conversions = [2, 3, 4].map(|col| Conversion { col, minus: None, range });
        let drives = Array2::from_shape_fn((100, 1), |(at, _)| at as f32 / 99.0);
        die.mvm(array(1), &[0], drives.view(), &conversions).unwrap()
    }

    #[test]
    fn a_die_settles_on_the_levels_of_its_converters() {
        let mut chip = plain_chip();
        let even = codes(&chip, EffectSet::ALL, 0.0);
        let exact = codes(&chip, EffectSet::ALL.without(Effect::Adc), 0.0);
        chip.circuits.adc = AdcCircuit {
            kind: AdcKind::Sar,
            shared_by: 2,
            capacitor_sd: 0.1,
            ..AdcCircuit::default()
        };
        let got = codes(&chip, EffectSet::ALL, 0.0);
        for ((vector, line), &exact) in exact.indexed_iter() {
            // Lines 2 and 3 share converter 1, line 4 has converter 2.
            let levels = draw_levels(&chip, 6, array(1), [1, 1, 2][line]).unwrap();
            assert_eq!(got[(vector, line)], levels.settle(exact) as f32);
        }
        assert_eq!(got.column(0), got.column(1));
        assert_ne!(got.column(0), got.column(2));
        assert_ne!(got, even);
        assert_eq!(codes(&chip, EffectSet::ALL.without(Effect::Adc), 0.0), exact);
    }

    #[test]
    fn a_dies_gains_age_until_they_are_used() {
        let mut chip = plain_chip();
        chip.circuits.adc.shared_by = 2;
        chip.effects.column_gain = Some(ColumnGain { sd: 0.05, drift_sd_per_decade: 0.02 });
        let set = EffectSet::NONE.with(Effect::ColumnGain);
        // Currents of the full drive.
        let gains = |effects, at_s| {
            codes(&chip, effects, at_s).row(99).mapv(|code| -0.5 + f64::from(code) * 2.0 / 255.0)
        };
        let record = sample_die(&chip, 6, 2);
        let (fresh, aged) = (gains(set, 0.0), gains(set, 9999.0));
        for (at, line) in (2..5).enumerate() {
            let measured = f64::from(record.arrays[array(1)].column_gain[line]);
            assert!((fresh[at] - measured).abs() < 1e-6);
            let age = draw_gain_age(&chip, 6, array(1), [1, 1, 2][at], 9999.0);
            assert!((aged[at] - measured * age).abs() < 1e-6, "{} {age}", aged[at]);
            assert!((age - 1.0).abs() > 1e-3);
        }
        assert!(gains(EffectSet::NONE, 9999.0).iter().all(|gain| (gain - 1.0).abs() < 1e-6));
    }

    #[test]
    fn perfect_circuits_draw_nothing() {
        let mut chip = plain_chip();
        assert_eq!(draw_drivers(&chip, 1, array(0)), None);
        assert_eq!(draw_levels(&chip, 1, array(0), 0), None);
        assert_eq!(draw_gain_age(&chip, 1, array(0), 0, 1e9), 1.0);
        chip.circuits.adc.inl_lsb = AdcInl::Table([vec![0.0, 0.25], vec![0.0; 254]].concat());
        let table = draw_levels(&chip, 1, array(0), 0);
        assert!(table.is_some());
        assert_eq!(table, draw_levels(&chip, 2, array(3), 7));
    }
}
