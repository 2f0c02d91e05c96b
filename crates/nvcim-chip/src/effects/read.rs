//! Read noise: what differs from one pass to the next.
//!
//! Forms of a cell's standard deviation, `g` the conductance at the time of use:
//! * share: `sd_of_g g`
//! * fit: a fit over `g`
//! * flicker: `g Q(q) sqrt(ln((t + t_read) / (2 t_read)))` at `t = t0 + tau`, with `Q` a fit over the
//!   conductance just after programming: 1/f noise gathered since programming. At `tau = 0` there is
//!   none. Source: the statistical model of phase-change memory of S. R. Nandakumar et al., ICECS 2019,
//!   doi 10.1109/ICECS46596.2019.8964852, as the IBM Analog Hardware Acceleration Kit publishes it.

use crate::describe::Cell;
use crate::effects::Model;
use crate::effects::fit::{Fit, MICRO};
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian noise of each cell's conductance, new on every pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadNoise {
    /// How large it is.
    pub form: ReadForm,
    /// What shares one draw.
    pub correlation: Correlation,
}

/// How large read noise is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadForm {
    /// In proportion to the conductance.
    Share {
        /// Standard deviation as a share of the cell's conductance.
        sd_of_g: f64,
    },
    /// A fit over the conductance.
    Fit {
        /// Standard deviation in microsiemens.
        sd_us: Fit,
    },
    /// Gathered since programming.
    Flicker {
        /// `Q`, over the conductance just after programming.
        share: Fit,
        /// Time from programming to the reference read, in seconds.
        t0_s: f64,
        /// Duration of a read, in seconds.
        t_read_s: f64,
    },
}

/// How long one draw of read noise holds: 1/f noise is not white between the patches of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Correlation {
    /// One matrix-vector product.
    #[default]
    Mvm,
    /// All products of one sample.
    Image,
    /// The whole run.
    Frozen,
}

/// The conductances of a cell that is read, in siemens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadCell {
    /// Just after programming.
    pub programmed: f64,
    /// At the time of use.
    pub g: f64,
    /// Seconds from the reference read to the time of use.
    pub at_s: f64,
}

const FORMS: &[&str] = &["share", "fit", "flicker"];
const CORRELATIONS: &[(&str, Correlation)] =
    &[("mvm", Correlation::Mvm), ("image", Correlation::Image), ("frozen", Correlation::Frozen)];

impl Model for ReadNoise {
    fn read(section: &mut Section<'_>) -> Self {
        let form = match section.word("form", FORMS) {
            "fit" => ReadForm::Fit { sd_us: Fit::read(section, "sd_microsiemens", MICRO) },
            "flicker" => ReadForm::Flicker {
                share: Fit::read(section, "share", 1.0),
                t0_s: section.number("t0_seconds", 1e-9..=1e9),
                t_read_s: section.number("t_read_seconds", 1e-12..=1e6),
            },
            _ => ReadForm::Share { sd_of_g: section.number("sd_of_g", 0.0..=1.0) },
        };
        let correlation = section.choice("correlation", Some(Correlation::default()), CORRELATIONS);
        Self { form, correlation }
    }

    fn write(&self, out: &mut Writer) {
        let Self { form, correlation } = self;
        match form {
            ReadForm::Share { sd_of_g } => out.value("sd_of_g", sd_of_g),
            ReadForm::Fit { sd_us } => {
                out.text("form", "fit");
                sd_us.write(out, "sd_microsiemens");
            }
            ReadForm::Flicker { share, t0_s, t_read_s } => {
                out.text("form", "flicker");
                share.write(out, "share");
                out.value("t0_seconds", t0_s);
                out.value("t_read_seconds", t_read_s);
            }
        }
        let named = CORRELATIONS.iter().find(|(_, it)| it == correlation);
        if let Some((name, _)) = named.filter(|(_, it)| *it != Correlation::default()) {
            out.text("correlation", name);
        }
    }
}

impl ReadNoise {
    /// Noise in proportion to the conductance, new on every product.
    pub fn share(sd_of_g: f64) -> Self {
        Self { form: ReadForm::Share { sd_of_g }, correlation: Correlation::Mvm }
    }

