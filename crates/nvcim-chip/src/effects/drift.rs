//! Drift, relaxation and retention: what time does to a programmed conductance.
//!
//! Time: `tau` counts from the reference read, which is `t0` after programming, so `t = t0 + tau`. At
//! `tau = 0` no form does anything. `u` is a conductance in microsiemens, `z` a standard normal draw.
//! * power: `g (t / t0)^-nu`, `nu = |m + s z|` once per cell, `m` and `s` numbers or fits over the target.
//!   The form is that of phase-change memory: M. Le Gallo and A. Sebastian, "An overview of phase-change
//!   memory device physics", J. Phys. D 53 (2020) 213002.
//! * log-time: `clip(u + shift ln t + (sd + slope ln t) z, u_min, u_max)`, `t` in seconds, `z` new on
//!   every write. The form that was fitted to CMO/HfOx cells.
//! * series: total spreads at a few times, see `crate::effects::series`; the spread at `t0` is that of
//!   the programming error, `z` new on every write.
//! * retention: a floating gate loses charge, `dVt = -a (Vt - Vt0) ln(1 + tau / t0)`, `a = |m + s z|` once
//!   per cell, with an Arrhenius factor, see [`Retention`].

use crate::describe::Cell;
use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::{Draw, Scope};
use crate::effects::fit::{Fit, MAX_COEFFICIENTS, MICRO, Polynomial};
use crate::effects::series::{largest_until, remaining_spread};
use crate::effects::subthreshold::{Subthreshold, VOLTS_PER_KELVIN, kelvin, read_celsius};
use crate::reader::Section;
use crate::writer::Writer;

/// What time does to a conductance.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    /// A power law with an exponent per cell.
    Power(PowerLaw),
    /// A shift and a spread that grow with the logarithm of time.
    LogTime(LogTime),
    /// Total spreads at a few times.
    Series(Series),
    /// Charge loss of a floating gate.
    Retention(Retention),
}

/// `g (t / t0)^-nu`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// Mean of the exponent before its sign is dropped.
    pub nu_mean: Fit,
    /// Standard deviation of the exponent before its sign is dropped.
    pub nu_sd: Fit,
    /// Time from programming to the reference read, in seconds.
    pub t0_s: f64,
}

/// A shift and a spread that grow with the logarithm of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogTime {
    /// Shift in microsiemens per unit of `ln t`.
    pub shift_us: f64,
    /// Standard deviation in microsiemens at 1 s.
    pub sd_us: f64,
    /// Growth of the standard deviation, in microsiemens per unit of `ln t`.
    pub sd_slope_us: f64,
    /// Time from programming to the reference read, in seconds.
    pub t0_s: f64,
}

/// Total spreads at a few times; the first is that of the programming error at `t0`.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Seconds after programming, ascending; the first is the reference read, `t0`.
    pub times_s: Vec<f64>,
    /// Total standard deviations in microsiemens, one per time but the first.
    pub sds_us: Vec<Fit>,
}

/// Charge loss of a floating gate.
///
/// With `v = m kT/q` at the reference temperature, a cell at `g` has the threshold voltage
/// `Vt = vt_gmax - v ln(g / g_max)`, and a shift `dVt` makes `g exp(-dVt / v)` of it. At the storage
/// temperature `T` the loss is `a exp(E/k (1/T_ref - 1/T))`, and never more than all of `Vt - Vt0`.
/// Source of the logarithmic law and its Arrhenius factor: the retention model of JEDEC JEP122 for
/// charge loss; values are data of the chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// The slope below threshold and the temperature at which `a` is given.
    pub swing: Subthreshold,
    /// Mean share of the stored voltage that is lost per unit of `ln(1 + tau / t0)`.
    pub loss_mean: f64,
    /// Standard deviation of that share from cell to cell.
    pub loss_sd: f64,
    /// Time scale of the logarithm, in seconds.
    pub t0_s: f64,
    /// Activation energy in electronvolts.
    pub activation_ev: f64,
    /// Storage temperature in degrees Celsius.
    pub celsius: f64,
    /// Threshold voltage of a cell at `g_max`, in volts.
    pub vt_gmax_v: f64,
    /// Threshold voltage of a cell without charge, in volts.
    pub vt_neutral_v: f64,
}

const FORMS: &[&str] = &["power", "log-time", "series", "retention"];
/// The most times of a series.
const MAX_TIMES: usize = 64;
/// The longest time that a chip file speaks of: some 3000 years.
pub(crate) const MAX_SECONDS: f64 = 1e11;

