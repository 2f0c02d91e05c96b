//! ONNX bytes to Graph and back, and the float reference
