//! Events of the nodes as events of the crate `tracing`. Whether and where they are written is up to the subscriber.

use std::time::Duration;

use redis_manager_core::{Event, Health, Observer};
use tracing::{debug, info, warn};

const TARGET: &str = "redis_manager";

/// Lengths of time are fields in seconds.
pub(super) struct EventLog {
    slow_acquire: Duration,
}

impl EventLog {
    pub(super) fn new(slow_acquire: Duration) -> Self {
        Self { slow_acquire }
    }
}

impl Observer for EventLog {
    fn event(&self, node: &str, event: &Event) {
        match event {
            Event::HealthChanged { from, to, why, lasted: _ } => note_health(node, *from, *to, why.as_deref()),
            Event::FailedOver { why } => warn!(target: TARGET, node, cause = &**why, "failed over: all connections are replaced"),
            Event::Suspected { why } => {
                debug!(target: TARGET, node, cause = &**why, "connections are checked before they are lent")
            }
            Event::ConnectFailed { took, why, .. } => {
                debug!(target: TARGET, node, took = took.as_secs_f64(), cause = &**why, "connect failed");
            }
            Event::Closed { reason, age, idle } => {
                debug!(target: TARGET, node, reason = %reason, age = age.as_secs_f64(), idle, "connection closed");
            }
            Event::Saturated { waiting } => warn!(target: TARGET, node, waiting, "saturated: the queue of callers is full"),
            Event::Granted { waited } => {
                if *waited > self.slow_acquire {
                    warn!(target: TARGET, node, took = waited.as_secs_f64(), outcome = "lent", "slow acquire");
                }
            }
            Event::TimedOut { phase, waited } => {
                let took = waited.as_secs_f64();
                if *waited > self.slow_acquire {
                    warn!(target: TARGET, node, took, outcome = "timed out", phase = %phase, "slow acquire");
                } else {
                    debug!(target: TARGET, node, took, phase = %phase, "wait timed out");
                }
            }
            Event::Unavailable { waited } => {
                let took = waited.as_secs_f64();
                if *waited > self.slow_acquire {
                    warn!(target: TARGET, node, took, outcome = "node is down", "slow acquire");
                } else {
                    debug!(target: TARGET, node, took, "wait failed: the node is down");
                }
            }
            // Part of what is logged already, or too frequent.
            Event::DialStarted { .. }
            | Event::Connected { .. }
            | Event::DialOverdue { .. }
            | Event::DialOutlivedPool
            | Event::ProbePostponed
            | Event::ProbeAllowed
            | Event::ProbeHasRoom
            | Event::LoanOutlivedPool
            | Event::Aborted
            | Event::DeadLoanAbandoned
            | Event::CloseCutOff
            | Event::Died { .. }
            | Event::LostEarly
            | Event::ExpiredOnLoan
            | Event::GrantRevoked { .. }
            | Event::CommandUnanswered
            | Event::DoubtfulReturn
            | Event::UncleanReturn
            | Event::Checked(_)
            | Event::Cleaned(_)
            | Event::PoolAdded { .. }
            | Event::PoolsRemoved { .. }
            | Event::KeptForMinimum
            | Event::ClockJumped { .. }
            | _ => {}
        }
    }
}

