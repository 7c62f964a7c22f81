//! Lengths of time as serde writes them: seconds, as a float.

use std::time::Duration;

use serde::{Serialize, Serializer};

pub(crate) fn of<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    length.as_secs_f64().serialize(serializer)
}

pub(crate) fn of_option<S: Serializer>(length: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    length.map(|length| length.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::close_reason::CloseReason;
    use crate::state::{Health, NodeMetrics, NodeStatus, PoolStatus};

    /// Guards against: durations as `{secs, nanos}`, a health in capitals.
    #[test]
    fn a_status_is_serialized_by_the_names_of_its_fields_with_seconds_and_small_letters() {
        let pool = PoolStatus {
            index: 0,
            healthy: true,
            active_calls: 3,
            lost: 0,
            idle: 1,
            connecting: 0,
            checking: 0,
            cleaning: 0,
            closing: 0,
            limit: 50,
        };
        let status = NodeStatus {
            health: Health::Suspect,
            down_for: Some(Duration::from_millis(1_500)),
            total_pools: 1,
            healthy_pools: 1,
            unhealthy_pools: 0,
            active: 3,
            lost: 0,
            idle: 1,
            connecting: 0,
            checking: 0,
            cleaning: 0,
            closing: 0,
            waiting: 0,
            last_error: None,
            last_error_age: None,
            pools: vec![pool],
        };
        let value = serde_json::to_value(&status).expect("plain data");
        assert_eq!(value["health"], "suspect");
        assert_eq!(value["down_for"], 1.5);
        assert_eq!(value["last_error_age"], serde_json::Value::Null);
        assert_eq!(value["pools"][0]["active_calls"], 3);
    }

    /// Guards against: durations as `{secs, nanos}`, counts without their labels.
    #[test]
    fn metrics_are_serialized_by_the_names_of_their_fields_with_labels_and_seconds() {
        let mut metrics = NodeMetrics { time_down: Duration::from_millis(1_500), ..NodeMetrics::default() };
        metrics.wait_time.record(Duration::from_millis(20));
        metrics.closes.add(CloseReason::IdleTooLong);
        let value = serde_json::to_value(&metrics).expect("plain data");
        assert_eq!(value["time_down"], 1.5);
        assert_eq!((&value["closes"]["idle_too_long"], &value["closes"]["broken"]), (&1.into(), &0.into()));
        assert_eq!((&value["wait_time"]["count"], &value["wait_time"]["sum"]), (&1.into(), &0.02.into()));
        assert_eq!(value["wait_time"]["buckets"].as_array().map(Vec::len), Some(43));
        assert_eq!(value["wait_time"]["buckets"][20], serde_json::json!([0.022, 1]));
        assert_eq!(value["acquires"]["timed_out"]["leases_held"], 0);
    }
}
