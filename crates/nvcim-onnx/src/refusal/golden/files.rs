//! Files that are no models, or damaged ones.

use prost::Message;

use super::{Case, case};
use crate::proto::{ModelProto, OperatorSetIdProto};
use crate::testing::{TestModel, tiny_lenet};
use crate::wire;

pub(super) fn cases() -> Vec<Case> {
    let whole = tiny_lenet().bytes();
    let file = |name, bytes: &[u8]| Case { name, bytes: bytes.into() };
    let relu = |opset| TestModel::new(opset, &[0, 4]).node("Relu", "x", "y", &[]).output("y");
    let opset = OperatorSetIdProto { domain: "com.example".into(), version: 1 };
    let graph = Some(tiny_lenet().graph);
    let foreign = ModelProto { graph, opset_import: vec![opset], ..ModelProto::default() };
    // A graph whose first field, its nodes, is a number.
    let mut numbers = Vec::new();
    wire::write_field(&mut numbers, 7, &[0x08, 1]);
    vec![
        file("an empty file", b""),
        file("half a model", &whole[..whole.len() / 2]),
        file("a model cut behind its version", &whole[..2]),
        file(
            "a pointer instead of the file",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1024\n",
        ),
        file("a ZIP archive", b"PK\x03\x04\x14\0\0\0"),
        file("a pickle", b"\x80\x02}q\0."),
        file("an HDF5 file", b"\x89HDF\r\n\x1a\n"),
        file("a TensorFlow Lite file", b"\x1c\0\0\0TFL3\x14\0"),
        file("a packed file", b"\x1f\x8b\x08\0\0\0\0\0"),
        file("a web page", b"<!DOCTYPE html>\n<html><title>Sign in</title></html>\n"),
        file("a text", b"ir_version: 8\ngraph {\n  name: \"net\"\n}\n"),
        file("bytes of an unknown kind", &[0x0b, 1, 2, 3]),
        file("bytes without an end", &[0xff; 11]),
        file("fields of other types", &numbers),
        Case { name: "no version of the standard operators", bytes: foreign.encode_to_vec() },
        case("a version of the standard operators that never was", relu(0)),
        case("an old version of the standard operators", relu(6)),
    ]
}
