//! Reads a case: arrays and settings of one `.npz`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use libtest_mimic::Failed;
use ndarray::{Array2, ArrayD};
use ndarray_npy::ReadNpyExt;
use serde_json::Value;
use zip::ZipArchive;

/// Inputs, expectation and settings.
pub(crate) struct Case {
    pub(crate) settings: Settings,
    /// Weights, `[outputs, inputs]`.
    pub(crate) w: Array2<f64>,
    /// Input vectors, `[inputs, vectors]`.
    pub(crate) x: Array2<f64>,
    /// The same as driven.
    pub(crate) xq: Array2<f64>,
    /// Conductances over the highest one, laid out by core style.
    pub(crate) g_norm: ArrayD<f64>,
    /// What the other program makes of it, `[outputs, vectors]`.
    pub(crate) y: Array2<f64>,
    /// What its rules make of it.
    pub(crate) y_ref64: Array2<f64>,
}

impl Case {
    pub(crate) fn read(path: &Path) -> Result<Self, Failed> {
        let mut archive = ZipArchive::new(File::open(path)?)?;
        let mut bytes = |name: &str| -> Result<Vec<u8>, Failed> {
            let mut bytes = Vec::new();
            archive.by_name(&format!("{name}.npy"))?.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        Ok(Self {
            settings: Settings(serde_json::from_str(&decode_text(&bytes("settings")?)?)?),
            w: Array2::read_npy(&bytes("W")?[..])?,
            x: Array2::read_npy(&bytes("X")?[..])?,
            xq: Array2::read_npy(&bytes("Xq")?[..])?,
            g_norm: ArrayD::read_npy(&bytes("G_norm")?[..])?,
            y: Array2::read_npy(&bytes("Y")?[..])?,
            y_ref64: Array2::read_npy(&bytes("Y_ref64")?[..])?,
        })
    }
}

/// The text of a NumPy scalar of type `<U`: version 1 header, then UCS-4.
fn decode_text(npy: &[u8]) -> Result<String, Failed> {
    let header = npy.get(8..10).ok_or("a text without a header")?;
    let start = 10 + usize::from(u16::from_le_bytes([header[0], header[1]]));
    let (units, _) = npy.get(start..).ok_or("a text that ends early")?.as_chunks();
    let letters = units.iter().map(|unit| char::from_u32(u32::from_le_bytes(*unit)));
    let text: Option<String> = letters.collect();
    Ok(text.ok_or("a text that is no Unicode")?.trim_end_matches('\0').to_owned())
}

/// The settings of the other program, by its names.
pub(crate) struct Settings(Value);

impl Settings {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).as_str().unwrap_or_else(|| panic!("`{key}` is a text"))
    }

    pub(crate) fn number(&self, key: &str) -> f64 {
        self.get(key).as_f64().unwrap_or_else(|| panic!("`{key}` is a number"))
    }

    pub(crate) fn bits(&self, key: &str) -> u32 {
        let bits = self.get(key).as_u64().and_then(|bits| u32::try_from(bits).ok());
        bits.unwrap_or_else(|| panic!("`{key}` is a small whole number"))
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).as_bool().unwrap_or_else(|| panic!("`{key}` is a flag"))
    }

    /// The converter range of a slice: there is one for all, or one each.
    pub(crate) fn range(&self, slice: usize) -> [f64; 2] {
        let ranges = self.get("adc_range");
        let range = if ranges[0].is_array() { &ranges[slice] } else { ranges };
        [0, 1].map(|end| range[end].as_f64().expect("a range has two ends"))
    }

    fn get(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or_else(|| panic!("`{key}` is given"))
    }
}
