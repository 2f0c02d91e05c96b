//! Weights to conductances by the rules of the cases: balanced pairs, offset cells, and slices of either.

use ndarray::{Array2, ArrayD, Axis, concatenate, stack};

use crate::case::{Case, Settings};

/// The cells of one conversion per output: one bit line, or two whose currents are subtracted.
pub(crate) struct Slice {
    /// `[outputs, inputs]` over the highest conductance, positive first.
    pub(crate) lines: Vec<Array2<f64>>,
    /// What the slice's current counts, in outputs.
    pub(crate) scale: f64,
}

/// All cells of a case.
pub(crate) struct Cells {
    /// The lowest first.
    pub(crate) slices: Vec<Slice>,
    /// What the digital sum of drives counts, in outputs.
    pub(crate) drive_sum: f64,
    /// Whether the first output is a reference, to be subtracted from all others.
    pub(crate) unit_column: bool,
    sliced: bool,
}

impl Cells {
    pub(crate) fn new(case: &Case) -> Self {
        let settings = &case.settings;
        let range = Range::new(settings);
        match settings.text("core") {
            "BALANCED" => {
                assert_eq!(settings.text("balanced_style"), "ONE_SIDED", "a style with rules");
                let lines = range.balance(&case.w).into();
                Self::whole(Slice { lines, scale: 1.0 / range.width }, 0.0)
            }
            "OFFSET" => range.offset(&case.w, settings.text("offset_style")),
            "BITSLICED" => range.slice(&case.w, settings),
            core => panic!("a core style `{core}` has no rules"),
        }
    }

    fn whole(slice: Slice, drive_sum: f64) -> Self {
        Self { slices: vec![slice], drive_sum, unit_column: false, sliced: false }
    }

    /// The conductances as the case holds them.
    pub(crate) fn stack(&self) -> ArrayD<f64> {
        let slice = |slice: &Slice| {
            let lines: Vec<_> = slice.lines.iter().map(|line| line.view()).collect();
            stack(Axis(0), &lines).expect("lines are shaped alike").into_dyn()
        };
        let slices: Vec<_> = self.slices.iter().map(slice).collect();
        if !self.sliced {
            return slices[0].clone();
        }
        let views: Vec<_> = slices.iter().map(|slice| slice.view()).collect();
        stack(Axis(0), &views).expect("slices are shaped alike")
    }
}

/// What a cell can hold, over the highest conductance.
struct Range {
    min: f64,
    width: f64,
    /// Steps between levels, over the width; 0 for none.
    steps: f64,
    bits: u32,
}

impl Range {
    fn new(settings: &Settings) -> Self {
        let open = settings.flag("infinite_on_off");
        let min = if open { 0.0 } else { settings.number("Rmin") / settings.number("Rmax") };
        let bits = settings.bits("cell_bits");
        Self { min, width: 1.0 - min, steps: f64::from((1u32 << bits) - 1), bits }
    }

    /// The level nearest to a conductance.
    fn quantize(&self, g: f64) -> f64 {
        if self.bits == 0 {
            return g;
        }
        let per_width = self.steps / self.width;
        ((g - self.min) * per_width).round_ties_even() / per_width + self.min
    }

    fn balance(&self, w: &Array2<f64>) -> [Array2<f64>; 2] {
        let least = if self.bits == 0 { 0.0 } else { 0.5f64.powi(self.bits as i32 + 1) };
        let g = |w: f64, used: bool| {
            self.quantize(if used { self.min + self.width * w } else { self.min })
        };
        [w.mapv(|w| g(w, w >= least)), w.mapv(|w| g(-w, w < -least))]
    }

    fn offset(&self, w: &Array2<f64>, style: &str) -> Cells {
        let used = if self.bits == 0 { 1.0 } else { (self.steps - 1.0) / self.steps } * self.width;
        let low = if self.bits == 0 { self.min } else { 1.0 - used };
        let scale = 2.0 / self.width;
        let digital = match style {
            "DIGITAL" => true,
            "UNIT_COLUMN" => false,
            _ => panic!("an offset style `{style}` has no rules"),
        };
        let w = if digital {
            w.clone()
        } else {
            concatenate![Axis(0), Array2::zeros((1, w.ncols())), w.view()]
        };
        let g = w.mapv(|w| self.quantize(used * (w / 2.0 + 0.5) + low));
        let drive_sum = if digital { -(low + used / 2.0) * scale } else { 0.0 };
        let slice = Slice { lines: vec![g], scale };
        Cells { unit_column: !digital, ..Cells::whole(slice, drive_sum) }
    }

    fn slice(&self, w: &Array2<f64>, settings: &Settings) -> Cells {
        let (bits, n_slices) = (settings.bits("weight_bits"), settings.bits("num_slices"));
        let balanced = settings.text("slice_style") == "BALANCED";
        let slice_bits = if bits.is_multiple_of(n_slices) {
            bits / n_slices
        } else {
            (if balanced { bits - 1 } else { bits }).div_ceil(n_slices)
        };
        let highest = f64::from((1u32 << (bits - 1)) - 1);
        let middle = if balanced { 0.0 } else { highest + 1.0 };
        let whole = w.mapv(|w| (w * highest).round_ties_even() + middle);
        let base = f64::from(1u32 << slice_bits);
        let slice = |slice: u32| {
            let weight = base.powi(slice as i32);
            let digit = |part: f64| (part.max(0.0) / weight).floor() % base;
            let line = |sign: f64| {
                whole
                    .mapv(|w| self.quantize(self.min + self.width * digit(sign * w) / (base - 1.0)))
            };
            Slice {
                lines: if balanced { vec![line(1.0), line(-1.0)] } else { vec![line(1.0)] },
                scale: weight * (base - 1.0) / self.width / highest,
            }
        };
        let slices: Vec<_> = (0..n_slices).map(slice).collect();
        let at_rest = |slice: &Slice| self.min * slice.scale;
        let offsets = slices.iter().map(at_rest).sum::<f64>() + middle / highest;
        let drive_sum = if balanced { 0.0 } else { -offsets };
        Cells { slices, drive_sum, unit_column: false, sliced: true }
    }
}
