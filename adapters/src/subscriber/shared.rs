//! What the handles of a subscriber and its task have in common: calls on their way, and the events of each reader.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis_manager_core::{Instant, Runtime};

use crate::error::GetClientError;
use crate::subscriber::error::SubscribeError;
use crate::subscriber::event::{SubscriberEnd, SubscriptionEvent};
use crate::subscriber::event_buffer::EventBuffer;
use crate::subscriber::filter::TopicFilter;
use crate::subscriber::options::SubscriberOptions;
use crate::subscriber::state::subscriber_io::{CallNumber, CallOutcome, SubscriberInput};
use crate::subscriber::topic::{TopicKind, TopicVerb};

/// See the [module](self).
pub(super) struct SubscriberShared {
    state: Mutex<SubscriberBoard>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) options: SubscriberOptions,
    /// The time for a call.
    pub(super) timeout: Duration,
    /// The node, password hidden.
    pub(super) node: String,
}

#[derive(Default)]
struct SubscriberBoard {
    inbox: VecDeque<SubscriberInput>,
    calls: BTreeMap<CallNumber, WaitingCall>,
    next_call: CallNumber,
    /// By number. Each handle has one: without any the subscriber ends.
    readers: BTreeMap<u64, ReaderEntry>,
    next_reader: u64,
    task: Option<Waker>,
    end: Option<SubscriberEnd>,
    /// Why there is no connection.
    last_error: Option<GetClientError>,
    is_stalled: bool,
}

#[derive(Default)]
struct WaitingCall {
    outcome: Option<CallOutcome>,
    waker: Option<Waker>,
}

struct ReaderEntry {
    filter: TopicFilter,
    buffer: EventBuffer,
    waker: Option<Waker>,
    is_off: bool,
}

/// What the task is given at each of its turns.
pub(super) struct TaskInputs {
    pub(super) inputs: VecDeque<SubscriberInput>,
    /// The connection is not to be read.
    pub(super) is_stalled: bool,
}

