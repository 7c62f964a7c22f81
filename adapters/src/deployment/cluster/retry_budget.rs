//! How long a request is tried: until shortly before its caller times out, so that the caller gets the reason.

use std::future::pending;
use std::time::Duration;

use redis_manager_core::Instant;

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::state::cluster_io::ClusterInput;
use crate::redis_node::parts::{CommandProfile, RequestLimits, ReusableSleep};

/// A command that a node refuses for the moment is sent again after pauses that double between these.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// This part of a command's time, but no more than `LONGEST_WAY_BACK`, is reserved for the way back to its caller.
const WAY_BACK: u32 = 20;
const LONGEST_WAY_BACK: Duration = Duration::from_millis(50);

/// One request, from its beginning until its caller times out.
pub(crate) struct RetryBudget {
    pub(crate) limits: RequestLimits,
    pause: Duration,
    redirections: u32,
    timer: ReusableSleep,
}

impl RetryBudget {
    #[inline]
    pub(crate) fn new(cluster: &Cluster, profile: CommandProfile) -> Self {
        let limit = profile.reply_timeout.limit().unwrap_or(cluster.context.args.command_timeout);
        let now = cluster.runtime().now();
        let way_back = (limit / WAY_BACK).min(LONGEST_WAY_BACK);
        let limits = RequestLimits { profile, begin_by: now + (limit - way_back), deadline: now + limit };
        Self {
            limits,
            pause: SHORTEST_PAUSE,
            redirections: cluster.context.cluster_args.retries,
            timer: ReusableSleep::default(),
        }
    }

    /// One more redirection. False if there were too many, or if there is no time to follow it.
    pub(crate) fn redirect(&mut self, cluster: &Cluster) -> bool {
        let may = self.redirections > 0 && cluster.runtime().now() < self.limits.begin_by;
        self.redirections = self.redirections.saturating_sub(1);
        may
    }

    /// Waits before the next try of what a node has refused. False if there is no time for one.
    pub(crate) async fn pause(&mut self, cluster: &Cluster) -> bool {
        let next = cluster.runtime().now() + self.pause;
        if next >= self.limits.begin_by || cluster.runtime().has_ended() {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        cluster.tell(ClusterInput::Wanted);
        let _always_none = self.timer.by(cluster.runtime(), Some(next), pending::<()>()).await;
        !cluster.runtime().has_ended()
    }

    /// Before the next try of what was not sent to a node because another one is to be asked: at once if the topology has changed
    /// since `seen`; else the other one may be the same, and there is a pause, which a change ends. False if there is no time.
    pub(crate) async fn look_again(&mut self, cluster: &Cluster, seen: u64) -> bool {
        let now = cluster.runtime().now();
        if now >= self.limits.begin_by || cluster.changed.version() > seen {
            return now < self.limits.begin_by;
        }
        let next = (now + self.pause).min(self.limits.begin_by);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.until_changed_or(cluster, seen, next).await;
        !cluster.runtime().has_ended()
    }

    /// Waits until the topology changes. False if there is no time for that.
    pub(crate) async fn until_changed(&mut self, cluster: &Cluster, seen: u64) -> bool {
        cluster.tell(ClusterInput::Wanted);
        self.until_changed_or(cluster, seen, self.limits.begin_by).await
    }

    /// Whether the topology has changed before this instant, and before the runtime's end.
    async fn until_changed_or(&mut self, cluster: &Cluster, seen: u64, until: Instant) -> bool {
        self.timer.by(cluster.runtime(), Some(until), cluster.changed.beyond(seen)).await.is_some()
    }
}
