//! The value of a constant: floats, which the graph will share, or anything else as tract holds it.

use std::sync::Arc;

use ndarray::{ArcArray, IxDyn};
use tract_onnx::prelude::{Datum, DatumType, Tensor};

/// 32-bit floats of any shape. Cloning shares them.
pub(crate) type Floats = ArcArray<f32, IxDyn>;

/// A value that does not depend on the network's input. Cloning shares it.
///
/// Weights are floats and most of a file, so that they are held as the graph holds them, once from the file's
/// bytes to the matrices of the mapping. tract gets a copy of the few whose values it needs.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// 32-bit floats, in row-major order.
    Floats(Floats),
    /// Elements of another type.
    Other(Arc<Tensor>),
}

impl Data {
    /// What tract has computed.
    pub(crate) fn from_tensor(tensor: &Arc<Tensor>) -> Self {
        match tensor.to_plain_array_view::<f32>() {
            Ok(floats) => Self::Floats(floats.to_owned().into_shared()),
            Err(_) => Self::Other(tensor.clone()),
        }
    }

    /// A copy for tract.
    pub(crate) fn to_tensor(&self) -> Arc<Tensor> {
        match self {
            Self::Floats(floats) => Tensor::from(floats.to_owned()).into(),
            Self::Other(tensor) => tensor.clone(),
        }
    }

    /// The lengths of the axes.
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Floats(floats) => floats.shape(),
            Self::Other(tensor) => tensor.shape(),
        }
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Other(tensor) => tensor.len(),
        }
    }

    /// The type of the elements.
    pub(crate) fn datum_type(&self) -> DatumType {
        match self {
            Self::Floats(_) => f32::datum_type(),
            Self::Other(tensor) => tensor.datum_type(),
        }
    }

    /// The integers, in row-major order; `None` for elements of another kind.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Self::Other(tensor) if tensor.datum_type().is_integer() => {
                let ints = tensor.cast_to::<i64>().ok()?;
                Some(ints.to_plain_array_view::<i64>().ok()?.iter().copied().collect())
            }
            _ => None,
        }
    }

    /// The elements as floats; `None` where they are no numbers or truth values.
    pub(crate) fn numbers(&self) -> Option<Floats> {
        match self {
            Self::Floats(floats) => Some(floats.clone()),
            Self::Other(tensor) => {
                let floats = tensor.cast_to::<f32>().ok()?;
                Some(floats.to_plain_array_view::<f32>().ok()?.to_owned().into_shared())
            }
        }
    }
}

/// The name that ONNX has for a type of elements.
pub(crate) fn name_type(datum: DatumType) -> String {
    let name = match datum {
        DatumType::Bool => "bool",
        DatumType::U8 => "uint8",
        DatumType::U16 => "uint16",
        DatumType::U32 => "uint32",
        DatumType::U64 => "uint64",
        DatumType::I8 => "int8",
        DatumType::I16 => "int16",
        DatumType::I32 => "int32",
        DatumType::I64 => "int64",
        DatumType::F16 => "float16",
        DatumType::F32 => "float",
        DatumType::F64 => "double",
        DatumType::String => "string",
        _ => "unknown",
    };
    name.into()
}

impl From<Tensor> for Data {
    fn from(tensor: Tensor) -> Self {
        Self::from_tensor(&tensor.into())
    }
}
