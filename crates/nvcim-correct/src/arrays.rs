//! Tiles to arrays, and copies of tiles on what is left over.
//!
//! A tile goes where the die's stuck cells damage it least: with `damage[t, a]` the weighted square error of
//! tile `t` on array `a` as mapping wired it, tiles are assigned to arrays at least total damage. Arrays
//! that stay free take *copies*, again by assignment, and so do free columns of each array: the outputs of
//! `L` copies are averaged, which divides the variance of every error that differs from copy to copy by
//! `L`, and what one copy cannot hold another can make up for. Nothing else is asked of the chip: its
//! controller adds the outputs of several tiles anyway.
//!
//! Tiles that share an array move together and are copied together, each where mapping put it on the array, and
//! their columns are not copied beside each other: only a tile alone on its array knows that lines are free.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array2;
use nvcim_chip::describe::Holds;
use nvcim_chip::effects::Effect;
use nvcim_ir::ids::{ArrayId, Id, IdVec, TileId};
use nvcim_ir::tiled::{Tile, TiledNet};
use nvcim_lp::assign::assign;

use crate::grid::Grid;
use crate::known::Known;
use crate::need::Need;
use crate::piece::{Ground, Piece, Site, excess};
use crate::rows::Wish;
use crate::yard::{Yard, tiles_by_array};

/// Where copies are wanted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// On free columns of the array, which share its word lines.
    Beside,
    /// On arrays of their own, whose drivers may round elsewhere.
    Apart,
}

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
    yards: &IdVec<TileId, Yard>,
    ground: &Ground<'_>,
) -> Result<IdVec<TileId, Vec<Piece>>, ArrayId> {
    let stay = |(id, tile): (TileId, &Tile)| {
        let site = ground.survey(tile.array, tile.wiring.minus_array)?;
        Ok(vec![Piece::new(id, tile, &yards[id], site, &ground.grid)])
    };
    net.tiles.iter_enumerated().map(stay).collect()
}

/// The tiles of one array, which stay together.
struct Household {
    tiles: Vec<TileId>,
    /// The number of the site that mapping chose.
    site: usize,
    /// The most copies that any of them asks for.
    most: usize,
    /// The noise of one copy over what is tolerated, of the noisiest of them.
    noise: f64,
    /// Copies of every column that there is room for on the same array, up to `most`.
    beside: usize,
}

impl Household {
    /// Copies of every column that take the same array in any case.
    fn least(&self, copies: Copies) -> usize {
        match copies {
            Copies::Beside => self.beside,
            Copies::Apart => 1,
        }
    }
}

/// Spreads tiles over the arrays of a die.
pub(crate) fn spread(
    net: &TiledNet,
    yards: &IdVec<TileId, Yard>,
    (wishes, need): (&IdVec<TileId, Wish>, &Need),
    (known, ground): (&Known<'_>, &Ground<'_>),
    copies: Copies,
) -> Result<Spread, ArrayId> {
    let households = list_households(net, need, known, ground);
    let sites = survey_all(&households, known, ground)?;
    let damages = Array2::from_shape_fn((households.len(), sites.len()), |(household, site)| {
        let tiles = households[household].tiles.iter();
        let damage = |&id: &TileId| damage(&wishes[id], &net.tiles[id], &sites[site], &ground.grid);
        tiles.map(damage).sum::<f64>()
    });
    let mapped = households.iter().enumerate().map(|(at, it)| damages[(at, it.site)]).sum();
    let mut spread = Spread { pieces: IdVec::new(), damage: [mapped; 2], gap: 0.0, moved: 0 };
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); households.len()];
    let mut free: BTreeSet<usize> = (0..sites.len()).collect();
    for round in 0.. {
        let left: Vec<usize> = free.iter().copied().collect();
        let wanting = choose_wanting(&households, round, copies, left.len());
        if wanting.is_empty() {
            break;
        }
        let costs = Array2::from_shape_fn((wanting.len(), left.len()), |(at, site)| {
            damages[(wanting[at], left[site])]
        });
        let Some(assignment) = assign(costs.view()) else { break };
        if round == 0 {
            (spread.damage[1], spread.gap) = (assignment.cost, assignment.gap());
        }
        for (&at, &site) in wanting.iter().zip(&assignment.col_of_row) {
            chosen[at].push(left[site]);
            free.remove(&left[site]);
        }
    }
    let mut pieces: BTreeMap<TileId, Vec<Piece>> = BTreeMap::new();
    for (household, chosen) in households.iter().zip(&chosen) {
        let Household { tiles, site, most, beside, .. } = household;
        let beside = (*beside).min(most / chosen.len()).max(household.least(copies));
        spread.moved += if chosen[0] == *site { 0 } else { tiles.len() };
        for &id in tiles {
            let piece = |&site: &usize| {
                let tile = &net.tiles[id];
                Piece::new(id, tile, &yards[id], sites[site].clone(), &ground.grid)
                    .with_copies(beside)
            };
            pieces.insert(id, chosen.iter().map(piece).collect());
        }
    }
    spread.pieces = pieces.into_values().collect();
    Ok(spread)
}

