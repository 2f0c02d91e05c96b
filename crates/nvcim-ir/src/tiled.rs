//! The network cut into tiles that fit arrays, with calibrated ranges: what mapping hands to correction.
//!
//! Notation, used by every later stage. A layer computes `z = W^T x + bias`; its matrix `W` has `n_rows`
//! input rows and `n_cols` output columns. Drives are normalised to the DAC's full scale,
//! `x^ = x / full_scale`, and currents to one cell at `g_max` under a full-scale drive, so that a column
//! reads `y = sum x^ (g+ - g-) / g_max`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::ops::Range;

use ndarray::{ArcArray, Array2, Ix3, s};

use crate::diag::{Diagnostic, Result, fail_if_any};
use crate::finite::are_finite;
use crate::ids::{ArrayId, Id, IdVec, LayerId, TileId};
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
    /// unless the layer is a grouped convolution. In any memory order, since it may be the graph's constant
    /// turned round: cloning and lowering copy no weight.
    pub blocks: ArcArray<f32, Ix3>,
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
    let mut cells = CellUse::new(size);
    let refuse = |id: TileId, message| {
        Diagnostic::internal(format!("{id} on {}", net.tiles[id].array), message)
    };
    for (id, tile) in net.tiles.iter_enumerated() {
        let shape = shapes.get(tile.layer).copied();
        let ranges = (tile.rows.clone(), tile.cols.clone());
        let checked = check_block(shape, &ranges, &tile.wiring, &tile.readouts, size)
            .and_then(|()| cells.claim(id, tile.array, &tile.wiring));
        if let Err(message) = checked {
            problems.push(refuse(id, message));
        }
    }
    problems.extend(cells.find_conflicts().into_iter().map(|(id, message)| refuse(id, message)));
    fail_if_any(problems)
}

fn check_layer(
    net: &TiledNet,
    id: LayerId,
    layer: &MatrixLayer,
) -> std::result::Result<(), String> {
    if !(are_finite(&layer.blocks) && layer.bias.iter().all(|value| value.is_finite())) {
        return Err("has a weight or bias that is not finite".into());
    }
    let full_scale = ("full_scale", &layer.input.full_scale);
    for (name, value) in layer.ranges.iter().map(|it| ("range", it)).chain([full_scale]) {
        if !(value.is_finite() && *value > 0.0) {
            return Err(format!("has {name} {value}, must be positive and finite"));
        }
    }
    let n_cols = layer.shape().n_cols;
    if layer.ranges.len() != n_cols {
        return Err(format!("has {} ranges for {n_cols} columns", layer.ranges.len()));
    }
    if layer.bias.len() != n_cols {
        return Err(format!("has {} biases for {n_cols} outputs", layer.bias.len()));
    }
    let tiles = net.tiles.iter().filter(|tile| tile.layer == id);
    check_cover(layer, tiles.map(|tile| (&tile.rows, &tile.cols)).collect())
}

/// Rows and columns of a rectangle.
type Rectangle<'a> = (&'a Range<usize>, &'a Range<usize>);

