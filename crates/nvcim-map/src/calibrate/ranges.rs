//! Turning current spans into ADC settings at the granularity that the chip has.

use nvcim_chip::describe::RangePer;
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::tiled::{AdcRange, Readout};

use super::Task;
use super::currents::Slot;
use crate::span::Span;

/// The narrowest range, in normalised current and relative to its ends: a column that never carries
/// current still needs a converter setting with `lo` below `hi`.
const LEAST_WIDTH: f32 = 1e-4;

/// One conversion and the currents that it must cover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The conversion.
    pub(super) slot: Slot,
    /// The currents.
    pub(super) span: Span,
}

/// A setting for every conversion of every cut; what shares a setting covers all that share it.
pub(super) fn set_ranges(task: &Task<'_>, currents: Vec<Vec<Seen>>) -> Vec<Vec<Readout>> {
    let join = |seen: &[Seen]| seen.iter().map(|it| it.span).fold(Span::EMPTY, Span::join);
    let tiles: Vec<Span> = currents.iter().map(|seen| join(seen)).collect();
    let mut layers: IdVec<LayerId, Span> = task.layers.iter().map(|_| Span::EMPTY).collect();
    for (cut, &span) in task.cuts.iter().zip(&tiles) {
        layers[cut.layer] = layers[cut.layer].join(span);
    }
    let set = |(at, seen): (usize, Vec<Seen>)| {
        let set_one = |it: Seen| {
            let shared = match task.chip.adc.range_per {
                RangePer::Column => it.span,
                RangePer::Tile => tiles[at],
                RangePer::Layer => layers[task.cuts[at].layer],
            };
            let Slot { col, slice, rows, terminal } = it.slot;
            Readout { col, slice, rows, terminal, range: widen(shared) }
        };
        seen.into_iter().map(set_one).collect()
    };
    currents.into_iter().enumerate().map(set).collect()
}

/// The range of a span, widened about its middle where it is next to nothing.
fn widen(span: Span) -> AdcRange {
    let least = LEAST_WIDTH * span.magnitude().max(1.0);
    let short = (least - (span.hi - span.lo)).max(0.0);
    AdcRange { lo: span.lo - short / 2.0, hi: span.hi + short / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::{Span, widen};

    #[test]
    fn a_dead_column_gets_a_narrow_range_round_its_current() {
        let range = widen(Span::ZERO);
        assert!(range.lo < 0.0 && range.hi > 0.0 && range.hi - range.lo < 1e-3, "{range:?}");
        for at in [1e-30, -3.0, 5000.0] {
            let range = widen(Span { lo: at, hi: at });
            assert!(range.lo < at && at < range.hi, "{range:?}");
        }
    }

    #[test]
    fn a_wide_span_is_taken_as_it_is() {
        let range = widen(Span { lo: -1.5, hi: 2.0 });
        assert_eq!((range.lo, range.hi), (-1.5, 2.0));
    }
}
