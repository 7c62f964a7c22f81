//! The handshake of a node with its driver: when the driver sleeps, what wakes it, and when it ends.

use std::task::Waker;

use crate::state::{Action, NodeState};
use crate::time::Instant;

/// What the node has noted of its driver.
///
/// ```text
///  Busy <--> Asleep --> Gone        its work is then done by the calls that come through the node
/// ```
pub(super) enum DriverState {
    /// It is awake, or will be polled for the first time.
    Busy,
    /// It is to be woken for actions and for a deadline before this one.
    Asleep { waker: Waker, until: Option<Instant> },
    /// It has ended.
    Gone(DriverEnd),
}

/// Why a driver is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DriverEnd {
    /// It was not needed any more.
    Retired,
    /// It died with its runtime, while the pool was open.
    RuntimeEnded,
}

/// What the driver is to do next.
pub(crate) struct DriverStep<C> {
    pub(crate) actions: Vec<Action<C>>,
    pub(crate) next: DriverNext,
}

pub(crate) enum DriverNext {
    Sleep { until: Option<Instant> },
    End,
}

impl DriverState {
    /// Whether no more ticks will come.
    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Whether it has ended because its runtime has.
    pub(super) fn has_lost_runtime(&self) -> bool {
        matches!(self, Self::Gone(DriverEnd::RuntimeEnded))
    }

    /// The driver is awake; what was noted before is to be dropped once the lock is open.
    pub(super) fn set_busy(&mut self) -> Self {
        std::mem::replace(self, Self::Busy)
    }

    /// The driver goes to sleep, for which it takes `waker`, or ends because nothing is left that it could be needed for.
    pub(super) fn rest<C>(&mut self, state: &NodeState<C>, has_actions: bool, waker: &mut Option<Waker>) -> DriverNext {
        match waker.take_if(|_| has_actions || !state.is_finished()) {
            Some(waker) => {
                let until = state.next_deadline();
                *self = Self::Asleep { waker, until };
                DriverNext::Sleep { until }
            }
            None => {
                *self = Self::Gone(DriverEnd::Retired);
                DriverNext::End
            }
        }
    }

    /// The waker of a driver that sleeps although there is something for it, or sleeps for too long.
    #[inline]
    pub(super) fn rouse<C>(&mut self, state: &NodeState<C>) -> Option<Waker> {
        let Self::Asleep { until, .. } = self else { return None };
        let sooner = match (state.next_deadline(), until) {
            (Some(next), Some(until)) => next < *until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner || state.has_actions() || state.is_finished() { self.set_busy().into_waker() } else { None }
    }

    /// The driver ends.
    pub(super) fn end(&mut self, end: DriverEnd) -> Option<Waker> {
        std::mem::replace(self, Self::Gone(end)).into_waker()
    }

    fn into_waker(self) -> Option<Waker> {
        match self {
            Self::Asleep { waker, .. } => Some(waker),
            Self::Busy | Self::Gone(_) => None,
        }
    }
}

impl<C> DriverStep<C> {
    /// There is nothing to do any more.
    pub(super) fn end() -> Self {
        Self { actions: Vec::new(), next: DriverNext::End }
    }
}
