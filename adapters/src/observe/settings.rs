//! The builder's settings about events, and the observer that is made of them.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
#[cfg(feature = "tracing")]
use std::time::Duration;

#[cfg(feature = "tracing")]
use redis_manager_core::NodeConfig;
use redis_manager_core::{ConfigError, Observer, Setting};

use crate::observe::channel::{EventSender, EventSource};
use crate::observe::fan_out::FanOut;
#[cfg(feature = "tracing")]
use crate::observe::log::EventLog;

/// Range of `event_buffer`; 0 is off.
const EVENT_BUFFER: RangeInclusive<usize> = 0..=65_536;

#[derive(Clone)]
pub(crate) struct ObserveSettings {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) event_buffer: usize,
    #[cfg(feature = "tracing")]
    pub(crate) slow_acquire: Duration,
}

#[allow(clippy::derivable_impls, reason = "with the feature tracing it cannot be derived")]
impl Default for ObserveSettings {
    fn default() -> Self {
        Self {
            observer: None,
            event_buffer: 0,
            #[cfg(feature = "tracing")]
            slow_acquire: Duration::MAX,
        }
    }
}

impl ObserveSettings {
    pub(crate) fn settings() -> Vec<Setting> {
        let buffer = Setting::new(
            "event_buffer",
            "events",
            Self::default().event_buffer.to_string(),
            format!("{} to {}", EVENT_BUFFER.start(), EVENT_BUFFER.end()),
            "how many events `events()` keeps for slow readers; 0: no readers, and no event is made for them; 1024 suits most",
        );
        #[cfg(feature = "tracing")]
        let slow = {
            let why = "a caller that waits longer for a client is logged as a warning";
            let mut row = Setting::duration("slow_acquire", Duration::MAX, &NodeConfig::PERIODS, why);
            row.default = String::from("never");
            row
        };
        vec![
            buffer,
            #[cfg(feature = "tracing")]
            slow,
        ]
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !EVENT_BUFFER.contains(&self.event_buffer) {
            let range = format!("{} to {}", EVENT_BUFFER.start(), EVENT_BUFFER.end());
            return Err(ConfigError::OutOfRange { setting: "event_buffer", value: self.event_buffer.to_string(), range });
        }
        #[cfg(feature = "tracing")]
        ConfigError::unless_within("slow_acquire", self.slow_acquire, &NodeConfig::PERIODS)?;
        Ok(())
    }

    /// Why `events()` has no reader to return.
    pub(crate) fn off() -> ConfigError {
        let range = format!("1 to {} for events()", EVENT_BUFFER.end());
        ConfigError::OutOfRange { setting: "event_buffer", value: String::from("0"), range }
    }

    /// The observer of the nodes, and what makes readers. Without an observer no event is made.
    pub(crate) fn start(self) -> (Option<Arc<dyn Observer>>, Option<EventSource>) {
        let sender = (self.event_buffer > 0).then(|| EventSender::new(self.event_buffer));
        if sender.is_none() && !cfg!(feature = "tracing") {
            return (self.observer, None);
        }
        let source = sender.as_ref().map(EventSender::source);
        let fan_out = FanOut {
            sender,
            #[cfg(feature = "tracing")]
            log: EventLog::new(self.slow_acquire),
            observer: self.observer,
        };
        (Some(Arc::new(fan_out)), source)
    }
}

impl fmt::Debug for ObserveSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ObserveSettings");
        shown.field("observer", &self.observer.as_ref().map(|_| "..")).field("event_buffer", &self.event_buffer);
        #[cfg(feature = "tracing")]
        shown.field("slow_acquire", &self.slow_acquire);
        shown.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use redis_manager_core::Event;

    use super::*;

    /// Notes what it gets, then panics.
    #[derive(Default)]
    struct PanickingObserver(Mutex<Vec<(String, Event)>>);

    impl Observer for PanickingObserver {
        fn event(&self, node: &str, event: &Event) {
            self.0.lock().expect("not poisoned").push((String::from(node), event.clone()));
            panic!("an observer that panics");
        }
    }

    /// Seen to bite: with the observer called before the readers get the event.
    #[test]
    fn an_observer_and_the_readers_get_the_same_events_also_if_it_panics() {
        let observer = Arc::new(PanickingObserver::default());
        let settings = ObserveSettings { observer: Some(observer.clone()), event_buffer: 4, ..ObserveSettings::default() };
        let (fan_out, source) = settings.start();
        let (fan_out, source) = (fan_out.expect("it is on"), source.expect("it is on"));
        let mut reader = source.reader();
        for (node, event) in [("one", Event::Aborted), ("two", Event::PoolsRemoved { count: 2 })] {
            let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fan_out.event(node, &event)));
            assert!(called.is_err(), "the core catches it");
        }
        drop(fan_out);
        let mut read = Vec::new();
        let mut next = Box::pin(async {
            while let Some(event) = reader.next_event().await {
                let event = event.expect("none is missed");
                read.push((event.node.to_string(), event.event));
            }
        });
        let ended = next.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(ended.is_ready(), "the sender is gone");
        drop(next);
        assert_eq!(read, *observer.0.lock().expect("not poisoned"));
        assert_eq!(read.len(), 2);
    }

    /// Seen to bite: with an observer that is made without the feature `tracing`, too.
    #[test]
    fn without_anything_that_wants_events_there_is_no_observer() {
        let (observer, source) = ObserveSettings::default().start();
        assert_eq!((observer.is_some(), source.is_some()), (cfg!(feature = "tracing"), false));
    }

    /// Seen to bite: with the check of `event_buffer` left out.
    #[test]
    fn settings_out_of_range_are_refused_and_named() {
        let refused = |settings: ObserveSettings| settings.check().expect_err("must be refused").to_string();
        let settings = ObserveSettings { event_buffer: 65_537, ..ObserveSettings::default() };
        assert_eq!(refused(settings), "event_buffer is 65537: must be 0 to 65536");
        #[cfg(feature = "tracing")]
        {
            let settings = ObserveSettings { slow_acquire: Duration::ZERO, ..ObserveSettings::default() };
            assert_eq!(refused(settings), "slow_acquire is 0ns: must be 10ms to never");
        }
        assert!(ObserveSettings { event_buffer: 65_536, ..ObserveSettings::default() }.check().is_ok());
    }
}
