//! A name under which a cluster was added: what the manager calls.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{Health, Manager, NodeStatus, OnNodeDown, Runtime, Snapshot};

use crate::deployment::add_phase::AddPhase;
use crate::deployment::cluster::args::ClusterArgs;
use crate::deployment::cluster::inner::{Cluster, ClusterContext};
use crate::deployment::cluster::monitor::ClusterMonitor;
use crate::deployment::cluster::name_state::NameState;
use crate::deployment::cluster::routed_client::RoutedClient;
use crate::deployment::cluster::scan::ClusterScan;
use crate::deployment::cluster::shards::ClusterShards;
use crate::deployment::cluster_metrics::ClusterMetrics;
use crate::deployment::cluster_status::ClusterStatus;
use crate::deployment::interface::{ClosingDeployment, Deployment, KeySource, Lending};
use crate::deployment::router::slot_of;
use crate::deployment::scan_options::ScanOptions;
use crate::deployment::subscription_places::SubscriptionPlaces;
use crate::error::GetClientError;
use crate::redis_node::parts::{NodeCounters, labels, text_of_label};
use crate::redis_node::{Address, Client, CommandMetrics, RedisConnector, SharedClient, redact};

/// What a cluster is made of: checked settings.
#[derive(Clone)]
pub(crate) struct ClusterPlan {
    /// At least one.
    pub(crate) startup: Vec<Address>,
    pub(crate) args: ClusterArgs,
}

/// The cluster of a plan, while a name of it is open: all of its names are one cluster.
#[derive(Clone, Default)]
pub(crate) struct ClusterOfNames {
    open: Arc<Mutex<Option<OpenCluster>>>,
}

/// A cluster and how many names of it are open.
struct OpenCluster {
    cluster: Arc<Cluster>,
    names: usize,
}

impl ClusterOfNames {
    /// One more name. The cluster is made, and watched, with the first.
    fn join(&self, make: impl FnOnce() -> Arc<Cluster>, name: &Arc<str>) -> Arc<Cluster> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *open {
            Some(OpenCluster { cluster, names }) => {
                *names += 1;
                cluster.names().push(Arc::clone(name));
                Arc::clone(cluster)
            }
            None => {
                let cluster = make();
                cluster.names().push(Arc::clone(name));
                ClusterMonitor::start(&cluster);
                *open = Some(OpenCluster { cluster: Arc::clone(&cluster), names: 1 });
                cluster
            }
        }
    }

    /// One name less. True with the last one.
    fn leave(&self, name: &Arc<str>) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(OpenCluster { cluster, names }) = &mut *open else { return true };
        cluster.names().retain(|other| !Arc::ptr_eq(other, name));
        *names -= 1;
        let is_last = *names == 0;
        let closed = if is_last { open.take() } else { None };
        drop(open);
        drop(closed);
        is_last
    }
}

/// A name of a cluster.
pub(crate) struct ClusterName {
    cluster: Arc<Cluster>,
    names: ClusterOfNames,
    state: Arc<NameState>,
    phase: AddPhase,
}

impl ClusterName {
    pub(crate) fn open(name: &str, names: &ClusterOfNames, context: impl FnOnce() -> ClusterContext) -> Arc<Self> {
        let shown: Arc<str> = redact(name).into();
        let cluster = names.join(|| Cluster::new(context()), &shown);
        let runtime = Arc::clone(&cluster.context.network) as Arc<dyn Runtime>;
        let sampling = cluster.context.nodes.config().use_time_sampling();
        let counters = NodeCounters::new(runtime, sampling, labels());
        let state = Arc::new(NameState::new(shown, counters));
        Arc::new(Self { cluster, names: names.clone(), state, phase: AddPhase::default() })
    }

    /// Why it lends no client now.
    fn why_not(&self, waited: Duration) -> Option<GetClientError> {
        let node = || self.state.shown.to_string();
        if self.is_closed() {
            return Some(GetClientError::Closed { node: node() });
        }
        if self.cluster.runtime().has_ended() {
            return Some(GetClientError::RuntimeEnded { node: node() });
        }
        match self.cluster.health().0 {
            Health::Up | Health::Suspect => None,
            Health::Down => {
                let last_error = self.cluster.last_error();
                Some(GetClientError::NoHealthyPools { node: node(), waited, seen: Snapshot::default(), last_error })
            }
        }
    }

