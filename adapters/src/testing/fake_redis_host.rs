//! A fake Redis at an address of the fake network: what drives the machine in `fake_redis`.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tokio::io::{AsyncRead, ReadBuf};
use redis_manager_core::{Instant, Spawn, Task, Timer};

use crate::testing::fake_network::{FakeHost, FakeListener, FakeNetwork, FakeSender, FakeStream};
use crate::testing::fake_redis::{Behaviour, ConnectionId, ConnectionSeen, Output, Seen, Server};

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
/// expiry, transactions, pub/sub and users. It has no Lua. Replies, also of errors, are those of Redis 7.0: a test compares them.
pub struct FakeRedis {
    shared: Arc<SharedServer>,
}

struct SharedServer {
    network: FakeNetwork,
    address: SocketAddr,
    name: String,
    state: Mutex<HostState>,
}

struct HostState {
    server: Server,
    senders: BTreeMap<ConnectionId, FakeSender>,
    /// Counts the starts: tasks of a former start end.
    start: u64,
    is_up: bool,
    is_frozen: bool,
    delay: Duration,
    /// When a slow server has done what it was asked for.
    busy_until: Instant,
    /// Of the task that ticks.
    ticker: Option<Waker>,
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
        let state = HostState {
            server: Server::new(redis_manager_core::Runtime::seed(network)),
            senders: BTreeMap::new(),
            start: 0,
            is_up: false,
            is_frozen: false,
            delay: Duration::ZERO,
            busy_until: Instant::ZERO,
            ticker: None,
        };
        let url_host = if address.is_ipv6() && host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let shared =
            SharedServer { network: network.clone(), address, name: format!("{url_host}:{port}"), state: Mutex::new(state) };
        let server = Self { shared: Arc::new(shared) };
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
        self.shared.address
    }

    /// The way to it: latency, cuts, black holes.
    #[must_use]
    pub fn host(&self) -> FakeHost {
        self.shared.network.host(self.shared.address)
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
        self.shared.act(|_, _| ());
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

    fn listen(&self) -> io::Result<()> {
        let listener = self.shared.network.listen(self.shared.address)?;
        let now = self.shared.network.now();
        let mut state = self.shared.lock();
        state.start += 1;
        (state.is_up, state.busy_until) = (true, now);
        if state.start > 1 {
            state.server.restart(now, true);
        }
        let start = state.start;
        drop(state);
        let shared = Arc::downgrade(&self.shared);
        self.shared.network.spawn(Box::pin(accept(Weak::clone(&shared), listener, start)));
        self.shared.network.spawn(Box::pin(tick(shared, start)));
        Ok(())
    }

    /// The tasks of this start end.
    fn end(&self) {
        let mut state = self.shared.lock();
        state.is_up = false;
        state.start += 1;
        let senders = std::mem::take(&mut state.senders);
        let ticker = state.ticker.take();
        drop(state);
        drop(senders);
        ticker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for FakeRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRedis")
            .field("name", &self.shared.name)
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl SharedServer {
    fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the machine an input, and sends what it puts out.
    fn act<R>(&self, input: impl FnOnce(&mut Server, Instant) -> R) -> R {
        let now = self.network.now();
        let mut state = self.lock();
        let result = input(&mut state.server, now);
        let mut outputs = Vec::new();
        while let Some(output) = state.server.poll_output() {
            match output {
                Output::Send(id, bytes) => outputs.extend(state.senders.get(&id).map(|sender| (sender.clone(), Some(bytes)))),
                Output::Close(id) => outputs.extend(state.senders.remove(&id).map(|sender| (sender, None))),
            }
        }
        let ticker = state.ticker.take();
        drop(state);
        for (sender, bytes) in outputs {
            match bytes {
                Some(bytes) => sender.send(&bytes),
                None => sender.close(),
            }
        }
        ticker.into_iter().for_each(Waker::wake);
        result
    }

    /// When the work on what was read now is done; an error is when the server may be free.
    fn work(&self) -> Result<Instant, Instant> {
        let now = self.network.now();
        let mut state = self.lock();
        if state.busy_until > now {
            return Err(state.busy_until);
        }
        state.busy_until = now + state.delay;
        Ok(state.busy_until)
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

/// The server of this start, while it lives.
fn of_start(shared: &Weak<SharedServer>, start: u64) -> Option<Arc<SharedServer>> {
    let shared = shared.upgrade()?;
    let is_current = shared.lock().start == start;
    is_current.then_some(shared)
}

async fn accept(shared: Weak<SharedServer>, listener: FakeListener, start: u64) {
    loop {
        let accepted = poll_fn(|cx| match of_start(&shared, start) {
            Some(_) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        });
        let Some(stream) = accepted.await else { return };
        let Some(server) = of_start(&shared, start) else { return };
        let sender = stream.sender();
        let peer = format!("10.255.255.254:{}", 32_768 + stream.number() % 32_768);
        // The refusal of one connection too many is sent before its end.
        let now = server.network.now();
        let mut state = server.lock();
        let Some(id) = state.server.connected(now, &peer) else { continue };
        state.senders.insert(id, sender);
        drop(state);
        server.act(|_, _| ());
        let connection = serve(Weak::clone(&shared), stream, id, start);
        server.network.spawn(Box::pin(connection));
    }
}

async fn serve(shared: Weak<SharedServer>, mut stream: FakeStream, id: ConnectionId, start: u64) {
    let mut space = vec![0; 16 << 10];
    loop {
        let read = poll_fn(|cx| read_some(&mut stream, cx, &mut space)).await;
        let Some(server) = of_start(&shared, start) else { return };
        let Ok(count @ 1..) = read else {
            server.lock().senders.remove(&id);
            server.act(|machine, now| machine.closed(now, id));
            return;
        };
        drop(server);
        if !work(&shared, start).await {
            return;
        }
        let Some(server) = of_start(&shared, start) else { return };
        server.act(|machine, now| machine.received(now, id, &space[..count]));
    }
}

/// Waits until a slow server is free and has done its work; false after the end of this start.
async fn work(shared: &Weak<SharedServer>, start: u64) -> bool {
    loop {
        let Some(server) = of_start(shared, start) else { return false };
        let (at, is_done) = match server.work() {
            Ok(at) => (at, true),
            Err(at) => (at, false),
        };
        if at <= server.network.now() {
            return true;
        }
        let wait = server.network.sleep_until(at);
        drop(server);
        wait.await;
        if is_done {
            return true;
        }
    }
}

fn read_some(stream: &mut FakeStream, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(space);
    std::pin::Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
}

/// Lets keys expire and commands that block time out.
async fn tick(shared: Weak<SharedServer>, start: u64) {
    let mut sleep: Option<(Instant, Task)> = None;
    poll_fn(|cx| {
        loop {
            let Some(server) = of_start(&shared, start) else { return Poll::Ready(()) };
            let mut state = server.lock();
            state.ticker = Some(cx.waker().clone());
            let due = if state.is_frozen { None } else { state.server.next_deadline() };
            drop(state);
            let Some(due) = due else {
                sleep = None;
                return Poll::Pending;
            };
            let kept = sleep.take().filter(|(at, _)| *at == due);
            let (_, waiting) = sleep.insert(kept.unwrap_or_else(|| (due, server.network.sleep_until(due))));
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            sleep = None;
            // `act` wakes this task, which is polled again then: nothing is left for it to do.
            server.act(|machine, now| machine.tick(now));
        }
    })
    .await;
}
