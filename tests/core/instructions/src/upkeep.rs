//! The paths of the passing of time, and of connections that die, on the node's state itself.

use std::time::Duration;

use redis_manager_core::state::{
    Acquired, Action, CheckResult, ConnId, Input, NodeState, Outcome, ReleaseKind, Returned, WaitError,
};
use redis_manager_core::{Instant, NodeConfig, NodeConfigBuilder};

/// A node's state with its actions performed at once, at the instant that it last heard of.
struct NodeHarness {
    state: NodeState<Box<u64>>,
    now: Instant,
    checked: u64,
    closed: u64,
}

const LONG: Duration = Duration::from_secs(6 * 24 * 3_600);

/// Settings of a node with one pool of so many connections, of which none grows old.
fn settings(connections: usize) -> NodeConfigBuilder {
    let settings = NodeConfig::builder().connection_pools_per_node_at_start(1).max_pools_per_node(1);
    settings.max_connection_size(connections).min_idle(connections).max_waiters(1_000_000).max_lifetime(LONG)
}

impl NodeHarness {
    /// With every connection idle.
    fn new(settings: NodeConfigBuilder, checks: bool) -> NodeHarness {
        let config = settings.build().expect("these settings are within their ranges");
        let mut node = NodeHarness { state: NodeState::new(config, 1), now: Instant::from_nanos(1), checked: 0, closed: 0 };
        node.put(Input::SetChecks(checks));
        node.put(Input::Tick);
        node
    }

    fn put(&mut self, input: Input<Box<u64>>) {
        self.state.handle(self.now, input);
        while let Some(action) = self.state.poll_action() {
            let done = match action {
                Action::Connect(ticket) => Input::Connected(ticket, Box::new(1)),
                Action::Check(checkup) | Action::Clean(checkup) => {
                    self.checked += 1;
                    Input::Checked(checkup, CheckResult::Sound)
                }
                Action::Close(closing, connection, _) => {
                    drop(connection);
                    self.closed += 1;
                    Input::Closed(closing)
                }
                Action::Kill(closing) => Input::Closed(closing),
            };
            self.state.handle(self.now, done);
        }
    }

    /// Sleeps until the next deadline.
    fn tick(&mut self) {
        self.now = self.state.next_deadline().expect("something is armed");
        self.put(Input::Tick);
    }

    /// The idle connection that was used last, used once more.
    fn use_one(&mut self) -> ConnId {
        let loan = self.state.take_idle().expect("a connection idles");
        let id = loan.id();
        if let Returned::Refused(loan) = self.state.put_back(loan) {
            self.put(Input::Release(loan, ReleaseKind::Sound));
        }
        id
    }
}

/// The health check of one idle connection of so many, from the tick at which it is due until it lies on the idle stack again.
pub(crate) fn checked(connections: usize, times: u64) {
    // The more there are, the less often each is checked: otherwise one tick would check more of them than are counted.
    let interval = Duration::from_secs(60.max(connections as u64));
    let mut node = NodeHarness::new(settings(connections).health_check_interval(interval), true);
    while node.checked < times {
        node.tick();
    }
}

/// The end of one of so many idle connections at its lifetime, until another has taken its place.
pub(crate) fn expired(connections: usize, times: u64) {
    let mut node = NodeHarness::new(settings(connections).max_lifetime(Duration::from_secs(1_800)), false);
    while node.closed < times {
        node.tick();
    }
}

/// The death of one of so many idle connections, until another has taken its place.
pub(crate) fn died(connections: usize, times: u64) {
    let mut node = NodeHarness::new(settings(connections), false);
    while node.closed < times {
        // One that dies young would count as a failed dial.
        let next = node.now + Duration::from_secs(2);
        // Time that passes without a tick would be a jump of the clock, which is forgiven.
        while node.state.next_deadline().is_some_and(|deadline| deadline <= next) {
            node.tick();
        }
        node.now = next;
        let id = node.use_one();
        node.put(Input::Died(id));
    }
}

/// A pass of the cleanup over so many idle connections that leaves all as it is.
pub(crate) fn cleaned_up(connections: usize, times: u64) {
    let settings = settings(connections).max_idle_time(LONG).cleanup_interval(Duration::from_secs(60));
    let mut node = NodeHarness::new(settings, false);
    node.put(Input::SetCleanup(true));
    for _ in 0..times {
        node.tick();
    }
}

/// A second in which one of so many connections was used, while the cleanup runs: its return is given a time.
pub(crate) fn stamped(connections: usize, times: u64) {
    let settings = settings(connections).max_idle_time(LONG).cleanup_interval(LONG);
    let mut node = NodeHarness::new(settings, false);
    node.put(Input::SetCleanup(true));
    for _ in 0..times {
        node.use_one();
        node.tick();
    }
}

/// A wait that ends at its deadline, among so many others.
pub(crate) fn timed_out(others: usize, times: u64) {
    let mut node = NodeHarness::new(settings(1), false);
    let _loan = node.state.take_idle().expect("a connection idles");
    for _ in 0..others {
        let Acquired::Waiting(_) = node.state.acquire(node.now, node.now + LONG) else { unreachable!("nothing idles") };
    }
    for _ in 0..times {
        let deadline = node.now + Duration::from_millis(1);
        let Acquired::Waiting(id) = node.state.acquire(node.now, deadline) else { unreachable!("nothing idles") };
        node.tick();
        assert_eq!(node.state.poll_wake(), Some(id), "its deadline has come");
        let Some(Outcome::Failed(WaitError::TimedOut(_))) = node.state.take_outcome(node.now, id) else {
            unreachable!("it was told")
        };
    }
}
