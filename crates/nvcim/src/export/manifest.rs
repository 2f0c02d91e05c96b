//! `manifest.json`: the digital program, layers and tiles of an image, and its chip, for other tools.

use nvcim_chip::effects::Effect;
use nvcim_chip::file::{hash_chip, write_chip};
use nvcim_ir::ids::StepId;
use nvcim_ir::op::{Op, SliceAxis, Unary, Window};
use nvcim_ir::program::{Lowering, Step, StepOp};
use nvcim_ir::programmed::{ProgrammedTile, ScaledReadout};
use serde_json::{Value, json};

use crate::export::{Deployed, converter_of, terminal_name};

/// The manifest, as text.
pub(super) fn write_manifest(deployed: &Deployed<'_>) -> String {
    let image = deployed.image;
    let net = &image.net;
    let layers = net.layers.iter_enumerated().map(|(id, layer)| {
        json!({
            "id": id.to_string(),
            "name": layer.name,
            "rows": layer.shape.n_rows,
            "cols": layer.shape.n_cols,
            "full_scale": layer.input.full_scale,
            "signed": layer.input.signed,
            "bias": format!("{id}_bias"),
        })
    });
    let tiles = net.tiles.iter_enumerated().map(|(id, tile)| tile_document(&id.to_string(), tile));
    let steps = net.program.steps.iter_enumerated().map(|(id, step)| step_document(id, step));
    let consts = net.program.consts.iter_enumerated().map(|(id, constant)| {
        json!({"id": id.to_string(), "name": constant.name, "shape": constant.value.shape()})
    });
    let die = deployed.die.as_ref().map(|(on, _)| {
        let acts = |effect: &Effect| on.conditions.effects.has(*effect);
        let effects = Effect::ALL.iter().copied().filter(acts).map(Effect::name);
        json!({
            "name": on.record.name, "seed": on.record.seed, "at_seconds": on.conditions.at_s,
            "effects": effects.collect::<Vec<_>>(),
        })
    });
    let hash: String = hash_chip(&image.chip).iter().map(|byte| format!("{byte:02x}")).collect();
    let document = json!({
        "schema": "nvcim.export/1",
        "tool_version": image.provenance.tool_version,
        "corrections": image.provenance.corrections,
        "chip": {
            "name": image.chip.name, "hash": hash, "toml": write_chip(&image.chip),
        },
        "die": die,
        "layers": layers.collect::<Vec<_>>(),
        "tiles": tiles.collect::<Vec<_>>(),
        "consts": consts.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
        "outputs": net.program.outputs.iter().map(StepId::to_string).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn tile_document(id: &str, tile: &ProgrammedTile) -> Value {
    let readout = |scaled: &ScaledReadout| {
        let ScaledReadout { readout, scale, shift } = *scaled;
        json!({
            "col": readout.col,
            "slice": readout.slice,
            "rows": [readout.rows.start, readout.rows.end],
            "terminal": terminal_name(readout.terminal),
            "bit_line": converter_of(tile, &readout).1,
            "lo": readout.range.lo,
            "hi": readout.range.hi,
            "scale": scale,
            "shift": shift,
        })
    };
    json!({
        "id": id,
        "layer": tile.layer.to_string(),
        "array": tile.array.to_string(),
        "minus_array": tile.wiring.minus_array(tile.array).to_string(),
        "slices": tile.wiring.n_slices,
        "rows": [tile.rows.start, tile.rows.end],
        "cols": [tile.cols.start, tile.cols.end],
        "plus_rows": tile.wiring.plus_rows,
        "minus_rows": tile.wiring.minus_rows,
        "plus_cols": tile.wiring.plus_cols,
        "minus_cols": tile.wiring.minus_cols,
        "drive_shift": tile.drive_shift,
        "readouts": tile.readouts.iter().map(readout).collect::<Vec<_>>(),
    })
}

fn step_document(id: StepId, step: &Step) -> Value {
    let (op, attributes) = match &step.op {
        StepOp::Digital(op) => (op.name(), attributes(op)),
        StepOp::Matrix { layer, lowering } => (
            "matrix",
            match lowering {
                Lowering::Dense => json!({"layer": layer.to_string(), "lowering": "dense"}),
                Lowering::Conv(window) => json!({
                    "layer": layer.to_string(), "lowering": "conv", "window": window_document(window),
                }),
            },
        ),
    };
    json!({
        "id": id.to_string(),
        "name": step.name,
        "tensor": step.tensor,
        "op": op,
        "attributes": attributes,
        "operands": step.operands.iter().map(StepId::to_string).collect::<Vec<_>>(),
        "shape": step.shape,
    })
}

/// What an operator needs besides its operands; axes leave the batch out.
fn attributes(op: &Op) -> Value {
    match op {
        Op::Input
        | Op::Binary(_)
        | Op::Select
        | Op::MatMul
        | Op::GlobalAveragePool
        | Op::Reshape
        | Op::Expand => json!({}),
        Op::Const(value) => json!({"value": value.to_string()}),
        Op::Conv { weight, bias, window, groups } => json!({
            "weight": weight.to_string(), "bias": bias.map(|it| it.to_string()),
            "window": window_document(window), "groups": groups,
        }),
        Op::Dense { weight, bias, transposed } => json!({
            "weight": weight.to_string(), "bias": bias.map(|it| it.to_string()),
            "transposed": transposed,
        }),
        Op::BatchNorm { scale, bias, mean, var, epsilon } => json!({
            "scale": scale.to_string(), "bias": bias.to_string(), "mean": mean.to_string(),
            "var": var.to_string(), "epsilon": epsilon,
        }),
        // JSON has no infinity: an absent bound is null.
        Op::Unary(Unary::Clip { lo, hi }) => {
            let bound = |value: &f32| value.is_finite().then_some(*value);
            json!({"lo": bound(lo), "hi": bound(hi)})
        }
        Op::Unary(Unary::LeakyRelu { alpha }) => json!({"alpha": alpha}),
        Op::Unary(Unary::Elu { alpha, gamma, width }) => {
            json!({"alpha": alpha, "gamma": gamma, "width": width})
        }
        Op::Unary(_) => json!({}),
        Op::Softmax { axis } | Op::LogSoftmax { axis } | Op::Concat { axis } => {
            json!({"axis": axis})
        }
        Op::MaxPool { window } => json!({"window": window_document(window)}),
        Op::AveragePool { window, count_pad } => {
            json!({"window": window_document(window), "count_pad": count_pad})
        }
        Op::Reduce { reduction: _, axes } => json!({"axes": axes}),
        Op::Normalize { axes, epsilon, centred } => {
            json!({"axes": axes, "epsilon": epsilon, "centred": centred})
        }
        Op::ArgMax { axis, last } => json!({"axis": axis, "last": last}),
        Op::CumSum { axis, exclusive, reverse } => {
            json!({"axis": axis, "exclusive": exclusive, "reverse": reverse})
        }
        Op::Lookup { table } => json!({"table": table.to_string()}),
        Op::Gather { axis, indices } => json!({"axis": axis, "indices": indices}),
        Op::Transpose { perm } => json!({"perm": perm}),
        Op::Slice { axes } => {
            let axis = |it: &SliceAxis| json!({"start": it.start, "step": it.step, "len": it.len});
            json!({"axes": axes.iter().map(axis).collect::<Vec<_>>()})
        }
        Op::Pad { before, after, value } => {
            json!({"before": before, "after": after, "value": value})
        }
    }
}

fn window_document(window: &Window) -> Value {
    let Window { kernel, strides, dilations, pads_begin, pads_end } = window;
    json!({
        "kernel": kernel, "strides": strides, "dilations": dilations,
        "pads_begin": pads_begin, "pads_end": pads_end,
    })
}
