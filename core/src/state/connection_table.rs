//! The connections of a node, by pool: the one place where a connection's phase changes and is counted.

use crate::state::connection_meta::{ConnectionMeta, ConnectionSlot};
use crate::state::due_index::DueIndex;
use crate::state::idle_stack::IdleStack;
use crate::state::least_active_tree::LeastActiveTree;
use crate::state::phase::{Phase, PhaseCounts};
use crate::state::token::{ConnId, Loan};
use crate::state::wait_queue::WaiterId;
use crate::time::Instant;

/// A group of at most `max_connection_size` connections.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) counts: PhaseCounts,
    pub(super) idle: IdleStack,
}

/// Every connection of a node.
///
/// To lend one, to take one back, to find one by its identity and to take an idle one from its idle stack cost O(1); a change of
/// what is due, O(log n) for n connections ([`DueIndex`]); beyond a few pools, a change of what a pool has to lend, O(log n) for
/// n pools ([`LeastActiveTree`]). What concerns all connections looks at each ([`ConnectionTable::select`], [`ConnectionTable::records_mut`]): a close,
/// a silence that makes the node distrust them, another server in its place, a jump of the clock, a pass of the cleanup, and
/// once in a second, while the cleanup runs, the times of those that came back.
#[derive(Debug)]
pub(crate) struct ConnectionTable<C> {
    slots: Vec<ConnectionSlot<C>>,
    free: Vec<u32>,
    /// By index, which stays the same as long as a pool exists; None where one was removed.
    pub(super) pools: Vec<Option<Pool>>,
    /// Connections in one pool.
    limit: usize,
    /// Connections in all of them, as other nodes allow it, and how many of them in any case.
    quota: usize,
    floor: usize,
    counts: PhaseCounts,
    pub(super) least_active: LeastActiveTree,
    pub(super) due: DueIndex,
}

