//! Read disturb: each read moves a conductance by a small share of itself.
//!
//! `g (1 + d)^n` after `n` reads, kept inside the programmable range as far as `g` was: a read can wear a
//! cell up to its highest conductance or down to nothing, not beyond. The generic first-order form.

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::Draw;
use crate::reader::Section;
use crate::writer::Writer;

/// Conductance moved by reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disturb {
    /// Relative change of the conductance per read.
    pub dg_of_g_per_read: f64,
    /// Reads since programming.
    pub reads: f64,
}

impl Model for Disturb {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            dg_of_g_per_read: section.number("dg_of_g_per_read", -1e-2..=1e-2),
            reads: section.number("reads", 0.0..=1e15),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { dg_of_g_per_read, reads } = self;
        out.value("dg_of_g_per_read", dg_of_g_per_read);
        out.value("reads", reads);
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Disturb {
    fn draws(&self) -> &'static [Draw] {
        &[]
    }

    fn apply(&self, g: f64, _z: &[f64], state: &CellState) -> f64 {
        if g <= 0.0 {
            return g;
        }
        let moved = g * libm::exp(self.reads * libm::log1p(self.dg_of_g_per_read));
        moved.min(g.max(state.cell.g_max))
    }
}

#[cfg(test)]
mod tests {
    use super::Disturb;
    use crate::effects::conductance::CellEffect;
    use crate::testing::state_at;

    #[test]
    fn reads_compound_up_to_the_range() {
        let after = |dg_of_g_per_read, reads| {
            let state = state_at(50e-6, 0.0);
            Disturb { dg_of_g_per_read, reads }.apply(50e-6, &[], &state)
        };
        assert!((after(1e-3, 100.0) / (50e-6 * 1.001f64.powi(100)) - 1.0).abs() < 1e-12);
        assert_eq!(after(1e-3, 0.0), 50e-6);
        assert_eq!(after(1e-2, 1e15), 100e-6);
        assert!(after(-1e-2, 1e15) < 1e-300);
    }
}
