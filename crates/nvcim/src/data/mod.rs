//! Images and labels as users have them: the bundled digits, IDX folders, `.npz` files.
//!
//! A data set keeps its raw values and turns them into tensors a batch at a time.

mod idx;
mod npz;
mod preprocess;

use std::fs;
use std::ops::Range;
use std::path::Path;

use ndarray::ArrayD;
use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ops::tensor::Tensor;

pub use preprocess::Preprocess;

/// Held-out part and training part of the bundled digits, images and labels.
const DIGITS: [[&[u8]; 2]; 2] = [
    [
        include_bytes!("../../../../onnx-models/digits/t10k-images-idx3-ubyte.gz"),
        include_bytes!("../../../../onnx-models/digits/t10k-labels-idx1-ubyte.gz"),
    ],
    [
        include_bytes!("../../../../onnx-models/digits/train-images-idx3-ubyte.gz"),
        include_bytes!("../../../../onnx-models/digits/train-labels-idx1-ubyte.gz"),
    ],
];

/// Images as stored, before scaling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// Bytes, `[n, height, width, channels]`.
    Bytes {
        /// Row-major values.
        values: Vec<u8>,
        /// `[n, height, width, channels]`.
        dims: [usize; 4],
        /// Whether a byte is two's complement.
        signed: bool,
    },
    /// Numbers in the model's own layout, `[n, sample shape...]`.
    Floats(ArrayD<f32>),
}

/// Images with their labels, if there are any.
#[derive(Debug, Clone)]
pub struct Dataset {
    raw: Raw,
    labels: Option<Vec<i64>>,
    preprocess: Preprocess,
    len: usize,
}

impl Dataset {
    /// Opens `digits`, `digits:train`, a folder of IDX files, `DIR:PART` for the files whose names
    /// begin with PART, or an `.npz` file with `x` and optionally `y`.
    ///
    /// # Errors
    /// Missing, broken or ambiguous files; numbers of images and labels that differ.
    pub fn open(spec: &str, preprocess: Preprocess) -> Result<Self> {
        let (raw, labels) = match spec {
            "digits" | "digits:t10k" => parse_pair(spec, DIGITS[0][0], Some(DIGITS[0][1]))?,
            "digits:train" => parse_pair(spec, DIGITS[1][0], Some(DIGITS[1][1]))?,
            _ if spec.ends_with(".npz") => npz::read_npz(spec)?,
            _ => open_folder(spec)?,
        };
        Self::from_raw(spec, raw, labels, preprocess)
    }

    fn from_raw(
        place: &str,
        raw: Raw,
        labels: Option<Vec<i64>>,
        preprocess: Preprocess,
    ) -> Result<Self> {
        let n = raw.len();
        if n == 0 {
            return Err(Diagnostic::bad_input(place, "holds no image").into());
        }
        if let Some(labels) = &labels
            && labels.len() != n
        {
            let message = format!("holds {n} images, but {} labels", labels.len());
            return Err(Diagnostic::bad_input(place, message).into());
        }
        let len = preprocess.limit.map_or(n, |limit| limit.min(n));
        Ok(Self { raw, labels, preprocess, len })
    }

    /// The number of images, `--limit` applied.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The labels of the images in `range`, if the data has labels.
    pub fn labels(&self, range: Range<usize>) -> Option<&[i64]> {
        self.labels.as_ref().map(|labels| &labels[range])
    }

    /// The images of `range` as `[n, sample_shape...]`, preprocessed.
    ///
    /// # Errors
    /// Images that do not have the model's input shape.
    pub fn batch(&self, range: Range<usize>, sample_shape: &[usize]) -> Result<Tensor> {
        self.preprocess.apply(&self.raw, range, sample_shape)
    }

    /// The first `n` images, fewer if there are not as many: calibration data.
    ///
    /// # Errors
    /// As for [`Dataset::batch`].
    pub fn head(&self, n: usize, sample_shape: &[usize]) -> Result<Tensor> {
        self.batch(0..n.min(self.len), sample_shape)
    }
}

impl Raw {
    fn len(&self) -> usize {
        match self {
            Raw::Bytes { dims, .. } => dims[0],
            Raw::Floats(values) => values.shape().first().copied().unwrap_or(0),
        }
    }
}

type Pair = (Raw, Option<Vec<i64>>);

fn parse_pair(place: &str, images: &[u8], labels: Option<&[u8]>) -> Result<Pair> {
    let images = idx::parse_images(place, images)?;
    let labels = labels.map(|labels| idx::parse_labels(place, labels)).transpose()?;
    Ok((images, labels))
}

/// Finds the one pair of `*images*idx*` and `*labels*idx*` files in `DIR` or `DIR:PART`.
fn open_folder(spec: &str) -> Result<Pair> {
    let (dir, part) = match spec.rsplit_once(':') {
        Some((dir, part)) if !Path::new(spec).is_dir() => (dir, part),
        _ => (spec, ""),
    };
    let entries = fs::read_dir(dir).map_err(|error| {
        Diagnostic::bad_input(spec, format!("cannot be read as a folder: {error}")).hint(
            "give `digits`, a folder with IDX files, `FOLDER:PART`, or an `.npz` with `x` and `y`",
        )
    })?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(part) && name.contains("idx"))
        .collect();
    names.sort();
    let find = |kind: &str| -> Result<Option<&String>> {
        let found: Vec<_> = names.iter().filter(|name| name.contains(kind)).collect();
        if found.len() > 1 {
            let message =
                format!("holds {} files with `{kind}` and `idx` in their names", found.len());
            let hint = format!("pick a part by its file prefix, as in `{dir}:t10k`");
            return Err(Diagnostic::bad_input(spec, message).hint(hint).into());
        }
        Ok(found.first().copied())
    };
    let read = |name: &String| {
        fs::read(Path::new(dir).join(name))
            .map_err(|error| Diagnostic::bad_input(format!("{dir}/{name}"), error.to_string()))
    };
    let Some(images) = find("images")? else {
        let message = "holds no file with `images` and `idx` in its name";
        return Err(Diagnostic::bad_input(spec, message).into());
    };
    let labels = find("labels")?.map(read).transpose()?;
    parse_pair(spec, &read(images)?, labels.as_deref())
}
