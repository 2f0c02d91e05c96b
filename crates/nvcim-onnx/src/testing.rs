//! Small models for tests, built message by message, and the comparison with the float reference.

use ndarray::{ArrayD, IxDyn};
use nvcim_ir::diag::{Diagnostic, Kind};
use nvcim_ir::graph::Graph;
use prost::Message;

use crate::import;
use crate::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, FLOAT, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use crate::reference::FloatReference;
use crate::tensor_data::NoExternalData;

/// Largest error against the reference, relative to its largest output: sums in another order.
const CLOSE: f32 = 1e-4;
/// The `TensorProto.DataType` of 64-bit integers.
const INT64: i32 = 7;

/// A model with input `x`; tensors are named by the test.
#[derive(Clone)]
pub(crate) struct TestModel {
    pub(crate) graph: GraphProto,
    pub(crate) opset: i64,
}

impl TestModel {
    /// A model of operator set `opset`; an input axis of 0 is open.
    pub(crate) fn new(opset: i64, input: &[i64]) -> Self {
        let graph = GraphProto {
            name: "test".into(),
            input: vec![declare("x", FLOAT, input)],
            ..GraphProto::default()
        };
        Self { graph, opset }
    }

    /// Adds an initialiser of noise between -1 and 1 that depends on its name.
    pub(crate) fn weight(mut self, name: &str, dims: &[i64]) -> Self {
        let seed = name.bytes().fold(1, |seed, byte| seed * 31 + u64::from(byte));
        let count = dims.iter().product::<i64>() as usize;
        let tensor = TensorProto {
            name: name.into(),
            dims: dims.into(),
            data_type: FLOAT,
            float_data: noise(count, seed),
            ..TensorProto::default()
        };
        self.graph.initializer.push(tensor);
        self
    }

    /// Adds an initialiser of floats, stored as raw bytes.
    pub(crate) fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let tensor = TensorProto {
            name: name.into(),
            dims: dims.into(),
            data_type: FLOAT,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        };
        self.graph.initializer.push(tensor);
        self
    }

    /// Adds an initialiser of any kind.
    pub(crate) fn initializer(mut self, tensor: TensorProto) -> Self {
        self.graph.initializer.push(tensor);
        self
    }

    /// Adds an initialiser of integers on one axis.
    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.graph.initializer.push(int_tensor(name, values));
        self
    }

    /// Adds an initialiser of one integer without axes.
    pub(crate) fn scalar(self, name: &str, value: i64) -> Self {
        self.initializer(TensorProto { dims: Vec::new(), ..int_tensor(name, &[value]) })
    }

    /// Adds a node that makes `output` and is called like its first one; names are separated by spaces, `-` is
    /// none.
    pub(crate) fn node(
        mut self,
        op_type: &str,
        inputs: &str,
        output: &str,
        attribute: &[AttributeProto],
    ) -> Self {
        let input = inputs.split_whitespace();
        let node = NodeProto {
            op_type: op_type.into(),
            input: input.map(|name| if name == "-" { "" } else { name }.into()).collect(),
            output: output.split_whitespace().map(|name| name.replace('-', "")).collect(),
            name: output.split_whitespace().find(|name| *name != "-").unwrap_or_default().into(),
            attribute: attribute.into(),
            domain: String::new(),
        };
        self.graph.node.push(node);
        self
    }

    /// Adds an output to the node added last.
    pub(crate) fn further(mut self, output: &str) -> Self {
        self.graph.node.last_mut().expect("a node was added").output.push(output.into());
        self
    }

    /// Makes `name` an output.
    pub(crate) fn output(mut self, name: &str) -> Self {
        let output = ValueInfoProto { name: name.into(), r#type: None };
        self.graph.output.push(output);
        self
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let opset = OperatorSetIdProto { domain: String::new(), version: self.opset };
        let graph = Some(self.graph.clone());
        ModelProto { ir_version: 8, graph, opset_import: vec![opset] }.encode_to_vec()
    }

    /// The imported graph.
    pub(crate) fn import(&self) -> Result<Graph, Vec<Diagnostic>> {
        import::import_model(&self.bytes(), &NoExternalData).map(|graph| graph.output)
    }

    /// The one problem that the import reports, which must be of this kind and mention `text`.
    #[track_caller]
    pub(crate) fn refuse(&self, kind: Kind, text: &str) {
        let problems = self.import().expect_err("the model must be refused");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].kind, kind, "{problems:#?}");
        assert!(problems[0].to_string().contains(text), "{}", problems[0]);
        assert!(kind != Kind::Unsupported || !problems[0].hints.is_empty(), "{}", problems[0]);
    }

    /// Takes 64-bit integers as its input.
    pub(crate) fn fed_integers(mut self) -> Self {
        let kind = self.graph.input[0].r#type.as_mut().and_then(|it| it.tensor_type.as_mut());
        kind.expect("the input is a tensor").elem_type = INT64;
        self
    }

    fn is_fed_integers(&self) -> bool {
        let kind = self.graph.input[0].r#type.as_ref().and_then(|it| it.tensor_type.as_ref());
        kind.is_some_and(|it| it.elem_type == INT64)
    }

    /// Imports the model and checks it against the reference on five samples; returns the graph.
    #[track_caller]
    pub(crate) fn agree(&self) -> Graph {
        let graph = self.import().unwrap_or_else(|problems| panic!("{problems:#?}"));
        let reference = FloatReference::new(&self.bytes(), &NoExternalData);
        let reference = reference.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let mut shape = vec![5];
        shape.extend(&graph.node(graph.input()).shape);
        let count = shape.iter().product();
        let x = ArrayD::from_shape_vec(IxDyn(&shape), noise(count, 7)).expect("counted above");
        let x = if self.is_fed_integers() { x.mapv(|x| (3.0 * x).round()) } else { x };
        let want = reference.run(&x).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let got = nvcim_ops::run_graph::run_graph(&graph, &x, &mut |_, _| {});
        assert_eq!(want.len(), got.len());
        for (want, got) in want.iter().zip(&got) {
            assert_eq!(want.shape(), got.shape(), "{graph}");
            let scale = want.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
            let error = (want - got).iter().fold(0f32, |most, value| most.max(value.abs()));
            assert!(error <= CLOSE * scale, "off by {error} of {scale}\n{graph}");
        }
        graph
    }
}

