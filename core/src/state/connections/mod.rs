//! The connections of a node, by pool: the one place where a connection's phase changes and is counted.

#[cfg(any(test, debug_assertions, feature = "testing"))]
mod assertions;
mod due_index;
mod least_active_tree;
mod meta;
mod phase;
mod room;

use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::container::list::{Linked, Links, List};
use crate::container::slab::Slab;
use crate::state::connections::due_index::DueIndex;
use crate::state::connections::least_active_tree::LeastActiveTree;
use crate::state::ids::{ConnId, WaiterId};
use crate::state::token::Loan;
use crate::time::Instant;

pub(crate) use meta::ConnectionMeta;
pub(crate) use phase::{Phase, PhaseCounts};

/// A group of at most `max_connection_size` connections.
#[derive(Debug)]
struct Pool {
    counts: PhaseCounts,
    /// Connections in it at most.
    limit: usize,
    /// Those that were used come back on top, those that were only checked at the bottom; the one on top is lent first, so
    /// that the rest can grow old and go.
    idle: List<IdleStack>,
}

/// The idle connections of one pool.
#[derive(Debug)]
struct IdleStack;

#[derive(Debug)]
struct Connection<C> {
    meta: ConnectionMeta,
    /// The connection itself while nobody else has it: it idles, or is granted and its waiter has not collected it.
    conn: Option<C>,
    /// Its neighbours in the idle stack, while it idles.
    links: Links,
}

