//! What the builder refuses.

use super::*;

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