impl Drift {
    /// A power law whose exponents do not depend on the target.
    pub fn power(nu_mean: f64, nu_sd: f64, t0_s: f64) -> Self {
        let (nu_mean, nu_sd) = (Fit::Constant(nu_mean), Fit::Constant(nu_sd));
        Self::Power(PowerLaw { nu_mean, nu_sd, t0_s })
    }

    /// Seconds from programming to the reference read, from which times of use count.
    pub fn t0_s(&self) -> f64 {
        match self {
            Self::Power(PowerLaw { t0_s, .. })
            | Self::LogTime(LogTime { t0_s, .. })
            | Self::Retention(Retention { t0_s, .. }) => *t0_s,
            Self::Series(Series { times_s, .. }) => times_s.first().copied().unwrap_or(1.0),
        }
    }
}

impl PowerLaw {
    /// The exponent that a standard normal draw `z` stands for in a cell told to reach `target` siemens.
    pub fn exponent(&self, target: f64, cell: &Cell, z: f64) -> f64 {
        (self.nu_mean.at(target, cell) + self.nu_sd.spread_at(target, cell) * z).abs()
    }

    /// The share of conductance left `tau_s` seconds after the reference read; 1 at 0.
    pub fn share_left(&self, nu: f64, tau_s: f64) -> f64 {
        libm::exp(-nu * libm::log1p(tau_s / self.t0_s))
    }
}

impl LogTime {
    fn apply(&self, g: f64, z: f64, state: &CellState) -> f64 {
        let ln_t = libm::log(self.t0_s + state.at_s);
        let sd = (self.sd_us + self.sd_slope_us * ln_t).max(0.0);
        let moved = g + (self.shift_us * ln_t + sd * z) / MICRO;
        moved.max(state.cell.g_min).min(state.cell.g_max)
    }
}

impl Series {
    /// The total standard deviation in siemens of a cell in `state`, programming error included.
    pub fn total_sd(&self, state: &CellState) -> f64 {
        let sd = |i: usize| match i.checked_sub(1).and_then(|i| self.sds_us.get(i)) {
            Some(sd) => sd.spread_at(state.target, &state.cell) / MICRO,
            None => state.programming_sd(),
        };
        let start = self.times_s.first().copied().unwrap_or_default();
        largest_until(&self.times_s, sd, start + state.at_s)
    }
}

impl Retention {
    /// The conductance of a cell that stood at `g`, above 0, where the draw is `z`.
    fn apply(&self, g: f64, z: f64, state: &CellState) -> f64 {
        let volts = self.swing.volts();
        let vt = self.vt_gmax_v - volts * libm::log(g / state.cell.g_max);
        let (cold, hot) = (kelvin(self.swing.reference_celsius), kelvin(self.celsius));
        let arrhenius = libm::exp(self.activation_ev / VOLTS_PER_KELVIN * (1.0 / cold - 1.0 / hot));
        let per_log = (self.loss_mean + self.loss_sd * z).abs() * arrhenius;
        let lost = (per_log * libm::log1p(state.at_s / self.t0_s)).min(1.0);
        g * libm::exp(lost * (vt - self.vt_neutral_v) / volts)
    }

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            swing: Subthreshold::read(section),
            loss_mean: section.number("loss_mean", 0.0..=1.0),
            loss_sd: section.number("loss_sd", 0.0..=1.0),
            t0_s: section.number("t0_seconds", 1e-9..=1e9),
            activation_ev: section.number("activation_electronvolts", 0.0..=5.0),
            celsius: read_celsius(section, "temperature_celsius"),
            vt_gmax_v: section.number("vt_gmax_volts", -20.0..=20.0),
            vt_neutral_v: section.number("vt_neutral_volts", -20.0..=20.0),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self {
            swing,
            loss_mean,
            loss_sd,
            t0_s,
            activation_ev,
            celsius,
            vt_gmax_v,
            vt_neutral_v,
        } = self;
        out.text("form", "retention");
        swing.write(out);
        out.value("loss_mean", loss_mean);
        out.value("loss_sd", loss_sd);
        out.value("t0_seconds", t0_s);
        out.value("activation_electronvolts", activation_ev);
        out.value("temperature_celsius", celsius);
        out.value("vt_gmax_volts", vt_gmax_v);
        out.value("vt_neutral_volts", vt_neutral_v);
    }
}

impl Series {
    const POLYNOMIALS: &str = "sd_polynomials_microsiemens";
    const SATURATING: &str = "sd_saturating_microsiemens";

