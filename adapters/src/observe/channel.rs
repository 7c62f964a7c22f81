//! From the nodes of a manager to any number of readers: one buffer, a position for each reader, and wakers. Neither side waits
//! for the other.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use redis_manager_core::Event;

use crate::observe::event_ring::EventRing;
use crate::observe::node_event::{MissedEvents, NodeEvent};

struct EventChannel(Mutex<ChannelState>);

struct ChannelState {
    ring: EventRing,
    /// Without readers no event is kept.
    readers: usize,
    next_reader: u64,
    /// Of readers that have read everything, by their numbers.
    wakers: Vec<(u64, Waker)>,
    sender: SenderState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SenderState {
    Alive,
    Gone,
}

impl EventChannel {
    /// Held for a few instructions; no waker is woken or dropped meanwhile.
    fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChannelState {
    /// The next item of a reader, or the end. Else the waker is stored, and `waker` has what is left to drop.
    fn read(&mut self, reader: u64, position: &mut u64, waker: &mut Option<Waker>) -> Poll<Option<ReadEvent>> {
        if let Some(item) = self.ring.read(position) {
            return Poll::Ready(Some(item));
        }
        if self.sender == SenderState::Gone {
            return Poll::Ready(None);
        }
        let Some(latest) = waker.take() else { return Poll::Pending };
        match self.wakers.iter_mut().find(|(number, _)| *number == reader) {
            Some((_, stored)) => *waker = Some(std::mem::replace(stored, latest)),
            None => self.wakers.push((reader, latest)),
        }
        Poll::Pending
    }
}

/// Outside of the lock. One that panics does not keep the others from being woken.
fn wake(wakers: Vec<(u64, Waker)>) {
    for (_, waker) in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// What the nodes put their events into. The readers end when it is dropped.
pub(super) struct EventSender(Arc<EventChannel>);

impl EventSender {
    pub(super) fn new(capacity: usize) -> Self {
        let ring = EventRing::new(capacity);
        let state = ChannelState { ring, readers: 0, next_reader: 0, wakers: Vec::new(), sender: SenderState::Alive };
        Self(Arc::new(EventChannel(Mutex::new(state))))
    }

    pub(super) fn source(&self) -> EventSource {
        EventSource(Arc::clone(&self.0))
    }

    pub(super) fn send(&self, node: &str, event: &Event) {
        let mut state = self.0.lock();
        if state.readers == 0 {
            return;
        }
        state.ring.push(node, event);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wake(wakers);
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sender = SenderState::Gone;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wake(wakers);
    }
}

/// Makes readers. Does not keep them from ending.
#[derive(Clone)]
pub(crate) struct EventSource(Arc<EventChannel>);

impl EventSource {
    /// A reader of all events from now on.
    pub(crate) fn reader(&self) -> EventReader {
        let mut state = self.0.lock();
        state.readers += 1;
        state.next_reader += 1;
        let (number, position) = (state.next_reader, state.ring.end());
        drop(state);
        EventReader { channel: Arc::clone(&self.0), number, position }
    }
}

/// What a reader gets with each read.
type ReadEvent = Result<NodeEvent, MissedEvents>;

/// Reads the events of all nodes of a manager, from the moment at which it was made by
/// [`RedisManager::events`](crate::RedisManager::events). It is a `Stream`, too.
///
/// Each reader has a position of its own and gets every event. Events of one node come in the order in which they were
/// reported; those of calls that run at the same time on several threads may be reported in another order than they happened. A
/// reader never delays a pool: when `event_buffer` events are unread, the oldest one is overwritten, and the next read of a
/// reader that has not got it returns [`MissedEvents`] with the exact number. The buffer is shared by all readers.
///
/// It ends after the last event when the manager is dropped and all pools are closed. A [`NodeHandle`](crate::NodeHandle) or a
/// client that is still held may report events, so the reader does not end before it is dropped. A reader keeps neither the
/// manager nor a pool open.
///
/// ```no_run
/// # async fn example(manager: redis_manager::RedisManager) -> Result<(), Box<dyn std::error::Error>> {
/// use redis_manager::Event;
///
/// let mut events = manager.events()?; // needs event_buffer(1_024) or another number on the builder
/// while let Some(read) = events.next_event().await {
///     match read {
///         Ok(node_event) if matches!(node_event.event, Event::HealthChanged { .. }) => println!("{node_event}"),
///         Ok(_) => {}
///         Err(missed) => println!("{missed}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct EventReader {
    channel: Arc<EventChannel>,
    number: u64,
    /// The number of the next event to be read.
    position: u64,
}

impl EventReader {
    /// The next event. `None` at the end, and from then on.
    ///
    /// # Errors
    ///
    /// [`MissedEvents`] if events were overwritten before this reader got them; the next read returns the oldest that is left.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: no event is lost.
    pub async fn next_event(&mut self) -> Option<Result<NodeEvent, MissedEvents>> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<ReadEvent>> {
        let mut waker = Some(cx.waker().clone());
        let read = self.channel.lock().read(self.number, &mut self.position, &mut waker);
        // Outside of the lock: now the waker that is not needed any more.
        drop(waker);
        read
    }
}

impl Stream for EventReader {
    type Item = Result<NodeEvent, MissedEvents>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        let mut state = self.channel.lock();
        state.readers -= 1;
        if state.readers == 0 {
            state.ring.clear();
        }
        let at = state.wakers.iter().position(|(number, _)| *number == self.number);
        let waker = at.map(|at| state.wakers.swap_remove(at));
        drop(state);
        drop(waker);
    }
}

impl fmt::Debug for EventReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = self.channel.lock().ring.end() - self.position;
        f.debug_struct("EventReader").field("unread", &unread).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts its wakes, and panics if it is to.
    #[derive(Default)]
    struct CountedWaker {
        wakes: AtomicUsize,
        panics: bool,
    }

