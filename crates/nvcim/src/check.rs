//! What becomes of each node of a model on a chip, whether it fits, and what a sample costs.

use nvcim_chip::describe::{Chip, Pack};
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::NodeId;
use nvcim_map::cost::{NetCost, count_costs};
use nvcim_map::map_graph::{MapOptions, Place, Sketch, sketch_graph};
use nvcim_onnx::survey::Fate;

use crate::model::Model;

/// Where a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On arrays.
    Analog,
    /// On the digital side, or nowhere because it was folded.
    Digital,
    /// Not at all: the model cannot be compiled.
    Unsupported,
}

impl Where {
    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Where::Analog => "analog",
            Where::Digital => "digital",
            Where::Unsupported => "unsupported",
        }
    }
}

/// One node of the ONNX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedNode {
    /// Its name in the file.
    pub name: String,
    /// Its ONNX operator.
    pub op: String,
    /// Where it runs.
    pub place: Where,
    /// Why.
    pub reason: String,
    /// What can be done about it; empty where nothing needs doing.
    pub hint: String,
}

/// A model against a chip.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Every node, in the file's order.
    pub nodes: Vec<CheckedNode>,
    /// Whether everything is supported and the chip has enough arrays.
    pub fits: bool,
    /// Arrays needed; `None` where the model cannot be mapped.
    pub arrays_needed: Option<usize>,
    /// Arrays that no packing in the mode could go below.
    pub arrays_bound: Option<usize>,
    /// Cells that hold weights.
    pub cells: Option<usize>,
    /// What one sample costs, whether there are enough arrays or not; `None` where the model cannot be
    /// mapped. Passes are those of network inputs within plus and minus 1: calibration images may show that
    /// a layer needs only one.
    pub cost: Option<NetCost>,
    /// Why it does not fit, and warnings of import and mapping other than of missing calibration.
    pub remarks: Vec<Diagnostic>,
}

/// Checks a model against a chip; tiles share arrays by `pack`, or as the chip file says.
///
/// # Errors
/// A broken file, a chip whose arrays cannot hold a single row and column of weights, or one that does not
/// allow the packing.
pub fn check_model(model: &Model, chip: &Chip, pack: Option<Pack>) -> Result<Checked> {
    let survey = model.survey()?;
    let mut remarks = Vec::new();
    let sketch = match survey.graph {
        Some(graph) => {
            let options = MapOptions { pack, ..MapOptions::default() };
            Some(sketch_graph(&graph.unload(&mut remarks), chip, &options)?)
        }
        None => None,
    };
    let (outline, cost) = match sketch {
        Some(Sketch { outline, net }) => (Some(outline), Some(count_costs(&net, chip))),
        None => (None, None),
    };
    let places = outline.as_ref().map_or(&[][..], |outline| &outline.places);
    let nodes: Vec<_> = survey
        .nodes
        .into_iter()
        .map(|node| {
            let (place, reason, hint) = match node.fate {
                Fate::Unsupported { reason, hint } => (Where::Unsupported, reason, hint),
                Fate::Constant => {
                    (Where::Digital, "computed at compile time".to_owned(), String::new())
                }
                Fate::Unrolled { matrices, n_steps } => {
                    let of = |id: &NodeId| places.iter().find(|placed| placed.node == *id);
                    let reasons: Vec<_> = matrices
                        .iter()
                        .filter_map(|id| match &of(id)?.place {
                            Place::Analog { reason, .. } => Some(reason.as_str()),
                            Place::Digital { .. } | Place::Folded { .. } => None,
                        })
                        .collect();
                    let (place, what) = match &reasons[..] {
                        [] => (Where::Digital, "not mapped: another node is unsupported".into()),
                        reasons => (Where::Analog, reasons.join("; ")),
                    };
                    let s = if n_steps == 1 { "" } else { "s" };
                    (
                        place,
                        format!("unrolled over {n_steps} step{s}, gates digital: {what}"),
                        String::new(),
                    )
                }
                Fate::Folded { into } => {
                    (Where::Digital, format!("folded into `{into}`"), String::new())
                }
                Fate::Kept(id) => {
                    let placed = places.iter().find(|placed| placed.node == id);
                    let (place, reason) = match placed.map(|placed| &placed.place) {
                        Some(Place::Analog { reason, .. }) => (Where::Analog, reason.clone()),
                        Some(Place::Digital { reason }) => (Where::Digital, reason.clone()),
                        Some(Place::Folded { into }) => {
                            (Where::Digital, format!("folded into `{into}`"))
                        }
                        None => (Where::Digital, "not mapped: another node is unsupported".into()),
                    };
                    (place, reason, String::new())
                }
            };
            CheckedNode { name: node.name, op: node.op_type, place, reason, hint }
        })
        .collect();
    let supported = nodes.iter().all(|node| node.place != Where::Unsupported);
    let enough = outline.as_ref().is_some_and(|outline| outline.misfit.is_none());
    remarks.extend(outline.iter().flat_map(|outline| outline.misfit.clone()));
    Ok(Checked {
        fits: supported && enough,
        arrays_needed: outline.as_ref().map(|outline| outline.arrays_needed),
        arrays_bound: outline.as_ref().map(|outline| outline.arrays_bound),
        cells: outline.as_ref().map(|outline| outline.cells_used),
        cost,
        nodes,
        remarks,
    })
}
