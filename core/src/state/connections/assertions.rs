//! What must hold of the connections after every input, in debug builds.

use super::{ConnectionTable, Phase, PhaseCounts};

impl<C> ConnectionTable<C> {
    /// The counts, the idle stacks, the due index and the tree of pools are kept beside the connections: they must say the
    /// same.
    pub(crate) fn assert_invariants(&self) {
        let mut sum = PhaseCounts::default();
        for (index, pool) in self.pools.iter().enumerate() {
            let Some(pool) = pool else { continue };
            assert!(
                pool.counts.total() <= self.limit_of(index),
                "I1: a pool never has more connections than max_connection_size: pool {index} has {:?}",
                pool.counts
            );
            let idle = pool.idle.walk(&self.slab);
            assert_eq!(pool.counts.of(Phase::Idle), idle.len(), "I8: what is idle lies on the idle stack: pool {index}");
            for meta in idle.iter().map(|slot| &self.slab.at(*slot).meta) {
                assert_eq!((meta.phase(), meta.pool()), (Phase::Idle, index), "I8: what lies there is idle: pool {index}");
            }
            sum = sum.plus(pool.counts);
        }
        assert_eq!(sum, self.counts, "I1: the counts of the pools add up to those of the node");
        assert_eq!(self.iter().count(), sum.total(), "I7: every connection that is counted has a slot");
        assert!(
            sum.total() <= self.quota,
            "I11: a node never has more connections than max_total_connections leaves it: {sum:?}, {}",
            self.quota
        );
        self.assert_due();
        self.assert_least_active();
    }

    fn assert_due(&self) {
        let (mut checks, mut ends) = (0, 0);
        for (id, meta) in self.iter() {
            let wears = meta.phase().is_in_use() && meta.retire().is_none();
            assert_eq!(meta.due().has_end(), wears, "what is open and fit has an end, and nothing else: {id:?}");
            assert_eq!(
                meta.due().has_check(),
                wears && meta.phase() != Phase::Checking,
                "H2: what is open and fit is to be checked, unless it is being checked: {id:?}"
            );
            self.due.assert_has(id.slot(), meta.due());
            checks += usize::from(meta.due().has_check());
            ends += usize::from(meta.due().has_end());
        }
        assert_eq!((checks, ends), self.due.len(), "the due index has no entry of a connection that is gone");
    }

    /// The winner of the tree is the one that a look at each pool would find.
    fn assert_least_active(&self) {
        let lenders = self.pools().filter(|(_, counts)| counts.of(Phase::Idle) > 0);
        let least = lenders.min_by_key(|(_, counts)| counts.active()).map(|(index, _)| index);
        let known = self.least_active.is_kept().then(|| self.least_active.first());
        assert!(known.is_none_or(|first| first == least), "the pool with the fewest active connections lends");
    }
}
