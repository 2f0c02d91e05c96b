//! Steps downhill: stochastic gradient descent with momentum, or AdamW, with clipped gradients and a cosine.
//!
//! Of parameters `w` with gradient `g`, at the rate `r` of the step and with decay `d`:
//!
//! ```text
//! sgd      v = momentum v + g + d w      w -= r v
//! adamw    m = b1 m + (1 - b1) g         v = b2 v + (1 - b2) g^2
//!          w -= r (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + 1e-8) + d w)
//! ```
//!
//! A gradient longer than the limit, over all parameters, is shortened to it. The rate rises evenly over the
//! first steps and then falls along half a cosine. Sources: I. Loshchilov and F. Hutter, "Decoupled weight
//! decay regularization", arXiv 1711.05101; the same, "SGDR", arXiv 1608.03983; R. Pascanu, T. Mikolov and
//! Y. Bengio, arXiv 1211.5063.

use std::f64::consts::PI;

/// How parameters follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Stochastic gradient descent.
    Sgd {
        /// How much of the step before is kept, 0 to below 1.
        momentum: f32,
    },
    /// Adam with decoupled weight decay; `b1 = 0.9`, `b2 = 0.999`.
    AdamW,
}

/// Settings of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// How parameters follow their gradients.
    pub method: Method,
    /// The largest rate.
    pub rate: f32,
    /// Share of the steps over which the rate rises, 0 to 1.
    pub warm_up: f64,
    /// The rate at the end as a share of the largest.
    pub last_rate: f64,
    /// Decay of weights; biases do not decay.
    pub weight_decay: f32,
    /// The longest gradient over all parameters; `None` for no limit.
    pub gradient_limit: Option<f32>,
}

/// What the optimiser remembers of one parameter vector: momentum, or first and second moments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// Momentum, or the first moment.
    pub first: Vec<f32>,
    /// The second moment; empty for gradient descent.
    pub second: Vec<f32>,
}

/// `b1` and `b2` of AdamW.
const MOMENTS: [f32; 2] = [0.9, 0.999];

impl Memory {
    /// What is remembered of `n` parameters before the first step.
    pub fn new(method: Method, n: usize) -> Self {
        let second = match method {
            Method::Sgd { .. } => Vec::new(),
            Method::AdamW => vec![0.0; n],
        };
        Self { first: vec![0.0; n], second }
    }
}

impl Descent {
    /// The rate of step `step`, from 0, of `n_steps`.
    pub fn rate_at(&self, step: u64, n_steps: u64) -> f32 {
        let done = step as f64 / n_steps.max(1) as f64;
        let share = if done < self.warm_up {
            (step + 1) as f64 / (self.warm_up * n_steps as f64 + 1.0)
        } else {
            let left = (done - self.warm_up) / (1.0 - self.warm_up).max(1e-9);
            let wave = 0.5 * (1.0 + libm::cos(PI * left));
            self.last_rate + (1.0 - self.last_rate) * wave
        };
        (f64::from(self.rate) * share) as f32
    }

    /// What gradients of this total length are multiplied by.
    pub fn shorten(&self, length: f64) -> f32 {
        match self.gradient_limit {
            Some(limit) if length > f64::from(limit) => (f64::from(limit) / length) as f32,
            _ => 1.0,
        }
    }

    /// Moves `parameters` along `gradient`, times `shortened`. `step` counts from 0; `decays` says whether these
    /// parameters do.
    pub fn step(
        &self,
        parameters: &mut [f32],
        gradient: &[f32],
        memory: &mut Memory,
        (step, rate, shortened): (u64, f32, f32),
        decays: bool,
    ) {
        let decay = if decays { self.weight_decay } else { 0.0 };
        match self.method {
            Method::Sgd { momentum } => {
                let moved = parameters.iter_mut().zip(gradient).zip(&mut memory.first);
                for ((w, g), v) in moved {
                    *v = momentum * *v + shortened * g + decay * *w;
                    *w -= rate * *v;
                }
            }
            Method::AdamW => {
                let t = (step + 1) as f64;
                let [b1, b2] = MOMENTS;
                let unbias = |b: f32| (1.0 / (1.0 - libm::pow(f64::from(b), t))) as f32;
                let (first, second) = (unbias(b1), unbias(b2));
                let moments = memory.first.iter_mut().zip(&mut memory.second);
                for ((w, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
                    let g = shortened * g;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    *w -= rate * (*m * first / ((*v * second).sqrt() + 1e-8) + decay * *w);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Descent, Memory, Method};

    const PLAIN: Descent = Descent {
        method: Method::Sgd { momentum: 0.9 },
        rate: 0.1,
        warm_up: 0.0,
        last_rate: 0.0,
        weight_decay: 0.0,
        gradient_limit: None,
    };

    fn walk(descent: &Descent, gradients: &[f32]) -> Vec<f32> {
        let (mut w, mut memory) = ([1.0f32], Memory::new(descent.method, 1));
        let step = |(step, g): (usize, &f32)| {
            descent.step(&mut w, &[*g], &mut memory, (step as u64, 0.1, 1.0), true);
            w[0]
        };
        gradients.iter().enumerate().map(step).collect()
    }

    #[track_caller]
    fn assert_near(got: &[f32], want: &[f32]) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {want:?}");
    }

    /// By hand: v = 1, 1.9, 1.71.
    #[test]
    fn momentum_keeps_going() {
        assert_near(&walk(&PLAIN, &[1.0, 1.0, 0.0]), &[0.9, 0.71, 0.539]);
    }

    /// By hand: the first steps of Adam have the length of the rate, whatever the gradient.
    #[test]
    fn adam_steps_by_its_rate_and_decays_apart() {
        let adam = Descent { method: Method::AdamW, ..PLAIN };
        assert_near(&walk(&adam, &[5.0, 5.0]), &[0.9, 0.8]);
        let decays = Descent { weight_decay: 0.5, ..adam };
        assert_near(&walk(&decays, &[-5.0]), &[1.0 + 0.1 - 0.05]);
    }

    #[test]
    fn the_rate_rises_then_falls_along_a_cosine() {
        let descent = Descent { warm_up: 0.1, last_rate: 0.01, ..PLAIN };
        let rates: Vec<f32> = (0..=100).map(|step| descent.rate_at(step, 100)).collect();
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b));
        assert_near(&[rates[10], rates[55], rates[100]], &[0.1, 0.0505, 0.001]);
    }

    #[test]
    fn long_gradients_are_shortened() {
        let descent = Descent { gradient_limit: Some(2.0), ..PLAIN };
        assert_eq!((descent.shorten(1.0), descent.shorten(8.0)), (1.0, 0.25));
        assert_eq!(PLAIN.shorten(1e9), 1.0);
    }
}
