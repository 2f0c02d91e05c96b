//! Programming error: how far a cell ends from its target.

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::reader::Section;
use crate::writer::Writer;

/// Gaussian error of each cell, independent of its state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Programming {
    /// Standard deviation as a share of `g_max - g_min`.
    pub sd_of_range: f64,
}

impl Model for Programming {
    fn read(section: &mut Section<'_>) -> Self {
        Self { sd_of_range: section.number("sd_of_range", 0.0..=1.0) }
    }

    fn write(&self, out: &mut Writer) {
        let Self { sd_of_range } = self;
        out.value("sd_of_range", sd_of_range);
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Programming {
    /// `g + sd (g_max - g_min) z`; the chain clips at 0.
    fn apply(&self, g: f64, z: f64, state: &CellState) -> f64 {
        g + self.sd_of_range * state.cell.range() * z
    }
}

#[cfg(test)]
mod tests {
    use super::Programming;
    use crate::describe::Cell;
    use crate::effects::conductance::{CellEffect, CellState};

    #[test]
    fn the_error_is_a_share_of_the_range() {
        let cell = Cell { g_min: 10e-6, g_max: 110e-6, n_levels: None };
        let state = CellState { cell, target: 50e-6, at_s: 0.0 };
        let g = Programming { sd_of_range: 0.03 }.apply(50e-6, -2.0, &state);
        assert!((g - 44e-6).abs() < 1e-18, "{g}");
    }
}
