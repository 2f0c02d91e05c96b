//! Read noise: what differs from one pass to the next.

use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian noise of each cell's conductance, new on every pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadNoise {
    /// Standard deviation as a share of the cell's conductance.
    pub sd_of_g: f64,
    /// What shares one draw.
    pub correlation: Correlation,
}

/// How long one draw of read noise holds: 1/f noise is not white between the patches of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Correlation {
    /// One matrix-vector product.
    #[default]
    Mvm,
    /// All products of one sample.
    Image,
    /// The life of the die.
    Frozen,
}

const CORRELATIONS: &[(&str, Correlation)] =
    &[("mvm", Correlation::Mvm), ("image", Correlation::Image), ("frozen", Correlation::Frozen)];

impl Model for ReadNoise {
    fn read(section: &mut Section<'_>) -> Self {
        let sd_of_g = section.number("sd_of_g", 0.0..=1.0);
        let correlation = section.choice("correlation", Some(Correlation::default()), CORRELATIONS);
        Self { sd_of_g, correlation }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd_of_g, correlation } = self;
        out.value("sd_of_g", sd_of_g);
        let named = CORRELATIONS.iter().find(|(_, it)| it == correlation);
        if let Some((name, _)) = named.filter(|(_, it)| *it != Correlation::default()) {
            out.text("correlation", name);
        }
    }
}

impl ReadNoise {
    /// Noise in proportion to the conductance, new on every product.
    pub fn share(sd_of_g: f64) -> Self {
        Self { sd_of_g, correlation: Correlation::Mvm }
    }

    /// The standard deviation of a cell that stands at `g`, in the unit of `g`.
    pub fn sd(&self, g: f64) -> f64 {
        self.sd_of_g * g
    }

    /// What a pair adds to its output's variance per squared drive: `s+^2 + s-^2`, in the squared unit of
    /// the conductances.
    ///
    /// Cells are independent and noise enters linearly, so one Gaussian per output with variance
    /// `sum_i x_i^2 (s+_i^2 + s-_i^2)` has the exact distribution of a draw per cell.
    pub fn pair_variance(&self, g_plus: f64, g_minus: f64) -> f64 {
        let (plus, minus) = (self.sd(g_plus), self.sd(g_minus));
        plus * plus + minus * minus
    }
}

#[cfg(test)]
mod tests {
    use super::ReadNoise;
    use crate::effects::Effect;
    use crate::random::Stream;

    /// The claim of [`ReadNoise::pair_variance`], against noise drawn cell by cell.
    #[test]
    fn one_gaussian_per_output_has_the_variance_of_a_draw_per_cell() {
        let noise = ReadNoise::share(0.02);
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
                    drive
                        * (noise.sd(plus) * f64::from(z_plus)
                            - noise.sd(minus) * f64::from(z_minus))
                },
            );
            sum_of_squares += error.sum::<f64>().powi(2);
        }
        let expected: f64 =
            pairs.iter().zip(drives).map(|(&(p, m), x)| x * x * noise.pair_variance(p, m)).sum();
        let ratio = sum_of_squares / f64::from(n) / expected;
        // Four standard errors of a variance: 4 sqrt(2 / n) = 0.025.
        assert!((ratio - 1.0).abs() < 0.025, "{ratio}");
    }
}
