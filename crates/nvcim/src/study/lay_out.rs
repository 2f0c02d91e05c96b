//! From a study file to a study: every file opened, every measurement listed under its key.

use std::collections::BTreeMap;

use nvcim_chip::effects::EffectSet;
use nvcim_chip::file::hash_chip;
use nvcim_ir::diag::{Diagnostic, Result, fail_if_any};

use crate::model::Model;
use crate::pipeline::name_effects;
use crate::study::Study;
use crate::study::agenda::{
    Agenda, CellItem, ChipItem, ExhibitItem, NetworkItem, SCHEMA, SweepItem, TrainedItem,
};
use crate::study::file::{ChipEntry, NetworkEntry, StudyFile, SweepEntry, TrainedEntry};
use crate::study::key::{Key, hash_data, hex};
use crate::study::method::Method;
use crate::study::sources::{Network, Sources};

impl Study {
    /// Opens every file of a study and lays out its measurements; `command` is what reports say runs it.
    ///
    /// # Errors
    /// Every file that is missing or broken; test images without labels.
    pub fn open(file: &StudyFile, sources: &Sources, command: &str) -> Result<Self> {
        let networks = collect(file.networks.iter().map(|it| sources.open_network(it)));
        let chips = collect(list_chips(file).map(|(entry, _)| sources.open_chip(entry)));
        let trained = collect(file.trained.iter().map(|it| open_trained(it, sources)));
        let problems = [networks.as_ref().err(), chips.as_ref().err(), trained.as_ref().err()];
        fail_if_any(problems.into_iter().flatten().flatten().cloned().collect())?;
        let (networks, chips, opened) = (networks?, chips?, trained?);

        let items = file.networks.iter().zip(&networks).map(|(entry, it)| describe(entry, it));
        let chip_items = list_chips(file).zip(&chips).map(|((entry, sweep), chip)| ChipItem {
            name: entry.name.clone(),
            about: if entry.about.is_empty() {
                chip.description.clone()
            } else {
                entry.about.clone()
            },
            file: (entry.file.clone(), hex(&hash_chip(chip))),
            times_s: (entry.corrected_at_s, entry.used_at_s),
            effects: name_effects(EffectSet::ALL, chip),
            sweep,
        });
        let agenda = Agenda {
            schema: SCHEMA.to_owned(),
            name: file.name.clone(),
            description: file.description.clone(),
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            methods: file.methods.clone(),
            yield_points: file.yield_points,
            stop: file.stop.map(|stop| (stop.half_width_points, stop.least_dies)),
            run_seed: file.run_seed.unwrap_or(0),
            networks: collect(items)?,
            chips: chip_items.collect(),
            sweeps: file.sweeps.iter().map(describe_sweep).collect(),
            cells: Vec::new(),
            exhibit: None,
        };
        let mut study = Self { agenda, networks, chips, trained: BTreeMap::new() };
        study.add_matrix(file, &opened)?;
        study.add_sweeps(file);
        study.agenda.exhibit = file.exhibit.as_ref().and_then(|it| study.plan_exhibit(it));
        Ok(study)
    }

    fn add_matrix(&mut self, file: &StudyFile, opened: &[[Model; 2]]) -> Result<()> {
        for (network, entry) in file.networks.iter().enumerate() {
            let waterfall = file.waterfall.0.contains(&entry.name);
            let waterfall_dies = if waterfall { file.waterfall.1.min(entry.dies) } else { 0 };
            for (chip, chip_entry) in file.chips.iter().enumerate() {
                let cell = self.agenda.cells.len();
                let at = find_trained(file, &entry.name, &chip_entry.name);
                if let Some(at) = at {
                    self.trained.insert(cell, opened[at].clone());
                }
                let describe =
                    |at: usize| self.describe_trained(network, &file.trained[at], &opened[at]);
                let trained = at.map(describe).transpose()?;
                self.agenda.cells.push(CellItem {
                    network,
                    chip,
                    methods: Vec::new(),
                    waterfall: Vec::new(),
                    trained,
                });
                self.add_keys(cell, &file.methods, entry.dies, waterfall_dies);
            }
        }
        Ok(())
    }

