//! Puts trained weights back into an ONNX file.
