//! The counters of one node: atomics that many tasks count in at the same time. No lock, and no allocation but for the first
//! request of a name that is timed.
//!
//! Each thread counts in a place of its own, as far as there are enough of them: threads that count in the same cache line wait
//! for each other. A request may begin in one place and end in another. Only sums over all places mean something.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use redis_manager_core::{CountBy, CountKey, Histogram, Instant, Runtime};

use crate::redis_node::metrics::atomic_histogram::AtomicHistogram;
use crate::redis_node::metrics::command_label::OTHER;
use crate::redis_node::metrics::command_metrics::{CommandMetrics, ConnectPhaseTimes, RequestCounts, SubscriptionCounts};
use crate::redis_node::metrics::request_result::{RequestEnd, RequestResult, RequestWay};
use crate::redis_node::padded::Padded;
use crate::redis_node::pub_sub_end::PubSubEnd;

/// The most places of a node, each 512 bytes.
const MOST_PLACES: usize = 16;

/// How many labels of a node are timed apart: those that come first. Others are timed as `other`, which is one of them.
const MOST_LABELS: usize = 33;

/// Multiples of this number, modulo 2^64, are spread evenly, also those of every second or third number: requests that alternate
/// are timed as often as each other.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// `None` for those beyond [`MOST_LABELS`].
type DurationsOfLabel = OnceLock<Option<Box<AtomicHistogram>>>;

/// What is counted and timed of a node.
pub(crate) struct NodeCounters {
    runtime: Arc<dyn Runtime>,
    use_time_sampling: usize,
    /// A request is timed if the `SPREAD` of its number is no greater.
    timed_up_to: u64,
    /// A power of two.
    places: Box<[Padded<CountingPlace>]>,
    /// By label, both made when they are first needed.
    durations: OnceLock<Box<[DurationsOfLabel]>>,
    /// How many labels but for `other` were seen.
    labels_seen: AtomicUsize,
    labels: usize,
    /// By phase, in the order of [`ConnectPhaseTimes`].
    connect_phases: [AtomicHistogram; 5],
    subscriptions: SubscriptionCounters,
}

/// Where some threads count.
#[derive(Default)]
struct CountingPlace {
    exclusive: RequestCounters,
    shared: RequestCounters,
}

#[derive(Default)]
struct RequestCounters {
    begun: AtomicU64,
    /// For each pipeline, how many commands more than one it has.
    further: AtomicU64,
    ended: [AtomicU64; RequestEnd::COUNT],
}

#[derive(Default)]
struct SubscriptionCounters {
    begun: AtomicU64,
    ended: [AtomicU64; PubSubEnd::ALL.len()],
    dropped: AtomicU64,
    messages: AtomicU64,
    resubscriptions: AtomicU64,
    gaps: AtomicU64,
    gap_nanos: AtomicU64,
    dropped_messages: AtomicU64,
}

impl CountingPlace {
    fn of(&self, way: RequestWay) -> &RequestCounters {
        match way {
            RequestWay::Exclusive => &self.exclusive,
            RequestWay::Shared => &self.shared,
        }
    }
}

