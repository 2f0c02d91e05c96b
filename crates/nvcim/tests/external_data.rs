//! Weights in files beside the model: where they may lie, how far, and what is said where they do not.

mod wire;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nvcim::diag::Diagnostic;
use nvcim::model::Model;

use wire::{field, number};

const FLOATS: [f32; 6] = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0];

/// A folder of this test's own, emptied.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("external-{test}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file with the floats at `offset` and nothing, which takes no room on disk, before them.
fn write_weights(path: &Path, offset: u64) {
    let mut file = File::create(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&FLOATS.map(f32::to_le_bytes).concat()).unwrap();
}

/// `x` of 3 numbers times a matrix of 3x2 that lies at `offset` of another file.
fn write_model(folder: &Path, location: &str, offset: u64) -> PathBuf {
    let entry = |key: &str, value: &str| {
        field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
    };
    let weight = [
        [number(1, 3), number(1, 2), number(2, 1), field(8, b"w")].concat(),
        entry("location", location),
        entry("offset", &offset.to_string()),
        number(14, 1),
    ];
    let dims = [field(1, &field(2, b"N")), field(1, &number(1, 3))].concat();
    let kind = field(1, &[number(1, 1), field(2, &dims)].concat());
    let node = [field(1, b"x"), field(1, b"w"), field(2, b"y"), field(4, b"MatMul")];
    let graph = [
        field(1, &node.concat()),
        field(2, b"test"),
        field(5, &weight.concat()),
        field(11, &[field(1, b"x"), field(2, &kind)].concat()),
        field(12, &field(1, b"y")),
    ];
    let model = [number(1, 8), field(7, &graph.concat()), field(8, &number(2, 13))].concat();
    let path = folder.join("model.onnx");
    fs::write(&path, model).unwrap();
    path
}

/// The one problem of a model, whose weights are asked for in file `location`.
#[track_caller]
fn refuse(folder: &Path, location: &str, offset: u64) -> Diagnostic {
    let model = Model::open(&write_model(folder, location, offset)).unwrap();
    let mut problems = model.import().unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = problems.remove(0);
    assert!(problem.at.contains("tensor `w`") && !problem.hints.is_empty(), "{problem}");
    problem
}

#[test]
fn weights_may_lie_beyond_4_gigabytes() {
    let folder = folder("far");
    let offset = 5 << 30;
    write_weights(&folder.join("weights.bin"), offset);
    let model = Model::open(&write_model(&folder, "weights.bin", offset)).unwrap();
    let graph = model.import().unwrap().output;
    let constant = graph.consts.iter().next().unwrap();
    assert_eq!((constant.name.as_str(), constant.value.shape()), ("w", &[3, 2][..]));
    assert!(constant.value.iter().eq(&FLOATS));
}

#[test]
fn what_is_not_there_is_named_with_its_bytes() {
    let folder = folder("missing");
    let problem = refuse(&folder, "weights.bin", 4096);
    assert!(problem.message.contains("bytes 4096..4120 of `weights.bin`"), "{problem}");
    write_weights(&folder.join("weights.bin"), 0);
    let problem = refuse(&folder, "weights.bin", 4);
    let want = "has its data in bytes 4..28 of `weights.bin`, which ends after 24 bytes";
    assert_eq!(problem.message, want);
    fs::create_dir(folder.join("more.bin")).unwrap();
    assert!(refuse(&folder, "more.bin", 0).message.contains("is no file"));
}

#[test]
#[cfg(unix)]
fn no_link_leads_out_of_the_folder() {
    let folder = folder("links");
    let (inside, outside) = (folder.join("model"), folder.join("weights.bin"));
    fs::create_dir(&inside).unwrap();
    write_weights(&outside, 0);
    std::os::unix::fs::symlink(&outside, inside.join("link.bin")).unwrap();
    std::os::unix::fs::symlink(&folder, inside.join("up")).unwrap();
    for location in ["link.bin", "up/weights.bin"] {
        let problem = refuse(&inside, location, 0);
        assert!(problem.message.contains("outside the folder"), "{problem}");
    }
    assert!(refuse(&inside, "../weights.bin", 0).message.contains("no path inside"));
    // A link from one place in the folder to another does no harm.
    write_weights(&inside.join("weights.bin"), 0);
    std::os::unix::fs::symlink("weights.bin", inside.join("again.bin")).unwrap();
    let model = Model::open(&write_model(&inside, "again.bin", 0)).unwrap();
    assert!(model.import().is_ok());
}

#[test]
fn other_weights_make_another_model() {
    let folder = folder("hash");
    write_weights(&folder.join("weights.bin"), 0);
    let model = Model::open(&write_model(&folder, "weights.bin", 0)).unwrap();
    let before = model.hash().unwrap();
    assert_ne!(before, *blake3::hash(&model.bytes).as_bytes());
    fs::write(folder.join("weights.bin"), [0; 24]).unwrap();
    assert_ne!(model.hash().unwrap(), before);
    fs::remove_file(folder.join("weights.bin")).unwrap();
    assert!(model.hash().is_err());
}
