//! The tensors of a run, each dropped or handed over at its last use.

use nvcim_ir::ids::{Id, IdVec};

use crate::tensor::{Operand, Tensor};

/// The tensors made so far, keyed by the node or step that made them.
pub(crate) struct Store<I> {
    slots: IdVec<I, Slot>,
}

#[derive(Default)]
struct Slot {
    tensor: Option<Tensor>,
    uses_left: usize,
}

impl<I: Id> Store<I> {
    /// An empty store that expects exactly these reads; an output counts as one.
    pub(crate) fn new(reads: impl IntoIterator<Item = I>) -> Self {
        let mut res = Self { slots: IdVec::new() };
        reads.into_iter().for_each(|id| res.slot(id).uses_left += 1);
        res
    }

    fn slot(&mut self, id: I) -> &mut Slot {
        while self.slots.len() <= id.index() {
            self.slots.push(Slot::default());
        }
        &mut self.slots[id]
    }

    /// Keeps a tensor, unless nothing will read it.
    pub(crate) fn put(&mut self, id: I, tensor: Tensor) {
        let slot = self.slot(id);
        slot.tensor = (slot.uses_left > 0).then_some(tensor);
    }

    /// Reads the operands of one operator: handed over at their last use, lent before.
    pub(crate) fn take(&mut self, ids: &[I]) -> Vec<Operand<'_>> {
        ids.iter().for_each(|&id| self.slots[id].uses_left -= 1);
        // An operand that fills two slots of the same operator cannot be handed over to one of them.
        let last = |slot: &Slot, id: I| {
            slot.uses_left == 0 && ids.iter().filter(|&&other| other == id).count() == 1
        };
        let handed: Vec<_> = ids
            .iter()
            .map(|&id| {
                let slot = &mut self.slots[id];
                if last(slot, id) { slot.tensor.take() } else { None }
            })
            .collect();
        let lend = |(handed, &id): (Option<Tensor>, &I)| match handed {
            Some(tensor) => Operand::from(tensor),
            None => {
                let lent = self.slots[id].tensor.as_ref();
                Operand::from(lent.expect("operands are made before they are read"))
            }
        };
        handed.into_iter().zip(ids).map(lend).collect()
    }

    /// Drops those of `ids` that nothing will read any more.
    pub(crate) fn drop_spent(&mut self, ids: &[I]) {
        for &id in ids {
            let slot = &mut self.slots[id];
            slot.tensor.take_if(|_| slot.uses_left == 0);
        }
    }

    /// Reads the outputs of the network, which may repeat.
    pub(crate) fn take_outputs(&mut self, ids: &[I]) -> Vec<Tensor> {
        let read = |id: &I| self.take(std::slice::from_ref(id)).remove(0).into_owned();
        ids.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::ids::{Id, StepId};

    use super::Store;
    use crate::testing::tensor;

    fn id(index: usize) -> StepId {
        Id::new(index)
    }

    #[test]
    fn a_tensor_is_handed_over_at_its_last_use_only() {
        let mut store = Store::new([id(0), id(0)]);
        store.put(id(0), tensor(&[1, 1], &[1.]));
        assert!(store.take(&[id(0)])[0].is_view());
        assert!(store.take(&[id(0)])[0].is_owned());
    }

    #[test]
    fn an_operand_read_twice_at_once_is_lent_and_then_dropped() {
        let mut store = Store::new([id(1), id(0), id(1)]);
        store.put(id(0), tensor(&[1, 1], &[1.]));
        store.put(id(1), tensor(&[1, 1], &[2.]));
        let ids = [id(1), id(0), id(1)];
        let operands = store.take(&ids);
        assert_eq!(operands.iter().map(|x| x[[0, 0]]).collect::<Vec<_>>(), [2., 1., 2.]);
        assert!(operands[0].is_view() && operands[1].is_owned() && operands[2].is_view());
        store.drop_spent(&ids);
        assert!(store.slots.iter().all(|slot| slot.tensor.is_none()));
    }

    #[test]
    fn what_nothing_reads_is_not_kept() {
        let mut store = Store::new([id(0)]);
        store.put(id(3), tensor(&[1, 1], &[1.]));
        assert!(store.slots[id(3)].tensor.is_none());
    }
}
