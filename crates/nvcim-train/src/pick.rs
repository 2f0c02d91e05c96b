//! Operators that only move elements, or take the largest of some: gather forth, scatter back.
//!
//! Where each element comes from is the same for every sample, and is found once, by letting the executor's
//! own operator move the numbers of the elements. So nothing here knows a layout rule of its own.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use nvcim_ir::op::{Op, Window};
use nvcim_ops::im2col::Im2col;
use nvcim_ops::tensor::{Operand, Tensor};
use nvcim_ops::{binary, layout, pool};

use crate::tape::{self, Var, WayBack};

/// Stands for no element.
pub(crate) const NONE: u32 = u32::MAX;

/// More elements than this cannot be told apart by the f32 that carry their numbers.
const MAX_ELEMENTS: usize = 1 << 24;

/// Where the elements of a sample come from.
#[derive(Debug, Clone)]
pub(crate) struct Moves {
    /// The operand's element under each element of the result, or [`NONE`].
    from: Arc<[u32]>,
    /// What stands where nothing comes from.
    filler: f32,
}

/// The elements of a sample that each element of the result is chosen from, or averaged over.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    /// `[results, taps]`; [`NONE`] for a tap that sees nothing.
    taps: Arc<[u32]>,
    n_taps: usize,
    /// What each result's sum is multiplied by; empty for those that choose.
    shares: Arc<[f32]>,
}

/// The moves of an operator that makes samples of `to` from samples of `from`; `None` for one that computes.
pub(crate) fn find_moves(
    op: &Op,
    from: &[usize],
    to: &[usize],
) -> Option<Result<Moves, &'static str>> {
    let (numbers, filler) = match op {
        Op::Transpose { perm } => (moved(from, |x| layout::transpose(x, perm)), 0.0),
        Op::Gather { axis, indices } => (moved(from, |x| layout::gather(x, *axis, indices)), 0.0),
        Op::Slice { axes } => (moved(from, |x| layout::slice(x, axes)), 0.0),
        Op::Expand => (moved(from, |x| binary::expand(x, to)), 0.0),
        Op::Pad { before, value, .. } => {
            (moved(from, |x| layout::pad(x, before, -1.0, to)), *value)
        }
        _ => return None,
    };
    Some(numbers.map(|numbers| Moves { from: numbers.into(), filler }))
}

