//! The mapping stage: a graph and a chip in, tiles with calibrated ranges out.

use nvcim_chip::describe::{Chip, Pack};
use nvcim_ir::diag::{Diagnostic, Result, Warned, fail_if_any};
use nvcim_ir::graph::{self, Graph};
use nvcim_ir::ids::{ArrayId, Id, IdVec, LayerId, NodeId};
use nvcim_ir::tiled::{self, TiledNet};
use nvcim_ops::tensor::Tensor;

use crate::calibrate::{self, Calibration, Task};
use crate::cut::Cut;
use crate::fold::Folded;
use crate::lower::{self, Lowered};
use crate::pack::{self, Matrix, Packing, Placed, Space};
use crate::place::{self, Demand, Fit, Sites};
use crate::{explain, fold, lattice};

/// Settings of the mapping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapOptions<'a> {
    /// The percentile of drive magnitudes that becomes a layer's full scale, above 0 up to 100. At 100,
    /// the default, nothing that calibration saw is clipped.
    pub percentile: f64,
    /// How tiles share arrays; `None` for what the chip file says, each on an array of its own where that
    /// says nothing.
    pub pack: Option<Pack>,
    /// Arrays that no tile may sit on.
    pub dead: &'a [ArrayId],
}

impl Default for MapOptions<'_> {
    fn default() -> Self {
        Self { percentile: 100.0, pack: None, dead: &[] }
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

/// Where a node of the imported graph ends up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlace {
    /// The node, as the imported graph numbers it.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub place: Place,
}

/// Where a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On arrays.
    Analog {
        /// The layer.
        layer: LayerId,
        /// What it takes.
        reason: String,
    },
    /// In the digital program.
    Digital {
        /// Why.
        reason: String,
    },
    /// Nowhere: its work is done by another node's weights.
    Folded {
        /// The name of the other node.
        into: String,
    },
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
    /// Why the chip is too small, where it is.
    pub misfit: Option<Diagnostic>,
}

/// A network as it would lie on a chip with enough arrays: what costs are counted on.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// What it takes.
    pub outline: Outline,
    /// Its tiles. Converters stand at their nominal ranges, so that no later stage can use it; inputs are
    /// signed where they may be for network inputs within plus and minus [`calibrate::INPUT_BOUND`].
    pub net: TiledNet,
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
    options: &MapOptions<'_>,
) -> Result<Warned<Mapped>> {
    let draft = draft_graph(graph, chip, options)?;
    fail_if_any(draft.outline.misfit.iter().cloned().collect())?;
    let Lowered { program, layers, .. } = &draft.lowered;
    let cuts = draft.cuts();
    let task = Task { program, layers, cuts: &cuts, chip };
    let Warned { output: calibrated, warnings } = match calibration {
        Some(images) => {
            Warned::clean(calibrate::observe_ranges(&task, images, options.percentile)?)
        }
        None => calibrate::bound_ranges(&task),
    };
    Ok(Warned { output: draft.place(calibrated, chip)?, warnings })
}

/// Maps a verified graph to a chip as it was mapped before: no image is looked at, and nothing is packed.
///
/// # Errors
/// Places or a calibration that are not of these layers on this chip.
pub fn map_graph_as(
    graph: &Graph,
    chip: &Chip,
    placed: Vec<Placed>,
    calibrated: Calibration,
) -> Result<Mapped> {
    let read = Reading::new(graph, chip)?;
    let Calibration { inputs, readouts } = &calibrated;
    let n_layers = read.lowered.layers.len();
    let known = placed.iter().all(|it| it.cut.layer.index() < n_layers);
    if (inputs.len(), readouts.len()) != (n_layers, placed.len()) || !known {
        let message = format!(
            "is of {} layers in {} tiles, the network has {n_layers}",
            inputs.len(),
            readouts.len(),
        );
        let hint = "calibrate on images";
        return Err(Diagnostic::bad_input("calibration", message).hint(hint).into());
    }
    let n_sites = placed.iter().map(|it| it.spot.site + 1).max().unwrap_or(0);
    let sites = Sites::new(chip, &[]);
    let space = Space::of_chip(chip)?;
    let packing = Packing { placed, n_sites };
    read.draft(graph, chip, (space, Pack::None), sites, packing).place(calibrated, chip)
}

