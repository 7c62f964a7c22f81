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
    use crate::state::{
        CheckOutcome, ConnectionUse, DialFailureKind, Event, GrantRevoked, Health, NodeMetrics, NodeStatus, PoolStatus, WaitPhase,
    };

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
            last_error: None,
            last_error_age: None,
            pools: vec![pool],
        };
        let value = serde_json::to_value(&status).expect("plain data");
        assert_eq!(value["health"], "suspect");
        assert_eq!((&value["health_for"], &value["down_for"]), (&0.25.into(), &1.5.into()));
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

    /// Guards against: names of Rust in place of small letters, durations as `{secs, nanos}`, an event whose kind is its text
    /// or the name of its field.
    #[test]
    fn an_event_is_serialized_by_its_kind_with_its_data_in_small_letters_and_seconds() {
        let of = |event: &Event| serde_json::to_string(event).expect("plain data");
        let length = Duration::from_millis(1_500);
        let why: std::sync::Arc<str> = "refused".into();
        for (event, text) in [
            (
                Event::Connected { pool: 1, took: length, overdue: false, recovered: true },
                r#"{"kind":"connected","data":{"pool":1,"took":1.5,"overdue":false,"recovered":true}}"#,
            ),
            (
                Event::ConnectFailed { took: length, kind: DialFailureKind::TimedOut, why: why.clone() },
                r#"{"kind":"connect_failed","data":{"took":1.5,"kind":"timed_out","why":"refused"}}"#,
            ),
            (Event::DialOverdue { after: length }, r#"{"kind":"dial_overdue","data":{"after":1.5}}"#),
            (Event::DialOutlivedPool, r#"{"kind":"dial_outlived_pool"}"#),
            (
                Event::Closed { reason: CloseReason::IdleTooLong, age: length, idle: true },
                r#"{"kind":"closed","data":{"reason":"idle_too_long","age":1.5,"idle":true}}"#,
            ),
            (Event::Died { during: ConnectionUse::Loan }, r#"{"kind":"died","data":{"during":"loan"}}"#),
            (Event::Granted { waited: length }, r#"{"kind":"granted","data":{"waited":1.5}}"#),
            (Event::GrantRevoked { why: GrantRevoked::PoolClosed }, r#"{"kind":"grant_revoked","data":{"why":"pool_closed"}}"#),
            (
                Event::TimedOut { phase: WaitPhase::LeasesHeld, waited: length },
                r#"{"kind":"timed_out","data":{"phase":"leases_held","waited":1.5}}"#,
            ),
            (Event::Unavailable { waited: length }, r#"{"kind":"unavailable","data":{"waited":1.5}}"#),
            (
                Event::HealthChanged { from: Health::Up, to: Health::Down, lasted: length, why: Some(why) },
                r#"{"kind":"health_changed","data":{"from":"up","to":"down","lasted":1.5,"why":"refused"}}"#,
            ),
            (
                Event::HealthChanged { from: Health::Down, to: Health::Up, lasted: length, why: None },
                r#"{"kind":"health_changed","data":{"from":"down","to":"up","lasted":1.5,"why":null}}"#,
            ),
            (Event::Checked(CheckOutcome::Unanswered), r#"{"kind":"checked","data":"unanswered"}"#),
            (Event::ClockJumped { by: length }, r#"{"kind":"clock_jumped","data":{"by":1.5}}"#),
        ] {
            assert_eq!(of(&event), text);
        }
    }
}
