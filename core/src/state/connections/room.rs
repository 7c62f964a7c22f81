//! Which pool has room for another connection, and which pools there are.

use super::least_active_tree::LeastActiveTree;
use super::{ConnectionTable, HAS_POOL, Phase, Pool, limit_of};

impl<C> ConnectionTable<C> {
    /// Whether other nodes allow no connection more.
    pub(crate) fn is_at_quota(&self) -> bool {
        self.counts.total() >= self.quota
    }

    /// Connections of this pool at most.
    pub(crate) fn limit_of(&self, index: usize) -> usize {
        limit_of(index, self.limit, self.node_limit)
    }

    /// The pools that there are, by index.
    #[inline]
    fn existing(&self) -> impl Iterator<Item = (usize, &Pool)> {
        self.pools.iter().enumerate().filter_map(|(index, pool)| Some((index, pool.as_ref()?)))
    }

    /// Connections that the pools could take, whatever other nodes allow.
    pub(crate) fn room(&self, most: usize) -> usize {
        (most * self.limit).min(self.node_limit) - self.counts.total()
    }

    /// Spare connections that pools, of the first `at_start`, lack to `minimum` and have room for.
    pub(crate) fn shortfall(&self, at_start: usize, minimum: usize) -> usize {
        let lacks = |pool: &Pool| minimum.saturating_sub(pool.counts.spare()).min(pool.limit - pool.counts.total());
        self.existing().take_while(|(index, _)| *index < at_start).map(|(_, pool)| lacks(pool)).sum()
    }

    /// A pool, of the first `at_start`, that has fewer than `minimum` spare connections and room for one. A look at each pool, as in
    /// `with_room` and `has_room`: 256 at most, and never for a loan or a return that is all there is to do.
    pub(crate) fn below_minimum(&self, at_start: usize, minimum: usize) -> Option<usize> {
        if self.is_at_quota() {
            return None;
        }
        self.existing()
            .take_while(|(index, _)| *index < at_start)
            .find(|(_, pool)| pool.counts.spare() < minimum && pool.has_room())
            .map(|(index, _)| index)
    }

    /// The pool with the fewest active connections that has room; a new one if none has and `most` allows it.
    pub(crate) fn with_room(&mut self, most: usize) -> Option<usize> {
        if self.is_at_quota() {
            return None;
        }
        let least = self
            .existing()
            .filter(|(_, pool)| pool.has_room())
            .min_by_key(|(_, pool)| (pool.counts.active() + pool.counts.dialled(), pool.counts.total()))
            .map(|(index, _)| index);
        least.or_else(|| (self.pool_count() < most).then(|| self.add_pool()))
    }

    /// Whether there is no room for a connection, in as many pools as there may be. May say no too often: a pool that was
    /// removed from among the others leaves a gap.
    pub(crate) fn is_full(&self, most: usize) -> bool {
        self.pools.len() >= most && self.counts.total() >= (self.pools.len() * self.limit).min(self.node_limit)
    }

    /// Whether one of the first `at_start` pools has room for a connection, whatever other nodes allow.
    pub(crate) fn has_room_at_start(&self, at_start: usize) -> bool {
        self.existing().take_while(|(index, _)| *index < at_start).any(|(_, pool)| pool.has_room())
    }

    /// Whether a connection could be dialled now.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        !self.is_at_quota() && (self.pool_count() < most || self.existing().any(|(_, pool)| pool.has_room()))
    }

    /// Removes pools without any connection, of those beyond the first `at_start`; returns how many.
    pub(crate) fn remove_empty_surplus(&mut self, at_start: usize) -> usize {
        let before = self.pool_count();
        for pool in self.pools.iter_mut().skip(at_start) {
            if pool.as_ref().is_some_and(|pool| pool.counts.total() == 0) {
                *pool = None;
            }
        }
        while let Some(None) = self.pools.last() {
            self.pools.pop();
        }
        self.resize_least_active();
        before - self.pool_count()
    }

    pub(super) fn add_pool(&mut self) -> usize {
        if let Some(gap) = self.pools.iter().position(Option::is_none) {
            self.pools[gap] = Some(Pool::new(self.limit_of(gap)));
            return gap;
        }
        let limit = self.limit_of(self.pools.len());
        self.pools.push(Some(Pool::new(limit)));
        self.resize_least_active();
        self.pools.len() - 1
    }

    /// Enters what a pool has to lend, after a change, where there are so many pools that it matters.
    #[inline(never)]
    pub(super) fn update_least_active(&mut self, index: usize) {
        let counts = self.pools[index].as_ref().expect(HAS_POOL).counts;
        self.least_active.enter(index, (counts.of(Phase::Idle) > 0).then(|| counts.active()));
    }

    /// Makes the tree as large as the pools need it now.
    pub(super) fn resize_least_active(&mut self) {
        if self.least_active.suits(self.pools.len()) {
            return;
        }
        self.least_active = LeastActiveTree::of(self.pools.len());
        if self.least_active.is_kept() {
            let lenders: Vec<_> = self.pools().filter(|(_, counts)| counts.of(Phase::Idle) > 0).map(|(index, _)| index).collect();
            lenders.into_iter().for_each(|index| self.update_least_active(index));
        }
    }
}
