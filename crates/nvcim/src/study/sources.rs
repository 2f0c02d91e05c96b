//! Where the files of a study come from: beside the study file, from a data root, or out of the program.

use std::fs;
use std::path::{Path, PathBuf};

use nvcim_chip::describe::Chip;
use nvcim_chip::file::parse_chip;
use nvcim_chip::presets::find_preset;
use nvcim_chip::vary::vary_chip;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ops::tensor::Tensor;

use crate::data::{Dataset, Preprocess};
use crate::demo;
use crate::model::Model;
use crate::pipeline::CALIBRATION_IMAGES;
use crate::study::file::{ChipEntry, NetworkEntry};

/// Begins the name of a file below the data root.
const SHARED: &str = "shared:";

/// Begins the name of a network that the program carries.
const BUNDLED: &str = "bundled:";

/// A network that the program carries: its name and its bytes.
macro_rules! bundle {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../../onnx-models/", $name)))
    };
}

/// The networks that the program carries.
const BUNDLED_MODELS: &[(&str, &[u8])] = &[
    demo::MODEL,
    bundle!("lenet-digits-control.onnx"),
    bundle!("lenet-digits-stress-a.onnx"),
    bundle!("lenet-digits-stress-b.onnx"),
    bundle!("lenet-digits-stress-c.onnx"),
    bundle!("lenet5-fashion.onnx"),
];

/// The study that the program carries, with the chip files beside it.
pub const BUILT_IN: &str = include_str!("../../../../examples/recovery-study/study.toml");

const BUILT_IN_CHIPS: &[(&str, &str)] = &[
    ("chips/base.toml", include_str!("../../../../examples/recovery-study/chips/base.toml")),
    ("chips/iv.toml", include_str!("../../../../examples/recovery-study/chips/iv.toml")),
    ("chips/pcm.toml", include_str!("../../../../examples/recovery-study/chips/pcm.toml")),
    ("chips/wires.toml", include_str!("../../../../examples/recovery-study/chips/wires.toml")),
];

/// Where names of files lead.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder of the study file; `None` for the study that the program carries.
    pub folder: Option<PathBuf>,
    /// What `shared:` stands for, where it was said.
    pub shared: Option<PathBuf>,
}

/// A network with its images.
#[derive(Debug, Clone)]
pub struct Network {
    /// How results call it.
    pub name: String,
    /// The network.
    pub model: Model,
    /// Unlabelled training images, `[n, sample shape...]`.
    pub calibration: Tensor,
    /// Labelled test images.
    pub data: Dataset,
}

impl Sources {
    /// Opens a network and its images.
    ///
    /// # Errors
    /// Missing or broken files.
    pub fn open_network(&self, entry: &NetworkEntry) -> Result<Network> {
        let model = self.open_model(&entry.model)?;
        let open = |spec: &str, limit| {
            let preprocess = Preprocess { limit, ..entry.preprocess.clone() };
            Dataset::open(&self.locate_data(spec)?, preprocess)
        };
        let limit = entry.preprocess.limit;
        let calibration =
            open(&entry.calibration, None)?.head(CALIBRATION_IMAGES, &model.input_shape()?)?;
        let data = open(&entry.data, limit)?;
        Ok(Network { name: entry.name.clone(), model, calibration, data })
    }

    /// Opens a network.
    ///
    /// # Errors
    /// A missing file.
    pub fn open_model(&self, spec: &str) -> Result<Model> {
        let Some(name) = spec.strip_prefix(BUNDLED) else {
            return Model::open(&self.locate(spec)?);
        };
        let found = BUNDLED_MODELS.iter().find(|(bundled, _)| *bundled == name);
        let (name, bytes) = found.ok_or_else(|| {
            let names: Vec<_> =
                BUNDLED_MODELS.iter().map(|(name, _)| format!("`{BUNDLED}{name}`")).collect();
            let hint = format!("use {}, or the path of an ONNX file", names.join(" or "));
            Diagnostic::bad_input("study", format!("`{name}` is not bundled")).hint(hint)
        })?;
        Ok(Model::from_bytes(name, bytes))
    }

