//! Subscriptions that survive their connections: a pure machine, a task that drives it, and the handles of users.
//!
//! ```text
//!  Subscriber, SubscriberReceiver --- calls ---> SubscriberShared --- inputs ---> SubscriberTask --> SubscriberState (pure)
//!              ^                                                                       |
//!              '------ events ----------- EventBuffer (pure, one for each) <-----------'
//! ```

mod error;
mod event;
mod event_buffer;
mod filter;
mod handle;
mod lease_source;
mod options;
mod receiver;
mod shared;
mod state;
mod task;
mod task_link;
mod topic;

pub use error::{SubscribeError, SubscriberError};
pub use event::{GapReason, SubscriberEnd, SubscriptionEvent};
pub use filter::TopicFilter;
pub use handle::Subscriber;
pub(crate) use lease_source::LeaseSource;
pub use options::{Overflow, SubscriberOptions};
pub use receiver::SubscriberReceiver;
pub use topic::{Topic, TopicKind};
