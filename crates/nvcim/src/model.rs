//! A model file with the folder that its external data may come from.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use nvcim_ir::diag::{Diagnostic, Result, Warned};
use nvcim_ir::graph::Graph;
use nvcim_onnx::import;
use nvcim_onnx::reference::FloatReference;
use nvcim_onnx::survey::Survey;
use nvcim_onnx::tensor_data::{ExternalData, list_external_files};

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
        // The parent of a bare name is an empty path, which is no folder's name.
        let folder = path.parent().map(|it| match it.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => it.to_path_buf(),
        });
        Ok(Self { bytes, name, folder })
    }

    /// A model from bytes, without external data.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), name: name.to_owned(), folder: None }
    }

    /// The same model with other bytes in place of its own: as if they were stored under its name.
    #[must_use]
    pub fn with_bytes(&self, bytes: Vec<u8>) -> Self {
        Self { bytes, ..self.clone() }
    }

    /// BLAKE3 of the file's bytes, followed by those of each other file that it keeps weights in, by name.
    ///
    /// # Errors
    /// A file that is no ONNX model, or one of the others that cannot be read.
    pub fn hash(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes);
        for location in self.named(list_external_files(&self.bytes))? {
            let file = self.external().open(&location);
            file.and_then(|file| hasher.update_reader(file).map_err(|it| it.to_string()))
                .map_err(|why| Diagnostic::bad_input(&self.name, why))?;
        }
        Ok(hasher.finalize().into())
    }

    /// What compiling needs of the model: the file's bytes need not stay in memory for it.
    ///
    /// # Errors
    /// As for [`Model::import`] and [`Model::hash`].
    pub fn load(&self) -> Result<Imported> {
        let Warned { output: graph, warnings } = self.import()?;
        Ok(Imported { name: self.name.clone(), hash: self.hash()?, graph, warnings })
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

/// A model as it was imported.
#[derive(Debug, Clone)]
pub struct Imported {
    /// How messages call the model.
    pub name: String,
    /// Hash of the files that it came from, see [`Model::hash`].
    pub hash: [u8; 32],
    /// Its graph, verified.
    pub graph: Graph,
    /// What the import warns of.
    pub warnings: Vec<Diagnostic>,
}

impl Imported {
    /// The shape of one input sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.graph.node(self.graph.input()).shape
    }
}

/// Opens external data beside the model; `nvcim-onnx` has checked that paths stay inside the folder, and links
/// must too.
struct Folder<'a>(Option<&'a Path>);

impl Folder<'_> {
    fn open(&self, location: &str) -> std::result::Result<fs::File, String> {
        let folder = self.0.ok_or("a model in memory has no folder")?;
        let path = folder.join(location);
        let explain = |error: io::Error| format!("{}: {error}", path.display());
        let [inside, found] = [folder, &path].map(fs::canonicalize);
        let (inside, found) = (inside.map_err(explain)?, found.map_err(explain)?);
        if !found.starts_with(&inside) {
            let to = found.display();
            return Err(format!("{} is a link to {to}, outside the folder", path.display()));
        }
        // A pipe would wait for ever, and a device might have no end.
        if !fs::metadata(&found).map_err(explain)?.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        fs::File::open(&found).map_err(explain)
    }
}

impl ExternalData for Folder<'_> {
    fn length(&self, location: &str) -> std::result::Result<u64, String> {
        let metadata = self.open(location)?.metadata();
        metadata.map(|it| it.len()).map_err(|error| error.to_string())
    }

    fn read(
        &self,
        location: &str,
        offset: u64,
        bytes: &mut [u8],
    ) -> std::result::Result<(), String> {
        let mut file = self.open(location)?;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(bytes));
        read.map_err(|error| error.to_string())
    }
}
