//! How long a request is tried: until shortly before its caller times out, so that the caller gets the reason.

use std::time::Duration;

use crate::deployment::cluster::inner::Cluster;
use crate::deployment::cluster::state::cluster_io::ClusterInput;
use crate::redis_node::parts::{CommandProfile, RequestLimits};

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
}

impl RetryBudget {
    #[inline]
    pub(crate) fn new(cluster: &Cluster, profile: CommandProfile) -> Self {
        let limit = profile.reply_timeout.limit().unwrap_or(cluster.context.args.command_timeout);
        let now = cluster.runtime().now();
        let way_back = (limit / WAY_BACK).min(LONGEST_WAY_BACK);
        let limits = RequestLimits { profile, begin_by: now + (limit - way_back), deadline: now + limit };
        Self { limits, pause: SHORTEST_PAUSE, redirections: cluster.context.cluster_args.retries }
    }

    /// One more redirection. False if there were too many, or if there is no time to follow it.
    pub(crate) fn redirect(&mut self, cluster: &Cluster) -> bool {
        let may = self.redirections > 0 && cluster.runtime().now() < self.limits.begin_by;
        self.redirections = self.redirections.saturating_sub(1);
        may
    }

    /// Waits before the next try, shorter if the topology changes. False if there is no time for one.
    pub(crate) async fn pause(&mut self, cluster: &Cluster) -> bool {
        let next = cluster.runtime().now() + self.pause;
        if next >= self.limits.begin_by {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        cluster.tell(ClusterInput::Wanted);
        cluster.runtime().sleep_until(next).await;
        true
    }

    /// Waits until the topology changes. False if there is no time for that.
    pub(crate) async fn until_changed(&mut self, cluster: &Cluster, seen: u64) -> bool {
        cluster.tell(ClusterInput::Wanted);
        let mut sleep = cluster.runtime().sleep_until(self.limits.begin_by);
        let mut changed = std::pin::pin!(cluster.changed.beyond(seen));
        std::future::poll_fn(|cx| match changed.as_mut().poll(cx) {
            std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
            std::task::Poll::Pending => sleep.as_mut().poll(cx).map(|()| false),
        })
        .await
    }
}
