//! The network cut into tiles that fit arrays, with calibrated ranges: what mapping hands to correction.
//!
//! Notation, used by every later stage. A layer computes `z = W^T x + bias`; its matrix `W` has `n_rows`
//! input rows and `n_cols` output columns. Drives are normalised to the DAC's full scale,
//! `x^ = x / full_scale`, and currents to one cell at `g_max` under a full-scale drive, so that a column
//! reads `y = sum x^ (g+ - g-) / g_max`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use ndarray::{Array2, Array3, s};

use crate::diag::{Diagnostic, Result, fail_if_any};
use crate::ids::{ArrayId, IdVec, LayerId, TileId};
use crate::program::{self, LayerShape, Program};

/// How a layer's inputs are driven onto word lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputCoding {
    /// The input value that drives a word line at full scale; positive and finite.
    pub full_scale: f32,
    /// Whether inputs may be negative, which costs a sign driver or a second pass.
    pub signed: bool,
}

/// One matrix product that runs on arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixLayer {
    /// The name of the ONNX node.
    pub name: String,
    /// The matrix as blocks on its diagonal, `[groups, rows per group, columns per group]`; one block
    /// unless the layer is a grouped convolution.
    pub blocks: Array3<f32>,
    /// Added digitally to each output, `[n_cols]`.
    pub bias: Vec<f32>,
    /// How inputs are driven.
    pub input: InputCoding,
    /// The weight magnitude that takes the whole conductance range of each column, `[n_cols]`; positive and
    /// finite.
    pub ranges: Vec<f32>,
}

impl MatrixLayer {
    /// The size of the whole matrix.
    pub fn shape(&self) -> LayerShape {
        let (groups, rows, cols) = self.blocks.dim();
        LayerShape { n_rows: groups * rows, n_cols: groups * cols }
    }

    /// A rectangle of the matrix, zeros between the blocks included; `[rows, cols]`.
    pub fn weights(&self, rows: Range<usize>, cols: Range<usize>) -> Array2<f32> {
        let (groups, block_rows, block_cols) = self.blocks.dim();
        let mut res = Array2::zeros((rows.len(), cols.len()));
        for group in 0..groups {
            let (top, left) = (group * block_rows, group * block_cols);
            let row = rows.start.max(top)..rows.end.min(top + block_rows);
            let col = cols.start.max(left)..cols.end.min(left + block_cols);
            if row.is_empty() || col.is_empty() {
                continue;
            }
            let block = self.blocks.slice(s![
                group,
                row.start - top..row.end - top,
                col.start - left..col.end - left
            ]);
            res.slice_mut(s![
                row.start - rows.start..row.end - rows.start,
                col.start - cols.start..col.end - cols.start
            ])
            .assign(&block);
        }
        res
    }
}

/// Where a tile's cells sit, as physical row and column numbers.
///
/// A weight is held by `n_slices` cells, or pairs of cells, that count differently: its slices. *Lane*
/// `j n_slices + k` is slice `k` of matrix column `j`, least significant slice first. The positive cell of
/// matrix row `i` in lane `l` is `(plus_rows[i], plus_cols[l])`, the negative one
/// `(minus_rows[i], minus_cols[l])`. Pairs on columns share their rows, pairs on rows share their columns,
/// pairs on two arrays share both. Offset-coded weights have no negative cells; where a reference column
/// stands for their offset, it follows the matrix columns as one column more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// Cells or pairs that hold one weight; at least 1.
    pub n_slices: u32,
    /// Word lines of the positive cells, one per matrix row.
    pub plus_rows: Vec<u32>,
    /// Word lines of the negative cells, one per matrix row; none where weights are offset-coded.
    pub minus_rows: Vec<u32>,
    /// Bit lines of the positive cells, one per lane.
    pub plus_cols: Vec<u32>,
    /// Bit lines of the negative cells, one per lane; none where weights are offset-coded.
    pub minus_cols: Vec<u32>,
    /// The array of the negative cells, where it is not that of the positive ones.
    pub minus_array: Option<ArrayId>,
}

impl Wiring {
    /// The lane of a matrix column's slice.
    pub fn lane(&self, col: u32, slice: u32) -> usize {
        (col * self.n_slices + slice) as usize
    }

    /// Whether every weight has a negative cell beside its positive one.
    pub fn is_paired(&self) -> bool {
        !self.minus_cols.is_empty()
    }

    /// The array of the negative cells of a tile on `array`.
    pub fn minus_array(&self, array: ArrayId) -> ArrayId {
        self.minus_array.unwrap_or(array)
    }

