//! The world of a model of threads: a clock, tasks that are polled by hand, and wakers that the checker sees.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex as Unseen, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

#[cfg(loom)]
use loom::{
    sync::{Condvar, Mutex, atomic::AtomicBool, atomic::AtomicU64},
    thread::{self, JoinHandle},
};
use redis_manager_core::{AcquireError, Instant, Lease, NodeConfig, NodeConfigBuilder, NodePool, Runtime, Spawn, Task, Timer};
#[cfg(shuttle)]
use shuttle::{
    sync::{Condvar, Mutex, atomic::AtomicBool, atomic::AtomicU64},
    thread::{self, JoinHandle},
};

use crate::server::ModelServer;

/// Longer than any model lives: whoever waits so long was lost, and the checker finds the deadlock.
pub(crate) const FOREVER: Duration = Duration::from_secs(24 * 3_600);

pub(crate) type ModelPool = NodePool<ModelServer>;
pub(crate) type ModelGet = Pin<Box<dyn Future<Output = Result<Lease<ModelServer>, AcquireError>> + Send>>;

/// Wakes one thread: what a waker does in a model.
///
/// A lock and a condition variable, because loom takes an `unpark` of a thread that waits for a lock for the lock.
#[derive(Default)]
pub(crate) struct ThreadWaker {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl ThreadWaker {
    pub(crate) fn has_rung(&self) -> bool {
        *self.rung.lock().unwrap()
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }
}

/// Runs a future on this thread, which sleeps until it is woken: a wake-up that is lost is a deadlock.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(ThreadWaker::default());
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.wait(),
        }
    }
}

/// Polls once, and shows whether the future was woken afterwards.
pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> (Poll<F::Output>, Arc<ThreadWaker>)
where
    F: ?Sized,
{
    let bell = Arc::new(ThreadWaker::default());
    let waker = Waker::from(Arc::clone(&bell));
    (future.poll(&mut Context::from_waker(&waker)), bell)
}

/// A get that owns its handle, so that it can go to another thread.
pub(crate) fn get(pool: &ModelPool, timeout: Duration) -> ModelGet {
    let pool = pool.clone();
    Box::pin(async move { pool.get_timeout(timeout).await })
}

/// The runtime: nothing runs and no time passes but by the hand of one of the model's threads.
///
/// Every look at the clock is seen by the checker as a write, so that it also tries the schedules in which only std's
/// reference counts differ, which it cannot see.
#[derive(Clone)]
pub(crate) struct ModelRuntime {
    shared: Arc<ModelRuntimeState>,
}

struct ModelRuntimeState {
    clock: AtomicU64,
    tasks: Mutex<Tasks>,
    timers: Unseen<Vec<(u64, Waker)>>,
    /// Rung when a task is ready.
    bell: Arc<ThreadWaker>,
}

enum Tasks {
    Running(Vec<Arc<ModelTask>>),
    Ended,
}

struct ModelTask {
    task: Mutex<Option<Task>>,
    ready: AtomicBool,
    bell: Arc<ThreadWaker>,
}

impl Wake for ModelTask {
    fn wake(self: Arc<Self>) {
        // Not a store: loom would let the swap in `run_once` miss it.
        self.ready.swap(true, SeqCst);
        Arc::clone(&self.bell).wake();
    }
}

