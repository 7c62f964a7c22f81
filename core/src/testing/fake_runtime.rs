//! A runtime with a virtual clock: one thread, a seeded schedule, and time that passes only when nothing is left to do.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::runtime::{Runtime, Spawn, Task, Timer};
use crate::state::rng::Rng;
use crate::testing::schedule::{Pick, Schedule};
use crate::time::Instant;

/// More polls than this at one instant are taken for a livelock.
const MOST_POLLS_AN_INSTANT: u64 = 5_000_000;

/// A runtime for tests. Clones share the same world.
///
/// Which of several ready tasks runs next is drawn from the seed. All timers of one instant fire together. A task that
/// panics is dropped, as real executors do it.
#[derive(Clone)]
pub struct FakeRuntime {
    world: Arc<Mutex<RuntimeInner>>,
    seed: u64,
}

struct RuntimeInner {
    now: Instant,
    schedule: Schedule,
    rng: Rng,
    /// By number; a place is used again when its task has ended.
    tasks: Vec<TaskIndex>,
    free: Vec<usize>,
    ready: VecDeque<Arc<TaskWaker>>,
    timers: BTreeMap<(Instant, u64), Waker>,
    next_timer: u64,
    polls_at_instant: u64,
    steps: u64,
    /// What the first task said that panicked since somebody asked.
    panicked: Option<String>,
    ended: bool,
}

struct TaskIndex {
    /// None while the task is being polled, or when there is none.
    task: Option<Task>,
    waker: Option<Arc<TaskWaker>>,
}

/// What is run next.
enum NextTask {
    Task(usize, Task, Arc<TaskWaker>),
    /// The future of a `block_on`, or what is left of its waker.
    Main(Arc<TaskWaker>),
    Nothing,
}