impl SubscriberShared {
    pub(super) fn new(runtime: Arc<dyn Runtime>, options: SubscriberOptions, timeout: Duration, node: String) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), runtime, options, timeout, node })
    }

    // Handles.

    pub(super) fn begin_call(
        &self,
        kind: TopicKind,
        verb: TopicVerb,
        names: Vec<Arc<[u8]>>,
    ) -> Result<CallNumber, SubscribeError> {
        let (number, task) = {
            let mut state = self.state();
            if let Some(end) = state.end {
                return Err(SubscribeError::Ended(end));
            }
            state.next_call += 1;
            let number = state.next_call;
            state.calls.insert(number, WaitingCall::default());
            state.inbox.push_back(SubscriberInput::Call { number, kind, verb, names });
            (number, state.task.take())
        };
        task.into_iter().for_each(Waker::wake);
        Ok(number)
    }

    pub(super) fn poll_call(&self, number: CallNumber, cx: &mut Context<'_>) -> Poll<Result<(), SubscribeError>> {
        let mut state = self.state();
        let end = state.end;
        let Some(call) = state.calls.get_mut(&number) else { return Poll::Pending };
        let Some(CallOutcome { refused, is_withdrawn }) = call.outcome.take() else {
            if let Some(end) = end {
                return Poll::Ready(Err(SubscribeError::Ended(end)));
            }
            let replaced = call.waker.replace(cx.waker().clone());
            drop(state);
            drop(replaced);
            return Poll::Pending;
        };
        Poll::Ready(match (refused.is_empty(), is_withdrawn) {
            (false, _) => Err(SubscribeError::Refused { topics: refused }),
            (true, true) => Err(SubscribeError::Withdrawn),
            (true, false) => Ok(()),
        })
    }

    /// The caller does not wait any more, with an outcome or without.
    pub(super) fn leave_call(&self, number: CallNumber) {
        let (call, task) = {
            let mut state = self.state();
            state.inbox.push_back(SubscriberInput::Left { number });
            (state.calls.remove(&number), state.task.take())
        };
        drop(call);
        task.into_iter().for_each(Waker::wake);
    }

    pub(super) fn last_error(&self) -> Option<GetClientError> {
        self.state().last_error.clone()
    }

    pub(super) fn add_reader(&self, filter: TopicFilter) -> u64 {
        let mut state = self.state();
        state.next_reader += 1;
        let number = state.next_reader;
        let buffer = EventBuffer::new(&self.options);
        state.readers.insert(number, ReaderEntry { filter, buffer, waker: None, is_off: false });
        number
    }

    pub(super) fn remove_reader(&self, number: u64) {
        let (reader, task) = {
            let mut state = self.state();
            let reader = state.readers.remove(&number);
            state.release_stall();
            (reader, state.task.take())
        };
        drop(reader);
        task.into_iter().for_each(Waker::wake);
    }

    /// From now on this reader gets nothing, and what it has not read is dropped.
    pub(super) fn switch_off(&self, number: u64) {
        let buffer = EventBuffer::new(&self.options);
        let (old, task) = {
            let mut state = self.state();
            let Some(reader) = state.readers.get_mut(&number) else { return };
            reader.is_off = true;
            let old = std::mem::replace(&mut reader.buffer, buffer);
            (old, if state.release_stall() { state.task.take() } else { None })
        };
        drop(old);
        task.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll_event(&self, number: u64, cx: &mut Context<'_>) -> Poll<Option<SubscriptionEvent>> {
        let mut state = self.state();
        let has_ended = state.end.is_some();
        let Some(reader) = state.readers.get_mut(&number) else { return Poll::Ready(None) };
        if let Some(event) = reader.buffer.pop() {
            let task = if state.release_stall() { state.task.take() } else { None };
            drop(state);
            task.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(event));
        }
        if has_ended || reader.is_off || reader.buffer.has_overflowed() {
            return Poll::Ready(None);
        }
        let replaced = reader.waker.replace(cx.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Why a reader gets no more than it has in its buffer.
    pub(super) fn end_of(&self, number: u64) -> Option<SubscriberEnd> {
        let state = self.state();
        let reader = state.readers.get(&number);
        match reader {
            Some(reader) if reader.is_off => Some(SubscriberEnd::SwitchedOff),
            Some(reader) if reader.buffer.has_overflowed() => Some(SubscriberEnd::Overflow),
            Some(_) | None => state.end,
        }
    }

    // The task.

    /// What has come for the task; `None` once there is no handle.
    pub(super) fn take_inputs(&self, waker: &Waker) -> Option<TaskInputs> {
        let mut state = self.state();
        if state.readers.is_empty() {
            return None;
        }
        let (inputs, is_stalled) = (std::mem::take(&mut state.inbox), state.is_stalled);
        let replaced = state.task.replace(waker.clone());
        drop(state);
        drop(replaced);
        Some(TaskInputs { inputs, is_stalled })
    }

    /// Gives an event to all readers that it is for. Returns how many messages were dropped for it, and whether the connection is not
    /// to be read from now on.
    pub(super) fn emit(&self, now: Instant, event: SubscriptionEvent) -> (u64, bool) {
        let mut woken = Vec::new();
        let (mut dropped, mut event) = (0, Some(event));
        let is_stalled = {
            let mut state = self.state();
            let count = state.readers.values().filter(|reader| !reader.is_off).count();
            for (index, reader) in state.readers.values_mut().filter(|reader| !reader.is_off).enumerate() {
                let is_whole = reader.filter.is_all();
                let taken = match (&event, is_whole) {
                    // The last one takes it.
                    (Some(_), true) if index + 1 == count => event.take(),
                    (Some(event), _) => reader.filter.apply(event),
                    (None, _) => None,
                };
                if let Some(taken) = taken {
                    dropped += reader.buffer.push(now, taken);
                    woken.extend(reader.waker.take());
                }
            }
            let stops = state.readers.values().any(|reader| reader.buffer.stops_reading());
            state.is_stalled |= stops;
            state.is_stalled
        };
        woken.into_iter().for_each(Waker::wake);
        (dropped, is_stalled)
    }

    pub(super) fn answer(&self, number: CallNumber, outcome: CallOutcome) {
        let waker = self.state().calls.get_mut(&number).and_then(|call| {
            call.outcome = Some(outcome);
            call.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn note_error(&self, error: Option<GetClientError>) {
        let replaced = std::mem::replace(&mut self.state().last_error, error);
        drop(replaced);
    }

    /// No more events come, and no call succeeds.
    pub(super) fn end(&self, end: SubscriberEnd) {
        let mut woken = Vec::new();
        {
            let mut state = self.state();
            state.end.get_or_insert(end);
            woken.extend(state.calls.values_mut().filter_map(|call| call.waker.take()));
            woken.extend(state.readers.values_mut().filter_map(|reader| reader.waker.take()));
        }
        woken.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, SubscriberBoard> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubscriberBoard {
    /// Whether the connection is to be read again.
    fn release_stall(&mut self) -> bool {
        let is_released = self.is_stalled && self.readers.values().all(|reader| reader.buffer.has_room_again());
        self.is_stalled &= !is_released;
        is_released
    }
}
