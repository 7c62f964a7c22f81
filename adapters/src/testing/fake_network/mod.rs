//! A network in memory, on the virtual clock: names, addresses and byte streams, and what may go wrong with them.

mod address;
mod conditions;
mod host;
mod links;
mod pipe;
mod stream;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis_manager_core::testing::FakeRuntime;
use redis_manager_core::{Instant, Runtime, Spawn, Task, Timer};

use crate::network::{Network, Reply};
use crate::stream::BoxStream;
use crate::tcp_options::TcpOptions;

use address::HostAddress;
pub use conditions::{Cut, Direction, LinkConditions};
pub use host::FakeHost;
use links::{NetworkState, Side};
pub(crate) use stream::FakeSender;
pub use stream::{FakeListener, FakeStream};

/// `EMFILE`: what a dial gets when the process has no file descriptor left.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// When a dial without an answer is sent again for the first time; then after twice as long, and so on.
const SENT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A network in memory on a [`FakeRuntime`]; the runtime of a manager in a test. Clones share the same network.
///
/// ```
/// use redis_manager::RedisManager;
/// use redis_manager::testing::{FakeNetwork, FakeRuntime};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = FakeRuntime::new(42);
/// let network = FakeNetwork::new(&runtime);
/// let manager = RedisManager::builder().build(network)?;
/// // Nobody serves this address: refused, until the call gives up after 10 virtual seconds.
/// let error = runtime.block_on(manager.add_node_pool("redis://10.0.0.1")).expect_err("refused");
/// assert!(error.is_unavailable());
/// # Ok(())
/// # }
/// ```
///
/// Everything happens in the order that the seed of the runtime draws. A name that was never set does not resolve. An address that
/// nobody listens on refuses dials. Options of sockets have no effect.
#[derive(Clone)]
pub struct FakeNetwork {
    shared: Arc<SharedNetwork>,
}

pub(crate) struct SharedNetwork {
    runtime: FakeRuntime,
    links: Mutex<NetworkState>,
}

impl SharedNetwork {
    /// Changes the state, and wakes afterwards: a waker may come back here.
    fn change<R>(&self, change: impl FnOnce(&mut NetworkState) -> R) -> R {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut links);
        let woken = std::mem::take(&mut links.woken);
        drop(links);
        woken.into_iter().for_each(std::task::Waker::wake);
        result
    }
}

impl FakeNetwork {
    /// A network without a host.
    #[must_use]
    pub fn new(runtime: &FakeRuntime) -> Self {
        let shared = Arc::new(SharedNetwork { runtime: runtime.clone(), links: Mutex::new(NetworkState::new(runtime.seed())) });
        let described = Arc::downgrade(&shared);
        runtime.describe_waits(move || described.upgrade().map(|shared| shared.change(|links| links.describe())));
        Self { shared }
    }

    /// The clock and the tasks.
    #[must_use]
    pub fn runtime(&self) -> &FakeRuntime {
        &self.shared.runtime
    }

    /// The way to an address, whether a server listens there or not.
    #[must_use]
    pub fn host(&self, address: SocketAddr) -> FakeHost {
        FakeHost::new(Arc::clone(&self.shared), HostAddress::Tcp(address))
    }

    /// The way to a unix socket.
    #[must_use]
    pub fn unix_host(&self, path: impl Into<PathBuf>) -> FakeHost {
        FakeHost::new(Arc::clone(&self.shared), HostAddress::Unix(path.into()))
    }

    /// Listens at an address, for a server of your own.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another one listens there.
    pub fn listen(&self, address: SocketAddr) -> io::Result<FakeListener> {
        self.listen_at(HostAddress::Tcp(address))
    }

    /// Listens at a unix socket.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another one listens there.
    pub fn listen_unix(&self, path: impl Into<PathBuf>) -> io::Result<FakeListener> {
        self.listen_at(HostAddress::Unix(path.into()))
    }

