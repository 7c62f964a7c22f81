//! The server of a model of threads: it answers at once or never, and counts what comes and goes.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex as Unseen};

use redis_manager_core::{AbortHandle, CloseReason, Condition, ConnectionMonitor, Connector};

/// A server that answers at once, or never.
#[derive(Clone)]
pub(crate) struct ModelServer {
    shared: Arc<Counts>,
    answer: ModelAnswer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelAnswer {
    AtOnce,
    #[cfg(loom)]
    Never,
}

/// Looked at only when the threads of a model have ended, so the checker need not see it.
#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    dropped: AtomicUsize,
    killed: AtomicUsize,
    closes: Unseen<Vec<CloseReason>>,
    monitors: Unseen<Vec<ConnectionMonitor>>,
}

pub(crate) struct ModelConnection {
    pub(crate) is_broken: bool,
    /// Something was left on it that can be undone.
    pub(crate) is_soiled: bool,
    counts: Arc<Counts>,
}

impl Drop for ModelConnection {
    fn drop(&mut self) {
        self.counts.dropped.fetch_add(1, SeqCst);
    }
}

impl ModelServer {
    pub(crate) fn new(answer: ModelAnswer) -> Self {
        Self { shared: Arc::default(), answer }
    }

    pub(crate) fn opened(&self) -> usize {
        self.shared.opened.load(SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.opened() - self.shared.dropped.load(SeqCst)
    }

    #[cfg(loom)]
    pub(crate) fn killed(&self) -> usize {
        self.shared.killed.load(SeqCst)
    }

    /// Whether no pool, connection or abort handle of it is left.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Why connections were closed so far.
    pub(crate) fn closes(&self) -> Vec<CloseReason> {
        self.shared.closes.lock().unwrap().clone()
    }

    /// The monitor of the connection that was opened last.
    pub(crate) fn take_alarm(&self) -> ConnectionMonitor {
        self.shared.monitors.lock().unwrap().pop().expect("a connection was opened")
    }
}

impl Connector for ModelServer {
    type Connection = ModelConnection;
    type Error = Infallible;

    async fn connect(&self) -> Result<ModelConnection, Infallible> {
        match self.answer {
            ModelAnswer::AtOnce => {}
            #[cfg(loom)]
            ModelAnswer::Never => std::future::pending().await,
        }
        self.shared.opened.fetch_add(1, SeqCst);
        Ok(ModelConnection { is_broken: false, is_soiled: false, counts: Arc::clone(&self.shared) })
    }

    async fn check(&self, _conn: &mut ModelConnection) -> Result<(), Infallible> {
        Ok(())
    }

    fn inspect(&self, conn: &mut ModelConnection) -> Condition {
        match (conn.is_broken, conn.is_soiled) {
            (true, _) => Condition::Broken,
            (false, true) => Condition::Resettable,
            (false, false) => Condition::Clean,
        }
    }

    async fn clean(&self, conn: &mut ModelConnection) -> Result<(), Infallible> {
        conn.is_soiled = false;
        Ok(())
    }

    fn close(&self, conn: ModelConnection, reason: CloseReason) {
        self.shared.closes.lock().unwrap().push(reason);
        drop(conn);
    }

    fn watch(&self, _conn: &mut ModelConnection, monitor: ConnectionMonitor) {
        self.shared.monitors.lock().unwrap().push(monitor);
    }

    fn abort_handle(&self, _conn: &mut ModelConnection) -> Option<AbortHandle> {
        let counts = Arc::clone(&self.shared);
        Some(Box::new(move || {
            counts.killed.fetch_add(1, SeqCst);
        }))
    }
}
