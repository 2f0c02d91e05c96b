//! What is to be packed: sheets of weights that share their rows, and the parts that they are cut into.

use std::collections::BTreeMap;

use nvcim_ir::ids::{Id, LayerId};

use super::{Matrix, Space};
use crate::cut::{self, Cut, Room};

/// Matrices side by side: those that read the same inputs, or one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sheet {
    /// The layers, each at its first column, ascending.
    layers: Vec<(usize, LayerId)>,
    n_cols: usize,
    /// Whether its parts are runs of blocks, which nothing may cut.
    pub(super) is_solid: bool,
}

/// A rectangle of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    /// The index of the sheet.
    pub(super) sheet: usize,
    row: usize,
    col: usize,
}

/// All sheets, and the parts that they are in before anything is cut for room.
#[derive(Debug, Clone, Default)]
pub(super) struct Stock {
    pub(super) sheets: Vec<Sheet>,
    pub(super) parts: Vec<Part>,
}

impl Stock {
    /// The matrices, at most `together` blocks of a grouped one in one part.
    pub(super) fn new(matrices: &[Matrix], space: Space, together: usize) -> Self {
        let mut stock = Self::default();
        let mut open: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (index, matrix) in matrices.iter().enumerate() {
            let layer = LayerId::new(index);
            let (groups, n_rows, n_cols) = matrix.blocks;
            if groups > 1 {
                stock.add_grouped(layer, matrix.blocks, space, together);
                continue;
            }
            // A reference column stands for one layer, so layers with one stay apart.
            let key = if space.references == 0 { (matrix.drives, 0) } else { (index, 1) };
            let sheet = *open.entry(key).or_insert_with(|| stock.add_sheet(n_rows));
            stock.sheets[sheet].add_layer(layer, n_cols);
            stock.widen_part(sheet);
        }
        stock
    }

    /// A sheet without columns yet, with its one part.
    fn add_sheet(&mut self, n_rows: usize) -> usize {
        let sheet = self.sheets.len();
        self.sheets.push(Sheet { layers: Vec::new(), n_cols: 0, is_solid: false });
        self.parts.push(Part { n_rows, n_cols: 0, sheet, row: 0, col: 0 });
        sheet
    }

    fn widen_part(&mut self, sheet: usize) {
        let part = self.parts.iter_mut().find(|part| part.sheet == sheet);
        part.expect("every sheet has a part").n_cols = self.sheets[sheet].n_cols;
    }

    /// A grouped layer: runs of whole blocks, or block by block where one alone must be cut.
    fn add_grouped(
        &mut self,
        layer: LayerId,
        blocks: (usize, usize, usize),
        space: Space,
        together: usize,
    ) {
        let (groups, n_rows, n_cols) = blocks;
        let fitting = space.blocks_together(blocks);
        let sheet = self.sheets.len();
        let layers = vec![(0, layer)];
        self.sheets.push(Sheet { layers, n_cols: groups * n_cols, is_solid: fitting > 0 });
        for run in cut::split(groups, together.min(fitting).max(1)) {
            self.parts.push(Part {
                n_rows: run.len() * n_rows,
                n_cols: run.len() * n_cols,
                sheet,
                row: run.start * n_rows,
                col: run.start * n_cols,
            });
        }
    }

    /// The rectangles of layers that `part` is made of, each with its first column in the part.
    pub(super) fn cuts_of(&self, part: &Part) -> impl Iterator<Item = (usize, Cut)> {
        let sheet = &self.sheets[part.sheet];
        let ends = sheet.layers.iter().skip(1).map(|(start, _)| *start).chain([sheet.n_cols]);
        let part = *part;
        sheet.layers.iter().zip(ends).filter_map(move |(&(start, layer), end)| {
            let cols = part.col.max(start)..(part.col + part.n_cols).min(end);
            let rows = part.row..part.row + part.n_rows;
            let place = cols.start.saturating_sub(part.col);
            (!cols.is_empty())
                .then(|| (place, Cut { layer, rows, cols: cols.start - start..cols.end - start }))
        })
    }
}

impl Sheet {
    fn add_layer(&mut self, layer: LayerId, n_cols: usize) {
        self.layers.push((self.n_cols, layer));
        self.n_cols += n_cols;
    }
}

impl Part {
    pub(super) fn n_weights(&self) -> usize {
        self.n_rows * self.n_cols
    }

    /// The part's first rows and columns, and what is left of it: nothing, one or two parts.
    pub(super) fn take(self, n_rows: usize, n_cols: usize) -> (Self, Vec<Self>) {
        let taken = Self { n_rows, n_cols, ..self };
        let [below, beside] = cut_l([self.n_rows, self.n_cols], [n_rows, n_cols]);
        let rest = [
            Self { n_rows: below[0], n_cols: below[1], row: self.row + n_rows, ..self },
            Self { n_rows: beside[0], n_cols: beside[1], col: self.col + n_cols, ..self },
        ];
        (taken, rest.into_iter().filter(|part| part.n_weights() > 0).collect())
    }
}

/// Rows and columns of what is left of a rectangle, `[rows, cols]`, without its first rows and columns: below
/// what is taken, and beside it. The larger of the two is as large as can be.
pub(super) fn cut_l(
    [n_rows, n_cols]: [usize; 2],
    [taken_rows, taken_cols]: [usize; 2],
) -> [[usize; 2]; 2] {
    let (below, beside) = (n_rows - taken_rows, n_cols - taken_cols);
    if below * n_cols >= n_rows * beside {
        [[below, n_cols], [taken_rows, beside]]
    } else {
        [[below, taken_cols], [n_rows, beside]]
    }
}

impl Space {
    /// Blocks of a grouped matrix that one tile takes together; 0 where one alone is too large.
    pub(super) fn blocks_together(&self, (_, n_rows, n_cols): (usize, usize, usize)) -> usize {
        let Room { n_rows: most_rows, n_cols: most_cols } = self.room();
        (most_rows / n_rows).min(most_cols / n_cols)
    }
}
