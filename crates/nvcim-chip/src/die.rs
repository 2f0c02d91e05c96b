//! What can be done with a die: the trait that the simulator and a bench both implement.
//!
//! Corrections see a die only through this trait, so that nothing hidden can leak into a result and the
//! same code runs on silicon. Currents never appear: a die answers with clipped ADC codes.

use ndarray::{Array2, ArrayView2};
use nvcim_ir::diag::Result;
use nvcim_ir::ids::ArrayId;
use nvcim_ir::tiled::AdcRange;

/// One conversion of a matrix-vector product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    /// The bit line whose current counts positively; its converter is the one used.
    pub col: u32,
    /// The bit line whose current is subtracted before the converter, where the chip can do that.
    pub minus_col: Option<u32>,
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
