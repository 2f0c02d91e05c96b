//! Values that several measurements share: made once by whoever needs them first, and kept while they are young.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use crate::study::work::lock;

/// Values by key, of which those with the lowest keys are dropped first: keys grow as work goes on.
#[derive(Debug)]
pub(super) struct Shared<K, V> {
    values: Mutex<BTreeMap<K, Arc<OnceLock<V>>>>,
    most: usize,
}

/// A value in use.
pub(super) struct Borrowed<V>(Arc<OnceLock<V>>);

impl<V> Deref for Borrowed<V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.0.get().expect("a value is lent once it is made")
    }
}

impl<K: Ord, V> Shared<K, V> {
    /// Keeps at most so many values beside those in use.
    pub(super) fn new(most: usize) -> Self {
        Self { values: Mutex::default(), most }
    }

    /// The value of a key. Others that ask for it wait while it is made.
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> V) -> Borrowed<V> {
        let value = {
            let mut values = lock(&self.values);
            let value = Arc::clone(values.entry(key).or_default());
            while values.len() > self.most {
                values.pop_first();
            }
            value
        };
        value.get_or_init(make);
        Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::Shared;

    #[test]
    fn values_are_made_once_and_the_oldest_are_dropped() {
        let made = Cell::new(0);
        let shared = Shared::new(2);
        let get = |key: usize| {
            *shared.get(key, || {
                made.set(made.get() + 1);
                10 * key
            })
        };
        assert_eq!([1, 1, 2, 1, 3].map(get), [10, 10, 20, 10, 30]);
        assert_eq!(made.get(), 3);
        assert_eq!([3, 2, 1].map(get), [30, 20, 10]);
        assert_eq!(made.get(), 4);
    }
}