/// An integer attribute.
pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

/// An attribute of one number.
pub(crate) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

/// An attribute of several integers.
pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.into(), ..attribute(name, AttributeType::Ints) }
}

/// An attribute of text.
pub(crate) fn string(name: &str, text: &str) -> AttributeProto {
    AttributeProto { s: text.into(), ..attribute(name, AttributeType::String) }
}

/// An attribute of several texts.
pub(crate) fn strings(name: &str, texts: &[&str]) -> AttributeProto {
    let strings = texts.iter().map(|text| (*text).into()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

/// An attribute of several numbers.
pub(crate) fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto { floats: floats.into(), ..attribute(name, AttributeType::Floats) }
}

/// A tensor attribute of integers.
pub(crate) fn tensor(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { t: Some(int_tensor("", values)), ..attribute(name, AttributeType::Tensor) }
}

/// An attribute of this type without a value.
pub(crate) fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..AttributeProto::default() }
}

fn int_tensor(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        int64_data: values.into(),
        ..TensorProto::default()
    }
}

fn declare(name: &str, elem_type: i32, shape: &[i64]) -> ValueInfoProto {
    let dim = |&length: &i64| DimensionProto {
        value: Some(match length {
            0 => DimensionValue::DimParam("N".into()),
            _ => DimensionValue::DimValue(length),
        }),
    };
    let shape = Some(TensorShapeProto { dim: shape.iter().map(dim).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}

/// Numbers between -1 and 1 from a linear congruential generator.
fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A LeNet in small: convolution, pool, a shape computed at run time, two layers, softmax.
pub(crate) fn tiny_lenet() -> TestModel {
    TestModel::new(9, &[0, 1, 8, 8])
        .weight("conv.weight", &[3, 1, 3, 3])
        .weight("conv.bias", &[3])
        .weight("fc1.weight", &[6, 27])
        .weight("fc1.bias", &[6])
        .weight("fc2.weight", &[6, 4])
        .weight("fc2.bias", &[4])
        .node("Conv", "x conv.weight conv.bias", "conv", &[ints("kernel_shape", &[3, 3])])
        .node("Relu", "conv", "relu", &[])
        .node("MaxPool", "relu", "pool", &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])])
        .node("Shape", "pool", "shape", &[])
        .node("Constant", "", "zero", &[tensor("value", &[0])])
        .node("Gather", "shape zero", "batch", &[int("axis", 0)])
        .node("Constant", "", "rest", &[tensor("value", &[-1])])
        .node("Concat", "batch rest", "target", &[int("axis", 0)])
        .node("Reshape", "pool target", "flat", &[])
        .node("Gemm", "flat fc1.weight fc1.bias", "fc1", &[int("transB", 1)])
        .node("Dropout", "fc1", "dropout", &[])
        .node("Tanh", "dropout", "tanh", &[])
        .node("MatMul", "tanh fc2.weight", "fc2", &[])
        .node("Add", "fc2 fc2.bias", "add", &[])
        .node("Softmax", "add", "y", &[int("axis", 1)])
        .output("y")
}
