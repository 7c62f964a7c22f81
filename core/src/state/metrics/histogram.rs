//! How long things took, as counts of fixed buckets: to record a length takes neither a float nor an allocation.

use std::fmt;
use std::time::Duration;

const PER_DECADE: [u64; 6] = [10, 15, 22, 33, 47, 68];
const DECADES: usize = 7;
/// Those of all decades, and the end of the last one.
const BOUNDS: usize = PER_DECADE.len() * DECADES + 1;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The bounds in nanoseconds.
const NANOS: [u64; BOUNDS] = {
    let mut bounds = [0; BOUNDS];
    let mut at = 0;
    while at < BOUNDS {
        let decade = (at / PER_DECADE.len()) as u32;
        bounds[at] = PER_DECADE[at % PER_DECADE.len()] * 1_000 * 10_u64.pow(decade);
        at += 1;
    }
    bounds
};

/// By the number of bits of a length in nanoseconds: the first bucket that it may belong to. At most two more follow, for
/// a bound is no more than one and a half times the one before.
const FIRST_OF_BITS: [u8; u64::BITS as usize + 1] = {
    let mut first = [0; u64::BITS as usize + 1];
    let mut bits = 1;
    while bits < first.len() {
        let shortest = 1 << (bits - 1);
        let mut at = 0;
        while at < BOUNDS && NANOS[at] < shortest {
            at += 1;
        }
        first[bits] = at as u8;
        bits += 1;
    }
    first
};

/// How long things took, in buckets from 10 µs to 100 s.
///
/// The upper bounds are 10, 15, 22, 33, 47 and 68 µs, the same times 10, 100 and so on, and 100 s: 43 in all. Each bound
/// belongs to its bucket, as `le` of Prometheus does. What took longer than 100 s is counted, and is in no bucket with a bound.
/// Counts and the sum only grow. 368 bytes.
///
/// ```
/// use redis_manager_core::Histogram;
/// use std::time::Duration;
///
/// let mut waits = Histogram::default();
/// [3, 3, 40].into_iter().for_each(|millis| waits.record(Duration::from_millis(millis)));
/// assert_eq!((waits.count(), waits.sum()), (3, Duration::from_millis(46)));
/// assert_eq!(waits.quantile(0.5), Some(Duration::from_micros(3_300)));
/// let within_10_ms = waits.buckets().find(|(bound, _)| *bound == Duration::from_millis(10));
/// assert_eq!(within_10_ms, Some((Duration::from_millis(10), 2)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    /// By bound; the last one has none.
    counts: [u64; BOUNDS + 1],
    /// In nanoseconds.
    sum: u128,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BOUNDS + 1], sum: 0 }
    }
}

impl Histogram {
    /// How many buckets there are, the one without a bound included.
    pub const BUCKETS: usize = BOUNDS + 1;

    /// The bucket that a length in nanoseconds belongs to, from 0 on. For those that count in atomics, and make a histogram
    /// [of their counts](Histogram::of_counts).
    #[inline]
    #[must_use]
    pub fn bucket_of(nanos: u64) -> usize {
        let mut bucket = usize::from(FIRST_OF_BITS[(u64::BITS - nanos.leading_zeros()) as usize]);
        while NANOS.get(bucket).is_some_and(|bound| *bound < nanos) {
            bucket += 1;
        }
        bucket
    }

    /// One with these counts, by [`bucket_of`](Histogram::bucket_of), of lengths that are so long together.
    #[must_use]
    pub fn of_counts(counts: [u64; Self::BUCKETS], sum: Duration) -> Self {
        Self { counts, sum: sum.as_nanos() }
    }

    /// Counts one length of time. More than 584 years are taken for 584 years.
    pub fn record(&mut self, length: Duration) {
        self.record_nanos(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The same for one in nanoseconds.
    #[inline]
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        self.counts[Self::bucket_of(nanos)] += 1;
        self.sum += u128::from(nanos);
    }

    /// Adds what another one has counted, that of another node say.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// How many lengths were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        let seconds = u64::try_from(self.sum / NANOS_PER_SECOND).unwrap_or(u64::MAX);
        Duration::new(seconds, (self.sum % NANOS_PER_SECOND) as u32)
    }

    /// The bound of the bucket that has the length which a share `q` of all lengths does not exceed: 0.5 is the median. It is
    /// never too short, and at most half as long again as that length if that is 10 µs or more. None without any length;
    /// [`Duration::MAX`] if the length is over 100 s. Below 0 and above 1 `q` is taken for 0 and 1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        if count == 0 {
            return None;
        }
        let bucket = self.buckets().find(|(_, up_to)| *up_to >= rank);
        Some(bucket.map_or(Duration::MAX, |(bound, _)| bound))
    }

    /// The 43 upper bounds, each with how many lengths did not exceed it. What exceeds the last one is in
    /// [`count`](Histogram::count) alone.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bounds = NANOS.iter().map(|bound| Duration::from_nanos(*bound));
        bounds.zip(&self.counts).scan(0, |up_to, (bound, count)| {
            *up_to += count;
            Some((bound, *up_to))
        })
    }
}

