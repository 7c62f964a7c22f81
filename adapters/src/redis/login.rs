//! What is said on a new connection before it is lent: the protocol, who we are, which database, and a PING at the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value};
use redis_manager_core::Runtime;

use crate::redis_node::address::Endpoint;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::connection::RedisConnection;
use crate::redis_node::connector::RedisConnector;
use crate::redis_node::error::{ConnectError, says};
use crate::redis_node::pool_args::Handshake;
use crate::redis_node::reply_class::RequestRef;
use crate::redis_node::roles::Role;
use crate::redis_node::session::Session;
use crate::redis_node::sign_of_life::judge;
use crate::redis_node::socket::Socket;
use crate::redis_node::socket::socket_io::SocketIo;
use crate::redis_node::socket_end::SocketEnd;
use crate::stream::BoxStream;

/// Commands that wait for the redis driver before those who send more wait for each other; that matters to shared clients.
const MOST_QUEUED: usize = 1_024;
/// What a server has said before it hung up has arrived, or does not come any more.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(20);

/// What may be wrong with a server that hangs up without an answer.
const WANTS_TLS: &str = "as a port does that wants TLS (rediss://)";
const IS_A_PROXY: &str =
    "as a proxy does that knows neither HELLO nor CLIENT (try ?protocol=resp2 with pool_args.handshake = Handshake::Least)";
const WANTS_TLS_OR_IS_A_PROXY: &str = "as a port does that wants TLS (rediss://), or a proxy that knows neither HELLO nor CLIENT \
                                       (try ?protocol=resp2 with pool_args.handshake = Handshake::Least)";

/// What depends on the reply to a command of the login.
#[derive(Clone, Copy, Debug)]
enum ReplyUse {
    /// Nothing: it is sent for the comfort of whoever looks at the server.
    Comfort,
    /// What the server is; one that does not say so is as good.
    Role,
    /// All: without it the connection is of no use.
    Need(&'static str),
}

impl RedisConnector {
    /// All that comes once there is a stream to speak Redis on.
    pub(crate) async fn log_in(&self, stream: BoxStream) -> Result<Box<RedisConnection>, ConnectError> {
        let socket = Socket::new(stream, Arc::clone(&self.secrets), Arc::clone(&self.node));
        let greeted = self.greet(&socket).await;
        // Whatever comes later is noted anew.
        let heard = socket.has_heard();
        let introduced = match greeted {
            Ok(mut conn) => self.introduce(&mut conn).await.map(|()| conn),
            Err(error) => Err(error),
        };
        match introduced {
            Ok(conn) => {
                socket.logged_in();
                Ok(conn)
            }
            Err(error) => Err(self.explain(error, &socket, heard || socket.has_heard()).await),
        }
    }

    /// What it means that a login failed, where the error itself does not say.
    async fn explain(&self, error: ConnectError, socket: &Socket, heard: bool) -> ConnectError {
        let ConnectError::Redis { step, source } = error else { return error };
        let is_plain = matches!(self.address.place, Endpoint::Tcp { tls: None, .. });
        if is_plain && socket.speaks_tls() {
            return ConnectError::WantsTls { step };
        }
        if !source.is_io_error() {
            return ConnectError::Redis { step, source };
        }
        if let Some(words) = socket.last_words(self.network.sleep(LAST_WORDS_WITHIN)).await {
            return ConnectError::LastWords { step, words };
        }
        let bends = self.args.handshake != Handshake::Least || self.address.login.protocol() != ProtocolVersion::RESP2;
        match (heard, is_plain, bends) {
            (false, true, true) => ConnectError::NoAnswer { step, meaning: WANTS_TLS_OR_IS_A_PROXY, source },
            (false, true, false) => ConnectError::NoAnswer { step, meaning: WANTS_TLS, source },
            (false, false, true) => ConnectError::NoAnswer { step, meaning: IS_A_PROXY, source },
            (false, false, false) | (true, _, _) => ConnectError::Redis { step, source },
        }
    }