    fn read(section: &mut Section<'_>) -> Self {
        let limits = -MICRO..=MICRO;
        let sds_us = if section.has(Self::SATURATING) {
            let rows = section.rows(Self::SATURATING, 1..=MAX_TIMES, 2..=2, 1e-9..=MICRO);
            rows.iter().map(|pair| Fit::saturating(pair)).collect()
        } else {
            let rows = section.rows(Self::POLYNOMIALS, 1..=MAX_TIMES, 1..=MAX_COEFFICIENTS, limits);
            rows.iter().map(|row| Fit::Polynomial(Polynomial::new(row))).collect()
        };
        let mut times_s = vec![section.number("t0_seconds", 1e-9..=1e9)];
        times_s.extend(section.numbers("times_seconds", 1..=MAX_TIMES, 1e-9..=MAX_SECONDS));
        Self { times_s, sds_us }
    }

    fn write(&self, out: &mut Writer) {
        let Self { times_s, sds_us } = self;
        let (t0_s, later_s) = times_s.split_first().unwrap_or((&0.0, &[]));
        out.text("form", "series");
        out.value("t0_seconds", t0_s);
        out.value("times_seconds", later_s);
        let saturating = sds_us.iter().any(|sd| matches!(sd, Fit::Saturating { .. }));
        let row = |sd: &Fit| match sd {
            Fit::Saturating { a, b } => format!("[{a:?}, {b:?}]"),
            Fit::Polynomial(polynomial) => format!("{:?}", polynomial.coefficients()),
            // A series built by hand from other fits has no text of its own.
            other => format!("{other:?}"),
        };
        let key = if saturating { Self::SATURATING } else { Self::POLYNOMIALS };
        out.list(key, sds_us.iter().map(row));
    }
}

impl Model for Drift {
    fn read(section: &mut Section<'_>) -> Self {
        match section.word("form", FORMS) {
            "log-time" => Self::LogTime(LogTime {
                shift_us: section.number("shift_microsiemens", -1e3..=1e3),
                sd_us: section.number("sd_microsiemens", 0.0..=1e3),
                sd_slope_us: section.number("sd_slope_microsiemens", 0.0..=1e3),
                t0_s: section.number("t0_seconds", 1e-9..=1e9),
            }),
            "series" => Self::Series(Series::read(section)),
            "retention" => Self::Retention(Retention::read(section)),
            _ => Self::Power(PowerLaw {
                nu_mean: Fit::read(section, "nu_mean", 1.0),
                nu_sd: Fit::read(section, "nu_sd", 1.0),
                t0_s: section.number("t0_seconds", 1e-9..=1e9),
            }),
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Power(PowerLaw { nu_mean, nu_sd, t0_s }) => {
                nu_mean.write(out, "nu_mean");
                nu_sd.write(out, "nu_sd");
                out.value("t0_seconds", t0_s);
            }
            Self::LogTime(LogTime { shift_us, sd_us, sd_slope_us, t0_s }) => {
                out.text("form", "log-time");
                out.value("shift_microsiemens", shift_us);
                out.value("sd_microsiemens", sd_us);
                out.value("sd_slope_microsiemens", sd_slope_us);
                out.value("t0_seconds", t0_s);
            }
            Self::Series(series) => series.write(out),
            Self::Retention(retention) => retention.write(out),
        }
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }

    fn last_at_s(&self) -> Option<f64> {
        let Self::Series(series) = self else { return None };
        Some(series.times_s.last()? - series.times_s.first()?)
    }
}

