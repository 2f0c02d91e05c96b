//! How often converters ran out of range.

use std::ops::AddAssign;

use nvcim_ir::ids::{IdVec, LayerId, TileId};

/// Conversions, and how many of them were clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClipCount {
    /// Conversions clipped to the lowest code.
    pub low: u64,
    /// Conversions clipped to the highest code.
    pub high: u64,
    /// All conversions; each pass counts, and each slice that is converted.
    pub total: u64,
}

impl ClipCount {
    /// The share of conversions that were clipped, 0 to 1; 0 where there were none.
    pub fn fraction(&self) -> f64 {
        (self.low + self.high) as f64 / self.total.max(1) as f64
    }
}

impl AddAssign for ClipCount {
    fn add_assign(&mut self, other: Self) {
        let Self { low, high, total } = other;
        self.low += low;
        self.high += high;
        self.total += total;
    }
}

/// Clipped conversions by tile and by layer. An ideal converter clips nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Clips {
    /// By tile.
    pub tiles: IdVec<TileId, ClipCount>,
    /// By layer: the sums over its tiles.
    pub layers: IdVec<LayerId, ClipCount>,
}

impl AddAssign<&Clips> for Clips {
    /// Adds the counts of another run of the same image.
    fn add_assign(&mut self, other: &Clips) {
        self.tiles.iter_mut().zip(&other.tiles).for_each(|(sum, count)| *sum += *count);
        self.layers.iter_mut().zip(&other.layers).for_each(|(sum, count)| *sum += *count);
    }
}
