//! Operators that take elements by number or repeat them: `Gather`, `Split`, `Expand`, `Tile`, `Trilu`, and
//! the blocks of `DepthToSpace` and `SpaceToDepth`.

use ndarray::Array2;
use nvcim_ir::op::{Op, SliceAxis};
use nvcim_ir::shape::count_elements;

use crate::attributes;
use crate::refusal::Refusal;
use crate::site::{self, Constant, Converted, Site, Value};

/// `Gather` of constant numbers along any axis but the batch, or by computed numbers out of a constant table.
pub(crate) fn convert_gather(mut site: Site<'_>) -> Result<Converted, Refusal> {
    if let (Some(Value::Constant(table)), Some(Value::Activation(_))) =
        (site.operand(0), site.operand(1))
    {
        let table = table.clone();
        return look_up(site, &table);
    }
    let x = site.activation(0)?;
    let axis = attributes::int(site.node, "axis", 0)?;
    let axis = site.sample_axis(axis, x.shape.len() + site.lead)?;
    let numbers = site.ints(1)?.ok_or_else(|| Refusal::lacks_operand(1))?;
    let len = x.shape[axis];
    let indices = numbers
        .iter()
        .map(|&number| site::whole_axis(number, len).map_err(|_| out_of_range(number, len)))
        .collect::<Result<Vec<_>, _>>()?;
    let output = site.sample_output()?;
    if indices.is_empty() {
        return Err(Refusal::unsupported(
            format!("takes none of the {len} elements of an axis"),
            "export without empty tensors",
        ));
    }
    let mut taken = x.shape.clone();
    taken[axis] = indices.len();
    let op = Op::Gather { axis, indices };
    if taken == output {
        return Ok(site.keep(op, &[x.id], &output));
    }
    let line = site.help(op, &[x.id], &taken);
    Ok(site.keep(Op::Reshape, &[line], &output))
}

/// Entries of a table by numbers that the network computes, as an embedding takes them.
fn look_up(mut site: Site<'_>, table: &Constant) -> Result<Converted, Refusal> {
    let axis = attributes::int(site.node, "axis", 0)?;
    if site::whole_axis(axis, table.value.shape().len())? != 0 {
        return Err(Refusal::unsupported(
            format!("looks up constant `{}` along axis {axis}, must be 0", table.name),
            "transpose the constant where the network is made",
        ));
    }
    let numbers = site.elements(1)?;
    let value = site::to_floats(table)?;
    let output = site.sample_output()?;
    let table = site.builder.constant(&table.name, value);
    Ok(site.keep(Op::Lookup { table }, &[numbers.id], &output))
}

fn out_of_range(number: i64, len: usize) -> Refusal {
    Refusal::broken(format!("takes element {number} of an axis of {len}"))
}

/// `Split` into slices, one per output that is read or not.
pub(crate) fn convert_split(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let rank = x.shape.len() + site.lead;
    let axis = site.sample_axis(attributes::int(site.node, "axis", 0)?, rank)?;
    let stated = match site.ints(1)? {
        Some(lens) => Some(lens),
        None => attributes::ints(site.node, "split")?.map(<[i64]>::to_vec),
    };
    let parts = site.node.output.len();
    let lens = match stated {
        Some(lens) => lens,
        None => {
            let (len, parts) = (x.shape[axis], parts.max(1));
            let longest = len.div_ceil(parts);
            let cut = |at: usize| longest.min(len.saturating_sub(at * longest)) as i64;
            (0..parts).map(cut).collect()
        }
    };
    if lens.len() != parts || lens.iter().any(|&len| len < 1) {
        let message = format!(
            "splits {} elements into {lens:?}, must give each of its {parts} outputs at least 1",
            x.shape[axis]
        );
        return Err(Refusal::unsupported(message, "export without empty or missing parts"));
    }
    let full = |&len: &usize| SliceAxis { start: 0, step: 1, len };
    let mut start = 0;
    let mut made = Vec::new();
    for (slot, &len) in lens.iter().enumerate() {
        let mut axes: Vec<_> = x.shape.iter().map(full).collect();
        axes[axis] = SliceAxis { start, step: 1, len: len as usize };
        start = start.saturating_add(len as usize);
        let mut shape = x.shape.clone();
        shape[axis] = len as usize;
        made.push(site.keep_output(slot, Op::Slice { axes }, &[x.id], &shape));
    }
    Ok(Converted::Several(made))
}

