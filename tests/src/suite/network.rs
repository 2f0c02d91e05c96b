//! Small networks written as text, for cases that start from a graph.
//!
//! One line is one node: `NAME SHAPE = OP [ARGUMENTS] (OPERANDS)`, the last line `return NAMES`. Shapes
//! are those of one sample and are stated, not inferred, so that a case can state a wrong one:
//!
//! ```text
//! x     1x8x8 = input ()
//! conv1 4x8x8 = conv 4x1x3x3 pad 1 (x)
//! relu1 4x8x8 = relu (conv1)
//! flat  256   = reshape (relu1)
//! fc1   10    = dense 256x10 (flat)
//! return fc1
//! ```
//!
//! Weights follow from the node's name: see [`pseudo_random`]. `as NAME` takes those of another name.

use std::collections::BTreeMap;
use std::str::FromStr;

use ndarray::{ArrayD, IxDyn};
use nvcim_ir::graph::{Constant, Graph, Node};
use nvcim_ir::ids::{ConstId, NodeId};
use nvcim_ir::op::{Binary, Op, Reduction, SliceAxis, Unary, Window};

/// Why a text is no network: a mistake in the case, not in the code under test.
type Mistake = String;

/// Reads a network. The graph is *not* verified.
pub(crate) fn parse_network(text: &str) -> Result<Graph, Mistake> {
    let mut parser = Parser::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let parsed = match line.strip_prefix("return ") {
            Some(names) => parser.operands(names).map(|outputs| parser.graph.outputs = outputs),
            None => parser.add_line(line),
        };
        parsed.map_err(|mistake| format!("`{line}`: {mistake}"))?;
    }
    Ok(parser.graph)
}