    /// Says hello if RESP3 is wanted. Where that is not known, RESP2 is spoken on the same stream.
    async fn greet(&self, socket: &Arc<Socket>) -> Result<Box<RedisConnection>, ConnectError> {
        let protocol = self.address.login.protocol();
        match self.open(socket, protocol).await {
            Err(ConnectError::Redis { source, .. }) if protocol != ProtocolVersion::RESP2 && self.is_unknown_hello(&source) => {
                match self.address.demands_resp3 {
                    true => Err(ConnectError::NoResp3),
                    false => self.open(socket, ProtocolVersion::RESP2).await,
                }
            }
            opened => opened,
        }
    }

    /// Whether HELLO is not known. Before a login some servers say no more than that there has to be one, even where HELLO
    /// has just brought it.
    fn is_unknown_hello(&self, error: &RedisError) -> bool {
        says::unknown_hello(error) || (self.address.login.password().is_some() && error.code() == Some("NOAUTH"))
    }

    /// Makes a connection of the stream, with HELLO and who we are for RESP3, and with nothing said for RESP2. The redis
    /// driver runs as a task of its own from then on.
    async fn open(&self, socket: &Arc<Socket>, protocol: ProtocolVersion) -> Result<Box<RedisConnection>, ConnectError> {
        // No timeouts of redis-rs: it would look for a runtime of its own choice at every command.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(MOST_QUEUED);
        // All but HELLO is said by ourselves: redis-rs keeps the server's words to itself, or says more than is wanted.
        let mut hello = RedisConnectionInfo::default().set_skip_set_lib_name().set_protocol(protocol);
        if protocol != ProtocolVersion::RESP2 {
            let inbox = Arc::clone(socket);
            config = config.set_push_sender(move |push: PushInfo| -> Result<(), Infallible> {
                inbox.push(push);
                Ok(())
            });
            hello = self.address.login.clone().set_skip_set_lib_name().set_db(0);
        }
        socket.buffers().set_bound(self.args.max_idle_buffer);
        let stream = SocketIo::new(Arc::clone(socket));
        let greeting = MultiplexedConnection::new_with_config(&hello, stream, config);
        let (handle, driver) =
            socket.received.in_turns(greeting).await.map_err(|source| ConnectError::Redis { step: "handshake", source })?;
        let end = EndOfDriver { socket: Arc::clone(socket), why: SocketEnd::RuntimeEnded };
        self.network.spawn(Box::pin(async move {
            let mut end = end;
            end.socket.received.in_turns(driver).await;
            end.why = SocketEnd::Lost;
        }));
        let runtime = Arc::clone(&self.network) as Arc<dyn Runtime>;
        let (registry, contention) = (Arc::clone(&self.close_registry), Arc::clone(&self.contention));
        let session = Session::fresh(&self.args, protocol, self.address.login.db());
        Ok(Box::new(RedisConnection::new(handle, Arc::clone(socket), registry, runtime, contention, session)))
    }

    async fn introduce(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        #[cfg(feature = "cluster")]
        if let Some(membership) = &self.membership {
            conn.enter_cluster(membership.cluster);
        }
        let user = self.address.login.username();
        match self.introduce_as(user, conn).await {
            // Before Redis 6 there is but one user, who has no name.
            Err(ConnectError::Redis { step: "AUTH", source }) if user.is_some() && says::wrong_count(&source) => {
                self.introduce_as(None, conn).await
            }
            introduced => introduced,
        }
    }