    fn add_sweeps(&mut self, file: &StudyFile) {
        let swept = file.sweeps.iter().flat_map(|sweep| sweep.points.iter().map(move |_| sweep));
        for (chip, sweep) in (file.chips.len()..).zip(swept) {
            for (network, entry) in file.networks.iter().enumerate() {
                if sweep.networks.contains(&entry.name) {
                    let (methods, waterfall, trained) = (Vec::new(), Vec::new(), None);
                    let cell = self.agenda.cells.len();
                    self.agenda.cells.push(CellItem { network, chip, methods, waterfall, trained });
                    self.add_keys(cell, &sweep.methods, sweep.dies, 0);
                }
            }
        }
    }

    /// Lists the measurements of a cell.
    fn add_keys(&mut self, cell: usize, methods: &[Method], dies: u64, waterfall_dies: u64) {
        let item = &self.agenda.cells[cell];
        let network = &self.agenda.networks[item.network];
        let naive_model = &network.model.1;
        let trained_model = item.trained.as_ref().map_or(naive_model, |it| &it.model.1);
        let [naive, trained] =
            [(false, naive_model), (true, trained_model)].map(|(trained, model)| {
                Key::of_cell(&self.cell(cell, trained), model, &network.data.1)
            });
        let chip = &self.chips[item.chip];
        let given = methods.iter().filter(|it| !it.is_trained() || item.trained.is_some());
        let keys_of = |&method: &Method| {
            let key = if method.is_trained() { &trained } else { &naive };
            (method, (0..dies).map(|die| key.of_method(method, chip, die)).collect::<Vec<_>>())
        };
        let methods: Vec<_> = given.map(keys_of).collect();
        let effects = &self.agenda.chips[item.chip].effects;
        let steps =
            |die| (0..effects.len()).map(|n| naive.of_effects(&effects[..n], chip, die)).collect();
        let waterfall: Vec<Vec<String>> = (0..waterfall_dies).map(steps).collect();
        let item = &mut self.agenda.cells[cell];
        item.methods = methods;
        item.waterfall = waterfall;
    }

    fn describe_trained(
        &self,
        network: usize,
        entry: &TrainedEntry,
        [model, control]: &[Model; 2],
    ) -> Result<TrainedItem> {
        let (model, control) = (hex(&model.hash()?), hex(&control.hash()?));
        let float = Key::of_float(&control, &self.agenda.networks[network].data.1).finish();
        let (model, control) = ((entry.model.clone(), model), (entry.control.clone(), control));
        Ok(TrainedItem { model, control, float })
    }

    fn plan_exhibit(&self, (network, chip, die): &(String, String, u64)) -> Option<ExhibitItem> {
        let Agenda { networks, chips, .. } = &self.agenda;
        let named = |(_, item): &(usize, &CellItem)| {
            networks[item.network].name == *network && chips[item.chip].name == *chip
        };
        let (cell, item) = self.agenda.matrix().find(named)?;
        let (model, data) = (&networks[item.network].model.1, &networks[item.network].data.1);
        let key = Key::of_cell(&self.cell(cell, false), model, data).of_exhibit(*die);
        Some(ExhibitItem { cell, die: *die, key })
    }
}

/// The trained network for a cell: that of its chip, or else the one for all chips.
fn find_trained(file: &StudyFile, network: &str, chip: &str) -> Option<usize> {
    let find = |chip: Option<&str>| {
        let fits = |it: &TrainedEntry| it.network == network && it.chip.as_deref() == chip;
        file.trained.iter().position(fits)
    };
    find(Some(chip)).or_else(|| find(None))
}

/// The chips of a study: those of the matrix, then the points of sweeps with their places.
fn list_chips(
    file: &StudyFile,
) -> impl Iterator<Item = (&ChipEntry, Option<(usize, f64, String)>)> {
    let points = file.sweeps.iter().enumerate().flat_map(|(at, sweep)| {
        let points = sweep.points.iter();
        points.map(move |(x, label, chip)| (chip, Some((at, *x, label.clone()))))
    });
    file.chips.iter().map(|chip| (chip, None)).chain(points)
}

fn describe(entry: &NetworkEntry, network: &Network) -> Result<NetworkItem> {
    let data = hex(&hash_data(&network.data, &network.model.input_shape()?)?);
    let model = hex(&network.model.hash()?);
    Ok(NetworkItem {
        name: entry.name.clone(),
        float: Key::of_float(&model, &data).finish(),
        model: (entry.model.clone(), model),
        data: (entry.data.clone(), data),
        images: network.data.len(),
    })
}

