//! Records events of the crate `tracing` as lines. Has nothing to do with the pool.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Lines as `WARN target: message key=value key=value`.
#[derive(Clone, Debug, Default)]
pub struct LogRecorder(Arc<Mutex<Vec<String>>>);

impl LogRecorder {
    /// One that records nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The one of the whole process: from its first use on it has what no other recorder gets.
    ///
    /// # Panics
    ///
    /// If there is another global subscriber.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<LogRecorder> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            let recorder = Self::new();
            tracing::dispatcher::set_global_default(Dispatch::new(recorder.clone())).expect("no other subscriber");
            recorder
        })
    }

    /// Records what this thread logs meanwhile.
    pub fn record<T>(&self, logs: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&Dispatch::new(self.clone()), logs)
    }

    /// The lines so far, which are forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines())
    }

    /// The lines so far with this text in them, which are kept.
    #[must_use]
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.lines().iter().filter(|line| line.contains(text)).cloned().collect()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for LogRecorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("redis_manager")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = format!("{} {}: {}{}", metadata.level(), metadata.target(), fields.message, fields.rest);
        self.lines().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
        written.expect("a string takes all");
    }
}
