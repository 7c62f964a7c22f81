//! A name under which a primary behind sentinels, or one with given replicas, was added: what the manager calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis_manager_core::{Health, Manager, NodePool, NodeStatus, Runtime};

use crate::deployment::add_phase::AddPhase;
use crate::deployment::cluster_metrics::ClusterMetrics;
use crate::deployment::cluster_status::ClusterStatus;
use crate::deployment::interface::{ClosingDeployment, Deployment, KeySource, Lending};
use crate::deployment::parts::DeploymentParts;
use crate::deployment::primary_metrics::PrimaryMetrics;
use crate::deployment::read_from::ReadFrom;
use crate::deployment::replicas::{ReadingClient, ReplicaContext, ReplicaGroup, ReplicaStatus};
use crate::deployment::scan_options::ScanOptions;
use crate::deployment::sentinel::group::{SentinelContext, SentinelGroup};
use crate::deployment::sentinel::monitor::SentinelMonitor;
use crate::deployment::sentinel::places::SentinelPlaces;
use crate::deployment::sentinel::plan::{SentinelPlan, WitnessKind};
use crate::deployment::sentinel::status::SentinelStatus;
use crate::deployment::subscription_places::SubscriptionPlaces;
use crate::error::GetClientError;
use crate::redis_node::{Client, CommandMetrics, RedisConnector, Session, SharedClient, SharedConnections, redact};

/// A name of a primary behind sentinels, or of one with given replicas.
pub(crate) struct SentinelName {
    shown: Arc<str>,
    group: Arc<SentinelGroup>,
    nodes: Manager<RedisConnector>,
    /// Of the primary; or why it has none.
    primary: Result<Arc<SharedConnections>, GetClientError>,
    replicas: Arc<ReplicaGroup>,
    phase: AddPhase,
    closed: AtomicBool,
}

impl SentinelName {
    pub(crate) fn open(name: &str, plan: SentinelPlan, parts: DeploymentParts) -> Arc<Self> {
        let DeploymentParts { nodes, network, args, hooks, lanes } = parts;
        let shown: Arc<str> = redact(name).into();
        let mut address = plan.data.clone();
        address.name = format!("{shown} primary");
        let session = Session::fresh(&args, address.login.protocol(), address.login.db());
        let (runtime, config) = (Arc::clone(&network) as Arc<dyn Runtime>, nodes.config().clone());
        let context = SentinelContext { network: Arc::clone(&network), args: args.clone(), config: config.clone(), plan };
        let group = SentinelGroup::new(context);
        let replicas = ReplicaGroup::new(ReplicaContext {
            nodes: nodes.clone(),
            network: Arc::clone(&network),
            args: args.clone(),
            hooks: hooks.clone(),
            lanes,
            shown: Arc::clone(&shown),
            settings: group.context.plan.args.replica_settings(),
            source: Arc::clone(&group),
        });
        let target = Arc::clone(&group);
        let connector = || RedisConnector::new(network, address, args, hooks, &config).following(target);
        let primary = nodes.open("primary", connector).map_err(GetClientError::from);
        let primary = primary.map(|pool| Arc::new(SharedConnections::new(pool, runtime, lanes, session)));
        if let Ok(connections) = &primary {
            group.replaces(connections);
            SentinelMonitor::start(&group);
            if replicas.context.settings.read_from != ReadFrom::Primary {
                replicas.begin_use();
            }
        }
        Arc::new(Self { shown, group, nodes, primary, replicas, phase: AddPhase::default(), closed: AtomicBool::new(false) })
    }

    fn connections(&self) -> Result<&Arc<SharedConnections>, GetClientError> {
        if self.is_closed() {
            return Err(GetClientError::Closed { node: self.shown.to_string() });
        }
        self.primary.as_ref().map_err(Clone::clone)
    }

    fn pool(&self) -> Result<&NodePool<RedisConnector>, GetClientError> {
        self.connections().map(|connections| &connections.pool)
    }
}

impl Deployment for SentinelName {
    fn name(&self) -> &str {
        &self.shown
    }

