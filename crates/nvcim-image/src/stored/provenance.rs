//! The provenance record: how the image came to be.

use bincode::{BorrowDecode, Encode};

use crate::items::Items;
use crate::layout::{DieStamp, Provenance};
use crate::stored::Result;

/// How the image came to be.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct StoredProvenance<'a> {
    tool_version: &'a str,
    model_hash: [u8; 32],
    calibration_hash: Option<[u8; 32]>,
    die: Option<StoredDieStamp<'a>>,
    corrections: Items<&'a str>,
    effects: Items<&'a str>,
    at_s: f64,
}

/// Which die the image is for.
#[derive(Debug, Encode, BorrowDecode)]
#[cfg_attr(test, derive(PartialEq, wincode::SchemaRead, wincode::SchemaWrite))]
struct StoredDieStamp<'a> {
    name: &'a str,
    seed: Option<u64>,
    hash: [u8; 32],
}

impl<'a> StoredProvenance<'a> {
    pub(crate) fn store(provenance: &'a Provenance) -> Self {
        let Provenance {
            tool_version,
            model_hash,
            calibration_hash,
            die,
            corrections,
            effects,
            at_s,
        } = provenance;
        Self {
            tool_version,
            model_hash: *model_hash,
            calibration_hash: *calibration_hash,
            die: die.as_ref().map(|DieStamp { name, seed, hash }| StoredDieStamp {
                name,
                seed: *seed,
                hash: *hash,
            }),
            corrections: corrections.iter().map(String::as_str).collect(),
            effects: effects.iter().map(String::as_str).collect(),
            at_s: *at_s,
        }
    }

    pub(crate) fn load(self) -> Result<Provenance> {
        let Self { tool_version, model_hash, calibration_hash, die, corrections, effects, at_s } =
            self;
        let owned = |texts: Items<&str>| texts.0.into_iter().map(str::to_owned).collect();
        Ok(Provenance {
            tool_version: tool_version.into(),
            model_hash,
            calibration_hash,
            die: die.map(|StoredDieStamp { name, seed, hash }| DieStamp {
                name: name.into(),
                seed,
                hash,
            }),
            corrections: owned(corrections),
            effects: owned(effects),
            at_s: check_time(at_s)?,
        })
    }
}

/// A time after programming is finite and not negative.
pub(crate) fn check_time(at_s: f64) -> Result<f64> {
    if at_s.is_finite() && at_s >= 0.0 {
        Ok(at_s)
    } else {
        Err(format!("has at_s {at_s}, must be finite and at least 0"))
    }
}