/// What `mover` makes of the numbers of a sample's elements.
fn moved(from: &[usize], mover: impl Fn(&Operand<'_>) -> Tensor) -> Result<Vec<u32>, &'static str> {
    let count: usize = from.iter().product();
    if count > MAX_ELEMENTS {
        return Err("moves more elements than training can number");
    }
    let numbers = (0..count).map(|at| at as f32).collect();
    let x = ArrayD::from_shape_vec(IxDyn(&[&[1], from].concat()), numbers)
        .expect("as many numbers as elements");
    let to_number = |at: &f32| if *at < 0.0 { NONE } else { *at as u32 };
    Ok(mover(&Operand::from(&x)).iter().map(to_number).collect())
}

/// The windows of a pool from `from`, `[c, h, w]`, to `to`, `[c, oh, ow]`; `means` says of an average whether
/// padding counts.
pub(crate) fn find_windows(
    window: &Window,
    from: &[usize],
    to: &[usize],
    means: Option<bool>,
) -> Windows {
    let (&[channels, height, width], &[_, out_height, out_width]) = (from, to) else {
        unreachable!("the verifier has seen [c, h, w] on both sides of a pool")
    };
    let (plane, n_out) = (height * width, out_height * out_width);
    let n_taps = window.kernel.iter().product::<usize>();
    // Numbers from 1, since im2col pads with 0.
    let numbers: Vec<f32> = (1..=plane).map(|at| at as f32).collect();
    let plan = Im2col::new(window, [1, height, width], [out_height, out_width]);
    let mut seen = vec![0.0; n_taps * n_out];
    plan.fill(&numbers, &mut seen);
    let tap = |channel: usize, out: usize, tap: usize| match seen[tap * n_out + out] {
        0.0 => NONE,
        number => (channel * plane + number as usize - 1) as u32,
    };
    let taps = (0..channels).flat_map(|channel| {
        (0..n_out).flat_map(move |out| (0..n_taps).map(move |at| tap(channel, out, at)))
    });
    let shares = means.map(|count_pad| {
        // A pool of ones is the share of taps that see something among those that count.
        let ones = Tensor::ones(IxDyn(&[1, channels, height, width]));
        let pooled = pool::average_pool(&Operand::from(ones), window, count_pad, to);
        let inside = |out: usize| (0..n_taps).filter(|at| seen[at * n_out + out] != 0.0).count();
        let share = |(at, mean): (usize, &f32)| mean / inside(at % n_out).max(1) as f32;
        pooled.iter().enumerate().map(share).collect::<Vec<f32>>()
    });
    Windows { taps: taps.collect(), n_taps, shares: shares.unwrap_or_default().into() }
}

/// The elements that a reduction over `axes` of a sample takes together, to choose one of them.
pub(crate) fn find_groups(from: &[usize], axes: &[usize]) -> Result<Windows, &'static str> {
    let kept = (0..from.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    let taps = moved(from, |x| layout::transpose(x, &order))?;
    let n_taps = axes.iter().map(|&axis| from[axis]).product();
    Ok(Windows { taps: taps.into(), n_taps, shares: Vec::new().into() })
}

/// Moves the elements of every sample, to samples of `shape`.
pub(crate) fn move_elements(x: &Var, moves: &Moves, shape: &[usize]) -> Var {
    let (values, n_samples) = (tape::values_of(x), tape::shape_of(x)[0]);
    let len = values.len() / n_samples;
    let of_sample = |sample: &[f32], out: &mut Vec<f32>| {
        out.extend(
            moves
                .from
                .iter()
                .map(|&at| if at == NONE { moves.filler } else { sample[at as usize] }),
        );
    };
    let mut out = Vec::with_capacity(n_samples * moves.from.len());
    values.chunks_exact(len).for_each(|sample| of_sample(sample, &mut out));
    let back = Scatter { from: Arc::clone(&moves.from), len };
    tape::record([x], out, &[&[n_samples], shape].concat(), back)
}

/// Gives every element's gradient back to where the element came from.
#[derive(Debug)]
struct Scatter {
    from: Arc<[u32]>,
    /// Elements of one sample of the operand.
    len: usize,
}

impl WayBack<1> for Scatter {
    fn pull(&self, gradient: &[f32], _wanted: [bool; 1]) -> [Vec<f32>; 1] {
        let n_samples = gradient.len() / self.from.len();
        let mut res = vec![0.0; n_samples * self.len];
        for (res, gradient) in
            res.chunks_exact_mut(self.len).zip(gradient.chunks_exact(self.from.len()))
        {
            for (&from, gradient) in
                self.from.iter().zip(gradient).filter(|(from, _)| **from != NONE)
            {
                res[from as usize] += gradient;
            }
        }
        [res]
    }
}

/// The largest element of each window of every sample, or the smallest where `smallest`; negative infinity
/// where a window sees nothing.
pub(crate) fn choose(x: &Var, windows: &Windows, smallest: bool, shape: &[usize]) -> Var {
    let (values, n_samples) = (tape::values_of(x), tape::shape_of(x)[0]);
    let len = values.len() / n_samples;
    let n_out = windows.taps.len() / windows.n_taps;
    let mut out = Vec::with_capacity(n_samples * n_out);
    let mut chosen = Vec::with_capacity(n_samples * n_out);
    for sample in values.chunks_exact(len) {
        for taps in windows.taps.chunks_exact(windows.n_taps) {
            let mut best = (NONE, f32::NEG_INFINITY);
            for &at in taps.iter().filter(|at| **at != NONE) {
                let value = sample[at as usize];
                let better = if smallest { value < best.1 } else { value > best.1 };
                if best.0 == NONE || better || value.is_nan() {
                    best = (at, value);
                }
            }
            chosen.push(best.0);
            out.push(best.1);
        }
    }
    let back = Chosen { chosen, n_out, len };
    tape::record([x], out, &[&[n_samples], shape].concat(), back)
}

/// Gives every gradient to the element that was chosen.
#[derive(Debug)]
struct Chosen {
    chosen: Vec<u32>,
    n_out: usize,
    len: usize,
}

impl WayBack<1> for Chosen {
    fn pull(&self, gradient: &[f32], _wanted: [bool; 1]) -> [Vec<f32>; 1] {
        let n_samples = gradient.len() / self.n_out;
        let mut res = vec![0.0; n_samples * self.len];
        let by_sample = self.chosen.chunks_exact(self.n_out).zip(gradient.chunks_exact(self.n_out));
        for (res, (chosen, gradient)) in res.chunks_exact_mut(self.len).zip(by_sample) {
            for (&from, gradient) in chosen.iter().zip(gradient).filter(|(from, _)| **from != NONE)
            {
                res[from as usize] += gradient;
            }
        }
        [res]
    }
}

/// The mean of each window of every sample, by the windows' shares.
pub(crate) fn average(x: &Var, windows: &Windows, shape: &[usize]) -> Var {
    let (values, n_samples) = (tape::values_of(x), tape::shape_of(x)[0]);
    let len = values.len() / n_samples;
    let mut out = Vec::with_capacity(n_samples * windows.shares.len());
    for sample in values.chunks_exact(len) {
        let by_window = windows.taps.chunks_exact(windows.n_taps).zip(windows.shares.iter());
        out.extend(by_window.map(|(taps, share)| {
            let seen = taps.iter().filter(|at| **at != NONE);
            share * seen.map(|&at| sample[at as usize]).sum::<f32>()
        }));
    }
    let back = Averaged { windows: windows.clone(), len };
    tape::record([x], out, &[&[n_samples], shape].concat(), back)
}

/// Gives every gradient, by the window's share, to all that it saw.
#[derive(Debug)]
struct Averaged {
    windows: Windows,
    len: usize,
}

impl WayBack<1> for Averaged {
    fn pull(&self, gradient: &[f32], _wanted: [bool; 1]) -> [Vec<f32>; 1] {
        let Windows { taps, n_taps, shares } = &self.windows;
        let n_samples = gradient.len() / shares.len();
        let mut res = vec![0.0; n_samples * self.len];
        for (res, gradient) in
            res.chunks_exact_mut(self.len).zip(gradient.chunks_exact(shares.len()))
        {
            for ((taps, share), gradient) in
                taps.chunks_exact(*n_taps).zip(shares.iter()).zip(gradient)
            {
                for &at in taps.iter().filter(|at| **at != NONE) {
                    res[at as usize] += share * gradient;
                }
            }
        }
        [res]
    }
}
