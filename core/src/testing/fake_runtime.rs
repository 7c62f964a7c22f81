//! A runtime with a virtual clock: one thread, a seeded schedule, and time that passes only when nothing is left to do.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::runtime::{Runtime, Spawn, Task, Timer};
use crate::state::chance::Chance;
use crate::time::Instant;

/// More polls than this at one instant are taken for a livelock.
const MOST_POLLS_AN_INSTANT: u64 = 5_000_000;

/// The future given to `block_on`.
const MAIN: u64 = 0;

/// A runtime for tests. Clones share the same world.
///
/// Which of several ready tasks runs next is drawn from the seed. All timers of one instant fire together. A task that
/// panics is dropped, as real executors do it.
#[derive(Clone)]
pub struct FakeRuntime {
    world: Arc<Mutex<World>>,
    seed: u64,
}

struct World {
    now: Instant,
    chance: Chance,
    /// None while a task is being polled.
    tasks: HashMap<u64, Option<Task>>,
    ready: Vec<u64>,
    timers: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
    polls: u64,
    ended: bool,
}

impl FakeRuntime {
    /// A new world at [`Instant::ZERO`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            now: Instant::ZERO,
            chance: Chance::new(seed),
            tasks: HashMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            next_id: MAIN + 1,
            polls: 0,
            ended: false,
        };
        Self { world: Arc::new(Mutex::new(world)), seed }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Runs all tasks until none is ready; no time passes.
    ///
    /// # Panics
    ///
    /// On a livelock: tasks that wake each other without end.
    pub fn settle(&self) {
        while let Some(id) = self.next_ready() {
            self.poll_task(id);
        }
    }

    /// Lets `length` of time pass: timers fire one instant after the other, and all tasks run in between.
    ///
    /// # Panics
    ///
    /// On a livelock.
    pub fn advance(&self, length: Duration) {
        let end = self.now() + length;
        loop {
            self.settle();
            match self.next_timer() {
                Some(at) if at <= end => self.fire(at),
                Some(_) | None => break,
            }
        }
        self.lock().now = end;
        self.settle();
    }

    /// Moves the clock ahead at once, as a suspended machine sees it: nothing runs in between.
    ///
    /// # Panics
    ///
    /// On a livelock.
    pub fn jump(&self, length: Duration) {
        let now = self.now() + length;
        self.fire(now);
        self.settle();
    }

    /// Runs `future` to its end; time passes whenever nothing is ready.
    ///
    /// # Panics
    ///
    /// On a deadlock: nothing is ready, no timer is set, and `future` has not ended. On a livelock.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(TaskWaker { world: Arc::downgrade(&self.world), id: MAIN }));
        self.lock().ready.push(MAIN);
        loop {
            match self.next_ready() {
                Some(MAIN) => {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        self.lock().ready.retain(|id| *id != MAIN);
                        return output;
                    }
                }
                Some(id) => self.poll_task(id),
                None => match self.next_timer() {
                    Some(at) => self.fire(at),
                    None => panic!("deadlock at {} (seed {}): nothing is ready and no timer is set", self.now(), self.seed),
                },
            }
        }
    }

    /// Ends the runtime: every task is dropped where it is, and whatever is spawned later is dropped at once.
    pub fn shut_down(&self) {
        let tasks = {
            let mut world = self.lock();
            world.ended = true;
            world.ready.clear();
            std::mem::take(&mut world.tasks)
        };
        drop(tasks);
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    /// How many timers are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.lock().timers.len()
    }

    fn next_ready(&self) -> Option<u64> {
        let mut world = self.lock();
        if world.ready.is_empty() {
            return None;
        }
        world.polls += 1;
        let livelock = world.polls > MOST_POLLS_AN_INSTANT;
        let count = world.ready.len();
        let pick = world.chance.index(count);
        let id = world.ready.swap_remove(pick);
        drop(world);
        assert!(!livelock, "livelock at {} (seed {}): tasks wake each other without end", self.now(), self.seed);
        Some(id)
    }

    fn poll_task(&self, id: u64) {
        let taken = self.lock().tasks.get_mut(&id).and_then(Option::take);
        let Some(mut task) = taken else { return };
        let waker = Waker::from(Arc::new(TaskWaker { world: Arc::downgrade(&self.world), id }));
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
        let mut world = self.lock();
        if let (Ok(Poll::Pending), Some(place)) = (polled, world.tasks.get_mut(&id)) {
            *place = Some(task);
            return;
        }
        world.tasks.remove(&id);
        // Its drop may come back here, so not under the lock; and a panic there must end nothing but itself.
        drop(world);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
    }

    fn next_timer(&self) -> Option<Instant> {
        self.lock().timers.keys().next().map(|(at, _)| *at)
    }

    /// Moves the clock and wakes all whose time has come.
    fn fire(&self, now: Instant) {
        let due = {
            let mut world = self.lock();
            world.now = world.now.max(now);
            world.polls = 0;
            let later = world.timers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut world.timers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for FakeRuntime {
    fn now(&self) -> Instant {
        self.lock().now
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(Sleep { runtime: self.clone(), deadline, key: None })
    }
}

impl Spawn for FakeRuntime {
    fn spawn(&self, task: Task) {
        let mut world = self.lock();
        if world.ended {
            drop(world);
            drop(task);
            return;
        }
        let id = world.next_id;
        world.next_id += 1;
        world.tasks.insert(id, Some(task));
        world.ready.push(id);
    }
}

impl Runtime for FakeRuntime {
    fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRuntime").field("now", &self.now()).field("seed", &self.seed).finish_non_exhaustive()
    }
}

struct TaskWaker {
    world: Weak<Mutex<World>>,
    id: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let Some(world) = self.world.upgrade() else { return };
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        if !world.ready.contains(&self.id) {
            world.ready.push(self.id);
        }
    }
}