/// The program and the matrices of a verified graph, with no tile and with inputs that nothing is known of.
///
/// # Errors
/// A graph that folding breaks.
pub fn lower_only(graph: &Graph, chip: &Chip) -> Result<TiledNet> {
    let Lowered { program, layers, .. } = Reading::new(graph, chip)?.lowered;
    Ok(TiledNet { program, layers, tiles: IdVec::new() })
}

/// Sketches a verified graph on a chip, however few arrays the chip has.
///
/// # Errors
/// A chip whose arrays have no room for any weight.
pub fn sketch_graph(graph: &Graph, chip: &Chip, options: &MapOptions<'_>) -> Result<Sketch> {
    let draft = draft_graph(graph, chip, options)?;
    let cuts = draft.cuts();
    let Draft { lowered, placed, sites, outline } = draft;
    let Lowered { program, mut layers, .. } = lowered;
    let task = Task { program: &program, layers: &layers, cuts: &cuts, chip };
    let Calibration { inputs, readouts } = calibrate::nominal_ranges(&task);
    for (layer, &input) in layers.iter_mut().zip(&inputs) {
        layer.input = input;
    }
    let tiles = place::place_cuts(placed, readouts, chip, &sites);
    Ok(Sketch { outline, net: TiledNet { program, layers, tiles } })
}

/// A graph as matrices.
struct Reading {
    folded: Folded,
    lowered: Lowered,
    matrices: Vec<Matrix>,
}

/// A network that is packed.
struct Draft {
    lowered: Lowered,
    placed: Vec<Placed>,
    sites: Sites,
    outline: Outline,
}

impl Reading {
    fn new(graph: &Graph, chip: &Chip) -> Result<Self> {
        let folded = fold::fold_graph(graph);
        graph::verify_graph(&folded.graph)?;
        let mut lowered = lower::lower_graph(&folded.graph, chip.arrays.depthwise);
        lattice::set_ranges(&mut lowered.layers, chip);
        let matrices = pack::list_matrices(&lowered.program, &lowered.layers);
        Ok(Self { folded, lowered, matrices })
    }

    fn draft(
        self,
        graph: &Graph,
        chip: &Chip,
        (space, mode): (Space, Pack),
        sites: Sites,
        packing: Packing,
    ) -> Draft {
        let Self { folded, lowered, matrices } = self;
        let bound = pack::bound_sites(&matrices, space, mode);
        let Demand { arrays_needed, arrays_bound, cells_used } =
            place::count_demand(&packing, bound, chip);
        let layers = &lowered.layers;
        let fit = Fit { layers, matrices: &matrices, mode, chip, sites: &sites };
        let misfit = place::explain_misfit(&fit, &packing);
        let places = explain::explain_places(graph, &folded, &lowered, &packing.placed);
        let outline = Outline { places, arrays_needed, arrays_bound, cells_used, misfit };
        Draft { lowered, placed: packing.placed, sites, outline }
    }
}

impl Draft {
    fn cuts(&self) -> Vec<Cut> {
        self.placed.iter().map(|it| it.cut.clone()).collect()
    }

    /// Every rectangle with its calibrated readouts on its array.
    fn place(self, calibrated: Calibration, chip: &Chip) -> Result<Mapped> {
        let Outline { places, arrays_needed, arrays_bound, cells_used, misfit: _ } = self.outline;
        let Lowered { program, mut layers, .. } = self.lowered;
        for (layer, &input) in layers.iter_mut().zip(&calibrated.inputs) {
            layer.input = input;
        }
        let tiles = place::place_cuts(self.placed, calibrated.readouts, chip, &self.sites);
        let net = TiledNet { program, layers, tiles };
        tiled::verify_tiled(&net, chip.array_size())?;
        Ok(Mapped { net, places, arrays_needed, arrays_bound, cells_used })
    }
}

