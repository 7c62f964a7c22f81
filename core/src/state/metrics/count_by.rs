//! A counter for each variant of an enum, so that none can be forgotten.

use std::fmt;

use crate::close_reason::CloseReason;
use crate::state::event::{CheckOutcome, ConnectionUse, GrantRevoked};
use crate::state::input::DialFailureKind;
use crate::state::outcome::WaitPhase;
use crate::state::status::Health;

/// The kinds that a [`CountBy`] tells apart. For the enums of this crate and of those that come with it: what is hidden here may
/// change at any time.
pub trait CountKey: Copy + fmt::Debug + Eq + 'static {
    /// An array with one count for each of them.
    #[doc(hidden)]
    type Counts: Copy + fmt::Debug + Default + Eq + AsRef<[u64]> + AsMut<[u64]>;

    /// All of them, in the order of their definition.
    const ALL: &'static [Self];

    /// Its name in metrics: words in small letters, joined by `_`. It stays the same from version to version.
    fn label(self) -> &'static str;

    /// Its place in [`ALL`](CountKey::ALL).
    #[doc(hidden)]
    fn index(self) -> usize;
}

/// How often each of several kinds has happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CountBy<K: CountKey> {
    counts: K::Counts,
}

impl<K: CountKey> CountBy<K> {
    /// What was counted elsewhere, in atomics say: `count` is called once for each kind.
    #[must_use]
    pub fn of_each(mut count: impl FnMut(K) -> u64) -> Self {
        let mut counts = K::Counts::default();
        counts.as_mut().iter_mut().zip(K::ALL).for_each(|(place, kind)| *place = count(*kind));
        Self { counts }
    }

    /// How often one of them has happened.
    #[must_use]
    pub fn of(&self, kind: K) -> u64 {
        self.counts.as_ref()[kind.index()]
    }

    /// How often any of them has happened.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.as_ref().iter().sum()
    }

    /// Each kind with its count, those included that have never happened; [`label`](CountKey::label) is its name.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        K::ALL.iter().copied().zip(self.counts.as_ref().iter().copied())
    }

    /// One of them has happened.
    pub(crate) fn add(&mut self, kind: K) {
        self.counts.as_mut()[kind.index()] += 1;
    }
}

impl<K: CountKey> Default for CountBy<K> {
    fn default() -> Self {
        Self { counts: K::Counts::default() }
    }
}

/// `{Broken: 2, Expired: 1}`: without those that have never happened.
impl<K: CountKey> fmt::Debug for CountBy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
    }
}

/// A map from each label to its count.
#[cfg(feature = "serde")]
impl<K: CountKey> serde::Serialize for CountBy<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(kind, count)| (kind.label(), count)))
    }
}

/// Lists the variants of an enum in the order of their definition: the compiler refuses a list that lacks one, or that has
/// them in another order.
#[doc(hidden)]
#[macro_export]
macro_rules! count_key {
    ($key:ident: $($variant:ident $label:literal,)*) => {
        impl $crate::CountKey for $key {
            type Counts = [u64; [$($label),*].len()];

            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        const _: () = {
            let mut at = 0;
            while at < <$key as $crate::CountKey>::ALL.len() {
                assert!(<$key as $crate::CountKey>::ALL[at] as usize == at, "in the order of their definition");
                at += 1;
            }
        };
    };
}

count_key! { CheckOutcome: Passed "passed", Failed "failed", Unanswered "unanswered", }
count_key! { ConnectionUse: Idle "idle", Granted "granted", Loan "loan", Upkeep "upkeep", }
count_key! { DialFailureKind: Passing "passing", Permanent "permanent", TimedOut "timed_out", }
count_key! { GrantRevoked: Cancelled "cancelled", Deadline "deadline", PoolClosed "pool_closed", Broken "broken", }
count_key! { Health: Up "up", Suspect "suspect", Down "down", }
count_key! { WaitPhase:
    LeasesHeld "leases_held", Dialling "dialling", DialsFailing "dials_failing", Housekeeping "housekeeping",
    TotalLimit "total_limit",
}
count_key! { CloseReason:
    Broken "broken", Discarded "discarded", CheckFailed "check_failed", Unclean "unclean",
    Outdated "outdated", IdleTooLong "idle_too_long", Expired "expired", Yielded "yielded", PoolClosed "pool_closed",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn labels<K: CountKey>() -> Vec<&'static str> {
        K::ALL.iter().map(|kind| kind.label()).collect()
    }

    /// Guards against: two kinds in one counter, labels that are no names of metrics.
    #[test]
    fn each_kind_has_a_counter_and_a_label_of_its_own() {
        let mut closes = CountBy::default();
        closes.add(CloseReason::Expired);
        closes.add(CloseReason::Broken);
        closes.add(CloseReason::Expired);
        assert_eq!((closes.of(CloseReason::Expired), closes.of(CloseReason::Yielded), closes.total()), (2, 0, 3));
        assert_eq!(closes.iter().map(|(_, count)| count).collect::<Vec<_>>(), [1, 0, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!(format!("{closes:?}"), "{Broken: 1, Expired: 2}");
        assert_eq!(CountBy::of_each(|reason| closes.of(reason)), closes);
        for labels in [
            labels::<CloseReason>(),
            labels::<WaitPhase>(),
            labels::<DialFailureKind>(),
            labels::<ConnectionUse>(),
            labels::<GrantRevoked>(),
            labels::<CheckOutcome>(),
            labels::<Health>(),
        ] {
            assert!(labels.iter().all(|label| label.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())), "{labels:?}");
            assert_eq!(BTreeSet::from_iter(&labels).len(), labels.len(), "{labels:?}");
        }
    }
}
