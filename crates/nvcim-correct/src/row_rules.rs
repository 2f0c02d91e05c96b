//! Rules that users set for rows: rows that sit on a given place, and places that a row keeps off.
//!
//! A lab that lost a driver keeps all rows off its word line; a bench that compares dies pins the rows it
//! probes. What the rules leave open is assigned as ever (`rows.rs`), at least cost among all that obeys them.

use std::collections::BTreeMap;

use nvcim_ir::diag::{Diagnostic, Kind, Result};
use nvcim_ir::ids::{Id, TileId};
use nvcim_lp::place::Rules;
use nvcim_lp::program::Unsolved;

use crate::plan::{Correction, Plan};

/// Pairs of a row of a tile and a row place of its array: a word line, or two where pairs sit on rows.
pub type RowsAtPlaces = Vec<(usize, usize)>;

/// Rules for the rows of tiles, by tile of the tiled net; they hold for every copy of the tile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowRules {
    /// Rows that sit on a given place.
    pub pinned: BTreeMap<TileId, RowsAtPlaces>,
    /// Places that a row keeps off.
    pub forbidden: BTreeMap<TileId, RowsAtPlaces>,
}

impl RowRules {
    /// Whether every row may sit anywhere.
    pub fn is_empty(&self) -> bool {
        self.pinned.values().chain(self.forbidden.values()).all(Vec::is_empty)
    }

    /// The rules of one tile.
    pub(crate) fn of_tile(&self, tile: TileId) -> Rules {
        let find =
            |all: &BTreeMap<TileId, RowsAtPlaces>| all.get(&tile).cloned().unwrap_or_default();
        Rules { pinned: find(&self.pinned), forbidden: find(&self.forbidden), capacity: Vec::new() }
    }

    /// Refuses rules that nothing would obey, and those of tiles beyond `n_tiles`.
    pub(crate) fn check(&self, n_tiles: usize, plan: Plan, has_images: bool) -> Result<()> {
        if let Some(tile) =
            self.pinned.keys().chain(self.forbidden.keys()).find(|tile| tile.index() >= n_tiles)
        {
            let message = format!("has no {tile} to set rules for, only {n_tiles} tiles");
            return Err(Diagnostic::bad_input("net", message).hint("name its own tiles").into());
        }
        let rows_move = has_images && plan.has(Correction::Rows);
        if !rows_move && !self.is_empty() {
            let message = "rows stay where mapping put them, and there are rules for them";
            let hint = "run `rows` on calibration images, on a chip whose rows may move";
            return Err(Diagnostic::bad_input("row rules", message).hint(hint).into());
        }
        Ok(())
    }
}

/// Says that the rows of `tile` cannot be placed.
pub(crate) fn explain_unplaced(tile: TileId, why: &Unsolved) -> Vec<Diagnostic> {
    let kind = match why {
        Unsolved::Failed(_) => Kind::BadInput,
        _ => Kind::Infeasible,
    };
    let message = format!("rows cannot be placed by the rules: {why}");
    let hint = "pin and forbid less";
    Diagnostic::new(kind, tile.to_string(), message).hint(hint).into()
}
