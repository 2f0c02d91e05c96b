//! A training that was stopped, as bytes: what it was, how far it came, and everything it knew.
//!
//! Layout, little endian: the magic, the version, the hash of the training's task, the state, and BLAKE3 of all
//! that. Lists are their length and their elements; every number has its bits, so that a training which goes on
//! makes the bytes that it would have made.

use nvcim_ir::diag::{Diagnostic, Result};
use nvcim_ir::ids::IdVec;
use nvcim_train::optimizer::Memory;
use nvcim_train::train::{Epoch, Parameters, State};

/// The first bytes of a checkpoint.
pub(super) const MAGIC: &[u8; 8] = b"nvcimtrn";
const VERSION: u32 = 1;
/// Bytes of the hash at the end.
const HASH: usize = 32;

/// A state of the training whose task has the hash `stamp`.
pub(crate) fn encode(state: &State, stamp: &[u8; 32]) -> Vec<u8> {
    let State { step, parameters, memories, limits, running, epochs, best } = state;
    let mut out = Writer(Vec::new());
    out.0.extend(MAGIC);
    out.0.extend(VERSION.to_le_bytes());
    out.0.extend(stamp);
    out.number(*step);
    out.number(parameters.len() as u64);
    out.parameters(parameters);
    for memory in memories.iter().flatten() {
        out.floats(&memory.first);
        out.floats(&memory.second);
    }
    out.floats(&limits.iter().copied().collect::<Vec<_>>());
    out.real(running.0);
    out.number(running.1);
    out.number(epochs.len() as u64);
    for Epoch { loss, accuracy, validation } in epochs {
        out.real(*loss);
        out.real(*accuracy);
        out.optional(*validation);
    }
    out.optional(best.as_ref().map(|(accuracy, _)| *accuracy));
    if let Some((_, parameters)) = best {
        out.parameters(parameters);
    }
    let hash = blake3::hash(&out.0);
    out.0.extend(hash.as_bytes());
    out.0
}

/// The state that bytes hold, of the training whose task has the hash `stamp`.
///
/// # Errors
/// Bytes that are no checkpoint, damaged, of another version, or of another training.
pub(crate) fn decode(bytes: &[u8], stamp: &[u8; 32]) -> Result<State> {
    let refuse = |message: &str, hint: &str| {
        Err(Diagnostic::bad_input("checkpoint", message).hint(hint).into())
    };
    let again = "delete it, or start without `--resume`";
    let Some((body, hash)) = bytes.split_last_chunk::<HASH>() else {
        return refuse("is no checkpoint of a training", again);
    };
    if !body.starts_with(MAGIC) {
        return refuse("is no checkpoint of a training", again);
    }
    if blake3::hash(body).as_bytes() != hash {
        return refuse("is damaged or truncated", again);
    }
    let mut read = Reader(&body[MAGIC.len()..]);
    let version = read.take().map(u32::from_le_bytes);
    if version != Some(VERSION) {
        return refuse("is of another version of this program", again);
    }
    if read.take::<32>().as_ref() != Some(stamp) {
        let hint = "give the model, chip, data and options that it was begun with, or delete it";
        return refuse("belongs to another training", hint);
    }
    match read_state(&mut read) {
        Some(state) if read.0.is_empty() => Ok(state),
        _ => refuse("is damaged or truncated", again),
    }
}

fn read_state(read: &mut Reader<'_>) -> Option<State> {
    let step = read.number()?;
    let n_layers = usize::try_from(read.number()?).ok()?;
    let parameters = read.parameters(n_layers)?;
    let mut memories = IdVec::new();
    for _ in 0..n_layers {
        let mut memory = || Some(Memory { first: read.floats()?, second: read.floats()? });
        memories.push([memory()?, memory()?]);
    }
    let limits = read.floats()?.into_iter().collect();
    let running = (read.real()?, read.number()?);
    let n_epochs = read.number()?;
    let mut epochs = Vec::new();
    for _ in 0..n_epochs {
        let (loss, accuracy) = (read.real()?, read.real()?);
        epochs.push(Epoch { loss, accuracy, validation: read.optional()? });
    }
    let best = match read.optional()? {
        Some(accuracy) => Some((accuracy, read.parameters(n_layers)?)),
        None => None,
    };
    Some(State { step, parameters, memories, limits, running, epochs, best })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    fn real(&mut self, value: f64) {
        self.0.extend(value.to_le_bytes());
    }

    fn optional(&mut self, value: Option<f64>) {
        self.0.push(u8::from(value.is_some()));
        self.real(value.unwrap_or(0.0));
    }

    fn floats(&mut self, values: &[f32]) {
        self.number(values.len() as u64);
        values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
    }

    fn parameters(&mut self, parameters: &Parameters) {
        parameters.iter().flatten().for_each(|values| self.floats(values));
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn real(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }

    fn optional(&mut self) -> Option<Option<f64>> {
        let [is_there] = self.take::<1>()?;
        let value = self.real()?;
        Some((is_there == 1).then_some(value))
    }

    fn floats(&mut self) -> Option<Vec<f32>> {
        let len = usize::try_from(self.number()?).ok()?.checked_mul(4)?;
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn parameters(&mut self, n_layers: usize) -> Option<Parameters> {
        let mut parameters = IdVec::new();
        for _ in 0..n_layers {
            parameters.push([self.floats()?, self.floats()?]);
        }
        Some(parameters)
    }
}

#[cfg(test)]
mod tests {
    use nvcim_train::optimizer::Memory;
    use nvcim_train::train::{Epoch, State};

    use super::{decode, encode};

    fn state(best: bool) -> State {
        let parameters = || [[vec![1.0f32, -0.5], vec![0.25]]].into_iter().collect();
        let memory = |first: &[f32]| Memory { first: first.to_vec(), second: vec![1e-9; 2] };
        State {
            step: 17,
            parameters: parameters(),
            memories: [[memory(&[0.1, 0.2]), memory(&[0.3])]].into_iter().collect(),
            limits: [f32::INFINITY].into_iter().collect(),
            running: (0.1 + 0.2, 5),
            epochs: vec![
                Epoch { loss: 1.5, accuracy: 90.0, validation: None },
                Epoch { loss: 0.5, accuracy: 95.0, validation: Some(0.1 + 0.7) },
            ],
            best: best.then(|| (88.5, parameters())),
        }
    }

    #[test]
    fn states_come_back_bit_by_bit() {
        for best in [false, true] {
            let state = state(best);
            assert_eq!(decode(&encode(&state, &[7; 32]), &[7; 32]).unwrap(), state);
        }
    }

    #[test]
    fn what_is_damaged_or_of_another_training_is_refused() {
        let bytes = encode(&state(true), &[7; 32]);
        let refused = |bytes: &[u8], stamp| decode(bytes, stamp).unwrap_err()[0].message.clone();
        assert_eq!(refused(&bytes, &[8; 32]), "belongs to another training");
        assert_eq!(refused(b"PK", &[7; 32]), "is no checkpoint of a training");
        assert_eq!(refused(&[0; 99], &[7; 32]), "is no checkpoint of a training");
        for at in [9, 60, 200, bytes.len() - 1] {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert_eq!(refused(&broken, &[7; 32]), "is damaged or truncated", "{at}");
        }
        assert_eq!(refused(&bytes[..bytes.len() - 4], &[7; 32]), "is damaged or truncated");
    }
}
