//! How long a command is tried: until shortly before its caller times out, so that the caller gets the reason.

use std::time::Duration;

use redis_manager_core::Instant;

use crate::cluster::nodes::Cluster;
use crate::redis_node::CommandProfile;

/// A command that a node refuses temporarily is sent there again after pauses that double between these.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// This part of a command's time, but no more than `LONGEST_WAY_BACK`, is reserved for the way back to its caller.
const WAY_BACK: u32 = 20;
const LONGEST_WAY_BACK: Duration = Duration::from_millis(50);

/// One command, or one pipeline, from its arrival at a node until its caller times out.
pub(crate) struct RetryBudget {
    pub(crate) request: CommandProfile,
    /// Nothing is begun any more.
    pub(crate) begin_by: Instant,
    /// No reply is waited for any more.
    pub(crate) deadline: Instant,
    pause: Duration,
}

impl RetryBudget {
    pub(crate) fn new(cluster: &Cluster, request: CommandProfile) -> Self {
        let limit = request.reply_timeout.limit().unwrap_or(cluster.setup.args.command_timeout);
        let now = cluster.runtime().now();
        let way_back = (limit / WAY_BACK).min(LONGEST_WAY_BACK);
        Self { request, begin_by: now + (limit - way_back), deadline: now + limit, pause: SHORTEST_PAUSE }
    }

    /// Waits before the next try. False if there is no time for one.
    pub(crate) async fn pause(&mut self, cluster: &Cluster) -> bool {
        let next = cluster.runtime().now() + self.pause;
        if next >= self.begin_by {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        cluster.doubted.raise();
        cluster.runtime().sleep_until(next).await;
        true
    }
}
