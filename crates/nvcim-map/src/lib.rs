//! Graph to TiledNet: fold, calibrate, cut, place
