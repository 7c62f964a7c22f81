//! A small Redis server inside the process, so that an example runs where no Redis is; not a Redis for anything else.
#![allow(unreachable_pub, reason = "an example includes this file as a private module")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

// An explicit path holds whichever way an example includes this file.
#[path = "mini_redis/commands.rs"]
mod commands;
#[path = "mini_redis/database.rs"]
mod database;

use commands::MiniServer;

/// Words in one command and bytes in one command: far above what an example sends.
const MAX_ARGS: usize = 65_536;
const MAX_COMMAND_BYTES: usize = 64 << 20;

/// How often a command that blocks looks whether its element is there, or its client gone.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A running server; dropping it closes every connection and joins every thread.
#[derive(Debug)]
pub struct MiniRedis {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl MiniRedis {
    /// Starts a server without password or data on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the system says when no port can be bound or no thread be started.
    pub fn start() -> io::Result<MiniRedis> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let acceptor = thread::Builder::new().name("mini-redis".into()).spawn(move || accept_until(&seen, &listener))?;
        Ok(MiniRedis { address, stopping, acceptor: Some(acceptor) })
    }

    /// Where it listens: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for MiniRedis {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // The acceptor sleeps in accept(): a last connection wakes it. Without one a join could wait for ever.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

fn accept_until(stopping: &AtomicBool, listener: &TcpListener) {
    let server = Arc::new(Mutex::new(MiniServer::new()));
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        match accepted {
            Ok((stream, peer)) => threads.extend(open(&server, stream, peer)),
            // Most likely out of descriptors: asking again at once would only burn a core.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
    for peer in lock(&server).peers() {
        let _ = peer.stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// The other end of a connection. Its replies and the messages of others are written by different threads.
struct MiniPeer {
    stream: TcpStream,
    address: SocketAddr,
    writing: Mutex<()>,
}

impl MiniPeer {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.stream).write_all(bytes)
    }

    /// Waits a little; an error if the client is gone.
    fn pause(&self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(BETWEEN_LOOKS))?;
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(None)?;
        match seen {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            // It has sent more already.
            Ok(_) => {
                thread::sleep(BETWEEN_LOOKS);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn open(server: &Arc<Mutex<MiniServer>>, stream: TcpStream, address: SocketAddr) -> io::Result<JoinHandle<()>> {
    stream.set_nodelay(true)?;
    let peer = Arc::new(MiniPeer { stream, address, writing: Mutex::new(()) });
    let id = lock(server).open(Arc::clone(&peer));
    let shared = Arc::clone(server);
    let thread = thread::Builder::new().name(format!("mini-redis-{id}")).spawn(move || {
        let _ = serve(&shared, id, &peer);
        lock(&shared).close(id);
    });
    if thread.is_err() {
        lock(server).close(id);
    }
    thread
}

/// Answers one connection until it closes, says QUIT or talks garbage.
fn serve(server: &Mutex<MiniServer>, id: u64, peer: &MiniPeer) -> io::Result<()> {
    let mut reader = BufReader::new(&peer.stream);
    let mut out = Vec::new();
    loop {
        let args = match read_command(&mut reader) {
            Ok(args) => args,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                out.extend_from_slice(format!("-ERR Protocol error: {error}\r\n").as_bytes());
                return peer.send(&out);
            }
            Err(error) => return Err(error),
        };
        let quit = args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"QUIT"));
        if !args.is_empty() {
            let (reply, protocol) = answer(server, id, peer, args, &mut out)?;
            reply.encode(protocol, &mut out);
        }
        // A pipeline is answered in one write, when nothing more of it is at hand.
        if quit || reader.buffer().is_empty() || out.len() > 65_536 {
            peer.send(&out)?;
            out.clear();
        }
        if quit {
            return Ok(());
        }
    }
}

/// Answers one command; `BLPOP` when there is an element, and after all that was said before.
fn answer(
    server: &Mutex<MiniServer>,
    id: u64,
    peer: &MiniPeer,
    args: Vec<Vec<u8>>,
    out: &mut Vec<u8>,
) -> io::Result<(MiniReply, Protocol)> {
    let give_up_at = commands::blocks_for(&args).map(|limit| limit.map(|limit| Instant::now() + limit));
    loop {
        let (reply, protocol, messages) = lock(server).answer(id, args.clone());
        for (listener, message) in messages {
            // One that is gone gets none.
            let _ = listener.send(&message);
        }
        match (&reply, give_up_at) {
            (MiniReply::Null, Some(give_up_at)) if give_up_at.is_none_or(|at| Instant::now() < at) => {
                peer.send(out)?;
                out.clear();
                peer.pause()?;
            }
            _ => return Ok((reply, protocol)),
        }
    }
}

/// Reads one array of bulk strings; an empty one is legal and means nothing.
fn read_command(reader: &mut impl BufRead) -> io::Result<Vec<Vec<u8>>> {
    let count = read_length(reader, b'*', MAX_ARGS)?;
    let mut args = Vec::new();
    let mut room = MAX_COMMAND_BYTES;
    for _ in 0..count {
        let length = read_length(reader, b'$', room)?;
        room -= length;
        // Grows with what arrives, so that an announced length alone costs no memory.
        let mut arg = Vec::new();
        reader.by_ref().take(length as u64 + 2).read_to_end(&mut arg)?;
        if !arg.ends_with(b"\r\n") || arg.len() != length + 2 {
            return Err(garbage("bulk string without its end"));
        }
        arg.truncate(length);
        args.push(arg);
    }
    Ok(args)
}

fn read_length(reader: &mut impl BufRead, mark: u8, max: usize) -> io::Result<usize> {
    let mut line = Vec::new();
    reader.by_ref().take(32).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let digits = line.strip_prefix(&[mark]).and_then(|rest| rest.strip_suffix(b"\r\n"));
    let length = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    length.filter(|length| *length <= max).ok_or_else(|| garbage("invalid length or type"))
}

fn garbage(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A panic in one connection must not stop the others: each command leaves the data whole.
fn lock(server: &Mutex<MiniServer>) -> MutexGuard<'_, MiniServer> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
enum Protocol {
    Resp2 = 2,
    Resp3 = 3,
}

enum MiniReply {
    Simple(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<MiniReply>),
    /// What nobody asked for: RESP3 only.
    Push(Vec<MiniReply>),
    Map(Vec<(&'static str, MiniReply)>),
}

impl MiniReply {
    fn count(count: usize) -> MiniReply {
        MiniReply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn encode(self, protocol: Protocol, out: &mut Vec<u8>) {
        match (self, protocol) {
            (MiniReply::Simple(text), _) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            (MiniReply::Error(text), _) => out.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            (MiniReply::Integer(number), _) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            (MiniReply::Null, Protocol::Resp2) => out.extend_from_slice(b"$-1\r\n"),
            (MiniReply::Null, Protocol::Resp3) => out.extend_from_slice(b"_\r\n"),
            (MiniReply::Bulk(bytes), _) => {
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(&bytes);
                out.extend_from_slice(b"\r\n");
            }
            (MiniReply::Array(items), _) => {
                out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                items.into_iter().for_each(|item| item.encode(protocol, out));
            }
            (MiniReply::Push(items), _) => {
                out.extend_from_slice(format!(">{}\r\n", items.len()).as_bytes());
                items.into_iter().for_each(|item| item.encode(protocol, out));
            }
            (MiniReply::Map(pairs), _) => {
                let header = match protocol {
                    Protocol::Resp2 => format!("*{}\r\n", pairs.len() * 2),
                    Protocol::Resp3 => format!("%{}\r\n", pairs.len()),
                };
                out.extend_from_slice(header.as_bytes());
                for (key, value) in pairs {
                    MiniReply::Bulk(key.into()).encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
        }
    }
}
