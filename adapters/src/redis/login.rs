//! The login on a new connection before it is lent: protocol, user, database, and a PING at the end.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, ProtocolVersion, RedisError, Value};
use redis_manager_core::Runtime;

use crate::connection::resp::answer::Replies;
use crate::connection::resp::parser::ReplyLimits;
use crate::connection::resp::request::Outgoing;
use crate::connection::resp::wire_limits::WireLimits;
use crate::redis_node::address::Endpoint;
use crate::redis_node::command_profile::CommandProfile;
use crate::redis_node::connection::RedisConnection;
use crate::redis_node::connector::RedisConnector;
use crate::redis_node::error::{ConnectError, says};
use crate::redis_node::pool_args::Handshake;
use crate::redis_node::reply_class::Author;
use crate::redis_node::roles::Role;
use crate::redis_node::session::Session;
use crate::redis_node::sign_of_life::judge;
use crate::redis_node::socket::Socket;
use crate::stream::BoxStream;

/// What CLIENT LIST shows, by the convention for layers on a library: the library, and the layer with its version.
const LIBRARY: &str = concat!("redis-rs(redis-manager_v", env!("CARGO_PKG_VERSION"), ")");
/// The version of the redis crate whose commands and values are used. A test compares it with Cargo.lock.
const REDIS_CRATE: &str = "1.8";
/// Requests that may be outstanding on a connection. Senders beyond that wait in order; this matters for shared clients only.
const MOST_IN_FLIGHT: usize = 16 * 1_024;
/// Bytes that may wait for the stream. Senders beyond that wait in order.
const MOST_UNSENT: usize = 4 * 1_024 * 1_024;
/// How deeply a reply may be nested: as deeply as the redis crate allows.
const MOST_NESTED: usize = 100;
/// An error that the server sent before it closed the connection arrives within this time, or not at all.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(20);

/// Possible reasons why a server closes the connection without an answer.
const WANTS_TLS: &str = "the port may need TLS (rediss://)";
const IS_A_PROXY: &str = "it may be a proxy that supports neither HELLO nor CLIENT (try ?protocol=resp2 with \
                          pool_args.handshake = Handshake::Least)";
const WANTS_TLS_OR_IS_A_PROXY: &str = "the port may need TLS (rediss://), or be a proxy that supports neither HELLO nor \
                                       CLIENT (try ?protocol=resp2 with pool_args.handshake = Handshake::Least)";

/// What the reply to a command of the login is needed for.
#[derive(Clone, Copy, Debug)]
enum ReplyUse {
    /// Nothing: the command only helps people who look at the server.
    Comfort,
    /// The role of the server. A server that does not name it is accepted.
    Role,
    /// The connection is unusable if the command fails.
    Need(&'static str),
}

impl RedisConnector {
    /// Everything between the open stream and the usable connection.
    pub(crate) async fn log_in(&self, stream: BoxStream) -> Result<Box<RedisConnection>, ConnectError> {
        let limits = WireLimits {
            reply: ReplyLimits { max_bytes: self.args.max_reply_size, max_depth: MOST_NESTED },
            in_flight: MOST_IN_FLIGHT,
            unsent: MOST_UNSENT,
            kept_buffer: self.args.max_idle_buffer,
        };
        self.watcher.start(&*self.network);
        let (secrets, node, counters) = (Arc::clone(&self.secrets), Arc::clone(&self.node), Arc::clone(&self.counters));
        let socket = Socket::new(stream, limits, &self.watcher, secrets, node, counters);
        let introduced = match self.greet(&socket).await {
            Ok(mut conn) => self.introduce(&mut conn).await.map(|()| conn),
            Err(error) => Err(error),
        };
        match introduced {
            Ok(conn) => match socket.protocol_fault() {
                None => {
                    socket.logged_in();
                    Ok(conn)
                }
                Some(fault) => Err(ConnectError::AfterLogin { fault }),
            },
            Err(error) => Err(self.explain(error, &socket).await),
        }
    }

    /// Explains a failed login if the error itself does not.
    async fn explain(&self, error: ConnectError, socket: &Socket) -> ConnectError {
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
        match (socket.has_received(), is_plain, bends) {
            (false, true, true) => ConnectError::NoAnswer { step, meaning: WANTS_TLS_OR_IS_A_PROXY, source },
            (false, true, false) => ConnectError::NoAnswer { step, meaning: WANTS_TLS, source },
            (false, false, true) => ConnectError::NoAnswer { step, meaning: IS_A_PROXY, source },
            (false, false, false) | (true, _, _) => ConnectError::Redis { step, source },
        }
    }

    /// Makes a connection of the stream. Sends HELLO with the login if RESP3 is wanted. If the server does not support it, RESP2
    /// is used on the same stream, without any command.
    async fn greet(&self, socket: &Arc<Socket>) -> Result<Box<RedisConnection>, ConnectError> {
        let protocol = self.address.login.protocol();
        if protocol == ProtocolVersion::RESP2 {
            return Ok(self.connection_on(socket, protocol));
        }
        let mut conn = self.connection_on(socket, protocol);
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = self.address.login.password() {
            hello.arg("AUTH").arg(self.address.login.username().unwrap_or("default")).arg(password);
        }
        let greeted = conn.ask(CommandProfile::UNBOUNDED, Outgoing::Command(&hello), Author::Ours).await;
        let source = match greeted.and_then(Replies::into_value).and_then(Value::extract_error) {
            Ok(_) => return Ok(conn),
            Err(source) => source,
        };
        match self.is_unknown_hello(&source) {
            true if self.address.demands_resp3 => Err(ConnectError::NoResp3),
            true => {
                conn.speak(ProtocolVersion::RESP2);
                Ok(conn)
            }
            false => Err(ConnectError::Redis { step: "handshake", source }),
        }
    }

