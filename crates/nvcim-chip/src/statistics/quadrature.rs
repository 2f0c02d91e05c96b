//! Points and weights that stand in for the draws of a chain of cell effects: expectations without a seed.
//!
//! Notation: `d` draws, `N` points. Point `k`, from `-(N - 1) / 2` to `(N - 1) / 2`, has in draw `j` the
//! whole number `m = k a^j mod N`, taken between the same ends: a lattice with one generator (N. M.
//! Korobov, Dokl. Akad. Nauk SSSR 124 (1959) 1207), symmetric about 0, whose image in every single draw is
//! the same `N` even steps. `N` is prime, so that every draw sees as many different numbers; of the primes
//! from 360 to 620, `N` and `a` were chosen for a long shortest vector of the dual lattice of two draws and
//! for normal draws that correlate little: by 0.02 at most among four, by 0.05 among twelve. A uniform draw is
//! `1/2 + m / N`. For a normal draw there are two ways:
//! * Up to two draws: even steps `z = 2 L m / N` with weights `exp(-z^2 / 2)`, points outside the ball of
//!   radius `L` left out. On a lattice that is the trapezoid rule, whose error for smooth integrands falls
//!   as `exp(-2 pi^2 |h|^2 / (2 L)^2)`, `h` the shortest dual vector: with what lies outside the ball 1e-5.
//!   Far tails count, as exponentials of draws need. A kink, where a conductance is clipped or an exponent
//!   folded, costs up to a thousandth of the draw's spread.
//! * More draws, where most of a box would weigh nothing: equal weights at the quantiles `1/2 + m / N`,
//!   stretched so that each draw has variance 1. Symmetric points make the mean of what is linear in draws
//!   exact; correlations make a spread good to 3 %; tails end at 3.1 standard deviations.
//!
//! Cost: `N` points, whatever `d`.

use crate::effects::draws::Draw;

/// Points.
const N: i32 = 461;
/// The lattice's generator `a`.
const GENERATOR: i32 = 109;
/// `L` of one draw and of two.
const BALLS: [f64; 2] = [10.0, 5.5];

/// Weighted points that stand in for draws.
#[derive(Debug, Clone)]
pub(super) struct Quadrature {
    n_draws: usize,
    /// Coordinates, `n_draws` a point.
    points: Vec<f64>,
    /// One a point, of sum 1.
    weights: Vec<f64>,
}

impl Quadrature {
    /// The points for these draws; without draws one point of weight 1.
    pub(super) fn new(draws: &[Draw]) -> Self {
        let n_draws = draws.len();
        let mut it = Self { n_draws, points: Vec::new(), weights: Vec::new() };
        let normals = Normals::new(n_draws);
        let half = if n_draws == 0 { 0 } else { N / 2 };
        for k in -half..=half {
            it.push(draws, k, &normals);
        }
        let sum: f64 = it.weights.iter().sum();
        it.weights.iter_mut().for_each(|weight| *weight /= sum);
        it
    }

    /// Points with their weights.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[f64], f64)> {
        let point = |at: usize| &self.points[at * self.n_draws..(at + 1) * self.n_draws];
        self.weights.iter().enumerate().map(move |(at, &weight)| (point(at), weight))
    }

    /// Adds point `k`, unless it lies outside the ball.
    fn push(&mut self, draws: &[Draw], k: i32, normals: &Normals) {
        let (start, mut m, mut square) = (self.points.len(), k, 0.0);
        for draw in draws {
            self.points.push(match draw {
                Draw::Uniform(_) => 0.5 + f64::from(m) / f64::from(N),
                Draw::Normal(_) => {
                    let z = normals.at(m);
                    square += z * z;
                    z
                }
            });
            m = centred(m * GENERATOR);
        }
        match normals.reach {
            Some(reach) if square > reach * reach => self.points.truncate(start),
            Some(_) => self.weights.push(libm::exp(-0.5 * square)),
            None => self.weights.push(1.0),
        }
    }
}

/// The numbers that a normal draw takes.
struct Normals {
    /// Entry `m + N / 2` is that of step `m`.
    steps: Vec<f64>,
    /// The ball's radius where steps are even and weights differ.
    reach: Option<f64>,
}

impl Normals {
    fn new(n_draws: usize) -> Self {
        let reach = BALLS.get(n_draws.max(1) - 1).copied();
        let shares = (-(N / 2)..=N / 2).map(|m| f64::from(m) / f64::from(N));
        if let Some(reach) = reach {
            return Self {
                steps: shares.map(|share| 2.0 * reach * share).collect(),
                reach: Some(reach),
            };
        }
        let mut steps: Vec<f64> = shares.map(normal_quantile).collect();
        let variance = steps.iter().map(|z| z * z).sum::<f64>() / f64::from(N);
        steps.iter_mut().for_each(|z| *z /= variance.sqrt());
        Self { steps, reach: None }
    }

    fn at(&self, m: i32) -> f64 {
        self.steps[(m + N / 2) as usize]
    }
}

