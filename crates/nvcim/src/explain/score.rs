//! How right a run was: against labels where there are any, and against the float network.

use nvcim_ir::diag::Result;
use nvcim_ops::tensor::Tensor;

use crate::data::Dataset;
use crate::explain::Measure;
use crate::fidelity::Sums;
use crate::model::Model;
use crate::simulate::{DieRun, classify, count_correct};
use crate::verify::run_reference;

/// One run over all images.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    /// Right answers in percent: the labels', or without labels the float network's.
    pub(super) right: f64,
    /// Answers that are the float network's, in percent.
    pub(super) agreement: f64,
    output: Sums,
}

/// The signal-to-noise ratio of several runs' outputs together, in dB.
pub(super) fn mean_snr_db(scores: impl Iterator<Item = Score>) -> f64 {
    let mut sums = Sums::default();
    scores.for_each(|score| sums += score.output);
    sums.snr_db()
}

/// What the answers should be.
pub(super) struct Truth<'a> {
    labels: Option<&'a [i64]>,
    float: Tensor,
}

impl<'a> Truth<'a> {
    /// The labels of the data, and the float network's outputs, by tract.
    pub(super) fn new(model: &Model, data: &'a Dataset, sample: &[usize]) -> Result<Self> {
        let float = run_reference(&model.reference()?, data, sample)?;
        Ok(Self { labels: data.labels(0..data.len()), float })
    }

    /// What counts as a right answer.
    pub(super) fn measure(&self) -> Measure {
        if self.labels.is_some() { Measure::Accuracy } else { Measure::Agreement }
    }

    /// Right answers of the float network, in percent.
    pub(super) fn float_right(&self) -> f64 {
        self.right(&self.float)
    }

    /// The score of a run over all images.
    pub(super) fn score(&self, run: &DieRun) -> Score {
        let mut output = Sums::default();
        output.add_all(&self.float, &run.outputs);
        let (right, agreement) = (self.right(&run.outputs), self.agreement(&run.outputs));
        Score { right, agreement, output }
    }

    /// Right answers among these outputs, in percent.
    pub(super) fn right(&self, outputs: &Tensor) -> f64 {
        match self.labels {
            Some(labels) => 100.0 * count_correct(outputs, labels) as f64 / labels.len() as f64,
            None => self.agreement(outputs),
        }
    }

    fn agreement(&self, outputs: &Tensor) -> f64 {
        let same = classify(outputs).zip(classify(&self.float)).filter(|(a, b)| a == b).count();
        100.0 * same as f64 / self.float.shape()[0] as f64
    }
}
