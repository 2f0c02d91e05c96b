//! House rules that no lint knows: floors, walled dependencies, file shape, and documents that move with code.

mod documents;
mod manifests;
mod sources;
mod tree;
