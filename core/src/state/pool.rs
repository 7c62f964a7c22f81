//! The connections of a node, by pool: the one place where a connection's phase changes and is counted.

use crate::connector::CloseReason;
use crate::state::line::WaiterId;
use crate::state::phase::{Phase, Tally};
use crate::state::shelf::Shelf;
use crate::state::token::{ConnId, Loan};
use crate::time::Instant;

/// All that the ledger knows of one connection.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) pool: usize,
    pub(crate) phase: Phase,
    /// The node's epoch when the connection last showed a sign of life.
    pub(crate) epoch: u64,
    /// The node's generation when the connection was made.
    pub(crate) made_for: u64,
    /// Set when it must not be lent again, while it is out of reach.
    pub(crate) retire: Option<CloseReason>,
    /// When its present phase began: of use while it is connecting or closing.
    pub(crate) entered_at: Instant,
    pub(crate) born_at: Instant,
    pub(crate) expires_at: Instant,
    pub(crate) check_at: Instant,
    /// Since when it has been unused. None: it came back without a look at the clock, not long ago.
    pub(crate) idle_since: Option<Instant>,
    /// The waiter that it was granted to.
    pub(crate) granted_to: Option<WaiterId>,
}

#[derive(Debug)]
struct Slot<C> {
    generation: u32,
    record: Option<Record>,
    /// The connection itself while it is granted, until its waiter collects it.
    parked: Option<C>,
}

/// A group of at most `max_connection_size` connections.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    pub(crate) tally: Tally,
    shelf: Shelf<C>,
}

/// Every connection of a node.
#[derive(Debug)]
pub(crate) struct Roster<C> {
    slots: Vec<Slot<C>>,
    free: Vec<u32>,
    /// By index, which stays the same as long as a pool exists; None where one was removed.
    pools: Vec<Option<Pool<C>>>,
    /// Connections in one pool.
    limit: usize,
    tally: Tally,
}

impl<C> Roster<C> {
    pub(crate) fn new(pools: usize, limit: usize) -> Self {
        let pools = (0..pools).map(|_| Some(Pool::new())).collect();
        Self { slots: Vec::new(), free: Vec::new(), pools, limit, tally: Tally::default() }
    }

