//! The model: the rules that hold whatever happens.

use super::{At, BEAT, Conn, DialAge, Model, ModelGate, ModelLifecycle, ModelWait, ModelWaiter, Said, Told, Word};
use crate::close_reason::CloseReason;
use crate::state::Health;
use crate::time::Instant;

impl Model {
    pub(super) fn tick(&mut self, woken: &[u32]) {
        let now = self.now;
        let is_due = |waiter: &&ModelWaiter| waiter.deadline <= now && !matches!(waiter.wait, ModelWait::Told(_));
        let shown = |waiter: u32| woken.iter().rposition(|other| *other == waiter);
        let mut due: Vec<_> = self.waiters.iter().filter(is_due).map(|waiter| (waiter.deadline, waiter.waiter)).collect();
        due.sort_by_key(|(deadline, waiter)| (*deadline, shown(*waiter)));
        for (_, waiter) in due {
            let index = self.waiters.iter().position(|other| other.waiter == waiter).expect("just seen");
            let result = self.bad_news(self.waiters[index].since);
            let wait = self.waiters[index].wait;
            self.tell(index, result);
            if let ModelWait::Granted(conn) = wait {
                self.take_back(conn, Word::Sound);
            }
        }
        // One that is due for more than a beat already has not had its time: nobody ran.
        self.forget(|conn| matches!(conn.at, At::Closing { since } if since + BEAT <= now && now <= since + BEAT * 2));
        for conn in &mut self.conns {
            if matches!(conn.at, At::Closing { since } if since + BEAT <= now) {
                conn.at = At::Closing { since: now };
            }
        }
        if let ModelLifecycle::Closing { force_at } = self.life
            && force_at <= now
        {
            self.force();
        }
        self.dispatch();
    }

    /// Connections that are closed count no more; a dial that a mere suspicion wanted at once may have room then.
    pub(super) fn forget(&mut self, closed: impl Fn(&Conn) -> bool) {
        let before = self.conns.len();
        self.conns.retain(|conn| !closed(conn));
        if let ModelGate::Failing { refused: false, by } = &mut self.gate
            && self.conns.len() < before
        {
            *by = self.now.min(*by);
        }
    }

    pub(super) fn force(&mut self) {
        for conn in
            self.conns.iter().filter(|conn| matches!(conn.at, At::Leased | At::Lost)).map(|conn| conn.conn).collect::<Vec<_>>()
        {
            self.find(conn).at = At::Closing { since: self.now };
            self.said.push(Said::Kill(conn));
        }
        self.conns.retain(|conn| !matches!(conn.at, At::Checking | At::Cleaning));
        self.dials = 0;
        self.dial_ages.clear();
        self.life = ModelLifecycle::Closing { force_at: Instant::from_nanos(u64::MAX) };
    }

    /// With nothing but dead connections on loan, a dial shows at once whether the node lives.
    fn look_for_life(&mut self) {
        let alive = self.count(|at| matches!(at, At::Idle | At::Granted | At::Leased));
        if alive == 0 && self.count(|at| at == At::Lost) > 0 {
            self.suspect();
        }
    }

    fn suspect(&mut self) {
        if self.life == ModelLifecycle::Open && !matches!(self.gate, ModelGate::Failing { .. }) {
            self.gate = ModelGate::Failing { refused: false, by: self.now };
        }
    }

    pub(super) fn dispatch(&mut self) {
        if matches!(self.life, ModelLifecycle::Closing { .. }) {
            // A pool that closes does not wait for what has died on loan.
            for conn in self.those(At::Lost) {
                self.find(conn).at = At::Closing { since: self.now };
                self.said.push(Said::Kill(conn));
            }
        }
        if matches!(self.life, ModelLifecycle::Closing { .. }) && self.conns.is_empty() && self.dials == 0 {
            self.life = ModelLifecycle::Closed;
        }
        if self.life != ModelLifecycle::Open {
            return;
        }
        for index in 0..self.waiters.len() {
            if self.waiters[index].wait == ModelWait::Queued
                && let Some(conn) = self.idle.pop()
            {
                self.find(conn).at = At::Granted;
                self.waiters[index].wait = ModelWait::Granted(conn);
                self.said.push(Said::Wake(self.waiters[index].waiter));
            }
        }
        self.look_for_life();
        while self.may_dial() && self.has_room() && self.is_dial_wanted() {
            self.dial();
        }
        if let ModelGate::Failing { by, refused } = self.gate
            && by <= self.now
            && self.dials == 0
        {
            self.gate = ModelGate::Failing { by: self.now + BEAT, refused };
        }
        if self.is_hopeless() {
            self.tell_all_down();
        }
    }

