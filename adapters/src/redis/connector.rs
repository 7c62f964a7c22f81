//! How the core connects to Redis: one address after the other, handshake, and a PING that proves the other side.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, RedisError, RedisResult, Value};
use redis_manager_core::{Alarm, Connector, KillSwitch, Residue, Runtime};

use crate::network::{BoxStream, Network, Reply, TcpOptions};
use crate::redis_node::address::{Address, Place};
use crate::redis_node::close_registry::CloseRegistry;
use crate::redis_node::connection::RedisConnection;
use crate::redis_node::error::{ConnectError, ConnectFailure};
use crate::redis_node::link::{Link, LinkEnd, LinkStream};
use crate::redis_node::news::Asked;
use crate::redis_node::pool_args::PoolArgs;
use crate::redis_node::roles::{Role, Roles};
use crate::redis_node::secrets::Secrets;
use crate::redis_node::session::Request;
use crate::redis_node::stage::{Progress, Stage};

/// Commands that wait for the redis driver before those who send more wait for each other; that matters to shared clients.
const MOST_QUEUED: usize = 1_024;

/// What a node is to its cluster.
#[cfg(feature = "cluster")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    /// The number of the cluster, which is told of slots that have moved.
    pub(crate) cluster: u64,
    /// Its connections may read, should it be a replica.
    pub(crate) reading: bool,
}

/// Connects the pools of one Redis node.
pub(crate) struct RedisConnector {
    network: Arc<dyn Network>,
    address: Address,
    /// What we send to it that nobody is to read.
    secrets: Arc<Secrets>,
    roles: Arc<Roles>,
    args: PoolArgs,
    tcp: TcpOptions,
    health_check_timeout: Duration,
    /// Makes every PING one of a kind.
    nonce: AtomicU64,
    close_registry: Arc<CloseRegistry>,
    /// The cluster that the node is a part of.
    #[cfg(feature = "cluster")]
    membership: Option<Membership>,
    /// The [`Stage`] of the connect that was cut off last.
    cut_off_at: AtomicU8,
}

impl RedisConnector {
    pub(crate) fn new(network: Arc<dyn Network>, address: Address, args: PoolArgs, health_check_timeout: Duration) -> Self {
        let tcp = args.tcp_options();
        let nonce = AtomicU64::new(network.seed());
        Self {
            network,
            secrets: Arc::new(Secrets::of(&address.login)),
            roles: Arc::default(),
            address,
            args,
            tcp,
            health_check_timeout,
            nonce,
            close_registry: Arc::default(),
            cut_off_at: AtomicU8::new(0),
            #[cfg(feature = "cluster")]
            membership: None,
        }
    }