fn note_health(node: &str, from: Health, to: Health, cause: Option<&str>) {
    match to {
        Health::Up => info!(target: TARGET, node, from = %from, "node is up"),
        Health::Suspect => warn!(target: TARGET, node, from = %from, cause, "node is suspect"),
        Health::Down => warn!(target: TARGET, node, from = %from, cause, "node is down"),
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::Arc;

    use redis_manager_core::testing::{FakeMode, FakeRuntime, FakeServer};
    use redis_manager_core::{AcquireError, NodeConfig, NodePool, Spawn};
    use redis_manager_tests::log_recorder::LogRecorder;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn logged_pool(
        runtime: &FakeRuntime,
        server: &FakeServer,
        slow_acquire: Duration,
    ) -> NodePool<redis_manager_core::testing::FakeConnector> {
        let config = NodeConfig::builder().max_pools_per_node(1).max_connection_size(1).max_waiters(1);
        let config = config.observer(Arc::new(EventLog::new(slow_acquire))).build().expect("valid");
        NodePool::new(server.connector(), config, Arc::new(runtime.clone()))
    }

    /// Seen to bite: with a wait that is slow at the threshold itself.
    #[test]
    fn slow_and_failed_waits_are_logged_with_their_length_and_their_phase() {
        let recorder = LogRecorder::new();
        recorder.record(|| {
            let runtime = FakeRuntime::new(1);
            let server = FakeServer::new(&runtime);
            let pool = logged_pool(&runtime, &server, 2 * SECOND);
            let lease = runtime.block_on(pool.get()).expect("the server is up");
            recorder.take();
            for (timeout, line) in [
                (2, "DEBUG redis_manager: wait timed out node=fake took=2.0 phase=all connections are on loan"),
                (3, "WARN redis_manager: slow acquire node=fake took=3.0 outcome=timed out phase=all connections are on loan"),
            ] {
                let timed_out = runtime.block_on(pool.get_timeout(timeout * SECOND));
                assert!(matches!(timed_out, Err(AcquireError::Timeout { .. })), "{timed_out:?}");
                assert_eq!(recorder.take(), [line]);
            }
            let mut held = Some(lease);
            for (after, lines) in [(2, vec![]), (3, vec!["WARN redis_manager: slow acquire node=fake took=3.0 outcome=lent"])] {
                let waiting = pool.clone();
                let (lent, taken) = std::sync::mpsc::channel();
                runtime.spawn(Box::pin(async move {
                    let _ = lent.send(waiting.get_timeout(9 * SECOND).await);
                }));
                runtime.advance(after * SECOND);
                let saturated = runtime.block_on(pool.get());
                assert!(matches!(saturated, Err(AcquireError::Saturated { .. })), "{saturated:?}");
                assert_eq!(recorder.take(), ["WARN redis_manager: saturated: the queue of callers is full node=fake waiting=1"]);
                // By the long way, as the fast one makes no event.
                held.take().expect("it is held").discard();
                runtime.settle();
                held = Some(taken.try_recv().expect("it has ended").expect("a lease"));
                let seen = recorder.take();
                let (closed, rest) = seen.split_first().expect("the close is logged");
                assert!(closed.starts_with("DEBUG redis_manager: connection closed node=fake reason=discarded age="), "{closed}");
                assert_eq!(rest, lines);
            }
        });
    }

    /// Seen to bite: with a node that is down logged as information.
    #[test]
    fn an_outage_is_logged_with_its_cause_and_its_end() {
        let recorder = LogRecorder::new();
        recorder.record(|| {
            let runtime = FakeRuntime::new(1);
            let server = FakeServer::new(&runtime);
            let pool = logged_pool(&runtime, &server, Duration::MAX);
            let lease = runtime.block_on(pool.get()).expect("the server is up");
            assert_eq!(recorder.take(), ["INFO redis_manager: node is up node=fake from=down"]);
            // Old enough for its death to say nothing of new connections.
            runtime.advance(10 * SECOND);
            server.kill();
            runtime.settle();
            drop(lease);
            assert!(runtime.block_on(pool.get_timeout(SECOND)).is_err());
            let seen = recorder.take();
            let health: Vec<_> = seen.iter().filter(|line| line.contains(": node is ")).collect();
            assert!(health.iter().all(|line| line.starts_with("WARN ") && line.contains(" cause=")), "{seen:#?}");
            let first = health.first().expect("it has changed");
            assert!(first.contains(" from=up "), "{seen:#?}");
            assert!(health.iter().any(|line| line.contains("node is suspect node=fake from=")), "{seen:#?}");
            assert!(health.last().is_some_and(|line| line.contains("node is down node=fake from=")), "{seen:#?}");
            let failed = "DEBUG redis_manager: connect failed node=fake took=";
            assert!(seen.iter().any(|line| line.starts_with(failed) && line.contains(" cause=")), "{seen:#?}");
            assert!(
                seen.contains(&String::from("DEBUG redis_manager: wait failed: the node is down node=fake took=1.0")),
                "{seen:#?}"
            );
            server.set_mode(FakeMode::Up);
            runtime.advance(6 * SECOND);
            assert_eq!(recorder.take(), ["INFO redis_manager: node is up node=fake from=down"]);
        });
    }
}
