//! A fake Redis at an address of the fake network: what drives the machine in `fake_redis`.

mod replicate;
mod shared;
mod tasks;

use std::any::Any;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use redis_manager_core::{Runtime, Spawn, Timer};

use crate::testing::fake_network::{FakeHost, FakeNetwork};
use crate::testing::fake_redis::{Behaviour, ConnectionSeen, LostWrite, Seen, Server};

use replicate::follow;
pub(in crate::testing) use replicate::{catch_up, hear_each_other};
use shared::HostState;
pub(in crate::testing) use shared::{ClusterBell, SharedServer};
use tasks::{accept, tick};

/// The port of a URL without one.
const DEFAULT_PORT: u16 = 6379;

/// A Redis in memory, at an address of a [`FakeNetwork`]. Dropping it ends it as `kill -9` does.
///
/// ```
/// use redis_manager::RedisManager;
/// use redis_manager::redis::AsyncCommands;
/// use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = FakeRuntime::new(42);
/// let network = FakeNetwork::new(&runtime);
/// let redis = FakeRedis::start(&network, "redis.test:6379")?;
/// let manager = RedisManager::builder().build(network)?;
/// runtime.block_on(async {
///     manager.add_node_pool("redis://redis.test").await?;
///     let mut client = manager.get_client("redis://redis.test").await?;
///     let () = client.set("key", "value").await?;
///     assert_eq!(client.get::<_, String>("key").await?, "value");
///     Ok::<_, redis_manager::redis::RedisError>(())
/// })?;
/// assert_eq!(redis.count_of("SET"), 1);
/// # Ok(())
/// # }
/// ```
///
/// It speaks RESP2 and RESP3 and has the commands that services use, on strings, hashes, lists, sets, sorted sets and streams, with
/// expiry, transactions, pub/sub and users. It can be a replica of another one; for a cluster see
/// [`FakeCluster`](super::FakeCluster). It has no Lua. Replies, also of errors, are those of Redis 7.0: a test compares them.
pub struct FakeRedis {
    shared: Arc<SharedServer>,
}

impl FakeRedis {
    /// Starts a server at `name:port`, `address:port`, or at a name or address alone with the port 6379. A name that the network does
    /// not know resolves to a new address from now on.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the port is not a number. `AddrInUse` if that port of the first address of the name is served already.
    pub fn start(network: &FakeNetwork, name: &str) -> io::Result<Self> {
        let (host, port) = split(name)?;
        let address = SocketAddr::new(network.address_of_name(host), port);
        let mut server = Server::new(network.seed());
        server.set_own_address(&address.ip().to_string(), port, network.seed());
        let url_host = if address.is_ipv6() && host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let state = HostState::new(server, address);
        let name = format!("{url_host}:{port}");
        let server =
            Self { shared: SharedServer::create(network.clone(), name, state, |shared, start| Box::pin(follow(shared, start))) };
        server.listen()?;
        Ok(server)
    }

    /// Its URL, `redis://name:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.shared.name)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The way to it: latency, cuts, black holes.
    #[must_use]
    pub fn host(&self) -> FakeHost {
        self.shared.network.host(self.shared.address())
    }

    /// Ends it as `kill -9` does: connections are closed by the kernel, dials are refused, the data stays for
    /// [`start_again`](Self::start_again).
    pub fn kill(&self) {
        self.end();
        self.host().end_server();
    }

    /// Its machine loses the power: nothing is closed and nothing answered, dials neither.
    pub fn vanish(&self) {
        self.end();
        self.host().lose_server();
    }

    /// Starts it again with the data that it had, if it was ended.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another server listens there meanwhile.
    pub fn start_again(&self) -> io::Result<()> {
        if self.shared.lock().is_up {
            return Ok(());
        }
        self.host().heal();
        self.host().freeze_server(false);
        self.listen()
    }

    /// Stops its process as SIGSTOP does: connections are still accepted by the kernel, nothing is read or written.
    pub fn freeze(&self) {
        self.shared.lock().is_frozen = true;
        self.host().freeze_server(true);
    }

    /// The process goes on, as after SIGCONT.
    pub fn thaw(&self) {
        self.shared.lock().is_frozen = false;
        self.host().freeze_server(false);
        self.shared.act(|server, _| server.make_news());
    }

