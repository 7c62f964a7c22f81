//! What the lock of a node guards: its state, and the wakers and abort handles that belong to it.
//!
//! Nothing of a user's runs here: wakers and handles come in and go out, to be woken or dropped outside the lock.

use std::task::Waker;

use crate::config::NodeConfig;
use crate::connection_limiter::Membership;
use crate::connector::AbortHandle;
use crate::node::effects::Effects;
use crate::node::handshake::{DriverEnd, DriverState, DriverStep};
use crate::node::slot_table::SlotTable;
use crate::state::{
    Acquired, Closing, ConnId, Input, Loan, NodeState, Outcome, QueuePosition, Returned, Ticket, WaitError, WaitKind, WaiterId,
};
use crate::time::Instant;

pub(super) struct NodeInner<C> {
    state: NodeState<C>,
    /// By the slot of the waiter.
    waiters: SlotTable<Waker>,
    /// Connects and checks under way, by the slot of the connection; woken when the pool closes.
    jobs: SlotTable<Waker>,
    /// By the slot of the connection, for the one that it was given for.
    abort_handles: SlotTable<(ConnId, AbortHandle)>,
    driver: DriverState,
    handles: Handles,
}

/// Whether a handle of the pool is left, by which a connection could be asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handles {
    Held,
    /// The node lives only as long as the lease or the task that comes through it, so that one performs the actions.
    Dropped,
}

impl<C> NodeInner<C> {
    pub(super) fn new(config: NodeConfig, seed: u64) -> Self {
        let is_observed = config.observer().is_some();
        let mut state = NodeState::new(config, seed);
        if is_observed {
            state.observe();
        }
        Self {
            state,
            waiters: SlotTable::new(),
            jobs: SlotTable::new(),
            abort_handles: SlotTable::new(),
            driver: DriverState::Busy,
            handles: Handles::Held,
        }
    }

    #[inline]
    pub(super) fn state(&self) -> &NodeState<C> {
        &self.state
    }

    pub(super) fn start_with_nothing(&mut self) {
        self.state.start_with_nothing();
    }

    #[inline]
    pub(super) fn handle(&mut self, now: Instant, input: Input<C>) {
        self.state.handle(now, input);
    }

    #[inline]
    pub(super) fn take_idle(&mut self) -> Option<Loan<C>> {
        self.state.take_idle()
    }

    #[inline]
    pub(super) fn put_back(&mut self, loan: Loan<C>) -> Returned<C> {
        self.state.put_back(loan)
    }

    pub(super) fn try_acquire(&mut self, now: Instant) -> Result<Loan<C>, WaitError> {
        self.state.try_acquire(now)
    }

    /// Asks for a connection, and notes the waker if it has to be waited for. A pool without a driver is closed: nothing waits
    /// for it for ever.
    #[inline]
    pub(super) fn acquire(&mut self, now: Instant, deadline: Instant, waker: &mut Option<Waker>) -> Acquired<C> {
        let acquired = self.state.acquire(now, deadline);
        self.enlist_waiter(acquired, waker)
    }

    /// The same for something else than a connection.
    pub(super) fn wait_for(&mut self, now: Instant, want: WaitKind, deadline: Instant, waker: &mut Option<Waker>) -> Acquired<C> {
        if self.driver.is_gone() {
            // Nothing would end the wait.
            return Acquired::Closed;
        }
        let acquired = self.state.wait_for(now, want, deadline);
        self.enlist_waiter(acquired, waker)
    }

    #[inline]
    fn enlist_waiter(&mut self, acquired: Acquired<C>, waker: &mut Option<Waker>) -> Acquired<C> {
        if let Acquired::Waiting(id) = acquired {
            debug_assert!(!self.driver.is_gone(), "what waits has a driver");
            self.waiters.swap(id.slot(), waker);
        }
        acquired
    }

    /// The use of a connection on loan begins, and is timed.
    pub(super) fn begin_use(&mut self, now: Instant, id: ConnId) {
        self.state.begin_use(now, id);
    }

    /// The use of a connection on loan has ended.
    pub(super) fn end_use(&mut self, now: Instant, id: ConnId) {
        self.state.end_use(now, id);
    }