    fn ready(&self, timeout: Duration) -> Lending<'_, ()> {
        Box::pin(async move { Ok(self.pool()?.warm(timeout).await?) })
    }

    fn phase(&self) -> &AddPhase {
        &self.phase
    }

    fn get_client(&self, timeout: Duration) -> Lending<'_, Client> {
        Box::pin(async move { Ok(Client::new(self.pool()?.get_timeout(timeout).await?)) })
    }

    fn try_get_client(&self) -> Result<Client, GetClientError> {
        Ok(Client::new(self.pool()?.try_get()?))
    }

    fn get_shared_client(&self, timeout: Duration) -> Lending<'_, SharedClient> {
        Box::pin(async move {
            let primary = Arc::clone(self.connections()?);
            if self.replicas.context.settings.read_from == ReadFrom::Primary {
                return SharedClient::of_node(primary, timeout).await;
            }
            let mut client = ReadingClient::new(Arc::clone(&self.replicas), primary);
            client.ready(timeout).await?;
            Ok(SharedClient::routed(Box::new(client)))
        })
    }

    fn get_replica_client(&self, timeout: Duration) -> Lending<'_, Client> {
        Box::pin(async move {
            self.connections()?;
            Ok(Client::new(self.replicas.lend(timeout).await?))
        })
    }

    /// All keys are the primary's.
    fn get_client_for_key<'a>(&'a self, _key: &'a [u8], timeout: Duration) -> Lending<'a, Client> {
        self.get_client(timeout)
    }

    fn get_client_of_node<'a>(&'a self, address: &'a str, timeout: Duration) -> Lending<'a, Client> {
        Box::pin(async move {
            let is_primary = self.group.primary().is_some_and(|place| place.to_string() == address);
            match is_primary {
                true => self.get_client(timeout).await,
                false => Err(GetClientError::UnknownNode { node: format!("{address} of {}", self.shown) }),
            }
        })
    }

    /// As any node is scanned.
    fn scan(&self, _options: ScanOptions) -> Result<Option<Box<dyn KeySource>>, GetClientError> {
        self.connections().map(|_| None)
    }

    fn status(&self) -> NodeStatus {
        match &self.primary {
            Ok(connections) => {
                let NodeStatus { health, health_for, last_error, .. } = connections.pool.status();
                NodeStatus::without_pools(health, health_for, last_error)
            }
            Err(error) => NodeStatus::without_pools(Health::Down, Duration::ZERO, Some(error.to_string())),
        }
    }

    /// Its nodes have the connections.
    fn command_metrics(&self) -> CommandMetrics {
        CommandMetrics::default()
    }

    fn nodes(&self) -> &Manager<RedisConnector> {
        &self.nodes
    }

    fn begin_close(&self, timeout: Duration) -> ClosingDeployment {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Box::pin(std::future::ready(()));
        }
        let closing = self.nodes.begin_close(timeout);
        if let Ok(connections) = &self.primary {
            connections.close();
        }
        self.replicas.close();
        self.group.close();
        Box::pin(closing.drained())
    }

    fn close_in_background(&self, timeout: Duration) {
        let closing = self.begin_close(timeout);
        self.group.runtime().spawn(closing);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn cluster_status(&self) -> Option<ClusterStatus> {
        None
    }

    fn cluster_metrics(&self) -> Option<ClusterMetrics> {
        None
    }

    fn sentinel_status(&self) -> Option<SentinelStatus> {
        match self.group.context.plan.witnesses {
            WitnessKind::Sentinels => Some(self.group.status()),
            WitnessKind::Servers => None,
        }
    }

    fn primary_metrics(&self) -> Option<PrimaryMetrics> {
        let replicas = self.replicas.status().replicas;
        let replicas_fit = replicas.iter().filter(|replica| replica.error.is_none()).count();
        let sentinels = self.sentinel_status().map(|status| status.sentinels).unwrap_or_default();
        let sentinels_reached = sentinels.iter().filter(|sentinel| sentinel.has_answered).count();
        let of_pool = self.primary.as_ref().map(|connections| connections.pool.metrics()).unwrap_or_default();
        Some(PrimaryMetrics {
            failovers: self.group.failovers(),
            time_impaired: of_pool.time_suspect.saturating_add(of_pool.time_down),
            sentinels_reached,
            sentinels_unreached: sentinels.len() - sentinels_reached,
            replicas_fit,
            replicas_unfit: replicas.len() - replicas_fit,
        })
    }

    fn replica_status(&self) -> Option<ReplicaStatus> {
        Some(self.replicas.status())
    }

    fn subscription_places(&self) -> Arc<dyn SubscriptionPlaces> {
        Arc::new(SentinelPlaces(Arc::clone(&self.group)))
    }
}
