//! What a fake runtime consists of: the clock, the tasks, those that are ready, the timers. It polls and wakes nothing itself: that
//! happens outside of its lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};

use crate::runtime::Task;
use crate::state::rng::Rng;
use crate::testing::schedule::{Pick, Schedule};
use crate::time::Instant;

/// More polls than this at one instant are taken for a livelock.
const MOST_POLLS_AN_INSTANT: u64 = 5_000_000;

/// When a timer fires, and a number that distinguishes it from others of that instant.
pub(super) type TimerKey = (Instant, u64);

pub(super) struct Executor {
    now: Instant,
    schedule: Schedule,
    rng: Rng,
    /// By number; a slot is used again when its task has ended.
    tasks: Vec<TaskSlot>,
    free: Vec<usize>,
    ready: VecDeque<Arc<TaskWaker>>,
    timers: BTreeMap<TimerKey, Waker>,
    next_timer: u64,
    polls_at_instant: u64,
    steps: u64,
    /// What the first task said that has panicked since this was last taken.
    panicked: Option<String>,
    ended: bool,
}

pub(super) struct TaskSlot {
    /// None while the task is being polled, or when there is none.
    task: Option<Task>,
    waker: Option<Arc<TaskWaker>>,
}

/// What is run next.
pub(super) enum NextTask {
    Task(usize, Task, Arc<TaskWaker>),
    /// The future of a `block_on`, or what is left of its waker.
    Main(Arc<TaskWaker>),
    Nothing,
}

