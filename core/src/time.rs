//! A point in time as a plain number: what the core reckons with instead of reading a clock.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since an epoch that the runtime chose (usually its own start).
///
/// The arithmetic saturates: a deadline too far to be written down is the last instant there is, about 584 years
/// after the epoch. Two instants may be compared only if they come from the same [`Runtime`](crate::Runtime).
///
/// ```
/// use redis_manager_core::Instant;
/// use std::time::Duration;
///
/// let at = Instant::ZERO + Duration::from_millis(1_500);
/// assert_eq!(at.to_string(), "1.5s");
/// assert_eq!(Instant::ZERO.saturating_duration_since(at), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The instant `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant moved `by` into the future, or the last instant there is.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// How long ago `earlier` was, or zero if it lies ahead.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        self.saturating_add(by)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate_at_the_last_instant() {
        let last = Instant::from_nanos(u64::MAX);
        assert_eq!(Instant::from_nanos(5) + Duration::MAX, last);
        assert_eq!(last + Duration::from_nanos(1), last);
    }
}
