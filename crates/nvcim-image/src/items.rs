//! A vector that cannot be made to allocate more than its record holds.
//!
//! bincode trusts a length prefix up to the record's limit, which a large record sets far above what a
//! short file needs. [`Items`] takes the same bytes as `Vec` and asks first whether they are there.

use bincode::de::read::Reader;
use bincode::de::{BorrowDecode, BorrowDecoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};

/// A sequence: u64 length, then the elements.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(test, derive(wincode::SchemaRead, wincode::SchemaWrite))]
pub(crate) struct Items<T>(pub(crate) Vec<T>);

impl<T: Encode> Encode for Items<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|item| item.encode(encoder))
    }
}

impl<'de, Context, T: BorrowDecode<'de, Context>> BorrowDecode<'de, Context> for Items<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        let len = u64::borrow_decode(decoder)?;
        let len = usize::try_from(len).map_err(|_| DecodeError::OutsideUsizeRange(len))?;
        // No element takes less than a byte, so a longer sequence than bytes left cannot be true.
        if decoder.reader().peek_read(len).is_none() {
            return Err(DecodeError::UnexpectedEnd { additional: len });
        }
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(T::borrow_decode(decoder)?);
        }
        Ok(Items(items))
    }
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<It: IntoIterator<Item = T>>(iter: It) -> Self {
        Items(iter.into_iter().collect())
    }
}