impl ModelRuntime {
    pub(crate) fn new() -> Self {
        let shared = ModelRuntimeState {
            clock: AtomicU64::new(0),
            tasks: Mutex::new(Tasks::Running(Vec::new())),
            timers: Unseen::default(),
            bell: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A pool of at most `limit` connections, with all of them dialled and no periodic work.
    pub(crate) fn pool(&self, server: &ModelServer, limit: usize) -> ModelPool {
        let pool = self.pool_of(server, config(limit));
        assert_eq!(pool.status().idle, limit);
        pool
    }

    /// The same with other settings.
    pub(crate) fn pool_of(&self, server: &ModelServer, settings: NodeConfigBuilder) -> ModelPool {
        let pool = NodePool::new(server.clone(), settings.build().unwrap(), Arc::new(self.clone()));
        self.settle();
        pool
    }

    /// Polls every ready task until none is.
    pub(crate) fn settle(&self) {
        while self.run_once() {}
    }

    fn run_once(&self) -> bool {
        let slots = match &*self.shared.tasks.lock().unwrap() {
            Tasks::Running(slots) => slots.clone(),
            Tasks::Ended => return false,
        };
        let mut any = false;
        for slot in slots {
            if !slot.ready.swap(false, SeqCst) {
                continue;
            }
            any = true;
            let mut task = slot.task.lock().unwrap();
            let Some(running) = task.as_mut() else { continue };
            let waker = Waker::from(Arc::clone(&slot));
            if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *task = None;
                drop(task);
                if let Tasks::Running(slots) = &mut *self.shared.tasks.lock().unwrap() {
                    slots.retain(|other| !Arc::ptr_eq(other, &slot));
                }
            }
        }
        any
    }

    /// Runs a future on this thread, and all tasks beside it.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self.shared.bell));
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            if !self.run_once() {
                self.shared.bell.wait();
            }
        }
    }

    /// Says so to a thread in [`ModelRuntime::block_on`] after a change of what its future looks at.
    #[cfg(shuttle)]
    pub(crate) fn ring(&self) {
        Arc::clone(&self.shared.bell).wake();
    }

    /// Lets time pass; whoever slept is woken, but not run.
    pub(crate) fn advance(&self, length: Duration) {
        let length = u64::try_from(length.as_nanos()).unwrap();
        let now = self.shared.clock.fetch_add(length, SeqCst) + length;
        let mut timers = self.shared.timers.lock().unwrap();
        let due: Vec<_> = timers.extract_if(.., |(at, _)| *at <= now).collect();
        drop(timers);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The runtime ends: all tasks are dropped where they are, and new ones at once.
    pub(crate) fn end(&self) {
        let tasks = std::mem::replace(&mut *self.shared.tasks.lock().unwrap(), Tasks::Ended);
        if let Tasks::Running(slots) = tasks {
            for slot in slots {
                let task = slot.task.lock().unwrap().take();
                drop(task);
            }
        }
    }

    /// Runs another thread of the model.
    pub(crate) fn thread<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || {
            world.step();
            run()
        })
    }

    /// Before something that the checker does not see, such as dropping a handle: makes it try that in either order.
    pub(crate) fn step(&self) {
        self.shared.clock.fetch_add(1, SeqCst);
    }

    pub(crate) fn tasks(&self) -> usize {
        match &*self.shared.tasks.lock().unwrap() {
            Tasks::Running(slots) => slots.len(),
            Tasks::Ended => 0,
        }
    }

    /// What every model ends with: nobody waits, the limit can be held, no more than that; and with the last handle all
    /// tasks end, all connections close, and the node itself goes.
    pub(crate) fn finish(&self, pool: ModelPool, server: &ModelServer, limit: usize) {
        self.settle();
        let status = pool.status();
        assert_eq!((status.active, status.waiting), (0, 0), "nothing is on loan and nobody waits: {status:?}");
        let held: Vec<_> = (0..limit).map(|_| self.take(&pool)).collect();
        assert!(pool.try_get().is_err(), "no more than the limit can be held");
        drop(held);
        self.end_of(pool, server);
    }

    /// With the last handle all ends.
    pub(crate) fn end_of(&self, pool: ModelPool, server: &ModelServer) {
        drop(pool);
        self.settle();
        assert_eq!(self.tasks(), 0, "every task ends");
        assert_eq!(server.open(), 0, "every connection is closed");
        assert!(server.is_alone(), "the node is gone");
    }

    fn take(&self, pool: &ModelPool) -> Lease<ModelServer> {
        let mut getting = get(pool, FOREVER);
        loop {
            let (polled, bell) = poll(getting.as_mut());
            if let Poll::Ready(lease) = polled {
                return lease.expect("the limit can be held");
            }
            self.settle();
            assert!(bell.has_rung(), "the limit can be held: {:?}", pool.status());
        }
    }
}

impl Timer for ModelRuntime {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.shared.clock.fetch_add(1, SeqCst))
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let shared = Arc::downgrade(&self.shared);
        Box::pin(poll_fn(move |cx| ModelRuntimeState::poll_sleep(&shared, deadline.as_nanos(), cx)))
    }
}

impl ModelRuntimeState {
    fn poll_sleep(shared: &Weak<Self>, until: u64, cx: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = shared.upgrade() else { return Poll::Pending };
        shared.timers.lock().unwrap().push((until, cx.waker().clone()));
        // After the timer is set: time may pass in between.
        if shared.clock.fetch_add(0, SeqCst) >= until { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Spawn for ModelRuntime {
    fn spawn(&self, task: Task) {
        let bell = Arc::clone(&self.shared.bell);
        let slot = Arc::new(ModelTask { task: Mutex::new(Some(task)), ready: AtomicBool::new(true), bell });
        let mut tasks = self.shared.tasks.lock().unwrap();
        if let Tasks::Running(slots) = &mut *tasks {
            slots.push(Arc::clone(&slot));
        }
        drop(tasks);
        // Dropped here, with its task, if the runtime has ended.
        let bell = Arc::clone(&slot.bell);
        drop(slot);
        bell.wake();
    }
}

impl Runtime for ModelRuntime {
    fn seed(&self) -> u64 {
        1
    }
}

/// One pool of `limit` connections, all of them kept open.
/// No lease is timed, so that the fast paths take the lock once.
pub(crate) fn config(limit: usize) -> NodeConfigBuilder {
    let builder = NodeConfig::builder().max_connection_size(limit).max_pools_per_node(1).min_idle(limit);
    builder.connect_timeout(FOREVER).use_time_sampling(0)
}