    /// The same for a node of a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn within(mut self, membership: Membership) -> Self {
        self.membership = Some(membership);
        self
    }

    async fn open(&self) -> Result<Box<RedisConnection>, ConnectError> {
        let mut progress = Progress::new(&self.cut_off_at);
        let stream = self.dial().await?;
        let Some(tls) = self.address.tls() else {
            progress.reach(Stage::Login);
            return self.log_in(stream).await;
        };
        progress.reach(Stage::Tls);
        let (stream, verdict) = tls.handshake(stream).await?;
        progress.reach(Stage::Login);
        self.log_in(stream).await.map_err(|error| verdict.reached().map_or(error, ConnectError::Tls))
    }

    async fn dial(&self) -> Result<BoxStream, ConnectError> {
        let (host, port) = match &self.address.place {
            Place::Tcp { host, port, tls: _ } => (host, *port),
            Place::Unix { path } => {
                let refused = |source| ConnectError::Dial { address: path.display().to_string(), source };
                return self.within_dial_timeout(self.network.connect_unix(path)).await.map_err(refused);
            }
        };
        let addresses = self.network.resolve(host, port).await;
        let addresses = addresses.map_err(|source| ConnectError::Resolve { host: host.clone(), source })?;
        let mut failure = ConnectError::NoAddress { host: host.clone() };
        for address in addresses {
            match self.dial_address(address).await {
                Ok(stream) => return Ok(stream),
                Err(source) => failure = ConnectError::Dial { address: address.to_string(), source },
            }
        }
        Err(failure)
    }

    async fn dial_address(&self, address: SocketAddr) -> io::Result<BoxStream> {
        self.within_dial_timeout(self.network.connect_tcp(address, &self.tcp)).await
    }

    async fn within_dial_timeout<T>(&self, mut dialled: Reply<'_, T>) -> io::Result<T> {
        let mut sleep = self.network.sleep(self.args.dial_timeout);
        poll_fn(|cx| {
            if let Poll::Ready(dialled) = dialled.as_mut().poll(cx) {
                return Poll::Ready(dialled);
            }
            sleep.as_mut().poll(cx).map(|()| {
                let text = format!("no answer within {:?}", self.args.dial_timeout);
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            })
        })
        .await
    }

    /// All that comes once there is a stream to speak Redis on.
    async fn log_in(&self, stream: BoxStream) -> Result<Box<RedisConnection>, ConnectError> {
        let link = Link::new(stream, Arc::clone(&self.secrets));
        let greeted = self.handshake(&link).await;
        // Whatever comes later is noted anew.
        let heard = link.has_heard();
        let prepared = match greeted {
            Ok(mut conn) => self.prepare(&mut conn).await.map(|()| conn),
            Err(error) => Err(error),
        };
        prepared.map_err(|error| self.explain(error, &link, heard || link.has_heard()))
    }

    /// What it probably means that a login failed, if the two sides do not agree about TLS.
    fn explain(&self, error: ConnectError, link: &Link, heard: bool) -> ConnectError {
        let is_plain = matches!(self.address.place, Place::Tcp { tls: None, .. });
        let ConnectError::Redis { step, source } = error else { return error };
        if !is_plain {
            ConnectError::Redis { step, source }
        } else if link.speaks_tls() {
            ConnectError::WantsTls { step }
        } else if !heard && source.is_io_error() {
            ConnectError::NoAnswer { step, source }
        } else {
            ConnectError::Redis { step, source }
        }
    }

    /// Says hello; the redis driver runs as a task of its own from then on.
    async fn handshake(&self, link: &Arc<Link>) -> Result<Box<RedisConnection>, ConnectError> {
        // No timeouts of redis-rs: it would look for a runtime of its own choice at every command.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(MOST_QUEUED);
        let protocol = self.address.login.protocol();
        if protocol != ProtocolVersion::RESP2 {
            let inbox = Arc::clone(link);
            config = config.set_push_sender(move |push: PushInfo| -> Result<(), Infallible> {
                inbox.push(push);
                Ok(())
            });
        }
        let stream = LinkStream::new(Arc::clone(link));
        let greeting = MultiplexedConnection::new_with_config(&self.address.login, stream, config);
        let (handle, driver) =
            link.received.in_turns(greeting).await.map_err(|source| ConnectError::Redis { step: "handshake", source })?;
        let end = EndOfDriver { link: Arc::clone(link), why: LinkEnd::RuntimeEnded };
        self.network.spawn(Box::pin(async move {
            let mut end = end;
            end.link.received.in_turns(driver).await;
            end.why = LinkEnd::Lost;
        }));
        let runtime = Arc::clone(&self.network) as Arc<dyn Runtime>;
        let registry = Arc::clone(&self.close_registry);
        Ok(Box::new(RedisConnection::new(handle, Arc::clone(link), registry, runtime, self.args.command_timeout, protocol)))
    }

    async fn prepare(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        if let Some(name) = &self.args.client_name {
            let mut cmd = redis::cmd("CLIENT");
            cmd.arg("SETNAME").arg(name);
            let named = self.query(conn, &cmd).await;
            named.map_err(|source| ConnectError::Redis { step: "CLIENT SETNAME", source })?;
        }
        #[cfg(feature = "cluster")]
        if let Some(membership) = &self.membership {
            conn.enter_cluster(membership.cluster);
        }
        #[cfg(feature = "cluster")]
        if self.membership.as_ref().is_some_and(|membership| membership.reading) {
            let told = self.query(conn, &redis::cmd("READONLY")).await;
            told.map_err(|source| ConnectError::Redis { step: "READONLY", source })?;
        }
        #[cfg(feature = "cluster")]
        if self.membership.is_some() {
            // Of its nodes the cluster itself knows what they are.
            return self.ping(conn).await;
        }
        self.ping_and_ask_role(conn).await
    }

    /// The first PING, and with it, in the same round trip, what the server is. One that does not say so is as good.
    async fn ping_and_ask_role(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        let nonce = self.nonce();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("PING").arg(&nonce).cmd("ROLE");
        let send = async |handle: &mut MultiplexedConnection| handle.send_packed_commands(&pipeline, 0, 2).await;
        let mut answers = match conn.ask(Request::UNBOUNDED, Asked::Ours, send).await {
            Ok(answers) => answers.into_iter(),
            Err(error) => return judge_answer(Err(error), &nonce),
        };
        judge_answer(answers.next().unwrap_or(Value::Nil).extract_error(), &nonce)?;
        let role = answers.next().as_ref().map_or(Role::Unknown, Role::of);
        conn.link().note_role(role, &self.roles);
        Ok(())
    }

    /// A PING whose answer nothing else can give. LOADING answers HELLO, a server that wants a password answers RESP2
    /// connects, and a reply that is off by one looks like any other: this tells.
    async fn ping(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        let nonce = self.nonce();
        let mut cmd = redis::cmd("PING");
        cmd.arg(&nonce);
        judge_answer(self.query(conn, &cmd).await, &nonce)
    }

    /// A reply that has been outstanding for so long when a borrower leaves will not come. A caller's own timeout is often
    /// shorter than ours, and tells as much.
    fn longest_silence(&self) -> Duration {
        self.health_check_timeout / 2
    }

    fn nonce(&self) -> String {
        format!("{:016x}", self.nonce.fetch_add(1, Ordering::Relaxed))
    }

    /// Bounded by whoever drives the connect or the check.
    async fn query(&self, conn: &mut RedisConnection, cmd: &redis::Cmd) -> Result<Value, RedisError> {
        let reply = conn.ask(Request::UNBOUNDED, Asked::Ours, async |handle| handle.send_packed_command(cmd).await).await?;
        reply.extract_error()
    }
}

