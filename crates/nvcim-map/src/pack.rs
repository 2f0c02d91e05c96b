//! Packing: where on which array every rectangle of every matrix sits.
//!
//! A *site* is an array, or two where pairs sit on two arrays; a *place* is the lines that one row or one
//! column of weights takes on it. Rectangles are placed in places, so that nothing here depends on how
//! weights are coded.
//!
//! # Modes
//! One tile per array ([`Pack::None`]) cuts matrices into the fewest, balanced rectangles. `concurrent`
//! tiles of an array share no row place and no column place, but for matrices that read the same inputs, which
//! lie side by side on the same rows; every one of them may run at any time. `dense` tiles share lines but no
//! cell, and take turns.
//!
//! # Phases
//! Matrices that read the same inputs become one sheet. Sheets are cut where room ends (`dense.rs`,
//! `concurrent.rs`), blocks of grouped layers never. Several orders are tried, and the packing with the fewest
//! sites, then conversions, then tiles wins. `bound.rs` says what no packing can go below.

mod bound;
mod concurrent;
mod dense;
mod stock;

use nvcim_chip::describe::{Chip, Pack, SignCoding};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::{Id, IdVec, LayerId};
use nvcim_ir::program::{self, Program};
use nvcim_ir::tiled::MatrixLayer;

use crate::cut::{self, Cut, Room};
use stock::{Part, Stock};

/// What packing needs to know of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Blocks on the diagonal: how many, and rows and columns of each.
    pub blocks: (usize, usize, usize),
    /// Equal for matrices that read the same inputs.
    pub drives: usize,
}

/// The places of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Places for rows of weights.
    pub n_rows: usize,
    /// Places for columns of weights, and for reference columns.
    pub n_cols: usize,
    /// Reference columns that every tile takes besides its own.
    pub references: usize,
}

/// A rectangle and where it sits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The rectangle.
    pub cut: Cut,
    /// Where.
    pub spot: Spot,
}

/// Where a tile begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The site.
    pub site: usize,
    /// The first row place.
    pub row: usize,
    /// The first column place.
    pub col: usize,
}

/// All rectangles with their places, by layer, row, column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    /// The rectangles.
    pub placed: Vec<Placed>,
    /// Sites used: all below this number.
    pub n_sites: usize,
}

/// A part with its spot, before it is split into layers.
type Put = (Part, Spot);

impl Space {
    /// The places of the sites of a chip; an error where a weight has no room.
    pub fn of_chip(chip: &Chip) -> Result<Self> {
        let Room { n_rows, n_cols } = cut::measure_room(chip)?;
        let references = usize::from(chip.weights.sign == SignCoding::OffsetColumn);
        Ok(Self { n_rows, n_cols: n_cols + references, references })
    }

    /// The largest matrix that a tile alone on a site holds.
    pub fn room(&self) -> Room {
        Room { n_rows: self.n_rows, n_cols: self.n_cols - self.references }
    }
}

/// The mode to pack in: what was `asked` for, or else what the chip file says.
///
/// # Errors
/// A mode that the chip does not allow.
pub fn choose_mode(chip: &Chip, asked: Option<Pack>) -> Result<Pack> {
    let allowed = chip.arrays.pack;
    let mode = asked.or(allowed).unwrap_or(Pack::None);
    match allowed {
        Some(allowed) if mode > allowed => {
            let (most, asked) = (allowed.name(), mode.name());
            let message = format!("allows tiles to share arrays by `{most}`, not by `{asked}`");
            let hint = format!("leave `--pack` out, or set `arrays.pack` to `{asked}`");
            let at = format!("chip `{}`", chip.name);
            Err(Diagnostic::unsupported(at, message).hint(hint).into())
        }
        _ => Ok(mode),
    }
}