    /// Opens a chip under its name in the study, with its own numbers.
    ///
    /// # Errors
    /// A missing or broken file, an unknown key, a number beyond its limits.
    pub fn open_chip(&self, entry: &ChipEntry) -> Result<Chip> {
        let mut chip = self.open_chip_file(&entry.file)?;
        if entry.set.is_empty() {
            return Ok(chip);
        }
        chip.name.clone_from(&entry.name);
        Ok(vary_chip(&chip, &entry.set)?.output)
    }

    fn open_chip_file(&self, spec: &str) -> Result<Chip> {
        if !spec.ends_with(".toml") {
            return find_preset(spec);
        }
        let built_in =
            BUILT_IN_CHIPS.iter().find(|(name, _)| self.folder.is_none() && *name == spec);
        if let Some((_, text)) = built_in {
            return Ok(parse_chip(text, spec)?.output);
        }
        let path = self.locate(spec)?;
        let text = fs::read_to_string(&path).map_err(|error| {
            Diagnostic::bad_input(path.display().to_string(), error.to_string())
                .hint("give a preset's name (`nvcim chip list`) or a TOML file")
        })?;
        Ok(parse_chip(&text, &path.display().to_string())?.output)
    }

    fn locate_data(&self, spec: &str) -> Result<String> {
        match spec {
            "digits" | "digits:train" | "digits:t10k" => Ok(spec.to_owned()),
            _ => Ok(self.locate(spec)?.display().to_string()),
        }
    }

    /// The path of a file: below the data root, or below the folder of the study file.
    fn locate(&self, spec: &str) -> Result<PathBuf> {
        let (folder, below) = match spec.strip_prefix(SHARED) {
            Some(below) => (self.shared.as_deref(), below),
            None => (Some(self.folder.as_deref().unwrap_or(Path::new("."))), spec),
        };
        let folder = folder.ok_or_else(|| {
            Diagnostic::bad_input(format!("`{spec}`"), "is below a data root, and none is given")
                .hint("give its folder with `--shared DIR` or in `NVCIM_SHARED`")
        })?;
        Ok(folder.join(below))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{BUILT_IN, BUILT_IN_CHIPS, Sources};
    use crate::study::file::parse_study;

    #[test]
    fn the_built_in_study_has_all_of_its_chips() {
        let sources = Sources { folder: None, shared: None };
        let study = parse_study(BUILT_IN, "study.toml", false).unwrap();
        assert!(study.warnings.is_empty(), "{:?}", study.warnings);
        let points = study.output.sweeps.iter().flat_map(|sweep| &sweep.points);
        for entry in study.output.chips.iter().chain(points.map(|(_, _, chip)| chip)) {
            let chip =
                sources.open_chip(entry).unwrap_or_else(|it| panic!("{}: {it:?}", entry.name));
            assert!(entry.set.is_empty() || chip.name == entry.name);
        }
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/recovery-study/chips");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), BUILT_IN_CHIPS.len());
    }

    #[test]
    fn a_quick_run_needs_nothing_but_the_program() {
        let sources = Sources { folder: None, shared: None };
        let study = parse_study(BUILT_IN, "study.toml", true).unwrap().output;
        for entry in &study.networks {
            sources.open_network(entry).unwrap();
        }
        assert_eq!(study.trained.len(), 3);
        for entry in &study.trained {
            sources.open_model(&entry.model).unwrap();
            sources.open_model(&entry.control).unwrap();
        }
        assert!(study.networks.len() * study.chips.len() >= 12);
    }

    #[test]
    fn files_are_found_beside_the_study_or_below_the_data_root() {
        let sources = Sources { folder: Some(PathBuf::from("a")), shared: None };
        assert_eq!(sources.locate("b/c.onnx").unwrap(), Path::new("a/b/c.onnx"));
        let problem = sources.locate("shared:d.onnx").unwrap_err();
        assert!(problem[0].to_string().contains("`--shared DIR`"), "{}", problem[0]);
        let sources = Sources { shared: Some(PathBuf::from("s")), ..sources };
        assert_eq!(sources.locate("shared:d.onnx").unwrap(), Path::new("s/d.onnx"));
        assert!(sources.open_model("bundled:x.onnx").unwrap_err()[0].message.contains("`x.onnx`"));
    }
}