impl NodeCounters {
    /// Times about one request of each `use_time_sampling`, none if that is 0, under so many labels.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, use_time_sampling: usize, labels: usize) -> Self {
        Self {
            runtime,
            use_time_sampling,
            timed_up_to: u64::MAX.checked_div(use_time_sampling as u64).unwrap_or(0),
            places: (0..places()).map(|_| Padded(CountingPlace::default())).collect(),
            durations: OnceLock::new(),
            labels_seen: AtomicUsize::new(0),
            labels,
            connect_phases: std::array::from_fn(|_| AtomicHistogram::new()),
            subscriptions: SubscriptionCounters::default(),
        }
    }

    /// A request with so many commands begins. Returns the time if it is to be timed. It must [`end`](Self::end).
    #[inline]
    pub(crate) fn begin(&self, way: RequestWay, commands: usize) -> Option<Instant> {
        let counters = self.place().of(way);
        let number = counters.begun.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if commands != 1 {
            counters.further.fetch_add((commands as u64).wrapping_sub(1), Ordering::Relaxed);
        }
        (number.wrapping_mul(SPREAD) <= self.timed_up_to).then(|| self.runtime.now())
    }

    /// A request ends that began at `timed_from`, if it is to be timed, under a label.
    #[inline]
    pub(crate) fn end(&self, way: RequestWay, end: RequestEnd, timed_from: Option<Instant>, label: impl FnOnce() -> usize) {
        if let Some(begun_at) = timed_from.filter(|_| end.is_timed()) {
            let took = self.runtime.now().saturating_duration_since(begun_at);
            self.duration(label()).record(took);
        }
        // Released, and acquired by `read`: no reader sees an end without its beginning.
        self.place().of(way).ended[end.index()].fetch_add(1, Ordering::Release);
    }

    /// A phase of a connect has ended well, by its number in the order of [`ConnectPhaseTimes`]. Returns the time.
    pub(crate) fn end_phase(&self, phase: usize, begun_at: Instant) -> Instant {
        let now = self.runtime.now();
        self.connect_phases[phase].record(now.saturating_duration_since(begun_at));
        now
    }

    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    pub(crate) fn begin_subscription(&self) {
        self.subscriptions.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_message(&self) {
        self.subscriptions.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// A subscriber has a connection in the place of one that it has lost.
    pub(crate) fn note_resubscription(&self) {
        self.subscriptions.resubscriptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_gap(&self, lasted: Duration) {
        let nanos = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
        self.subscriptions.gaps.fetch_add(1, Ordering::Relaxed);
        self.subscriptions.gap_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn note_dropped_messages(&self, count: u64) {
        self.subscriptions.dropped_messages.fetch_add(count, Ordering::Relaxed);
    }

    /// A subscription has ended, by itself or because it was dropped.
    pub(crate) fn end_subscription(&self, end: Option<PubSubEnd>) {
        let counter = end.map_or(&self.subscriptions.dropped, |end| &self.subscriptions.ended[end as usize]);
        counter.fetch_add(1, Ordering::Release);
    }

    fn place(&self) -> &CountingPlace {
        // The number of a thread that is ending is gone.
        let number = NUMBER_OF_THREAD.try_with(|number| *number).unwrap_or_default();
        &self.places[number & (self.places.len() - 1)].0
    }

    fn duration(&self, label: usize) -> &AtomicHistogram {
        let durations = self.durations.get_or_init(|| (0..self.labels).map(|_| OnceLock::new()).collect());
        let made = |is_kept: bool| is_kept.then(|| Box::new(AtomicHistogram::new()));
        let has_room = || self.labels_seen.fetch_add(1, Ordering::Relaxed) < MOST_LABELS - 1;
        let apart = durations[label].get_or_init(|| made(label == OTHER || has_room()));
        let others = || durations[OTHER].get_or_init(|| made(true)).as_ref();
        apart.as_ref().or_else(others).expect("the others have one")
    }

    /// All of it; `text` is that of a label.
    pub(crate) fn read(&self, text: impl Fn(usize) -> String) -> CommandMetrics {
        CommandMetrics {
            exclusive: self.read_requests(RequestWay::Exclusive),
            shared: self.read_requests(RequestWay::Shared),
            durations: self.read_durations(text),
            use_time_sampling: self.use_time_sampling,
            connect_phases: self.read_phases(),
            subscriptions: self.read_subscriptions(),
        }
    }

    /// The ends before the beginnings: none is in flight twice.
    fn read_requests(&self, way: RequestWay) -> RequestCounts {
        let sum = |counter: &dyn Fn(&RequestCounters) -> u64| {
            self.places.iter().fold(0_u64, |sum, place| sum.wrapping_add(counter(place.0.of(way))))
        };
        let ends: [u64; RequestEnd::COUNT] =
            std::array::from_fn(|end| sum(&|counters| counters.ended[end].load(Ordering::Acquire)));
        let of = |end: RequestEnd| ends[end.index()];
        let server_errors = CountBy::of_each(|code| of(RequestEnd::ServerError(code)));
        let ended = CountBy::of_each(|result| match result {
            RequestResult::Ok => of(RequestEnd::Ok),
            RequestResult::ServerError => server_errors.total(),
            RequestResult::TimedOut => of(RequestEnd::TimedOut),
            RequestResult::OutcomeUnknown => of(RequestEnd::OutcomeUnknown),
            RequestResult::NotSent => of(RequestEnd::NotSent),
            RequestResult::Refused => of(RequestEnd::Refused),
            RequestResult::Cancelled => of(RequestEnd::Cancelled),
        });
        let further = sum(&|counters| counters.further.load(Ordering::Relaxed));
        let begun = sum(&|counters| counters.begun.load(Ordering::Relaxed));
        RequestCounts { begun, commands: begun.wrapping_add(further), ended, server_errors }
    }

    fn read_durations(&self, text: impl Fn(usize) -> String) -> BTreeMap<String, Histogram> {
        let all = self.durations.get().into_iter().flatten().enumerate();
        all.filter_map(|(label, histogram)| Some((text(label), histogram.get()?.as_ref()?.read()))).collect()
    }

    fn read_phases(&self) -> ConnectPhaseTimes {
        let [resolve, dial, tls, login, after_connect] = &self.connect_phases;
        ConnectPhaseTimes {
            resolve: resolve.read(),
            dial: dial.read(),
            tls: tls.read(),
            login: login.read(),
            after_connect: after_connect.read(),
        }
    }

    fn read_subscriptions(&self) -> SubscriptionCounts {
        let SubscriptionCounters { begun, ended, dropped, .. } = &self.subscriptions;
        let ended = CountBy::of_each(|end: PubSubEnd| ended[end as usize].load(Ordering::Acquire));
        let dropped = dropped.load(Ordering::Acquire);
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SubscriptionCounts {
            ended,
            dropped,
            begun: of(begun),
            messages: of(&self.subscriptions.messages),
            resubscriptions: of(&self.subscriptions.resubscriptions),
            gaps: of(&self.subscriptions.gaps),
            gap_time: Duration::from_nanos(of(&self.subscriptions.gap_nanos)),
            dropped_messages: of(&self.subscriptions.dropped_messages),
        }
    }
}

thread_local! {
    /// Read twice for each request: to ask the standard library takes longer.
    static NUMBER_OF_THREAD: usize = number_of_thread();
}

/// The number in the id of this thread: the standard library counts the threads of a process.
fn number_of_thread() -> usize {
    let mut number = LastNumber(0);
    thread::current().id().hash(&mut number);
    number.finish() as usize
}

/// What was hashed last, if that was a number.
struct LastNumber(u64);

impl Hasher for LastNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A power of two: one for each CPU, within bounds.
fn places() -> usize {
    thread::available_parallelism().map_or(1, |cpus| cpus.get().next_power_of_two().min(MOST_PLACES))
}

#[cfg(test)]
mod tests;