impl Executor {
    pub(super) fn new(seed: u64, schedule: Schedule) -> Self {
        Self {
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
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Moves the clock ahead, without a look at the timers.
    pub(super) fn skip_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Moves the clock ahead; the result is to be woken: the timers whose time has come.
    pub(super) fn move_to(&mut self, now: Instant) -> Vec<Waker> {
        self.skip_to(now);
        self.take_due()
    }

    /// The timers whose time has passed without a move of the clock: a poll may take time.
    pub(super) fn take_passed(&mut self) -> Vec<Waker> {
        if self.next_timer_at().is_some_and(|at| at <= self.now) { self.take_due() } else { Vec::new() }
    }

    fn take_due(&mut self) -> Vec<Waker> {
        self.polls_at_instant = 0;
        let later = self.timers.split_off(&(self.now, u64::MAX));
        std::mem::replace(&mut self.timers, later).into_values().collect()
    }

    pub(super) fn next_timer_at(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// A deadline as the timers of the schedule keep it.
    pub(super) fn round_up(&self, deadline: Instant) -> Instant {
        self.schedule.round_up(deadline)
    }

    /// Sets a timer, or gives one another waker; the former waker comes back.
    pub(super) fn set_timer(&mut self, deadline: Instant, key: Option<TimerKey>, waker: Waker) -> (TimerKey, Option<Waker>) {
        let key = key.unwrap_or_else(|| {
            self.next_timer += 1;
            (deadline, self.next_timer)
        });
        (key, self.timers.insert(key, waker))
    }

    pub(super) fn remove_timer(&mut self, key: TimerKey) -> Option<Waker> {
        self.timers.remove(&key)
    }

    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Takes what is run next out of those that are ready, as the schedule says.
    pub(super) fn take_ready(&mut self) -> NextTask {
        loop {
            if self.ready.is_empty() {
                return NextTask::Nothing;
            }
            let pick = self.pick();
            let Some(waker) = self.ready.remove(pick) else { return NextTask::Nothing };
            waker.queued.store(false, Ordering::Relaxed);
            let Some(number) = waker.number else {
                self.count_step();
                return NextTask::Main(waker);
            };
            // A waker may outlive its task; its slot may have another one by now.
            let slot = self.tasks.get_mut(number).filter(|slot| slot.waker.as_ref().is_some_and(|own| Arc::ptr_eq(own, &waker)));
            if let Some(task) = slot.and_then(|slot| slot.task.take()) {
                self.count_step();
                return NextTask::Task(number, task, waker);
            }
        }
    }

    fn pick(&mut self) -> usize {
        match self.schedule.pick {
            Pick::Fifo => 0,
            Pick::Lifo => self.ready.len() - 1,
            Pick::Uniform => self.rng.index(self.ready.len()),
            // The number of a task is as good a priority as any, once its bits are mixed.
            Pick::Priority => {
                let priority =
                    |waker: &Arc<TaskWaker>| waker.number.map(|number| (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                (0..self.ready.len()).max_by_key(|index| priority(&self.ready[*index])).unwrap_or(0)
            }
        }
    }

    fn count_step(&mut self) {
        self.steps += 1;
        self.polls_at_instant += 1;
        self.now = self.now + self.schedule.poll_cost;
    }

    pub(super) fn is_in_a_livelock(&self) -> bool {
        self.polls_at_instant > MOST_POLLS_AN_INSTANT
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes a new task; it comes back if the runtime has ended. `this` is where the executor itself is.
    pub(super) fn add(&mut self, task: Task, this: Weak<Mutex<Self>>) -> Option<Task> {
        if self.ended {
            return Some(task);
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(TaskSlot { task: None, waker: None });
            self.tasks.len() - 1
        });
        let waker = Arc::new(TaskWaker { executor: this, number: Some(number), queued: AtomicBool::new(true) });
        self.tasks[number] = TaskSlot { task: Some(task), waker: Some(Arc::clone(&waker)) };
        self.ready.push_back(waker);
        None
    }

    /// A task that was polled goes on.
    pub(super) fn put_back(&mut self, number: usize, task: Task) {
        self.tasks[number].task = Some(task);
    }

    /// The slot of a task that has ended is free; the task is in the result unless it is being polled.
    pub(super) fn remove(&mut self, number: usize) -> Option<Task> {
        let slot = &mut self.tasks[number];
        slot.waker = None;
        self.free.push(number);
        slot.task.take()
    }

    /// Removes one of the tasks that have not ended, drawn from the seed.
    pub(super) fn remove_any(&mut self) -> Option<Task> {
        let alive: Vec<usize> = (0..self.tasks.len()).filter(|number| self.tasks[*number].task.is_some()).collect();
        if alive.is_empty() {
            return None;
        }
        let number = alive[self.rng.index(alive.len())];
        self.remove(number)
    }

    /// The waker of one of the tasks that have not ended, drawn from the seed.
    pub(super) fn any_waker(&mut self) -> Option<Arc<TaskWaker>> {
        let wakers: Vec<_> = self.tasks.iter().filter_map(|slot| slot.waker.clone()).collect();
        if wakers.is_empty() {
            return None;
        }
        let pick = self.rng.index(wakers.len());
        Some(Arc::clone(&wakers[pick]))
    }

    pub(super) fn tasks(&self) -> usize {
        self.tasks.iter().filter(|slot| slot.waker.is_some()).count()
    }

    /// Ends the runtime. What is ready and what there is of tasks is to be dropped, in this order.
    pub(super) fn end(&mut self) -> (VecDeque<Arc<TaskWaker>>, Vec<TaskSlot>) {
        self.ended = true;
        self.free.clear();
        (std::mem::take(&mut self.ready), std::mem::take(&mut self.tasks))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Keeps what a task said that has panicked, if none has before.
    pub(super) fn note_panic(&mut self, said: String) {
        self.panicked.get_or_insert(said);
    }

    pub(super) fn take_panic(&mut self) -> Option<String> {
        self.panicked.take()
    }
}

pub(super) struct TaskWaker {
    executor: Weak<Mutex<Executor>>,
    /// None for the future given to `block_on`.
    number: Option<usize>,
    queued: AtomicBool,
}

impl TaskWaker {
    /// For the future given to `block_on`.
    pub(super) fn of_main(executor: Weak<Mutex<Executor>>) -> Arc<Self> {
        Arc::new(Self { executor, number: None, queued: AtomicBool::new(false) })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(executor) = self.executor.upgrade() {
            executor.lock().unwrap_or_else(PoisonError::into_inner).ready.push_back(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
    }
}
