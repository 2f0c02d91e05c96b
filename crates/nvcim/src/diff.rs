//! Two images side by side: configuration, mapping, cells changed, arrays touched.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array2;
use nvcim_chip::describe::Cell;
use nvcim_chip::file;
use nvcim_image::layout::Image;
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::Targets;

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whether both are for the same chip, whatever they say of times and energies.
    pub same_chip: bool,
    /// Whether both come from the same model file.
    pub same_model: bool,
    /// Whether both run the same digital program.
    pub same_program: bool,
    /// Tiles whose place differs, or that only one image has.
    pub tiles_moved: usize,
    /// Readouts whose range, scale or shift differs, or that only one image has.
    pub readouts_changed: usize,
    /// Cells whose target differs; a cell that only one image uses counts.
    pub cells_changed: usize,
    /// Arrays with a changed cell.
    pub arrays_touched: usize,
}

/// Compares two images.
pub fn diff_images(a: &Image, b: &Image) -> Difference {
    let (cells_a, cells_b) = (collect_cells(a), collect_cells(b));
    let mut touched = BTreeSet::new();
    let mut cells_changed = 0;
    let places: BTreeSet<_> = cells_a.keys().chain(cells_b.keys()).collect();
    for place in places {
        if cells_a.get(place) != cells_b.get(place) {
            cells_changed += 1;
            touched.insert(place.0);
        }
    }
    let place = |tile: &nvcim_ir::programmed::ProgrammedTile| {
        (tile.layer, tile.array, tile.rows.clone(), tile.cols.clone(), tile.wiring.clone())
    };
    let longer = a.net.tiles.len().max(b.net.tiles.len());
    let kept = a.net.tiles.iter().zip(&b.net.tiles).filter(|(a, b)| place(a) == place(b)).count();
    let count = |image: &Image| image.net.tiles.iter().map(|tile| tile.readouts.len()).sum();
    let all = usize::max(count(a), count(b));
    let pairs = a.net.tiles.iter().zip(&b.net.tiles);
    let same = pairs.flat_map(|(a, b)| a.readouts.iter().zip(&b.readouts).filter(|(a, b)| a == b));
    Difference {
        same_chip: file::is_same_chip(&a.chip, &b.chip),
        same_model: a.provenance.model_hash == b.provenance.model_hash,
        same_program: a.net.program == b.net.program,
        tiles_moved: longer - kept,
        readouts_changed: all - same.count(),
        cells_changed,
        arrays_touched: touched.len(),
    }
}

/// Every cell in use with its target; siemens as bits, so that equality is exact.
fn collect_cells(image: &Image) -> BTreeMap<(ArrayId, u32, u32), u32> {
    let mut cells = BTreeMap::new();
    for tile in &image.net.tiles {
        let cell = &image.chip.cell;
        let [plus, minus]: [Array2<u32>; 2] = match &tile.targets {
            Targets::Siemens { plus, minus } => [plus, minus].map(|it| it.mapv(f32::to_bits)),
            Targets::Levels { plus, minus } => {
                [plus, minus].map(|it| it.mapv(|level| bits_of(cell, level)))
            }
        };
        for ((array, rows, cols), targets) in
            tile.wiring.sides(tile.array).into_iter().zip([plus, minus])
        {
            for ((i, j), &target) in targets.indexed_iter() {
                cells.insert((array, rows[i], cols[j]), target);
            }
        }
    }
    cells
}

fn bits_of(cell: &Cell, level: u16) -> u32 {
    (cell.siemens_of(level) as f32).to_bits()
}
