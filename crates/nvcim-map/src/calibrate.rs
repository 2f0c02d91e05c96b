//! Converter ranges: what drives a layer at full scale, and what current each conversion must cover.
//!
//! Two sources give the same result type. [`observe_ranges`] runs calibration images through float
//! matrices and watches clean currents; [`bound_ranges`] takes the worst case for inputs within
//! [`INPUT_BOUND`] where there are no images. "Clean" means the chip without its flaws but with its
//! converters: cells at their reachable targets, drives as the DAC makes them, because a coarse DAC or
//! few levels move the extremes that a range is there to cover.
//!
//! Slices of bit-serial inputs that are converted one by one are watched one by one: a range must hold the
//! current of each, which may come near that of a full-scale drive however small the inputs are.
//!
//! A signed input on a chip that drives its positive and negative parts one after the other is converted
//! twice, so its ranges cover both passes, each of which sees currents of one drive polarity only.

mod bound;
mod currents;
mod interval;
mod observe;
mod ranges;

use nvcim_chip::coding::WeightCode;
use nvcim_chip::describe::{Chip, NegativeInputs};
use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::program::Program;
use nvcim_ir::tiled::{InputCoding, MatrixLayer, Readout, Tile, TiledNet};
use nvcim_ops::tensor::Tensor;

use self::currents::Slot;
use crate::cut::Cut;
use crate::lattice::{self, inputs::align_inputs};
use crate::lower::plain_ranges;

/// The magnitude that network inputs are taken to stay within where no calibration images are given.
pub const INPUT_BOUND: f32 = 1.0;

/// What ranges are wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The program round the layers.
    pub program: &'a Program,
    /// The layers; their input coding is not looked at.
    pub layers: &'a IdVec<LayerId, MatrixLayer>,
    /// The tiles to be.
    pub cuts: &'a [Cut],
    /// The chip.
    pub chip: &'a Chip,
}

/// Ranges for every converter.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// How each layer's inputs are driven.
    pub inputs: IdVec<LayerId, InputCoding>,
    /// The conversions of each cut, by column, slice and rows, positive before negative.
    pub readouts: Vec<Vec<Readout>>,
}

/// Observes ranges on `images`, `[samples, input shape...]`.
///
/// Full scale is the `percentile` of all drive magnitudes of a layer, 100 for their largest. ADC ranges
/// go from the least to the largest current seen.
///
/// # Errors
/// Images of the wrong shape, none at all, values that are not finite, or a percentile outside 0 to 100.
pub fn observe_ranges(task: &Task<'_>, images: &Tensor, percentile: f64) -> Result<Calibration> {
    check_images(task.program, images)?;
    if !(percentile > 0.0 && percentile <= 100.0) {
        let message = format!("is {percentile}, must be above 0 and at most 100");
        return Err(Diagnostic::bad_input("calibration percentile", message).into());
    }
    let mut inputs = observe::scan_inputs(task, images, percentile)?;
    align_inputs(task.program, &mut inputs, task.chip.dac.bits);
    let currents = observe::scan_currents(task, images, &inputs);
    Ok(Calibration { readouts: ranges::set_ranges(task, currents), inputs })
}

/// Sets the ranges of a mapped net anew on `images`, for its layers as they are; places stay.
///
/// # Errors
/// As [`observe_ranges`].
pub fn calibrate_again(mut net: TiledNet, chip: &Chip, images: &Tensor) -> Result<TiledNet> {
    for layer in net.layers.iter_mut() {
        layer.ranges = plain_ranges(layer);
    }
    lattice::set_ranges(&mut net.layers, chip);
    let cut =
        |tile: &Tile| Cut { layer: tile.layer, rows: tile.rows.clone(), cols: tile.cols.clone() };
    let cuts: Vec<Cut> = net.tiles.iter().map(cut).collect();
    let task = Task { program: &net.program, layers: &net.layers, cuts: &cuts, chip };
    let Calibration { inputs, readouts } = observe_ranges(&task, images, 100.0)?;
    for (layer, &input) in net.layers.iter_mut().zip(&inputs) {
        layer.input = input;
    }
    for (tile, readouts) in net.tiles.iter_mut().zip(readouts) {
        tile.readouts = readouts;
    }
    Ok(net)
}