impl<C> Linked<IdleStack> for Connection<C> {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Every connection of a node.
///
/// To lend one, to take one back, to find one by its identity and to take an idle one from its stack cost O(1); a change of
/// what is due, O(log n) for n connections ([`DueIndex`]); beyond a few pools, a change of what a pool has to lend, O(log n)
/// for n pools ([`LeastActiveTree`]). What concerns all connections looks at each ([`select`](ConnectionTable::select)): a
/// close, a silence that makes the node suspect, another server in its place, a jump of the clock, a pass of the cleanup, and
/// once in a second, while the cleanup runs, the times of those that came back.
#[derive(Debug)]
pub(crate) struct ConnectionTable<C> {
    slab: Slab<Connection<C>>,
    /// By index, which stays the same as long as a pool exists; None where one was removed.
    pools: Vec<Option<Pool>>,
    /// Connections in one pool.
    limit: usize,
    /// Connections in all of them.
    node_limit: usize,
    /// The same, as other nodes allow it, and how many of them in any case.
    quota: usize,
    reserved: usize,
    counts: PhaseCounts,
    least_active: LeastActiveTree,
    due: DueIndex,
}

const HAS_POOL: &str = "a pool with connections is not removed";

impl<C> ConnectionTable<C> {
    pub(crate) fn new(pools: usize, limit: usize, node_limit: usize) -> Self {
        Self {
            slab: Slab::new(),
            pools: (0..pools).map(|index| Some(Pool::new(limit_of(index, limit, node_limit)))).collect(),
            limit,
            node_limit,
            quota: usize::MAX,
            reserved: usize::MAX,
            counts: PhaseCounts::default(),
            least_active: LeastActiveTree::of(pools),
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

    #[inline]
    pub(crate) fn idle(&self) -> usize {
        self.counts.of(Phase::Idle)
    }

    pub(crate) fn quota(&self) -> usize {
        self.quota
    }

    pub(crate) fn set_quota(&mut self, quota: usize, reserved: usize) {
        (self.quota, self.reserved) = (quota, reserved);
    }

    /// The pools by index: how many of their connections are in which phase.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (usize, PhaseCounts)> {
        self.pools.iter().enumerate().filter_map(|(index, pool)| Some((index, pool.as_ref()?.counts)))
    }

    pub(crate) fn pool_count(&self) -> usize {
        self.pools().count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &ConnectionMeta)> {
        self.slab.iter().map(|(slot, generation, entry)| (ConnId::new(slot, generation), &entry.meta))
    }

    /// The connections of which `wanted` is true: a look at each.
    pub(crate) fn select(&self, wanted: impl Fn(&ConnectionMeta) -> bool) -> Vec<ConnId> {
        self.iter().filter(|(_, meta)| wanted(meta)).map(|(id, _)| id).collect()
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&ConnectionMeta> {
        self.slab.get(id.slot(), id.generation()).map(|entry| &entry.meta)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut ConnectionMeta> {
        self.slab.get_mut(id.slot(), id.generation()).map(|entry| &mut entry.meta)
    }

    /// Takes a slot for a connection that is being dialled.
    pub(crate) fn open(&mut self, pool: usize, now: Instant, trust_epoch: u64, server_generation: u64) -> ConnId {
        let meta = ConnectionMeta::of_dial(pool, now, trust_epoch, server_generation);
        let entry = Connection { meta, conn: None, links: Links::default() };
        let (slot, generation) = self.slab.insert(entry);
        self.counts.enter(Phase::Connecting);
        self.pool_mut(pool).counts.enter(Phase::Connecting);
        ConnId::new(slot, generation)
    }

    /// Frees the slot of a connection that is no more.
    pub(crate) fn free(&mut self, id: ConnId) -> Option<ConnectionMeta> {
        self.get(id)?;
        let Connection { mut meta, conn, .. } = self.slab.remove(id.slot())?;
        debug_assert!(conn.is_none(), "I8: a connection leaves by a close");
        self.due.strike(id.slot(), meta.due_mut());
        self.counts.leave(meta.phase());
        // Its place is first of all for the caller that has waited longest, at whatever node.
        self.quota = self.quota.min(self.counts.total().max(self.reserved));
        self.pool_mut(meta.pool()).counts.leave(meta.phase());
        Some(meta)
    }

    /// Moves a connection that nobody is to have to another phase.
    pub(crate) fn shift(&mut self, id: ConnId, to: Phase) {
        self.shift_in(id.slot(), to);
        let meta = &mut self.slab.at_mut(id.slot()).meta;
        match to {
            Phase::Closing => self.due.strike(id.slot(), meta.due_mut()),
            Phase::Checking => self.due.strike_check(id.slot(), meta.due_mut()),
            Phase::Connecting | Phase::Overdue | Phase::Idle | Phase::Granted | Phase::Leased | Phase::Lost | Phase::Cleaning => {
            }
        }
    }

    /// Puts a connection on its pool's idle stack after use.
    pub(crate) fn add_idle(&mut self, id: ConnId, conn: C) {
        let index = self.shift_in(id.slot(), Phase::Idle);
        self.slab.at_mut(id.slot()).conn = Some(conn);
        self.pools[index].as_mut().expect(HAS_POOL).idle.push_front(&mut self.slab, id.slot());
    }

    /// The same without a look at the clock: the time will be noted later. Gives the connection back unless it is known
    /// as well as fit: it has answered since `trust_epoch` began and is not to be retired; and its lease is not timed.
    #[inline]
    pub(crate) fn add_idle_untimed(&mut self, loan: Loan<C>, trust_epoch: u64) -> Result<(), Loan<C>> {
        let found = self.slab.get_mut(loan.id.slot(), loan.id.generation());
        let Some(entry) = found.filter(|entry| entry.meta.is_ready(trust_epoch)) else {
            return Err(loan);
        };
        let was = entry.meta.enter(Phase::Idle);
        debug_assert_eq!(was, Phase::Leased, "what comes back was on loan");
        entry.meta.set_idle_since(None);
        entry.conn = Some(loan.conn);
        let index = entry.meta.pool();
        let pool = self.pools[index].as_mut().expect(HAS_POOL);
        pool.counts.shift(Phase::Leased, Phase::Idle);
        pool.idle.push_front(&mut self.slab, loan.id.slot());
        self.counts.shift(Phase::Leased, Phase::Idle);
        if self.least_active.is_kept() {
            self.update_least_active(index);
        }
        Ok(())
    }

    /// Whether a connection that comes back may be lent again as it is, and its lease is not timed.
    pub(crate) fn is_ready(&self, id: ConnId, trust_epoch: u64) -> bool {
        self.get(id).is_some_and(|meta| meta.is_ready(trust_epoch))
    }

    /// Puts a connection at the bottom of its pool's idle stack, after a check: probing is not use.
    pub(crate) fn add_idle_below(&mut self, id: ConnId, conn: C) {
        let index = self.shift_in(id.slot(), Phase::Idle);
        self.slab.at_mut(id.slot()).conn = Some(conn);
        self.pools[index].as_mut().expect(HAS_POOL).idle.push_back(&mut self.slab, id.slot());
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
        pool.lend(&mut self.slab)
    }

    /// The same where there are so many pools that the least active one is known.
    #[inline(never)]
    fn lend_least_active(&mut self) -> Option<(ConnId, C)> {
        let index = self.least_active.first()?;
        let pool = self.pools[index].as_mut().expect(HAS_POOL);
        self.counts.shift(Phase::Idle, Phase::Leased);
        let lent = pool.lend(&mut self.slab);
        self.update_least_active(index);
        lent
    }

    /// Keeps a connection that was on loan, or just lent, for the waiter that it was granted to.
    #[inline]
    pub(crate) fn hold_for(&mut self, id: ConnId, waiter: WaiterId, conn: C) {
        let entry = self.slab.at_mut(id.slot());
        let was = entry.meta.enter(Phase::Granted);
        debug_assert_eq!(was, Phase::Leased, "what is granted was on loan or is lent for that");
        entry.meta.set_granted_to(Some(waiter));
        entry.conn = Some(conn);
        let index = entry.meta.pool();
        self.count(index, Phase::Leased, Phase::Granted);
    }

    /// Takes a connection that was granted: it is on loan now.
    #[inline]
    pub(crate) fn take_held(&mut self, id: ConnId) -> Option<C> {
        let found = self.slab.get_mut(id.slot(), id.generation());
        let entry = found.filter(|entry| entry.meta.phase() == Phase::Granted)?;
        entry.meta.enter(Phase::Leased);
        entry.meta.set_granted_to(None);
        let conn = entry.conn.take();
        let index = entry.meta.pool();
        self.count(index, Phase::Granted, Phase::Leased);
        conn
    }

    /// Takes a certain connection off its idle stack; None if it does not idle.
    pub(crate) fn remove_idle(&mut self, id: ConnId, to: Phase) -> Option<C> {
        let index = self.get(id).filter(|meta| meta.phase() == Phase::Idle)?.pool();
        self.pools[index].as_mut().expect(HAS_POOL).idle.remove(&mut self.slab, id.slot());
        self.shift(id, to);
        self.slab.at_mut(id.slot()).conn.take()
    }

    /// Sets when a connection is to be checked.
    pub(crate) fn set_check(&mut self, id: ConnId, at: Instant) {
        self.due.set_check(id.slot(), self.slab.at_mut(id.slot()).meta.due_mut(), at);
    }

    /// Sets when the lifetime of a connection ends.
    pub(crate) fn set_end(&mut self, id: ConnId, at: Instant) {
        self.due.set_end(id.slot(), self.slab.at_mut(id.slot()).meta.due_mut(), at);
    }

    /// A connection that is out of reach is not to be lent again.
    pub(crate) fn retire(&mut self, id: ConnId, reason: CloseReason) {
        let meta = &mut self.slab.at_mut(id.slot()).meta;
        meta.set_retire(reason);
        self.due.strike(id.slot(), meta.due_mut());
    }

    /// When the next check is due.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.due.next_check()
    }

    /// The connection whose lifetime ends next, and when.
    pub(crate) fn next_end(&self) -> Option<(Instant, ConnId)> {
        self.due.next_end().map(|(at, slot)| (at, self.id(slot)))
    }

    /// The connections whose check is due.
    pub(crate) fn due_for_check(&self, now: Instant) -> Vec<ConnId> {
        self.due.due_for_check(now).map(|slot| self.id(slot)).collect()
    }

    /// Connections that came back without a look at the clock get the time now.
    pub(crate) fn note_idle_times(&mut self, now: Instant) {
        for Connection { meta, .. } in self.slab.values_mut() {
            // One that is out for a check meanwhile must not be passed over: the next time may be far off.
            if matches!(meta.phase(), Phase::Idle | Phase::Checking) && meta.idle_since().is_none() {
                meta.set_idle_since(Some(now));
            }
        }
    }

    /// Moves all that measures wear into the future, but nothing that has happened beyond `now`. O(n) for the times since
    /// when connections idle; clocks seldom jump.
    pub(crate) fn forgive(&mut self, now: Instant, by: Duration) {
        self.due.forgive(by);
        for Connection { meta, .. } in self.slab.values_mut() {
            meta.set_idle_since(meta.idle_since().map(|since| (since + by).min(now)));
        }
    }

    fn id(&self, slot: u32) -> ConnId {
        ConnId::new(slot, self.slab.generation(slot))
    }

    fn pool_mut(&mut self, index: usize) -> &mut Pool {
        self.pools[index].as_mut().expect(HAS_POOL)
    }

    fn shift_in(&mut self, slot: u32, to: Phase) -> usize {
        let meta = &mut self.slab.at_mut(slot).meta;
        let from = meta.enter(to);
        let index = meta.pool();
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
}

/// Connections of the pool of this index at most: the last one has what the others leave it of the node's.
fn limit_of(index: usize, limit: usize, node_limit: usize) -> usize {
    limit.min(node_limit.saturating_sub(index * limit))
}

impl Pool {
    fn new(limit: usize) -> Self {
        Self { counts: PhaseCounts::default(), limit, idle: List::new() }
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.counts.total() < self.limit
    }

    #[inline]
    fn lend<C>(&mut self, slab: &mut Slab<Connection<C>>) -> Option<(ConnId, C)> {
        let (slot, generation, entry) = self.idle.pop_front(slab)?;
        self.counts.shift(Phase::Idle, Phase::Leased);
        entry.meta.enter(Phase::Leased);
        let conn = entry.conn.take().expect("what idles is there");
        Some((ConnId::new(slot, generation), conn))
    }
}
