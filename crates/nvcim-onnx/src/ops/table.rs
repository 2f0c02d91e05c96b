//! The table of operators that run: what the import looks up and `docs/operators.md` prints.

use super::{
    Converter, arithmetic, conv, conv_transpose, dense, elementwise, layout, logic, norm, pad,
    pool, quantize, recurrent, reduce, resize, select, slice, softmax,
};

/// Where an operator runs on a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// As matrices on arrays.
    Arrays,
    /// In the digital part.
    Digital,
    /// On arrays with a constant operand, else digital.
    Either,
}

/// An operator of the standard domain.
pub(crate) struct Operator {
    /// Its name in the standard.
    pub(crate) name: &'static str,
    /// The first operator set accepted here that holds it.
    pub(crate) since: i64,
    /// Where it runs.
    pub(crate) place: Place,
    /// What of it runs, where that is not all.
    pub(crate) limits: &'static str,
    /// What makes nodes of it.
    pub(crate) converter: Converter,
}

const fn operator(
    name: &'static str,
    since: i64,
    place: Place,
    converter: Converter,
    limits: &'static str,
) -> Operator {
    Operator { name, since, place, limits, converter }
}

use Place::{Arrays, Digital, Either};

/// What of recurrent operators runs.
const RECURRENT: &str = "unrolled over a sequence of fixed length: constant weights on arrays, gates digital; no \
                         `sequence_lens` but the full one";