/// Checks that rectangles lie in a layer's matrix, do not overlap, and leave out no weight but zeros.
fn check_cover(
    layer: &MatrixLayer,
    mut tiles: Vec<Rectangle<'_>>,
) -> std::result::Result<(), String> {
    let LayerShape { n_rows, n_cols } = layer.shape();
    if let Some((rows, cols)) = tiles.iter().find(|it| it.0.end > n_rows || it.1.end > n_cols) {
        return Err(format!("is cut at {rows:?} x {cols:?}, outside"));
    }
    tiles.sort_unstable_by_key(|(rows, cols)| (rows.start, cols.start));
    if let Some((rows, cols)) = find_overlap(&tiles) {
        return Err(format!("has another tile on part of {rows:?} x {cols:?}"));
    }
    let (_, block_rows, block_cols) = layer.blocks.dim();
    let meet = |a: &Range<usize>, b: &Range<usize>| a.start.max(b.start)..a.end.min(b.end);
    for (group, block) in layer.blocks.outer_iter().enumerate() {
        let rows = group * block_rows..(group + 1) * block_rows;
        let cols = group * block_cols..(group + 1) * block_cols;
        let parts = tiles.iter().map(|it| (meet(it.0, &rows), meet(it.1, &cols)));
        let parts: Vec<_> =
            parts.filter(|(rows, cols)| !(rows.is_empty() || cols.is_empty())).collect();
        let covered: usize = parts.iter().map(|(rows, cols)| rows.len() * cols.len()).sum();
        if covered == block.len() {
            continue;
        }
        let mut left = block.to_owned();
        for (part_rows, part_cols) in parts {
            let (top, side) = (part_rows.start - rows.start, part_cols.start - cols.start);
            left.slice_mut(s![top..top + part_rows.len(), side..side + part_cols.len()]).fill(0.0);
        }
        if let Some(((row, col), _)) = left.indexed_iter().find(|(_, weight)| **weight != 0.0) {
            let (row, col) = (rows.start + row, cols.start + col);
            return Err(format!("does not have the weight of row {row}, column {col} on a tile"));
        }
    }
    Ok(())
}

/// A rectangle that meets another; `tiles` are sorted by first row.
///
/// A line sweeps over the rows. What it crosses is disjoint in columns, so that a new rectangle can only meet the
/// one that begins last before its end.
fn find_overlap<'a>(tiles: &[Rectangle<'a>]) -> Option<Rectangle<'a>> {
    let mut crossed: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ends = BinaryHeap::new();
    for &(rows, cols) in tiles {
        while let Some(&Reverse((end, col))) = ends.peek()
            && end <= rows.start
        {
            crossed.remove(&col);
            ends.pop();
        }
        let before = crossed.range(..cols.end).next_back();
        if before.is_some_and(|(_, &end)| end > cols.start) {
            return Some((rows, cols));
        }
        crossed.insert(cols.start, cols.end);
        ends.push(Reverse((rows.end, cols.start)));
    }
    None
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

/// The cells that tiles claim, by array.
///
/// Takes memory for tiles, and for the cells of one array at a time: a file may speak of arrays of any size.
pub(crate) struct CellUse<'w> {
    size: ArraySize,
    claims: BTreeMap<ArrayId, Vec<Claim<'w>>>,
}

/// The cells of a tile where word lines and bit lines cross.
struct Claim<'w> {
    tile: TileId,
    rows: &'w [u32],
    cols: &'w [u32],
}

/// 64 neighbouring bit lines: the number of the first over 64, and one bit for each that is taken.
type LineWord = (u32, u64);

impl<'w> CellUse<'w> {
    /// No claim on arrays of this size.
    pub(crate) fn new(size: ArraySize) -> Self {
        Self { size, claims: BTreeMap::new() }
    }

    /// Notes a tile's cells, the positive ones on `array`; an error if an array is not there.
    pub(crate) fn claim(
        &mut self,
        tile: TileId,
        array: ArrayId,
        wiring: &'w Wiring,
    ) -> std::result::Result<(), String> {
        for (array, rows, cols) in wiring.sides(array) {
            if let Some(count) = self.size.count.filter(|&count| array.index() >= count) {
                return Err(format!("sits on {array}, but the chip has {count} arrays"));
            }
            self.claims.entry(array).or_default().push(Claim { tile, rows, cols });
        }
        Ok(())
    }

    /// The tiles that claim a cell which is taken, or claim one twice.
    pub(crate) fn find_conflicts(&self) -> BTreeMap<TileId, String> {
        let mut conflicts = BTreeMap::new();
        for claims in self.claims.values() {
            // The bit lines taken of each word line, ascending.
            let mut taken: BTreeMap<u32, Vec<LineWord>> = BTreeMap::new();
            for claim in claims {
                if let Err(message) = claim.take(&mut taken) {
                    conflicts.entry(claim.tile).or_insert(message);
                }
            }
        }
        conflicts
    }
}

