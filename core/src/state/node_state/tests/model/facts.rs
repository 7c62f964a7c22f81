//! The model: what each thing that happens does.

use super::{At, BEAT, Conn, Model, ModelGate, ModelLifecycle, ModelWait, ModelWaiter, Said, Told, Word};
use crate::close_reason::CloseReason;
use crate::time::Instant;

impl Model {
    pub(in crate::state::node_state::tests) fn acquire(&mut self, waiter: u32, timeout: std::time::Duration) -> Told {
        if self.life != ModelLifecycle::Open {
            return Told::Closed;
        }
        if self.queued() == 0
            && let Some(conn) = self.idle.pop()
        {
            self.find(conn).at = At::Leased;
            if !matches!(self.gate, ModelGate::Failing { .. }) && self.has_room() && self.is_below_minimum() {
                self.dispatch();
            }
            return Told::Loan(conn);
        }
        if self.is_hopeless() {
            self.dispatch();
            return Told::Down { beats: 0 };
        }
        if self.queued() >= self.scope.max_waiters {
            return Told::Saturated;
        }
        self.arrivals += 1;
        let (since, deadline) = (self.now, self.now + timeout);
        self.waiters.push(ModelWaiter { waiter, arrival: self.arrivals, since, deadline, wait: ModelWait::Queued });
        self.dispatch();
        Told::Waiting
    }

    /// Asks without waiting; a dial is ordered for the next one who asks.
    pub(in crate::state::node_state::tests) fn try_acquire(&mut self) -> Told {
        if self.life != ModelLifecycle::Open {
            return Told::Closed;
        }
        if self.queued() == 0
            && let Some(conn) = self.idle.pop()
        {
            self.find(conn).at = At::Leased;
            if !matches!(self.gate, ModelGate::Failing { .. }) && self.has_room() && self.is_below_minimum() {
                self.dispatch();
            }
            return Told::Loan(conn);
        }
        if self.dials == 0 && self.may_dial() && self.has_room() {
            self.dial();
        }
        self.dispatch();
        self.bad_news(self.now)
    }

    pub(in crate::state::node_state::tests) fn cancel(&mut self, waiter: u32) {
        match self.remove(waiter).wait {
            // The fast path, which sees no clock: there is one waiter less and nothing else.
            ModelWait::Queued => return,
            ModelWait::Granted(conn) => self.take_back(conn, Word::Sound),
            ModelWait::Told(_) => {}
        }
        self.dispatch();
    }

    pub(in crate::state::node_state::tests) fn collect(&mut self, waiter: u32) -> Told {
        match self.remove(waiter).wait {
            ModelWait::Granted(conn) => {
                self.find(conn).at = At::Leased;
                Told::Loan(conn)
            }
            ModelWait::Told(told) => told,
            ModelWait::Queued => unreachable!("only asked of waiters with an outcome"),
        }
    }

    /// A waiter finds that what it was granted is dead; it keeps its place.
    pub(in crate::state::node_state::tests) fn refuse(&mut self, waiter: u32) {
        let mut again = self.remove(waiter);
        let ModelWait::Granted(conn) = again.wait else { unreachable!("only asked of waiters with a grant") };
        self.find(conn).at = At::Leased;
        self.release(conn, Word::Stale);
        again.wait = ModelWait::Queued;
        let place = self.waiters.iter().position(|other| other.arrival > again.arrival).unwrap_or(self.waiters.len());
        self.waiters.insert(place, again);
        self.dispatch();
    }

    pub(in crate::state::node_state::tests) fn release(&mut self, conn: u32, word: Word) {
        self.take_back(conn, word);
        self.dispatch();
    }

    /// Comes back sound by the fast path, which sees neither the clock nor anything but the idle stack.
    pub(in crate::state::node_state::tests) fn put_back(&mut self, conn: u32) {
        self.take_back(conn, Word::Sound);
        if self.queued() > 0 || self.idle.last() != Some(&conn) {
            self.dispatch();
        }
    }

    pub(in crate::state::node_state::tests) fn connected(&mut self, conn: u32, nth: usize) {
        let counted = self.dials > 0;
        if !counted {
            self.said.push(Said::Close(conn, CloseReason::PoolClosed));
            return;
        }
        self.dials -= 1;
        let proves_nothing = self.end_stale_dial();
        let age = self.dial_ages.remove(nth);
        let (trusted, current) = (!age.distrusted, !age.outdated);
        let retire = (!current && self.life == ModelLifecycle::Open).then_some(CloseReason::Outdated);
        self.conns.push(Conn { conn, at: At::Leased, born: self.now, trusted, retire, current });
        if self.life == ModelLifecycle::Open && !proves_nothing && trusted {
            self.hopeless = false;
            self.gate = match self.gate {
                ModelGate::Open | ModelGate::Ramp { width: 4, done: 3 } => ModelGate::Open,
                ModelGate::Failing { .. } => ModelGate::Ramp { width: 1, done: 0 },
                ModelGate::Ramp { width, done } if done + 1 == width => ModelGate::Ramp { width: 2 * width, done: 0 },
                ModelGate::Ramp { width, done } => ModelGate::Ramp { width, done: done + 1 },
            };
        }
        self.release(conn, Word::Sound);
    }

