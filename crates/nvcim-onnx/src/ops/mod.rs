//! The operators that can run: one converter per ONNX operator, one file per family.

mod arithmetic;
mod conv;
mod dense;
mod elementwise;
mod layout;
mod norm;
mod pad;
mod pool;
mod quantize;
mod reduce;
mod select;
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
        "Abs" | "Celu" | "Ceil" | "Cos" | "Elu" | "Erf" | "Exp" | "Floor" | "Gelu"
        | "HardSwish" | "LeakyRelu" | "Log" | "Relu" | "Round" | "Selu" | "Sigmoid" | "Sign"
        | "Sin" | "Softplus" | "Sqrt" | "Tanh" => elementwise::convert_unary,
        "HardSigmoid" | "Mish" | "Neg" | "Reciprocal" | "Softsign" | "Swish" => {
            elementwise::convert_composed
        }
        "PRelu" => elementwise::convert_prelu,
        "Add" | "Div" | "Mul" | "Pow" | "Sub" => arithmetic::convert_binary,
        "Max" | "Mean" | "Min" | "Sum" => arithmetic::convert_variadic,
        "Where" => arithmetic::convert_where,
        "AveragePool" => pool::convert_average_pool,
        "BatchNormalization" => norm::convert_batch_norm,
        "Cast" => layout::convert_cast,
        "Clip" => elementwise::convert_clip,
        "Concat" => layout::convert_concat,
        "Conv" => conv::convert_conv,
        "DepthToSpace" | "SpaceToDepth" => select::convert_blocks,
        "Expand" => select::convert_expand,
        "Gather" => select::convert_gather,
        "Split" => select::convert_split,
        "Tile" => select::convert_tile,
        "DequantizeLinear" => quantize::convert_dequantize,
        "QuantizeLinear" => quantize::convert_quantize,
        "Dropout" | "Identity" => layout::convert_identity,
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => layout::convert_reshape,
        "Gemm" => dense::convert_gemm,
        "GlobalAveragePool" | "GlobalMaxPool" => pool::convert_global_pool,
        "LogSoftmax" | "Softmax" => softmax::convert_softmax,
        "MatMul" => dense::convert_matmul,
        "MaxPool" => pool::convert_max_pool,
        "Pad" => pad::convert_pad,
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            reduce::convert_reduce
        }
        "Slice" => slice::convert_slice,
        "Transpose" => layout::convert_transpose,
        _ => return None,
    })
}

/// Whether outputs of the operator behind the first can be read.
pub(crate) fn has_several_outputs(op_type: &str) -> bool {
    op_type == "Split"
}

/// Why an operator without a converter is refused, with the remedy that fits it.
pub(crate) fn refuse_operator(op_type: &str) -> Refusal {
    let hint = match op_type {
        "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "MatMulInteger"
        | "DynamicQuantizeLinear" => {
            "export the quantised network with QuantizeLinear and DequantizeLinear (QDQ), or the float network"
        }
        "LSTM" | "GRU" | "RNN" | "Loop" | "If" | "Scan" => {
            "unroll the network: only feed-forward operators run here"
        }
        "NonMaxSuppression" | "TopK" | "ArgMax" => {
            "cut the network before it and do this step outside"
        }
        _ => "rewrite it with Conv, Gemm, element-wise and pooling operators, or cut it off",
    };
    Refusal::unsupported(format!("is operator `{op_type}`, which cannot run here"), hint)
}