    /// Waits until it lends clients.
    async fn serves(&self, timeout: Duration, fails_fast: bool) -> Result<(), GetClientError> {
        let runtime = self.cluster.runtime();
        let begun_at = runtime.now();
        let mut sleep = None;
        let mut is_over = timeout.is_zero();
        loop {
            let seen = self.cluster.changed.version();
            let Some(error) = self.why_not(runtime.now().saturating_duration_since(begun_at)) else { return Ok(()) };
            let is_final = !error.is_retryable() || (fails_fast && self.cluster.state().was_asked());
            if is_final || is_over {
                return Err(error);
            }
            let sleep = sleep.get_or_insert_with(|| runtime.sleep_until(begun_at + timeout));
            let mut changed = pin!(self.cluster.changed.beyond(seen));
            is_over = poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending if runtime.has_ended() => Poll::Ready(true),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| true),
            })
            .await;
        }
    }

    fn client(&self) -> Box<RoutedClient> {
        Box::new(RoutedClient::new(Arc::clone(&self.cluster), Arc::clone(&self.state)))
    }

    fn fails_fast(&self) -> bool {
        self.cluster.context.nodes.config().on_node_down() == OnNodeDown::FailFast
    }

    fn check_name(&self) -> Result<(), GetClientError> {
        if self.is_closed() { Err(GetClientError::Closed { node: self.state.shown.to_string() }) } else { Ok(()) }
    }
}

impl Deployment for ClusterName {
    fn name(&self) -> &str {
        &self.state.shown
    }

    fn ready(&self, timeout: Duration) -> Lending<'_, ()> {
        Box::pin(self.serves(timeout, false))
    }

    fn phase(&self) -> &AddPhase {
        &self.phase
    }

    fn get_client(&self, timeout: Duration) -> Lending<'_, Client> {
        Box::pin(async move {
            self.serves(timeout, self.fails_fast()).await?;
            Ok(Client::routed(self.client()))
        })
    }

    fn try_get_client(&self) -> Result<Client, GetClientError> {
        self.why_not(Duration::ZERO).map_or(Ok(()), Err)?;
        Ok(Client::routed(self.client()))
    }

    fn get_shared_client(&self, timeout: Duration) -> Lending<'_, SharedClient> {
        Box::pin(async move {
            self.serves(timeout, self.fails_fast()).await?;
            Ok(SharedClient::routed(self.client()))
        })
    }

    fn get_client_for_key<'a>(&'a self, key: &'a [u8], timeout: Duration) -> Lending<'a, Client> {
        Box::pin(async move { self.cluster.lend(&self.state, slot_of(key), timeout).await.map(Client::new) })
    }

    fn get_client_of_node<'a>(&'a self, address: &'a str, timeout: Duration) -> Lending<'a, Client> {
        Box::pin(async move { self.cluster.lend_of_node(&self.state, address, timeout).await.map(Client::new) })
    }

    fn scan(&self, options: ScanOptions) -> Result<Option<Box<dyn KeySource>>, GetClientError> {
        self.check_name()?;
        Ok(Some(Box::new(ClusterScan::new(*self.client(), options))))
    }

    fn status(&self) -> NodeStatus {
        let (health, since) = self.cluster.health();
        let last_error = self.cluster.last_error().map(|error| error.to_string());
        let health_for = self.cluster.runtime().now().saturating_duration_since(since);
        NodeStatus::without_pools(health, health_for, last_error)
    }

    fn command_metrics(&self) -> CommandMetrics {
        self.state.counters.read(text_of_label)
    }

    fn nodes(&self) -> &Manager<RedisConnector> {
        &self.cluster.context.nodes
    }

    fn begin_close(&self, timeout: Duration) -> ClosingDeployment {
        let is_first = self.state.close();
        // Waiting callers look again.
        self.cluster.changed.raise();
        if is_first && self.names.leave(&self.state.shown) {
            Box::pin(self.cluster.begin_close(timeout).drained())
        } else {
            Box::pin(std::future::ready(()))
        }
    }

    fn close_in_background(&self, timeout: Duration) {
        let closing = self.begin_close(timeout);
        self.cluster.runtime().spawn(closing);
    }

    fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    fn cluster_status(&self) -> Option<ClusterStatus> {
        Some(self.cluster.status())
    }

    fn cluster_metrics(&self) -> Option<ClusterMetrics> {
        Some(self.cluster.metrics())
    }

    fn subscription_places(&self) -> Arc<dyn SubscriptionPlaces> {
        Arc::new(ClusterShards(Arc::clone(&self.cluster)))
    }
}

impl Drop for ClusterName {
    fn drop(&mut self) {
        if !self.is_closed() {
            self.names.leave(&self.state.shown);
        }
    }
}
