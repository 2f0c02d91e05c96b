//! ONNX bytes to [`Graph`](nvcim_ir::graph::Graph) and back, and the float reference.
//!
//! [`import::import_model`] reads the protobuf itself and keeps ONNX-level operators with their names;
//! tract only tells shapes and folds constants. [`reference::FloatReference`] runs the file through
//! tract, independently of everything else here. [`write::replace_initializers`] puts trained weights
//! back and keeps every other byte.

mod analyse;
mod apart;
mod attributes;
mod builder;
mod constants;
mod data;
mod decode;
pub mod emit;
mod foreign;
pub mod import;
mod misfit;
mod network_input;
pub mod operators;
mod ops;
mod proto;
mod recurrent;
pub mod reference;
mod refusal;
mod site;
mod spell_out;
pub mod survey;
pub mod tensor_data;
#[cfg(test)]
mod testing;
mod validate;
mod walk;
mod wire;
pub mod write;
