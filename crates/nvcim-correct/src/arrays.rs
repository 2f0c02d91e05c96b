//! Tiles to arrays, and copies of tiles on what is left over.
//!
//! A tile goes where the die's stuck cells damage it least: with `damage[t, a]` the weighted square error of
//! tile `t` on array `a` as mapping wired it, tiles are assigned to arrays at least total damage. Arrays
//! that stay free take *copies*, again by assignment, and so do free columns of each array: the outputs of
//! `L` copies are averaged, which divides the variance of every error that differs from copy to copy by
//! `L`, and what one copy cannot hold another can make up for. Nothing else is asked of the chip: its
//! controller adds the outputs of several tiles anyway.

use std::collections::BTreeSet;

use ndarray::Array2;
use nvcim_chip::effects::Effect;
use nvcim_ir::ids::{ArrayId, Id, IdVec, TileId};
use nvcim_ir::tiled::TiledNet;
use nvcim_lp::assign::assign;

use crate::known::Known;
use crate::piece::{Ground, Piece, Site, excess};
use crate::rows::Wish;

/// The most copies of a tile: each costs conversions, and gains ever less.
pub(crate) const MAX_COPIES: usize = 8;

/// Where the copies of every tile go.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The pieces of each tile, the first of them where it does best.
    pub(crate) pieces: IdVec<TileId, Vec<Piece>>,
    /// Total damage as mapped, and as assigned.
    pub(crate) damage: [f64; 2],
    /// The gap of the assignment.
    pub(crate) gap: f64,
    /// Tiles on other arrays than mapping chose.
    pub(crate) moved: usize,
}

/// Every tile once, where mapping put it; an error names an array that the die lacks.
pub(crate) fn stay(
    net: &TiledNet,
    ground: &Ground<'_>,
) -> Result<IdVec<TileId, Vec<Piece>>, ArrayId> {
    let stay = |(id, tile): (TileId, &nvcim_ir::tiled::Tile)| {
        let site = ground.survey(tile.array, tile.wiring.minus_array)?;
        Ok(vec![Piece::new(id, tile, site, ground)])
    };
    net.tiles.iter_enumerated().map(stay).collect()
}

/// Spreads tiles over the arrays of a die.
pub(crate) fn spread(
    net: &TiledNet,
    wishes: &IdVec<TileId, Wish>,
    known: &Known<'_>,
    ground: &Ground<'_>,
) -> Result<Spread, ArrayId> {
    let sites = survey_all(net, known, ground)?;
    let damages = Array2::from_shape_fn((net.tiles.len(), sites.len()), |(tile, site)| {
        damage(&wishes[TileId::new(tile)], &sites[site])
    });
    let inside = copies_inside(net, known, ground);
    let mapped: f64 = (0..net.tiles.len()).map(|tile| damages[(tile, tile)]).sum();
    let mut spread = Spread { pieces: IdVec::new(), damage: [mapped; 2], gap: 0.0, moved: 0 };
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); net.tiles.len()];
    let mut free: BTreeSet<usize> = (0..sites.len()).collect();
    for round in 0..MAX_COPIES {
        let wanting: Vec<usize> = (0..chosen.len())
            .filter(|&tile| round == 0 || (round + 1) * inside[tile] <= MAX_COPIES)
            .collect();
        let left: Vec<usize> = free.iter().copied().collect();
        if wanting.is_empty() || wanting.len() > left.len() {
            break;
        }
        let costs = Array2::from_shape_fn((wanting.len(), left.len()), |(tile, site)| {
            damages[(wanting[tile], left[site])]
        });
        let Some(assignment) = assign(costs.view()) else { break };
        if round == 0 {
            (spread.damage[1], spread.gap) = (assignment.cost, assignment.gap());
        }
        for (&tile, &site) in wanting.iter().zip(&assignment.col_of_row) {
            chosen[tile].push(left[site]);
            free.remove(&left[site]);
        }
    }
    for ((id, tile), chosen) in net.tiles.iter_enumerated().zip(&chosen) {
        spread.moved += usize::from(chosen[0] != id.index());
        let piece = |&site: &usize| {
            let mut piece = Piece::new(id, tile, sites[site].clone(), ground);
            let n_cols = piece.cols.len();
            let copies = inside[id.index()];
            for (col, places) in piece.cols.iter_mut().enumerate() {
                *places = (0..copies).map(|copy| col + copy * n_cols).collect();
            }
            piece
        };
        spread.pieces.push(chosen.iter().map(piece).collect());
    }
    Ok(spread)
}

/// Every site of the die; without a die as many as the net needs.
fn survey_all(
    net: &TiledNet,
    known: &Known<'_>,
    ground: &Ground<'_>,
) -> Result<Vec<Site>, ArrayId> {
    let of_die = known.die.map_or(0, |die| die.arrays.len() / known.chip.arrays.arrays_per_tile());
    (0..of_die.max(net.tiles.len())).map(|number| ground.survey_number(number)).collect()
}

/// The weighted square error of a tile on a site, wired as mapping does.
fn damage(wish: &Wish, site: &Site) -> f64 {
    let (n_rows, n_cols) = wish.shares.dim();
    let mut sum = 0.0;
    for (row, spoiled) in site.spoiled.iter().take(n_rows).enumerate() {
        for spoiled in spoiled.iter().filter(|it| it.col < n_cols) {
            let off = excess(wish.shares[(row, spoiled.col)], spoiled.reach);
            sum += wish.energies[row] * wish.worths[spoiled.col] * off * off;
        }
    }
    sum
}

/// Copies of every column that a tile's array takes beside each other. Where wires count there is one: more
/// would draw their current through the same word lines.
fn copies_inside(net: &TiledNet, known: &Known<'_>, ground: &Ground<'_>) -> Vec<usize> {
    let wires = known.chip.effects.ir_drop.is_some() && known.effects.has(Effect::IrDrop);
    let alone = wires || !ground.code.is_paired();
    let copies = |tile: &nvcim_ir::tiled::Tile| {
        if alone { 1 } else { (ground.grid.n_cols / tile.cols.len()).clamp(1, MAX_COPIES) }
    };
    net.tiles.iter().map(copies).collect()
}