    /// Where the positive and the negative cells of a tile on `array` sit: array, word lines, bit lines.
    pub fn sides(&self, array: ArrayId) -> [(ArrayId, &[u32], &[u32]); 2] {
        [
            (array, &self.plus_rows, &self.plus_cols),
            (self.minus_array(array), &self.minus_rows, &self.minus_cols),
        ]
    }
}

/// Neighbouring rows of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowSpan {
    /// The first row.
    pub start: u32,
    /// One past the last row.
    pub end: u32,
}

impl RowSpan {
    /// The rows as indices.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Which current a conversion sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// The difference of a pair, taken before the ADC.
    Pair,
    /// The positive bit line alone.
    Plus,
    /// The negative bit line alone; its conversion counts negatively.
    Minus,
}

impl Terminal {
    /// The sign with which the current enters the output.
    pub fn sign(self) -> f32 {
        match self {
            Terminal::Pair | Terminal::Plus => 1.0,
            Terminal::Minus => -1.0,
        }
    }
}

/// The range that an ADC is set to, in normalised current.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdcRange {
    /// The current of code 0.
    pub lo: f32,
    /// The current of the highest code; above `lo`.
    pub hi: f32,
}

/// One conversion that contributes to one output column, or to all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readout {
    /// The tile's column, from 0; the one behind the last is the reference column, whose conversion
    /// contributes to every column.
    pub col: u32,
    /// The slice, least significant first.
    pub slice: u32,
    /// The tile's rows that are driven; all others are at rest.
    pub rows: RowSpan,
    /// What is converted.
    pub terminal: Terminal,
    /// The range of the conversion.
    pub range: AdcRange,
}

/// A rectangle of a layer's matrix on one array.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// The layer.
    pub layer: LayerId,
    /// The array that holds it.
    pub array: ArrayId,
    /// The rows of the layer's matrix.
    pub rows: Range<usize>,
    /// The columns of the layer's matrix.
    pub cols: Range<usize>,
    /// The physical rows and columns.
    pub wiring: Wiring,
    /// The conversions, by column, slice and rows, positive before negative.
    pub readouts: Vec<Readout>,
}

/// A network ready for correction: the digital program, the layers, and every tile with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TiledNet {
    /// The digital program.
    pub program: Program,
    /// The matrix layers.
    pub layers: IdVec<LayerId, MatrixLayer>,
    /// The tiles, by layer, then row block, then column block.
    pub tiles: IdVec<TileId, Tile>,
}

/// The physical size of a chip's arrays, as verifiers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArraySize {
    /// Word lines.
    pub n_rows: usize,
    /// Bit lines.
    pub n_cols: usize,
    /// Arrays on the chip; `None` for as many as needed.
    pub count: Option<usize>,
}

/// Checks a tiled net against the arrays it is meant for; correction relies on every rule.
///
/// 1. The program verifies with the layers' sizes.
/// 2. Weights and biases are finite, scales positive and finite, biases as long as the matrix is wide.
/// 3. Tiles lie inside their layer's matrix and inside their array, and no cell is used twice.
/// 4. Every non-zero weight lies on exactly one tile.
/// 5. Every slice of every tile column has a readout, with a finite, non-empty range and rows to drive.
pub fn verify_tiled(net: &TiledNet, size: ArraySize) -> Result<()> {
    let shapes: IdVec<_, _> = net.layers.iter().map(MatrixLayer::shape).collect();
    program::verify_program(&net.program, &shapes)?;
    let mut problems = Vec::new();
    for (id, layer) in net.layers.iter_enumerated() {
        if let Err(message) = check_layer(net, id, layer) {
            problems.push(Diagnostic::internal(format!("{id} `{}`", layer.name), message));
        }
    }
    let mut cells = CellUse::default();
    for (id, tile) in net.tiles.iter_enumerated() {
        let shape = shapes.get(tile.layer).copied();
        let ranges = (tile.rows.clone(), tile.cols.clone());
        let checked = check_block(shape, &ranges, &tile.wiring, &tile.readouts, size)
            .and_then(|()| cells.claim(tile.array, &tile.wiring, size));
        if let Err(message) = checked {
            problems.push(Diagnostic::internal(format!("{id} on {}", tile.array), message));
        }
    }
    fail_if_any(problems)
}

