//! What a file is that was given for an ONNX model, told from its first bytes.

/// A format that is not ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// What messages call a file of it.
    pub(crate) name: &'static str,
    /// How to get to an ONNX file.
    pub(crate) remedy: &'static str,
}

const fn format(name: &'static str, remedy: &'static str) -> Format {
    Format { name, remedy }
}

/// How files of other formats begin: where, and with what.
const BEGINNINGS: &[(usize, &[u8], Format)] = &[
    (
        0,
        b"version https://git-lfs",
        format(
            "a pointer to a file in Git LFS",
            "fetch the file itself: run `git lfs pull` in its repository",
        ),
    ),
    (
        0,
        b"PK\x03\x04",
        format(
            "a ZIP archive, as PyTorch saves",
            "unpack it, or export the network from PyTorch with `torch.onnx.export`",
        ),
    ),
    (
        0,
        b"\x80",
        format(
            "a Python pickle, as PyTorch saves",
            "export the network from PyTorch with `torch.onnx.export`",
        ),
    ),
    (0, b"\x89HDF", format("an HDF5 file, as Keras saves", "convert the network with `tf2onnx`")),
    (
        4,
        b"TFL3",
        format("a TensorFlow Lite file", "convert it with `python -m tf2onnx.convert --tflite`"),
    ),
    (0, b"\x1f\x8b", format("packed by gzip", "unpack it with `gunzip`")),
];

/// The format of a file that is no ONNX model, if it is a known one.
///
/// Only to be asked about files that do not decode: an ONNX file may begin with any field.
pub(crate) fn recognise_format(bytes: &[u8]) -> Option<Format> {
    let known = BEGINNINGS.iter().find(|(at, beginning, _)| {
        bytes.get(*at..).is_some_and(|rest| rest.starts_with(beginning))
    });
    if let Some((_, _, format)) = known {
        return Some(*format);
    }
    let text = &bytes[..bytes.len().min(64)];
    let is_text = |&byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if !text.iter().all(is_text) {
        return None;
    }
    let start = text.trim_ascii_start();
    Some(if start.starts_with(b"<") {
        format("a web page", "fetch the file itself, for instance by its link to the raw file")
    } else {
        format("a text", "export the network as a binary file (`onnx.save(model, path)`)")
    })
}

#[cfg(test)]
mod tests {
    use super::recognise_format;
    use crate::testing::tiny_lenet;

    #[test]
    fn formats_are_told_from_their_first_bytes() {
        for (bytes, name) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0"[..], "Git LFS"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"ir_version: 8\n", "text"),
        ] {
            assert!(recognise_format(bytes).expect("known").name.contains(name));
        }
        let bytes = tiny_lenet().bytes();
        assert_eq!((1..bytes.len()).find(|&end| recognise_format(&bytes[..end]).is_some()), None);
    }
}
