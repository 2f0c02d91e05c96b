//! What a lab could measure of a die, drawn place by place: stuck cells, and the gain and offset of columns.
//!
//! Every draw is keyed by the die, the effect and the place, so that what is asked for of a die does not change
//! it. What a die is does not depend on the run, hence the run seed 0.

use std::collections::BTreeMap;

use crate::describe::Chip;
use crate::effects::Effect;
use crate::effects::stuck::{Clusters, Stuck};
use crate::random::Stream;

/// The measurable part of die number `seed` of a chip.
#[derive(Debug, Clone, Copy)]
pub struct DieDraws<'a> {
    chip: &'a Chip,
    seed: u64,
}

impl<'a> DieDraws<'a> {
    /// Die number `seed` of `chip`.
    pub fn new(chip: &'a Chip, seed: u64) -> Self {
        Self { chip, seed }
    }

    /// The stuck cells of an array; `None` where the chip describes none.
    pub fn stuck(&self, array: u32) -> Option<StuckMap<'a>> {
        let model = self.chip.effects.stuck.as_ref()?;
        Some(StuckMap::new(self.chip, model, Stream::new(0, self.seed, Effect::Stuck), array))
    }

    /// The gain of a bit line's converter, 1 for a perfect one; `None` where the chip describes none.
    pub fn column_gain(&self, array: u32, line: u32) -> Option<f64> {
        let gain = self.chip.effects.column_gain?;
        Some(gain.factor(self.of_converter(Effect::ColumnGain, array, line)))
    }

    /// The offset of a bit line's converter in LSB of the nominal range; `None` where the chip describes none.
    pub fn column_offset_lsb(&self, array: u32, line: u32) -> Option<f64> {
        let offset = self.chip.effects.column_offset?;
        Some(offset.lsb(self.of_converter(Effect::ColumnOffset, array, line)))
    }

    /// Bit lines that share a converter share its draw.
    fn of_converter(&self, effect: Effect, array: u32, line: u32) -> f64 {
        let at = self.chip.circuits.adc.converter_of(line);
        Stream::new(0, self.seed, effect).normal([array, 0, at, 0])
    }
}

/// The stuck cells of an array.
///
/// Cells stick on their own, under clusters, under dead lines: where several speak of one cell, the later one
/// holds.
#[derive(Debug, Clone)]
pub struct StuckMap<'a> {
    chip: &'a Chip,
    model: &'a Stuck,
    stream: Stream,
    array: u32,
    /// Cells that do not stick on their own.
    together: BTreeMap<(u32, u32), f64>,
}

/// Stands for a line in the place of a draw about the other axis alone; no array has so many.
const NO_LINE: u32 = u32::MAX;

impl<'a> StuckMap<'a> {
    fn new(chip: &'a Chip, model: &'a Stuck, stream: Stream, array: u32) -> Self {
        let mut map = Self { chip, model, stream, array, together: BTreeMap::new() };
        let (n_rows, n_cols) = map.dim();
        if model.clusters.density > 0.0 {
            map.add_clusters(&model.clusters);
        }
        let dead = |place: [u32; 2], share: f64| {
            share > 0.0 && stream.uniform([array, place[0], place[1], 0]) < share
        };
        for row in (0..n_rows).filter(|&row| dead([row, NO_LINE], model.dead_rows)) {
            map.together.extend((0..n_cols).map(|col| ((row, col), 0.0)));
        }
        for col in (0..n_cols).filter(|&col| dead([NO_LINE, col], model.dead_cols)) {
            map.together.extend((0..n_rows).map(|row| ((row, col), 0.0)));
        }
        map
    }

    /// What a cell is stuck at in siemens, where it is.
    pub fn of(&self, row: u32, col: u32) -> Option<f64> {
        if let Some(&g) = self.together.get(&(row, col)) {
            return Some(g);
        }
        self.model.decide(self.stream.uniform([self.array, row, col, 0]), &self.chip.cell)
    }

    fn dim(&self) -> (u32, u32) {
        (self.chip.arrays.n_rows as u32, self.chip.arrays.n_cols as u32)
    }

    /// Draws each cell's chance to be the centre of a cluster, and the cells of those that are. The draws of
    /// a centre: whether it is one, how many cells it has, where these stick, then two places a cell.
    fn add_clusters(&mut self, model: &Clusters) {
        let (stream, array, (n_rows, n_cols)) = (self.stream, self.array, self.dim());
        for (row, col) in (0..n_rows).flat_map(|row| (0..n_cols).map(move |col| (row, col))) {
            let uniform = |k| stream.uniform([array, row, col, k]);
            if uniform(1) >= model.density {
                continue;
            }
            let g = model.decide_level(uniform(3), &self.chip.cell);
            for cell in 0..model.decide_size(uniform(2)) {
                let z = |axis| stream.normal([array, row, col, 4 + 2 * cell + axis]);
                let place =
                    model.decide_line(row, z(0), n_rows).zip(model.decide_line(col, z(1), n_cols));
                self.together.extend(place.map(|place| (place, g)));
            }
        }
    }
}