/// The matrices of a program's layers.
pub fn list_matrices(program: &Program, layers: &IdVec<LayerId, MatrixLayer>) -> Vec<Matrix> {
    let drives = program::find_shared_drives(program, layers.len());
    let matrix = |(id, layer): (LayerId, &MatrixLayer)| Matrix {
        blocks: layer.blocks.dim(),
        drives: drives[id].index(),
    };
    layers.iter_enumerated().map(matrix).collect()
}

/// Packs matrices, which are layers in the order of their ids.
pub fn pack_matrices(matrices: &[Matrix], space: Space, mode: Pack) -> Packing {
    if mode == Pack::None {
        return place_alone(matrices, space);
    }
    let bound = bound_sites(matrices, space, mode);
    let mut best: Option<(Worth, Packing)> = None;
    for together in blocks_tried(matrices, space) {
        let stock = Stock::new(matrices, space, together);
        let tried = match mode {
            Pack::Dense => dense::pack(&stock, space, bound),
            Pack::None | Pack::Concurrent => concurrent::pack(&stock, space),
        };
        for puts in tried {
            let packing = unfold(&stock, &puts);
            let worth = Worth::of(&packing);
            if best.as_ref().is_none_or(|(best, _)| worth < *best) {
                best = Some((worth, packing));
            }
        }
        // Fewer blocks to a tile mean more tiles: only where sites are to be had for them.
        if best.as_ref().is_some_and(|(best, _)| best.n_sites <= near(bound)) {
            break;
        }
    }
    best.map_or_else(|| Packing { placed: Vec::new(), n_sites: 0 }, |(_, packing)| packing)
}

/// Sites below which no packing in `mode` could go.
pub fn bound_sites(matrices: &[Matrix], space: Space, mode: Pack) -> usize {
    bound::bound_sites(matrices, space, mode)
}

/// As good as the bound: one site or a hundredth above it.
fn near(bound: usize) -> usize {
    bound + (bound / 100).max(1)
}

/// Blocks of grouped layers that are tried together on a tile: as many as fit, then ever fewer by halves.
fn blocks_tried(matrices: &[Matrix], space: Space) -> Vec<usize> {
    let grouped = matrices.iter().filter(|matrix| matrix.blocks.0 > 1);
    let together = |matrix: &Matrix| space.blocks_together(matrix.blocks).min(matrix.blocks.0);
    let most = grouped.map(together).max().unwrap_or(1).max(1);
    std::iter::successors(Some(most), |&fewer| (fewer > 1).then_some(fewer / 2)).collect()
}

/// One tile to a site, in order.
fn place_alone(matrices: &[Matrix], space: Space) -> Packing {
    let blocks = matrices.iter().map(|matrix| matrix.blocks);
    let alone = |(site, cut)| Placed { cut, spot: Spot { site, row: 0, col: 0 } };
    let placed: Vec<_> =
        cut::cut_layers(blocks, space.room()).into_iter().enumerate().map(alone).collect();
    Packing { n_sites: placed.len(), placed }
}

/// What makes one packing better than another, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    n_sites: usize,
    n_conversions: usize,
    n_tiles: usize,
}

impl Worth {
    fn of(packing: &Packing) -> Self {
        Self {
            n_sites: packing.n_sites,
            n_conversions: packing.placed.iter().map(|it| it.cut.cols.len()).sum(),
            n_tiles: packing.placed.len(),
        }
    }
}

/// Parts as rectangles of their layers, by layer, row, column.
fn unfold(stock: &Stock, puts: &[Put]) -> Packing {
    let mut placed: Vec<Placed> = Vec::with_capacity(puts.len());
    for (part, spot) in puts {
        placed.extend(stock.cuts_of(part).map(|(col, cut)| {
            let spot = Spot { col: spot.col + col, ..*spot };
            Placed { cut, spot }
        }));
    }
    placed.sort_by_key(|it| (it.cut.layer, it.cut.rows.start, it.cut.cols.start));
    let n_sites = placed.iter().map(|it| it.spot.site + 1).max().unwrap_or(0);
    Packing { placed, n_sites }
}
