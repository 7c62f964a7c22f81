//! The metrics by the names of OpenTelemetry, and by like names what OpenTelemetry has none for.

use redis_manager_core::{CheckOutcome, CloseReason, ConnectionUse, CountKey, DialFailureKind, GrantRevoked, Health, WaitPhase};

use crate::export::names::SECONDS;
use crate::export::reading::Sample;
use crate::export::row::{MetricRow, labels, put_count, put_each, put_total};

const CONNECTIONS: &str = "{connection}";
const REQUESTS: &str = "{request}";
const DIALS: &str = "{dial}";
const POOLS: &str = "{pool}";

pub(crate) const STANDARD: &[MetricRow] = &[
    MetricRow::up_down(
        "db.client.connection.count",
        CONNECTIONS,
        "connections that are idle, and on loan (`used`), dead ones included that their borrowers still hold",
        |node, put| {
            put("idle", Sample::Count(node.picture.status.idle as u64));
            put("used", Sample::Count(node.picture.status.active as u64));
        },
    )
    .by("db.client.connection.state", || vec!["idle", "used"]),
    MetricRow::up_down(
        "db.client.connection.idle.max",
        CONNECTIONS,
        "the most idle connections allowed: all that a node may have, `max_connections_per_node`",
        |node, put| put_count(node.limits.max_connections, put),
    ),
    MetricRow::up_down(
        "db.client.connection.idle.min",
        CONNECTIONS,
        "idle connections that are kept: `min_idle` for each pool at start",
        |node, put| put_count(node.limits.min_idle, put),
    ),
    MetricRow::up_down(
        "db.client.connection.max",
        CONNECTIONS,
        "the most connections allowed: `max_connections_per_node`",
        |node, put| put_count(node.limits.max_connections, put),
    ),
    MetricRow::up_down("db.client.connection.pending_requests", REQUESTS, "callers in the queue", |node, put| {
        put_count(node.picture.status.waiting, put);
    }),
    MetricRow::counter(
        "db.client.connection.timeouts",
        "{timeout}",
        "gets that got none by their deadline, by what they were waiting for; a `try_get` has its deadline at once. \
         Those that a node is down for are `unavailable` gets",
        |node, put| put_each(&node.picture.metrics.acquires.timed_out, put),
    )
    .by("phase", labels::<WaitPhase>),
    MetricRow::histogram("db.client.connection.create_time", "how long the dials took that have succeeded", |node, put| {
        put("", Sample::Times(&node.picture.metrics.connect_time));
    }),
    MetricRow::histogram(
        "db.client.connection.wait_time",
        "how long the gets waited that are counted as `waited`; those at once are left out",
        |node, put| put("", Sample::Times(&node.picture.metrics.wait_time)),
    ),
    MetricRow::histogram(
        "db.client.connection.use_time",
        "how long leases lived; a sample, one lease of each `use_time_sampling`",
        |node, put| put("", Sample::Times(&node.picture.metrics.use_time)),
    ),
    MetricRow::gauge(
        "redis.client.connection.use_time_sampling",
        "{lease}",
        "of how many leases one is timed for the use time; 0: none",
        |node, put| put_count(node.picture.metrics.use_time_sampling, put),
    ),
    MetricRow::counter(
        "redis.client.connection.gets",
        "{get}",
        "gets that have ended, by how; one whose connection was found broken before its use asks again, and is counted again",
        |node, put| {
            let gets = &node.picture.metrics.acquires;
            put("at_once", Sample::Count(gets.at_once));
            put("waited", Sample::Count(gets.waited));
            put("timed_out", Sample::Count(gets.timed_out.total()));
            put("unavailable", Sample::Count(gets.unavailable));
            put("saturated", Sample::Count(gets.saturated));
            put("closed", Sample::Count(gets.closed));
            put("cancelled", Sample::Count(gets.cancelled));
        },
    )
    .by("result", || vec!["at_once", "waited", "timed_out", "unavailable", "saturated", "closed", "cancelled"]),
    MetricRow::counter(
        "redis.client.connection.found_broken",
        "{get}",
        "gets at once or after a wait whose connection was found broken before its use",
        |node, put| put_total(node.picture.metrics.acquires.found_broken, put),
    ),
    MetricRow::gauge("redis.client.connection.most_waiting", REQUESTS, "the most callers that were ever in the queue", |node, put| {
        put_count(node.picture.metrics.most_waiting, put);
    }),
    MetricRow::counter(
        "redis.client.connection.grants_revoked",
        CONNECTIONS,
        "connections that were taken back from a caller in the queue that they had been given to, by why",
        |node, put| put_each(&node.picture.metrics.grants_revoked, put),
    )
    .by("reason", labels::<GrantRevoked>),
    MetricRow::counter(
        "redis.client.connection.returns",
        "{return}",
        "returns where nothing else was to be done, to the idle connections or to the head of the queue",
        |node, put| {
            put("idle", Sample::Count(node.picture.metrics.returns.idle));
            put("handed_over", Sample::Count(node.picture.metrics.returns.handed_over));
        },
    )
    .by("to", || vec!["idle", "handed_over"]),
    MetricRow::up_down(
        "redis.client.connection.in_progress",
        CONNECTIONS,
        "connections that are neither idle nor on loan: being dialled, checked or cleaned, closed",
        |node, put| {
            put("connecting", Sample::Count(node.picture.status.connecting as u64));
            put("checking", Sample::Count(node.picture.status.checking as u64));
            put("closing", Sample::Count(node.picture.status.closing as u64));
        },
    )
    .by("phase", || vec!["connecting", "checking", "closing"]),
    MetricRow::up_down("redis.client.connection.lost", CONNECTIONS, "connections on loan that are known to be dead", |node, put| {
        put_count(node.picture.status.lost, put);
    }),
    MetricRow::counter("redis.client.connection.opened", CONNECTIONS, "connections that were ever open", |node, put| {
        put_total(node.picture.metrics.opened(), put);
    }),
    MetricRow::counter(
        "redis.client.connection.closed",
        CONNECTIONS,
        "connections that were closed, or given up at the end of their pool, by why",
        |node, put| put_each(&node.picture.metrics.closes, put),
    )
    .by("reason", labels::<CloseReason>),
    MetricRow::counter(
        "redis.client.connection.deaths",
        CONNECTIONS,
        "connections that have died by themselves, by what they were used for",
        |node, put| put_each(&node.picture.metrics.deaths, put),
    )
    .by("use", labels::<ConnectionUse>),
    MetricRow::counter(
        "redis.client.connection.dials",
        DIALS,
        "dials that have ended, by how; `passing`, `permanent` and `timed_out` are failures, `abandoned` those that a close has cut \
         short",
        |node, put| {
            put("succeeded", Sample::Count(node.picture.metrics.connects.succeeded));
            put("abandoned", Sample::Count(node.picture.metrics.connects.abandoned));
            put_each(&node.picture.metrics.connects.failed, put);
        },
    )
    .by("result", || [vec!["succeeded", "abandoned"], labels::<DialFailureKind>()].concat()),
    MetricRow::counter("redis.client.connection.dials_started", DIALS, "dials that have begun", |node, put| {
        put_total(node.picture.metrics.connects.started, put);
    }),
    MetricRow::counter("redis.client.connection.dials_overdue", DIALS, "dials that took longer than is usual", |node, put| {
        put_total(node.picture.metrics.connects.overdue, put);
    }),
    MetricRow::counter("redis.client.connection.probes", DIALS, "dials that were probes of a failing node", |node, put| {
        put_total(node.picture.metrics.connects.probes, put);
    }),
    MetricRow::counter("redis.client.connection.checks", "{check}", "health checks that have ended, by how", |node, put| {
        put_each(&node.picture.metrics.checks, put);
    })
    .by("result", labels::<CheckOutcome>),
    MetricRow::counter(
        "redis.client.connection.cleanings",
        "{cleaning}",
        "cleanings of what borrowers left behind, by how they ended",
        |node, put| put_each(&node.picture.metrics.cleanings, put),
    )
    .by("result", labels::<CheckOutcome>),
    MetricRow::up_down("redis.client.pools", POOLS, "pools of the node, by whether they can lend", |node, put| {
        put("healthy", Sample::Count(node.picture.status.healthy_pools as u64));
        put("unhealthy", Sample::Count(node.picture.status.unhealthy_pools as u64));
    })
    .by("state", || vec!["healthy", "unhealthy"]),
    MetricRow::counter("redis.client.pool.added", POOLS, "pools that were added because the others were full", |node, put| {
        put_total(node.picture.metrics.pools_added, put);
    }),
    MetricRow::counter("redis.client.pool.removed", POOLS, "empty surplus pools that were removed", |node, put| {
        put_total(node.picture.metrics.pools_removed, put);
    }),
    MetricRow::gauge("redis.client.node.health", "1", "1 for the health of the node, 0 for the others", |node, put| {
        let present = node.picture.status.health;
        Health::ALL.iter().for_each(|health| put(health.label(), Sample::Count(u64::from(*health == present))));
    })
    .by("health", labels::<Health>),
    MetricRow::counter(
        "redis.client.node.health_changes",
        "{change}",
        "changes of the node's health, by what it became",
        |node, put| put_each(&node.picture.metrics.health_changes, put),
    )
    .by("health", labels::<Health>),
    MetricRow::counter(
        "redis.client.node.time_not_up",
        SECONDS,
        "for how long the node was suspect or down, in all, with the time until now if it still is",
        |node, put| {
            put(Health::Suspect.label(), Sample::Seconds(node.picture.metrics.time_suspect.as_secs_f64()));
            put(Health::Down.label(), Sample::Seconds(node.picture.metrics.time_down.as_secs_f64()));
        },
    )
    .by("health", || [Health::Suspect, Health::Down].map(CountKey::label).to_vec()),
    MetricRow::gauge(
        "redis.client.node.down_for",
        SECONDS,
        "for how long the node has been down; 0 if it is not",
        |node, put| put("", Sample::Seconds(node.picture.status.down_for.unwrap_or_default().as_secs_f64())),
    ),
    MetricRow::counter(
        "redis.client.node.suspicions",
        "{suspicion}",
        "how often something was not answered in time, so that connections had to be checked before they were lent",
        |node, put| put_total(node.picture.metrics.suspicions, put),
    ),
    MetricRow::counter(
        "redis.client.node.failovers",
        "{failover}",
        "how often another server was wanted, so that all connections were replaced",
        |node, put| put_total(node.picture.metrics.failovers, put),
    ),
];