    /// All connections of the node by phase.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = (usize, &Pool<C>)> {
        self.pools.iter().enumerate().filter_map(|(index, pool)| Some((index, pool.as_ref()?)))
    }

    pub(crate) fn pool_count(&self) -> usize {
        self.pools().count()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (ConnId, &Record)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| {
            let id = ConnId::new(slot as u32, entry.generation);
            Some((id, entry.record.as_ref()?))
        })
    }

    pub(crate) fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.slots.iter_mut().filter_map(|entry| entry.record.as_mut())
    }

    /// The connections of which `wanted` is true.
    pub(crate) fn select(&self, wanted: impl Fn(&Record) -> bool) -> Vec<ConnId> {
        self.records().filter(|(_, record)| wanted(record)).map(|(id, _)| id).collect()
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Record> {
        let slot = self.slots.get(id.slot() as usize)?;
        slot.record.as_ref().filter(|_| slot.generation == id.generation())
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Record> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        let current = slot.generation == id.generation();
        slot.record.as_mut().filter(|_| current)
    }

    /// Takes a slot for a connection that is being dialled.
    pub(crate) fn open(&mut self, pool: usize, now: Instant) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, record: None, parked: None });
            u32::try_from(self.slots.len() - 1).expect("the limits of pools and connections keep this below 2^32")
        });
        let entry = &mut self.slots[slot as usize];
        entry.record = Some(Record {
            pool,
            phase: Phase::Connecting,
            epoch: 0,
            made_for: 0,
            retire: None,
            entered_at: now,
            born_at: now,
            expires_at: now,
            check_at: now,
            idle_since: None,
            granted_to: None,
        });
        let id = ConnId::new(slot, entry.generation);
        self.tally.enter(Phase::Connecting);
        self.pool_mut(pool).tally.enter(Phase::Connecting);
        id
    }

    /// Frees the slot of a connection that is no more.
    pub(crate) fn free(&mut self, id: ConnId) -> Option<Record> {
        self.get(id)?;
        let slot = &mut self.slots[id.slot() as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let record = slot.record.take()?;
        self.free.push(id.slot());
        self.tally.leave(record.phase);
        self.pool_mut(record.pool).tally.leave(record.phase);
        Some(record)
    }

    /// Moves a connection that is not on a shelf to another phase; the only place where counts change in a life.
    pub(crate) fn shift(&mut self, id: ConnId, to: Phase) {
        self.shift_in(id.slot(), to);
    }

    /// Puts a connection on its pool's shelf after use.
    pub(crate) fn shelve(&mut self, id: ConnId, conn: C) {
        let (_, pool) = self.shift_in(id.slot(), Phase::Idle);
        pool.shelf.put(id.slot(), conn);
    }

    /// The same without a look at the clock: the time will be noted later. Gives the connection back unless it is known
    /// as well as fit: it has answered since `epoch` began and is not to be retired.
    #[inline]
    pub(crate) fn shelve_unnoted(&mut self, loan: Loan<C>, epoch: u64) -> Result<(), Loan<C>> {
        let Some(record) = self.get_mut(loan.id).filter(|record| record.epoch == epoch && record.retire.is_none()) else {
            return Err(loan);
        };
        record.idle_since = None;
        let from = std::mem::replace(&mut record.phase, Phase::Idle);
        let index = record.pool;
        let pool = self.pool_mut(index);
        pool.tally.shift(from, Phase::Idle);
        pool.shelf.put(loan.id.slot(), loan.conn);
        self.tally.shift(from, Phase::Idle);
        Ok(())
    }

    /// Whether a connection that comes back may be lent again as it is.
    pub(crate) fn is_fit(&self, id: ConnId, epoch: u64) -> bool {
        self.get(id).is_some_and(|record| record.epoch == epoch && record.retire.is_none())
    }

    /// Puts a connection on its pool's shelf after a check.
    pub(crate) fn shelve_below(&mut self, id: ConnId, conn: C) {
        let (_, pool) = self.shift_in(id.slot(), Phase::Idle);
        pool.shelf.put_below(id.slot(), conn);
    }

    /// Lends an idle connection of the pool with the fewest active ones; the lowest index where several have as few.
    #[inline]
    pub(crate) fn lend(&mut self) -> Option<(ConnId, C)> {
        if self.tally.of(Phase::Idle) == 0 {
            return None;
        }
        let idle = self.pools.iter_mut().flatten().filter(|pool| !pool.shelf.is_empty());
        let pool = idle.min_by_key(|pool| pool.tally.active())?;
        let (slot, conn) = pool.shelf.pop()?;
        pool.tally.shift(Phase::Idle, Phase::Leased);
        self.tally.shift(Phase::Idle, Phase::Leased);
        let Slot { generation, record, .. } = &mut self.slots[slot as usize];
        record.as_mut().expect("what lies on a shelf has a record").phase = Phase::Leased;
        Some((ConnId::new(slot, *generation), conn))
    }

    /// Keeps a connection for the waiter that it was granted to.
    pub(crate) fn park(&mut self, id: ConnId, waiter: WaiterId, conn: C) {
        let (record, _) = self.shift_in(id.slot(), Phase::Granted);
        record.granted_to = Some(waiter);
        self.slots[id.slot() as usize].parked = Some(conn);
    }

    /// Takes a connection that was granted: it is on loan now.
    pub(crate) fn unpark(&mut self, id: ConnId) -> Option<C> {
        let conn = self.slots[id.slot() as usize].parked.take()?;
        let (record, _) = self.shift_in(id.slot(), Phase::Leased);
        record.granted_to = None;
        Some(conn)
    }

    /// Takes a certain idle connection off its shelf.
    pub(crate) fn unshelve(&mut self, id: ConnId, to: Phase) -> Option<C> {
        let conn = self.pool_of(id).shelf.remove(id.slot())?;
        self.shift(id, to);
        Some(conn)
    }

    /// A pool, of the first `at_start`, that has fewer than `minimum` connections and room for one.
    pub(crate) fn below_minimum(&self, at_start: usize, minimum: usize) -> Option<usize> {
        self.pools()
            .take_while(|(index, _)| *index < at_start)
            .find(|(_, pool)| pool.tally.open() < minimum && pool.tally.total() < self.limit)
            .map(|(index, _)| index)
    }

    /// The pool with the fewest active connections that has room; a new one if none has and `most` allows it.
    pub(crate) fn with_room(&mut self, most: usize) -> Option<usize> {
        let least = self
            .pools()
            .filter(|(_, pool)| pool.tally.total() < self.limit)
            .min_by_key(|(_, pool)| (pool.tally.active() + pool.tally.dialled(), pool.tally.total()))
            .map(|(index, _)| index);
        least.or_else(|| (self.pool_count() < most).then(|| self.add_pool()))
    }

    /// Whether there is no room for a connection, in as many pools as there may be. May say no too often: a pool that was
    /// removed from among the others leaves a gap.
    pub(crate) fn is_full(&self, most: usize) -> bool {
        self.pools.len() >= most && self.tally.total() >= self.pools.len() * self.limit
    }

    /// Whether a connection could be dialled now.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        self.pool_count() < most || self.pools().any(|(_, pool)| pool.tally.total() < self.limit)
    }

    /// Removes pools without any connection, of those beyond the first `at_start`.
    pub(crate) fn remove_empty_surplus(&mut self, at_start: usize) {
        for pool in self.pools.iter_mut().skip(at_start) {
            if pool.as_ref().is_some_and(|pool| pool.tally.total() == 0) {
                *pool = None;
            }
        }
        while let Some(None) = self.pools.last() {
            self.pools.pop();
        }
    }

    fn add_pool(&mut self) -> usize {
        match self.pools.iter().position(Option::is_none) {
            Some(gap) => {
                self.pools[gap] = Some(Pool::new());
                gap
            }
            None => {
                self.pools.push(Some(Pool::new()));
                self.pools.len() - 1
            }
        }
    }

    fn pool_mut(&mut self, index: usize) -> &mut Pool<C> {
        self.pools[index].as_mut().expect("a pool with connections is not removed")
    }

    fn shift_in(&mut self, slot: u32, to: Phase) -> (&mut Record, &mut Pool<C>) {
        let record = self.slots[slot as usize].record.as_mut().expect("callers hold the slot's token");
        let pool = self.pools[record.pool].as_mut().expect("a pool with connections is not removed");
        let from = std::mem::replace(&mut record.phase, to);
        pool.tally.shift(from, to);
        self.tally.shift(from, to);
        (record, pool)
    }

    fn pool_of(&mut self, id: ConnId) -> &mut Pool<C> {
        let record = self.slots[id.slot() as usize].record.as_ref().expect("callers hold the slot's token");
        self.pools[record.pool].as_mut().expect("a pool with connections is not removed")
    }
}

impl<C> Pool<C> {
    fn new() -> Self {
        Self { tally: Tally::default(), shelf: Shelf::new() }
    }

    #[cfg(any(test, debug_assertions, feature = "testing"))]
    pub(crate) fn shelved(&self) -> usize {
        self.shelf.len()
    }
}
