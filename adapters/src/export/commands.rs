//! The metrics of requests, connects and subscriptions.

use redis_manager_core::{CountBy, CountKey};

use crate::export::names::SECONDS;
use crate::export::reading::{NodeReading, Sample};
use crate::export::row::{MetricRow, Put, labels, put_total};
use crate::redis_node::{ConnectPhaseTimes, PubSubEnd, RequestCounts, RequestResult, ServerErrorCode};

/// As `error.type`, beside the codes of servers.
const FAILURES: [RequestResult; 4] =
    [RequestResult::TimedOut, RequestResult::OutcomeUnknown, RequestResult::NotSent, RequestResult::Refused];

pub(crate) const COMMANDS: &[MetricRow] = &[
    MetricRow::histogram(
        "db.client.operation.duration",
        "how long requests took that were sent, by the name of the command; a sample, about one request of each `use_time_sampling`. \
         A pipeline is `pipeline`, an atomic one `transaction`. A node has 32 names, those that were timed first; any other is `other`",
        |node, put| node.picture.commands.durations.iter().for_each(|(name, times)| put(name, Sample::Times(times))),
    )
    .by("db.operation.name", Vec::new)
    .once_counted(),
    MetricRow::counter(
        "redis.client.requests",
        "{request}",
        "requests that have ended, by how; a command or a pipeline is one",
        |node, put| put_sum(node, |counts| &counts.ended, put),
    )
    .by("result", labels::<RequestResult>),
    MetricRow::counter("redis.client.commands", "{command}", "commands of the requests that have begun, in pipelines, too", |node, put| {
        put_total(node.picture.commands.requests().map(|(_, counts)| counts.commands).sum(), put);
    }),
    MetricRow::up_down("redis.client.requests_in_flight", "{request}", "requests that have not ended", |node, put| {
        put_total(node.picture.commands.requests().map(|(_, counts)| counts.in_flight()).sum(), put);
    }),
    MetricRow::counter(
        "redis.client.errors",
        "{request}",
        "requests that have failed, by the code of the server's error, or by how; a pipeline by its first error",
        |node, put| {
            put_sum(node, |counts| &counts.server_errors, put);
            for failure in FAILURES {
                let failed = node.picture.commands.requests().map(|(_, counts)| counts.ended.of(failure)).sum();
                put(failure.label(), Sample::Count(failed));
            }
        },
    )
    .by("error.type", || [labels::<ServerErrorCode>(), FAILURES.map(CountKey::label).to_vec()].concat())
    .once_counted(),
    MetricRow::counter(
        "redis.client.redirections",
        "{reply}",
        "errors of the server by which it asked for another node or for a later try, by their code; they are in `redis.client.errors`, \
         too",
        |node, put| node.picture.commands.redirections().for_each(|(code, count)| put(code.label(), Sample::Count(count))),
    )
    .by("kind", || ServerErrorCode::ALL.iter().filter(|code| code.is_redirection()).map(|code| code.label()).collect())
    .once_counted(),
    MetricRow::histogram(
        "redis.client.connection.phase_time",
        "how long the phases of connects took that have ended well: name look-up, TCP or Unix socket, TLS, first commands, hook",
        |node, put| node.picture.commands.connect_phases.iter().for_each(|(phase, times)| put(phase, Sample::Times(times))),
    )
    .by("phase", || ConnectPhaseTimes::default().iter().map(|(phase, _)| phase).collect())
    .once_counted(),
    MetricRow::counter("redis.client.pubsub.messages", "{message}", "messages that subscribers got", |node, put| {
        put_total(node.picture.commands.subscriptions.messages, put);
    }),
    MetricRow::up_down("redis.client.pubsub.open", "{subscriber}", "subscribers that have not ended", |node, put| {
        put_total(node.picture.commands.subscriptions.open(), put);
    }),
    MetricRow::counter("redis.client.pubsub.gaps", "{gap}", "outages that subscribers were told as a gap", |node, put| {
        put_total(node.picture.commands.subscriptions.gaps, put);
    }),
    MetricRow::counter("redis.client.pubsub.gap_time", SECONDS, "how long the gaps of subscribers lasted, in all", |node, put| {
        put("", Sample::Seconds(node.picture.commands.subscriptions.gap_time.as_secs_f64()));
    }),
    MetricRow::counter(
        "redis.client.pubsub.dropped",
        "{message}",
        "messages that were dropped because a reader was too slow",
        |node, put| put_total(node.picture.commands.subscriptions.dropped_messages, put),
    ),
    MetricRow::counter(
        "redis.client.pubsub.resubscriptions",
        "{connection}",
        "connections that subscribers took in the place of one that they had lost",
        |node, put| put_total(node.picture.commands.subscriptions.resubscriptions, put),
    ),
    MetricRow::counter("redis.client.pubsub.ended", "{subscriber}", "subscribers that have ended, by why", |node, put| {
        let subscriptions = &node.picture.commands.subscriptions;
        subscriptions.ended.iter().for_each(|(end, count)| put(end.label(), Sample::Count(count)));
        put("dropped", Sample::Count(subscriptions.dropped));
    })
    .by("reason", || [labels::<PubSubEnd>(), vec!["dropped"]].concat())
    .once_counted(),
];

/// Each kind of both ways of requests together.
fn put_sum<K: CountKey>(node: &NodeReading, counts: fn(&RequestCounts) -> &CountBy<K>, put: &mut Put<'_>) {
    for kind in K::ALL {
        let count = node.picture.commands.requests().map(|(_, requests)| counts(requests).of(*kind)).sum();
        put(kind.label(), Sample::Count(count));
    }
}