impl<C> ConnectionTable<C> {
    pub(crate) fn new(pools: usize, limit: usize) -> Self {
        let least_active = LeastActiveTree::of(pools);
        let pools = (0..pools).map(|_| Some(Pool::new())).collect();
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            pools,
            limit,
            quota: usize::MAX,
            floor: usize::MAX,
            counts: PhaseCounts::default(),
            least_active,
            due: DueIndex::default(),
        }
    }

    /// All connections of the node by phase.
    pub(crate) fn counts(&self) -> PhaseCounts {
        self.counts
    }

    #[inline]
    pub(crate) fn has_idle(&self) -> bool {
        self.counts.of(Phase::Idle) > 0
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn quota(&self) -> usize {
        self.quota
    }

    pub(crate) fn set_quota(&mut self, quota: usize, floor: usize) {
        (self.quota, self.floor) = (quota, floor);
    }

    /// Whether other nodes allow no connection more.
    pub(crate) fn is_at_quota(&self) -> bool {
        self.counts.total() >= self.quota
    }

    /// Connections that the pools could take, whatever other nodes allow.
    pub(crate) fn room(&self, most: usize) -> usize {
        most * self.limit - self.counts.total()
    }

    /// Connections that pools, of the first `at_start`, lack to `minimum` and have room for.
    pub(crate) fn shortfall(&self, at_start: usize, minimum: usize) -> usize {
        let lacks = |counts: PhaseCounts| minimum.saturating_sub(counts.open()).min(self.limit - counts.total());
        self.pools().take_while(|(index, _)| *index < at_start).map(|(_, pool)| lacks(pool.counts)).sum()
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = (usize, &Pool)> {
        self.pools.iter().enumerate().filter_map(|(index, pool)| Some((index, pool.as_ref()?)))
    }

    pub(crate) fn pool_count(&self) -> usize {
        self.pools().count()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (ConnId, &ConnectionMeta)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| {
            let record = entry.record.as_ref()?;
            Some((entry.id(slot as u32), record))
        })
    }

    pub(crate) fn records_mut(&mut self) -> impl Iterator<Item = &mut ConnectionMeta> {
        self.slots.iter_mut().filter_map(|entry| entry.record.as_mut())
    }

    /// The connections of which `wanted` is true: a look at each.
    pub(crate) fn select(&self, wanted: impl Fn(&ConnectionMeta) -> bool) -> Vec<ConnId> {
        self.records().filter(|(_, record)| wanted(record)).map(|(id, _)| id).collect()
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&ConnectionMeta> {
        let slot = self.slots.get(id.slot() as usize)?;
        slot.record.as_ref().filter(|_| slot.generation == id.generation())
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut ConnectionMeta> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        let current = slot.generation == id.generation();
        slot.record.as_mut().filter(|_| current)
    }

    /// Takes a slot for a connection that is being dialled.
    pub(crate) fn open(&mut self, pool: usize, now: Instant) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(ConnectionSlot::vacant());
            u32::try_from(self.slots.len() - 1).expect("the limits of pools and connections keep this below 2^32")
        });
        let entry = &mut self.slots[slot as usize];
        entry.record = Some(ConnectionMeta::of_dial(pool, now));
        let id = entry.id(slot);
        self.counts.enter(Phase::Connecting);
        self.pool_mut(pool).counts.enter(Phase::Connecting);
        id
    }

    /// Frees the slot of a connection that is no more.
    pub(crate) fn free(&mut self, id: ConnId) -> Option<ConnectionMeta> {
        self.get(id)?;
        let slot = &mut self.slots[id.slot() as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let mut record = slot.record.take()?;
        debug_assert!(slot.conn.is_none(), "I8: a connection leaves by a close");
        self.due.strike(id.slot(), &mut record);
        self.free.push(id.slot());
        self.counts.leave(record.phase);
        // Its place is first of all for whoever has waited longest, at whatever node.
        self.quota = self.quota.min(self.counts.total().max(self.floor));
        self.pool_mut(record.pool).counts.leave(record.phase);
        Some(record)
    }

    /// Moves a connection that nobody is to have to another phase.
    pub(crate) fn shift(&mut self, id: ConnId, to: Phase) {
        self.shift_in(id.slot(), to);
        let (record, due) = self.with_due(id);
        match to {
            Phase::Closing => due.strike(id.slot(), record),
            Phase::Checking => due.strike_check(id.slot(), record),
            Phase::Connecting | Phase::Overdue | Phase::Idle | Phase::Granted | Phase::Leased | Phase::Lost | Phase::Cleaning => {
            }
        }
    }

    /// Puts a connection on its pool's idle stack after use.
    pub(crate) fn add_idle(&mut self, id: ConnId, conn: C) {
        let index = self.shift_in(id.slot(), Phase::Idle);
        self.slots[id.slot() as usize].conn = Some(conn);
        let pool = self.pools[index].as_mut().expect("a pool with connections is not removed");
        pool.idle.put(&mut self.slots, id.slot());
    }

    /// The same without a look at the clock: the time will be noted later. Gives the connection back unless it is known
    /// as well as fit: it has answered since `epoch` began and is not to be retired.
    #[inline]
    pub(crate) fn add_idle_untimed(&mut self, loan: Loan<C>, trust_epoch: u64) -> Result<(), Loan<C>> {
        let Some(record) = self.get_mut(loan.id).filter(|record| record.trust_epoch == trust_epoch && record.retire.is_none())
        else {
            return Err(loan);
        };
        debug_assert_eq!(record.phase, Phase::Leased, "what comes back was on loan");
        record.phase = Phase::Idle;
        record.idle_since = None;
        let index = record.pool;
        self.slots[loan.id.slot() as usize].conn = Some(loan.conn);
        let pool = self.pools[index].as_mut().expect("a pool with connections is not removed");
        pool.counts.shift(Phase::Leased, Phase::Idle);
        pool.idle.put(&mut self.slots, loan.id.slot());
        self.counts.shift(Phase::Leased, Phase::Idle);
        if self.least_active.is_kept() {
            self.update_least_active(index);
        }
        Ok(())
    }

    /// Whether a connection that comes back may be lent again as it is.
    pub(crate) fn is_fit(&self, id: ConnId, trust_epoch: u64) -> bool {
        self.get(id).is_some_and(|record| record.trust_epoch == trust_epoch && record.retire.is_none())
    }

    /// Puts a connection on its pool's idle stack after a check.
    pub(crate) fn add_idle_below(&mut self, id: ConnId, conn: C) {
        let index = self.shift_in(id.slot(), Phase::Idle);
        self.slots[id.slot() as usize].conn = Some(conn);
        let pool = self.pools[index].as_mut().expect("a pool with connections is not removed");
        pool.idle.put_below(&mut self.slots, id.slot());
    }

    /// Lends an idle connection of the pool with the fewest active ones; the lowest index where several have as few.
    #[inline]
    pub(crate) fn lend(&mut self) -> Option<(ConnId, C)> {
        if !self.has_idle() {
            return None;
        }
        if self.least_active.is_kept() {
            return self.lend_least_active();
        }
        let idle = self.pools.iter_mut().flatten().filter(|pool| !pool.idle.is_empty());
        let pool = idle.min_by_key(|pool| pool.counts.active())?;
        self.counts.shift(Phase::Idle, Phase::Leased);
        pool.lend(&mut self.slots)
    }

    /// The same where there are so many pools that the least active one is known.
    #[inline(never)]
    fn lend_least_active(&mut self) -> Option<(ConnId, C)> {
        let index = self.least_active.first()?;
        let pool = self.pools[index].as_mut().expect("a pool with connections is not removed");
        self.counts.shift(Phase::Idle, Phase::Leased);
        let lent = pool.lend(&mut self.slots);
        self.update_least_active(index);
        lent
    }

    /// Keeps a connection that was on loan, or just lent, for the waiter that it was granted to.
    #[inline]
    pub(crate) fn hold_for(&mut self, id: ConnId, waiter: WaiterId, conn: C) {
        let entry = &mut self.slots[id.slot() as usize];
        let record = entry.record.as_mut().expect("callers hold the slot's token");
        debug_assert_eq!(record.phase, Phase::Leased, "what is granted was on loan or is lent for that");
        record.phase = Phase::Granted;
        record.granted_to = Some(waiter);
        entry.conn = Some(conn);
        let index = record.pool;
        self.count(index, Phase::Leased, Phase::Granted);
    }

    /// Takes a connection that was granted: it is on loan now.
    #[inline]
    pub(crate) fn take_held(&mut self, id: ConnId) -> Option<C> {
        let entry = &mut self.slots[id.slot() as usize];
        let record = entry.record.as_mut().filter(|record| record.phase == Phase::Granted)?;
        record.phase = Phase::Leased;
        record.granted_to = None;
        let conn = entry.conn.take();
        let index = record.pool;
        self.count(index, Phase::Granted, Phase::Leased);
        conn
    }

    /// Takes a certain connection off its idle stack; None if it does not idle.
    pub(crate) fn remove_idle(&mut self, id: ConnId, to: Phase) -> Option<C> {
        let index = self.get(id).filter(|record| record.phase == Phase::Idle)?.pool;
        let pool = self.pools[index].as_mut().expect("a pool with connections is not removed");
        pool.idle.remove(&mut self.slots, id.slot());
        self.shift(id, to);
        self.slots[id.slot() as usize].conn.take()
    }

    /// A pool, of the first `at_start`, that has fewer than `minimum` connections and room for one. A look at each pool, as in
    /// `with_room` and `has_room`: 256 at most, and never for a loan or a return that is all there is to do.
    pub(crate) fn below_minimum(&self, at_start: usize, minimum: usize) -> Option<usize> {
        if self.is_at_quota() {
            return None;
        }
        self.pools()
            .take_while(|(index, _)| *index < at_start)
            .find(|(_, pool)| pool.counts.open() < minimum && pool.counts.total() < self.limit)
            .map(|(index, _)| index)
    }

    /// The pool with the fewest active connections that has room; a new one if none has and `most` allows it.
    pub(crate) fn with_room(&mut self, most: usize) -> Option<usize> {
        if self.is_at_quota() {
            return None;
        }
        let least = self
            .pools()
            .filter(|(_, pool)| pool.counts.total() < self.limit)
            .min_by_key(|(_, pool)| (pool.counts.active() + pool.counts.dialled(), pool.counts.total()))
            .map(|(index, _)| index);
        least.or_else(|| (self.pool_count() < most).then(|| self.add_pool()))
    }

    /// Whether there is no room for a connection, in as many pools as there may be. May say no too often: a pool that was
    /// removed from among the others leaves a gap.
    pub(crate) fn is_full(&self, most: usize) -> bool {
        self.pools.len() >= most && self.counts.total() >= self.pools.len() * self.limit
    }

    /// Whether a connection could be dialled now.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        !self.is_at_quota() && (self.pool_count() < most || self.pools().any(|(_, pool)| pool.counts.total() < self.limit))
    }

    /// Removes pools without any connection, of those beyond the first `at_start`.
    pub(crate) fn remove_empty_surplus(&mut self, at_start: usize) {
        for pool in self.pools.iter_mut().skip(at_start) {
            if pool.as_ref().is_some_and(|pool| pool.counts.total() == 0) {
                *pool = None;
            }
        }
        while let Some(None) = self.pools.last() {
            self.pools.pop();
        }
        self.resize_least_active();
    }

    fn add_pool(&mut self) -> usize {
        if let Some(gap) = self.pools.iter().position(Option::is_none) {
            self.pools[gap] = Some(Pool::new());
            return gap;
        }
        self.pools.push(Some(Pool::new()));
        self.resize_least_active();
        self.pools.len() - 1
    }

    fn pool_mut(&mut self, index: usize) -> &mut Pool {
        self.pools[index].as_mut().expect("a pool with connections is not removed")
    }

    fn shift_in(&mut self, slot: u32, to: Phase) -> usize {
        let record = self.slots[slot as usize].record.as_mut().expect("callers hold the slot's token");
        let from = std::mem::replace(&mut record.phase, to);
        let index = record.pool;
        self.count(index, from, to);
        if self.least_active.is_kept() {
            self.update_least_active(index);
        }
        index
    }

    fn count(&mut self, pool: usize, from: Phase, to: Phase) {
        self.pool_mut(pool).counts.shift(from, to);
        self.counts.shift(from, to);
    }

    /// The identity of what is in a slot.
    pub(super) fn id(&self, slot: u32) -> ConnId {
        self.slots[slot as usize].id(slot)
    }

    pub(super) fn with_due(&mut self, id: ConnId) -> (&mut ConnectionMeta, &mut DueIndex) {
        let record = self.slots[id.slot() as usize].record.as_mut().expect("callers hold the slot's token");
        (record, &mut self.due)
    }

    /// What lies on a pool's idle stack, from the top.
    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn idle_of(&self, pool: &Pool) -> Vec<ConnId> {
        pool.idle.walk(&self.slots).into_iter().map(|slot| self.id(slot)).collect()
    }
}

impl Pool {
    fn new() -> Self {
        Self { counts: PhaseCounts::default(), idle: IdleStack::default() }
    }

    #[inline]
    fn lend<C>(&mut self, slots: &mut [ConnectionSlot<C>]) -> Option<(ConnId, C)> {
        let (slot, entry) = self.idle.pop(slots)?;
        self.counts.shift(Phase::Idle, Phase::Leased);
        entry.record.as_mut().expect("what lies on a idle has a record").phase = Phase::Leased;
        let conn = entry.conn.take().expect("what lies on a idle is a connection");
        Some((entry.id(slot), conn))
    }
}
