//! Softmax and its logarithm over one axis.
//!
//! Both subtract the largest element first, so that no exponential overflows.

use crate::tensor::{Operand, Tensor, elements_mut, sum};

/// `exp(x) / sum exp(x)` over `axis` of a sample; in place where the operand was handed over.
pub fn softmax(x: Operand<'_>, axis: usize) -> Tensor {
    map_lines(x, axis, |line| {
        let largest = line.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        line.iter_mut().for_each(|x| *x = libm::expf(*x - largest));
        let total = sum(line);
        line.iter_mut().for_each(|x| *x /= total);
    })
}

/// `x - log(sum exp(x))` over `axis` of a sample; in place where the operand was handed over.
pub fn log_softmax(x: Operand<'_>, axis: usize) -> Tensor {
    let mut terms = Vec::new();
    map_lines(x, axis, |line| {
        let largest = line.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        terms.clear();
        terms.extend(line.iter().map(|x| libm::expf(*x - largest)));
        let log_total = libm::logf(sum(&terms));
        line.iter_mut().for_each(|x| *x = (*x - largest) - log_total);
    })
}

/// Applies `function` to every line along `axis` of a sample, gathered where its elements lie apart.
fn map_lines(x: Operand<'_>, axis: usize, mut function: impl FnMut(&mut [f32])) -> Tensor {
    let mut res = x.into_owned();
    let len = res.shape()[axis + 1];
    let inner: usize = res.shape()[axis + 2..].iter().product();
    let values = elements_mut(&mut res);
    if inner == 1 {
        values.chunks_exact_mut(len).for_each(function);
        return res;
    }
    let mut line = vec![0.0; len];
    for block in values.chunks_exact_mut(len * inner) {
        for at in 0..inner {
            let apart = || (at..len * inner).step_by(inner);
            line.iter_mut().zip(apart()).for_each(|(to, from)| *to = block[from]);
            function(&mut line);
            line.iter().zip(apart()).for_each(|(from, to)| block[to] = *from);
        }
    }
    res
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::{log_softmax, softmax};
    use crate::tensor::Operand;
    use crate::testing::{assert_close, tensor, values};

    #[test]
    fn agrees_with_the_definition_along_every_axis() {
        let x = values(&[2, 3, 5, 4], 1);
        for axis in 0..3 {
            let mut want = x.mapv(|x| libm::exp(f64::from(x)));
            for mut line in want.lanes_mut(Axis(axis + 1)) {
                let total = line.sum();
                line.mapv_inplace(|x| x / total);
            }
            assert_close(&softmax(Operand::from(&x), axis), &want.mapv(|x| x as f32));
            let want = want.mapv(|x| libm::log(x) as f32);
            assert_close(&log_softmax(Operand::from(&x), axis), &want);
            assert_close(&log_softmax(Operand::from(x.clone()), axis), &want);
        }
    }

    #[test]
    fn large_elements_neither_overflow_nor_vanish() {
        let x = tensor(&[1, 3], &[1e4, 1e4, -1e4]);
        assert_eq!(softmax(Operand::from(&x), 0), tensor(&[1, 3], &[0.5, 0.5, 0.]));
        let ln_2 = std::f32::consts::LN_2;
        assert_close(
            &log_softmax(Operand::from(&x), 0),
            &tensor(&[1, 3], &[-ln_2, -ln_2, -2e4 - ln_2]),
        );
    }
}
