//! Counter-based random numbers: every draw is a pure function of its key and its place.
//!
//! Generator: Philox4x32-10 of J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", SC'11, doi 10.1145/2063384.2063405. A block of four words follows from a
//! counter of four words under a key of two, so that no draw depends on the order, the thread or the
//! batch in which it is asked for.
//!
//! Numbering, shared by all draws: draw `k` of the place `[a, b, c]` is word `k % 4` of the block with
//! counter `[a, b, c, k / 4]`. Two neighbouring words make two neighbouring normals by the method of
//! Box and Muller, in f32 and with operations that every IEEE machine rounds alike (add, multiply,
//! divide, square root), so that normals are the same bytes everywhere and the loop vectorises.

use crate::effects::Effect;

/// Blocks made side by side; wide enough for any vector unit, small enough for its registers.
pub(crate) const LANES: usize = 8;

/// Blocks made side by side where there are many to make.
const MANY_LANES: usize = 32;

/// The random numbers of one effect on one die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

impl Stream {
    /// The stream of `effect` on the die drawn by `die`, under a run's `seed`.
    ///
    /// The effect enters by its name, so that draws outlive changes to the list of effects.
    pub fn new(seed: u64, die: u64, effect: Effect) -> Self {
        let named = effect.name().bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
        let key = mix(named ^ mix(die));
        Self { key: [key as u32, (key >> 32) as u32] }
    }

    /// The block of this counter: four independent words.
    pub fn words(&self, counter: [u32; 4]) -> [u32; 4] {
        philox(counter.map(|word| [word]), self.key).map(|[word]| word)
    }

    /// Draw `k` of `[a, b, c]`, uniform in the open interval (0, 1).
    pub fn uniform(&self, [a, b, c, k]: [u32; 4]) -> f64 {
        let words = self.words([a, b, c, k / 4]);
        (f64::from(words[(k % 4) as usize]) + 0.5) / 4_294_967_296.0
    }

    /// Draw `k` of `[a, b, c]`, normal with mean 0 and variance 1, at most 6.8 in size.
    ///
    /// The same number as entry `k` of [`Stream::fill_normals`].
    pub fn normal(&self, key: [u32; 4]) -> f64 {
        let [normal] = self.normals([key]);
        normal
    }

    /// [`Stream::normal`] of several draws at once, which costs less than one by one.
    pub fn normals<const N: usize>(&self, keys: [[u32; 4]; N]) -> [f64; N] {
        let word = |at: usize| keys.map(|key| key[at]);
        let [w0, w1, w2, w3] =
            philox([word(0), word(1), word(2), word(3).map(|k| k / 4)], self.key);
        std::array::from_fn(|lane| {
            let k = keys[lane][3];
            let first = k & 2 == 0;
            let radius = if first { w0[lane] } else { w2[lane] };
            let angle = if first { w1[lane] } else { w3[lane] };
            let [even, odd] = normal_pair(radius, angle);
            f64::from(if k & 1 == 0 { even } else { odd })
        })
    }

    /// Draws 0, 1, 2, ... of `place`, normal with mean 0 and variance 1.
    pub fn fill_normals(&self, place: [u32; 3], out: &mut [f32]) {
        // Whole runs of many blocks first: side by side they cost two thirds of what few blocks do.
        let whole = out.len() - out.len() % (4 * MANY_LANES);
        let (many, few) = out.split_at_mut(whole);
        self.fill_by::<MANY_LANES>(place, 0, many);
        self.fill_by::<LANES>(place, whole / 4, few);
    }

    /// Fills from the block `first` on, `N` blocks at a time.
    fn fill_by<const N: usize>(&self, [a, b, c]: [u32; 3], first: usize, out: &mut [f32]) {
        for (start, chunk) in (first as u32..).step_by(N).zip(out.chunks_mut(4 * N)) {
            let block: [u32; N] = std::array::from_fn(|lane| start + lane as u32);
            let [w0, w1, w2, w3] = philox([[a; N], [b; N], [c; N], block], self.key);
            // One loop per pair and one to turn them: each becomes a vector loop.
            let mut pairs = [[0.0; N]; 4];
            for lane in 0..N {
                [pairs[0][lane], pairs[1][lane]] = normal_pair(w0[lane], w1[lane]);
            }
            for lane in 0..N {
                [pairs[2][lane], pairs[3][lane]] = normal_pair(w2[lane], w3[lane]);
            }
            let normals: [[f32; 4]; N] = std::array::from_fn(|lane| pairs.map(|it| it[lane]));
            chunk.copy_from_slice(&normals.as_flattened()[..chunk.len()]);
        }
    }
}

/// Scrambles 64 bits one to one: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA'14,
/// doi 10.1145/2660193.2660195) after one step of its counter.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Ten rounds of Philox4x32 on `N` counters at once.
#[inline]
fn philox<const N: usize>(counter: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        for lane in 0..N {
            let left = u64::from(c0[lane]) * 0xd251_1f53;
            let right = u64::from(c2[lane]) * 0xcd9e_8d57;
            c0[lane] = (right >> 32) as u32 ^ c1[lane] ^ k0;
            c1[lane] = right as u32;
            c2[lane] = (left >> 32) as u32 ^ c3[lane] ^ k1;
            c3[lane] = left as u32;
        }
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    [c0, c1, c2, c3]
}

