//! A runtime with a virtual clock: one thread, a seeded schedule, and time that passes only when nothing is left to do.

mod executor;
mod sleep;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::runtime::{Runtime, Spawn, Task, Timer};
use crate::testing::fake_runtime::executor::{Executor, NextTask, TaskWaker};
use crate::testing::fake_runtime::sleep::Sleep;
use crate::testing::schedule::Schedule;
use crate::time::Instant;

/// A runtime for tests. Clones share the same world.
///
/// Which of several ready tasks runs next is drawn from the seed. All timers of one instant fire together. A task that
/// panics is dropped, as real executors do it.
#[derive(Clone)]
pub struct FakeRuntime {
    executor: Arc<Mutex<Executor>>,
    waits: Arc<Mutex<Vec<DescribeWaits>>>,
    seed: u64,
}

/// Who waits for what; None when there is nothing to describe any more.
type DescribeWaits = Box<dyn Fn() -> Option<String> + Send>;

/// Virtual time after which a `block_on` is taken for a wait without end: a day.
const LONGEST_BLOCK_ON: Duration = Duration::from_secs(24 * 60 * 60);

impl FakeRuntime {
    /// A new world at [`Instant::ZERO`]: any order of ready tasks, exact timers, polls that take no time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_schedule(seed, Schedule::default())
    }

    /// A new world with a schedule of your choice, or one [drawn from the seed](Schedule::from_seed).
    #[must_use]
    pub fn with_schedule(seed: u64, schedule: Schedule) -> Self {
        Self { executor: Arc::new(Mutex::new(Executor::new(seed, schedule))), waits: Arc::default(), seed }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now()
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
        self.lock().skip_to(end);
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
    /// On a deadlock: nothing is ready, no timer is set, and `future` has not ended. If it has not ended after 24 h of virtual time,
    /// although other tasks go on. On a livelock. The first two name who waits for what, as far as that was given by
    /// [`describe_waits`](Self::describe_waits).
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let end = self.now() + LONGEST_BLOCK_ON;
        let mut future = pin!(future);
        let main = TaskWaker::of_main(Arc::downgrade(&self.executor));
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
                NextTask::Nothing if self.fire_next(end) => {}
                NextTask::Nothing => self.panic_of_a_wait(),
            }
        }
    }

    /// Adds to what the panic of a deadlock says. `describe` returns None when it has nothing to say any more, and is dropped then.
    pub fn describe_waits(&self, describe: impl Fn() -> Option<String> + Send + 'static) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(describe));
    }

    fn panic_of_a_wait(&self) -> ! {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        waits.retain(|describe| {
            let described = describe();
            text.extend(described.clone());
            described.is_some()
        });
        drop(waits);
        let (now, seed) = (self.now(), self.seed);
        let has_timer = self.lock().next_timer_at().is_some();
        if has_timer {
            panic!("at {now} (seed {seed}) a block_on has not ended within 24 h, although other tasks go on{text}");
        }
        panic!("deadlock at {now} (seed {seed}): nothing is ready and no timer is set{text}");
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
        let (ready, tasks) = self.lock().end();
        drop(ready);
        drop(tasks);
    }

    /// Drops one task where it is, drawn from those that have not ended: as an executor does that unwinds it. False if
    /// there is none.
    pub fn kill_a_task(&self) -> bool {
        let task = self.lock().remove_any();
        let is_any = task.is_some();
        drop(task);
        is_any
    }

    /// Wakes one task without a cause, drawn from those that have not ended.
    pub fn wake_a_task(&self) {
        let waker = self.lock().any_waker();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.lock().tasks()
    }

    /// How many timers are set.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.lock().timers()
    }

    /// How many polls there have been.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps()
    }

    fn take_next(&self) -> NextTask {
        // A poll that took time may have let timers pass.
        let passed = self.lock().take_passed();
        passed.into_iter().for_each(Waker::wake);
        let mut executor = self.lock();
        let next = executor.take_ready();
        let livelock = executor.is_in_a_livelock();
        drop(executor);
        assert!(!livelock, "livelock at {} (seed {}): tasks wake each other without end", self.now(), self.seed);
        next
    }

    fn poll_task(&self, number: usize, mut task: Task, waker: &Arc<TaskWaker>) {
        let as_waker = Waker::from(Arc::clone(waker));
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&as_waker))));
        let mut executor = self.lock();
        if let (Ok(Poll::Pending), false) = (&polled, executor.has_ended()) {
            executor.put_back(number, task);
            return;
        }
        if !executor.has_ended() {
            executor.remove(number);
        }
        // Its drop may come back here, so not under the lock; and a panic there must end nothing but itself.
        drop(executor);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task)));
        if let (Err(payload), _) | (Ok(_), Err(payload)) = (polled, dropped) {
            let said = words_of(&*payload);
            self.lock().note_panic(said);
        }
    }

    /// What the first task said that has panicked since the last time this was asked.
    pub(crate) fn take_panic(&self) -> Option<String> {
        self.lock().take_panic()
    }

    /// Moves the clock to the next timer, if there is one until `end`.
    pub(crate) fn fire_next(&self, end: Instant) -> bool {
        let next = self.lock().next_timer_at();
        match next {
            Some(at) if at <= end => {
                self.fire(at);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Moves the clock and fires all timers whose time has come.
    pub(crate) fn fire(&self, now: Instant) {
        let due = self.lock().move_to(now);
        due.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Executor> {
        self.executor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a panic says of itself.
pub(crate) fn words_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    String::from(text.unwrap_or("a panic without words"))
}

impl Timer for FakeRuntime {
    fn now(&self) -> Instant {
        self.lock().now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let deadline = self.lock().round_up(deadline);
        Box::pin(Sleep::new(Arc::clone(&self.executor), deadline))
    }
}

impl Spawn for FakeRuntime {
    fn has_ended(&self) -> bool {
        self.lock().has_ended()
    }

    fn spawn(&self, task: Task) {
        let refused = self.lock().add(task, Arc::downgrade(&self.executor));
        drop(refused);
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
