//! What the node's state has to say: waiters to wake, actions to perform, events to observe, and what it has counted of them.

use std::collections::VecDeque;

use crate::state::action::Action;
#[cfg(feature = "testing")]
use crate::state::coverage::Coverage;
use crate::state::event::Event;
use crate::state::ids::WaiterId;
use crate::state::metrics::MetricsRecorder;

#[derive(Debug)]
pub(crate) struct Outbox<C> {
    wakes: VecDeque<WaiterId>,
    actions: VecDeque<Action<C>>,
    /// None: events are not observed, and not kept.
    events: Option<VecDeque<Event>>,
    metrics: MetricsRecorder,
    #[cfg(feature = "testing")]
    coverage: Coverage,
}

impl<C> Outbox<C> {
    /// With nothing to say yet; of `use_time_sampling` leases one is timed.
    pub(crate) fn new(use_time_sampling: usize) -> Self {
        Self {
            wakes: VecDeque::new(),
            actions: VecDeque::new(),
            events: None,
            metrics: MetricsRecorder::new(use_time_sampling),
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

    /// Something has happened: it is counted, and kept where events are observed. Not for the fast paths; a text in the event
    /// must be one that is there anyhow.
    pub(crate) fn emit(&mut self, event: Event) {
        self.metrics.note(&event);
        #[cfg(feature = "testing")]
        self.coverage.note(&event);
        if let Some(events) = &mut self.events {
            events.push_back(event);
        }
    }

    #[inline]
    pub(crate) fn metrics(&self) -> &MetricsRecorder {
        &self.metrics
    }

    /// For what is counted and is no event.
    #[inline]
    pub(crate) fn metrics_mut(&mut self) -> &mut MetricsRecorder {
        &mut self.metrics
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
        self.coverage.with_returns(self.metrics.recorded().returns)
    }
}
