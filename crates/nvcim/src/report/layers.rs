//! The layers that run on arrays: size, tiles, input drive and ADC ranges.

use nvcim_ir::ids::LayerId;
use nvcim_ir::programmed::ProgrammedNet;
use nvcim_ir::tiled::AdcRange;

use super::Page;
use super::html::{Align, Table, code, paragraph, section};
use super::number::{count, fixed, significant};

const COLUMNS: [(&str, Align); 7] = [
    ("layer", Align::Left),
    ("rows", Align::Right),
    ("columns", Align::Right),
    ("tiles", Align::Right),
    ("input full scale", Align::Right),
    ("inputs", Align::Left),
    ("ADC range, naive \u{2192} corrected", Align::Left),
];

pub(super) fn write(page: &Page<'_>) -> String {
    let net = &page.image().net;
    let naive = &page.outcome.naive.image.net;
    let mut table = Table::new(&COLUMNS);
    for (id, layer) in net.layers.iter_enumerated() {
        let n_tiles = net.tiles.iter().filter(|tile| tile.layer == id).count();
        table.row(&[
            code(&layer.name),
            count(layer.shape.n_rows),
            count(layer.shape.n_cols),
            count(n_tiles),
            significant(f64::from(layer.input.full_scale), 3),
            if layer.input.signed { "signed" } else { "unsigned" }.to_owned(),
            format!("{} \u{2192} {}", show(range_of(naive, id)), show(range_of(net, id))),
        ]);
    }
    let body = [
        table.finish(),
        paragraph(
            "Rows and columns are those of a layer\u{2019}s weight matrix. Its inputs are divided by the full \
             scale and driven onto word lines. ADC ranges span all converters of a layer, in units of one \
             cell at its highest conductance under a full-scale drive.",
        ),
    ];
    section("layers", "Layers on arrays", &body.concat())
}

/// The range that holds every conversion's range of a layer; `None` without a conversion.
fn range_of(net: &ProgrammedNet, layer: LayerId) -> Option<AdcRange> {
    let tiles = net.tiles.iter().filter(|tile| tile.layer == layer);
    tiles
        .flat_map(|tile| &tile.readouts)
        .map(|scaled| scaled.readout.range)
        .reduce(|all, it| AdcRange { lo: all.lo.min(it.lo), hi: all.hi.max(it.hi) })
}

fn show(range: Option<AdcRange>) -> String {
    match range {
        Some(AdcRange { lo, hi }) => {
            format!("{} to {}", fixed(f64::from(lo), 2), fixed(f64::from(hi), 2))
        }
        None => "\u{2013}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, check_markup};
    use super::write;

    #[test]
    fn every_layer_has_its_matrix() {
        let html = Sample::shared().page(write);
        check_markup(&html);
        for (name, rows, cols) in
            [("conv1", 9, 8), ("conv2", 72, 16), ("fc1", 64, 32), ("fc2", 32, 10)]
        {
            let row = format!(
                "<th scope=\"row\"><code>{name}</code></th><td class=\"n\">{rows}</td>\
                 <td class=\"n\">{cols}</td><td class=\"n\">1</td>"
            );
            assert!(html.contains(&row), "{name}");
        }
    }
}