/// Bounds ranges for every input within plus and minus [`INPUT_BOUND`], with a warning.
pub fn bound_ranges(task: &Task<'_>) -> Warned<Calibration> {
    let (mut inputs, unbounded) = bound::bound_inputs(task);
    align_inputs(task.program, &mut inputs, task.chip.dac.bits);
    let currents = bound::bound_currents(task, &inputs);
    let remedy = "give calibration images with `--calib DATA`";
    let message = format!(
        "no images given, so converter ranges cover the worst case for inputs within [-{INPUT_BOUND}, {INPUT_BOUND}], \
         which wastes most of their resolution"
    );
    let mut warnings = vec![Diagnostic::bad_input("calibration", message).hint(remedy)];
    if let Some(layer) = unbounded {
        let name = format!("layer `{}`", task.layers[layer].name);
        let message = "has no useful worst case, the image will not compute anything sensible";
        warnings.push(Diagnostic::bad_input(name, message).hint(remedy));
    }
    let readouts = ranges::set_ranges(task, currents);
    Warned { output: Calibration { readouts, inputs }, warnings }
}

/// Every conversion at the converters' nominal range, inputs as signed as the worst case makes them: what
/// costs are counted on, since it looks at no current.
pub fn nominal_ranges(task: &Task<'_>) -> Calibration {
    let Task { cuts, chip, .. } = *task;
    let (inputs, _) = bound::bound_inputs(task);
    let code = WeightCode::new(chip);
    let list_readouts = |cut: &Cut| {
        let slots = currents::list_slots(chip, &code, cut.rows.len(), cut.cols.len());
        let readout = |Slot { col, slice, rows, terminal }| {
            let range = chip.adc.nominal;
            Readout { col, slice, rows, terminal, range }
        };
        slots.into_iter().map(readout).collect()
    };
    Calibration { inputs, readouts: cuts.iter().map(list_readouts).collect() }
}

impl Task<'_> {
    /// Whether inputs of this coding take one pass for their positive and one for their negative part.
    fn takes_two_passes(&self, input: InputCoding) -> bool {
        input.signed && self.chip.dac.negative == NegativeInputs::TwoPass
    }
}

fn check_images(program: &Program, images: &Tensor) -> Result<()> {
    let want = program.steps.iter().next().map(|step| step.shape.as_slice()).unwrap_or_default();
    let message = match images.shape() {
        [0, ..] | [] => "hold no image".into(),
        [_, shape @ ..] if shape != want => {
            format!("have shape {shape:?}, the network's input has {want:?}")
        }
        _ if !images.iter().fold(true, |all, value| all & value.is_finite()) => {
            "hold a value that is not finite".into()
        }
        _ => return Ok(()),
    };
    let hint = "give images of the network's input shape with `--calib DATA`";
    Err(Diagnostic::bad_input("calibration images", message).hint(hint).into())
}

#[cfg(test)]
mod tests {
    use nvcim_chip::describe::{Chip, Depthwise, NegativeInputs, RangePer, Subtract};
    use nvcim_chip::effects::dac;
    use nvcim_ir::graph::Graph;
    use nvcim_ir::ids::{Id, LayerId};
    use nvcim_ir::op::{Op, Unary, Window};
    use nvcim_ir::tiled::{AdcRange, Readout, Terminal};
    use nvcim_ops::tensor::Tensor;

    use super::{Calibration, Task, bound_ranges, observe_ranges};
    use crate::cut::{self, Cut, cut_layers};
    use crate::lower::{Lowered, lower_graph};
    use crate::testing::{Builder, plain_chip, random_graph, random_tensor};

    /// Rounding of sums of a few dozen currents.
    const ROUNDING: f32 = 1e-5;

    struct SetUp {
        lowered: Lowered,
        cuts: Vec<Cut>,
        chip: Chip,
    }

    impl SetUp {
        fn new(graph: &Graph, chip: Chip) -> Self {
            let lowered = lower_graph(graph, chip.arrays.depthwise);
            let cuts = cut_layers(
                lowered.layers.iter().map(|layer| layer.blocks.dim()),
                cut::measure_room(&chip).unwrap(),
            );
            Self { lowered, cuts, chip }
        }

        fn task(&self) -> Task<'_> {
            let Lowered { program, layers, .. } = &self.lowered;
            Task { program, layers, cuts: &self.cuts, chip: &self.chip }
        }

