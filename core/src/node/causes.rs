//! The connector's errors of the last failed dials, for callers: the state has their texts only, so that nothing of a user's is
//! dropped under its lock.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;

use crate::guard::discard;
use crate::sync::{Mutex, PoisonError};

/// A caller that collects its failure after so many more dials have failed gets the text alone.
const MOST_KEPT: usize = 8;

type Cause = Arc<dyn Error + Send + Sync>;

/// Errors by their texts: by the allocation, not by the words.
pub(super) struct Causes(Mutex<VecDeque<(Arc<str>, Cause)>>);

impl Causes {
    pub(super) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    pub(super) fn keep(&self, text: &Arc<str>, cause: Cause) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((Arc::clone(text), cause));
        let oldest = if kept.len() > MOST_KEPT { kept.pop_front() } else { None };
        drop(kept);
        discard(oldest);
    }

    /// The error that has this text.
    pub(super) fn of(&self, text: &Arc<str>) -> Option<Cause> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| Arc::ptr_eq(known, text)).map(|(_, cause)| Arc::clone(cause))
    }
}