    /// The standard deviation in siemens of one read of `read`, a cell of the kind of `cell`.
    pub fn sd(&self, cell: &Cell, read: &ReadCell) -> f64 {
        let ReadCell { programmed, g, at_s } = *read;
        cell.confine(match &self.form {
            ReadForm::Share { sd_of_g } => sd_of_g * g,
            ReadForm::Fit { sd_us } => sd_us.spread_at(g, cell) / MICRO,
            ReadForm::Flicker { .. } if at_s <= 0.0 => 0.0,
            ReadForm::Flicker { share, t0_s, t_read_s } => {
                let decades = libm::log((t0_s + at_s + t_read_s) / (2.0 * t_read_s));
                g * share.spread_at(programmed, cell) * decades.max(0.0).sqrt()
            }
        })
    }
}

/// What a pair adds to its output's variance per squared drive: `s+^2 + s-^2`, in the squared unit of the
/// standard deviations.
///
/// Cells are independent and noise enters linearly, so one Gaussian per output with variance
/// `sum_i x_i^2 (s+_i^2 + s-_i^2)` has the exact distribution of a draw per cell.
pub fn pair_variance(sd_plus: f64, sd_minus: f64) -> f64 {
    sd_plus * sd_plus + sd_minus * sd_minus
}

#[cfg(test)]
mod tests {
    use super::{Correlation, ReadCell, ReadForm, ReadNoise, pair_variance};
    use crate::effects::Effect;
    use crate::effects::fit::{Fit, Polynomial};
    use crate::random::Stream;
    use crate::testing::state_at;

    #[test]
    fn deviations_follow_their_form() {
        let cell = state_at(0.0, 0.0).cell;
        let read = |at_s| ReadCell { programmed: 50e-6, g: 40e-6, at_s };
        let sd = |form, at_s| {
            let noise = ReadNoise { form, correlation: Correlation::Mvm };
            noise.sd(&cell, &read(at_s))
        };
        assert!((sd(ReadForm::Share { sd_of_g: 0.1 }, 9.0) - 4e-6).abs() < 1e-18);
        let sd_us = Fit::PolynomialOfMicrosiemens(Polynomial::new(&[1.0, 0.1]));
        assert!((sd(ReadForm::Fit { sd_us }, 0.0) - 5e-6).abs() < 1e-18);
        let share = Fit::Polynomial(Polynomial::new(&[0.0, 0.02]));
        let flicker = ReadForm::Flicker { share, t0_s: 1.0, t_read_s: 0.5 };
        assert_eq!(sd(flicker, 0.0), 0.0);
        // Q = 0.02 x 50 / 100; e - 0.5 seconds after programming the logarithm is 1.
        let at_s = std::f64::consts::E - 1.5;
        assert!((sd(flicker, at_s) - 0.01 * 40e-6).abs() < 1e-18);
    }

    /// The claim of [`pair_variance`], against noise drawn cell by cell.
    #[test]
    fn one_gaussian_per_output_has_the_variance_of_a_draw_per_cell() {
        let sd = |g: f64| 0.02 * g;
        let pairs = [(0.9, 0.0), (0.1, 0.3), (0.0, 1.0)];
        let drives = [1.0, -0.5, 0.25];
        let stream = Stream::new(1, 2, Effect::Read);
        let n = 50_000;
        let mut sum_of_squares = 0.0;
        let mut z = [0.0; 6];
        for pass in 0..n {
            stream.fill_normals([pass, 0, 0], &mut z);
            let error = pairs.iter().zip(drives).zip(z.as_chunks().0).map(
                |((&(plus, minus), drive), &[z_plus, z_minus])| {
                    drive * (sd(plus) * f64::from(z_plus) - sd(minus) * f64::from(z_minus))
                },
            );
            sum_of_squares += error.sum::<f64>().powi(2);
        }
        let expected: f64 =
            pairs.iter().zip(drives).map(|(&(p, m), x)| x * x * pair_variance(sd(p), sd(m))).sum();
        let ratio = sum_of_squares / f64::from(n) / expected;
        // Four standard errors of a variance: 4 sqrt(2 / n) = 0.025.
        assert!((ratio - 1.0).abs() < 0.025, "{ratio}");
    }
}