    /// Takes a granted connection back as broken, and the same position in the queue.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        loan: Loan<C>,
        position: QueuePosition,
        waker: &mut Option<Waker>,
    ) -> Acquired<C> {
        let acquired = self.state.refuse(now, loan, position);
        self.enlist_waiter(acquired, waker)
    }

    /// The outcome of a wait.
    #[inline]
    pub(super) fn take_outcome(&mut self, now: Instant, id: WaiterId) -> Option<Outcome<C>> {
        self.state.take_outcome(now, id)
    }

    /// The outcome of a wait, or a note of the waker for when it is there; `waker` is then the one that is not needed any more.
    pub(super) fn collect_outcome(&mut self, now: Instant, id: WaiterId, waker: &mut Option<Waker>) -> Option<Outcome<C>> {
        let outcome = self.state.take_outcome(now, id);
        if outcome.is_none() {
            self.waiters.swap(id.slot(), waker);
        }
        outcome
    }

    /// A waiter leaves the queue; false if it is not in it any more.
    #[inline]
    pub(super) fn leave_queue(&mut self, id: WaiterId) -> bool {
        self.state.leave_queue(id)
    }

    #[inline]
    pub(super) fn take_waker(&mut self, id: WaiterId) -> Option<Waker> {
        self.waiters.take(id.slot())
    }

    /// A dial has succeeded; what is left of an abort handle from before is to be dropped outside the lock.
    pub(super) fn connected(
        &mut self,
        now: Instant,
        ticket: Ticket,
        conn: C,
        abort_handle: Option<AbortHandle>,
    ) -> Option<(ConnId, AbortHandle)> {
        let id = ticket.id;
        self.state.handle(now, Input::Connected(ticket, conn));
        let mut abort_handle = abort_handle.map(|abort_handle| (id, abort_handle));
        self.abort_handles.swap(id.slot(), &mut abort_handle);
        abort_handle
    }

    /// A slot may belong to the next connection by now, which keeps its own.
    pub(super) fn take_abort_handle(&mut self, id: ConnId) -> Option<AbortHandle> {
        self.abort_handles.take_if(id.slot(), |(owner, _)| *owner == id).map(|(_, abort_handle)| abort_handle)
    }

    /// A connection counts no more; its abort handle is not needed any more.
    pub(super) fn closed(&mut self, now: Instant, closing: Closing) -> Option<AbortHandle> {
        let abort_handle = closing.id.and_then(|id| self.take_abort_handle(id));
        self.state.handle(now, Input::Closed(closing));
        abort_handle
    }

    /// Notes the waker of a connect or check; false if it is to stop because the pool is closed.
    pub(super) fn enlist_job(&mut self, id: ConnId, waker: &mut Option<Waker>) -> bool {
        let open = self.state.is_open();
        if open {
            self.jobs.swap(id.slot(), waker);
        }
        open
    }

    /// The last handle is gone. Says whether the pool was open.
    pub(super) fn drop_handles(&mut self) -> bool {
        self.handles = Handles::Dropped;
        self.state.is_open()
    }

    /// The driver ends, and with it an open pool. Its waker is to be woken.
    pub(super) fn end_driver(&mut self, now: Instant, end: DriverEnd) -> Option<Waker> {
        let end = if self.state.is_open() { end } else { DriverEnd::Retired };
        self.state.handle(now, Input::DriverLost);
        self.driver.end(end)
    }

    pub(super) fn has_lost_runtime(&self) -> bool {
        self.driver.has_lost_runtime()
    }

    /// What the driver is to do. What is left of `waker`, and the state of the driver from before, are to be dropped outside
    /// the lock.
    pub(super) fn next_step(
        &mut self,
        now: Instant,
        waker: &mut Option<Waker>,
        membership: Option<&Membership>,
        effects: &mut Effects<C>,
    ) -> (DriverStep<C>, Option<DriverState>) {
        if self.driver.is_gone() {
            return (DriverStep::end(), None);
        }
        let previous = self.driver.set_busy();
        if self.state.next_deadline().is_some_and(|at| at <= now) {
            self.state.handle(now, Input::Tick);
        }
        self.collect(now, membership, effects);
        let actions: Vec<_> = std::iter::from_fn(|| self.state.poll_action()).collect();
        let next = self.driver.rest(&self.state, !actions.is_empty(), waker);
        (DriverStep { actions, next }, Some(previous))
    }

    /// Comes to terms with the other nodes and takes the outputs of the state: wakers, and that of the driver if there is
    /// something for it.
    #[inline]
    pub(super) fn collect(&mut self, now: Instant, membership: Option<&Membership>, effects: &mut Effects<C>) {
        if let Some(membership) = membership {
            self.agree(membership, now, effects);
        }
        self.collect_outputs(effects);
    }

    fn collect_outputs(&mut self, effects: &mut Effects<C>) {
        while let Some(id) = self.state.poll_wake() {
            if let Some(waker) = self.waiters.take(id.slot()) {
                effects.wake(waker);
            }
        }
        if !self.state.is_open() {
            // All of them, once: no job is listed any more.
            effects.wake_all(self.jobs.take_all());
        }
        if self.state.has_events() {
            effects.observe(std::iter::from_fn(|| self.state.poll_event()));
        }
        if self.driver.is_gone() || self.handles == Handles::Dropped {
            effects.perform(std::iter::from_fn(|| self.state.poll_action()));
        }
        if let Some(waker) = self.driver.rouse(&self.state) {
            effects.wake(waker);
        }
    }

    /// Reports to the other nodes what this one has and would have, and to the state what they leave it, until both agree.
    /// Each round in which something changes has dials ordered or idle connections closed, or is the last but one.
    #[cold]
    fn agree(&mut self, membership: &Membership, now: Instant, effects: &mut Effects<C>) {
        let state = &mut self.state;
        loop {
            let demand = state.demand();
            let quota = membership.report(demand, |driver| effects.wake(driver));
            if quota == state.quota() {
                return state.note_agreement(&demand);
            }
            state.handle(now, Input::Quota(quota));
        }
    }
}
