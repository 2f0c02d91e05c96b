//! Resampling: every output line is a weighted sum of a few input lines, axis by axis.

use ndarray::ArrayD;
use nvcim_ir::ids::NodeId;
use nvcim_ir::op::{Binary, Op};

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{Converted, Site};

/// One of the lines that an output line is made of: which input line, and its weight, by output line.
type Tap = (Vec<usize>, Vec<f32>);

/// `Resize` and `Upsample`: nearest, linear and cubic, without the smoothing of `antialias`.
pub(crate) fn convert_resize(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let method = Method::read(&site)?;
    let scales = read_scales(&site, x.shape.len() + site.lead)?;
    let output = site.sample_output()?;
    if output.len() != x.shape.len() {
        return Err(Refusal::broken(format!(
            "resizes {:?} to {output:?}, must keep the number of axes",
            x.shape
        )));
    }
    let (mut id, mut shape) = (x.id, x.shape.clone());
    for axis in 0..shape.len() {
        let (len, out) = (shape[axis], output[axis]);
        let scale = scales.as_ref().map_or(out as f64 / len as f64, |it| it[axis + site.lead]);
        if len == out && (scale - 1.0).abs() < f64::EPSILON {
            continue;
        }
        let taps = method.find_taps(len, out, scale)?;
        shape[axis] = out;
        id = sum_taps(&mut site, id, axis, taps, &shape)?;
    }
    // Something must carry the output's name; a reshape costs nothing.
    Ok(site.keep(Op::Reshape, &[id], &output))
}

/// The scales of all axes, where the node gives them and not the lengths.
fn read_scales(site: &Site<'_>, rank: usize) -> Result<Option<Vec<f64>>, Refusal> {
    let slot = if site.node.op_type == "Upsample" || site.opset < 11 { 1 } else { 2 };
    let listed = match attributes::floats(site.node, "scales")? {
        Some(scales) => scales.to_vec(),
        None => match site.optional_constant(slot)? {
            Some(constant) => crate::site::to_floats(constant)?.iter().copied().collect(),
            None => Vec::new(),
        },
    };
    if listed.is_empty() {
        return Ok(None);
    }
    let mut scales = vec![1.0; rank];
    let axes = attributes::ints(site.node, "axes")?.map(<[i64]>::to_vec);
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    if axes.len() != listed.len() {
        return Err(Refusal::broken(format!(
            "has {} scales for {} axes, must have one for each",
            listed.len(),
            axes.len()
        )));
    }
    for (&axis, &scale) in axes.iter().zip(&listed) {
        scales[crate::site::whole_axis(axis, rank)?] = f64::from(scale);
    }
    Ok(Some(scales))
}

/// The weighted sum of the tensor's lines along `axis`, as many as there are taps.
fn sum_taps(
    site: &mut Site<'_>,
    x: NodeId,
    axis: usize,
    taps: Vec<Tap>,
    shape: &[usize],
) -> Result<NodeId, Refusal> {
    let mut sum = None;
    for (at, (indices, weights)) in taps.into_iter().enumerate() {
        let mut lines = site.help(Op::Gather { axis, indices }, &[x], shape);
        if weights.iter().any(|&weight| weight != 1.0) {
            let count = weights.len();
            let column = [vec![count], vec![1; shape.len() - axis - 1]].concat();
            let weights = ArrayD::from_shape_vec(column, weights)
                .map_err(|error| Refusal::broken(error.to_string()))?;
            let name = format!("{}/weights {axis} {at}", site.node.output[0]);
            let weights = site.constant_tensor(&name, weights);
            lines = site.help(Op::Binary(Binary::Mul), &[lines, weights], shape);
        }
        sum = Some(match sum {
            None => lines,
            Some(sum) => site.help(Op::Binary(Binary::Add), &[sum, lines], shape),
        });
    }
    sum.ok_or_else(|| Refusal::broken("makes an empty axis"))
}

/// How an output element finds its input elements.
struct Method {
    mode: Mode,
    place: Place,
    exclude_outside: bool,
}

enum Mode {
    Nearest(Rounding),
    Linear,
    /// The coefficient of the cubic.
    Cubic(f64),
}

enum Rounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
}

