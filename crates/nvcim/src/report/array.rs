//! One array close up: where its stuck cells are, and the conductances that its cells are told.

use std::collections::{BTreeMap, BTreeSet};

use nvcim_chip::describe::{Cell, Chip};
use nvcim_chip::record::{DieRecord, StuckCell};
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile, Targets};

use super::Page;
use super::footprint::{Rectangle, count_cells, count_stuck_weights, outline};
use super::html::{code, legend, paragraph, section};
use super::number::{count, counted, siemens};
use crate::chips::describe_weights;

/// Most word lines and bit lines drawn: what keeps the page small and a cell visible.
const WINDOW: (u32, u32) = (128, 256);

/// Width of the drawing of rows, in word lines.
const ROWS_WIDTH: u32 = 60;

/// Shades of conductance, from the lowest, which is not drawn, to the highest.
const N_SHADES: usize = 9;

pub(super) fn write(page: &Page<'_>, die: Option<&DieRecord>) -> String {
    let net = &page.image().net;
    let Some((array, tiles)) = choose_array(net) else { return String::new() };
    let rectangles: Vec<Rectangle> =
        tiles.iter().flat_map(|tile| outline(&tile.wiring, tile.array, array, 1)).collect();
    let Some(used) = Rectangle::round(&rectangles) else { return String::new() };
    let stuck = die.and_then(|die| die.arrays.get(array)).map_or(&[][..], |it| &it.stuck);
    let view = View { chip: page.chip, array, stuck };

    let mut body = paragraph(&view.describe(net, array, &tiles, die));
    body += &view.explain_colours();
    body += "<div class=\"pair\">\n";
    if !stuck.is_empty() {
        body += &view.draw_faults(used);
    }
    body += &view.draw_targets(&tiles, used);
    body += &draw_rows(&tiles, array, used);
    body += "</div>\n";
    section("array", "One array close up", &body)
}

/// The array with most cells in use, the first of equals, and its tiles.
fn choose_array(net: &ProgrammedNet) -> Option<(ArrayId, Vec<&ProgrammedTile>)> {
    let mut by_array: BTreeMap<ArrayId, Vec<&ProgrammedTile>> = BTreeMap::new();
    for tile in &net.tiles {
        for array in BTreeSet::from(tile.wiring.sides(tile.array).map(|side| side.0)) {
            by_array.entry(array).or_default().push(tile);
        }
    }
    let cells = |(array, tiles): &(ArrayId, Vec<&ProgrammedTile>)| -> usize {
        tiles.iter().map(|tile| count_cells(&tile.wiring, tile.array, *array)).sum()
    };
    // `max_by_key` keeps the last of equals.
    by_array.into_iter().rev().max_by_key(cells)
}

/// An array as it is drawn.
struct View<'a> {
    chip: &'a Chip,
    array: ArrayId,
    stuck: &'a [StuckCell],
}

impl View<'_> {
    fn cell(&self) -> &Cell {
        &self.chip.cell
    }

    /// Whether a stuck cell holds more than the middle of the range.
    fn stuck_high(&self, cell: &StuckCell) -> bool {
        f64::from(cell.g) > (self.cell().g_min + self.cell().g_max) / 2.0
    }

    fn describe(
        &self,
        net: &ProgrammedNet,
        array: ArrayId,
        tiles: &[&ProgrammedTile],
        die: Option<&DieRecord>,
    ) -> String {
        let mut names: Vec<String> =
            tiles.iter().map(|tile| code(&net.layers[tile.layer].name)).collect();
        names.dedup();
        let text = format!(
            "Array {array}, the fullest, holds {}. A weight is {}.",
            names.join(", "),
            describe_weights(self.chip)
        );
        let Some(die) = die else {
            return text + " The page does not have the fault map of its die.";
        };
        if self.stuck.is_empty() {
            return format!("{text} On {} it has no known stuck cell.", code(&die.name));
        }
        let high = self.stuck.iter().filter(|cell| self.stuck_high(cell)).count();
        let here = |array| if array == self.array { self.stuck } else { &[] };
        let weights: usize = tiles.iter().map(|tile| count_stuck_weights(tile, here)).sum();
        format!(
            "{text} On {} it has {} of {}: {} low, {} high. {} a stuck cell.",
            code(&die.name),
            counted(self.stuck.len(), "stuck cell", "stuck cells"),
            count(self.chip.arrays.n_rows * self.chip.arrays.n_cols),
            count(self.stuck.len() - high),
            count(high),
            counted(weights, "weight has", "weights have"),
        )
    }

    fn explain_colours(&self) -> String {
        let Cell { g_min, g_max, .. } = *self.cell();
        let shade = |share: f64| siemens(g_min + share * (g_max - g_min));
        let mut entries =
            vec![("g0", format!("target {}", shade(0.0))), ("g4", shade(0.5)), ("g8", shade(1.0))];
        if !self.stuck.is_empty() {
            entries.push(("low", "stuck low".to_owned()));
            entries.push(("high", "stuck high".to_owned()));
        }
        legend(entries)
    }

    /// The whole array with its stuck cells and the part in use.
    fn draw_faults(&self, used: Rectangle) -> String {
        let whole = Rectangle {
            row: 0,
            col: 0,
            n_rows: self.chip.arrays.n_rows as u32,
            n_cols: self.chip.arrays.n_cols as u32,
        };
        let window = crop(whole);
        let frame = clip(used, window);
        let body = format!(
            "<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>{}",
            frame.col,
            frame.row,
            frame.n_cols,
            frame.n_rows,
            self.draw_stuck(window)
        );
        let caption = format!("Fault map of the array{}; framed, the part in use", cropped(whole));
        figure(window, &body, &caption)
    }

    /// The part in use with its targets, and the stuck cells over them.
    fn draw_targets(&self, tiles: &[&ProgrammedTile], used: Rectangle) -> String {
        let window = crop(used);
        let mut shades: Vec<Vec<(u32, u32)>> = vec![Vec::new(); N_SHADES];
        for tile in tiles {
            for (row, col, g) in list_targets(tile, self.array, self.cell()) {
                if window.holds(row, col) {
                    shades[shade_of(g, self.cell())].push((row, col));
                }
            }
        }
        let drawn: String = shades
            .iter_mut()
            .enumerate()
            .skip(1)
            .map(|(shade, cells)| draw_cells(&format!("g{shade}"), cells))
            .collect();
        let caption = format!("Conductance targets of the part in use{}", cropped(used));
        figure(window, &(drawn + &self.draw_stuck(window)), &caption)
    }

    fn draw_stuck(&self, window: Rectangle) -> String {
        let (mut high, mut low): (Vec<&StuckCell>, Vec<&StuckCell>) = self
            .stuck
            .iter()
            .filter(|cell| window.holds(cell.row, cell.col))
            .partition(|cell| self.stuck_high(cell));
        let place = |cells: &mut Vec<&StuckCell>| -> Vec<(u32, u32)> {
            cells.iter().map(|cell| (cell.row, cell.col)).collect()
        };
        draw_cells("low", &mut place(&mut low)) + &draw_cells("high", &mut place(&mut high))
    }
}