/// The households that take one of `n_left` arrays in a round, ascending: all that ask for more copies than they have.
/// Where arrays do not suffice for these, none but the noisiest of those that ask for more than is usual; in the first
/// round, in which tiles are placed, none.
fn choose_wanting(
    households: &[Household],
    round: usize,
    copies: Copies,
    n_left: usize,
) -> Vec<usize> {
    let wants = |it: &Household| round == 0 || (round + 1) * it.least(copies) <= it.most;
    let mut wanting: Vec<usize> =
        (0..households.len()).filter(|&at| wants(&households[at])).collect();
    if wanting.len() > n_left {
        wanting.retain(|&at| round > 0 && households[at].most > Holds::USUAL_COPIES);
        let left_over = |at: usize| households[at].noise / households[at].least(copies) as f64;
        wanting.sort_by(|&a, &b| left_over(b).total_cmp(&left_over(a)));
        wanting.truncate(n_left);
        wanting.sort_unstable();
    }
    wanting
}

/// The tiles of every array in use, ascending.
fn list_households(
    net: &TiledNet,
    need: &Need,
    known: &Known<'_>,
    ground: &Ground<'_>,
) -> Vec<Household> {
    let per_site = known.chip.arrays.arrays_per_tile();
    let household = |(array, tiles): (ArrayId, Vec<TileId>)| {
        let most = tiles.iter().map(|&id| need.most[id]).max().unwrap_or(1);
        let noises = tiles.iter().map(|&id| need.noise[net.tiles[id].layer]);
        let noise = noises.fold(0.0, f64::max);
        let beside = match tiles[..] {
            [alone] => copies_inside(&net.tiles[alone], known, ground).clamp(1, most),
            _ => 1,
        };
        Household { tiles, site: array.index() / per_site, most, noise, beside }
    };
    tiles_by_array(net).into_iter().map(household).collect()
}

/// Every site of the die; without a die as many as the net needs.
fn survey_all(
    households: &[Household],
    known: &Known<'_>,
    ground: &Ground<'_>,
) -> Result<Vec<Site>, ArrayId> {
    let of_die = known.die.map_or(0, |die| die.arrays.len() / known.chip.arrays.arrays_per_tile());
    let of_net = households.last().map_or(0, |last| last.site + 1);
    (0..of_die.max(of_net)).map(|number| ground.survey_number(number)).collect()
}

/// The weighted square error of a tile on a site, wired as mapping does.
fn damage(wish: &Wish, tile: &Tile, site: &Site, grid: &Grid) -> f64 {
    let (rows, cols) = grid.places_of(&tile.wiring);
    let mut sum = 0.0;
    for (row, place) in rows.enumerate() {
        for spoiled in site.spoiled[place].iter().filter(|it| cols.contains(&it.col)) {
            let col = spoiled.col - cols.start;
            let off = excess(wish.shares[(row, col)], spoiled.reach);
            sum += wish.energies[row] * wish.worths[col] * off * off;
        }
    }
    sum
}

/// Copies of every column that the array of a tile alone takes beside each other. Where wires count there is
/// one: more would draw their current through the same word lines.
fn copies_inside(tile: &Tile, known: &Known<'_>, ground: &Ground<'_>) -> usize {
    let wires = known.chip.effects.ir_drop.is_some() && known.effects.has(Effect::IrDrop);
    let alone = wires || !ground.code.is_paired();
    if alone { 1 } else { ground.grid.n_cols / tile.cols.len() }
}