/// The coordinate of an output element among the input's.
enum Place {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

impl Method {
    fn read(site: &Site<'_>) -> Result<Self, Refusal> {
        let node = site.node;
        let old = node.op_type == "Upsample" || site.opset < 11;
        let rounding = attributes::string(node, "nearest_mode", "round_prefer_floor")?;
        let rounding = match rounding.as_str() {
            _ if old => Rounding::Floor,
            "round_prefer_floor" => Rounding::HalfDown,
            "round_prefer_ceil" => Rounding::HalfUp,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => {
                let known = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
                return Err(Refusal::unknown_choice("nearest_mode", other, &known));
            }
        };
        let mode = match attributes::string(node, "mode", "nearest")?.as_str() {
            "nearest" => Mode::Nearest(rounding),
            "linear" | "bilinear" => Mode::Linear,
            "cubic" => Mode::Cubic(f64::from(attributes::float(node, "cubic_coeff_a", -0.75)?)),
            other => {
                return Err(Refusal::unknown_choice(
                    "mode",
                    other,
                    &["nearest", "linear", "cubic"],
                ));
            }
        };
        let place = attributes::string(node, "coordinate_transformation_mode", "half_pixel")?;
        let place = match place.as_str() {
            _ if old => Place::Asymmetric,
            "half_pixel" => Place::HalfPixel,
            "half_pixel_symmetric" => Place::HalfPixelSymmetric,
            "pytorch_half_pixel" => Place::PytorchHalfPixel,
            "align_corners" => Place::AlignCorners,
            "asymmetric" => Place::Asymmetric,
            other => {
                return Err(Refusal::unsupported(
                    format!("places elements by `{other}` (`coordinate_transformation_mode`)"),
                    "export it with `half_pixel`, `align_corners` or `asymmetric`",
                ));
            }
        };
        if attributes::int(node, "antialias", 0)? != 0 {
            return Err(Refusal::unsupported(
                "smooths while it shrinks (`antialias`)",
                "export it with `antialias=False`, or shrink by an average pool",
            ));
        }
        let policy = attributes::string(node, "keep_aspect_ratio_policy", "stretch")?;
        if policy != "stretch" {
            return Err(Refusal::unsupported(
                format!("keeps the aspect ratio by `{policy}` (`keep_aspect_ratio_policy`)"),
                "export it with the scale of every axis written out",
            ));
        }
        let exclude_outside = attributes::int(node, "exclude_outside", 0)? != 0;
        Ok(Self { mode, place, exclude_outside })
    }

    /// The taps of an axis of `len` elements that becomes `out` long.
    fn find_taps(&self, len: usize, out: usize, scale: f64) -> Result<Vec<Tap>, Refusal> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Refusal::broken(format!(
                "scales an axis by {scale}, must be positive and finite"
            )));
        }
        let offsets: &[i64] = match self.mode {
            Mode::Nearest(_) => &[0],
            Mode::Linear => &[0, 1],
            Mode::Cubic(_) => &[-1, 0, 1, 2],
        };
        let mut taps: Vec<Tap> = vec![(Vec::new(), Vec::new()); offsets.len()];
        for at in 0..out {
            let place = self.place_of(at, len, out, scale);
            let (first, weights) = self.weigh(place);
            let inside = |offset: i64| (0..len as i64).contains(&(first + offset));
            let excludes = self.exclude_outside && matches!(self.mode, Mode::Cubic(_));
            let kept = |(&offset, &weight): (&i64, &f64)| match excludes && !inside(offset) {
                true => 0.0,
                false => weight,
            };
            let kept: Vec<f64> = offsets.iter().zip(&weights).map(kept).collect();
            let total: f64 = if excludes { kept.iter().sum() } else { 1.0 };
            for ((tap, &offset), weight) in taps.iter_mut().zip(offsets).zip(kept) {
                tap.0.push((first + offset).clamp(0, len as i64 - 1) as usize);
                tap.1.push((weight / total) as f32);
            }
        }
        Ok(taps)
    }

    fn place_of(&self, at: usize, len: usize, out: usize, scale: f64) -> f64 {
        // The length before it was rounded down.
        let (x, len_f, out_f) = (at as f64, len as f64, scale * len as f64);
        match self.place {
            Place::HalfPixel => (x + 0.5) / scale - 0.5,
            Place::HalfPixelSymmetric => {
                let adjusted = out as f64 / out_f;
                let centre = len_f / 2.0;
                centre * (1.0 - adjusted) + (x + 0.5) / scale - 0.5
            }
            Place::PytorchHalfPixel if out_f > 1.0 => (x + 0.5) / scale - 0.5,
            Place::AlignCorners if out_f > 1.0 => x * (len_f - 1.0) / (out_f - 1.0),
            Place::PytorchHalfPixel | Place::AlignCorners => 0.0,
            Place::Asymmetric => x / scale,
        }
    }

    /// The element at offset 0, and the weight of each offset.
    fn weigh(&self, place: f64) -> (i64, Vec<f64>) {
        match self.mode {
            Mode::Nearest(ref rounding) => {
                let nearest = match rounding {
                    Rounding::HalfDown => (place - 0.5).ceil(),
                    Rounding::HalfUp => (place + 0.5).floor(),
                    Rounding::Floor => place.floor(),
                    Rounding::Ceil => place.ceil(),
                };
                (nearest as i64, vec![1.0])
            }
            Mode::Linear => {
                let part = place - place.floor();
                (place.floor() as i64, vec![1.0 - part, part])
            }
            Mode::Cubic(a) => {
                let part = place - place.floor();
                let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
                let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
                let weights = vec![far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
                (place.floor() as i64, weights)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, string};

    #[test]
    fn images_grow_by_the_nearest_pixel_and_by_lines_between() {
        for (mode, place) in
            [("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners")]
        {
            let model = TestModel::new(13, &[0, 2, 3, 4]).floats("s", &[4], &[1., 1., 2., 2.]);
            let mut attributes =
                vec![string("mode", mode), string("coordinate_transformation_mode", place)];
            if mode == "nearest" {
                attributes.push(string("nearest_mode", "floor"));
            }
            model.node("Resize", "x - s", "y", &attributes).output("y").agree();
        }
    }

    #[test]
    fn smoothing_is_refused() {
        let model = TestModel::new(13, &[0, 2, 3, 4]).floats("s", &[4], &[1., 1., 2., 2.]);
        let attributes = [string("coordinate_transformation_mode", "tf_crop_and_resize")];
        let model = model.node("Resize", "x - s", "y", &attributes).output("y");
        model.refuse(Kind::Unsupported, "tf_crop_and_resize");
    }
}