    fn listen_at(&self, place: HostAddress) -> io::Result<FakeListener> {
        let number = self.shared.change(|links| links.listen(&place));
        let number = number.ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, format!("{place} is served already")))?;
        Ok(FakeListener::new(Arc::clone(&self.shared), place, number))
    }

    /// Sets what a name resolves to, in this order; the former addresses are forgotten. Without an address the name resolves to
    /// nothing.
    pub fn set_name(&self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().collect();
        self.shared.change(|links| links.names.insert(name.to_owned(), addresses));
    }

    /// The name does not resolve any more.
    pub fn remove_name(&self, name: &str) {
        self.shared.change(|links| links.names.remove(name));
    }

    /// How long a look-up of a name takes. 0 at first.
    pub fn set_resolution_time(&self, time: Duration) {
        self.shared.change(|links| links.resolution_time = time);
    }

    /// The most streams that may be open or dialled by clients at once; more fail as they do when a process has no file descriptors
    /// left. No limit at first.
    pub fn set_stream_limit(&self, limit: impl Into<Option<usize>>) {
        let limit = limit.into();
        self.shared.change(|links| links.stream_limit = limit);
    }

    /// Streams that clients hold open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.shared.change(|links| links.open_at_client())
    }

    /// A hash of everything that was ever sent, on which connection and when: equal for runs that are equal.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.shared.change(|links| links.digest)
    }

    /// The first address of a name, which gets a new one, 10.0.0.1 and so on, if it has none.
    pub(crate) fn address_of_name(&self, name: &str) -> IpAddr {
        if let Ok(address) = name.parse() {
            return address;
        }
        self.shared.change(|links| {
            if let Some(address) = links.names.get(name).and_then(|addresses| addresses.first()) {
                return *address;
            }
            links.names_made += 1;
            let address = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + links.names_made));
            links.names.insert(name.to_owned(), vec![address]);
            address
        })
    }

    /// The first address of a name that is known.
    pub(crate) fn known_address(&self, name: &str) -> Option<IpAddr> {
        name.parse().ok().or_else(|| self.shared.change(|links| links.names.get(name)?.first().copied()))
    }

    /// Says which server listens at an address, so that other servers find it.
    pub(crate) fn set_owner(&self, address: SocketAddr, owner: Weak<dyn Any + Send + Sync>) {
        self.shared.change(|links| links.owners.insert(address, owner));
    }

    pub(crate) fn owner_of(&self, address: SocketAddr) -> Option<Arc<dyn Any + Send + Sync>> {
        self.shared.change(|links| links.owners.get(&address)?.upgrade())
    }

    /// Puts servers into a group: those of different groups do not hear each other. None: back to those without one.
    pub(crate) fn set_group(&self, address: SocketAddr, group: Option<usize>) {
        self.shared.change(|links| match group {
            Some(group) => links.groups.insert(address, group),
            None => links.groups.remove(&address),
        });
    }

    pub(crate) fn group_of(&self, address: SocketAddr) -> Option<usize> {
        self.shared.change(|links| links.groups.get(&address).copied())
    }

    /// Dials an address, for a client of your own.
    ///
    /// # Errors
    ///
    /// What a dial of a manager gets: `ConnectionRefused` where nobody listens, `HostUnreachable`, or `EMFILE` at the limit of streams.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped nothing is left open.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<FakeStream> {
        self.dial_stream(HostAddress::Tcp(address)).await
    }

    async fn dial(&self, place: HostAddress) -> io::Result<BoxStream> {
        self.dial_stream(place).await.map(|stream| Box::new(stream) as BoxStream)
    }

    async fn dial_stream(&self, place: HostAddress) -> io::Result<FakeStream> {
        let _dialling = Dialling::begin(&self.shared)?;
        let mut again_after = SENT_AGAIN_AFTER;
        loop {
            let answered_after = self.shared.change(|links| links.round_trip(&place));
            self.sleep(answered_after).await;
            if let Some(answer) = self.shared.change(|links| links.dial(&place)) {
                return answer.map(|link| FakeStream::new(Arc::clone(&self.shared), link, Side::Client));
            }
            self.sleep(again_after).await;
            again_after = again_after.saturating_mul(2);
        }
    }
}

/// A dial under way has a file descriptor.
struct Dialling<'a>(&'a SharedNetwork);

impl<'a> Dialling<'a> {
    fn begin(network: &'a SharedNetwork) -> io::Result<Self> {
        network.change(|links| {
            if links.stream_limit.is_some_and(|limit| links.open_at_client() + links.dialling >= limit) {
                return Err(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES));
            }
            links.dialling += 1;
            Ok(Self(network))
        })
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.change(|links| links.dialling -= 1);
    }
}

impl Timer for FakeNetwork {
    fn now(&self) -> Instant {
        self.shared.runtime.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.shared.runtime.sleep_until(deadline)
    }
}

impl Spawn for FakeNetwork {
    fn has_ended(&self) -> bool {
        self.shared.runtime.has_ended()
    }

    fn spawn(&self, task: Task) {
        self.shared.runtime.spawn(task);
    }
}

impl Runtime for FakeNetwork {
    fn seed(&self) -> u64 {
        self.shared.runtime.seed()
    }
}

impl Network for FakeNetwork {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Reply<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            if let Ok(address) = host.parse() {
                return Ok(vec![SocketAddr::new(address, port)]);
            }
            let time = self.shared.change(|links| links.resolution_time);
            if !time.is_zero() {
                self.sleep(time).await;
            }
            let addresses = self.shared.change(|links| links.names.get(host).cloned());
            let addresses =
                addresses.ok_or_else(|| io::Error::other("failed to lookup address information: Name or service not known"))?;
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        })
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr, _options: &'a TcpOptions) -> Reply<'a, BoxStream> {
        Box::pin(self.dial(HostAddress::Tcp(address)))
    }

    fn connect_unix<'a>(&'a self, path: &'a Path) -> Reply<'a, BoxStream> {
        Box::pin(self.dial(HostAddress::Unix(path.to_owned())))
    }
}

impl fmt::Debug for FakeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeNetwork").field("runtime", &self.shared.runtime).finish_non_exhaustive()
    }
}
