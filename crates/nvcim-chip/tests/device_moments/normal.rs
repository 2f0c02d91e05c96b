//! Moments of normal variables that are clipped, folded or exponentiated.

/// The standard normal density.
pub(crate) fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / std::f64::consts::TAU.sqrt()
}

/// The standard normal distribution function.
pub(crate) fn distribution(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// First and second moment of `min(max(N(m, s), lo), hi)`; `hi` may be infinite.
pub(crate) fn clipped_moments(m: f64, s: f64, lo: f64, hi: f64) -> (f64, f64) {
    let (a, b) = ((lo - m) / s, (hi - m) / s);
    let (below, above) = (distribution(a), distribution(-b));
    let inside = 1.0 - below - above;
    let (da, db) = (density(a), if b.is_finite() { density(b) } else { 0.0 });
    let at_hi = |power: i32| if above > 0.0 { above * hi.powi(power) } else { 0.0 };
    let first = m * inside + s * (da - db) + lo * below + at_hi(1);
    let ends = a * da - if b.is_finite() { b * db } else { 0.0 };
    let second = (m * m + s * s) * inside
        + 2.0 * m * s * (da - db)
        + s * s * ends
        + lo * lo * below
        + at_hi(2);
    (first, second)
}

/// `E exp(-k |N(m, s)|)`.
pub(crate) fn folded_exponential(k: f64, m: f64, s: f64) -> f64 {
    let half = 0.5 * k * k * s * s;
    libm::exp(half - k * m) * distribution(m / s - k * s)
        + libm::exp(half + k * m) * distribution(-m / s - k * s)
}

/// Distribution function of `|N(m, s)|`.
pub(crate) fn folded_distribution(x: f64, m: f64, s: f64) -> f64 {
    if x < 0.0 { 0.0 } else { distribution((x - m) / s) - distribution((-x - m) / s) }
}

#[test]
fn clipping_far_away_changes_nothing() {
    let (first, second) = clipped_moments(3.0, 0.5, -90.0, f64::INFINITY);
    assert!((first - 3.0).abs() < 1e-12 && (second - 9.25).abs() < 1e-12);
    // Half of a centred normal: mean s / sqrt(2 pi), second moment s^2 / 2.
    let (first, second) = clipped_moments(0.0, 2.0, 0.0, f64::INFINITY);
    assert!((first - 2.0 / std::f64::consts::TAU.sqrt()).abs() < 1e-12);
    assert!((second - 2.0).abs() < 1e-12);
}
