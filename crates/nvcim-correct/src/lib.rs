//! TiledNet to ProgrammedNet: corrections before and after programming
