//! Asks a connector in which condition a connection is, and says what that means for the pool. A panic means broken.
//!
//! Called outside the lock only.

use crate::close_reason::CloseReason;
use crate::condition::Condition;
use crate::connector::Connector;
use crate::guard::guarded;
use crate::state::{Loan, ReleaseKind};

/// What is said of a connection that a borrower gives back.
#[inline]
pub(super) fn release_kind<K: Connector>(connector: &K, loan: &mut Loan<K::Connection>) -> ReleaseKind {
    match guarded(|| connector.inspect(&mut loan.conn)) {
        Some(Condition::Clean) => ReleaseKind::Sound,
        Some(Condition::Resettable) => ReleaseKind::Soiled,
        Some(Condition::Tainted) => ReleaseKind::Broken(CloseReason::Unclean),
        Some(Condition::Broken) => ReleaseKind::Broken(CloseReason::Broken),
        Some(Condition::Unresponsive) => ReleaseKind::Silent,
        None => ReleaseKind::Broken(CloseReason::Broken),
    }
}

/// Whether a connection is fit to be lent.
#[inline]
pub(super) fn is_fit<K: Connector>(connector: &K, loan: &mut Loan<K::Connection>) -> bool {
    guarded(|| connector.inspect(&mut loan.conn)).is_some_and(|condition| condition == Condition::Clean)
}
