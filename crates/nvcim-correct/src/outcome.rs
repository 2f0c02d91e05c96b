//! What each correction did: whether it was kept, what it changed, what it was expected to bring.

use nvcim_ir::ids::{LayerId, TileId};

use crate::plan::Correction;

/// What a correction was applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The whole network.
    Net,
    /// A layer.
    Layer(LayerId),
    /// A tile of the programmed net.
    Tile(TileId),
}

/// How a correction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It helps, as far as can be said, and stays.
    Kept,
    /// It did not help on held-out images, and was taken back.
    Dropped,
    /// It was not tried: the tile shares its array with others, and it is meant for tiles alone.
    LeftOut,
}

/// One correction in one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The correction.
    pub correction: Correction,
    /// Where.
    pub place: Place,
    /// How it ended.
    pub status: Status,
    /// The relative gap between what was reached and a bound on what can be; `None` where nothing is known.
    pub gap: Option<f64>,
    /// How many things changed: rows, columns and signs for `rows`, tiles for `arrays`, conversions for
    /// `ranges`, columns otherwise.
    pub changed: usize,
    /// Root mean square error expected before, relative to what is wanted of the outputs.
    pub before: f64,
    /// The same after.
    pub after: f64,
}

impl Outcome {
    /// A correction that is `kept` or dropped, with what it would change and the errors before and after.
    /// What is dropped changes nothing.
    pub(crate) fn new(
        (correction, place): (Correction, Place),
        kept: bool,
        changed: usize,
        [before, after]: [f64; 2],
    ) -> Self {
        let status = if kept { Status::Kept } else { Status::Dropped };
        let changed = if kept { changed } else { 0 };
        Self { correction, place, status, gap: None, changed, before, after }
    }

    /// A correction that was not tried, and changes nothing.
    pub(crate) fn left_out((correction, place): (Correction, Place)) -> Self {
        let (gap, changed, before, after) = (None, 0, 0.0, 0.0);
        Self { correction, place, status: Status::LeftOut, gap, changed, before, after }
    }

    /// The same with a gap to what can be reached.
    pub(crate) fn with_gap(self, gap: f64) -> Self {
        Self { gap: Some(gap), ..self }
    }
}