    /// All in one round trip, each reply judged by what depends on it.
    async fn introduce_as(&self, user: Option<&str>, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        let (mut pipeline, mut matters) = (Pipeline::new(), Vec::new());
        let login = &self.address.login;
        if let Some(password) = login.password().filter(|_| conn.protocol() == ProtocolVersion::RESP2) {
            pipeline.cmd("AUTH").arg(user).arg(password);
            matters.push(ReplyUse::Need("AUTH"));
        }
        if login.db() != 0 {
            pipeline.cmd("SELECT").arg(login.db());
            matters.push(ReplyUse::Need("SELECT"));
        }
        if self.args.handshake == Handshake::Full {
            pipeline.cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg(env!("CARGO_PKG_NAME"));
            pipeline.cmd("CLIENT").arg("SETINFO").arg("LIB-VER").arg(env!("CARGO_PKG_VERSION"));
            matters.extend([ReplyUse::Comfort; 2]);
            if let Some(name) = &self.args.client_name {
                pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
                matters.push(ReplyUse::Comfort);
            }
        }
        #[cfg(feature = "cluster")]
        if self.membership.as_ref().is_some_and(|membership| membership.reading) {
            pipeline.cmd("READONLY");
            matters.push(ReplyUse::Need("READONLY"));
        }
        let asks_role = self.asks_role();
        if asks_role {
            pipeline.cmd("ROLE");
            matters.push(ReplyUse::Role);
        }
        let nonce = self.nonce_of_ping();
        pipeline.cmd("PING").arg(nonce.as_deref());
        let count = pipeline.len();
        let send = async |handle: &mut MultiplexedConnection| handle.send_packed_commands(&pipeline, 0, count).await;
        let replies = conn.ask(CommandProfile::UNBOUNDED, RequestRef::Ours, send).await;
        let mut replies = replies.map_err(|source| ConnectError::Redis { step: "handshake", source })?;
        let pong = replies.pop().unwrap_or(Value::Nil);
        let mut role = Role::Unknown;
        for (matter, reply) in matters.into_iter().zip(replies) {
            match (matter, reply) {
                (ReplyUse::Need(step), Value::ServerError(error)) => {
                    return Err(ConnectError::Redis { step, source: error.into() });
                }
                (ReplyUse::Role, reply) => role = Role::of(&reply),
                (ReplyUse::Need(_) | ReplyUse::Comfort, _) => {}
            }
        }
        conn.echo = judge(pong, nonce.as_deref(), conn.echo)?;
        if asks_role {
            conn.socket().note_role(role, &self.roles);
        }
        Ok(())
    }

    /// Of its nodes a cluster itself knows what they are, and a proxy that knows little is none of both.
    fn asks_role(&self) -> bool {
        #[cfg(feature = "cluster")]
        if self.membership.is_some() {
            return false;
        }
        self.args.handshake == Handshake::Full
    }

    /// A PING whose answer nothing else can give. LOADING answers HELLO, a server that wants a password answers RESP2
    /// connects, and a reply that is off by one looks like any other: this tells.
    pub(crate) async fn ping(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        let nonce = self.nonce_of_ping();
        let mut cmd = redis::cmd("PING");
        cmd.arg(nonce.as_deref());
        // Bounded by whoever drives the check.
        let reply =
            conn.ask(CommandProfile::UNBOUNDED, RequestRef::Ours, async |handle| handle.send_packed_command(&cmd).await).await;
        let reply = reply.map_err(|source| ConnectError::Redis { step: "PING", source })?;
        conn.echo = judge(reply, nonce.as_deref(), conn.echo)?;
        Ok(())
    }

    /// Proxies that know no argument hang up.
    fn nonce_of_ping(&self) -> Option<String> {
        match self.args.handshake {
            Handshake::Full => Some(self.nonce()),
            Handshake::Least => None,
        }
    }
}

/// However the driver ends: the socket is dead then. One that is dropped before its end has ended with its runtime.
struct EndOfDriver {
    socket: Arc<Socket>,
    why: SocketEnd,
}

impl Drop for EndOfDriver {
    fn drop(&mut self) {
        // A panic of the driver's is not the end of its runtime.
        self.socket.driver_ended(if std::thread::panicking() { SocketEnd::Lost } else { self.why });
    }
}
