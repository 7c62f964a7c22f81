//! What was counted and timed of the requests of a node, as users read it.

use std::collections::BTreeMap;
use std::time::Duration;

use redis_manager_core::{CountBy, CountKey, Histogram};

use crate::redis_node::metrics::request_result::{RequestResult, RequestWay, ServerErrorCode};
use crate::redis_node::pub_sub_end::PubSubEnd;

/// What was counted and timed of the requests to a node since it was added, of its connects and of its subscriptions. Read by
/// [`NodeHandle::command_metrics`](crate::NodeHandle::command_metrics) and
/// [`RedisManager::command_metrics`](crate::RedisManager::command_metrics).
///
/// A request is one call of a client: a command, or a pipeline with all its commands. The manager's own requests are left out:
/// logins, health checks, cleaning, and the queries to the nodes of a cluster.
///
/// Counters and histograms only grow. Nothing in them comes from keys, values or arguments. The entry of a cluster's name has
/// the requests as its callers made them; the entries of its nodes have each request that was sent to that node, with
/// redirections and repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CommandMetrics {
    /// Requests of exclusive clients.
    pub exclusive: RequestCounts,
    /// Requests of shared clients; at a node of a cluster, of all clients of the whole cluster.
    pub shared: RequestCounts,
    /// How long requests took from their first poll to their end, by the name of the command in small letters: `get`. The names
    /// are a fixed list, and any other one is `other`; a pipeline is `pipeline`, an atomic one `transaction`. A node has 32 names,
    /// those that were timed first; later ones are `other`, too. Names without a timed request are left out.
    ///
    /// Only requests that ended with a reply or an error of the server, timed out or have an unknown outcome are timed. A sample
    /// of about one request of each `use_time_sampling`, so `count()` says how many were timed, not how many there were. A
    /// shared client's wait for a connection is included.
    pub durations: BTreeMap<String, Histogram>,
    /// Of how many requests about one is timed, as
    /// [`use_time_sampling`](crate::RedisManagerBuilder::use_time_sampling) is set; 0: none.
    pub use_time_sampling: usize,
    /// How long the phases of connects took.
    pub connect_phases: ConnectPhaseTimes,
    /// Subscriptions and their messages.
    pub subscriptions: SubscriptionCounts,
}

impl CommandMetrics {
    /// The requests by the kind of client; [`label`](CountKey::label) is its name.
    pub fn requests(&self) -> impl Iterator<Item = (RequestWay, &RequestCounts)> + '_ {
        RequestWay::ALL.iter().map(|way| match way {
            RequestWay::Exclusive => (*way, &self.exclusive),
            RequestWay::Shared => (*way, &self.shared),
        })
    }

    /// How often a node asked for another node, or for a later try, by the code: `MOVED`, `ASK`, `TRYAGAIN` and others; see
    /// [`ServerErrorCode::is_redirection`].
    pub fn redirections(&self) -> impl Iterator<Item = (ServerErrorCode, u64)> + '_ {
        let of = |code| self.exclusive.server_errors.of(code) + self.shared.server_errors.of(code);
        ServerErrorCode::ALL.iter().filter(|code| code.is_redirection()).map(move |code| (*code, of(*code)))
    }
}

/// Requests by how they ended: those that have `begun` have `ended`, or are in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestCounts {
    /// Requests that were begun. A pipeline is one.
    pub begun: u64,
    /// Their commands. A pipeline has as many as were added to it; the `MULTI` and `EXEC` of an atomic one are not counted.
    pub commands: u64,
    /// How they ended.
    pub ended: CountBy<RequestResult>,
    /// The errors of the server by code; a pipeline with several errors counts by the first one. As many as have `ended` with
    /// [`ServerError`](RequestResult::ServerError).
    pub server_errors: CountBy<ServerErrorCode>,
}

impl RequestCounts {
    /// Requests that have not ended. Requests that ended while the counts were read may be included.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.begun - self.ended.total()
    }
}

/// How long the phases of connects took, those that ended well; a connect that fails or is cut off has the phases before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectPhaseTimes {
    /// The look-up of the name; next to nothing for an IP address. Not for Unix sockets.
    pub resolve: Histogram,
    /// TCP, over all addresses of the name, or the Unix socket.
    pub dial: Histogram,
    /// The TLS handshake. Not without TLS.
    pub tls: Histogram,
    /// The first commands: protocol, login, database, PING.
    pub login: Histogram,
    /// The hook `after_connect`. Not without it.
    pub after_connect: Histogram,
}

impl ConnectPhaseTimes {
    /// Each phase by its name, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Histogram)> + '_ {
        let Self { resolve, dial, tls, login, after_connect } = self;
        [("resolve", resolve), ("dial", dial), ("tls", tls), ("login", login), ("after_connect", after_connect)].into_iter()
    }
}

/// Subscriptions: those that have `begun` have `ended`, were `dropped`, or are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SubscriptionCounts {
    /// [`PubSub`](crate::PubSub)s that were made, and connections that [`Subscriber`](crate::Subscriber)s have taken.
    pub begun: u64,
    /// Those that have ended by themselves, by why. An end counts when the subscriber gets it, or is dropped after it.
    pub ended: CountBy<PubSubEnd>,
    /// Those that were dropped before their end.
    pub dropped: u64,
    /// Messages that subscribers got. One that several receivers of a [`Subscriber`](crate::Subscriber) get counts once.
    pub messages: u64,
    /// Connections that [`Subscriber`](crate::Subscriber)s took in the place of one that they had lost.
    pub resubscriptions: u64,
    /// Outages that [`Subscriber`](crate::Subscriber)s told as a gap; not those of slow readers.
    pub gaps: u64,
    /// How long these gaps were together.
    pub gap_time: Duration,
    /// Messages that were dropped because a reader of a [`Subscriber`](crate::Subscriber) was too slow.
    pub dropped_messages: u64,
}

impl SubscriptionCounts {
    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.begun - self.ended.total() - self.dropped
    }
}
