//! What is left to do after the lock of a node is open again: wakers to be woken, events to be observed, and actions that
//! have no driver.

use std::task::Waker;

use crate::guard::wake;
use crate::state::{Action, Event};

/// Collected under the lock, run outside it.
pub(crate) struct Effects<C> {
    /// Mostly there is no more than one.
    first_waker: Option<Waker>,
    wakers: Vec<Waker>,
    /// Only if there is an observer.
    events: Vec<Event>,
    /// Only if there is no driver to do them.
    actions: Vec<Action<C>>,
}

impl<C> Effects<C> {
    pub(super) fn new() -> Self {
        Self { first_waker: None, wakers: Vec::new(), events: Vec::new(), actions: Vec::new() }
    }

    pub(super) fn wake(&mut self, waker: Waker) {
        match self.first_waker {
            None => self.first_waker = Some(waker),
            Some(_) => self.wakers.push(waker),
        }
    }

    pub(super) fn wake_all(&mut self, wakers: impl Iterator<Item = Waker>) {
        self.wakers.extend(wakers);
    }

    pub(super) fn observe(&mut self, events: impl Iterator<Item = Event>) {
        self.events.extend(events);
    }

    pub(super) fn perform(&mut self, actions: impl Iterator<Item = Action<C>>) {
        self.actions.extend(actions);
    }

    #[inline(always)]
    pub(super) fn run(self, observe: impl FnMut(Event), perform: impl FnMut(Action<C>)) {
        // Mostly there is nothing to do.
        let has_events = !self.events.is_empty();
        if self.first_waker.is_some() || !self.wakers.is_empty() || has_events || !self.actions.is_empty() {
            self.run_all(observe, perform);
        }
    }

    fn run_all(self, observe: impl FnMut(Event), perform: impl FnMut(Action<C>)) {
        self.first_waker.into_iter().for_each(wake);
        self.wakers.into_iter().for_each(wake);
        // Before the actions, from which others follow.
        self.events.into_iter().for_each(observe);
        self.actions.into_iter().for_each(perform);
    }
}
