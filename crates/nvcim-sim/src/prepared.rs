//! Conversions that stay prepared from one measurement to the next.
//!
//! A bench asks for the same conversions again and again, with other drives or ranges: image by image, tile by
//! tile, range by range. To prepare them costs a walk over all their cells, often more than to convert a few
//! vectors, so that the kernels of the last requests are kept, the latest first. What a kernel sees of the cells
//! depends on the lines of the request, on the die's cells and on what a die never changes; its owner must
//! therefore clear them whenever a cell is programmed.

use std::collections::VecDeque;

use nvcim_chip::die::Conversion;
use nvcim_ir::ids::ArrayId;

use crate::kernel::{Currents, Kernel};

/// Cells, each seen by one conversion, that are kept at most: some MB, and more than a layer of tens of
/// tiles needs.
const MAX_SEEN: usize = 1 << 20;

/// What a measurement asks for, but for its drives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) array: ArrayId,
    pub(crate) rows: Vec<u32>,
    pub(crate) conversions: Vec<Conversion>,
}

impl Asked {
    fn n_seen(&self) -> usize {
        self.rows.len() * self.conversions.len()
    }

    /// Whether both ask for the same cells in the same order, in whatever ranges.
    fn sees_the_cells_of(&self, other: &Self) -> bool {
        let lines =
            |it: &Self| it.conversions.iter().map(|it| (it.col, it.minus)).collect::<Vec<_>>();
        self.array == other.array && self.rows == other.rows && lines(self) == lines(other)
    }
}

/// A request with its kernel.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) asked: Asked,
    /// What the kernel was made of: the same in other ranges.
    pub(crate) currents: Currents,
    pub(crate) kernel: Kernel,
}

/// The kernels of the last requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prepared {
    /// Latest first.
    kept: VecDeque<Ready>,
}

impl Prepared {
    /// What is kept of a request, or of one that differs in its ranges alone. Whoever takes it keeps it again
    /// after use.
    pub(crate) fn take(&mut self, asked: &Asked) -> Option<Ready> {
        let at = self.kept.iter().position(|kept| kept.asked.sees_the_cells_of(asked))?;
        self.kept.remove(at)
    }

    /// Keeps a kernel, and drops the oldest that there is no room for.
    pub(crate) fn keep(&mut self, ready: Ready) {
        self.kept.push_front(ready);
        let mut n_seen = 0;
        let fits = |ready: &&Ready| {
            n_seen += ready.asked.n_seen();
            n_seen <= MAX_SEEN
        };
        let n_kept = self.kept.iter().take_while(fits).count();
        self.kept.truncate(n_kept);
    }

    /// Forgets everything: a cell has changed.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}
