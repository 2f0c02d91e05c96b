//! Which layer loses the points: signal-to-noise ratios layer by layer, and one layer's effects at a time.
//!
//! Ratios are against the float network, fed with the image's own inputs, over the first images of the
//! data and all dies. For a layer's own points its arrays are taken from the die and all others from an
//! ideal one: two engines behind one.

use ndarray::{ArrayView2, ArrayViewMut2, Axis, concatenate};
use nvcim_chip::effects::Effect;
use nvcim_ir::diag::Result;
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{IdVec, LayerId};
use nvcim_ir::program::{Program, StepOp};
use nvcim_ir::programmed::ProgrammedNet;
use nvcim_ops::run_program::{Columns, MatrixEngine, run_program};
use nvcim_ops::tensor::Tensor;
use nvcim_sim::engine::ChipEngine;
use nvcim_sim::machine::Machine;
use rayon::prelude::*;

use crate::data::Dataset;
use crate::explain::score::Truth;
use crate::fidelity::{FloatLayers, Sums, list_layers};
use crate::recovery::{Summary, summarize};
use crate::verify::{IMAGES_COMPARED, IMAGES_HELD};

/// Chunks of images between two reports of progress.
const CHUNKS_AT_ONCE: usize = 16;

/// What one layer costs.
#[derive(Debug, Clone)]
pub struct LayerCost {
    /// The name of the ONNX node.
    pub name: String,
    /// Points lost when all effects act on this layer's arrays and none on the others', over dies.
    pub points: Summary,
    /// Signal-to-noise ratio of the layer's output in dB with all effects on all layers.
    pub snr_db: f64,
    /// The same with one effect on all layers, for every effect explained.
    pub alone_snr_db: Vec<(Effect, f64)>,
}

type ByLayer<T> = IdVec<LayerId, T>;

/// What has been found out about layers, die by die.
pub(super) struct LayerLedger<'a> {
    program: &'a Program,
    effects: Vec<Effect>,
    /// With all effects, then with each alone.
    sums: Vec<ByLayer<Sums>>,
    /// Right answers in percent of each die with one layer's effects.
    isolated: ByLayer<Vec<f64>>,
}

impl<'a> LayerLedger<'a> {
    /// An empty ledger.
    pub(super) fn new(program: &'a Program, effects: &[Effect]) -> Self {
        let n_layers = list_layers(program).len();
        let blank = || blank_sums(n_layers);
        Self {
            program,
            effects: effects.to_vec(),
            sums: (0..=effects.len()).map(|_| blank()).collect(),
            isolated: (0..n_layers).map(|_| Vec::new()).collect(),
        }
    }

    /// Compares every layer with the float network: `all` effects, and each `alone`, on one die.
    pub(super) fn compare(
        &mut self,
        graph: &Graph,
        (all, alone): (&Machine, &[Machine]),
        data: &Dataset,
        done: &dyn Fn(usize),
    ) -> Result<()> {
        let truth = FloatLayers::new(graph, self.program);
        let machines: Vec<&Machine> = std::iter::once(all).chain(alone).collect();
        let n = data.len().min(IMAGES_COMPARED);
        let chunks = over_chunks(n, &|images| done(images * machines.len()), |first, end| {
            let input = data.batch(first..end, all.input_shape())?;
            let wanted = truth.run(&input)?;
            let compare = |machine: &&Machine| {
                let mut sums = blank_sums(self.isolated.len());
                let mut engine = machine.engine();
                let visit = &mut |step, tensor: &Tensor| {
                    if let StepOp::Matrix { layer, .. } = self.program.steps[step].op {
                        sums[layer].add_all(&wanted[&step], tensor);
                    }
                };
                run_program(self.program, &input, first as u64, &mut engine, visit);
                sums
            };
            Ok(machines.iter().map(compare).collect::<Vec<_>>())
        })?;
        for chunk in &chunks {
            for (sums, more) in self.sums.iter_mut().zip(chunk) {
                sums.iter_mut().zip(more).for_each(|(sums, more)| *sums += *more);
            }
        }
        Ok(())
    }

    /// Runs the data once per layer, with that layer on `die` and all others on `ideal`.
    pub(super) fn isolate(
        &mut self,
        (die, ideal): (&Machine, &Machine),
        data: &Dataset,
        truth: &Truth<'_>,
        done: &dyn Fn(usize),
    ) -> Result<()> {
        for layer in list_layers(self.program) {
            let parts = over_chunks(data.len(), done, |first, end| {
                let input = data.batch(first..end, die.input_shape())?;
                let mut engine = Mixed { layer, die: die.engine(), ideal: ideal.engine() };
                let visit = &mut |_, _: &Tensor| ();
                let run = run_program(self.program, &input, first as u64, &mut engine, visit);
                Ok(run.into_iter().next().expect("a verified program has an output"))
            })?;
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            let outputs = concatenate(Axis(0), &views).expect("every chunk has one output shape");
            self.isolated[layer].push(truth.right(&outputs));
        }
        Ok(())
    }

    /// The layers in program order; `ideal` is the percentage of right answers without any effect.
    pub(super) fn finish(self, net: &ProgrammedNet, ideal: f64) -> Vec<LayerCost> {
        let cost = |layer: LayerId| {
            let points: Vec<_> = self.isolated[layer].iter().map(|right| ideal - right).collect();
            let (all, alone) = self.sums.split_first().expect("all effects come first");
            let alone = self.effects.iter().zip(alone);
            LayerCost {
                name: net.layers[layer].name.clone(),
                points: summarize(&points).expect("there is at least one die"),
                snr_db: all[layer].snr_db(),
                alone_snr_db: alone.map(|(effect, sums)| (*effect, sums[layer].snr_db())).collect(),
            }
        };
        list_layers(self.program).into_iter().map(cost).collect()
    }
}

fn blank_sums(n_layers: usize) -> ByLayer<Sums> {
    (0..n_layers).map(|_| Sums::default()).collect()
}

/// Takes `n` images in chunks, on all threads; results come in the order of the images.
fn over_chunks<T: Send>(
    n: usize,
    done: &dyn Fn(usize),
    run: impl Fn(usize, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let mut results = Vec::new();
    for block in (0..n).step_by(IMAGES_HELD * CHUNKS_AT_ONCE) {
        let end = (block + IMAGES_HELD * CHUNKS_AT_ONCE).min(n);
        let starts: Vec<_> = (block..end).step_by(IMAGES_HELD).collect();
        let chunk = |&first: &usize| run(first, (first + IMAGES_HELD).min(end));
        results.extend(starts.par_iter().map(chunk).collect::<Result<Vec<_>>>()?);
        done(end - block);
    }
    Ok(results)
}

/// One layer on a die, all others on an ideal one.
struct Mixed<'a> {
    layer: LayerId,
    die: ChipEngine<'a>,
    ideal: ChipEngine<'a>,
}

impl MatrixEngine for Mixed<'_> {
    fn multiply(
        &mut self,
        layer: LayerId,
        columns: Columns,
        x: ArrayView2<'_, f32>,
        out: ArrayViewMut2<'_, f32>,
    ) {
        let engine = if layer == self.layer { &mut self.die } else { &mut self.ideal };
        engine.multiply(layer, columns, x, out);
    }
}
