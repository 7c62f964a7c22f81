//! What the node's state has to say: waiters to wake, actions to perform, events to observe.

use std::collections::VecDeque;

use crate::state::action::Action;
#[cfg(feature = "testing")]
use crate::state::coverage::Coverage;
use crate::state::event::Event;
use crate::state::ids::WaiterId;

#[derive(Debug)]
pub(crate) struct Outbox<C> {
    wakes: VecDeque<WaiterId>,
    actions: VecDeque<Action<C>>,
    /// None: events are not observed, and not made.
    events: Option<VecDeque<Event>>,
    #[cfg(feature = "testing")]
    coverage: Coverage,
}

impl<C> Outbox<C> {
    pub(crate) fn new() -> Self {
        Self {
            wakes: VecDeque::new(),
            actions: VecDeque::new(),
            events: None,
            #[cfg(feature = "testing")]
            coverage: Coverage::default(),
        }
    }

    /// From now on events are kept until they are taken.
    pub(crate) fn observe(&mut self) {
        self.events = Some(VecDeque::new());
    }

    pub(crate) fn wake(&mut self, id: WaiterId) {
        self.wakes.push_back(id);
    }

    pub(crate) fn order(&mut self, action: Action<C>) {
        self.actions.push_back(action);
    }

    /// Something has happened; `event` is made only where events are observed.
    #[inline]
    pub(crate) fn emit(&mut self, event: impl FnOnce() -> Event) {
        #[cfg(not(feature = "testing"))]
        if let Some(events) = &mut self.events {
            events.push_back(event());
        }
        #[cfg(feature = "testing")]
        {
            let event = event();
            self.coverage.note(&event);
            self.events.iter_mut().for_each(|events| events.push_back(event.clone()));
        }
    }

    pub(crate) fn poll_wake(&mut self) -> Option<WaiterId> {
        self.wakes.pop_front()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action<C>> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.as_mut()?.pop_front()
    }

    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        self.events.as_ref().is_some_and(|events| !events.is_empty())
    }

    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    #[cfg(feature = "testing")]
    pub(crate) fn coverage(&self) -> Coverage {
        self.coverage
    }
}