    /// Whether the server does not support HELLO. Without a login, some servers reply only that one is required, even to a
    /// HELLO that contains it.
    fn is_unknown_hello(&self, error: &RedisError) -> bool {
        says::unknown_hello(error) || (self.address.login.password().is_some() && error.code() == Some("NOAUTH"))
    }

    fn connection_on(&self, socket: &Arc<Socket>, protocol: ProtocolVersion) -> Box<RedisConnection> {
        let runtime = Arc::clone(&self.network) as Arc<dyn Runtime>;
        let (registry, contention) = (Arc::clone(&self.close_registry), Arc::clone(&self.contention));
        let session = Session::fresh(&self.args, protocol, self.address.login.db());
        Box::new(RedisConnection::new(Arc::clone(socket), registry, runtime, contention, session))
    }

    async fn introduce(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        if let Some(membership) = &self.membership {
            conn.report_redirections(Arc::clone(&membership.redirections));
        }
        let user = self.address.login.username();
        match self.introduce_as(user, conn).await {
            // Before Redis 6 there is one user, without a name.
            Err(ConnectError::Redis { step: "AUTH", source }) if user.is_some() && says::wrong_count(&source) => {
                self.introduce_as(None, conn).await
            }
            introduced => introduced,
        }
    }

    /// All commands in one round trip; each reply is judged by its use.
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
            pipeline.cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg(LIBRARY);
            pipeline.cmd("CLIENT").arg("SETINFO").arg("LIB-VER").arg(REDIS_CRATE);
            matters.extend([ReplyUse::Comfort; 2]);
            if let Some(name) = &self.args.client_name {
                pipeline.cmd("CLIENT").arg("SETNAME").arg(name);
                matters.push(ReplyUse::Comfort);
            }
            if self.target.is_some() {
                // A replica then answers with the address of its primary. Valkey knows this from version 8 on.
                pipeline.cmd("CLIENT").arg("CAPA").arg("redirect");
                matters.push(ReplyUse::Comfort);
            }
        }
        if self.membership.as_ref().is_some_and(|membership| membership.reads) {
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
        let request = Outgoing::whole(&pipeline);
        let replies = conn.ask(CommandProfile::UNBOUNDED, request, Author::Ours).await;
        let replies = replies.and_then(|answer| answer.into_values(request));
        let mut replies = replies.map_err(|source| ConnectError::Redis { step: "handshake", source })?;
        let pong = replies.pop().unwrap_or(Value::Nil);
        let mut role = Role::Unknown;
        for (matter, reply) in matters.into_iter().zip(replies) {
            match (matter, reply) {
                (ReplyUse::Need(step), Value::ServerError(error)) => {
                    return Err(ConnectError::Redis { step, source: error.into() });
                }
                (ReplyUse::Role, reply) => {
                    role = Role::of(&reply);
                    if self.target.is_some() && role != Role::Primary {
                        return Err(ConnectError::NotPrimary { says: self.what_says_no(role, reply) });
                    }
                }
                (ReplyUse::Need(_) | ReplyUse::Comfort, _) => {}
            }
        }
        conn.echo = judge(pong, nonce.as_deref(), conn.echo)?;
        if asks_role {
            conn.socket().note_role(role, &self.roles);
        }
        Ok(())
    }

    /// Not in a cluster, where its nodes report the roles, and not with proxies, which have none. Always where sentinels say that
    /// it is a primary.
    fn asks_role(&self) -> bool {
        (self.membership.is_none() && self.args.handshake == Handshake::Full) || self.target.is_some()
    }

    fn what_says_no(&self, role: Role, reply: Value) -> String {
        match (role, reply.extract_error()) {
            (Role::Replica, _) => String::from("the server says that it is a replica"),
            (Role::Primary | Role::Unknown, Ok(_)) => String::from("the server does not say what it is"),
            (Role::Primary | Role::Unknown, Err(error)) => format!("ROLE failed: {error}"),
        }
    }

    /// A PING with an answer that no other command has. It finds servers that load their data but answer HELLO, servers that
    /// need a password but accept RESP2 connects, and replies that are off by one.
    pub(crate) async fn ping(&self, conn: &mut RedisConnection) -> Result<(), ConnectError> {
        let nonce = self.nonce_of_ping();
        let mut cmd = redis::cmd("PING");
        cmd.arg(nonce.as_deref());
        // Limited by the caller of the check.
        let reply = conn.ask(CommandProfile::UNBOUNDED, Outgoing::Command(&cmd), Author::Ours).await;
        let reply = reply.and_then(Replies::into_value).map_err(|source| ConnectError::Redis { step: "PING", source })?;
        conn.echo = judge(reply, nonce.as_deref(), conn.echo)?;
        Ok(())
    }

    /// Proxies that do not support an argument close the connection.
    fn nonce_of_ping(&self) -> Option<String> {
        match self.args.handshake {
            Handshake::Full => Some(self.nonce()),
            Handshake::Least => None,
        }
    }
}
