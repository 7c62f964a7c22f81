//! A wire to a TLS server that reads along what is in the clear: whether a handshake resumes a session.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;

/// What the server has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsHandshake {
    /// The server has shown its certificate.
    Full,
    /// Both know each other from before.
    Resumed,
}

/// A port whose connections end at a TLS server on this machine.
#[derive(Debug)]
pub struct TlsWire {
    port: u16,
    seen: Arc<Mutex<Vec<TlsHandshake>>>,
}

impl TlsWire {
    /// To the server at this port, for as long as the process runs.
    ///
    /// # Panics
    ///
    /// If no port is free.
    #[must_use]
    pub fn to(server: u16) -> TlsWire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen: Arc<Mutex<Vec<TlsHandshake>>> = Arc::default();
        let all = Arc::clone(&seen);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || join(near, server, |handshake| lock(&all).push(handshake)));
            }
        });
        TlsWire { port, seen }
    }

    /// Its own port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The handshakes so far, in the order in which the server has answered.
    #[must_use]
    pub fn handshakes(&self) -> Vec<TlsHandshake> {
        lock(&self.seen).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn join(mut near: TcpStream, server: u16, tell: impl FnOnce(TlsHandshake)) -> io::Result<()> {
    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut from_near, mut to_far) = (near.try_clone()?, far.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_near, &mut to_far);
        let _ = to_far.shutdown(Shutdown::Both);
    });
    let mut tell = Some(tell);
    let mut start = Vec::new();
    let mut buffer = [0; 16 * 1_024];
    loop {
        let read = far.read(&mut buffer)?;
        if tell.is_some() {
            start.extend_from_slice(&buffer[..read]);
            if let Some(handshake) = kind(&start)
                && let Some(tell) = tell.take()
            {
                tell(handshake);
            }
        }
        if read == 0 {
            return near.shutdown(Shutdown::Both);
        }
        near.write_all(&buffer[..read])?;
    }
}

/// What the first bytes of a server say; none if they are too few. In TLS 1.3 a session that is resumed shows in the
/// server's hello; before, in that no certificate follows it.
fn kind(bytes: &[u8]) -> Option<TlsHandshake> {
    let (HANDSHAKE, record, rest) = split_record(bytes)? else { return None };
    let (SERVER_HELLO, hello, more) = split_message(record)? else { return None };
    // Version and random, session id, cipher suite and compression.
    let after_id = 34 + 1 + usize::from(*hello.get(34)?);
    let extensions = extensions(hello.get(after_id + 3..)?);
    if extensions.contains(&SUPPORTED_VERSIONS) {
        return Some(if extensions.contains(&PRE_SHARED_KEY) { TlsHandshake::Resumed } else { TlsHandshake::Full });
    }
    let next = match more.first() {
        Some(message) => (HANDSHAKE, *message),
        None => (*rest.first()?, *rest.get(5)?),
    };
    Some(if next == (HANDSHAKE, CERTIFICATE) { TlsHandshake::Full } else { TlsHandshake::Resumed })
}

/// Type, body, and what follows.
fn split_record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
    let (body, rest) = bytes.get(5..)?.split_at_checked(length)?;
    Some((bytes[0], body, rest))
}

/// Type, body, and what follows.
fn split_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    let (body, rest) = bytes.get(4..)?.split_at_checked(length)?;
    Some((bytes[0], body, rest))
}

/// The numbers of all extensions, behind their common length.
fn extensions(bytes: &[u8]) -> Vec<u16> {
    let mut numbers = Vec::new();
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [high, low, length_high, length_low, after @ ..] = rest {
        numbers.push(u16::from_be_bytes([*high, *low]));
        rest = after.get(usize::from(u16::from_be_bytes([*length_high, *length_low]))..).unwrap_or_default();
    }
    numbers
}
