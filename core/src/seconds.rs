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

    use crate::state::{Counters, Health, NodeStatus, PoolStatus};

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
            health_for: Duration::from_millis(250),
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
            counters: Counters::default(),
            last_error: None,
            last_error_age: None,
            pools: vec![pool],
        };
        let value = serde_json::to_value(&status).expect("plain data");
        assert_eq!(value["health"], "suspect");
        assert_eq!((&value["health_for"], &value["down_for"]), (&0.25.into(), &1.5.into()));
        assert_eq!(value["last_error_age"], serde_json::Value::Null);
        assert_eq!(value["pools"][0]["active_calls"], 3);
        assert_eq!(value["counters"]["lent_at_once"], 0);
    }
}
