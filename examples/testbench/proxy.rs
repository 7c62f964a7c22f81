//! A TCP proxy in front of the server, which can do to connections what networks do; it does not read what it passes on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a server says whose `maxclients` is reached.
const FULL: &[u8] = b"-ERR max number of clients reached\r\n";
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// What happens to bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    Pass,
    /// Nothing listens, and no connection stays.
    Refuse,
    /// Bytes vanish. A connection that lost some ends with the mode.
    BlackHole,
    /// Bytes are held, and arrive when the mode ends.
    Freeze,
    /// Replies come so much later.
    Slow(Duration),
    /// New connections get the error of a full server; those that are open stay.
    Full,
}

#[derive(Clone, Debug)]
struct ProxyState {
    mode: ProxyMode,
    /// `host:port`.
    upstream: Arc<str>,
    /// Connections with an even number end when this changes.
    halvings: u64,
}

/// A running proxy; it ends with the runtime.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    state: watch::Sender<ProxyState>,
}

impl FaultProxy {
    pub(crate) async fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(ProxyState { mode: ProxyMode::Pass, upstream: upstream.into(), halvings: 0 });
        tokio::spawn(accept(listener, address, seen));
        Ok(Self { address, state })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set_mode(&self, mode: ProxyMode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    pub(crate) fn set_upstream(&self, upstream: &str) {
        self.state.send_modify(|state| state.upstream = upstream.into());
    }

    /// Ends every second connection.
    pub(crate) fn close_half(&self) {
        self.state.send_modify(|state| state.halvings += 1);
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, mut state: watch::Receiver<ProxyState>) {
    let mut listener = Some(listener);
    let mut number = 0_u64;
    loop {
        let mode = state.borrow_and_update().mode;
        if mode == ProxyMode::Refuse {
            listener = None;
            if state.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(open) => open,
                Err(_) => {
                    tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                    continue;
                }
            },
        };
        tokio::select! {
            accepted = open.accept() => match accepted {
                Ok((client, _)) => {
                    number += 1;
                    tokio::spawn(relay(client, number, state.clone()));
                }
                // Most likely out of descriptors.
                Err(_) => tokio::time::sleep(AFTER_ACCEPT_ERROR).await,
            },
            changed = state.changed() => if changed.is_err() { return },
        }
        listener = Some(open);
    }
}

/// One connection, until one side closes it or its mode ends it.
async fn relay(mut client: TcpStream, number: u64, mut state: watch::Receiver<ProxyState>) {
    let ProxyState { mode, upstream, halvings } = state.borrow_and_update().clone();
    if mode == ProxyMode::Full {
        // The client may be gone.
        let _ = client.write_all(FULL).await;
        return;
    }
    let Ok(server) = TcpStream::connect(&*upstream).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass_on(from_client, to_server, state.clone(), Way::ToServer) => {}
        () = pass_on(from_server, to_client, state.clone(), Way::ToClient) => {}
        _ = state.wait_for(|now| {
            now.mode == ProxyMode::Refuse || (now.halvings != halvings && number.is_multiple_of(2))
        }) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<ProxyState>, way: Way) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mode = state.borrow_and_update().mode;
        match mode {
            ProxyMode::Freeze if state.wait_for(|now| now.mode != ProxyMode::Freeze).await.is_err() => return,
            ProxyMode::BlackHole => {
                // A stream with a hole in it must not go on. What comes meanwhile is not read.
                let _ = state.wait_for(|now| now.mode != ProxyMode::BlackHole).await;
                return;
            }
            ProxyMode::Slow(delay) if way == Way::ToClient => tokio::time::sleep(delay).await,
            ProxyMode::Pass | ProxyMode::Refuse | ProxyMode::Freeze | ProxyMode::Slow(_) | ProxyMode::Full => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
