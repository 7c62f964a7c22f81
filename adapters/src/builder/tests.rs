//! What the builder refuses, and what it takes from the environment.

use super::*;

fn with(name: &'static str, value: &'static str) -> RedisManagerBuilder {
    RedisManager::builder().set_from(move |asked| (asked == name).then(|| String::from(value)))
}

/// Seen to bite: with each of the checks left out of `build`.
#[cfg(feature = "smol")]
#[test]
fn a_total_that_contradicts_another_knob_is_refused_in_words_that_name_both() {
    let refused = |builder: RedisManagerBuilder| {
        builder.build(crate::smol::SmolRuntime::new()).map(drop).expect_err("must be refused").to_string()
    };
    let builder = RedisManager::builder;
    assert_eq!(refused(builder().max_total_connections(0)), "max_total_connections is 0: must be 1 to 16777216");
    assert_eq!(refused(builder().min_connections_per_node(0)), "min_connections_per_node is 0: must be 1 to 65536");
    assert_eq!(
        refused(builder().max_total_connections(3).min_connections_per_node(4)),
        "min_connections_per_node is 4: must be at most max_total_connections, which is 3"
    );
    assert_eq!(
        refused(builder().max_total_connections(3).min_idle(2).connection_pools_per_node_at_start(2)),
        "min_idle times connection_pools_per_node_at_start is 4: must be at most max_total_connections, which is 3"
    );
    assert_eq!(
        refused(builder().max_total_connections(3).shared_connections_per_node(4)),
        "shared_connections_per_node is 4: must be at most max_total_connections, which is 3"
    );
    assert!(builder().max_total_connections(4).min_connections_per_node(2).build(crate::smol::SmolRuntime::new()).is_ok());
    assert!(builder().min_connections_per_node(4).build(crate::smol::SmolRuntime::new()).is_ok(), "of no effect alone");
}

#[test]
fn the_environment_sets_knobs_and_what_cannot_be_read_is_named() {
    assert_eq!(with("MAX_CONNECTION_SIZE", "7").node, NodeConfig::builder().max_connection_size(7));
    let half = Duration::from_millis(500);
    assert_eq!(with("HEALTH_CHECK_INTERVAL", "0.5").node, NodeConfig::builder().health_check_interval(half));
    assert_eq!(with("CLEANUP_INTERVAL", "0.5").node, NodeConfig::builder().cleanup_interval(half));
    assert_eq!(with("MAX_IDLE_TIME", " 0.5 ").node, NodeConfig::builder().max_idle_time(half));
    assert!(with("USE_REDIS_CLUSTER", "false").unreadable.is_none());
    for (name, value) in [("MAX_CONNECTION_SIZE", "many"), ("MAX_IDLE_TIME", "-1"), ("USE_REDIS_CLUSTER", "perhaps")] {
        let message = with(name, value).unreadable.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.starts_with(&format!("{name} is {value:?}: expected ")), "{message}");
    }
}