/// `Expand` by broadcasting.
pub(crate) fn convert_expand(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let output = site.sample_output()?;
    if x.shape == output {
        return Ok(Converted::Alias(x));
    }
    let operand = site.broadcast(0)?;
    Ok(site.keep(Op::Expand, &[operand], &output))
}

/// `Tile`: each axis gains one in front of it, which is then expanded.
pub(crate) fn convert_tile(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let repeats = site.ints(1)?.ok_or_else(|| Refusal::lacks_operand(1))?;
    let counts: Option<Vec<usize>> = repeats
        .iter()
        .map(|&count| usize::try_from(count).ok().filter(|&count| count > 0))
        .collect();
    let rank = x.shape.len() + site.lead;
    let Some(repeats) = counts.filter(|counts| counts.len() == rank) else {
        let message =
            format!("repeats the axes {repeats:?} times, must have {rank} numbers of at least 1");
        return Err(Refusal::unsupported(message, "export without empty tensors"));
    };
    if site.lead == 1 && repeats[0] != 1 {
        return Err(Refusal::mixes_samples("repeats the batch"));
    }
    let output = site.sample_output()?;
    let counts = &repeats[site.lead..];
    let pairs = |counts: &[usize]| -> Vec<usize> {
        counts.iter().zip(&x.shape).flat_map(|(&count, &len)| [count, len]).collect()
    };
    let (apart, wide) = (pairs(&vec![1; counts.len()]), pairs(counts));
    let apart = site.help(Op::Reshape, &[x.id], &apart);
    let wide = site.help(Op::Expand, &[apart], &wide);
    Ok(site.keep(Op::Reshape, &[wide], &output))
}

/// `Trilu`: what lies above a diagonal, or below it, is kept, and the rest is 0.
pub(crate) fn convert_trilu(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let &[.., n_rows, n_cols] = &x.shape[..] else {
        return Err(Refusal::mixes_samples("cuts a triangle out of axis 0, the batch"));
    };
    let upper = attributes::int(site.node, "upper", 1)? != 0;
    let diagonal = site.ints(1)?.and_then(|it| it.first().copied()).unwrap_or(0);
    let kept = |row: usize, col: usize| {
        let above = (col as i64 - row as i64).saturating_sub(diagonal);
        f32::from(if upper { above >= 0 } else { above <= 0 })
    };
    let mask = Array2::from_shape_fn((n_rows, n_cols), |(row, col)| kept(row, col));
    let name = format!("{} triangle {diagonal}", if upper { "upper" } else { "lower" });
    let mask = site.constant_tensor(&name, mask.into_dyn());
    let zero = site.number(0.0);
    Ok(site.keep(Op::Select, &[mask, x.id, zero], &x.shape))
}

/// `DepthToSpace`, `SpaceToDepth`: blocks of channels become blocks of pixels, or the reverse.
pub(crate) fn convert_blocks(mut site: Site<'_>) -> Result<Converted, Refusal> {
    let x = site.activation(0)?;
    let size = attributes::int(site.node, "blocksize", 0)?;
    let (Ok(size @ 1..), [channels, height, width]) = (usize::try_from(size), &x.shape[..]) else {
        return Err(Refusal::broken(format!(
            "has `blocksize` {size} over a sample of shape {:?}, must be at least 1 over three axes",
            x.shape
        )));
    };
    let to_depth = site.node.op_type == "SpaceToDepth";
    let depth = channels / size / size;
    let (apart, perm) = match (to_depth, attributes::string(site.node, "mode", "DCR")?.as_str()) {
        (true, "DCR") => ([*channels, height / size, size, width / size, size], [2, 4, 0, 1, 3]),
        (true, "CRD") => ([*channels, height / size, size, width / size, size], [0, 2, 4, 1, 3]),
        (false, "DCR") => ([size, size, depth, *height, *width], [2, 3, 0, 4, 1]),
        (false, "CRD") => ([depth, size, size, *height, *width], [0, 3, 1, 4, 2]),
        (_, other) => return Err(Refusal::unknown_choice("mode", other, &["DCR", "CRD"])),
    };
    if count_elements(&apart) != count_elements(&x.shape) {
        return Err(Refusal::broken(format!(
            "has `blocksize` {size}, which does not divide the axes of {:?}",
            x.shape
        )));
    }
    let output = site.sample_output()?;
    let turned = perm.map(|axis| apart[axis]);
    let perm = perm.to_vec();
    let blocks = site.help(Op::Reshape, &[x.id], &apart);
    let turned = site.help(Op::Transpose { perm }, &[blocks], &turned);
    Ok(site.keep(Op::Reshape, &[turned], &output))
}

