//! The operators that can run: one converter per ONNX operator, one file per family.

mod arithmetic;
mod conv;
mod dense;
mod elementwise;
mod layout;
mod norm;
mod pad;
mod pool;
mod reduce;
mod slice;
mod softmax;
mod spatial;

use crate::refusal::Refusal;
use crate::site::{Converted, Site};

/// Converts one node; the site holds what it may ask.
pub(crate) type Converter = fn(Site<'_>) -> Result<Converted, Refusal>;

/// The converter of an operator of the standard domain, if it can run.
pub(crate) fn find_converter(op_type: &str) -> Option<Converter> {
    Some(match op_type {
        "Add" | "Sub" | "Mul" | "Div" => arithmetic::convert_binary,
        "AveragePool" => pool::convert_average_pool,
        "BatchNormalization" => norm::convert_batch_norm,
        "Cast" => layout::convert_cast,
        "Clip" => elementwise::convert_clip,
        "Concat" => layout::convert_concat,
        "Conv" => conv::convert_conv,
        "Dropout" | "Identity" => layout::convert_identity,
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => layout::convert_reshape,
        "Gemm" => dense::convert_gemm,
        "GlobalAveragePool" => pool::convert_global_average_pool,
        "HardSwish" | "LeakyRelu" | "Relu" | "Sigmoid" | "Tanh" => elementwise::convert_unary,
        "LogSoftmax" | "Softmax" => softmax::convert_softmax,
        "MatMul" => dense::convert_matmul,
        "MaxPool" => pool::convert_max_pool,
        "Pad" => pad::convert_pad,
        "ReduceMean" => reduce::convert_reduce_mean,
        "Slice" => slice::convert_slice,
        "Transpose" => layout::convert_transpose,
        _ => return None,
    })
}

/// Why an operator without a converter is refused, with the remedy that fits it.
pub(crate) fn refuse_operator(op_type: &str) -> Refusal {
    let hint = match op_type {
        "QuantizeLinear"
        | "DequantizeLinear"
        | "Round"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => {
            "export the float network: quantisation is fitted to the chip here"
        }
        "LSTM" | "GRU" | "RNN" | "Loop" | "If" | "Scan" => {
            "unroll the network: only feed-forward operators run here"
        }
        "Exp" | "NonMaxSuppression" | "TopK" | "ArgMax" => {
            "cut the network before it and do this step outside"
        }
        "GlobalMaxPool" => "export it as a MaxPool over the whole image",
        _ => "rewrite it with Conv, Gemm, element-wise and pooling operators, or cut it off",
    };
    Refusal::unsupported(format!("is operator `{op_type}`, which cannot run here"), hint)
}
