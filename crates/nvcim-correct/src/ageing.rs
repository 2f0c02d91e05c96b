//! A measured tile at another time: what drift is expected to make of its currents until it is used.
//!
//! A conversion that is measured to answer `y = g p + o` will answer `g f p + o` at a time at which the
//! chip's statistics expect `f p` of its cells instead of `p`. Scales are multiplied by `k` against that: for a
//! moment `k = 1 / f` of each conversion; for a span of time one `k` a tile, the one whose worst relative error
//! over the span is smallest ([`crate::span`]).
//! While it is measured a tile has the scales of that time, so that layers behind it get inputs of the right
//! size. What an offset adds does not age, so that the shift gains
//! `s o (1 - k)` at the scale `s`; and ranges follow the largest `f`, about the offset.

use ndarray::{Array1, Array2};
use nvcim_chip::statistics::CellStatistics;
use nvcim_ir::diag::Result;
use nvcim_ir::ids::TileId;
use nvcim_ir::programmed::ProgrammedTile;
use nvcim_ir::tiled::AdcRange;

use crate::affine::regress;
use crate::faults::Faults;
use crate::known::Known;
use crate::outcome::{Outcome, Place};
use crate::plan::{Correction, Plan};
use crate::predict::predict_readouts;
use crate::span::{scale_for_span, span_times};

/// Times of a span that are looked at.
const N_TIMES: usize = 5;

/// Shares of a current that are left at most and at least, as far as this file believes.
const SHARES: [f64; 2] = [0.02, 50.0];

/// The chip's cells at the times of use.
#[derive(Debug)]
pub(crate) struct Aged {
    /// At the time that cells aim at, where that is not the only time.
    aim: Option<CellStatistics>,
    times: Vec<CellStatistics>,
}

/// What the times of use make of a tile.
#[derive(Debug, Clone)]
pub(crate) struct Ageing {
    /// The share that each readout is expected to have, `[times, readouts]`.
    shares: Array2<f64>,
    /// The same at the time that cells, and with them nominal scales, aim at.
    aim: Vec<f64>,
    /// The factor on each readout's scale.
    factors: Vec<f64>,
    /// What each readout answers without any drive, in normalised current.
    offsets: Vec<f64>,
    gap: Option<f64>,
    before: f64,
    after: f64,
}

impl Aged {
    /// The times of use; `None` where they are that of measuring, or drift is not to be corrected.
    ///
    /// # Errors
    /// A span that ends before it begins.
    pub(crate) fn new(known: &Known<'_>, plan: Plan) -> Result<Option<Self>> {
        let [from, to] = known.span_s();
        if !plan.has(Correction::Drift) || [from, to] == [known.at_s; 2] {
            return Ok(None);
        }
        let times = match from == to {
            true => Array1::from(vec![from]),
            false => span_times(from, to, known.t0_s(), N_TIMES)?,
        };
        let at = |&at_s: &f64| CellStatistics::new(known.chip, known.effects, at_s);
        let aim = (from != to).then(|| at(&known.aim_s()));
        Ok(Some(Self { aim, times: times.iter().map(at).collect() }))
    }

    /// What is expected of a tile under `drives`, `[vectors, tile rows]`, which `expected`,
    /// `[vectors, readouts]`, is expected of at the time of measuring.
    pub(crate) fn expect(
        &self,
        tile: &ProgrammedTile,
        known: &Known<'_>,
        faults: &Faults,
        (drives, expected): (&Array2<f32>, &Array2<f32>),
    ) -> Result<Ageing> {
        let n_readouts = tile.readouts.len();
        let shares_at = |statistics: &CellStatistics| -> Vec<f64> {
            let seen = predict_readouts(tile, known, statistics, faults).mapv(|g| g as f32);
            let later = drives.dot(&seen);
            let columns = expected.columns().into_iter().zip(later.columns());
            let share = |(now, later)| regress(now, later).map_or(1.0, |[gain, _]| gain);
            columns.map(share).map(|share| share.clamp(SHARES[0], SHARES[1])).collect()
        };
        let mut shares = Array2::ones((self.times.len(), n_readouts));
        for (statistics, mut shares) in self.times.iter().zip(shares.outer_iter_mut()) {
            shares.assign(&Array1::from(shares_at(statistics)));
        }
        let worst = |factors: &[f64]| {
            let off = |(share, factor): (&f64, &f64)| (share * factor - 1.0).abs();
            let rows = shares.outer_iter();
            rows.flat_map(|row| row.iter().zip(factors).map(off).collect::<Vec<_>>())
                .fold(0.0, f64::max)
        };
        let (factors, gap) = if shares.nrows() == 1 {
            (shares.iter().map(|share| 1.0 / share).collect(), None)
        } else {
            let scale = scale_for_span(shares.view(), None)?;
            (vec![scale.scale; n_readouts], Some(scale.gap))
        };
        let (before, after) = (worst(&vec![1.0; n_readouts]), worst(&factors));
        let aim = match &self.aim {
            Some(aim) => shares_at(aim),
            None => shares.row(0).to_vec(),
        };
        Ok(Ageing { shares, aim, factors, offsets: vec![0.0; n_readouts], gap, before, after })
    }
}

impl Ageing {
    /// Looks up what readouts answer without any drive, from `currents` measured where `expected` is expected.
    pub(crate) fn find_offsets(&mut self, expected: &Array2<f32>, currents: &Array2<f32>) {
        let columns = expected.columns().into_iter().zip(currents.columns());
        for (offset, (p, y)) in self.offsets.iter_mut().zip(columns) {
            *offset = regress(p, y).map_or(0.0, |[_, offset]| offset);
        }
    }

    /// Turns nominal scales, which are those of the time that cells aim at, to the time of measuring.
    pub(crate) fn apply_now(&self, tile: &mut ProgrammedTile) {
        for (scaled, share) in tile.readouts.iter_mut().zip(&self.aim) {
            scaled.scale = (f64::from(scaled.scale) * share) as f32;
        }
    }

    /// Changes a tile's scales, shifts and ranges from the time of measuring to the times of use.
    pub(crate) fn apply(&self, tile: &mut ProgrammedTile) {
        let most = self.shares.iter().fold(0.0_f64, |most, share| most.max(*share));
        for (at, scaled) in tile.readouts.iter_mut().enumerate() {
            let (factor, offset) = (self.factors[at], self.offsets[at]);
            let scale = f64::from(scaled.scale);
            scaled.scale = (scale * factor) as f32;
            scaled.shift += (scale * offset * (1.0 - factor)) as f32;
            let AdcRange { lo, hi } = scaled.readout.range;
            let follow = |end: f32| (offset + most * (f64::from(end) - offset)) as f32;
            let range = AdcRange { lo: follow(lo), hi: follow(hi) };
            if range.lo < range.hi {
                scaled.readout.range = range;
            }
        }
    }

    pub(crate) fn outcome(&self, tile: TileId) -> Outcome {
        let of_tile = (Correction::Drift, Place::Tile(tile));
        let outcome = Outcome::new(of_tile, true, self.factors.len(), [self.before, self.after]);
        Outcome { gap: self.gap, ..outcome }
    }
}
