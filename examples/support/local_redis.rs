//! The fake Redis of redis-manager behind a real TCP port, so that an example runs where no Redis is.
#![allow(unreachable_pub, reason = "an example includes this file as a private module")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use redis_manager::runtime::Instant;
use redis_manager::testing::fake_redis::{ConnectionId, Output, Server};

/// The wall clock of the fake Redis at its beginning: 2026-01-01T00:00:00Z, after 1970.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// A client that takes nothing for so long is closed.
const LONGEST_WRITE: Duration = Duration::from_secs(1);

/// A running server without password or data; dropping it closes every connection and joins every thread.
#[derive(Debug)]
pub struct LocalRedis {
    address: SocketAddr,
    shared: Arc<LocalShared>,
    threads: Vec<JoinHandle<()>>,
}

struct LocalShared {
    state: Mutex<LocalState>,
    /// A deadline may have changed, or the end has come.
    changed: Condvar,
    is_ending: AtomicBool,
}

struct LocalState {
    server: Server,
    peers: BTreeMap<ConnectionId, Arc<LocalPeer>>,
}

/// The other end of a connection. Replies and messages of others are written by different threads.
struct LocalPeer {
    stream: TcpStream,
    writing: Mutex<()>,
}

impl LocalRedis {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// What the system says when no port can be bound or no thread be started.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Mutex::new(LocalState { server: Server::new(0), peers: BTreeMap::new() });
        let shared = Arc::new(LocalShared { state, changed: Condvar::new(), is_ending: AtomicBool::new(false) });
        let (accepting, ticking) = (Arc::clone(&shared), Arc::clone(&shared));
        let mut server = Self { address, shared, threads: Vec::new() };
        let named = |name: &str| thread::Builder::new().name(name.into());
        server.threads.push(named("local-redis").spawn(move || accept(&accepting, &listener))?);
        server.threads.push(named("local-redis-clock").spawn(move || tick(&ticking))?);
        Ok(server)
    }

    /// Where it listens: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for LocalRedis {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        // The acceptor sleeps in accept(): a last connection wakes it. Without one a join could wait for ever.
        if TcpStream::connect(self.address).is_ok() {
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

/// The time since the beginning of the server's wall clock.
fn now() -> Instant {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::ZERO + since_1970.saturating_sub(EPOCH)
}

impl LocalShared {
    /// A panic in one connection must not stop the others: each input leaves the server whole.
    fn lock(&self) -> MutexGuard<'_, LocalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the server an input and sends what it puts out.
    fn act(&self, input: impl FnOnce(&mut Server, Instant)) {
        let mut state = self.lock();
        input(&mut state.server, now());
        while let Some(output) = state.server.poll_output() {
            match output {
                Output::Close(id) => {
                    if let Some(peer) = state.peers.remove(&id) {
                        let _ = peer.stream.shutdown(Shutdown::Both);
                    }
                }
                Output::Send(id, bytes) => {
                    let Some(peer) = state.peers.get(&id).cloned() else { continue };
                    // Taken before the state is left, so that what is sent later is written later.
                    let writing = peer.writing.lock().unwrap_or_else(PoisonError::into_inner);
                    drop(state);
                    if (&peer.stream).write_all(&bytes).is_err() {
                        let _ = peer.stream.shutdown(Shutdown::Both);
                    }
                    drop(writing);
                    state = self.lock();
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn accept(shared: &Arc<LocalShared>, listener: &TcpListener) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.is_ending.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        match accepted {
            Ok((stream, address)) => threads.extend(open(shared, stream, address).ok().flatten()),
            // Most likely out of descriptors: asking again at once would only burn a core.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
    for peer in shared.lock().peers.values() {
        let _ = peer.stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn open(shared: &Arc<LocalShared>, stream: TcpStream, address: SocketAddr) -> io::Result<Option<JoinHandle<()>>> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(LONGEST_WRITE))?;
    let peer = Arc::new(LocalPeer { stream, writing: Mutex::new(()) });
    let mut state = shared.lock();
    let Some(id) = state.server.connected(now(), &address.to_string()) else { return Ok(None) };
    state.peers.insert(id, Arc::clone(&peer));
    drop(state);
    let of_thread = Arc::clone(shared);
    let thread = thread::Builder::new().name(format!("local-redis-{id}")).spawn(move || {
        let mut bytes = vec![0; 16 << 10];
        of_thread.act(|_, _| ());
        while let Ok(count @ 1..) = (&peer.stream).read(&mut bytes) {
            of_thread.act(|server, now| server.received(now, id, &bytes[..count]));
        }
        of_thread.act(|server, now| server.closed(now, id));
        of_thread.lock().peers.remove(&id);
    });
    thread.map(Some)
}

/// Lets keys expire and commands that block time out.
fn tick(shared: &LocalShared) {
    let mut state = shared.lock();
    while !shared.is_ending.load(Ordering::SeqCst) {
        let left = state.server.next_deadline().map(|at| at.saturating_duration_since(now()));
        if left == Some(Duration::ZERO) {
            drop(state);
            shared.act(Server::tick);
            state = shared.lock();
            continue;
        }
        // Now and then without a reason, so that an end is not missed.
        let wait = left.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1));
        state = shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl std::fmt::Debug for LocalShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalShared").finish_non_exhaustive()
    }
}