/// `{ count: 3, sum: 46ms, median: 3.3ms, longest: 47ms }`, the lengths as bounds of buckets.
impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Histogram");
        shown.field("count", &self.count()).field("sum", &self.sum());
        if let (Some(median), Some(longest)) = (self.quantile(0.5), self.quantile(1.0)) {
            shown.field("median", &median).field("longest", &longest);
        }
        shown.finish()
    }
}

/// `count`, `sum` in seconds, and `buckets`: pairs of a bound in seconds and the count up to it.
#[cfg(feature = "serde")]
impl serde::Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let buckets: Vec<_> = self.buckets().map(|(bound, up_to)| (bound.as_secs_f64(), up_to)).collect();
        let mut fields = serializer.serialize_struct("Histogram", 3)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("sum", &self.sum().as_secs_f64())?;
        fields.serialize_field("buckets", &buckets)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);
    const NANO: Duration = Duration::from_nanos(1);

    fn of(lengths: impl IntoIterator<Item = Duration>) -> Histogram {
        let mut histogram = Histogram::default();
        lengths.into_iter().for_each(|length| histogram.record(length));
        histogram
    }

    /// Guards against: a decade left out, a bound that is rounded.
    #[test]
    fn the_bounds_are_six_for_each_decade_from_10_microseconds_to_100_seconds() {
        let bounds: Vec<_> = Histogram::default().buckets().map(|(bound, _)| bound).collect();
        assert_eq!(bounds[..7], [10, 15, 22, 33, 47, 68, 100].map(|micros| micros * MICRO));
        assert_eq!(bounds[bounds.len() - 7..], [10, 15, 22, 33, 47, 68, 100].map(Duration::from_secs));
        assert_eq!(bounds.len(), 43);
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1] && pair[1] * 2 <= pair[0] * 3), "{bounds:?}");
        assert!(bounds.iter().zip(&bounds[6..]).all(|(bound, later)| *bound * 10 == *later));
    }

    /// Guards against: `<=` for `<` in the search, which makes each bound the first length that its bucket leaves out; a search
    /// that begins too far on.
    #[test]
    fn each_bound_belongs_to_its_bucket_and_a_nanosecond_more_to_the_next() {
        let bounds: Vec<_> = Histogram::default().buckets().map(|(bound, _)| bound).collect();
        for (at, bound) in bounds.iter().enumerate() {
            let up_to = |histogram: &Histogram| histogram.buckets().nth(at).map(|(_, up_to)| up_to);
            assert_eq!(up_to(&of([*bound])), Some(1), "{bound:?}");
            assert_eq!(up_to(&of([*bound + NANO])), Some(0), "{bound:?}");
            let next = bounds.get(at + 1).copied().unwrap_or(Duration::MAX);
            assert_eq!(of([*bound + NANO]).quantile(1.0), Some(next), "{bound:?}");
        }
    }

    /// Guards against: a length over the last bound that is lost, or in the last bucket.
    #[test]
    fn what_is_longer_than_all_bounds_is_counted_and_in_no_bucket() {
        let long = of([Duration::ZERO, Duration::from_secs(101), Duration::MAX]);
        assert_eq!((long.count(), long.buckets().last()), (3, Some((Duration::from_secs(100), 1))));
        assert_eq!(long.sum(), Duration::from_nanos(u64::MAX) + Duration::from_secs(101));
        assert_eq!([0.3, 0.4].map(|q| long.quantile(q)), [10 * MICRO, Duration::MAX].map(Some));
    }

    /// Guards against: a sum in another unit, counts from the second bucket on.
    #[test]
    fn what_was_counted_elsewhere_is_the_same_histogram() {
        let lengths = [MICRO, 15 * MICRO, 16 * MICRO, Duration::from_secs(3), Duration::from_secs(1_000)];
        let mut counts = [0; Histogram::BUCKETS];
        lengths.iter().for_each(|length| counts[Histogram::bucket_of(length.as_nanos() as u64)] += 1);
        assert_eq!(Histogram::of_counts(counts, lengths.iter().sum()), of(lengths));
    }

    /// Guards against: a rank that is rounded down.
    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_of_the_length_with_that_rank() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let hundred = of((1..=100).map(|n| n * 10 * MICRO));
        let at = |q| hundred.quantile(q).map(|bound| bound.as_micros());
        assert_eq!([0.0, -1.0, f64::NAN, 0.01, 0.011].map(at), [10, 10, 10, 10, 22].map(Some));
        assert_eq!([0.5, 0.68, 0.681, 1.0, 7.0].map(at), [680, 680, 1_000, 1_000, 1_000].map(Some));
    }

    /// Guards against: a merge that forgets the sum, or what no bucket has.
    #[test]
    fn a_merge_counts_what_both_have_counted() {
        let lengths = [MICRO, 15 * MICRO, 16 * MICRO, Duration::from_secs(3), Duration::from_secs(1_000)];
        let mut merged = of(lengths[..3].iter().copied());
        merged.merge(&of(lengths[3..].iter().copied()));
        merged.merge(&Histogram::default());
        assert_eq!(merged, of(lengths));
        assert_eq!(format!("{:?}", of([MICRO])), "Histogram { count: 1, sum: 1µs, median: 10µs, longest: 10µs }");
    }
}