impl Claim<'_> {
    fn take(&self, taken: &mut BTreeMap<u32, Vec<LineWord>>) -> std::result::Result<(), String> {
        let mut lines = Vec::new();
        let first = self.rows.first().copied().unwrap_or(0);
        for &col in self.cols {
            take_lines(&mut lines, (col / 64, 1 << (col % 64)), first)?;
        }
        for &row in self.rows {
            let taken = taken.entry(row).or_default();
            for &word in &lines {
                take_lines(taken, word, row)?;
            }
        }
        Ok(())
    }
}

/// Takes the lines of one word among those of word line `row`; an error where one is taken.
fn take_lines(
    taken: &mut Vec<LineWord>,
    (at, lines): LineWord,
    row: u32,
) -> std::result::Result<(), String> {
    // Most claims go on where the last one ended.
    let place = match taken.last() {
        Some((last, _)) if *last < at => Err(taken.len()),
        _ => taken.binary_search_by_key(&at, |word| word.0),
    };
    match place {
        Ok(place) => {
            let twice = taken[place].1 & lines;
            if twice != 0 {
                let col = u64::from(at) * 64 + u64::from(twice.trailing_zeros());
                return Err(format!("uses the cell at row {row}, column {col} twice"));
            }
            taken[place].1 |= lines;
        }
        Err(place) => taken.insert(place, (at, lines)),
    }
    Ok(())
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
    use std::ops::Range;

    use ndarray::Array3;

    use super::{ArraySize, CellUse, InputCoding, MatrixLayer, Wiring, check_cover};
    use crate::ids::{ArrayId, Id, TileId};

    /// Two blocks of 3x2 on the diagonal of a 6x4 matrix, with a zero in the corner of the second.
    fn two_blocks() -> MatrixLayer {
        let mut blocks = Array3::ones((2, 3, 2));
        blocks[(1, 2, 1)] = 0.0;
        MatrixLayer {
            name: "l".into(),
            blocks: blocks.into_shared(),
            bias: vec![0.0; 4],
            input: InputCoding { full_scale: 1.0, signed: false },
            ranges: vec![1.0; 4],
        }
    }

    #[test]
    fn every_weight_but_zeros_lies_on_one_tile() {
        let check = |tiles: &[(Range<usize>, Range<usize>)]| {
            check_cover(&two_blocks(), tiles.iter().map(|(rows, cols)| (rows, cols)).collect())
        };
        check(&[(0..6, 0..4)]).unwrap();
        check(&[(3..6, 2..4), (0..3, 0..2)]).unwrap();
        check(&[(0..2, 0..4), (2..6, 0..3), (2..5, 3..4)]).unwrap();
        let overlap = check(&[(0..6, 0..2), (2..6, 1..4), (0..2, 2..4)]).unwrap_err();
        assert!(overlap.contains("another tile"), "{overlap}");
        let missing = check(&[(0..3, 0..2), (3..6, 2..3)]).unwrap_err();
        assert_eq!(missing, "does not have the weight of row 3, column 3 on a tile");
        assert!(check(&[(0..6, 0..5)]).is_err());
    }

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
        let size = ArraySize { n_rows: 1 << 40, n_cols: 1 << 40, count: Some(4) };
        let tiles = [
            (0, wiring([0, 1], [4, 0])),
            (0, wiring([0, 1], [2, 6])),
            (0, wiring([2, 3], [0, 4])),
            (1, wiring([0, 1], [0, 4])),
            (0, wiring([7, 3], [8, 4])),
            (2, wiring([5, 5], [0, 2])),
            (3, wiring([0, 1], [0, 1])),
        ];
        let mut cells = CellUse::new(size);
        for (at, (array, wiring)) in tiles.iter().enumerate() {
            cells.claim(TileId::new(at), ArrayId::new(*array), wiring).unwrap();
        }
        assert!(cells.claim(TileId::new(7), ArrayId::new(4), &tiles[0].1).is_err());
        let conflicts = cells.find_conflicts();
        // The first four share nothing; the next meets the third, the others themselves: a word line for two
        // matrix rows, and pairs that share a cell.
        assert_eq!(conflicts.keys().map(|id| id.index()).collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(conflicts[&TileId::new(4)], "uses the cell at row 3, column 4 twice");
    }
}
