//! Conversions that stay prepared from one measurement to the next.
//!
//! A bench asks for the same conversions again and again, with other drives: image by image, tile by tile.
//! To prepare them costs a walk over all their cells, often more than to convert a few vectors, so that the
//! kernels of the last requests are kept, the latest first. A kernel depends on the request, on the die's cells
//! and on what a die never changes; its owner must therefore clear them whenever a cell is programmed.

use std::collections::VecDeque;

use nvcim_chip::die::Conversion;
use nvcim_ir::ids::ArrayId;

use crate::kernel::Kernel;

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
}

/// The kernels of the last requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prepared {
    /// Latest first.
    kept: VecDeque<(Asked, Kernel)>,
}

impl Prepared {
    /// The kernel of a request, if it is kept. Whoever takes it keeps it again after use.
    pub(crate) fn take(&mut self, asked: &Asked) -> Option<Kernel> {
        let at = self.kept.iter().position(|(kept, _)| kept == asked)?;
        self.kept.remove(at).map(|(_, kernel)| kernel)
    }

    /// Keeps a kernel, and drops the oldest that there is no room for.
    pub(crate) fn keep(&mut self, asked: Asked, kernel: Kernel) {
        self.kept.push_front((asked, kernel));
        let mut n_seen = 0;
        let fits = |(asked, _): &&(Asked, Kernel)| {
            n_seen += asked.n_seen();
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