impl CellEffect for Drift {
    fn draws(&self) -> &'static [Draw] {
        match self {
            // How fast a cell drifts is the cell's own.
            Self::Power(_) | Self::Retention(_) => &[Draw::Normal(Scope::Cell)],
            // How it relaxes differs from write to write.
            Self::LogTime(_) | Self::Series(_) => &[Draw::Normal(Scope::Write)],
        }
    }

    fn apply(&self, g: f64, z: &[f64], state: &CellState) -> f64 {
        let &[z] = z else { return g };
        if state.at_s <= 0.0 {
            return g;
        }
        match self {
            Self::Power(law) => {
                g * law.share_left(law.exponent(state.target, &state.cell, z), state.at_s)
            }
            Self::LogTime(law) => law.apply(g, z, state),
            Self::Series(series) => {
                g + remaining_spread(series.total_sd(state), state.programming_sd()) * z
            }
            Self::Retention(law) if g > 0.0 => law.apply(g, z, state),
            Self::Retention(_) => g,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Drift, LogTime, PowerLaw, Retention, Series};
    use crate::effects::conductance::CellEffect;
    use crate::effects::fit::{Fit, Polynomial};
    use crate::effects::programming::Programming;
    use crate::effects::subthreshold::Subthreshold;
    use crate::testing::state_at;

    const YEAR: f64 = 3.155_76e7;

    fn law() -> PowerLaw {
        let Drift::Power(law) = Drift::power(0.05, 0.01, 20.0) else { unreachable!("a power law") };
        law
    }

    #[test]
    fn a_year_costs_half_at_an_exponent_of_a_twentieth() {
        // (1 + 3.15576e7 / 20)^-0.05 = 0.4900.
        let left = law().share_left(0.05, YEAR);
        assert!((left - 0.4900).abs() < 5e-4, "{left}");
        assert_eq!(law().share_left(0.05, 0.0), 1.0);
    }

    #[test]
    fn exponents_are_never_negative() {
        let cell = state_at(50e-6, 0.0).cell;
        assert!((law().exponent(50e-6, &cell, 1.0) - 0.06).abs() < 1e-15);
        assert!((law().exponent(50e-6, &cell, -6.0) - 0.01).abs() < 1e-15);
    }

    #[test]
    fn log_time_shifts_spreads_and_keeps_to_the_range() {
        let law = LogTime { shift_us: -1.0, sd_us: 0.5, sd_slope_us: 0.1, t0_s: 1.0 };
        let apply = |g, z, at_s| Drift::LogTime(law).apply(g, &[z], &state_at(50e-6, at_s));
        let e_squared = libm::exp(2.0) - 1.0;
        assert!((apply(50e-6, 2.0, e_squared) - 49.4e-6).abs() < 1e-15);
        assert_eq!((apply(1e-6, -1.0, e_squared), apply(1e-6, -1.0, 0.0)), (1e-6, 1e-6));
    }

    #[test]
    fn a_series_adds_what_the_programming_error_lacks() {
        let sds_us = [5.0, 4.0].map(|sd| Fit::Polynomial(Polynomial::new(&[sd]))).to_vec();
        let drift = Drift::Series(Series { times_s: vec![1.0, 100.0, 1e4], sds_us });
        let apply = |at_s| {
            let mut state = state_at(50e-6, at_s);
            let sd_us = Fit::Constant(3.0);
            state.programming = Some(Programming::Fit { sd_us });
            drift.apply(50e-6, &[1.0], &state)
        };
        // At the second time 5 of which 3 are there; half way in the logarithm 4; later never less.
        let gains = [0.0, 9.0, 99.0, 9999.0].map(|at_s| (apply(at_s) - 50e-6) * 1e6);
        let expected = [0.0, 7.0f64.sqrt(), 4.0, 4.0];
        assert!(gains.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{gains:?}");
    }

    #[test]
    fn charge_loss_raises_a_cell_up_to_its_neutral_threshold() {
        let swing = Subthreshold { slope_factor: 1.5, reference_celsius: 25.0 };
        let law = Retention {
            swing,
            loss_mean: 0.01,
            loss_sd: 0.002,
            t0_s: 1.0,
            activation_ev: 1.0,
            celsius: 25.0,
            vt_gmax_v: 2.0,
            vt_neutral_v: 1.0,
        };
        let apply = |law, at_s| Drift::Retention(law).apply(50e-6, &[0.5], &state_at(50e-6, at_s));
        // g_max is 100 uS: half of it stands v ln 2 above.
        let above = 1.0 + swing.volts() * std::f64::consts::LN_2;
        let expected = 50e-6 * libm::exp(0.011 * 3.0 * above / swing.volts());
        let e_cubed = libm::exp(3.0) - 1.0;
        assert!((apply(law, e_cubed) / expected - 1.0).abs() < 1e-12);
        // 1 eV: a factor of 2.5 or so per 8 K near room temperature, in the logarithm of the loss.
        let warm = apply(Retention { celsius: 85.0, ..law }, e_cubed);
        let arrhenius = libm::exp(11_604.518 * (1.0 / 298.15 - 1.0 / 358.15));
        let ratio = libm::log(warm / 50e-6) / libm::log(expected / 50e-6);
        let limit = above / swing.volts() / libm::log(expected / 50e-6);
        assert!((ratio / arrhenius.min(limit) - 1.0).abs() < 1e-5, "{ratio} {arrhenius}");
        // All charge lost: the threshold is the neutral one.
        let lost = apply(Retention { loss_mean: 1.0, ..law }, 1e9);
        assert!((lost / (100e-6 * libm::exp(1.0 / swing.volts())) - 1.0).abs() < 1e-9);
    }
}