    /// How long it works on what it reads at once, one connection after the other. 0 at first.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Changes what the server honours and refuses: passwords, `maxclients`, loading, read-only and so on.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        self.shared.act(|server, _| change(server.settings()));
    }

    /// Sends bytes that no command has asked for to a connection, by its id.
    pub fn send_unasked(&self, connection: u64, bytes: &[u8]) {
        let sender = self.shared.lock().senders.get(&connection).cloned();
        if let Some(sender) = sender {
            sender.send(bytes);
        }
    }

    /// Its connections, by their ids.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionSeen> {
        self.shared.lock().server.connections()
    }

    /// The latest commands, the oldest one first.
    #[must_use]
    pub fn journal(&self) -> Vec<Seen> {
        self.shared.lock().server.journal().to_vec()
    }

    /// How often a command was carried out, by its name in upper case.
    #[must_use]
    pub fn count_of(&self, command: &str) -> u64 {
        self.shared.lock().server.count_of(command)
    }

    /// Messages that were published without a subscriber.
    #[must_use]
    pub fn pushed_to_nobody(&self) -> u64 {
        self.shared.lock().server.pushed_to_nobody()
    }

    /// Makes it a replica of a server, or, with None, a primary with the data that it has; as REPLICAOF does.
    ///
    /// The data of the primary is copied at once if it is reached; later writes arrive after
    /// [`set_replication_delay`](Self::set_replication_delay).
    pub fn replicate(&self, primary: Option<&FakeRedis>) {
        let address = primary.map(|primary| (primary.address().ip().to_string(), primary.address().port()));
        self.shared.act(|server, now| server.follow(now, address));
    }

    /// How long a write is under way from its primary. 1 ms at first.
    pub fn set_replication_delay(&self, delay: Duration) {
        self.shared.lock().replication_delay = delay;
    }

    /// For how long it answers `LOADING` after each [`start_again`](Self::start_again). 0 at first.
    pub fn set_loading_time(&self, time: Duration) {
        self.shared.lock().loading_time = time;
    }

    /// Publishes a message to the subscribers of a channel, as a client's PUBLISH does. The result is how many got it.
    pub fn publish(&self, channel: &str, message: impl AsRef<[u8]>) -> usize {
        self.shared.act(|server, _| server.publish(channel.as_bytes(), message.as_ref()))
    }

    /// Writes that were carried out and that no server has any more, because it has become a replica of one that never got them.
    #[must_use]
    pub fn lost_writes(&self) -> Vec<LostWrite> {
        self.shared.lock().server.lost_writes()
    }

    pub(in crate::testing) fn shared(&self) -> &Arc<SharedServer> {
        &self.shared
    }

    /// It is ended, and listens at another address when it is started again.
    pub(in crate::testing) fn move_to(&self, address: SocketAddr) {
        self.kill();
        self.shared.lock().address = address;
    }

    fn listen(&self) -> io::Result<()> {
        let listener = self.shared.network.listen(self.address())?;
        let now = self.shared.network.now();
        let mut state = self.shared.lock();
        state.start += 1;
        (state.is_up, state.is_frozen, state.busy_until) = (true, false, now);
        if state.start > 1 {
            let loaded_at = now + state.loading_time;
            state.server.restart(now, true);
            state.server.load_until(loaded_at);
        }
        let start = state.start;
        drop(state);
        let shared = Arc::downgrade(&self.shared);
        let owner: Weak<dyn Any + Send + Sync> = Weak::<SharedServer>::clone(&shared);
        self.shared.network.set_owner(self.address(), owner);
        self.shared.network.spawn(Box::pin(accept(Weak::clone(&shared), listener, start)));
        self.shared.network.spawn(Box::pin(tick(shared, start)));
        self.shared.act(|server, _| server.make_news());
        Ok(())
    }

    /// The tasks of this start end.
    fn end(&self) {
        let mut state = self.shared.lock();
        state.is_up = false;
        state.start += 1;
        let senders = std::mem::take(&mut state.senders);
        let mut woken = state.take_watchers();
        woken.extend([state.ticker.take(), state.follower.take()].into_iter().flatten());
        drop(state);
        drop(senders);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for FakeRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRedis").field("name", &self.shared.name).field("address", &self.address()).finish_non_exhaustive()
    }
}

/// Host and port; a port is at the end, behind the brackets of an IPv6 address.
fn split(name: &str) -> io::Result<(&str, u16)> {
    if name.parse::<IpAddr>().is_ok() {
        return Ok((name, DEFAULT_PORT));
    }
    let Some((host, port)) = name.rsplit_once(':') else { return Ok((name, DEFAULT_PORT)) };
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {port:?} is not a port"));
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port.parse().map_err(wrong)?))
}
