//! What is left to do after the lock of a node is open again: wakers to be woken, events to be observed, and actions that
//! have no driver.

use std::task::Waker;

use crate::guard::wake;
use crate::state::{Action, Event};

/// Collected under the lock, run outside it.
pub(crate) struct Effects<C> {
    /// Mostly there is no more than one.
    first_waker: Option<Waker>,
    /// Boxed, so that a call with little to do moves and drops little.
    rest: Option<Box<MoreEffects<C>>>,
}

struct MoreEffects<C> {
    wakers: Vec<Waker>,
    /// Only if there is an observer.
    events: Vec<Event>,
    /// Only if there is no driver to do them.
    actions: Vec<Action<C>>,
}

impl<C> Effects<C> {
    pub(super) fn new() -> Self {
        Self { first_waker: None, rest: None }
    }

    #[inline]
    pub(super) fn wake(&mut self, waker: Waker) {
        match self.first_waker {
            None => self.first_waker = Some(waker),
            Some(_) => self.rest().wakers.push(waker),
        }
    }

    pub(super) fn wake_all(&mut self, wakers: impl Iterator<Item = Waker>) {
        wakers.for_each(|waker| self.wake(waker));
    }

    pub(super) fn observe(&mut self, events: impl Iterator<Item = Event>) {
        self.rest().events.extend(events);
    }

    pub(super) fn perform(&mut self, actions: impl Iterator<Item = Action<C>>) {
        for action in actions {
            self.rest().actions.push(action);
        }
    }

    #[inline(always)]
    pub(super) fn run(self, observe: impl FnMut(Event), perform: impl FnMut(Action<C>)) {
        // Mostly there is nothing to do.
        self.first_waker.into_iter().for_each(wake);
        if let Some(rest) = self.rest {
            rest.run(observe, perform);
        }
    }

    #[cold]
    fn rest(&mut self) -> &mut MoreEffects<C> {
        self.rest.get_or_insert_with(|| Box::new(MoreEffects { wakers: Vec::new(), events: Vec::new(), actions: Vec::new() }))
    }
}

impl<C> MoreEffects<C> {
    #[cold]
    fn run(self, observe: impl FnMut(Event), perform: impl FnMut(Action<C>)) {
        self.wakers.into_iter().for_each(wake);
        // Before the actions, from which others follow.
        self.events.into_iter().for_each(observe);
        self.actions.into_iter().for_each(perform);
    }
}