fn draft_graph(graph: &Graph, chip: &Chip, options: &MapOptions<'_>) -> Result<Draft> {
    let space = Space::of_chip(chip)?;
    let mode = pack::choose_mode(chip, options.pack)?;
    let sites = Sites::new(chip, options.dead);
    let read = Reading::new(graph, chip)?;
    let packing = pack::pack_matrices(&read.matrices, space, mode);
    Ok(read.draft(graph, chip, (space, mode), sites, packing))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use nvcim_chip::describe::{Chip, Depthwise, PairAxis, SignCoding, Subtract};
    use nvcim_ir::diag::Kind;
    use nvcim_ir::graph::Graph;
    use nvcim_ir::op::{Binary, Op, Unary, Window};
    use nvcim_ir::tiled::MatrixLayer;
    use proptest::prelude::*;

    use super::{MapOptions, Mapped, Place, Sketch, map_graph, sketch_graph};
    use crate::cost::count_costs;
    use crate::testing::{Builder, plain_chip, random_graph, random_tensor};

    /// Convolution, norm, activation, pooling, dense layer, softmax.
    fn small_net() -> Graph {
        let (mut net, x) = Builder::new(1, &[2, 6, 6]);
        let conv = net.conv(x, 4, 1, Window::square(3, 1, 0));
        let norm = net.batch_norm(conv);
        let act = net.map(Op::Unary(Unary::Relu), &[norm]);
        let pooled = net.add(Op::MaxPool { window: Window::square(2, 2, 0) }, &[act], &[4, 2, 2]);
        let flat = net.flatten(pooled);
        let dense = net.dense(flat, 10, true);
        let out = net.map(Op::Softmax { axis: 0 }, &[dense]);
        net.finish(&[out])
    }

    fn map(graph: &Graph, chip: &Chip) -> Mapped {
        let shape = [&[8], graph.node(graph.input()).shape.as_slice()].concat();
        let mapped = map_graph(graph, chip, Some(&random_tensor(1, &shape))).unwrap();
        assert!(mapped.warnings.is_empty());
        mapped.output
    }

    #[test]
    fn a_small_net_in_text() {
        let mapped = map(&small_net(), &plain_chip());
        let want = "\
s0 [2, 6, 6] = input ()  # \"input0\"
s1 [4, 4, 4] = matrix l0 conv k=3x3 s=1x1 (s0)  # \"conv1\"
s2 [4, 4, 4] = relu (s1)  # \"relu3\"
s3 [4, 2, 2] = max_pool k=2x2 s=2x2 (s2)  # \"max_pool4\"
s4 [16] = reshape (s3)  # \"reshape5\"
s5 [10] = matrix l1 (s4)  # \"dense6\"
s6 [10] = softmax axis=0 (s5)  # \"softmax7\"
return s6
l0 18x4 signed  # \"conv1\"
l1 16x10 unsigned  # \"dense6\"
t0 l0[0..9, 0..4] on a0 rows 0..=8 cols 0..=7 readouts 4
t1 l0[9..18, 0..4] on a1 rows 0..=8 cols 0..=7 readouts 4
t2 l1[0..16, 0..5] on a2 rows 0..=15 cols 0..=9 readouts 5
t3 l1[0..16, 5..10] on a3 rows 0..=15 cols 0..=9 readouts 5
";
        assert_eq!(mapped.net.to_string(), want);
        assert_eq!((mapped.arrays_needed, mapped.arrays_bound, mapped.cells_used), (4, 2, 464));
        let places: Vec<_> = mapped.places.iter().map(|it| describe(&it.place)).collect();
        let want = [
            "digital the network's input",
            "l0 18x4 matrix on 2 tiles",
            "folded into conv1",
            "digital element-wise, on converted outputs",
            "digital the largest of a window is not linear",
            "digital moves values, computes nothing",
            "l1 16x10 matrix on 2 tiles",
            "digital exponentials and a sum over an axis",
        ];
        assert_eq!(places, want);
        assert_eq!(
            mapped.places,
            sketch_graph(&small_net(), &plain_chip(), &MapOptions::default())
                .unwrap()
                .outline
                .places
        );
    }

    fn describe(place: &Place) -> String {
        match place {
            Place::Analog { layer, reason } => format!("{layer} {reason}"),
            Place::Digital { reason } => format!("digital {reason}"),
            Place::Folded { into } => format!("folded into {into}"),
        }
    }

    #[test]
    fn pairs_lie_on_neighbouring_lines_of_their_axis() {
        let (mut net, x) = Builder::new(2, &[3]);
        let dense = net.dense(x, 2, false);
        let graph = net.finish(&[dense]);
        let mut chip = plain_chip();
        let on_cols = map(&graph, &chip).net.tiles.iter().next().unwrap().wiring.clone();
        assert_eq!((on_cols.plus_rows, on_cols.minus_rows), (vec![0, 1, 2], vec![0, 1, 2]));
        assert_eq!((on_cols.plus_cols, on_cols.minus_cols), (vec![0, 2], vec![1, 3]));
        chip.arrays.pairs = PairAxis::Rows;
        let on_rows = map(&graph, &chip).net.tiles.iter().next().unwrap().wiring.clone();
        assert_eq!((on_rows.plus_rows, on_rows.minus_rows), (vec![0, 2, 4], vec![1, 3, 5]));
        assert_eq!((on_rows.plus_cols, on_rows.minus_cols), (vec![0, 1], vec![0, 1]));
    }

    /// An inverted residual block: pointwise up, depthwise, pointwise down, and the sum with what came in.
    fn inverted_residual() -> Graph {
        let (mut net, x) = Builder::new(6, &[8, 6, 6]);
        let wide = net.conv(x, 16, 1, Window::square(1, 1, 0));
        let act = net.map(Op::Unary(Unary::Clip { lo: 0.0, hi: 6.0 }), &[wide]);
        let depthwise = net.conv(act, 16, 16, Window::square(3, 1, 1));
        let norm = net.batch_norm(depthwise);
        let narrow = net.conv(norm, 8, 1, Window::square(1, 1, 0));
        let out = net.map(Op::Binary(Binary::Add), &[x, narrow]);
        net.finish(&[out])
    }

    #[test]
    fn depthwise_layers_kept_digital_take_no_array() {
        let graph = inverted_residual();
        let mut chip = plain_chip();
        let on_arrays = map(&graph, &chip);
        chip.arrays.depthwise = Depthwise::Digital;
        let digital = map(&graph, &chip);
        assert_eq!((on_arrays.net.layers.len(), on_arrays.arrays_needed), (3, 19));
        assert_eq!((digital.net.layers.len(), digital.arrays_needed), (2, 3));
        let reasons = digital.places.iter().map(|it| describe(&it.place));
        let want = "digital a depthwise convolution, which `arrays.depthwise` of the chip keeps off its arrays";
        assert!(reasons.clone().any(|reason| reason == want));
        // The norm goes into it all the same.
        assert!(reasons.clone().any(|reason| reason == "folded into conv3"));
    }

    #[test]
    fn nodes_with_equal_weights_share_their_tiles() {
        let (mut net, x) = Builder::new(8, &[3]);
        let weight = net.random(&[3, 3], -1.0, 1.0);
        let op = || Op::Dense { weight, bias: None, transposed: false };
        let once = net.map(op(), &[x]);
        let act = net.map(Op::Unary(Unary::Tanh), &[once]);
        let twice = net.map(op(), &[act]);
        let mapped = map(&net.finish(&[twice]), &plain_chip());
        assert_eq!((mapped.net.tiles.len(), mapped.arrays_needed), (1, 1));
        let places: Vec<_> = mapped.places.iter().map(|it| describe(&it.place)).collect();
        assert_eq!(places[1], "l0 3x3 matrix on 1 tile, in 2 steps");
        assert_eq!(
            places[3],
            "l0 3x3 matrix on 1 tile, those of `dense1`, whose weights are the same"
        );
    }

    #[test]
    fn too_few_arrays_name_the_layers_and_what_would_fit() {
        let mut chip = plain_chip();
        chip.arrays.count = Some(2);
        let problems = map_graph(&small_net(), &chip, None).unwrap_err();
        let problem = &problems[0];
        assert_eq!(problem.kind, Kind::Unsupported);
        assert_eq!(
            problem.message,
            "has 2 arrays of 16x16, too few for the 4 that the network needs; \
             layer `dense6` is the first without room"
        );
        assert_eq!(
            problem.hints,
            [
                "arrays needed by layer: `conv1` 2, `dense6` 2",
                "a chip with `arrays.count` of at least 4 would fit",
                "so would 2 arrays of 32x32",
                "`--pack dense` would fit the network on 2 arrays",
            ]
        );
        let outline = sketch_graph(&small_net(), &chip, &MapOptions::default()).unwrap().outline;
        assert_eq!((outline.arrays_needed, outline.misfit.as_ref()), (4, Some(problem)));
        chip.arrays.count = Some(4);
        assert_eq!(
            sketch_graph(&small_net(), &chip, &MapOptions::default()).unwrap().outline.misfit,
            None
        );
    }

    #[test]
    fn a_sketch_has_the_tiles_of_the_map_on_any_number_of_arrays() {
        let mut chip = plain_chip();
        let mapped = map_graph(&small_net(), &chip, None).unwrap().output.net;
        chip.arrays.count = Some(2);
        let options = MapOptions::default();
        let Sketch { outline, net } = sketch_graph(&small_net(), &chip, &options).unwrap();
        assert!(outline.misfit.is_some());
        assert_eq!(net.to_string(), mapped.to_string());
        assert_eq!(count_costs(&net, &chip), count_costs(&mapped, &chip));
    }

    #[test]
    fn an_array_without_room_for_a_weight_is_refused() {
        let mut chip = plain_chip();
        chip.arrays.spare_cols = 15;
        let problems = sketch_graph(&small_net(), &chip, &MapOptions::default()).unwrap_err();
        assert_eq!(problems[0].kind, Kind::Unsupported);
        assert!(problems[0].message.contains("no room for a weight"), "{}", problems[0]);
    }

    #[test]
    fn spare_and_reserved_lines_stay_free() {
        let mut chip = plain_chip();
        (chip.arrays.spare_rows, chip.arrays.reserved_rows) = (2, 1);
        (chip.arrays.spare_cols, chip.arrays.reserved_cols) = (3, 2);
        for tile in &map(&small_net(), &chip).net.tiles {
            let wiring = &tile.wiring;
            assert!(wiring.plus_rows.iter().chain(&wiring.minus_rows).all(|&row| row < 13));
            assert!(wiring.plus_cols.iter().chain(&wiring.minus_cols).all(|&col| col < 11));
        }
    }

    #[test]
    fn a_net_without_a_matrix_needs_no_array() {
        let (mut net, x) = Builder::new(3, &[4]);
        let out = net.map(Op::Binary(Binary::Add), &[x, x]);
        let mapped = map(&net.finish(&[out]), &plain_chip());
        assert_eq!((mapped.arrays_needed, mapped.arrays_bound, mapped.cells_used), (0, 0, 0));
    }

    /// How often each element of a layer's matrix lies on a tile.
    fn coverage(mapped: &Mapped, layer: usize, matrix: &MatrixLayer) -> Array2<u8> {
        use nvcim_ir::ids::Id;
        let mut res = Array2::zeros((matrix.shape().n_rows, matrix.shape().n_cols));
        for tile in mapped.net.tiles.iter().filter(|tile| tile.layer.index() == layer) {
            let mut part = res.slice_mut(ndarray::s![tile.rows.clone(), tile.cols.clone()]);
            part.mapv_inplace(|count: u8| count + 1);
        }
        res
    }

    proptest! {
        #[test]
        fn any_net_is_cut_into_tiles_that_verify(
            seed in 0u64..1000,
            picks in prop::collection::vec(any::<u8>(), 1..8),
            (n_rows, n_cols) in (2usize..40, 2usize..40),
            pairs in prop::sample::select(vec![PairAxis::Columns, PairAxis::Rows, PairAxis::Arrays]),
            sign in prop::sample::select(vec![
                SignCoding::Pairs, SignCoding::OffsetDigital, SignCoding::OffsetColumn,
            ]),
            n_slices in 1usize..3,
            max_active_rows in prop::option::of(2usize..20),
            digital in any::<bool>(),
            calibrate in any::<bool>(),
        ) {
            let mut chip = plain_chip();
            (chip.arrays.n_rows, chip.arrays.n_cols) = (n_rows, n_cols.max(2 * n_slices));
            if sign == SignCoding::Pairs {
                chip.arrays.pairs = pairs;
                chip.arrays.subtract = if digital { Subtract::Digital } else { Subtract::Analog };
            }
            chip.arrays.max_active_rows = max_active_rows;
            chip.weights.sign = sign;
            chip.weights.significance = vec![1.0; n_slices];
            let graph = random_graph(seed, &picks);
            let images = random_tensor(seed, &[3, 2, 5, 5]);
            // Mapping verifies its own result.
            let mapped = map_graph(&graph, &chip, calibrate.then_some(&images)).unwrap().output;
            prop_assert!(mapped.arrays_bound <= mapped.arrays_needed);
            prop_assert_eq!(mapped.places.len(), graph.len());
            for (at, layer) in mapped.net.layers.iter().enumerate() {
                let weights = layer.weights(0..layer.shape().n_rows, 0..layer.shape().n_cols);
                for (&count, &weight) in coverage(&mapped, at, layer).iter().zip(&weights) {
                    prop_assert!(count == 1 || (count == 0 && weight == 0.0));
                }
            }
        }
    }
}
