//! IDX files, plain or gzipped: the format of MNIST and its relatives.
//!
//! Big-endian header: two zero bytes, element type (8 = u8, 9 = i8), number of axes, one u32 per axis;
//! then the elements in row-major order.

use std::io::Read;

use flate2::read::GzDecoder;
use nvcim_ir::diag::{Diagnostic, Result};

use super::Raw;

/// Most elements accepted, so that a broken header cannot exhaust memory.
const MAX_ELEMENTS: usize = 1 << 32;

/// Reads images of three axes (grey) or four (NHWC).
pub(crate) fn parse_images(place: &str, bytes: &[u8]) -> Result<Raw> {
    let Idx { shape, values, signed } = parse_idx(place, bytes)?;
    let dims = match shape[..] {
        [n, height, width] => [n, height, width, 1],
        [n, height, width, channels] => [n, height, width, channels],
        _ => {
            let message = format!("has {} axes, images need three or four", shape.len());
            return Err(Diagnostic::bad_input(place, message).into());
        }
    };
    Ok(Raw::Bytes { values, dims, signed })
}

/// Reads labels of one axis.
pub(crate) fn parse_labels(place: &str, bytes: &[u8]) -> Result<Vec<i64>> {
    let Idx { shape, values, signed } = parse_idx(place, bytes)?;
    if shape.len() != 1 {
        let message = format!("has {} axes, labels need one", shape.len());
        return Err(Diagnostic::bad_input(place, message).into());
    }
    let label = |value: u8| if signed { i64::from(value as i8) } else { i64::from(value) };
    Ok(values.into_iter().map(label).collect())
}

struct Idx {
    shape: Vec<usize>,
    values: Vec<u8>,
    signed: bool,
}

fn parse_idx(place: &str, bytes: &[u8]) -> Result<Idx> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        read_idx(place, GzDecoder::new(bytes))
    } else {
        read_idx(place, bytes)
    }
}

fn read_idx(place: &str, mut reader: impl Read) -> Result<Idx> {
    let broken = |what: String| Diagnostic::bad_input(place, what);
    let mut word = || {
        let mut word = [0; 4];
        reader.read_exact(&mut word).map(|()| word)
    };
    let [zero, zero2, kind, rank] =
        word().map_err(|error| broken(format!("has no IDX header: {error}")))?;
    let signed = match (zero, zero2, kind) {
        (0, 0, 8) => false,
        (0, 0, 9) => true,
        _ => {
            let message =
                format!("begins {zero:02x} {zero2:02x} {kind:02x}, not as IDX of u8 or i8");
            return Err(broken(message).into());
        }
    };
    let mut shape = Vec::new();
    for _ in 0..rank {
        let axis = word().map_err(|error| broken(format!("has a cut header: {error}")))?;
        shape.push(u32::from_be_bytes(axis) as usize);
    }
    let count = shape
        .iter()
        .try_fold(1usize, |count, &len| count.checked_mul(len))
        .filter(|&count| count <= MAX_ELEMENTS)
        .ok_or_else(|| {
            broken(format!("claims the shape {shape:?}, over {MAX_ELEMENTS} elements"))
        })?;
    let mut values = Vec::new();
    reader
        .take(count as u64)
        .read_to_end(&mut values)
        .map_err(|error| broken(format!("cannot be read: {error}")))?;
    if values.len() != count {
        let message = format!("holds {} of {count} elements of {shape:?}", values.len());
        return Err(broken(message).hint("the file is cut short: fetch it again").into());
    }
    Ok(Idx { shape, values, signed })
}

#[cfg(test)]
mod tests {
    use super::{parse_images, parse_labels};
    use crate::data::Raw;

    const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];

    #[test]
    fn labels_and_images_are_read() {
        assert_eq!(parse_labels("x", &LABELS).unwrap(), [7, 8, 9]);
        let image = [0, 0, 9, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 5, 0xff];
        let Raw::Bytes { values, dims, signed } = parse_images("x", &image).unwrap() else {
            panic!("bytes in, bytes out")
        };
        assert_eq!((values, dims, signed), (vec![5, 0xff], [1, 1, 2, 1], true));
    }

    #[test]
    fn every_cut_is_an_error() {
        for len in 0..LABELS.len() {
            assert!(parse_labels("x", &LABELS[..len]).is_err(), "{len}");
        }
        let huge = [0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 9, 0, 0, 0];
        assert!(parse_images("x", &huge).unwrap_err()[0].message.contains("over"));
    }
}
