//! What can be done with a die: the trait that the simulator and a bench both implement.
//!
//! Corrections see a die only through this trait, so that nothing hidden can leak into a result and the
//! same code runs on silicon. Currents never appear: a die answers with clipped ADC codes.

use ndarray::{Array2, ArrayView2, CowArray};
use nvcim_ir::diag::Result;
use nvcim_ir::ids::ArrayId;
use nvcim_ir::programmed::{ProgrammedNet, ProgrammedTile, Targets};
use nvcim_ir::tiled::AdcRange;

use crate::describe::Cell;

/// One conversion of a matrix-vector product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    /// The bit line whose current counts positively; its converter is the one used.
    pub col: u32,
    /// The bit line whose current is subtracted before the converter, where the chip can do that, and its
    /// array, which is driven alike.
    pub minus: Option<(ArrayId, u32)>,
    /// The range of the conversion.
    pub range: AdcRange,
}

/// A die under test.
pub trait Die {
    /// Programs the cells at the crossings of `rows` and `cols` to `targets` (siemens,
    /// `[rows, cols]`). A cell that cannot reach its target is no error.
    fn program(
        &mut self,
        array: ArrayId,
        rows: &[u32],
        cols: &[u32],
        targets: ArrayView2<'_, f32>,
    ) -> Result<()>;

    /// Reads the cells at the crossings of `rows` and `cols`: siemens, `[rows, cols]`, with read noise.
    fn read(&mut self, array: ArrayId, rows: &[u32], cols: &[u32]) -> Result<Array2<f32>>;

    /// Drives `rows` and converts column currents: codes, `[vectors, conversions]`.
    ///
    /// Codes are whole numbers from 0 to the highest one, exact in f32 up to 16 bits. Only a simulation
    /// with an ideal converter answers with unrounded, unclipped ones.
    ///
    /// Where inputs are bit-serial and every slice is converted, the answer is the accumulated code: the
    /// weighted sum of the slices' codes that stands for the current `lo + code LSB` as any other code does
    /// (`docs/chip-format.md` has the formula). It need not be whole, and tells nothing of single slices:
    /// it lies at an end of the range only if all of them do.
    ///
    /// `drives` is `[vectors, rows]`, in units of the DAC's full scale: 0 to 1, or -1 to 1 where the chip
    /// has drivers of either polarity or pairs on rows. The DAC quantises it. All other rows are at rest.
    fn mvm(
        &mut self,
        array: ArrayId,
        rows: &[u32],
        drives: ArrayView2<'_, f32>,
        conversions: &[Conversion],
    ) -> Result<Array2<f32>>;
}

/// Programs every cell of a net, tile by tile, the positive cells of a tile before the negative ones.
///
/// The net must verify against the chip that `cell` is of. An error names the tile and its array.
pub fn program_net(die: &mut dyn Die, net: &ProgrammedNet, cell: &Cell) -> Result<()> {
    for (id, tile) in net.tiles.iter_enumerated() {
        program_tile(die, tile, cell).map_err(|problems| {
            let place = format!("{id} on {}", tile.array);
            problems.into_iter().map(|problem| problem.within(&place)).collect::<Vec<_>>()
        })?;
    }
    Ok(())
}

fn program_tile(die: &mut dyn Die, tile: &ProgrammedTile, cell: &Cell) -> Result<()> {
    let wiring = &tile.wiring;
    let siemens = |levels: &Array2<u16>| levels.mapv(|level| cell.siemens_of(level) as f32);
    let (plus, minus) = match &tile.targets {
        Targets::Levels { plus, minus } => (siemens(plus).into(), siemens(minus).into()),
        Targets::Siemens { plus, minus } => (CowArray::from(plus), CowArray::from(minus)),
    };
    die.program(tile.array, &wiring.plus_rows, &wiring.plus_cols, plus.view())?;
    if wiring.is_paired() {
        let minus_array = wiring.minus_array(tile.array);
        die.program(minus_array, &wiring.minus_rows, &wiring.minus_cols, minus.view())?;
    }
    Ok(())
}
