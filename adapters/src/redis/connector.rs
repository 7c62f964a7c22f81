//! How the core connects to Redis: dials, logs in, checks, cleans and closes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{AbortHandle, Condition, ConnectionMonitor, Connector, NodeConfig, Runtime};

use crate::error::{ConnectFailure, FailureKind};
use crate::network::Network;
use crate::redis_node::address::{Address, Endpoint};
use crate::redis_node::close_registry::CloseRegistry;
use crate::redis_node::connect_phase::{ConnectPhase, ConnectTrace};
use crate::redis_node::connection::RedisConnection;
use crate::redis_node::contention::Contention;
use crate::redis_node::dial::{AddressTrial, Dialler};
use crate::redis_node::dial_target::{DialPlace, DialTarget, DialledPlace};
use crate::redis_node::error::ConnectError;
use crate::redis_node::hooks::Hooks;
use crate::redis_node::metrics::CommandMetrics;
use crate::redis_node::metrics::command_label::{labels, text_of_label};
use crate::redis_node::metrics::node_counters::NodeCounters;
use crate::redis_node::pool_args::PoolArgs;
use crate::redis_node::redirection_listener::RedirectionListener;
use crate::redis_node::roles::Roles;
use crate::redis_node::secrets::Secrets;
use crate::redis_node::socket_end::SocketEnd;
use crate::redis_node::watcher::Watcher;

/// A dial that takes longer makes one ask whether the server is still the right one, again each time.
const DOUBTED_AFTER: Duration = Duration::from_millis(200);

/// What a node is to the deployment that it is a part of.
pub(crate) struct NodeMembership {
    /// Hears of the redirections on exclusive connections.
    pub(crate) redirections: Arc<dyn RedirectionListener>,
    /// Its connections may read, should it be a replica.
    pub(crate) reads: bool,
    /// Where it is dialled, if that is another place than its name says.
    pub(crate) dialled_at: Option<(String, u16)>,
}

/// Connects the pools of one Redis node.
pub(crate) struct RedisConnector {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) address: Address,
    /// Its name in errors.
    pub(crate) node: Arc<str>,
    pub(crate) args: PoolArgs,
    hooks: Hooks,
    /// What we send to it that no text may show.
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) roles: Arc<Roles>,
    pub(crate) close_registry: Arc<CloseRegistry>,
    /// Of its connections.
    pub(crate) watcher: Watcher,
    dialler: Dialler,
    health_check_timeout: Duration,
    /// Makes every PING one of a kind.
    nonce: AtomicU64,
    /// Of the transactions on its connections.
    pub(crate) contention: Arc<Contention>,
    /// The deployment that the node is a part of.
    pub(crate) membership: Option<NodeMembership>,
    /// Tells where it is dialled, if that changes. Then `address` has the login alone.
    pub(crate) target: Option<Arc<dyn DialTarget>>,
    pub(crate) counters: Arc<NodeCounters>,
    /// The [`ConnectPhase`] of the connect that was cut off last.
    cut_off_at: AtomicU8,
}

impl RedisConnector {
    pub(crate) fn new(network: Arc<dyn Network>, address: Address, args: PoolArgs, hooks: Hooks, config: &NodeConfig) -> Self {
        let dialler = Dialler::new(Arc::clone(&network), args.tcp_options(), args.dial_timeout);
        let nonce = AtomicU64::new(network.seed());
        let runtime = Arc::clone(&network) as Arc<dyn Runtime>;
        Self {
            network,
            secrets: Arc::new(Secrets::of(&address.login)),
            roles: Arc::default(),
            close_registry: Arc::default(),
            watcher: Watcher::default(),
            node: Arc::from(address.name.as_str()),
            address,
            args,
            hooks,
            dialler,
            health_check_timeout: config.health_check_timeout(),
            nonce,
            contention: Arc::default(),
            counters: Arc::new(NodeCounters::new(runtime, config.use_time_sampling(), labels())),
            cut_off_at: AtomicU8::new(0),
            membership: None,
            target: None,
        }
    }

    /// The same for a primary that may be another server later.
    pub(crate) fn following(mut self, target: Arc<dyn DialTarget>) -> Self {
        self.target = Some(target);
        self
    }

    /// The same for a part of a deployment.
    pub(crate) fn within(mut self, membership: NodeMembership) -> Self {
        self.membership = Some(membership);
        self
    }

    /// Dials the server that is the primary now, until another one is.
    async fn follow(&self, target: &Arc<dyn DialTarget>) -> Result<Box<RedisConnection>, ConnectFailure> {
        let place = target.find().await?;
        let shown = &place.address.name;
        let (mut dialling, mut moved) = (pin!(self.dial_and_log_in(&place.address, None)), pin!(target.moved(&place)));
        let mut doubted = self.network.sleep(DOUBTED_AFTER);
        let dialled = poll_fn(|cx| {
            // First: what was dialled before the change is not used.
            if moved.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(dialled) = dialling.as_mut().poll(cx) {
                return Poll::Ready(Some(dialled));
            }
            while doubted.as_mut().poll(cx).is_ready() {
                target.doubt();
                doubted = self.network.sleep(DOUBTED_AFTER);
            }
            Poll::Pending
        })
        .await;
        match dialled {
            Some(Ok(connection)) => {
                connection.socket().note_place(DialledPlace { target: Arc::downgrade(target), version: place.version });
                Ok(connection)
            }
            Some(Err(error)) => Err(self.lost_primary(&**target, &place, error)),
            None => Err(ConnectFailure::new(format!("{shown} is not the primary any more"), FailureKind::NotPrimary, false)),
        }
    }