    pub(in crate::state::node_state::tests) fn connect_failed(&mut self, for_good: bool, nth: usize) {
        let counted = self.dials > 0;
        if counted {
            self.dials -= 1;
            self.end_stale_dial();
            self.dial_ages.remove(nth);
            self.dial_failed(for_good);
        }
        self.dispatch();
    }

    /// The oldest dial has ended; says whether it had begun before a new connection was lost.
    fn end_stale_dial(&mut self) -> bool {
        let stale = self.stale_dials > 0;
        self.stale_dials = self.stale_dials.saturating_sub(1);
        stale
    }

    pub(in crate::state::node_state::tests) fn checked(&mut self, conn: u32, word: Word) {
        match word {
            Word::Sound if self.knows(conn) => {
                self.find(conn).trusted = true;
                if let ModelGate::Failing { refused: false, .. } = self.gate {
                    self.gate = ModelGate::Ramp { width: 1, done: 0 };
                }
                let checked = self.find(conn).at == At::Checking;
                self.take_back(conn, Word::Sound);
                // Probing is not use; cleaning follows one.
                if checked && self.find(conn).at == At::Idle {
                    self.idle.pop();
                    self.idle.insert(0, conn);
                }
            }
            Word::Broken | Word::Silent if self.knows(conn) => {
                let Conn { trusted, at, .. } = *self.find(conn);
                let reason = if at == At::Cleaning { CloseReason::Unclean } else { CloseReason::CheckFailed };
                self.close_conn(conn, reason);
                if word == Word::Silent && trusted {
                    self.distrust();
                }
            }
            Word::Sound | Word::Broken | Word::Silent | Word::Stale | Word::Soiled => {
                self.said.push(Said::Close(conn, CloseReason::PoolClosed));
            }
        }
        self.dispatch();
    }

    pub(in crate::state::node_state::tests) fn closed(&mut self, conn: u32) {
        self.forget(|known| known.conn == conn && matches!(known.at, At::Closing { .. }));
        self.dispatch();
    }

    pub(in crate::state::node_state::tests) fn died(&mut self, conn: u32) {
        let Conn { at, born, .. } = *self.find(conn);
        match at {
            At::Idle => self.close_conn(conn, CloseReason::Broken),
            At::Granted => {
                let waiter = self.waiters.iter_mut().find(|waiter| waiter.wait == ModelWait::Granted(conn));
                waiter.expect("whom it was granted to").wait = ModelWait::Queued;
                self.close_conn(conn, CloseReason::Broken);
            }
            At::Leased => {
                let lost = self.find(conn);
                (lost.at, lost.retire) = (At::Lost, Some(CloseReason::Broken));
            }
            At::Checking | At::Cleaning => self.find(conn).retire = Some(CloseReason::Broken),
            At::Lost | At::Closing { .. } => {}
        }
        if matches!(at, At::Idle | At::Granted) {
            self.lost_early(born);
        }
        self.dispatch();
    }

    /// A borrower hears that the node is not ready.
    pub(in crate::state::node_state::tests) fn not_ready(&mut self, conn: u32) {
        if self.knows(conn) && self.find(conn).trusted {
            self.distrust();
        }
        self.dispatch();
    }

    /// A borrower hears that this is no longer the server that is wanted.
    pub(in crate::state::node_state::tests) fn outdated(&mut self, conn: u32) {
        let known = self.knows(conn) && self.find(conn).current;
        if known && self.life == ModelLifecycle::Open && self.next_generation_at <= self.now {
            self.next_generation_at = self.now + BEAT;
            self.dial_ages.iter_mut().for_each(|age| age.outdated = true);
            for conn in std::mem::take(&mut self.idle) {
                self.close_conn(conn, CloseReason::Outdated);
            }
            for conn in &mut self.conns {
                conn.current = false;
                conn.retire = conn.retire.or(Some(CloseReason::Outdated));
            }
        }
        self.dispatch();
    }

    pub(in crate::state::node_state::tests) fn close(&mut self, force_at: Instant) {
        if self.life != ModelLifecycle::Open {
            return;
        }
        self.life = ModelLifecycle::Closing { force_at };
        for index in 0..self.waiters.len() {
            if let ModelWait::Granted(conn) = self.waiters[index].wait {
                self.take_back(conn, Word::Sound);
            }
            self.tell(index, Told::Closed);
        }
        for conn in self.idle.clone() {
            self.close_conn(conn, CloseReason::PoolClosed);
        }
        self.dispatch();
    }

    /// The clock moves by a beat and nobody looks.
    pub(in crate::state::node_state::tests) fn drowse(&mut self) {
        self.now = self.now + BEAT;
    }

    /// A beat with a tick whenever one is due; `woken` is in which order the node's state woke.
    pub(in crate::state::node_state::tests) fn pass(&mut self, woken: &[u32]) {
        self.tick(woken);
        let next = self.now + BEAT;
        if let ModelGate::Failing { by, refused } = self.gate
            && self.life == ModelLifecycle::Open
            && self.dials == 0
            && by <= next
        {
            match self.has_room() {
                true => self.dial(),
                false => self.gate = ModelGate::Failing { by: next + BEAT, refused },
            }
        }
        self.now = next;
        self.tick(woken);
    }
}
