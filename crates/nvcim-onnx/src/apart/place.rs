//! Where samples lie in a tensor, and where a node puts them.
//!
//! An axis that holds samples is `[outer, samples, inner]` in row-major order. Every rule answers for one family of
//! operators, and has no answer where an element of the output would depend on more than one sample.

use ndarray::Axis;

use super::Seen;
use crate::analyse::Fact;
use crate::attributes;
use crate::ops;
use crate::proto::NodeProto;
use crate::site::whole_axis;

/// Where samples lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The axis that holds them.
    axis: usize,
    /// Elements of that axis that lie between one sample and the next.
    inner: usize,
}

impl Place {
    /// The batch is axis 0.
    pub(super) const FRONT: Self = Self::of_axis(0);

    /// The batch is an axis of its own.
    pub(super) const fn of_axis(axis: usize) -> Self {
        Self { axis, inner: 1 }
    }

    fn to_axis(self, axis: usize) -> Self {
        Self { axis, ..self }
    }
}

/// A node whose output depends on the network's input.
pub(super) struct Followed<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) opset: i64,
    pub(super) operands: &'a [Option<Seen>],
    /// The shape of what it makes.
    pub(super) output: &'a [usize],
    /// How many samples there are.
    pub(super) samples: usize,
}

impl Followed<'_> {
    /// Where samples lie in what the node makes; nothing where they may meet.
    pub(super) fn place(&self) -> Option<Place> {
        match self.node.op_type.as_str() {
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.regroup(),
            "Transpose" => self.transpose(),
            "MatMul" => self.multiply(),
            "Gemm" => self.multiply_matrix(),
            "Concat" => self.join(),
            "Gather" => self.gather(),
            "Slice" => self.cut(),
            "Pad" => self.pad(),
            "Tile" => {
                let (place, _) = self.first()?;
                (self.ints(1)?.get(place.axis) == Some(&1)).then_some(place)
            }
            "Trilu" => {
                let (place, shape) = self.first()?;
                (place.axis + 2 < shape.len()).then_some(place)
            }
            "CumSum" => self.beside(*self.ints(1)?.first()?, false),
            "Split" => self.beside(self.int("axis", 0)?, false),
            "ArgMax" | "ArgMin" => self.reduce(&[self.int("axis", 0)?]),
            "Softmax" | "LogSoftmax" if self.opset < 13 => self.beside(self.int("axis", 1)?, true),
            "Softmax" | "LogSoftmax" => self.beside(self.int("axis", -1)?, false),
            "LayerNormalization" | "RMSNormalization" => self.beside(self.int("axis", -1)?, true),
            "QuantizeLinear" | "DequantizeLinear" => self.scale(),
            op_type if ops::wants_batch(op_type) => self.stay_in_front(),
            "Resize" | "Upsample" => {
                let (place, shape) = self.first()?;
                (self.output.get(place.axis) == shape.get(place.axis)).then_some(place)
            }
            reduction if reduction.starts_with("Reduce") => {
                let axes = match self.operands.get(1) {
                    Some(Some(_)) => self.ints(1)?,
                    _ => attributes::ints(self.node, "axes").ok()??.to_vec(),
                };
                if axes.is_empty() { None } else { self.reduce(&axes) }
            }
            op_type if BROADCAST.binary_search(&op_type).is_ok() => self.broadcast(),
            _ => None,
        }
    }

    /// The first operand, which must hold samples: their place, and its shape.
    fn first(&self) -> Option<(Place, &[usize])> {
        let x = self.operands.first()?.as_ref()?;
        Some((x.place?, x.shape()))
    }

    fn int(&self, name: &str, default: i64) -> Option<i64> {
        attributes::int(self.node, name, default).ok()
    }

    /// The constant integers in `slot`.
    fn ints(&self, slot: usize) -> Option<Vec<i64>> {
        match &self.operands.get(slot)?.as_ref()?.fact {
            Fact::Constant(value) => value.ints(),
            Fact::Varying { .. } => None,
        }
    }

    /// The same elements under another shape: samples stay as far apart as they were.
    fn regroup(&self) -> Option<Place> {
        let (place, shape) = self.first()?;
        let below: usize = shape[place.axis + 1..].iter().product();
        let distance = place.inner * below;
        let mut below = 1;
        for (axis, &len) in self.output.iter().enumerate().rev() {
            let inner = distance.checked_div(below).unwrap_or(0);
            if inner > 0 && inner * below == distance && len.is_multiple_of(inner * self.samples) {
                return Some(Place { axis, inner });
            }
            below *= len;
        }
        None
    }

    fn transpose(&self) -> Option<Place> {
        let (place, shape) = self.first()?;
        let axis = match attributes::ints(self.node, "perm").ok()? {
            Some(perm) => perm.iter().position(|&from| usize::try_from(from) == Ok(place.axis))?,
            None => shape.len() - 1 - place.axis,
        };
        Some(place.to_axis(axis))
    }

    /// Operands that meet element by element, aligned at their last axes.
    fn broadcast(&self) -> Option<Place> {
        let mut found = None;
        for operand in self.operands.iter().flatten() {
            let Some(place) = operand.place else { continue };
            let axis = place.axis + self.output.len().checked_sub(operand.shape().len())?;
            let placed = place.to_axis(axis);
            let whole = self.output.get(axis) == operand.shape().get(place.axis);
            if !whole || found.is_some_and(|found| found != placed) {
                return None;
            }
            found = Some(placed);
        }
        let place = found?;
        // A constant must not tell one sample from another; what `Expand` takes beside its operand is a shape.
        let mut constants = self.operands.iter().flatten().filter(|it| it.is_constant());
        let is_even = constants.all(|it| self.is_even_at(it, place));
        (is_even || self.node.op_type == "Expand").then_some(place)
    }

    /// Whether a constant that meets the output's last axes is the same for every sample at `place`.
    fn is_even_at(&self, operand: &Seen, place: Place) -> bool {
        let missing = self.output.len().saturating_sub(operand.shape().len());
        let Some(axis) = place.axis.checked_sub(missing) else { return true };
        match operand.shape().get(axis) {
            Some(1) => true,
            Some(&len) => place.inner == 1 && len == self.samples && is_even(&operand.fact, axis),
            None => false,
        }
    }

    /// A product over the last axis of one operand and the last but one of the other.
    fn multiply(&self) -> Option<Place> {
        let [a, b] = [0, 1].map(|slot| self.operands.get(slot).and_then(Option::as_ref));
        let (a, b) = (a?, b?);
        let rank = self.output.len();
        // The axis of the output, where operands of one or no axis to spare leave none out.
        let lift = |it: &Seen, place: Place| Some(place.axis + rank.checked_sub(it.shape().len())?);
        if a.shape().len() < 2 || b.shape().len() < 2 {
            return None;
        }
        let of_a = a.place.map(|place| Some(place.to_axis(lift(a, place)?)));
        let of_b = b.place.map(|place| Some(place.to_axis(lift(b, place)?)));
        match (of_a, of_b) {
            (Some(of_a), Some(of_b)) => of_a.filter(|place| of_b == of_a && place.axis + 2 < rank),
            (Some(of_a), None) => {
                let place = of_a.filter(|place| place.axis + 1 < rank)?;
                (place.axis + 2 == rank || self.is_even_at(b, place)).then_some(place)
            }
            (None, Some(of_b)) => {
                let place = of_b.filter(|place| place.axis + 2 != rank)?;
                (place.axis + 1 == rank || self.is_even_at(a, place)).then_some(place)
            }
            (None, None) => None,
        }
    }

    fn multiply_matrix(&self) -> Option<Place> {
        let (place, _) = self.first()?;
        let rows = usize::from(self.int("transA", 0)? != 0);
        let constant = |slot: usize| match self.operands.get(slot) {
            Some(Some(operand)) => operand.is_constant(),
            _ => true,
        };
        let added = match self.operands.get(2) {
            Some(Some(bias)) => self.is_even_at(bias, place.to_axis(0)),
            _ => true,
        };
        (place.axis == rows && constant(1) && constant(2) && added).then_some(place.to_axis(0))
    }

    /// An operator along `axis`, or from `axis` on, which must not be that of the samples.
    fn beside(&self, axis: i64, onwards: bool) -> Option<Place> {
        let (place, shape) = self.first()?;
        let axis = whole_axis(axis, shape.len()).ok()?;
        let apart = if onwards { place.axis < axis } else { place.axis != axis };
        apart.then_some(place)
    }

    fn reduce(&self, axes: &[i64]) -> Option<Place> {
        let (place, shape) = self.first()?;
        let kept = self.int("keepdims", 1)? != 0;
        let mut gone = 0;
        for &axis in axes {
            let axis = whole_axis(axis, shape.len()).ok()?;
            if axis == place.axis {
                return None;
            }
            gone += usize::from(!kept && axis < place.axis);
        }
        Some(place.to_axis(place.axis - gone))
    }

    fn join(&self) -> Option<Place> {
        let axis = whole_axis(self.int("axis", 0)?, self.output.len()).ok()?;
        let mut places = self.operands.iter().flatten().filter_map(|it| it.place);
        let place = places.next()?;
        let same = places.all(|it| it == place) && place.axis != axis;
        let len = self.output.get(place.axis);
        let mut constants = self.operands.iter().flatten().filter(|it| it.is_constant());
        let even = constants.all(|it| {
            place.inner == 1 && it.shape().get(place.axis) == len && is_even(&it.fact, place.axis)
        });
        (same && even).then_some(place)
    }

    fn gather(&self) -> Option<Place> {
        let [table, numbers] = [0, 1].map(|slot| self.operands.get(slot).and_then(Option::as_ref));
        if table.is_some_and(Seen::is_constant) {
            // Entries of a table stand where their numbers stood.
            return (self.int("axis", 0)? == 0).then_some(numbers?.place?);
        }
        let (place, shape) = self.first()?;
        let axis = whole_axis(self.int("axis", 0)?, shape.len()).ok()?;
        let indices = numbers.filter(|it| it.is_constant())?;
        if axis == place.axis {
            return None;
        }
        let moved = if axis < place.axis { indices.shape().len() } else { 1 };
        Some(place.to_axis(place.axis + moved - 1))
    }

    fn cut(&self) -> Option<Place> {
        let (place, shape) = self.first()?;
        let axes = if self.opset < 10 {
            attributes::ints(self.node, "axes").ok()?.map(<[i64]>::to_vec)
        } else if let Some(Some(_)) = self.operands.get(3) {
            Some(self.ints(3)?)
        } else {
            None
        };
        let count = match self.opset {
            ..10 => attributes::ints(self.node, "starts").ok()??.len(),
            _ => self.ints(1)?.len(),
        };
        let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
        for axis in axes {
            if whole_axis(axis, shape.len()).ok()? == place.axis {
                return None;
            }
        }
        Some(place)
    }

    fn pad(&self) -> Option<Place> {
        let (place, shape) = self.first()?;
        let pads = match self.opset {
            ..11 => attributes::ints(self.node, "pads").ok()??.to_vec(),
            _ => self.ints(1)?,
        };
        let chosen = matches!(self.operands.get(3), Some(Some(_)));
        let ends = [place.axis, shape.len() + place.axis];
        (!chosen && ends.iter().all(|&end| pads.get(end) == Some(&0))).then_some(place)
    }

    /// Steps of integers, one for all or one per channel.
    fn scale(&self) -> Option<Place> {
        let single = |slot: usize| {
            let operand = self.operands.get(slot).and_then(Option::as_ref);
            operand.is_none_or(|it| it.is_constant() && it.shape().iter().product::<usize>() == 1)
        };
        if single(1) && single(2) {
            return Some(self.first()?.0);
        }
        self.beside(self.int("axis", 1)?, false)
    }

    fn stay_in_front(&self) -> Option<Place> {
        let (place, shape) = self.first()?;
        let whole = [self.output, shape].iter().all(|it| it.first() == Some(&self.samples));
        (place == Place::FRONT && whole).then_some(place)
    }
}

/// Whether a constant is the same all along an axis.
pub(super) fn is_even(fact: &Fact, axis: usize) -> bool {
    let Fact::Constant(value) = fact else { return false };
    let Some(values) = value.numbers().filter(|it| axis < it.ndim()) else { return false };
    let mut lines = values.axis_iter(Axis(axis));
    lines.next().is_some_and(|first| lines.all(|line| line == first))
}

/// Operators whose operands meet element by element, in order.
const BROADCAST: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tanh",
    "Where",
    "Xor",
];

#[cfg(test)]
mod tests {
    use super::BROADCAST;
    use crate::ops;

    #[test]
    fn operators_are_sorted_so_that_they_are_found() {
        assert!(BROADCAST.is_sorted());
        assert!(BROADCAST.iter().all(|it| ops::find_converter(it).is_some()));
    }
}
