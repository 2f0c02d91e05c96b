//! Graph to [`TiledNet`]: fold, lower, cut, calibrate, place, verify.
//!
//! [`map_graph`] is the stage; [`outline_graph`] answers what it would take without calibration and
//! without minding how many arrays the chip has.

pub mod calibrate;
pub mod cut;
pub mod explain;
pub mod fold;
pub mod lower;
pub mod place;

use nvcim_chip::describe::Chip;
use nvcim_ir::diag::{Result, Warned};
use nvcim_ir::graph::{self, Graph};
use nvcim_ir::tiled::{self, TiledNet};
use nvcim_ops::tensor::Tensor;

use crate::calibrate::Task;
use crate::cut::{Cut, Room};
use crate::explain::NodePlace;
use crate::lower::Lowered;

/// Settings of the mapping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapOptions {
    /// The percentile of drive magnitudes that becomes a layer's full scale, above 0 up to 100. At 100,
    /// the default, nothing that calibration saw is clipped.
    pub percentile: f64,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { percentile: 100.0 }
    }
}

/// A network on a chip, before correction.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// The network in tiles.
    pub net: TiledNet,
    /// Where each node of the imported graph ended up, in the order of their ids.
    pub places: Vec<NodePlace>,
    /// Arrays used.
    pub arrays_needed: usize,
    /// Arrays below which no placement could go.
    pub arrays_bound: usize,
    /// Cells used.
    pub cells_used: usize,
}

/// What a network would take on a chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Where each node of the imported graph would end up, in the order of their ids.
    pub places: Vec<NodePlace>,
    /// Arrays needed.
    pub arrays_needed: usize,
    /// Arrays below which no placement could go.
    pub arrays_bound: usize,
    /// Cells needed.
    pub cells_used: usize,
    /// Whether the chip has that many arrays.
    pub fits: bool,
}

/// Maps a verified graph to a chip with default options; see [`map_graph_with`].
pub fn map_graph(
    graph: &Graph,
    chip: &Chip,
    calibration: Option<&Tensor>,
) -> Result<Warned<Mapped>> {
    map_graph_with(graph, chip, calibration, &MapOptions::default())
}

/// Maps a verified graph to a chip.
///
/// `calibration` holds images, `[samples, input shape...]`, from which converter ranges are set; without
/// any, ranges cover the worst case, with a warning.
///
/// # Errors
/// A chip without room for the network or for any weight at all; calibration images that do not suit.
pub fn map_graph_with(
    graph: &Graph,
    chip: &Chip,
    calibration: Option<&Tensor>,
    options: &MapOptions,
) -> Result<Warned<Mapped>> {
    let Draft { lowered, cuts, places, room } = draft_graph(graph, chip)?;
    let Lowered { program, mut layers, .. } = lowered;
    place::check_fit(&layers, &cuts, chip)?;
    let demand = place::count_demand(&layers, &cuts, room);

    let task = Task { program: &program, layers: &layers, cuts: &cuts, chip };
    let calibrated = match calibration {
        Some(images) => {
            Warned::clean(calibrate::observe_ranges(&task, images, options.percentile)?)
        }
        None => calibrate::bound_ranges(&task),
    };
    let Warned { output: calibrated, warnings } = calibrated;
    for (layer, &input) in layers.iter_mut().zip(&calibrated.inputs) {
        layer.input = input;
    }

    let tiles = place::place_cuts(cuts, calibrated.readouts, chip.arrays.pairs);
    let net = TiledNet { program, layers, tiles };
    tiled::verify_tiled(&net, chip.array_size())?;
    let place::Demand { arrays_needed, arrays_bound, cells_used } = demand;
    let output = Mapped { net, places, arrays_needed, arrays_bound, cells_used };
    Ok(Warned { output, warnings })
}

/// Says what mapping a verified graph to a chip would take, however few arrays the chip has.
///
/// # Errors
/// A chip whose arrays have no room for any weight.
pub fn outline_graph(graph: &Graph, chip: &Chip) -> Result<Outline> {
    let Draft { lowered, cuts, places, room } = draft_graph(graph, chip)?;
    let demand = place::count_demand(&lowered.layers, &cuts, room);
    let place::Demand { arrays_needed, arrays_bound, cells_used } = demand;
    let fits = chip.arrays.count.is_none_or(|count| arrays_needed <= count);
    Ok(Outline { places, arrays_needed, arrays_bound, cells_used, fits })
}

/// A network in cuts that have no array yet.
struct Draft {
    lowered: Lowered,
    cuts: Vec<Cut>,
    places: Vec<NodePlace>,
    room: Room,
}

fn draft_graph(graph: &Graph, chip: &Chip) -> Result<Draft> {
    let room = cut::measure_room(&chip.arrays)?;
    let folded = fold::fold_graph(graph);
    graph::verify_graph(&folded.graph)?;
    let lowered = lower::lower_graph(&folded.graph);
    let cuts = cut::cut_layers(&lowered.layers, room);
    let places = explain::explain_places(graph, &folded, &lowered, &cuts);
    Ok(Draft { lowered, cuts, places, room })
}