/// Which word line each row of the tiles took: from where it would be in the order of the matrix, at the left, to
/// where it is, at the right. Nothing where every row is where it would be.
fn draw_rows(tiles: &[&ProgrammedTile], array: ArrayId, used: Rectangle) -> String {
    let window = crop(used);
    let mut moved = 0;
    let mut drawn = String::new();
    for tile in tiles {
        let [(home, lines, _), _] = tile.wiring.sides(tile.array);
        let mut in_order = lines.to_vec();
        in_order.sort_unstable();
        let inside = |line: &u32| window.holds(*line, window.col);
        for (from, to) in in_order.iter().zip(lines).filter(|_| home == array) {
            if inside(from) && inside(to) {
                moved += usize::from(from != to);
                let class = if from == to { "" } else { " class=\"moved\"" };
                drawn += &format!("<path{class} d=\"M0 {from}.5L{ROWS_WIDTH} {to}.5\"/>");
            }
        }
    }
    if moved == 0 {
        return String::new();
    }
    let Rectangle { row, n_rows, .. } = window;
    format!(
        "<figure><svg class=\"wires\" viewBox=\"0 {row} {ROWS_WIDTH} {n_rows}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"where rows went\">{drawn}</svg><figcaption>Rows of the matrices in their order, \
         left, and the word lines that they took, right: {} elsewhere than in order</figcaption></figure>\n",
        counted(moved, "row sits", "rows sit")
    )
}

/// The first lines of a rectangle, as many as are drawn.
fn crop(all: Rectangle) -> Rectangle {
    Rectangle { n_rows: all.n_rows.min(WINDOW.0), n_cols: all.n_cols.min(WINDOW.1), ..all }
}

/// Says that a rectangle is cropped, if it is.
fn cropped(all: Rectangle) -> String {
    let Rectangle { n_rows, n_cols, .. } = crop(all);
    if (n_rows, n_cols) == (all.n_rows, all.n_cols) {
        return String::new();
    }
    format!(
        " (the first {n_rows} of {} word lines and {n_cols} of {} bit lines)",
        all.n_rows, all.n_cols
    )
}

/// The part of `inner` inside `window`.
fn clip(inner: Rectangle, window: Rectangle) -> Rectangle {
    let span = |first: u32, len: u32, start: u32, room: u32| {
        let from = first.clamp(start, start + room);
        (from, (first + len).clamp(start, start + room) - from)
    };
    let (row, n_rows) = span(inner.row, inner.n_rows, window.row, window.n_rows);
    let (col, n_cols) = span(inner.col, inner.n_cols, window.col, window.n_cols);
    Rectangle { row, col, n_rows, n_cols }
}

