//! The metrics of primaries behind sentinels, or with replicas, beside those that their nodes have.

use crate::export::names::SECONDS;
use crate::export::reading::Sample;
use crate::export::row::{MetricRow, put_total};

pub(crate) const PRIMARIES: &[MetricRow] = &[
    MetricRow::counter(
        "redis.client.primary.failovers",
        "{failover}",
        "primaries behind the name that were replaced by another server",
        |node, put| node.picture.primary.iter().for_each(|primary| put_total(primary.failovers, put)),
    )
    .of_primaries(),
    MetricRow::counter(
        "redis.client.primary.time_impaired",
        SECONDS,
        "for how long the primary was suspect or down, in all, with the time until now if it still is; writes fail or wait meanwhile",
        |node, put| {
            if let Some(primary) = &node.picture.primary {
                put("", Sample::Seconds(primary.time_impaired.as_secs_f64()));
            }
        },
    )
    .of_primaries(),
    MetricRow::up_down(
        "redis.client.primary.sentinels",
        "{sentinel}",
        "sentinels, by whether they have answered when they were asked last",
        |node, put| {
            if let Some(primary) = &node.picture.primary {
                put("reached", Sample::Count(primary.sentinels_reached as u64));
                put("unreached", Sample::Count(primary.sentinels_unreached as u64));
            }
        },
    )
    .by("state", || vec!["reached", "unreached"])
    .of_primaries(),
    MetricRow::up_down(
        "redis.client.primary.replicas",
        "{replica}",
        "replicas, by whether they are read from; 0 while none is used",
        |node, put| {
            if let Some(primary) = &node.picture.primary {
                put("fit", Sample::Count(primary.replicas_fit as u64));
                put("unfit", Sample::Count(primary.replicas_unfit as u64));
            }
        },
    )
    .by("state", || vec!["fit", "unfit"])
    .of_primaries(),
];
