//! Puts trained networks onto compute-in-memory chips: the public API
