//! A model file with the folder that its external data may come from.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::graph::Graph;
use nvcim_onnx::import;
use nvcim_onnx::reference::FloatReference;
use nvcim_onnx::survey::Survey;
use nvcim_onnx::tensor_data::ExternalData;

/// An ONNX file in memory.
#[derive(Debug, Clone)]
pub struct Model {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// How messages call it.
    pub name: String,
    folder: Option<PathBuf>,
}

impl Model {
    /// Reads a model file; external data is looked for in its folder.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| {
            Diagnostic::bad_input(&name, error.to_string()).hint("give the path of an ONNX file")
        })?;
        let folder = path.parent().map(Path::to_path_buf);
        Ok(Self { bytes, name, folder })
    }

    /// A model from bytes, without external data.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), name: name.to_owned(), folder: None }
    }

    /// BLAKE3 of the file's bytes.
    pub fn hash(&self) -> [u8; 32] {
        blake3::hash(&self.bytes).into()
    }

    /// The verified graph.
    ///
    /// # Errors
    /// A broken file, or every node that is not supported.
    pub fn import(&self) -> Result<Warned<Graph>> {
        self.named(import::import_model(&self.bytes, &self.external()))
    }

    /// The shape of one input sample.
    ///
    /// # Errors
    /// As for [`Model::import`].
    pub fn input_shape(&self) -> Result<Vec<usize>> {
        let graph = self.import()?.output;
        Ok(graph.node(graph.input()).shape.clone())
    }

    /// What becomes of each node.
    ///
    /// # Errors
    /// A broken file.
    pub fn survey(&self) -> Result<Survey> {
        self.named(import::survey_model(&self.bytes, &self.external()))
    }

    /// The float reference that runs this model.
    ///
    /// # Errors
    /// A broken file, or one that the reference cannot run.
    pub fn reference(&self) -> Result<FloatReference> {
        self.named(FloatReference::new(&self.bytes, &self.external()))
    }

    fn external(&self) -> Folder<'_> {
        Folder(self.folder.as_deref())
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|problems| problems.into_iter().map(|it| it.within(&self.name)).collect())
    }
}

/// Opens external data beside the model; `nvcim-onnx` has checked that it stays inside the folder.
struct Folder<'a>(Option<&'a Path>);

impl ExternalData for Folder<'_> {
    fn read(
        &self,
        location: &str,
        offset: u64,
        length: Option<u64>,
    ) -> std::result::Result<Vec<u8>, String> {
        let folder = self.0.ok_or("a model in memory has no external data")?;
        let path = folder.join(location);
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = fs::File::open(&path)?;
            let left = file.metadata()?.len().saturating_sub(offset);
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(length.unwrap_or(left).min(left)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| format!("{}: {error}", path.display()))
    }
}