    fn lost_primary(&self, target: &dyn DialTarget, place: &DialPlace, error: ConnectError) -> ConnectFailure {
        if matches!(error, ConnectError::NotPrimary { .. }) {
            target.refuted(place);
        } else {
            target.doubt();
        }
        error.told(&self.secrets).about(&format!("the primary is {} {}", place.address.name, target.told_by()))
    }

    async fn dial_and_log_in(
        &self,
        address: &Address,
        dialled_at: Option<(&String, &u16)>,
    ) -> Result<Box<RedisConnection>, ConnectError> {
        let first = if address.is_tcp() { ConnectPhase::Resolve } else { ConnectPhase::Dial };
        let mut progress = ConnectTrace::new(first, &self.cut_off_at, &self.counters);
        let (stream, trial) = match &address.place {
            Endpoint::Tcp { host, port, tls: _ } => {
                let (host, port) = dialled_at.unwrap_or((host, port));
                self.dialler.dial(host, *port, &mut progress).await.map(|(stream, trial)| (stream, Some(trial)))?
            }
            Endpoint::Unix { path } => (self.dialler.dial_unix(path).await?, None),
        };
        let connected = match address.tls() {
            None => {
                progress.reach(ConnectPhase::Login);
                self.log_in(stream).await?
            }
            Some(tls) => {
                progress.reach(ConnectPhase::Tls);
                let (stream, verdict) = tls.handshake(stream).await?;
                progress.reach(ConnectPhase::Login);
                self.log_in(stream).await.map_err(|error| verdict.reached().map_or(error, ConnectError::Tls))?
            }
        };
        trial.into_iter().for_each(AddressTrial::passed);
        if self.hooks.has_after_connect() {
            progress.reach(ConnectPhase::AfterConnect);
        }
        let connected = self.hooks.run_after_connect(connected).await?;
        progress.succeed();
        Ok(connected)
    }

    fn dialled_at(&self) -> Option<(&String, &u16)> {
        let (host, port) = self.membership.as_ref()?.dialled_at.as_ref()?;
        Some((host, port))
    }

    /// What was counted and timed of the node's requests, connects and subscriptions.
    pub(crate) fn command_metrics(&self) -> CommandMetrics {
        self.counters.read(text_of_label)
    }

    /// A reply that has been outstanding for so long when a borrower leaves will not come. A caller's own timeout is often
    /// shorter than ours, and tells as much.
    fn longest_silence(&self) -> Duration {
        self.health_check_timeout / 2
    }

    pub(crate) fn nonce(&self) -> String {
        format!("{:016x}", self.nonce.fetch_add(1, Ordering::Relaxed))
    }
}

impl Connector for RedisConnector {
    /// Boxed: it is moved at every loan.
    type Connection = Box<RedisConnection>;
    type Error = ConnectFailure;

    async fn connect(&self) -> Result<Self::Connection, ConnectFailure> {
        match &self.target {
            None => {
                let dialled = self.dial_and_log_in(&self.address, self.dialled_at()).await;
                dialled.map_err(|error| error.told(&self.secrets))
            }
            Some(target) => self.follow(target).await,
        }
    }

    async fn check(&self, conn: &mut Self::Connection) -> Result<(), ConnectFailure> {
        self.ping(conn).await.map_err(|error| error.told(&self.secrets))
    }

    fn inspect(&self, conn: &mut Self::Connection) -> Condition {
        let condition = conn.inspect(self.longest_silence());
        if condition == Condition::Clean && !self.hooks.allow_lend(conn) { Condition::Tainted } else { condition }
    }

    async fn clean(&self, conn: &mut Self::Connection) -> Result<(), ConnectFailure> {
        let cleaned = conn.clean(&self.nonce()).await;
        match cleaned.map_err(|source| ConnectError::Redis { step: "cleaning", source }) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ConnectError::Unclean.told(&self.secrets)),
            Err(error) => Err(error.told(&self.secrets)),
        }
    }

    fn watch(&self, conn: &mut Self::Connection, monitor: ConnectionMonitor) {
        conn.socket().watch(monitor);
    }

    fn abort_handle(&self, conn: &mut Self::Connection) -> Option<AbortHandle> {
        let socket = Arc::clone(conn.socket());
        Some(Box::new(move || socket.end(SocketEnd::PoolsClosed)))
    }

    fn pool_closing(&self) {
        self.close_registry.close(&*self.network as &dyn Runtime);
    }

    fn unanswered(&self) -> Option<&'static str> {
        Some(ConnectPhase::of_last(&self.cut_off_at).unanswered())
    }

    fn is_permanent(&self, error: &ConnectFailure) -> bool {
        error.is_permanent()
    }

    fn name(&self) -> String {
        self.address.name.clone()
    }
}
