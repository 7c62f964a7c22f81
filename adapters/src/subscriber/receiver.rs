//! One reader of a subscriber, with a buffer of its own.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::subscriber::event::{SubscriberEnd, SubscriptionEvent};
use crate::subscriber::filter::TopicFilter;
use crate::subscriber::shared::SubscriberShared;

/// A reader of a [`Subscriber`](crate::Subscriber), made by [`Subscriber::receiver`](crate::Subscriber::receiver). A [`Stream`]
/// of events.
#[must_use = "events are kept for it until it is dropped"]
pub struct SubscriberReceiver {
    shared: Arc<SubscriberShared>,
    number: u64,
}

impl SubscriberReceiver {
    pub(super) fn new(shared: &Arc<SubscriberShared>, filter: TopicFilter) -> Self {
        Self { shared: Arc::clone(shared), number: shared.add_reader(filter) }
    }

    /// The next event; `None` after the end, see [`end`](SubscriberReceiver::end).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: no event is lost.
    pub async fn next(&mut self) -> Option<SubscriptionEvent> {
        poll_fn(|cx| self.shared.poll_event(self.number, cx)).await
    }

    /// Why no more events come than those that were not read yet; `None` while more may come.
    #[must_use]
    pub fn end(&self) -> Option<SubscriberEnd> {
        self.shared.end_of(self.number)
    }

    pub(super) fn switch_off(&self) {
        self.shared.switch_off(self.number);
    }
}

impl Drop for SubscriberReceiver {
    fn drop(&mut self) {
        self.shared.remove_reader(self.number);
    }
}

impl Stream for SubscriberReceiver {
    type Item = SubscriptionEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SubscriptionEvent>> {
        self.shared.poll_event(self.number, cx)
    }
}

impl fmt::Debug for SubscriberReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberReceiver").field("end", &self.end()).finish_non_exhaustive()
    }
}
