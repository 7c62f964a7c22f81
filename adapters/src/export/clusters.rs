//! The metrics of clusters, beside those that the clients of their names have as those of nodes.

use crate::deployment::TopologyChange;
use crate::export::names::SECONDS;
use crate::export::reading::Sample;
use crate::export::row::{MetricRow, labels, put_each, put_total};

pub(crate) const CLUSTERS: &[MetricRow] = &[
    MetricRow::counter(
        "redis.client.cluster.topology_changes",
        "{change}",
        "changes of the cluster's topology, by what showed them; the first topology is one",
        |node, put| node.picture.cluster.iter().for_each(|cluster| put_each(&cluster.topology_changes, put)),
    )
    .by("cause", labels::<TopologyChange>)
    .of_clusters(),
    MetricRow::counter(
        "redis.client.cluster.failovers",
        "{failover}",
        "primaries of the cluster that were replaced by one of their replicas",
        |node, put| node.picture.cluster.iter().for_each(|cluster| put_total(cluster.failovers, put)),
    )
    .of_clusters(),
    MetricRow::counter(
        "redis.client.cluster.time_impaired",
        SECONDS,
        "for how long a primary of the cluster was not up, in all, with the time until now if one is not; writes to its slots fail \
         meanwhile",
        |node, put| {
            if let Some(cluster) = &node.picture.cluster {
                put("", Sample::Seconds(cluster.time_impaired.as_secs_f64()));
            }
        },
    )
    .of_clusters(),
];