        fn observe(&self, images: &Tensor) -> Calibration {
            observe_ranges(&self.task(), images, 100.0).unwrap()
        }
    }

    /// One dense layer on the input, so that its currents can be worked out by hand.
    fn dense_net(inputs: usize, outputs: usize) -> Graph {
        let (mut net, x) = Builder::new(11, &[inputs]);
        let out = net.dense(x, outputs, false);
        net.finish(&[out])
    }

    /// The currents that a readout of cut `cut` sees for each image of `images`, pass by pass.
    fn currents(
        set: &SetUp,
        made: &Calibration,
        images: &Tensor,
        cut: usize,
        of: Readout,
    ) -> Vec<f32> {
        let Cut { layer, rows, cols } = &set.cuts[cut];
        let matrix = &set.lowered.layers[*layer];
        let input = made.inputs[*layer];
        let polarities = match (input.signed, set.chip.dac.negative) {
            (true, NegativeInputs::TwoPass) => &[1.0f32, -1.0][..],
            _ => &[0.0],
        };
        let mut res = Vec::new();
        for image in images.outer_iter() {
            for &polarity in polarities {
                let mut sum = 0.0;
                for row in rows.clone() {
                    let drive =
                        dac::quantize_drive(image[row] / input.full_scale, set.chip.dac.bits);
                    let drive = if polarity == 0.0 { drive } else { (polarity * drive).max(0.0) };
                    let weight = matrix.blocks[(0, row, cols.start + of.col as usize)]
                        / matrix.ranges[cols.start + of.col as usize];
                    let (plus, minus) = set.chip.cell.pair_for(f64::from(weight));
                    let siemens = match of.terminal {
                        Terminal::Pair => plus - minus,
                        Terminal::Plus => plus,
                        Terminal::Minus => minus,
                    };
                    sum += drive * (siemens / set.chip.cell.g_max) as f32;
                }
                res.push(sum);
            }
        }
        res
    }

    fn extremes(values: &[f32]) -> AdcRange {
        let lo = values.iter().copied().fold(f32::INFINITY, f32::min);
        let hi = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        AdcRange { lo, hi }
    }

    #[track_caller]
    fn assert_near(got: AdcRange, want: AdcRange) {
        let near = |a: f32, b: f32| (a - b).abs() <= ROUNDING * b.abs().max(1.0);
        assert!(near(got.lo, want.lo) && near(got.hi, want.hi), "{got:?} is not {want:?}");
    }

    #[test]
    fn column_ranges_are_the_extremes_of_every_pass_and_terminal() {
        let graph = dense_net(20, 11);
        let images = random_tensor(3, &[70, 20]);
        for negative in [NegativeInputs::TwoPass, NegativeInputs::SignMagnitude] {
            for subtract in [Subtract::Analog, Subtract::Digital] {
                for images in [images.clone(), images.mapv(f32::abs)] {
                    let mut chip = plain_chip();
                    chip.dac.negative = negative;
                    chip.dac.bits = 3;
                    chip.cell.n_levels = Some(9);
                    chip.arrays.subtract = subtract;
                    let set = SetUp::new(&graph, chip);
                    let made = set.observe(&images);
                    let input = made.inputs[Id::new(0)];
                    assert_eq!(input.signed, images.iter().any(|&x| x < 0.0));
                    assert_eq!(
                        input.full_scale,
                        images.iter().fold(0.0, |most: f32, x| most.max(x.abs()))
                    );
                    assert_eq!(made.readouts.len(), 4);
                    for (cut, readouts) in made.readouts.iter().enumerate() {
                        let per_col = if subtract == Subtract::Analog { 1 } else { 2 };
                        assert_eq!(readouts.len(), per_col * set.cuts[cut].cols.len());
                        for &readout in readouts {
                            let seen = currents(&set, &made, &images, cut, readout);
                            assert_near(readout.range, extremes(&seen));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn digital_subtraction_reads_the_positive_line_first() {
        let mut chip = plain_chip();
        chip.arrays.subtract = Subtract::Digital;
        let set = SetUp::new(&dense_net(4, 2), chip);
        let made = set.observe(&random_tensor(5, &[9, 4]));
        let order: Vec<_> = made.readouts[0].iter().map(|it| (it.col, it.terminal)).collect();
        let (plus, minus) = (Terminal::Plus, Terminal::Minus);
        assert_eq!(order, [(0, plus), (0, minus), (1, plus), (1, minus)]);
    }

    #[test]
    fn shared_settings_cover_all_that_share_them() {
        let graph = dense_net(20, 11);
        let images = random_tensor(3, &[40, 20]);
        let mut chip = plain_chip();
        let columns = SetUp::new(&graph, chip.clone()).observe(&images).readouts;
        let join = |readouts: &mut dyn Iterator<Item = &Readout>| {
            let ends: Vec<_> = readouts.flat_map(|it| [it.range.lo, it.range.hi]).collect();
            extremes(&ends)
        };
        chip.adc.range_per = RangePer::Tile;
        let tiles = SetUp::new(&graph, chip.clone()).observe(&images).readouts;
        for (tile, columns) in tiles.iter().zip(&columns) {
            let want = join(&mut columns.iter());
            assert!(tile.iter().all(|it| it.range == want));
        }
        chip.adc.range_per = RangePer::Layer;
        let layer = SetUp::new(&graph, chip).observe(&images).readouts;
        let want = join(&mut columns.iter().flatten());
        assert!(layer.iter().flatten().all(|it| it.range == want));
        assert_ne!(tiles[0][0].range, want);
    }

    #[test]
    fn the_number_of_images_in_a_chunk_does_not_show() {
        let graph = random_graph(5, &[0, 6, 8, 16, 4]);
        let set = SetUp::new(&graph, plain_chip());
        let images = random_tensor(6, &[33, 2, 5, 5]);
        let whole = set.observe(&images);
        let twice = ndarray::concatenate![ndarray::Axis(0), images, images];
        assert_eq!(set.observe(&twice), whole);
    }

    #[test]
    fn a_percentile_clips_the_largest_drives() {
        let set = SetUp::new(&dense_net(1, 1), plain_chip());
        let images = Tensor::from_shape_fn(ndarray::IxDyn(&[1000, 1]), |at| at[0] as f32);
        let scale = |percentile| {
            let made = observe_ranges(&set.task(), &images, percentile).unwrap();
            made.inputs[Id::new(0)].full_scale
        };
        assert_eq!(scale(100.0), 999.0);
        assert!((scale(90.0) - 900.0).abs() < 1.0, "{}", scale(90.0));
        let problems = observe_ranges(&set.task(), &images, 0.0).unwrap_err();
        assert_eq!(problems[0].at, "calibration percentile");
    }

    #[test]
    fn images_that_do_not_suit_are_refused() {
        let set = SetUp::new(&dense_net(4, 2), plain_chip());
        let problem = |images: Tensor| {
            let problems = observe_ranges(&set.task(), &images, 100.0).unwrap_err();
            problems[0].message.clone()
        };
        assert_eq!(problem(random_tensor(1, &[0, 4])), "hold no image");
        assert_eq!(
            problem(random_tensor(1, &[2, 5])),
            "have shape [5], the network's input has [4]"
        );
        let mut images = random_tensor(1, &[2, 4]);
        images[[1, 3]] = f32::NAN;
        assert_eq!(problem(images), "hold a value that is not finite");
    }

    #[test]
    fn an_overflow_on_the_way_names_the_layer() {
        let (mut net, x) = Builder::new(1, &[2]);
        let huge = net.value(&[1], vec![3e38]);
        let huge = net.add(Op::Const(huge), &[], &[1]);
        let mut scaled = x;
        for _ in 0..2 {
            scaled = net.map(Op::Binary(nvcim_ir::op::Binary::Mul), &[scaled, huge]);
        }
        let out = net.dense(scaled, 2, false);
        let set = SetUp::new(&net.finish(&[out]), plain_chip());
        let problems = observe_ranges(&set.task(), &random_tensor(2, &[4, 2]), 100.0).unwrap_err();
        assert_eq!(problems[0].at, "layer `dense4`");
    }

    #[test]
    fn the_worst_case_covers_what_is_observed() {
        for seed in 0..40 {
            let picks: Vec<u8> = (0..8).map(|at| (seed * 37 + at * 91) as u8).collect();
            let graph = random_graph(seed, &picks);
            let mut chip = plain_chip();
            chip.dac.bits = 16;
            if seed % 2 == 1 {
                chip.arrays.depthwise = Depthwise::Digital;
            }
            let set = SetUp::new(&graph, chip);
            let observed = set.observe(&random_tensor(seed, &[16, 2, 5, 5]));
            let bounded = bound_ranges(&set.task()).output;
            let scale =
                |made: &Calibration, cut: usize| made.inputs[set.cuts[cut].layer].full_scale;
            for (cut, (seen, bound)) in observed.readouts.iter().zip(&bounded.readouts).enumerate()
            {
                let (seen_scale, bound_scale) = (scale(&observed, cut), scale(&bounded, cut));
                assert!(
                    seen_scale <= bound_scale * (1.0 + ROUNDING),
                    "{seed}: {seen_scale} {bound_scale}"
                );
                for (seen, bound) in seen.iter().zip(bound) {
                    // A span of nothing is widened, on either side.
                    let slack = 1e-3 * bound_scale;
                    assert!(bound.range.lo * bound_scale <= seen.range.lo * seen_scale + slack);
                    assert!(bound.range.hi * bound_scale >= seen.range.hi * seen_scale - slack);
                }
            }
        }
    }

    #[test]
    fn worst_cases_follow_the_sign_and_the_padding() {
        let (mut net, x) = Builder::new(4, &[1, 4, 4]);
        let act = net.map(Op::Unary(Unary::Sigmoid), &[x]);
        let first = net.conv(act, 1, 1, Window::square(3, 1, 1));
        let act = net.map(Op::Unary(Unary::Tanh), &[first]);
        let second = net.conv(act, 1, 1, Window::square(3, 1, 1));
        let set = SetUp::new(&net.finish(&[second]), plain_chip());
        let warned = bound_ranges(&set.task());
        let coding = |layer| warned.output.inputs[LayerId::new(layer)];
        assert_eq!((coding(0).full_scale, coding(0).signed), (1.0, false));
        assert!(coding(1).full_scale <= 1.0 && coding(1).signed);
        assert_eq!(warned.warnings.len(), 1);
        assert!(warned.warnings[0].hints[0].contains("--calib DATA"));
    }

    #[test]
    fn ranges_cover_every_use_of_a_layer() {
        // Used on positive inputs up to 1, then on anything within plus and minus 4.
        let (mut net, x) = Builder::new(4, &[3]);
        let weight = net.random(&[3, 3], -1.0, 1.0);
        let op = || Op::Dense { weight, bias: None, transposed: false };
        let act = net.map(Op::Unary(Unary::Sigmoid), &[x]);
        let first = net.map(op(), &[act]);
        let four = net.value(&[1], vec![4.0]);
        let four = net.add(Op::Const(four), &[], &[1]);
        let wide = net.map(Op::Binary(nvcim_ir::op::Binary::Mul), &[x, four]);
        let second = net.map(op(), &[wide]);
        for outputs in [[first, second], [second, first]] {
            let mut graph = net.graph.clone();
            graph.outputs = outputs.to_vec();
            let set = SetUp::new(&graph, plain_chip());
            assert_eq!(set.lowered.layers.len(), 1);
            let bounded = bound_ranges(&set.task()).output;
            let input = bounded.inputs[Id::new(0)];
            assert_eq!((input.full_scale, input.signed), (4.0, true));
            let images = random_tensor(8, &[50, 3]);
            let observed = set.observe(&images);
            let largest = images.iter().fold(0.0f32, |largest, x| largest.max(4.0 * x.abs()));
            assert_eq!(observed.inputs[Id::new(0)].full_scale, largest);
            let wide = images.mapv(|x| 4.0 * x);
            let sigmoid = images.mapv(|x| nvcim_ops::unary::evaluate(Unary::Sigmoid, x));
            let both = ndarray::concatenate![ndarray::Axis(0), wide, sigmoid];
            for &readout in &observed.readouts[0] {
                let seen = currents(&set, &observed, &both, 0, readout);
                assert_near(readout.range, extremes(&seen));
            }
        }
    }

    #[test]
    fn a_worst_case_without_end_is_said_so() {
        let (mut net, x) = Builder::new(4, &[3]);
        let ratio = net.map(Op::Binary(nvcim_ir::op::Binary::Div), &[x, x]);
        let out = net.dense(ratio, 2, false);
        let set = SetUp::new(&net.finish(&[out]), plain_chip());
        let warned = bound_ranges(&set.task());
        assert_eq!(warned.warnings[1].at, "layer `dense2`");
        assert!(warned.output.inputs[Id::new(0)].full_scale.is_finite());
    }
}
