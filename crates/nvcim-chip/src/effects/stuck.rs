//! Stuck cells: a cell that holds one conductance whatever is programmed.
//!
//! Three kinds, drawn apart: cells stuck on their own, whole word and bit lines that carry no current,
//! and clusters. Clusters are a process of J. Neyman and E. L. Scott (J. R. Stat. Soc. B 20 (1958) 1):
//! each cell is the centre of one with a small chance, a cluster has a number of stuck cells drawn from
//! the Poisson distribution, and these scatter round the centre by a Gaussian of given spread.

use crate::describe::Cell;
use crate::effects::Model;
use crate::reader::Section;
use crate::writer::Writer;

/// Shares of cells and lines that cannot be programmed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stuck {
    /// Share of cells stuck at `g_min`, 0 to 1.
    pub stuck_gmin: f64,
    /// Share of cells stuck at `g_max`, 0 to 1; the sum of both is at most 1.
    pub stuck_gmax: f64,
    /// Share of word lines whose cells are stuck at 0 siemens.
    pub dead_rows: f64,
    /// Share of bit lines whose cells are stuck at 0 siemens.
    pub dead_cols: f64,
    /// Clusters of stuck cells.
    pub clusters: Clusters,
}

/// Clusters of stuck cells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Clusters {
    /// Centres per cell.
    pub density: f64,
    /// Mean number of stuck cells of a cluster.
    pub size: f64,
    /// Standard deviation of a stuck cell's distance from the centre, along rows and along columns.
    pub spread_cells: f64,
    /// Share of clusters stuck at `g_max`; the others are stuck at `g_min`.
    pub at_gmax: f64,
}

/// The largest mean size of a cluster, and how many cells one may have at most.
const MAX_SIZE: (f64, u32) = (256.0, 1024);

impl Model for Stuck {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            stuck_gmin: section.number("stuck_gmin", 0.0..=1.0),
            stuck_gmax: section.number("stuck_gmax", 0.0..=1.0),
            dead_rows: section.number_or("dead_rows", 0.0, 0.0..=1.0),
            dead_cols: section.number_or("dead_columns", 0.0, 0.0..=1.0),
            clusters: Clusters {
                density: section.number_or("cluster_density", 0.0, 0.0..=0.01),
                size: section.number_or("cluster_size", 0.0, 0.0..=MAX_SIZE.0),
                spread_cells: section.number_or("cluster_spread_cells", 0.0, 0.0..=4096.0),
                at_gmax: section.number_or("cluster_gmax", 0.0, 0.0..=1.0),
            },
        }
    }

    fn write(&self, out: &mut Writer) {
        let Self { stuck_gmin, stuck_gmax, dead_rows, dead_cols, clusters } = self;
        out.value("stuck_gmin", stuck_gmin);
        out.value("stuck_gmax", stuck_gmax);
        let Clusters { density, size, spread_cells, at_gmax } = clusters;
        let optional = [
            ("dead_rows", dead_rows),
            ("dead_columns", dead_cols),
            ("cluster_density", density),
            ("cluster_size", size),
            ("cluster_spread_cells", spread_cells),
            ("cluster_gmax", at_gmax),
        ];
        for (key, value) in optional.into_iter().filter(|(_, value)| **value != 0.0) {
            out.value(key, value);
        }
    }
}

impl Stuck {
    /// The conductance that a cell is stuck at on its own, in siemens, decided by one uniform draw from
    /// (0, 1); `None` for a good cell.
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

impl Clusters {
    /// The number of stuck cells of a cluster, decided by one uniform draw from (0, 1): the quantile of
    /// the Poisson distribution.
    pub fn decide_size(&self, uniform: f64) -> u32 {
        let mut term = libm::exp(-self.size);
        let (mut sum, mut n) = (term, 0);
        while sum < uniform && n < MAX_SIZE.1 {
            n += 1;
            term *= self.size / f64::from(n);
            sum += term;
        }
        n
    }

    /// The conductance that the cells of a cluster are stuck at, in siemens, decided by one uniform draw
    /// from (0, 1).
    pub fn decide_level(&self, uniform: f64, cell: &Cell) -> f64 {
        if uniform < self.at_gmax { cell.g_max } else { cell.g_min }
    }

    /// The line, of `n_lines`, that a stuck cell sits on whose cluster is centred on `centre`, decided by
    /// one standard normal draw; `None` where that is outside.
    pub fn decide_line(&self, centre: u32, z: f64, n_lines: u32) -> Option<u32> {
        let line = (f64::from(centre) + self.spread_cells * z).round_ties_even();
        (0.0..f64::from(n_lines)).contains(&line).then_some(line as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clusters, Stuck};
    use crate::describe::Cell;

    #[test]
    fn the_uniform_interval_is_cut_at_the_shares() {
        let stuck = Stuck { stuck_gmin: 0.25, stuck_gmax: 0.5, ..Stuck::default() };
        let cell = Cell { g_min: 1e-6, g_max: 9e-6, n_levels: None };
        let decide = |uniform| stuck.decide(uniform, &cell);
        assert_eq!((decide(0.1), decide(0.3), decide(0.8)), (Some(1e-6), Some(9e-6), None));
    }

    #[test]
    fn no_share_means_no_stuck_cell() {
        let cell = Cell { g_min: 0.0, g_max: 1e-4, n_levels: None };
        assert_eq!(Stuck::default().decide(1e-10, &cell), None);
    }

    #[test]
    fn sizes_are_quantiles_of_the_poisson_distribution() {
        let clusters = Clusters { size: 2.0, ..Clusters::default() };
        // Cumulative: 0.1353, 0.4060, 0.6767, 0.8571, ...
        let sizes = [0.13, 0.14, 0.40, 0.41, 0.67, 0.68, 0.857, 0.858];
        assert_eq!(sizes.map(|u| clusters.decide_size(u)), [0, 1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(Clusters::default().decide_size(1.0 - 1e-10), 0);
    }

    #[test]
    fn stuck_cells_of_a_cluster_stay_inside() {
        let clusters = Clusters { spread_cells: 2.0, at_gmax: 0.5, ..Clusters::default() };
        assert_eq!(clusters.decide_line(3, 1.0, 8), Some(5));
        assert_eq!(clusters.decide_line(3, -1.9, 8), None);
        assert_eq!(clusters.decide_line(3, 2.5, 8), None);
        let cell = Cell { g_min: 1.0, g_max: 2.0, n_levels: None };
        assert_eq!([0.4, 0.6].map(|u| clusters.decide_level(u, &cell)), [2.0, 1.0]);
    }
}