impl Connector for RedisConnector {
    /// Boxed: it is moved at every loan.
    type Connection = Box<RedisConnection>;
    type Error = ConnectFailure;

    async fn connect(&self) -> Result<Self::Connection, ConnectFailure> {
        self.open().await.map_err(|error| error.told(&self.secrets))
    }

    async fn check(&self, conn: &mut Self::Connection) -> Result<(), ConnectFailure> {
        self.ping(conn).await.map_err(|error| error.told(&self.secrets))
    }

    fn is_broken(&self, conn: &mut Self::Connection) -> bool {
        conn.is_broken(self.longest_silence())
    }

    fn is_silent(&self, conn: &mut Self::Connection) -> bool {
        conn.is_silent(self.longest_silence())
    }

    fn residue(&self, conn: &mut Self::Connection) -> Residue {
        conn.residue()
    }

    async fn clean(&self, conn: &mut Self::Connection) -> Result<(), ConnectFailure> {
        let cleaned = conn.clean(&self.nonce()).await;
        match cleaned.map_err(|source| ConnectError::Redis { step: "cleaning", source }) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ConnectError::Unclean.told(&self.secrets)),
            Err(error) => Err(error.told(&self.secrets)),
        }
    }

    fn watch(&self, conn: &mut Self::Connection, alarm: Alarm) {
        conn.link().watch(alarm);
    }

    fn kill_switch(&self, conn: &mut Self::Connection) -> Option<KillSwitch> {
        let link = Arc::clone(conn.link());
        Some(Box::new(move || link.end(LinkEnd::PoolsClosed)))
    }

    fn pool_closing(&self) {
        self.close_registry.close(&*self.network as &dyn Runtime);
    }

    fn unanswered(&self) -> Option<&'static str> {
        Some(Stage::of_last(&self.cut_off_at).unanswered())
    }

    fn is_permanent(&self, error: &ConnectFailure) -> bool {
        error.is_permanent
    }

    fn name(&self) -> String {
        self.address.name.clone()
    }
}

/// Whether this is the answer to a PING with that nonce, or as good.
fn judge_answer(answer: RedisResult<Value>, nonce: &str) -> Result<(), ConnectError> {
    match answer {
        Ok(Value::BulkString(bytes)) if bytes == nonce.as_bytes() => Ok(()),
        Ok(other) => Err(ConnectError::WrongAnswer { answer: format!("{other:?}") }),
        // They answer, so the link is alive: a script runs, or this user may not PING.
        Err(error) if matches!(error.code(), Some("BUSY" | "NOPERM")) => Ok(()),
        Err(source) => Err(ConnectError::Redis { step: "PING", source }),
    }
}

/// However the driver ends: the link is dead then. One that is dropped before its end has ended with its runtime.
struct EndOfDriver {
    link: Arc<Link>,
    why: LinkEnd,
}

impl Drop for EndOfDriver {
    fn drop(&mut self) {
        self.link.died(self.why);
    }
}