fn check_layer(
    net: &TiledNet,
    id: LayerId,
    layer: &MatrixLayer,
) -> std::result::Result<(), String> {
    if !layer.blocks.iter().chain(&layer.bias).all(|value| value.is_finite()) {
        return Err("has a weight or bias that is not finite".into());
    }
    let full_scale = ("full_scale", &layer.input.full_scale);
    for (name, value) in layer.ranges.iter().map(|it| ("range", it)).chain([full_scale]) {
        if !(value.is_finite() && *value > 0.0) {
            return Err(format!("has {name} {value}, must be positive and finite"));
        }
    }
    let LayerShape { n_rows, n_cols } = layer.shape();
    if layer.ranges.len() != n_cols {
        return Err(format!("has {} ranges for {n_cols} columns", layer.ranges.len()));
    }
    if layer.bias.len() != n_cols {
        return Err(format!("has {} biases for {n_cols} outputs", layer.bias.len()));
    }
    let mut covered = Array2::<u8>::zeros((n_rows, n_cols));
    for tile in net.tiles.iter().filter(|tile| tile.layer == id) {
        if tile.rows.end > n_rows || tile.cols.end > n_cols {
            return Err(format!("is cut at {:?} x {:?}, outside", tile.rows, tile.cols));
        }
        covered
            .slice_mut(s![tile.rows.clone(), tile.cols.clone()])
            .mapv_inplace(|count| count.saturating_add(1));
    }
    let weights = layer.weights(0..n_rows, 0..n_cols);
    let stray = |(&count, &weight): (&u8, &f32)| count > 1 || (count == 0 && weight != 0.0);
    match covered.iter().zip(&weights).position(stray) {
        Some(at) => Err(format!("does not have weight {at} on exactly one tile")),
        None => Ok(()),
    }
}

/// Checks one tile's ranges, wiring and readouts; shared with [`crate::programmed`].
pub(crate) fn check_block(
    layer: Option<LayerShape>,
    (rows, cols): &(Range<usize>, Range<usize>),
    wiring: &Wiring,
    readouts: &[Readout],
    size: ArraySize,
) -> std::result::Result<(), String> {
    let layer = layer.ok_or("belongs to no layer")?;
    if rows.is_empty() || cols.is_empty() || rows.end > layer.n_rows || cols.end > layer.n_cols {
        return Err(format!("covers {rows:?} x {cols:?} of {}x{}", layer.n_rows, layer.n_cols));
    }
    check_wiring(rows.len(), cols.len(), wiring, size)?;
    let n_slices = wiring.n_slices;
    // Wiring that passed has lanes for whole columns.
    let n_lanes = wiring.plus_cols.len();
    let mut read = BTreeSet::new();
    for Readout { col, slice, rows: driven, terminal, range } in readouts {
        if *slice >= n_slices || *col as usize >= n_lanes / n_slices as usize {
            return Err(format!("reads slice {slice} of column {col}, which it does not have"));
        }
        if driven.start >= driven.end || driven.end as usize > rows.len() {
            return Err(format!("drives rows {driven:?} of {} for a readout", rows.len()));
        }
        if !(range.lo < range.hi && (range.hi - range.lo).is_finite()) {
            return Err(format!("reads column {col} over {range:?}"));
        }
        if *terminal != Terminal::Plus && !wiring.is_paired() {
            return Err(format!("reads the {terminal:?} terminal of column {col} without pairs"));
        }
        read.insert(wiring.lane(*col, *slice));
    }
    if read.len() == n_lanes { Ok(()) } else { Err("leaves a column without a readout".into()) }
}

/// Checks that lines are as many as a tile's rows and lanes, and inside the array.
fn check_wiring(
    n_rows: usize,
    n_cols: usize,
    wiring: &Wiring,
    size: ArraySize,
) -> std::result::Result<(), String> {
    let Wiring { n_slices, plus_rows, minus_rows, plus_cols, minus_cols, minus_array } = wiring;
    let n_slices = *n_slices as usize;
    let paired = wiring.is_paired();
    let lanes = n_slices.saturating_mul(n_cols);
    // Only offset-coded weights have a reference column.
    let with_reference = lanes.saturating_add(n_slices);
    let n_lanes = if !paired && plus_cols.len() == with_reference { with_reference } else { lanes };
    let of_minus = |count: usize| if paired { count } else { 0 };
    let lines = [
        ("row", plus_rows, n_rows, size.n_rows),
        ("row", minus_rows, of_minus(n_rows), size.n_rows),
        ("column", plus_cols, n_lanes, size.n_cols),
        ("column", minus_cols, of_minus(n_lanes), size.n_cols),
    ];
    for (kind, wires, want, limit) in lines {
        if wires.len() != want || wires.iter().any(|&wire| wire as usize >= limit) {
            return Err(format!("needs {want} {kind}s below {limit}, has {wires:?}"));
        }
    }
    match (n_slices, minus_array) {
        (0, _) => Err("has no slice".into()),
        (_, Some(array)) if !paired => Err(format!("has no negative cells to sit on {array}")),
        _ => Ok(()),
    }
}

