//! Stuck cells: a cell that holds one conductance whatever is programmed.

use crate::describe::Cell;
use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Shares of cells stuck at either end of the range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stuck {
    /// Share of cells stuck at `g_min`, 0 to 1.
    pub stuck_gmin: f64,
    /// Share of cells stuck at `g_max`, 0 to 1; the sum of both is at most 1.
    pub stuck_gmax: f64,
}

impl Model for Stuck {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            stuck_gmin: section.number("stuck_gmin", 0.0..=1.0),
            stuck_gmax: section.number("stuck_gmax", 0.0..=1.0),
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { stuck_gmin, stuck_gmax } = self;
        out.value("stuck_gmin", stuck_gmin);
        out.value("stuck_gmax", stuck_gmax);
    }
}

impl Stuck {
    /// The conductance that a cell is stuck at, in siemens, decided by one uniform draw from (0, 1);
    /// `None` for a good cell.
    pub fn decide(&self, uniform: f64, cell: &Cell) -> Option<f64> {
        if uniform < self.stuck_gmin {
            Some(cell.g_min)
        } else if uniform < self.stuck_gmin + self.stuck_gmax {
            Some(cell.g_max)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stuck;
    use crate::describe::Cell;

    #[test]
    fn the_uniform_interval_is_cut_at_the_shares() {
        let stuck = Stuck { stuck_gmin: 0.25, stuck_gmax: 0.5 };
        let cell = Cell { g_min: 1e-6, g_max: 9e-6, n_levels: None };
        let decide = |uniform| stuck.decide(uniform, &cell);
        assert_eq!((decide(0.1), decide(0.3), decide(0.8)), (Some(1e-6), Some(9e-6), None));
    }

    #[test]
    fn no_share_means_no_stuck_cell() {
        let cell = Cell { g_min: 0.0, g_max: 1e-4, n_levels: None };
        assert_eq!(Stuck { stuck_gmin: 0.0, stuck_gmax: 0.0 }.decide(1e-10, &cell), None);
    }
}
