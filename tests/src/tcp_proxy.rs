//! A TCP proxy in front of a server of this machine, whose connections can be made black holes: what a firewall does that forgets
//! them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Ends with the process.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    state: Arc<TcpProxyState>,
}

#[derive(Debug, Default)]
struct TcpProxyState {
    accepted: AtomicUsize,
    /// Connections up to this number carry nothing any more; later ones do.
    holes_up_to: AtomicU64,
    next: AtomicU64,
}

impl TcpProxyState {
    fn is_hole(&self, number: u64) -> bool {
        number <= self.holes_up_to.load(Ordering::SeqCst)
    }
}

impl TcpProxy {
    /// Listens, in front of this port.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(TcpProxyState::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let number = shared.next.fetch_add(1, Ordering::SeqCst) + 1;
                // Without a server the client reads the end at once.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
                for (from, to) in [(from_client, server), (from_server, client)] {
                    let state = Arc::clone(&shared);
                    thread::spawn(move || carry(from, to, number, &state));
                }
            }
        });
        Self { port: own, state }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The connections that it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// What there is of connections carries nothing from now on, in no direction, and is not closed. New ones are sound.
    pub fn forget_connections(&self) {
        self.state.holes_up_to.store(self.state.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, number: u64, state: &TcpProxyState) {
    let mut bytes = [0; 16 * 1_024];
    loop {
        let read = from.read(&mut bytes).unwrap_or(0);
        while state.is_hole(number) {
            if read == 0 {
                return;
            }
            // Kept open: the other end of it hears nothing.
            thread::sleep(POLL_INTERVAL);
        }
        if read == 0 || to.write_all(&bytes[..read]).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}