fn describe_sweep(entry: &SweepEntry) -> SweepItem {
    SweepItem { name: entry.name.clone(), axis: entry.axis.clone() }
}

fn open_trained(entry: &TrainedEntry, sources: &Sources) -> Result<[Model; 2]> {
    let hint = "`nvcim train` makes such files; those of the built-in study come from its train.sh";
    let open = |spec: &str| -> Result<Model> {
        let explain = |problem: Diagnostic| problem.hint(hint);
        sources.open_model(spec).map_err(|found| found.into_iter().map(explain).collect())
    };
    Ok([open(&entry.model)?, open(&entry.control)?])
}

/// Every output, or every problem of all.
fn collect<T>(parts: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let (mut outputs, mut problems) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Ok(output) => outputs.push(output),
            Err(found) => problems.extend(found),
        }
    }
    fail_if_any(problems)?;
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::find_trained;
    use crate::study::Study;
    use crate::study::file::{SMALL, parse_study};
    use crate::study::sources::Sources;

    #[test]
    fn what_must_come_out_the_same_is_measured_once() {
        let network = SMALL.split("[[chip]]").next().unwrap();
        let network = network.replace("\"lab\"", "\"closest\", \"lab\", \"rows\"");
        let count = |file: &str, set: &str| {
            let chip = format!("[[chip]]\nname = \"c\"\nfile = \"{file}\"\nset = {{ {set} }}\n");
            let waterfall = "[waterfall]\nnetworks = [\"n\"]\ndies = 2\n";
            let text = format!("{network}{chip}{waterfall}");
            let file = parse_study(&text, "s.toml", false).unwrap().output;
            let sources = Sources { folder: None, shared: None };
            let agenda = Study::open(&file, &sources, "nvcim study s.toml").unwrap().agenda;
            let steps = agenda.cells[0].waterfall[0].len();
            (agenda.cells[0].n_dies(), agenda.jobs().len(), steps)
        };
        // Float, three methods, since without stuck cells two do as naive and `lab` do, and the waterfall of one die.
        let (dies, jobs, steps) = count("ideal", "\"adc.bits\" = 4");
        assert_eq!((dies, jobs), (3, 1 + 3 + steps));
        // Every column has an offset of its own: another on each die.
        let (_, jobs, steps) = count("ideal", "\"effects.column_offset.sd_lsb\" = 1.0");
        assert_eq!(jobs, 1 + 3 * 3 + 2 * steps);
        let (_, jobs, steps) = count("stress-a", "\"adc.bits\" = 4");
        assert_eq!(jobs, 1 + 5 * 3 + 2 * steps);
    }

    #[test]
    fn the_dies_of_a_network_are_those_of_its_cells_and_waterfalls() {
        let dies = "calibration = \"digits:train\"\ndies = 1";
        let text = SMALL.replace("calibration = \"digits:train\"", dies);
        let text = format!("{text}[waterfall]\ndies = 2\n");
        let file = parse_study(&text, "s.toml", false).unwrap().output;
        let sources = Sources { folder: None, shared: None };
        let agenda = Study::open(&file, &sources, "nvcim study s.toml").unwrap().agenda;
        let counts = agenda.cells.iter().map(|cell| (cell.n_dies(), cell.waterfall.len()));
        assert_eq!(counts.collect::<Vec<_>>(), [(1, 1), (1, 1), (3, 0), (3, 0), (3, 0), (3, 0)]);
    }

    #[test]
    fn a_network_trained_for_a_chip_goes_before_the_one_for_all() {
        let trained = "
[[trained]]
network = \"n\"
model = \"all.onnx\"
control = \"control.onnx\"
[[trained]]
network = \"n\"
chip = \"b\"
model = \"b.onnx\"
control = \"control.onnx\"
";
        let file = parse_study(&format!("{SMALL}{trained}"), "s.toml", false).unwrap().output;
        let model = |network: &str, chip: &str| {
            find_trained(&file, network, chip).map(|at| file.trained[at].model.as_str())
        };
        assert_eq!(model("n", "a"), Some("all.onnx"));
        assert_eq!(model("n", "b"), Some("b.onnx"));
        assert_eq!(model("m", "a"), None);
    }
}