impl FakeRuntime {
    /// A new world at [`Instant::ZERO`]: any order of ready tasks, exact timers, polls that take no time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_schedule(seed, Schedule::default())
    }

    /// A new world with a schedule of your choice, or one [drawn from the seed](Schedule::from_seed).
    #[must_use]
    pub fn with_schedule(seed: u64, schedule: Schedule) -> Self {
        let world = RuntimeInner {
            now: Instant::ZERO,
            schedule,
            rng: Rng::new(seed),
            tasks: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            polls_at_instant: 0,
            steps: 0,
            panicked: None,
            ended: false,
        };
        Self { world: Arc::new(Mutex::new(world)), seed }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Runs all tasks until none is ready; no time passes but what polls take.
    ///
    /// # Panics
    ///
    /// On a livelock: tasks that wake each other without end.
    pub fn settle(&self) {
        while self.step() {}
    }

    /// Polls one ready task; false if there is none.
    ///
    /// # Panics
    ///
    /// On a livelock.
    pub fn step(&self) -> bool {
        match self.take_next() {
            NextTask::Task(number, task, waker) => {
                self.poll_task(number, task, &waker);
                true
            }
            // Woken by a `block_on` that has ended.
            NextTask::Main(_) => true,
            NextTask::Nothing => false,
        }
    }

    /// Lets `length` of time pass: timers fire one instant after the other, and all tasks run in between.
    ///
    /// # Panics
    ///
    /// On a livelock.
    pub fn advance(&self, length: Duration) {
        let end = self.now() + length;
        while self.step() || self.fire_next(end) {}
        let mut world = self.lock();
        world.now = world.now.max(end);
        drop(world);
        self.settle();
    }

    /// Moves the clock ahead at once, as a suspended machine sees it: nothing runs in between.
    ///
    /// # Panics
    ///
    /// On a livelock.
    pub fn jump(&self, length: Duration) {
        self.jump_without_running(length);
        self.settle();
    }

    /// The same without running anything afterwards.
    pub(crate) fn jump_without_running(&self, length: Duration) {
        let now = self.now() + length;
        self.fire(now);
    }

    /// Runs `future` to its end; time passes whenever nothing is ready.
    ///
    /// # Panics
    ///
    /// On a deadlock: nothing is ready, no timer is set, and `future` has not ended. On a livelock.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let main = Arc::new(TaskWaker { world: Arc::downgrade(&self.world), number: None, queued: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&main));
        main.wake_by_ref();
        loop {
            match self.take_next() {
                NextTask::Main(_) => {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return output;
                    }
                }
                NextTask::Task(number, task, waker) => self.poll_task(number, task, &waker),
                NextTask::Nothing => assert!(
                    self.fire_next(Instant::from_nanos(u64::MAX)),
                    "deadlock at {} (seed {}): nothing is ready and no timer is set",
                    self.now(),
                    self.seed
                ),
            }
        }
    }

    /// Lets time pass inside of a poll, as if it blocked its thread while others go on; `at_rest` is called whenever
    /// nothing is ready.
    ///
    /// # Panics
    ///
    /// On a livelock.
    pub(crate) fn block_until(&self, end: Instant, mut at_rest: impl FnMut()) {
        let mut mains = Vec::new();
        while self.now() < end {
            match self.take_next() {
                NextTask::Task(number, task, waker) => self.poll_task(number, task, &waker),
                // Its future is further up the stack; it is polled when this one has ended.
                NextTask::Main(waker) => mains.push(waker),
                NextTask::Nothing => {
                    at_rest();
                    if !self.fire_next(end) {
                        self.fire(end);
                    }
                }
            }
        }
        mains.into_iter().for_each(Wake::wake);
    }

    /// Ends the runtime: every task is dropped where it is, and whatever is spawned later is dropped at once.
    pub fn shut_down(&self) {
        let (tasks, ready) = {
            let mut world = self.lock();
            world.ended = true;
            world.free.clear();
            (std::mem::take(&mut world.tasks), std::mem::take(&mut world.ready))
        };
        drop(ready);
        drop(tasks);
    }

    /// Drops one task where it is, drawn from those that have not ended: as an executor does that unwinds it. False if
    /// there is none.
    pub fn kill_a_task(&self) -> bool {
        let task = {
            let mut world = self.lock();
            let alive: Vec<usize> = (0..world.tasks.len()).filter(|number| world.tasks[*number].task.is_some()).collect();
            if alive.is_empty() {
                return false;
            }
            let number = alive[world.rng.index(alive.len())];
            world.remove(number)
        };
        drop(task);
        true
    }

    /// Wakes one task that nobody woke, drawn from those that have not ended.
    pub fn wake_a_task(&self) {
        let waker = {
            let mut world = self.lock();
            let wakers: Vec<_> = world.tasks.iter().filter_map(|place| place.waker.clone()).collect();
            if wakers.is_empty() {
                return;
            }
            let pick = world.rng.index(wakers.len());
            Arc::clone(&wakers[pick])
        };
        waker.wake();
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.lock().tasks.iter().filter(|place| place.waker.is_some()).count()
    }

    /// How many timers are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.lock().timers.len()
    }

    /// How many polls there have been.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    fn take_next(&self) -> NextTask {
        // A poll that took time may have let timers pass.
        let due = {
            let mut world = self.lock();
            match world.timers.first_key_value() {
                Some(((at, _), _)) if *at <= world.now => world.take_due(),
                Some(_) | None => Vec::new(),
            }
        };
        due.into_iter().for_each(Waker::wake);
        let mut world = self.lock();
        let next = world.take_ready();
        let livelock = world.polls_at_instant > MOST_POLLS_AN_INSTANT;
        drop(world);
        assert!(!livelock, "livelock at {} (seed {}): tasks wake each other without end", self.now(), self.seed);
        next
    }

    fn poll_task(&self, number: usize, mut task: Task, waker: &Arc<TaskWaker>) {
        let as_waker = Waker::from(Arc::clone(waker));
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&as_waker))));
        let mut world = self.lock();
        if let (Ok(Poll::Pending), false) = (&polled, world.ended) {
            world.tasks[number].task = Some(task);
            return;
        }
        if !world.ended {
            world.remove(number);
        }
        // Its drop may come back here, so not under the lock; and a panic there must end nothing but itself.
        drop(world);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task)));
        if let (Err(payload), _) | (Ok(_), Err(payload)) = (polled, dropped) {
            let said = words_of(&*payload);
            self.lock().panicked.get_or_insert(said);
        }
    }

    /// What the first task said that has panicked since the last time this was asked.
    pub(crate) fn take_panic(&self) -> Option<String> {
        self.lock().panicked.take()
    }

    /// Moves the clock to the next timer, if there is one until `end`.
    pub(crate) fn fire_next(&self, end: Instant) -> bool {
        let next = self.lock().timers.first_key_value().map(|((at, _), _)| *at);
        match next {
            Some(at) if at <= end => {
                self.fire(at);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Moves the clock and wakes all whose time has come.
    pub(crate) fn fire(&self, now: Instant) {
        let due = {
            let mut world = self.lock();
            world.now = world.now.max(now);
            world.take_due()
        };
        due.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, RuntimeInner> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a panic says of itself.
pub(crate) fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    String::from(text.unwrap_or("a panic without words"))
}

impl RuntimeInner {
    fn take_ready(&mut self) -> NextTask {
        loop {
            if self.ready.is_empty() {
                return NextTask::Nothing;
            }
            let pick = match self.schedule.pick {
                Pick::Fifo => 0,
                Pick::Lifo => self.ready.len() - 1,
                Pick::Uniform => self.rng.index(self.ready.len()),
                // The number of a task is as good a priority as any, once its bits are mixed.
                Pick::Priority => {
                    let priority =
                        |waker: &Arc<TaskWaker>| waker.number.map(|number| (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                    (0..self.ready.len()).max_by_key(|index| priority(&self.ready[*index])).unwrap_or(0)
                }
            };
            let Some(waker) = self.ready.remove(pick) else { return NextTask::Nothing };
            waker.queued.store(false, Ordering::Relaxed);
            let Some(number) = waker.number else {
                self.count_step();
                return NextTask::Main(waker);
            };
            // A waker may outlive its task; its place may have another one by now.
            let place =
                self.tasks.get_mut(number).filter(|place| place.waker.as_ref().is_some_and(|own| Arc::ptr_eq(own, &waker)));
            if let Some(task) = place.and_then(|place| place.task.take()) {
                self.count_step();
                return NextTask::Task(number, task, waker);
            }
        }
    }

    fn count_step(&mut self) {
        self.steps += 1;
        self.polls_at_instant += 1;
        self.now = self.now + self.schedule.poll_cost;
    }

    fn take_due(&mut self) -> Vec<Waker> {
        self.polls_at_instant = 0;
        let later = self.timers.split_off(&(self.now, u64::MAX));
        std::mem::replace(&mut self.timers, later).into_values().collect()
    }

    fn remove(&mut self, number: usize) -> Option<Task> {
        let place = &mut self.tasks[number];
        place.waker = None;
        self.free.push(number);
        place.task.take()
    }
}

impl Timer for FakeRuntime {
    fn now(&self) -> Instant {
        self.lock().now
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let deadline = self.lock().schedule.round_up(deadline);
        Box::pin(Sleep { runtime: self.clone(), deadline, key: None })
    }
}

impl Spawn for FakeRuntime {
    fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn spawn(&self, task: Task) {
        let mut world = self.lock();
        if world.ended {
            drop(world);
            drop(task);
            return;
        }
        let number = world.free.pop().unwrap_or_else(|| {
            world.tasks.push(TaskIndex { task: None, waker: None });
            world.tasks.len() - 1
        });
        let waker = TaskWaker { world: Arc::downgrade(&self.world), number: Some(number), queued: AtomicBool::new(true) };
        let waker = Arc::new(waker);
        world.tasks[number] = TaskIndex { task: Some(task), waker: Some(Arc::clone(&waker)) };
        world.ready.push_back(waker);
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
    world: Weak<Mutex<RuntimeInner>>,
    /// None for the future given to `block_on`.
    number: Option<usize>,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(world) = self.world.upgrade() {
            world.lock().unwrap_or_else(PoisonError::into_inner).ready.push_back(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
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
            world.next_timer += 1;
            (self.deadline, world.next_timer)
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