    pub(super) fn may_dial(&self) -> bool {
        match self.gate {
            ModelGate::Open => true,
            ModelGate::Ramp { width, .. } => self.dials < width,
            ModelGate::Failing { by, .. } => self.dials == 0 && by <= self.now,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.conns.len() + self.dials < self.scope.limit
    }

    /// Whether fewer than `min_idle` idle, or are about to.
    pub(super) fn is_below_minimum(&self) -> bool {
        self.count(|at| matches!(at, At::Idle | At::Checking | At::Cleaning)) + self.dials < self.scope.min_idle
    }

    pub(super) fn is_dial_wanted(&self) -> bool {
        let probe = usize::from(matches!(self.gate, ModelGate::Failing { .. }));
        self.is_below_minimum() || self.queued().max(probe) > self.dials
    }

    pub(super) fn dial(&mut self) {
        self.dials += 1;
        self.dial_ages.push(DialAge::default());
        self.said.push(Said::Connect);
    }

    pub(super) fn is_hopeless(&self) -> bool {
        (self.scope.fail_fast || self.hopeless) && self.health() == Health::Down
    }

    pub(super) fn dial_failed(&mut self, for_good: bool) {
        if self.life != ModelLifecycle::Open {
            return;
        }
        self.gate = ModelGate::Failing { refused: true, by: self.now + BEAT };
        self.hopeless = for_good;
    }

    /// A server that hangs up on a new connection has as good as refused it.
    pub(super) fn lost_early(&mut self, born: Instant) {
        if born == self.now && self.life == ModelLifecycle::Open {
            self.dial_failed(false);
            self.stale_dials = self.dials;
        }
    }

    /// Something was silent: nothing is lent any more that has not answered since.
    pub(super) fn distrust(&mut self) {
        if self.life != ModelLifecycle::Open {
            return;
        }
        self.conns.iter_mut().for_each(|conn| conn.trusted = false);
        self.dial_ages.iter_mut().for_each(|age| age.distrusted = true);
        self.suspect();
        for conn in std::mem::take(&mut self.idle) {
            self.find(conn).at = At::Checking;
            self.said.push(Said::Check(conn));
        }
    }

    pub(super) fn take_back(&mut self, conn: u32, word: Word) {
        let Some(&mut Conn { retire, trusted, born, .. }) = self.conns.iter_mut().find(|known| known.conn == conn) else {
            self.said.push(Said::Close(conn, CloseReason::PoolClosed));
            return;
        };
        match (word, retire) {
            (Word::Broken, _) => self.close_conn(conn, CloseReason::Broken),
            (Word::Stale, _) => {
                self.close_conn(conn, CloseReason::Broken);
                self.lost_early(born);
            }
            (Word::Silent, _) => {
                self.close_conn(conn, CloseReason::Broken);
                if trusted {
                    self.distrust();
                }
            }
            (Word::Sound | Word::Soiled, Some(reason)) => self.close_conn(conn, reason),
            (Word::Sound | Word::Soiled, None) if self.life != ModelLifecycle::Open => {
                self.close_conn(conn, CloseReason::PoolClosed)
            }
            (Word::Soiled, None) => {
                self.find(conn).at = At::Cleaning;
                self.said.push(Said::Clean(conn));
            }
            (Word::Sound, None) if trusted => {
                self.find(conn).at = At::Idle;
                self.idle.push(conn);
            }
            (Word::Sound, None) => {
                self.find(conn).at = At::Checking;
                self.said.push(Said::Check(conn));
            }
        }
    }

    pub(super) fn close_conn(&mut self, conn: u32, reason: CloseReason) {
        self.idle.retain(|idle| *idle != conn);
        self.find(conn).at = At::Closing { since: self.now };
        self.said.push(Said::Close(conn, reason));
    }

    pub(super) fn bad_news(&self, since: Instant) -> Told {
        let beats = self.now.saturating_duration_since(since).as_secs();
        match self.health() {
            Health::Down => Told::Down { beats },
            Health::Up | Health::Suspect => Told::TimedOut { beats },
        }
    }

    pub(super) fn tell_all_down(&mut self) {
        for index in 0..self.waiters.len() {
            if self.waiters[index].wait == ModelWait::Queued {
                let beats = self.now.saturating_duration_since(self.waiters[index].since).as_secs();
                self.tell(index, Told::Down { beats });
            }
        }
    }

    pub(super) fn tell(&mut self, index: usize, told: Told) {
        let waiter = &mut self.waiters[index];
        if !matches!(waiter.wait, ModelWait::Told(_)) {
            waiter.wait = ModelWait::Told(told);
            self.said.push(Said::Wake(waiter.waiter));
        }
    }

    pub(super) fn find(&mut self, conn: u32) -> &mut Conn {
        self.conns.iter_mut().find(|known| known.conn == conn).expect("a known connection")
    }

    pub(super) fn remove(&mut self, waiter: u32) -> ModelWaiter {
        let index = self.waiters.iter().position(|other| other.waiter == waiter).expect("a known waiter");
        self.waiters.remove(index)
    }
}