/// `m` modulo `N`, between `-(N - 1) / 2` and `(N - 1) / 2`.
fn centred(m: i32) -> i32 {
    (m + N / 2).rem_euclid(N) - N / 2
}

/// The number that a normal draw stays below with the chance `1/2 + share`.
///
/// Newton's method from 0: the distribution function is concave above 0, so the steps come up to the answer
/// from one side.
fn normal_quantile(share: f64) -> f64 {
    let (wanted, mut z) = (share.abs(), 0.0);
    for _ in 0..64 {
        let inside = 0.5 * libm::erf(z * std::f64::consts::FRAC_1_SQRT_2);
        let density = libm::exp(-0.5 * z * z) / std::f64::consts::TAU.sqrt();
        let step = (wanted - inside) / density;
        z += step;
        if step < 1e-12 {
            break;
        }
    }
    z.copysign(share)
}

#[cfg(test)]
mod tests {
    use super::{N, Quadrature, centred, normal_quantile};
    use crate::effects::draws::{Draw, Scope};

    const NORMAL: Draw = Draw::Normal(Scope::Write);
    const UNIFORM: Draw = Draw::Uniform(Scope::Cell);

    fn expect(draws: &[Draw], f: impl Fn(&[f64]) -> f64) -> f64 {
        Quadrature::new(draws).iter().map(|(z, weight)| weight * f(z)).sum()
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        for share in [-0.499, -0.3, -1e-4, 0.0, 0.2, 0.45, 0.4999] {
            let z = normal_quantile(share);
            let inside = 0.5 * libm::erf(z / std::f64::consts::SQRT_2);
            assert!((inside - share).abs() < 1e-13, "{share}: {z}");
        }
    }

    #[test]
    fn every_draw_takes_every_step_once() {
        let quadrature = Quadrature::new(&[UNIFORM; 11]);
        for draw in 0..11 {
            let step = |z: &[f64]| ((z[draw] - 0.5) * f64::from(N)).round() as i32;
            let mut steps: Vec<_> = quadrature.iter().map(|(z, _)| step(z)).collect();
            steps.sort_unstable();
            assert!(steps.into_iter().eq(-(N / 2)..=N / 2), "draw {draw}");
        }
        assert_eq!([centred(N / 2 + 1), centred(-N), centred(-N / 2)], [-(N / 2), 0, -(N / 2)]);
    }

    /// Even moments of normal draws are 1, 3 and products of these; odd ones vanish.
    #[test]
    fn one_or_two_draws_have_their_moments_and_exponentials() {
        for n in 1..=2 {
            let draws = &[NORMAL; 2][..n];
            for i in 0..n {
                assert!(expect(draws, |z| z[i]).abs() < 1e-12);
                assert!((expect(draws, |z| z[i] * z[i]) - 1.0).abs() < 1e-5, "{n} {i}");
                assert!((expect(draws, |z| z[i].powi(4)) - 3.0).abs() < 2e-4, "{n} {i}");
                // Clipped where the density is highest, and off centre.
                let root = std::f64::consts::TAU.sqrt();
                let clipped = expect(draws, |z| z[i].max(0.0));
                assert!((clipped - 1.0 / root).abs() < 1e-3, "{n} {i}: {clipped}");
                let clipped = expect(draws, |z| (z[i] + 1.0).max(0.0));
                assert!((clipped - 1.083_315_470_6).abs() < 3e-4, "{n} {i}: {clipped}");
            }
            let sum = expect(draws, |z| libm::exp(z.iter().sum::<f64>()));
            let expected = libm::exp(0.5 * n as f64);
            assert!((sum / expected - 1.0).abs() < 1e-4, "{n}: {sum} for {expected}");
        }
        let mixed = |power: i32| expect(&[NORMAL; 2], |z| (z[0] * z[1]).powi(power));
        assert!(mixed(1).abs() < 1e-6 && (mixed(2) - 1.0).abs() < 1e-4);
        assert!((expect(&[NORMAL], |z| libm::exp(3.0 * z[0])) / libm::exp(4.5) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn many_draws_keep_what_is_linear_and_nearly_what_is_not() {
        let draws = [&[NORMAL; 8][..], &[UNIFORM; 4]].concat();
        for i in 0..8 {
            assert!(expect(&draws, |z| z[i]).abs() < 1e-12);
            assert!((expect(&draws, |z| z[i] * z[i]) - 1.0).abs() < 1e-12);
            assert!((expect(&draws, |z| z[i].abs()) - 0.797_885).abs() < 2e-3);
            for j in 0..i {
                let both = expect(&draws, |z| z[i] * z[j]);
                assert!(both.abs() < if i < 4 { 0.025 } else { 0.05 }, "{i} {j}: {both}");
            }
        }
        let both = expect(&draws, |z| f64::from(z[10] < 0.3 && z[11] < 0.6));
        assert!((both - 0.18).abs() < 0.01, "{both}");
    }

    #[test]
    fn without_draws_there_is_one_point() {
        let weights: Vec<_> = Quadrature::new(&[]).iter().map(|(z, w)| (z.len(), w)).collect();
        assert_eq!(weights, [(0, 1.0)]);
    }
}
