//! The metrics by short names, with the label `node_redis_url`.

use redis_manager_core::CloseReason;

use crate::export::reading::Sample;
use crate::export::row::{MetricRow, put_count, put_total};

pub(crate) const SEED: &[MetricRow] = &[
    MetricRow::gauge(
        "redis_pool_size",
        "{connection}",
        "open connections: idle, on loan, and being checked or cleaned",
        |node, put| put_total(node.picture.metrics.open(), put),
    ),
    MetricRow::gauge(
        "redis_pool_active",
        "{connection}",
        "connections on loan, dead ones included that their borrowers still hold",
        |node, put| put_count(node.picture.status.active, put),
    ),
    MetricRow::gauge("redis_pool_idle", "{connection}", "connections ready to be lent", |node, put| {
        put_count(node.picture.status.idle, put);
    }),
    MetricRow::gauge("redis_pool_healthy", "{pool}", "pools that can lend", |node, put| {
        put_count(node.picture.status.healthy_pools, put);
    }),
    MetricRow::gauge("redis_pool_unhealthy", "{pool}", "pools that cannot lend", |node, put| {
        put_count(node.picture.status.unhealthy_pools, put);
    }),
    MetricRow::counter("redis_connections_created_total", "{connection}", "connections that were ever open", |node, put| {
        put_total(node.picture.metrics.opened(), put);
    }),
    MetricRow::counter(
        "redis_failed_connections_total",
        "{dial}",
        "dials that have failed, for whatever reason; those that a close has cut short are left out",
        |node, put| put_total(node.picture.metrics.connects.failed.total(), put),
    ),
    MetricRow::histogram("redis_connection_latency_seconds", "how long the dials took that have succeeded", |node, put| {
        put("", Sample::Times(&node.picture.metrics.connect_time));
    }),
    MetricRow::counter(
        "redis_idle_cleanup_events_total",
        "{connection}",
        "connections that were closed because they were idle for longer than `max_idle_time`",
        |node, put| put_total(node.picture.metrics.closes.of(CloseReason::IdleTooLong), put),
    ),
];