/// Every operator that runs, by name.
pub(crate) const OPERATORS: &[Operator] = &[
    operator("Abs", 7, Digital, elementwise::convert_unary, ""),
    operator(
        "Add",
        7,
        Digital,
        arithmetic::convert_binary,
        "a constant per channel folds into the matrix beside it",
    ),
    operator("And", 7, Digital, logic::convert_connective, "truth values are 0 and 1"),
    operator("ArgMax", 7, Digital, logic::convert_arg, "any axis but the batch"),
    operator("ArgMin", 7, Digital, logic::convert_arg, "any axis but the batch"),
    operator(
        "AveragePool",
        7,
        Digital,
        pool::convert_average_pool,
        "one or two spatial axes, no indices",
    ),
    operator(
        "BatchNormalization",
        7,
        Digital,
        norm::convert_batch_norm,
        "inference form; folds into the matrix beside it",
    ),
    operator(
        "Cast",
        7,
        Digital,
        layout::convert_cast,
        "between 32-bit floats, 32- and 64-bit integers and truth values; any on constants",
    ),
    operator("Ceil", 7, Digital, elementwise::convert_unary, ""),
    operator("Celu", 12, Digital, elementwise::convert_unary, ""),
    operator("Clip", 7, Digital, elementwise::convert_clip, "constant bounds"),
    operator("Concat", 7, Digital, layout::convert_concat, "any axis but the batch"),
    operator(
        "Conv",
        7,
        Arrays,
        conv::convert_conv,
        "one to three spatial axes, constant weight; a group is a block",
    ),
    operator(
        "ConvTranspose",
        7,
        Arrays,
        conv_transpose::convert_conv_transpose,
        "one or two spatial axes, constant weight; a convolution over an input with zeros between",
    ),
    operator("Cos", 7, Digital, elementwise::convert_unary, ""),
    operator("CumSum", 11, Digital, logic::convert_cum_sum, "constant axis, any but the batch"),
    operator("DepthToSpace", 7, Digital, select::convert_blocks, ""),
    operator(
        "DequantizeLinear",
        10,
        Digital,
        quantize::convert_dequantize,
        "of 8-bit integers, per tensor or per channel; of a constant, computed",
    ),
    operator(
        "Div",
        7,
        Digital,
        arithmetic::convert_binary,
        "a constant per channel folds into the matrix beside it",
    ),
    operator("Dropout", 7, Digital, layout::convert_identity, "inference form; vanishes"),
    operator("Elu", 7, Digital, elementwise::convert_unary, ""),
    operator("Equal", 7, Digital, logic::convert_comparison, "truth values are 0 and 1"),
    operator("Erf", 9, Digital, elementwise::convert_unary, ""),
    operator("Exp", 7, Digital, elementwise::convert_unary, ""),
    operator("Expand", 8, Digital, select::convert_expand, "constant shape"),
    operator("Flatten", 7, Digital, layout::convert_reshape, "the batch stays axis 0"),
    operator("Floor", 7, Digital, elementwise::convert_unary, ""),
    operator("GRU", 7, Either, recurrent::convert_recurrent, RECURRENT),
    operator(
        "Gather",
        7,
        Digital,
        select::convert_gather,
        "constant indices, any axis but the batch; or a constant table by computed numbers",
    ),
    operator("Gelu", 20, Digital, elementwise::convert_unary, ""),
    operator("Gemm", 7, Arrays, dense::convert_gemm, "constant matrix and bias"),
    operator("GlobalAveragePool", 7, Digital, pool::convert_global_pool, ""),
    operator("GlobalMaxPool", 7, Digital, pool::convert_global_pool, ""),
    operator("Greater", 7, Digital, logic::convert_comparison, "truth values are 0 and 1"),
    operator("GreaterOrEqual", 12, Digital, logic::convert_comparison, "truth values are 0 and 1"),
    operator(
        "GroupNormalization",
        18,
        Digital,
        norm::convert_group_norm,
        "constant scale and bias",
    ),
    operator(
        "HardSigmoid",
        7,
        Digital,
        elementwise::convert_composed,
        "written with other element-wise functions",
    ),
    operator("HardSwish", 14, Digital, elementwise::convert_unary, ""),
    operator("Identity", 7, Digital, layout::convert_identity, "inference form; vanishes"),
    operator(
        "InstanceNormalization",
        7,
        Digital,
        norm::convert_group_norm,
        "constant scale and bias",
    ),
    operator("LSTM", 7, Either, recurrent::convert_recurrent, RECURRENT),
    operator("LayerNormalization", 17, Digital, norm::convert_layer_norm, "no further outputs"),
    operator("LeakyRelu", 7, Digital, elementwise::convert_unary, ""),
    operator("Less", 7, Digital, logic::convert_comparison, "truth values are 0 and 1"),
    operator("LessOrEqual", 12, Digital, logic::convert_comparison, "truth values are 0 and 1"),
    operator("Log", 7, Digital, elementwise::convert_unary, ""),
    operator("LogSoftmax", 7, Digital, softmax::convert_softmax, "any axis but the batch"),
    operator(
        "MatMul",
        7,
        Either,
        dense::convert_matmul,
        "on arrays with a constant matrix, digital between two tensors",
    ),
    operator("Max", 7, Digital, arithmetic::convert_variadic, ""),
    operator("MaxPool", 7, Digital, pool::convert_max_pool, "one or two spatial axes, no indices"),
    operator("Mean", 7, Digital, arithmetic::convert_variadic, ""),
    operator("Min", 7, Digital, arithmetic::convert_variadic, ""),
    operator(
        "Mish",
        18,
        Digital,
        elementwise::convert_composed,
        "written with other element-wise functions",
    ),
    operator(
        "Mul",
        7,
        Digital,
        arithmetic::convert_binary,
        "a constant per channel folds into the matrix beside it",
    ),
    operator(
        "Neg",
        7,
        Digital,
        elementwise::convert_composed,
        "written with other element-wise functions",
    ),
    operator("Not", 7, Digital, logic::convert_not, "truth values are 0 and 1"),
    operator("Or", 7, Digital, logic::convert_connective, "truth values are 0 and 1"),
    operator("PRelu", 7, Digital, elementwise::convert_prelu, ""),
    operator("Pad", 7, Digital, pad::convert_pad, "with a constant"),
    operator("Pow", 7, Digital, arithmetic::convert_binary, ""),
    operator(
        "QuantizeLinear",
        10,
        Digital,
        quantize::convert_quantize,
        "to 8-bit integers, per tensor or per channel",
    ),
    operator("RMSNormalization", 23, Digital, norm::convert_layer_norm, "no further outputs"),
    operator("RNN", 7, Either, recurrent::convert_recurrent, RECURRENT),
    operator(
        "Reciprocal",
        7,
        Digital,
        elementwise::convert_composed,
        "written with other element-wise functions",
    ),
    operator("ReduceL1", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceL2", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceLogSum", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceLogSumExp", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceMax", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceMean", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceMin", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceProd", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceSum", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("ReduceSumSquare", 7, Digital, reduce::convert_reduce, "any axes but the batch"),
    operator("Relu", 7, Digital, elementwise::convert_unary, ""),
    operator("Reshape", 7, Digital, layout::convert_reshape, "the batch stays axis 0"),
    operator(
        "Resize",
        10,
        Digital,
        resize::convert_resize,
        "nearest, linear, cubic; no `antialias`, no crop, no kept aspect ratio",
    ),
    operator("Round", 11, Digital, elementwise::convert_unary, ""),
    operator("Selu", 7, Digital, elementwise::convert_unary, ""),
    operator("Sigmoid", 7, Digital, elementwise::convert_unary, ""),
    operator("Sign", 9, Digital, elementwise::convert_unary, ""),
    operator("Sin", 7, Digital, elementwise::convert_unary, ""),
    operator("Slice", 7, Digital, slice::convert_slice, "any axes but the batch"),
    operator("Softmax", 7, Digital, softmax::convert_softmax, "any axis but the batch"),
    operator("Softplus", 7, Digital, elementwise::convert_unary, ""),
    operator(
        "Softsign",
        7,
        Digital,
        elementwise::convert_composed,
        "written with other element-wise functions",
    ),
    operator("SpaceToDepth", 7, Digital, select::convert_blocks, ""),
    operator("Split", 7, Digital, select::convert_split, "any axis but the batch"),
    operator("Sqrt", 7, Digital, elementwise::convert_unary, ""),
    operator("Squeeze", 7, Digital, layout::convert_reshape, "the batch stays axis 0"),
    operator(
        "Sub",
        7,
        Digital,
        arithmetic::convert_binary,
        "a constant per channel folds into the matrix beside it",
    ),
    operator("Sum", 7, Digital, arithmetic::convert_variadic, ""),
    operator(
        "Swish",
        24,
        Digital,
        elementwise::convert_composed,
        "written with other element-wise functions",
    ),
    operator("Tanh", 7, Digital, elementwise::convert_unary, ""),
    operator("Tile", 7, Digital, select::convert_tile, "constant counts, any axes but the batch"),
    operator("Transpose", 7, Digital, layout::convert_transpose, "the batch stays axis 0"),
    operator("Trilu", 14, Digital, select::convert_trilu, "constant diagonal, axes but the batch"),
    operator("Unsqueeze", 7, Digital, layout::convert_reshape, "the batch stays axis 0"),
    operator(
        "Upsample",
        7,
        Digital,
        resize::convert_resize,
        "nearest, linear, cubic; no `antialias`, no crop, no kept aspect ratio",
    ),
    operator("Where", 9, Digital, arithmetic::convert_where, ""),
    operator("Xor", 7, Digital, logic::convert_connective, "truth values are 0 and 1"),
];