    impl Wake for CountedWaker {
        fn wake(self: Arc<Self>) {
            self.wakes.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "a waker that panics");
        }
    }

    fn poll(reader: &mut EventReader, waker: &Arc<CountedWaker>) -> Poll<Option<ReadEvent>> {
        reader.poll_event(&Context::from_waker(&Waker::from(Arc::clone(waker))))
    }

    fn removed(count: usize) -> Event {
        Event::PoolsRemoved { count }
    }

    /// Seen to bite: with the wakers left where they are by `send`, with those left by the drop of the sender, with the end
    /// before the last event, and with wakers that are called without `catch_unwind`.
    #[test]
    fn readers_are_woken_by_an_event_and_by_the_end_which_comes_after_the_last_event() {
        let sender = EventSender::new(2);
        let [broken, sound] = [true, false].map(|panics| Arc::new(CountedWaker { panics, ..CountedWaker::default() }));
        let (mut first, mut second) = (sender.source().reader(), sender.source().reader());
        let source = sender.source();
        assert!(poll(&mut first, &broken).is_pending() && poll(&mut second, &sound).is_pending());
        assert!(poll(&mut second, &sound).is_pending(), "asked twice it waits once");
        sender.send("node", &removed(1));
        assert_eq!((broken.wakes.load(Ordering::SeqCst), sound.wakes.load(Ordering::SeqCst)), (1, 1));
        let is_first = |read: Poll<Option<ReadEvent>>| matches!(read, Poll::Ready(Some(Ok(read))) if read.event == removed(1));
        assert!(is_first(poll(&mut first, &broken)));
        assert!(poll(&mut first, &broken).is_pending());
        drop(sender);
        assert_eq!((broken.wakes.load(Ordering::SeqCst), sound.wakes.load(Ordering::SeqCst)), (2, 1), "one had not read");
        assert_eq!(poll(&mut first, &broken), Poll::Ready(None));
        assert!(is_first(poll(&mut second, &sound)), "what was sent before the end is read");
        assert_eq!(poll(&mut second, &sound), Poll::Ready(None));
        assert_eq!(poll(&mut source.reader(), &sound), Poll::Ready(None), "one that is made later ends at once");
    }

    /// Seen to bite: with events that are kept without a reader, and with a waker that outlives its reader.
    #[test]
    fn without_a_reader_nothing_is_kept() {
        let sender = EventSender::new(8);
        let kept = || sender.0.lock().ring.end();
        sender.send("node", &removed(1));
        assert_eq!(kept(), 0, "none was counted");
        let waker = Arc::new(CountedWaker::default());
        let mut reader = sender.source().reader();
        assert!(poll(&mut reader, &waker).is_pending());
        sender.send("node", &removed(2));
        assert!(matches!(poll(&mut reader, &waker), Poll::Ready(Some(Ok(read))) if read.event == removed(2)));
        assert!(poll(&mut reader, &waker).is_pending());
        assert_eq!(Arc::strong_count(&waker), 2);
        drop(reader);
        assert_eq!(Arc::strong_count(&waker), 1, "its waker is dropped");
        let mut reader = sender.source().reader();
        assert!(poll(&mut reader, &waker).is_pending(), "a new one begins after what came before");
    }

    /// Readers on threads of their own: first events come faster than they are read, then each one when all have got the one
    /// before, so that it meets readers that are about to wait.
    ///
    /// Seen to bite: with a reader that looks and stores its waker under two locks.
    #[cfg(feature = "smol")]
    #[test]
    fn every_reader_gets_each_event_once_in_order_or_has_it_counted_as_missed() {
        const FAST: usize = 10_000;
        const SENT: usize = 15_000;
        let sender = EventSender::new(64);
        let positions: Arc<[AtomicUsize; 3]> = Arc::default();
        let readers: Vec<_> = (0..positions.len())
            .map(|number| {
                let (mut reader, positions) = (sender.source().reader(), Arc::clone(&positions));
                std::thread::spawn(move || {
                    let mut next = 0;
                    while let Some(read) = ::smol::block_on(reader.next_event()) {
                        match read {
                            Ok(NodeEvent { event: Event::PoolsRemoved { count }, .. }) => {
                                assert_eq!(count, next, "in order, without a gap that was not counted");
                                next += 1;
                            }
                            Ok(other) => panic!("never sent: {other}"),
                            Err(missed) => next += usize::try_from(missed.count).expect("small"),
                        }
                        positions[number].store(next, Ordering::SeqCst);
                    }
                    assert_eq!(next, SENT, "read or missed");
                })
            })
            .collect();
        for count in 0..SENT {
            let begun_at = std::time::Instant::now();
            while count >= FAST && positions.iter().any(|position| position.load(Ordering::SeqCst) < count) {
                assert!(begun_at.elapsed().as_secs() < 10, "a reader was not woken: {positions:?}");
                std::thread::yield_now();
            }
            sender.send("node", &removed(count));
        }
        drop(sender);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader has panicked"));
    }
}