/// Box and Muller: the radius from one word, a point of the unit circle from the other.
///
/// The circle is four arcs of a quarter turn: one round the positive x axis, its mirror image in the
/// diagonal, and both turned by half a turn. Two bits choose the arc, thirty the place on it.
#[inline]
fn normal_pair(radius: u32, angle: u32) -> [f32; 2] {
    // u lies in [2^-33, 1] after rounding to f32, so the radius is at most sqrt(66 ln 2) < 6.8.
    let u = (radius as f32 + 0.5) * (1.0 / 4_294_967_296.0);
    let r = (-2.0 * ln(u)).max(0.0).sqrt();
    let x = ((angle << 2) as i32) as f32 * (std::f32::consts::FRAC_PI_4 / 2_147_483_648.0);
    let (sin, cos) = sin_cos(x);
    let r = if angle >> 31 == 0 { r } else { -r };
    if angle & 0x4000_0000 == 0 { [r * cos, r * sin] } else { [r * sin, r * cos] }
}

/// Natural logarithm of a normal positive number, to 3e-7 of its size or absolutely.
///
/// `ln(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1))` with m within a factor sqrt 2 of 1, where five
/// terms of the series leave 1e-9.
#[inline]
fn ln(x: f32) -> f32 {
    const SQRT_HALF_BITS: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let shifted = x.to_bits().wrapping_sub(SQRT_HALF_BITS) as i32;
    let exponent = shifted >> 23;
    let m = f32::from_bits(((shifted & 0x007f_ffff) as u32).wrapping_add(SQRT_HALF_BITS));
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + 2.0 * s * series
}

/// Sine and cosine of an angle of at most an eighth of a turn, to 1.2e-7: their Taylor series.
#[inline]
fn sin_cos(x: f32) -> (f32, f32) {
    let q = x * x;
    let sin = 1.0 - q * (1.0 / 6.0 - q * (1.0 / 120.0 - q * (1.0 / 5040.0 - q / 362_880.0)));
    let cos = 1.0 - q * (0.5 - q * (1.0 / 24.0 - q * (1.0 / 720.0 - q / 40_320.0)));
    (x * sin, cos)
}

#[cfg(test)]
mod tests {
    use super::{Stream, ln, sin_cos};
    use crate::effects::Effect;

    /// The three vectors that the authors publish with Random123 (`tests/kat_vectors`).
    #[test]
    fn philox_gives_the_published_vectors() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in cases {
            assert_eq!(Stream { key }.words(counter), words);
        }
    }

    #[test]
    fn streams_differ_in_seed_die_and_effect() {
        let streams = [
            Stream::new(0, 0, Effect::Read),
            Stream::new(1, 0, Effect::Read),
            Stream::new(0, 1, Effect::Read),
            Stream::new(0, 0, Effect::Stuck),
        ];
        for (index, stream) in streams.iter().enumerate() {
            assert!(!streams[..index].contains(stream), "{stream:?}");
        }
    }

    #[test]
    fn filling_gives_the_single_draws_at_any_length() {
        let stream = Stream::new(7, 3, Effect::Programming);
        let mut long = [0.0; 301];
        stream.fill_normals([1, 2, 3], &mut long);
        let mut short = [0.0; 37];
        stream.fill_normals([1, 2, 3], &mut short);
        assert_eq!(long[..37], short);
        for (k, &normal) in (0..).zip(&long) {
            assert_eq!(stream.normal([1, 2, 3, k]), f64::from(normal), "draw {k}");
        }
    }

    #[test]
    fn uniforms_stay_inside_the_open_interval_and_fill_it() {
        let stream = Stream::new(0, 0, Effect::Stuck);
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|k| stream.uniform([0, 0, 0, k])).collect();
        assert!(draws.iter().all(|&u| 0.0 < u && u < 1.0));
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        // Four standard errors of a uniform mean: 4 / sqrt(12 n) = 0.0037.
        assert!((mean - 0.5).abs() < 0.0037, "{mean}");
    }

    #[test]
    fn normals_have_the_moments_and_tails_of_the_normal_distribution() {
        let mut z = vec![0.0f32; 1 << 20];
        Stream::new(5, 0, Effect::Read).fill_normals([0; 3], &mut z);
        let n = z.len() as f64;
        let moment = |p: i32| z.iter().map(|&z| f64::from(z).powi(p)).sum::<f64>() / n;
        let share = |limit: f32| z.iter().filter(|z| z.abs() > limit).count() as f64 / n;
        // Each bound is four standard errors at this count.
        assert!(moment(1).abs() < 0.004, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.0056, "{}", moment(2));
        assert!(moment(3).abs() < 0.0152, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.0383, "{}", moment(4));
        assert!((share(1.0) - 0.317_31).abs() < 0.001_82, "{}", share(1.0));
        assert!((share(3.0) - 0.002_70).abs() < 0.000_203, "{}", share(3.0));
        let neighbours = z.chunks_exact(2).map(|pair| f64::from(pair[0] * pair[1])).sum::<f64>();
        assert!((neighbours / (n / 2.0)).abs() < 0.0056, "{neighbours}");
    }

    #[test]
    fn series_keep_their_bounds() {
        for step in 1..=200_000u32 {
            let u = step as f32 / 200_000.0;
            let exact = libm::log(f64::from(u));
            let bound = 3e-7 * exact.abs().max(1.0);
            assert!((f64::from(ln(u)) - exact).abs() <= bound, "ln {u}");
            let x = (u - 0.5) * std::f32::consts::FRAC_PI_2;
            let (sin, cos) = sin_cos(x);
            assert!((f64::from(sin) - libm::sin(f64::from(x))).abs() <= 1.2e-7, "sin {x}");
            assert!((f64::from(cos) - libm::cos(f64::from(x))).abs() <= 1.2e-7, "cos {x}");
        }
        let smallest = 1.0 / 8_589_934_592.0;
        assert!((f64::from(ln(smallest)) + 33.0 * std::f64::consts::LN_2).abs() < 1e-5);
    }
}
