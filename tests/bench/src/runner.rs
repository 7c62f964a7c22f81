//! The executors on which everything is measured: tokio with two workers, tokio on one thread, smol with two threads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis_manager::runtime::{Instant, Runtime, Spawn, Task, Timer};
use redis_manager::smol::SmolRuntime;
use redis_manager::tokio::TokioRuntime;
use redis_manager::{RedisManager, RedisManagerBuilder};

/// Which executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BenchExecutor {
    TokioTwoWorkers,
    TokioOneThread,
    SmolTwoThreads,
}

impl BenchExecutor {
    /// Whether pools that know tokio only can run on it.
    pub(crate) fn is_tokio(self) -> bool {
        matches!(self, BenchExecutor::TokioTwoWorkers | BenchExecutor::TokioOneThread)
    }
}

impl fmt::Display for BenchExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            BenchExecutor::TokioTwoWorkers => "tokio, two workers",
            BenchExecutor::TokioOneThread => "tokio, one thread",
            BenchExecutor::SmolTwoThreads => "smol, two threads",
        })
    }
}

/// An executor that was started, and is stopped when this is dropped.
pub(crate) struct Runner {
    pub(crate) handle: Handle,
    tokio: Option<tokio::runtime::Runtime>,
    smol: Option<Smol>,
}

struct Smol {
    stop: smol::channel::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Runner {
    pub(crate) fn start(kind: BenchExecutor) -> Runner {
        let tokio = |runtime: std::io::Result<tokio::runtime::Runtime>| {
            let runtime = runtime.expect("tokio starts");
            let handle = Handle::Tokio(TokioRuntime::new(runtime.handle().clone()), runtime.handle().clone());
            Runner { handle, tokio: Some(runtime), smol: None }
        };
        match kind {
            BenchExecutor::TokioTwoWorkers => {
                tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build())
            }
            BenchExecutor::TokioOneThread => tokio(tokio::runtime::Builder::new_current_thread().enable_all().build()),
            BenchExecutor::SmolTwoThreads => {
                let executor = Arc::new(smol::Executor::new());
                let (stop, stopped) = smol::channel::bounded::<()>(1);
                let run = |_| {
                    let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
                    thread::spawn(move || {
                        // It never receives: the sender is dropped to stop it.
                        let _ = smol::block_on(executor.run(stopped.recv()));
                    })
                };
                let threads = (0..2).map(run).collect();
                let handle = Handle::Smol(SmolRuntime::with_executor(&executor), executor);
                Runner { handle, tokio: None, smol: Some(Smol { stop, threads }) }
            }
        }
    }

    /// tokio on one thread with a clock that stands still while somebody works and jumps when all sleep. Once such a
    /// clock was started, every look at tokio's clocks costs more in this process: start it last.
    pub(crate) fn with_virtual_time() -> Runner {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("tokio starts");
        let handle = Handle::Tokio(TokioRuntime::new(runtime.handle().clone()), runtime.handle().clone());
        Runner { handle, tokio: Some(runtime), smol: None }
    }

    /// Runs a future to its end as a task of the executor, on a worker, as a service would.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let done = self.handle.start(future);
        match &self.tokio {
            Some(tokio) => tokio.block_on(done),
            None => smol::block_on(done),
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_timeout(Duration::from_secs(1));
        }
        if let Some(Smol { stop, threads }) = self.smol.take() {
            drop(stop);
            for thread in threads {
                // A task that panicked has said so already.
                let _ = thread.join();
            }
        }
    }
}

/// An executor as the manager sees it. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Handle {
    Tokio(TokioRuntime, tokio::runtime::Handle),
    Smol(SmolRuntime, Arc<smol::Executor<'static>>),
}

/// The result of a task, once it has ended.
pub(crate) type Done<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Handle {
    /// Starts a task. Its panics go on to whoever waits for it.
    pub(crate) fn start<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Done<T> {
        match self {
            Handle::Tokio(_, tokio) => {
                let task = tokio.spawn(future);
                Box::pin(async move { task.await.expect("a task of the benchmark does not panic") })
            }
            Handle::Smol(_, executor) => Box::pin(executor.spawn(future)),
        }
    }

    /// Makes a manager on this executor.
    pub(crate) fn build(&self, builder: RedisManagerBuilder) -> RedisManager {
        let manager = match self {
            Handle::Tokio(runtime, _) => builder.build(runtime.clone()),
            Handle::Smol(runtime, _) => builder.build(runtime.clone()),
        };
        manager.expect("the settings of the benchmark are within their ranges")
    }

    /// The runtime of a pool on this executor.
    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        match self {
            Handle::Tokio(runtime, _) => Arc::new(runtime.clone()),
            Handle::Smol(runtime, _) => Arc::new(runtime.clone()),
        }
    }
}

impl Timer for Handle {
    fn now(&self) -> Instant {
        self.runtime().now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.runtime().sleep_until(deadline)
    }
}

impl Spawn for Handle {
    fn spawn(&self, task: Task) {
        self.runtime().spawn(task);
    }
}

impl Runtime for Handle {}