/// Numbers from -1 to 1 that depend on `name` alone, in row-major order.
///
/// The generator is SplitMix64, seeded with the name's FNV-1a hash: both short, public, and frozen here,
/// so that expectations do not change with a crate's version.
pub(crate) fn pseudo_random(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        (word >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

#[derive(Default)]
struct Parser {
    graph: Graph,
    names: BTreeMap<String, NodeId>,
}

impl Parser {
    fn add_line(&mut self, line: &str) -> Result<(), Mistake> {
        let (left, right) = line.split_once(" = ").ok_or("reads `NAME SHAPE = OP (OPERANDS)`")?;
        let (name, shape) = left.trim().split_once(' ').ok_or("reads `NAME SHAPE = ...`")?;
        let (call, operands) = right
            .strip_suffix(')')
            .and_then(|right| right.rsplit_once('('))
            .ok_or("ends with operands in brackets")?;
        let shape = numbers(shape.trim())?;
        let mut arguments = Arguments::parse(call)?;
        let op = self.read_op(name, &mut arguments)?;
        arguments.finish()?;
        let operands = self.operands(operands)?;
        let node = Node { name: name.to_owned(), tensor: name.to_owned(), op, shape };
        let id = self.graph.add_node(node, &operands);
        self.names.insert(name.to_owned(), id);
        Ok(())
    }

    fn operands(&self, names: &str) -> Result<Vec<NodeId>, Mistake> {
        let names = names.split(", ").filter(|name| !name.is_empty());
        names
            .map(|name| self.names.get(name).copied().ok_or(format!("`{name}` is no earlier node")))
            .collect()
    }

    fn add_const(&mut self, name: String, value: ArrayD<f32>) -> ConstId {
        self.graph.consts.push(Constant { name, value: value.into_shared() })
    }

    /// A weight: its name's numbers, shrunk so that sums of `fan_in` products stay near 1.
    fn weight(&mut self, name: &str, shape: &[usize], fan_in: usize) -> ConstId {
        let name = format!("{name}.weight");
        let value = pseudo_random(&name, shape) / (fan_in.max(1) as f32).sqrt();
        self.add_const(name, value)
    }

    fn bias(&mut self, name: &str, len: usize, wanted: bool) -> Option<ConstId> {
        let name = format!("{name}.bias");
        wanted.then(|| self.add_const(name.clone(), pseudo_random(&name, &[len]) * 0.1))
    }

    fn read_op(&mut self, name: &str, arguments: &mut Arguments<'_>) -> Result<Op, Mistake> {
        let name = arguments.named.remove("as").unwrap_or(name);
        Ok(match arguments.op {
            "input" => Op::Input,
            "const" => {
                let shape = arguments.shape()?;
                Op::Const(self.add_const(format!("{name}.value"), pseudo_random(name, &shape)))
            }
            "conv" => {
                let shape = arguments.shape()?;
                let [filters, per_group, height, width] = shape[..] else {
                    return Err("a conv weight has four axes".into());
                };
                Op::Conv {
                    weight: self.weight(name, &shape, per_group * height * width),
                    bias: self.bias(name, filters, !arguments.flag("no_bias")),
                    window: arguments.window([height, width])?,
                    groups: arguments.value("groups")?.unwrap_or(1),
                }
            }
            "dense" => {
                let shape = arguments.shape()?;
                let transposed = arguments.flag("transposed");
                let [rows, cols] = match (&shape[..], transposed) {
                    (&[rows, cols], false) | (&[cols, rows], true) => [rows, cols],
                    _ => return Err("a dense weight has two axes".into()),
                };
                let weight = self.weight(name, &shape, rows);
                let bias = self.bias(name, cols, !arguments.flag("no_bias"));
                Op::Dense { weight, bias, transposed }
            }
            "batch_norm" => {
                let channels = arguments.shape()?;
                let mut statistic = |part: &str, centre: f32| {
                    let name = format!("{name}.{part}");
                    let value = pseudo_random(&name, &channels) * 0.5 + centre;
                    self.add_const(name, value)
                };
                Op::BatchNorm {
                    scale: statistic("scale", 1.0),
                    bias: statistic("bias", 0.0),
                    mean: statistic("mean", 0.0),
                    var: statistic("var", 1.0),
                    epsilon: arguments.value("epsilon")?.unwrap_or(1e-5),
                }
            }
            "clip" => Op::Unary(Unary::Clip {
                lo: arguments.value("lo")?.unwrap_or(f32::NEG_INFINITY),
                hi: arguments.value("hi")?.unwrap_or(f32::INFINITY),
            }),
            "leaky_relu" => {
                Op::Unary(Unary::LeakyRelu { alpha: arguments.value("alpha")?.unwrap_or(0.01) })
            }
            "max_pool" | "average_pool" => {
                let shape = arguments.shape()?;
                let kernel = shape[..].try_into().map_err(|_| "a pool's kernel has two axes")?;
                let window = arguments.window(kernel)?;
                match arguments.op {
                    "max_pool" => Op::MaxPool { window },
                    _ => Op::AveragePool { window, count_pad: arguments.flag("count_pad") },
                }
            }
            "softmax" => Op::Softmax { axis: arguments.value("axis")?.unwrap_or(0) },
            "log_softmax" => Op::LogSoftmax { axis: arguments.value("axis")?.unwrap_or(0) },
            "concat" => Op::Concat { axis: arguments.value("axis")?.unwrap_or(0) },
            "reduce_mean" => {
                Op::Reduce { reduction: Reduction::Mean, axes: arguments.list("axes")? }
            }
            "reduce_max" => Op::Reduce { reduction: Reduction::Max, axes: arguments.list("axes")? },
            "normalize" => Op::Normalize {
                axes: arguments.list("axes")?,
                epsilon: arguments.value("epsilon")?.unwrap_or(1e-5),
                centred: arguments.flag("centred"),
            },
            "gather" => Op::Gather {
                axis: arguments.value("axis")?.unwrap_or(0),
                indices: arguments.list("indices")?,
            },
            "transpose" => Op::Transpose { perm: arguments.list("perm")? },
            "slice" => Op::Slice { axes: arguments.slices()? },
            "pad" => Op::Pad {
                before: arguments.list("before")?,
                after: arguments.list("after")?,
                value: arguments.value("value")?.unwrap_or(0.0),
            },
            op => plain_op(op).ok_or(format!("`{op}` is no operator"))?,
        })
    }
}

/// The operators without arguments.
fn plain_op(name: &str) -> Option<Op> {
    Some(match name {
        "relu" => Op::Unary(Unary::Relu),
        "sigmoid" => Op::Unary(Unary::Sigmoid),
        "tanh" => Op::Unary(Unary::Tanh),
        "hard_swish" => Op::Unary(Unary::HardSwish),
        "add" => Op::Binary(Binary::Add),
        "sub" => Op::Binary(Binary::Sub),
        "mul" => Op::Binary(Binary::Mul),
        "div" => Op::Binary(Binary::Div),
        "min" => Op::Binary(Binary::Min),
        "max" => Op::Binary(Binary::Max),
        "exp" => Op::Unary(Unary::Exp),
        "gelu" => Op::Unary(Unary::Gelu),
        "mat_mul" => Op::MatMul,
        "select" => Op::Select,
        "expand" => Op::Expand,
        "global_average_pool" => Op::GlobalAveragePool,
        "reshape" => Op::Reshape,
        _ => return None,
    })
}

/// Words that stand alone; every other word takes the next one as its value.
const FLAGS: &[&str] = &["no_bias", "transposed", "count_pad", "centred"];

/// What stands between an operator's name and its operands.
struct Arguments<'a> {
    op: &'a str,
    shape: Option<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Arguments<'a> {
    fn parse(call: &'a str) -> Result<Self, Mistake> {
        let mut words = call.split_whitespace().peekable();
        let op = words.next().ok_or("names no operator")?;
        let shape = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let mut named = BTreeMap::new();
        while let Some(word) = words.next() {
            let value = if FLAGS.contains(&word) { Some("") } else { words.next() };
            named.insert(word, value.ok_or(format!("`{word}` needs a value"))?);
        }
        Ok(Self { op, shape, named })
    }

    /// An argument that nothing asked for is a mistake.
    fn finish(self) -> Result<(), Mistake> {
        match self.named.keys().copied().chain(self.shape).next() {
            Some(word) => Err(format!("`{}` takes no `{word}`", self.op)),
            None => Ok(()),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Mistake> {
        numbers(self.shape.take().ok_or("needs a shape, as in `6x1x5x5`")?)
    }

    fn flag(&mut self, key: &str) -> bool {
        self.named.remove(key).is_some()
    }

    fn value<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, Mistake> {
        let parse = |text: &str| text.parse().map_err(|_| format!("`{key} {text}` is no number"));
        self.named.remove(key).map(parse).transpose()
    }

    fn list(&mut self, key: &str) -> Result<Vec<usize>, Mistake> {
        numbers(self.named.remove(key).ok_or(format!("needs `{key}`"))?)
    }

    /// One number for both axes, or two.
    fn pair(&mut self, key: &str, default: usize) -> Result<[usize; 2], Mistake> {
        match self.named.remove(key).map(numbers).transpose()?.as_deref() {
            None => Ok([default; 2]),
            Some([both]) => Ok([*both; 2]),
            Some([height, width]) => Ok([*height, *width]),
            Some(_) => Err(format!("`{key}` has one number or two")),
        }
    }

    /// `pad` is one number for all sides, or top, left, bottom and right.
    fn window(&mut self, kernel: [usize; 2]) -> Result<Window, Mistake> {
        let (pads_begin, pads_end) =
            match self.named.remove("pad").map(numbers).transpose()?.as_deref() {
                None => ([0; 2], [0; 2]),
                Some([all]) => ([*all; 2], [*all; 2]),
                Some([top, left, bottom, right]) => ([*top, *left], [*bottom, *right]),
                Some(_) => return Err("`pad` has one number or four".into()),
            };
        let strides = self.pair("stride", 1)?;
        let dilations = self.pair("dilation", 1)?;
        Ok(Window { kernel, strides, dilations, pads_begin, pads_end })
    }

    /// `axes START:STEP:LEN,...`, one entry per axis.
    fn slices(&mut self) -> Result<Vec<SliceAxis>, Mistake> {
        let read = |text: &str| -> Option<SliceAxis> {
            let mut parts = text.split(':');
            let start = parts.next()?.parse().ok()?;
            let step = parts.next()?.parse().ok()?;
            let len = parts.next()?.parse().ok()?;
            Some(SliceAxis { start, step, len })
        };
        let text = self.named.remove("axes").ok_or("needs `axes`")?;
        let axes = text.split(',').map(read).collect::<Option<_>>();
        axes.ok_or(format!("`{text}` is no list of START:STEP:LEN"))
    }
}

/// Numbers separated by `x` or `,`.
fn numbers(text: &str) -> Result<Vec<usize>, Mistake> {
    let parsed = text.split(['x', ',']).map(str::parse).collect::<Result<_, _>>();
    parsed.map_err(|_| format!("`{text}` is no list of numbers"))
}
