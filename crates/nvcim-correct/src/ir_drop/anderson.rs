//! Anderson mixing: the next point of a fixed-point iteration from several past ones.
//!
//! For a map `F` with residuals `f = F(x) - x`, the mixed step takes the combination of past points
//! whose residuals cancel best, and moves by what is left: `x + f - (dX + dF) c`, with `c` minimising
//! `|f - dF c|`, `dX` and `dF` the differences between successive points and residuals. D. G. Anderson,
//! J. ACM 12, 547 (1965), doi:10.1145/321296.321305; as multisecant method: H. Fang and Y. Saad, Numer.
//! Linear Algebra Appl. 16, 197 (2009), doi:10.1002/nla.617.

/// Past differences kept.
const DEPTH: usize = 5;

/// Differences whose residuals are this near to a combination of the others are left out.
const RANK_TOLERANCE: f64 = 1e-10;

/// The memory of an iteration.
#[derive(Default)]
pub(super) struct Anderson {
    last: Option<(Vec<f64>, Vec<f64>)>,
    /// Differences of residuals and of images, the newest last.
    differences: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Anderson {
    /// The next point after `x`, whose image is `image`; the least squares see the first `n_seen`
    /// numbers of each.
    pub(super) fn mix(&mut self, x: &[f64], image: Vec<f64>, n_seen: usize) -> Vec<f64> {
        let residual: Vec<f64> =
            image[..n_seen].iter().zip(x).map(|(image, x)| image - x).collect();
        if let Some((last_residual, last_image)) = &self.last {
            if self.differences.len() == DEPTH {
                self.differences.remove(0);
            }
            self.differences.push((minus(&residual, last_residual), minus(&image, last_image)));
        }
        let mut next = image.clone();
        for (share, (_, images)) in self.shares(&residual).into_iter().zip(&self.differences) {
            next.iter_mut().zip(images).for_each(|(next, change)| *next -= share * change);
        }
        self.last = Some((residual, image));
        next
    }

    /// The combination of past residual differences nearest to `residual`, by orthogonalising them,
    /// newest first.
    fn shares(&self, residual: &[f64]) -> Vec<f64> {
        let n = self.differences.len();
        // Each kept direction: its unit vector, and how it is made of the differences.
        let mut kept: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        let mut shares = vec![0.0; n];
        for at in (0..n).rev() {
            let mut direction = self.differences[at].0.clone();
            let mut made_of = vec![0.0; n];
            made_of[at] = 1.0;
            let size = norm(&direction);
            for (unit, parts) in &kept {
                let along = inner(unit, &direction);
                add(&mut direction, -along, unit);
                add(&mut made_of, -along, parts);
            }
            let left = norm(&direction);
            if left <= RANK_TOLERANCE * size {
                continue;
            }
            direction.iter_mut().chain(&mut made_of).for_each(|value| *value /= left);
            add(&mut shares, inner(&direction, residual), &made_of);
            kept.push((direction, made_of));
        }
        shares
    }
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn add(to: &mut [f64], share: f64, of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to += share * of);
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    inner(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{Anderson, minus, norm};

    /// `x -> M x + b` in three dimensions is solved by four mixed steps, where plain ones grow.
    #[test]
    fn a_linear_map_is_solved_in_as_many_steps_as_it_has_dimensions() {
        let map = |x: &[f64]| {
            vec![-1.4 * x[0] + 0.3 * x[1] + 1.0, 0.5 * x[1] - x[2], 0.2 * x[0] - 0.9 * x[2] - 2.0]
        };
        let mut anderson = Anderson::default();
        let mut x = vec![0.0; 3];
        for _ in 0..5 {
            let image = map(&x);
            x = anderson.mix(&x, image, 3);
        }
        assert!(norm(&minus(&map(&x), &x)) < 1e-9, "{x:?}");
    }
}
