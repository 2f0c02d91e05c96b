//! Gradients: dies that differ as a whole, arrays that differ, and a slope across each array.
//!
//! `g (1 + die z_d + array z_a + slope (y cos phi + x sin phi))` with `x` and `y` the cell's place between
//! the edges of its array, -1/2 to 1/2, one normal draw `z_d` per die, and one normal draw `z_a` and one
//! uniform direction `phi` per array. It acts right after programming: a write that is verified by the
//! same sense stage sees a cell and its neighbours alike. The first-order picture of process variation
//! within a wafer and within a die: M. Pelgrom, A. Duinmaijer and A. Welbers, IEEE J. Solid-State
//! Circuits 24 (1989) 1433, doi 10.1109/JSSC.1989.572629.

use crate::effects::Model;
use crate::effects::conductance::{CellEffect, CellState};
use crate::effects::draws::{Draw, Scope};
use crate::reader::Section;
use crate::writer::Writer;

/// Smooth variation of conductances over dies and arrays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gradient {
    /// Standard deviation from die to die, as a share of the conductance.
    pub die_sd_of_g: f64,
    /// Standard deviation from array to array, as a share of the conductance.
    pub array_sd_of_g: f64,
    /// Change from one edge of an array to the other, as a share of the conductance.
    pub slope_of_g: f64,
}

impl Model for Gradient {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            die_sd_of_g: section.number("die_sd_of_g", 0.0..=1.0),
            array_sd_of_g: section.number("array_sd_of_g", 0.0..=1.0),
            slope_of_g: section.number("slope_of_g", 0.0..=1.0),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { die_sd_of_g, array_sd_of_g, slope_of_g } = self;
        out.value("die_sd_of_g", die_sd_of_g);
        out.value("array_sd_of_g", array_sd_of_g);
        out.value("slope_of_g", slope_of_g);
    }

    fn on_cells(&self) -> Option<&dyn CellEffect> {
        Some(self)
    }
}

impl CellEffect for Gradient {
    fn draws(&self) -> &'static [Draw] {
        &[Draw::Normal(Scope::Die), Draw::Normal(Scope::Array), Draw::Uniform(Scope::Array)]
    }

    fn apply(&self, g: f64, z: &[f64], state: &CellState) -> f64 {
        let &[die, array, turn] = z else { return g };
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * turn);
        let [row, col] = state.position;
        let level = self.die_sd_of_g * die + self.array_sd_of_g * array;
        g * (1.0 + level + self.slope_of_g * (row * cos + col * sin))
    }
}

#[cfg(test)]
mod tests {
    use super::Gradient;
    use crate::effects::conductance::CellEffect;
    use crate::testing::state_at;

    #[test]
    fn a_slope_runs_from_edge_to_edge_in_its_direction() {
        let gradient = Gradient { die_sd_of_g: 0.1, array_sd_of_g: 0.01, slope_of_g: 0.2 };
        let share = |turn, position| {
            let mut state = state_at(50e-6, 0.0);
            state.position = position;
            gradient.apply(1.0, &[1.0, -2.0, turn], &state)
        };
        assert!((share(0.3, [0.0, 0.0]) - 1.08).abs() < 1e-12);
        // Along rows, against columns.
        assert!((share(0.0, [0.5, 0.3]) - 1.18).abs() < 1e-12);
        assert!((share(0.75, [0.5, 0.25]) - 1.03).abs() < 1e-12);
    }
}
