//! How close two runs of a network are: signal-to-noise ratio and cosine, layer by layer.
//!
//! The float values of a layer are those of the imported graph's tensor that the layer's step names.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::graph::Graph;
use nvcim_ir::ids::{LayerId, StepId};
use nvcim_ir::program::{Program, list_uses};
use nvcim_ops::run_graph::run_graph;
use nvcim_ops::tensor::Tensor;

/// Sums over pairs of a wanted and a given value, in double precision and in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sums {
    signal: f64,
    noise: f64,
    other: f64,
    product: f64,
}

impl Sums {
    /// Takes one pair in.
    pub(crate) fn add(&mut self, want: f32, got: f32) {
        let (want, got) = (f64::from(want), f64::from(got));
        self.signal += want * want;
        self.noise += (got - want) * (got - want);
        self.other += got * got;
        self.product += got * want;
    }

    /// Takes two tensors of one size in, element by element.
    pub(crate) fn add_all(&mut self, want: &Tensor, got: &Tensor) {
        want.iter().zip(got).for_each(|(want, got)| self.add(*want, *got));
    }

    /// Signal-to-noise ratio in dB, at most 200.
    pub(crate) fn snr_db(&self) -> f64 {
        // An exact layer has no noise; the cap keeps the figure finite.
        10.0 * libm::log10((self.signal / self.noise.max(1e-30)).clamp(1e-30, 1e20))
    }

    /// Cosine between wanted and given values.
    pub(crate) fn cosine(&self) -> f64 {
        self.product / (self.signal * self.other).sqrt().max(f64::MIN_POSITIVE)
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, more: Self) {
        let Self { signal, noise, other, product } = more;
        self.signal += signal;
        self.noise += noise;
        self.other += other;
        self.product += product;
    }
}

/// The matrix layers in the order in which a program first uses them.
pub(crate) fn list_layers(program: &Program) -> Vec<LayerId> {
    let firsts = list_uses(program).into_iter().filter(|it| it.number == 0);
    firsts.map(|it| it.layer).collect()
}

/// The float network as the truth for every matrix step of an image.
pub(crate) struct FloatLayers<'a> {
    graph: &'a Graph,
    steps: BTreeMap<&'a str, StepId>,
}

impl<'a> FloatLayers<'a> {
    /// The truth from `graph` for the matrix steps of `program`.
    pub(crate) fn new(graph: &'a Graph, program: &'a Program) -> Self {
        let uses = list_uses(program).into_iter();
        let steps = uses.map(|it| (program.steps[it.step].tensor.as_str(), it.step)).collect();
        Self { graph, steps }
    }

    /// What every matrix step makes of `input`, `[samples, input shape...]`.
    ///
    /// # Errors
    /// A graph that lacks a tensor that the image names.
    pub(crate) fn run(&self, input: &Tensor) -> Result<BTreeMap<StepId, Tensor>> {
        let mut wanted = BTreeMap::new();
        run_graph(self.graph, input, &mut |id, tensor| {
            if let Some(step) = self.steps.get(self.graph.node(id).tensor.as_str()) {
                wanted.insert(*step, tensor.clone());
            }
        });
        if wanted.len() == self.steps.len() {
            return Ok(wanted);
        }
        let message = "the image names tensors that the model does not have";
        Err(Diagnostic::bad_input("image", message).into())
    }
}

#[cfg(test)]
mod tests {
    use super::Sums;

    #[test]
    fn ratios_of_known_numbers() {
        let mut sums = Sums::default();
        for (want, got) in [(3.0, 3.3), (4.0, 4.4)] {
            sums.add(want, got);
        }
        // A gain of 1.1: noise is a hundredth of the signal, and the direction is the same.
        assert!((sums.snr_db() - 20.0).abs() < 1e-4, "{}", sums.snr_db());
        assert!((sums.cosine() - 1.0).abs() < 1e-9, "{}", sums.cosine());
        let mut twice = sums;
        twice += sums;
        assert!((twice.snr_db() - sums.snr_db()).abs() < 1e-9);
        assert_eq!(Sums::default().snr_db(), -300.0);
    }

    #[test]
    fn an_exact_run_has_a_finite_ratio() {
        let mut sums = Sums::default();
        sums.add(2.0, 2.0);
        assert!((sums.snr_db() - 200.0).abs() < 1e-9);
    }
}