/// Word line, bit line and target in siemens of every cell of a tile on `array`.
fn list_targets(tile: &ProgrammedTile, array: ArrayId, cell: &Cell) -> Vec<(u32, u32, f64)> {
    let siemens = match &tile.targets {
        Targets::Levels { plus, minus } => {
            [plus, minus].map(|levels| levels.mapv(|level| cell.siemens_of(level)))
        }
        Targets::Siemens { plus, minus } => [plus, minus].map(|g| g.mapv(f64::from)),
    };
    let sides = tile.wiring.sides(tile.array).into_iter().zip(siemens);
    sides
        .filter(|((on, ..), _)| *on == array)
        .flat_map(|((_, rows, cols), g)| place_all(rows, cols, g))
        .collect()
}

fn place_all(rows: &[u32], cols: &[u32], g: ndarray::Array2<f64>) -> Vec<(u32, u32, f64)> {
    g.indexed_iter().map(|((i, j), &g)| (rows[i], cols[j], g)).collect()
}

fn shade_of(g: f64, cell: &Cell) -> usize {
    let share = ((g - cell.g_min) / cell.range()).clamp(0.0, 1.0);
    (share * (N_SHADES - 1) as f64).round() as usize
}

/// Cells of one class as a single path of horizontal strokes, neighbours along a word line merged.
fn draw_cells(class: &str, cells: &mut [(u32, u32)]) -> String {
    cells.sort_unstable();
    let mut strokes: Vec<(u32, u32, u32)> = Vec::new();
    for &mut (row, col) in cells {
        match strokes.last_mut() {
            Some((last_row, first, len)) if *last_row == row && *first + *len == col => *len += 1,
            _ => strokes.push((row, col, 1)),
        }
    }
    if strokes.is_empty() {
        return String::new();
    }
    let path: String =
        strokes.into_iter().map(|(row, col, len)| format!("M{col} {row}h{len}")).collect();
    // A stroke lies on both sides of its line: half a cell down, it fills its row.
    format!("<path class=\"{class}\" transform=\"translate(0 .5)\" d=\"{path}\"/>")
}

fn figure(window: Rectangle, body: &str, caption: &str) -> String {
    let Rectangle { row, col, n_rows, n_cols } = window;
    format!(
        "<figure><svg class=\"cells\" viewBox=\"{col} {row} {n_cols} {n_rows}\" role=\"img\" \
         aria-label=\"{caption}\"><rect class=\"paper\" x=\"{col}\" y=\"{row}\" width=\"{n_cols}\" \
         height=\"{n_rows}\"/>\n{body}</svg><figcaption>{caption}</figcaption></figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sample, check_markup};
    use super::{Rectangle, WINDOW, choose_array, clip, crop, draw_cells, write};

    #[test]
    fn neighbours_along_a_word_line_are_one_stroke() {
        let drawn = draw_cells("low", &mut [(1, 4), (0, 2), (0, 3), (1, 6), (0, 1)]);
        assert!(drawn.contains("d=\"M1 0h3M4 1h1M6 1h1\""), "{drawn}");
        assert_eq!(draw_cells("low", &mut []), "");
    }

    #[test]
    fn large_arrays_are_cropped() {
        let large = Rectangle { row: 5, col: 7, n_rows: 4096, n_cols: 4096 };
        let window = crop(large);
        assert_eq!((window.n_rows, window.n_cols), WINDOW);
        assert_eq!(clip(large, Rectangle { row: 0, col: 0, n_rows: 10, n_cols: 6 }).n_cols, 0);
        assert_eq!(clip(large, Rectangle { row: 0, col: 0, n_rows: 10, n_cols: 9 }).n_rows, 5);
    }

    #[test]
    fn faults_of_the_last_die_are_drawn_and_counted() {
        let sample = Sample::shared();
        let die = sample.last_die();
        let html = sample.page(|page| write(page, Some(&die)));
        check_markup(&html);
        // The 64x32 pairs of the first dense layer are the most on one array.
        let array = sample.outcome.corrected.image.net.tiles.iter().nth(2).unwrap().array;
        assert!(html.contains(&format!("Array {array}, the fullest, holds <code>fc1</code>.")));
        let n_stuck = die.arrays[array].stuck.len();
        assert!(n_stuck > 100, "{n_stuck} of 32768 cells, at 1 %");
        assert!(html.contains(&format!("it has {n_stuck} stuck cells of")), "{html}");
        assert_eq!(html.matches("<svg").count(), 2);
    }

    #[test]
    fn rows_that_moved_are_drawn_where_they_went() {
        let mut sample = Sample::shared().clone();
        let net = &mut sample.outcome.corrected.image.net;
        let (array, _) = choose_array(net).unwrap();
        for tile in net.tiles.iter_mut().filter(|tile| tile.array == array) {
            tile.wiring.plus_rows.swap(0, 2);
        }
        let html = sample.page(|page| write(page, None));
        check_markup(&html);
        assert!(html.contains("2 rows sit elsewhere than in order"), "{html}");
        assert_eq!(html.matches("class=\"moved\"").count(), 2);
    }

    #[test]
    fn a_die_that_is_not_known_is_said() {
        let html = Sample::shared().page(|page| write(page, None));
        check_markup(&html);
        assert!(html.contains("does not have the fault map"));
        assert_eq!(html.matches("<svg").count(), 1);
    }
}