#[cfg(test)]
mod tests {
    use nvcim_ir::diag::Kind;

    use crate::testing::{TestModel, int, ints, string};

    #[test]
    fn elements_are_gathered_by_constant_numbers() {
        let model = TestModel::new(13, &[0, 4, 3]).ints("i", &[3, 0, -1, 1]);
        model.node("Gather", "x i", "y", &[int("axis", 1)]).output("y").agree();
        let one = TestModel::new(13, &[0, 4, 3]).ints("i", &[2]);
        let one = one.ints("shape", &[0, 3]).node("Gather", "x i", "g", &[int("axis", 1)]);
        one.node("Reshape", "g shape", "y", &[]).output("y").agree();
        let batch = TestModel::new(13, &[0, 4]).ints("i", &[0]);
        let batch = batch.node("Gather", "x i", "y", &[int("axis", 0)]).output("y");
        batch.refuse(Kind::Unsupported, "the batch");
    }

    #[test]
    fn entries_are_looked_up_by_computed_numbers() {
        let model = |input: &[i64], axis| {
            TestModel::new(13, input)
                .weight("words", &[5, 3])
                .floats("many", &[], &[2.4])
                .node("Mul", "x many", "scaled", &[])
                .node("Cast", "scaled", "numbers", &[int("to", 7)])
                .node("Gather", "words numbers", "y", &[int("axis", axis)])
                .output("y")
        };
        model(&[0, 4], 0).agree();
        model(&[0, 2, 3], 0).agree();
        let mut words = model(&[0, 6], 0).node("ReduceMean", "y", "m", &[ints("axes", &[1])]);
        words.graph.output.clear();
        words.output("m").agree();
        model(&[0, 4], 1).refuse(Kind::Unsupported, "along axis 1, must be 0");
        let words = TestModel::new(13, &[0, 4]).fed_integers().weight("words", &[5, 3]);
        words.node("Gather", "words x", "y", &[]).output("y").agree();
    }

    #[test]
    fn parts_are_slices() {
        let split = |attributes: &[_]| {
            let mut model = TestModel::new(11, &[0, 6, 2]).node("Split", "x", "a", attributes);
            model.graph.node[0].output.push("b".into());
            model.node("Relu", "b", "r", &[]).output("a").output("r").agree();
        };
        split(&[int("axis", 1)]);
        split(&[int("axis", 1), ints("split", &[2, 4])]);
    }

    #[test]
    fn tensors_are_repeated() {
        let model = TestModel::new(13, &[0, 1, 3]).ints("s", &[1, 4, 3]);
        model.node("Expand", "x s", "y", &[]).output("y").agree();
        let model = TestModel::new(13, &[0, 2, 3]).ints("r", &[1, 3, 2]);
        model.node("Tile", "x r", "y", &[]).output("y").agree();
        let batch = TestModel::new(13, &[0, 2]).ints("r", &[2, 1]);
        batch.node("Tile", "x r", "y", &[]).output("y").refuse(Kind::Unsupported, "batch");
    }

    #[test]
    fn triangles_are_kept() {
        for (upper, diagonal) in [(1, 0), (0, 1), (1, -2), (0, -1)] {
            let model = TestModel::new(14, &[0, 2, 4, 3]).scalar("k", diagonal);
            model.node("Trilu", "x k", "y", &[int("upper", upper)]).output("y").agree();
        }
        TestModel::new(14, &[0, 3, 3]).node("Trilu", "x", "y", &[]).output("y").agree();
        TestModel::new(14, &[0, 3])
            .node("Trilu", "x", "y", &[])
            .output("y")
            .refuse(Kind::Unsupported, "axis 0, the batch");
    }

    #[test]
    fn blocks_change_sides() {
        for mode in ["DCR", "CRD"] {
            let model = TestModel::new(13, &[0, 8, 2, 3]);
            let attributes = [int("blocksize", 2), string("mode", mode)];
            model.node("DepthToSpace", "x", "y", &attributes).output("y").agree();
        }
        let model = TestModel::new(13, &[0, 2, 4, 6]);
        model.node("SpaceToDepth", "x", "y", &[int("blocksize", 2)]).output("y").agree();
    }
}
