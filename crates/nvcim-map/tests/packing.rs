//! Packings of published networks, and of any matrices: modes obeyed, every weight once, bounds held.

use std::collections::BTreeMap;

use ndarray::{Array2, s};
use nvcim_chip::describe::Pack;
use nvcim_ir::ids::Id;
use nvcim_map::pack::{Matrix, Packing, Placed, Space, bound_sites, pack_matrices};
use proptest::prelude::*;

mod networks;

/// Arrays of 512x512 weights.
const SPACE: Space = Space { n_rows: 512, n_cols: 512, references: 0 };

/// The most arrays that a packing may take: concurrent, dense.
const MOST: [(&str, [usize; 2]); 5] = [
    ("ResNet-18", [64, 45]),
    ("ResNet-50", [135, 98]),
    ("MobileNetV2", [29, 13]),
    ("ViT-tiny", [54, 22]),
    ("BERT-base", [448, 327]),
];

#[test]
fn published_networks_take_few_arrays() {
    for (network, (name, most)) in networks::all().iter().zip(MOST) {
        assert_eq!(network.name, name);
        for (mode, most) in [Pack::Concurrent, Pack::Dense].into_iter().zip(most) {
            let packing = pack_matrices(&network.matrices, SPACE, mode);
            check(&network.matrices, SPACE, mode, &packing);
            assert!(packing.n_sites <= most, "{name} {mode:?}: {}", packing.n_sites);
            let bound = bound_sites(&network.matrices, SPACE, mode);
            assert!(mode == Pack::Concurrent || packing.n_sites == bound, "{name}: {bound}");
        }
    }
}

#[test]
fn weights_are_those_of_the_published_networks() {
    let counts = networks::all().into_iter().map(|network| {
        let weights = |matrix: &Matrix| matrix.blocks.0 * matrix.blocks.1 * matrix.blocks.2;
        network.matrices.iter().map(weights).sum::<usize>()
    });
    // Parameters as published, less norms, biases, embeddings and depthwise filters.
    let want = [11_678_912, 25_502_912, 3_405_536, 5_647_872, 85_524_480];
    assert_eq!(counts.collect::<Vec<_>>(), want);
}

#[test]
fn matrices_that_read_the_same_inputs_share_rows() {
    let matrix = |drives| Matrix { blocks: (1, 6, 2), drives };
    let space = Space { n_rows: 8, n_cols: 8, references: 0 };
    let shared = pack_matrices(&[matrix(0), matrix(0), matrix(0)], space, Pack::Concurrent);
    assert_eq!(shared.n_sites, 1);
    let cols: Vec<_> = shared.placed.iter().map(|it| (it.spot.row, it.spot.col)).collect();
    assert_eq!(cols, [(0, 0), (0, 2), (0, 4)]);
    let apart = pack_matrices(&[matrix(0), matrix(1), matrix(2)], space, Pack::Concurrent);
    assert_eq!(apart.n_sites, 3);
}

#[test]
fn blocks_are_never_cut_and_leave_no_more_zeros_than_room_allows() {
    let matrices = [Matrix { blocks: (32, 9, 1), drives: 0 }];
    let space = Space { n_rows: 72, n_cols: 8, references: 0 };
    let packing = pack_matrices(&matrices, space, Pack::Dense);
    check(&matrices, space, Pack::Dense, &packing);
    assert!(packing.n_sites <= 2, "{}", packing.n_sites);
    assert!(packing.placed.iter().all(|it| it.cut.rows.len() == 9 * it.cut.cols.len()));
}

/// Panics where a packing breaks a promise.
fn check(matrices: &[Matrix], space: Space, mode: Pack, packing: &Packing) {
    let mut sites: BTreeMap<usize, Vec<&Placed>> = BTreeMap::new();
    for placed in &packing.placed {
        let Placed { cut, spot } = placed;
        assert!(spot.site < packing.n_sites);
        assert!(spot.row + cut.rows.len() <= space.n_rows);
        assert!(spot.col + cut.cols.len() + space.references <= space.n_cols);
        sites.entry(spot.site).or_default().push(placed);
    }
    assert_eq!(sites.len(), packing.n_sites, "every site is used");
    for tiles in sites.values() {
        for (at, a) in tiles.iter().enumerate() {
            for b in &tiles[..at] {
                check_pair(matrices, space, mode, (a, b));
            }
        }
    }
    check_coverage(matrices, packing);
    assert!(bound_sites(matrices, space, mode) <= packing.n_sites);
}

