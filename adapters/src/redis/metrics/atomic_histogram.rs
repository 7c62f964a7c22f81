//! A histogram that any number of threads fill at the same time, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis_manager_core::Histogram;

/// The buckets of a [`Histogram`]. 360 bytes.
pub(crate) struct AtomicHistogram {
    counts: [AtomicU64; Histogram::BUCKETS],
    /// Wraps after 584 years.
    sum_nanos: AtomicU64,
}

impl AtomicHistogram {
    pub(crate) fn new() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum_nanos: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, length: Duration) {
        let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        self.counts[Histogram::bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was recorded. The sum may lack a length that is being recorded, or have it before the buckets do.
    pub(crate) fn read(&self) -> Histogram {
        let counts = std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed));
        Histogram::of_counts(counts, Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with micros for nanos in `record`.
    #[test]
    fn it_is_read_as_the_histogram_of_the_same_lengths() {
        let (atomic, mut plain) = (AtomicHistogram::new(), Histogram::default());
        for micros in [0, 1, 10, 11, 333, 4_700_000, 200_000_000] {
            atomic.record(Duration::from_micros(micros));
            plain.record(Duration::from_micros(micros));
        }
        assert_eq!(atomic.read(), plain);
    }
}