struct Sleep {
    runtime: FakeRuntime,
    deadline: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut world = self.runtime.lock();
        if self.deadline <= world.now {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            world.next_id += 1;
            (self.deadline, world.next_id)
        });
        let old = world.timers.insert(key, waker);
        drop(world);
        drop(old);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.runtime.lock().timers.remove(&key);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn timers_of_one_instant_fire_together_and_in_virtual_time() {
        let runtime = FakeRuntime::new(1);
        let log = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3, 1, 3, 2] {
            let (log, sleeper) = (Arc::clone(&log), runtime.clone());
            runtime.spawn(Box::pin(async move {
                sleeper.sleep(SECOND * seconds).await;
                log.lock().expect("not poisoned").push((seconds, sleeper.now()));
            }));
        }
        runtime.advance(SECOND * 2);
        assert_eq!(log.lock().expect("not poisoned").len(), 2);
        runtime.advance(SECOND);
        let log = log.lock().expect("not poisoned");
        assert!(log.iter().all(|(seconds, at)| *at == Instant::ZERO + SECOND * *seconds), "{log:?}");
        assert_eq!((log.len(), runtime.tasks(), runtime.timers()), (4, 0, 0));
    }

    #[test]
    fn the_seed_decides_the_order_of_ready_tasks() {
        let order = |seed| {
            let runtime = FakeRuntime::new(seed);
            let log = Arc::new(Mutex::new(Vec::new()));
            for n in 0..10 {
                let log = Arc::clone(&log);
                runtime.spawn(Box::pin(async move { log.lock().expect("not poisoned").push(n) }));
            }
            runtime.settle();
            let order = log.lock().expect("not poisoned");
            order.clone()
        };
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
    }

    #[test]
    #[should_panic(expected = "deadlock at 0ns (seed 9)")]
    fn a_deadlock_is_a_panic_that_names_the_seed() {
        FakeRuntime::new(9).block_on(std::future::pending::<()>());
    }

    #[test]
    fn a_runtime_that_has_ended_drops_what_it_is_given() {
        let runtime = FakeRuntime::new(1);
        let held = Arc::new(());
        for _ in 0..2 {
            let held = Arc::clone(&held);
            runtime.spawn(Box::pin(async move {
                std::future::pending::<()>().await;
                drop(held);
            }));
            runtime.shut_down();
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
