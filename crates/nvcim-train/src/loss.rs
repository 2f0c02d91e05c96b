//! What training makes small: cross-entropy with the labels, with a teacher's answers, or with both.
//!
//! With scores `z`, a teacher's scores `t`, temperature `T` and share `a` of distillation, a sample's loss is
//!
//! ```text
//! (1 - a) H(label, softmax(z)) + a T^2 H(softmax(t / T), softmax(z / T))      H(p, q) = -sum p log q
//! ```
//!
//! Source: G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531.

use burn_backend::ops::{ActivationOps, FloatTensorOps};
use burn_backend::{Scalar, Shape};

use crate::tape::{self, Tape, Var};

/// What the scores of a chunk are held against.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The class of each sample, where labels count.
    pub(crate) labels: Option<Vec<usize>>,
    /// The teacher's scores, `[samples, classes]` in a row, where they count.
    pub(crate) teacher: Option<Vec<f32>>,
    /// How much the teacher counts, 0 to 1.
    pub(crate) share: f32,
    /// What scores are divided by before they are compared with the teacher's.
    pub(crate) temperature: f32,
    /// Classes.
    pub(crate) n_classes: usize,
}

/// The loss of a chunk on its tape, its value summed over samples, and the samples that are right.
pub(crate) fn loss_of(scores: Var, target: &Target) -> (Var, f64, usize) {
    let n_samples = tape::shape_of(&scores)[0];
    let dim = [n_samples, target.n_classes];
    let scores = Tape::float_reshape(scores, Shape::from(dim.to_vec()));
    let right = target.labels.as_ref().map_or(0, |labels| {
        let values = tape::values_of(&scores);
        let answers = values.chunks_exact(target.n_classes).map(largest);
        answers.zip(labels).filter(|(answer, label)| answer == *label).count()
    });
    let mut parts = Vec::new();
    if let Some(labels) = &target.labels {
        let mut wanted = vec![0.0; n_samples * target.n_classes];
        for (row, &label) in wanted.chunks_exact_mut(target.n_classes).zip(labels) {
            row[label] = 1.0 - target.share;
        }
        parts.push(cross_entropy(scores.clone(), wanted, dim));
    }
    if let Some(teacher) = &target.teacher {
        let temperature = target.temperature;
        let mut wanted = Vec::with_capacity(teacher.len());
        for row in teacher.chunks_exact(target.n_classes) {
            let row: Vec<f32> = row.iter().map(|score| score / temperature).collect();
            let most = row[largest(&row)];
            let powers: Vec<f32> = row.iter().map(|score| libm::expf(score - most)).collect();
            let total: f32 = powers.iter().sum();
            let weight = target.share * temperature * temperature / total;
            wanted.extend(powers.iter().map(|power| power * weight));
        }
        let cooled = Tape::float_mul_scalar(scores, Scalar::Float(1.0 / f64::from(temperature)));
        parts.push(cross_entropy(cooled, wanted, dim));
    }
    let loss = parts.into_iter().reduce(Tape::float_add).expect("labels or a teacher, or both");
    let value = tape::values_of(&loss).iter().map(|value| f64::from(*value)).sum();
    (loss, value, right)
}

/// `-sum wanted log softmax(scores)` over the whole chunk.
fn cross_entropy(scores: Var, wanted: Vec<f32>, dim: [usize; 2]) -> Var {
    let logarithms = Tape::log_softmax(scores, 1);
    Tape::float_neg(Tape::float_sum(Tape::float_mul(logarithms, tape::constant(wanted, &dim))))
}

/// Where the largest of some numbers stands, the first of equals.
pub(crate) fn largest(values: &[f32]) -> usize {
    let pick = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (0..values.len()).fold(0, pick)
}
