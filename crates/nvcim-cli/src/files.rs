//! Files on disk: read whole, written under a temporary name and renamed.

use std::fs;
use std::io::Write;
use std::path::Path;

use nvcim::codec;
use nvcim::describe::Chip;
use nvcim::diag::Diagnostic;
use nvcim::file::is_same_chip;
use nvcim::layout::Image;

use crate::terminal::{Failure, Terminal};

/// Reads a file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Diagnostic::bad_input(path.display().to_string(), error.to_string())
            .hint("check the path")
            .into()
    })
}

/// Writes a file so that it is there complete or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".nvcim-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        set_usual_mode(file.path())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| {
        Diagnostic::bad_input(path.display().to_string(), format!("cannot be written: {error}"))
            .hint("check that the folder exists and can be written to")
            .into()
    })
}

/// Temporary files are private; a result is readable as any other file.
#[cfg(unix)]
fn set_usual_mode(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_usual_mode(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Opens a chip and prints its warnings.
pub(crate) fn open_chip(spec: &str, terminal: &Terminal) -> Result<Chip, Failure> {
    let chip = nvcim::chips::open_chip(spec)?;
    terminal.warn(&chip.warnings);
    Ok(chip.output)
}

/// Reads an image; `--chip` must be the one it was compiled for, unless forced.
pub(crate) fn open_image(
    path: &Path,
    chip: Option<&str>,
    force: bool,
    terminal: &Terminal,
) -> Result<Image, Failure> {
    let name = path.display().to_string();
    let mut image = codec::decode_image(&read_file(path)?)
        .map_err(|problems| problems.into_iter().map(|it| it.within(&name)).collect::<Vec<_>>())?;
    let Some(spec) = chip else { return Ok(image) };
    let chip = open_chip(spec, terminal)?;
    if is_same_chip(&chip, &image.chip) {
        return Ok(image);
    }
    if !force {
        let message = format!("was compiled for chip `{}`, not `{}`", image.chip.name, chip.name);
        let hint = "leave `--chip` out, or add `--force-chip` to run it on that chip all the same";
        return Err(Diagnostic::bad_input(name, message).hint(hint).into());
    }
    // What an image says of cells and drives means something else on a chip that holds weights otherwise.
    let coding = |chip: &Chip| (chip.arrays.topology, chip.arrays.pairs, chip.weights.clone());
    if coding(&chip) != coding(&image.chip) {
        let message = format!(
            "was compiled for chip `{}`, which holds weights in another way than `{}`",
            image.chip.name, chip.name
        );
        let hint = "compile the model for the other chip";
        return Err(Diagnostic::bad_input(name, message).hint(hint).into());
    }
    nvcim::programmed::verify_programmed(&image.net, chip.array_size(), chip.cell.n_levels)?;
    image.chip = chip;
    Ok(image)
}
