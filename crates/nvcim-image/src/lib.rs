//! The deployment image: ProgrammedNet to bytes and back