/// The cells that tiles have claimed so far: the bit lines taken of each word line, ascending.
///
/// Takes memory for cells claimed, not for arrays: a file may speak of arrays of any size.
#[derive(Default)]
pub(crate) struct CellUse {
    taken: BTreeMap<(ArrayId, u32), Vec<u32>>,
}

impl CellUse {
    /// Claims a tile's cells, the positive ones on `array`; an error if an array is not there or a cell
    /// is taken.
    pub(crate) fn claim(
        &mut self,
        array: ArrayId,
        wiring: &Wiring,
        size: ArraySize,
    ) -> std::result::Result<(), String> {
        use crate::ids::Id;
        for (array, rows, cols) in wiring.sides(array) {
            if size.count.is_some_and(|count| array.index() >= count) {
                return Err(format!("sits on {array}, but the chip has {:?} arrays", size.count));
            }
            let mut cols = cols.to_vec();
            cols.sort_unstable();
            for &row in rows {
                let taken = self.taken.entry((array, row)).or_default();
                taken.extend_from_slice(&cols);
                // Two ascending runs, which this sort merges in linear time.
                taken.sort();
                if let Some(pair) = taken.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(format!("uses the cell at row {row}, column {} twice", pair[0]));
                }
            }
        }
        Ok(())
    }
}

/// The text form: the program, then one line per layer and per tile.
impl fmt::Display for TiledNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program)?;
        for (id, layer) in self.layers.iter_enumerated() {
            let LayerShape { n_rows, n_cols } = layer.shape();
            let sign = if layer.input.signed { "signed" } else { "unsigned" };
            writeln!(f, "{id} {n_rows}x{n_cols} {sign}  # {:?}", layer.name)?;
        }
        for (id, tile) in self.tiles.iter_enumerated() {
            let Tile { layer, array, rows, cols, wiring, readouts } = tile;
            write!(f, "{id} {layer}[{rows:?}, {cols:?}] on {array}")?;
            if let Some(minus_array) = wiring.minus_array {
                write!(f, " and {minus_array}")?;
            }
            writeln!(
                f,
                " rows {} cols {} readouts {}",
                SpanOf(&wiring.plus_rows, &wiring.minus_rows),
                SpanOf(&wiring.plus_cols, &wiring.minus_cols),
                readouts.len(),
            )?;
        }
        Ok(())
    }
}

/// Prints the smallest and largest of two sets of wires.
struct SpanOf<'a>(&'a [u32], &'a [u32]);

impl fmt::Display for SpanOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wires = || self.0.iter().chain(self.1);
        match (wires().min(), wires().max()) {
            (Some(first), Some(last)) => write!(f, "{first}..={last}"),
            _ => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ArraySize, CellUse, Wiring};
    use crate::ids::{ArrayId, Id};

    fn wiring(rows: [u32; 2], cols: [u32; 2]) -> Wiring {
        let minus_cols = cols.iter().map(|col| col + 1).collect();
        Wiring {
            n_slices: 1,
            plus_rows: rows.into(),
            minus_rows: rows.into(),
            plus_cols: cols.into(),
            minus_cols,
            minus_array: None,
        }
    }

    #[test]
    fn no_cell_is_claimed_twice() {
        // No memory could hold a flag for every cell of such an array.
        let size = ArraySize { n_rows: 1 << 40, n_cols: 1 << 40, count: None };
        let mut cells = CellUse::default();
        let mut claim =
            |array, rows, cols| cells.claim(ArrayId::new(array), &wiring(rows, cols), size);
        claim(0, [0, 1], [4, 0]).unwrap();
        claim(0, [0, 1], [2, 6]).unwrap();
        claim(0, [2, 3], [0, 4]).unwrap();
        claim(1, [0, 1], [0, 4]).unwrap();
        let message = claim(0, [7, 3], [8, 4]).unwrap_err();
        assert_eq!(message, "uses the cell at row 3, column 4 twice");
        assert!(claim(2, [5, 5], [0, 2]).is_err(), "a word line for two matrix rows");
        assert!(claim(3, [0, 1], [0, 1]).is_err(), "pairs that share a cell");
    }
}