/// Two tiles of one site.
fn check_pair(matrices: &[Matrix], space: Space, mode: Pack, (a, b): (&Placed, &Placed)) {
    let overlap = |a: usize, a_len: usize, b: usize, b_len: usize| a < b + b_len && b < a + a_len;
    let rows = overlap(a.spot.row, a.cut.rows.len(), b.spot.row, b.cut.rows.len());
    let width = |it: &Placed| it.cut.cols.len() + space.references;
    let cols = overlap(a.spot.col, width(a), b.spot.col, width(b));
    let drives = |it: &Placed| matrices[it.cut.layer.index()].drives;
    let alike = a.spot.row == b.spot.row && a.cut.rows == b.cut.rows && drives(a) == drives(b);
    match mode {
        Pack::None => panic!("{a:?} and {b:?} share a site"),
        Pack::Concurrent => assert!(!cols && (!rows || alike), "{a:?} and {b:?}"),
        Pack::Dense => assert!(!(rows && cols), "{a:?} and {b:?}"),
    }
}

fn check_coverage(matrices: &[Matrix], packing: &Packing) {
    for (layer, matrix) in matrices.iter().enumerate() {
        let (groups, n_rows, n_cols) = matrix.blocks;
        let mut counts = Array2::<u8>::zeros((groups * n_rows, groups * n_cols));
        for Placed { cut, .. } in packing.placed.iter().filter(|it| it.cut.layer.index() == layer) {
            counts
                .slice_mut(s![cut.rows.clone(), cut.cols.clone()])
                .mapv_inplace(|count| count + 1);
        }
        for ((row, col), &count) in counts.indexed_iter() {
            let in_block = row / n_rows == col / n_cols;
            assert!(count == 1 || (count == 0 && !in_block), "l{layer} [{row}, {col}]: {count}");
        }
    }
}

/// Matrices of any size, single and grouped, some of which read the same inputs.
fn any_matrices() -> impl Strategy<Value = Vec<Matrix>> {
    let single = (1usize..60, 1usize..60).prop_map(|(rows, cols)| vec![(1, rows, cols)]);
    let alike = (1usize..40, 1usize..30, 1usize..30)
        .prop_map(|(rows, a, b)| vec![(1, rows, a), (1, rows, b), (1, rows, a)]);
    let grouped = (2usize..20, 1usize..25, 1usize..4)
        .prop_map(|(groups, rows, cols)| vec![(groups, rows, cols)]);
    let family = prop_oneof![4 => single, 1 => alike, 1 => grouped];
    prop::collection::vec(family, 0..8).prop_map(|families| {
        let with_drives = families.into_iter().enumerate();
        with_drives
            .flat_map(|(drives, family)| {
                family.into_iter().map(move |blocks| Matrix { blocks, drives })
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_matrices_are_packed_as_the_mode_promises(
        matrices in any_matrices(),
        (n_rows, n_cols) in (1usize..40, 1usize..40),
        references in 0usize..2,
        mode in prop::sample::select(vec![Pack::None, Pack::Concurrent, Pack::Dense]),
    ) {
        let space = Space { n_rows, n_cols: n_cols + references, references };
        let packing = pack_matrices(&matrices, space, mode);
        check(&matrices, space, mode, &packing);
        prop_assert_eq!(&packing, &pack_matrices(&matrices, space, mode), "the same every time");
        let none = pack_matrices(&matrices, space, Pack::None).n_sites;
        prop_assert!(packing.n_sites <= none, "{} {}", packing.n_sites, none);
        // Without references and blocks, chunks fill every hole.
        if mode == Pack::Dense && references == 0 && matrices.iter().all(|it| it.blocks.0 == 1) {
            prop_assert_eq!(packing.n_sites, bound_sites(&matrices, space, mode));
        }
    }
}
