//! The harness's own blocking connection to its server: RESP2, just enough for text; not a client for tests to share.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the harness waits for one reply or one connect of its own.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// The name of its connection, so that a count of clients can leave it out.
pub(crate) const HARNESS_NAME: &str = "harness";

#[derive(Debug)]
pub(crate) struct HarnessConnection {
    reader: BufReader<TcpStream>,
}

impl HarnessConnection {
    pub(crate) fn open(port: u16, password: Option<&str>) -> io::Result<HarnessConnection> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut connection = HarnessConnection { reader: BufReader::new(stream) };
        // Refusals are no matter here: the command that follows will hear the same.
        if let Some(password) = password {
            connection.call(&["AUTH", password])?;
        }
        connection.call(&["CLIENT", "SETNAME", HARNESS_NAME])?;
        Ok(connection)
    }

    /// Whether this process answers, and not another that has got hold of the port.
    pub(crate) fn answers_as(&mut self, pid: u32) -> io::Result<bool> {
        let pong = self.call(&["PING"])?;
        let info = self.call(&["INFO", "server"])?;
        let process = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        // A refusal (NOAUTH, LOADING, MASTERDOWN) is a sign of life too; without a login there is no INFO to ask.
        let is_alive = pong == "PONG" || pong.starts_with('-');
        Ok(is_alive && process.is_none_or(|process| process.trim() == pid.to_string()))
    }

    /// Sends one command and reads its reply, as text; see `RedisServer::command`.
    pub(crate) fn call<S: AsRef<str>>(&mut self, args: &[S]) -> io::Result<String> {
        let mut request = String::new();
        encode(&mut request, args);
        self.reader.get_mut().write_all(request.as_bytes())?;
        self.read_reply()
    }

    /// Sends many commands with short replies, some at a time, and reads all replies.
    pub(crate) fn call_all(&mut self, commands: &[Vec<String>]) -> io::Result<Vec<String>> {
        // So few that all of their replies fit into the socket's buffer while we still write.
        const AT_A_TIME: usize = 256;
        let mut replies = Vec::with_capacity(commands.len());
        for some in commands.chunks(AT_A_TIME) {
            let mut request = String::new();
            for args in some {
                encode(&mut request, args);
            }
            self.reader.get_mut().write_all(request.as_bytes())?;
            for _ in some {
                replies.push(self.read_reply()?);
            }
        }
        Ok(replies)
    }

    fn read_reply(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| not_resp(line))?;
        match kind {
            "+" | ":" => Ok(rest.to_owned()),
            "-" => Ok(line.to_owned()),
            "$" | "*" if rest == "-1" => Ok("(nil)".to_owned()),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().map_err(|_| not_resp(line))? + 2];
                self.reader.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" => {
                let count = rest.parse::<usize>().map_err(|_| not_resp(line))?;
                let items: io::Result<Vec<String>> = (0..count).map(|_| self.read_reply()).collect();
                Ok(items?.join("\n"))
            }
            _ => Err(not_resp(line)),
        }
    }
}

/// The connection of a harness to its server, opened when it is needed and again if it turns out to be dead.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<HarnessConnection>>);

impl Kept {
    /// Sends one command and reads its reply; see `RedisServer::try_command`.
    pub(crate) fn try_command(&self, port: u16, password: Option<&str>, args: &[&str]) -> io::Result<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut connection) = kept.take() {
            match connection.call(args) {
                Ok(reply) => {
                    *kept = Some(connection);
                    return Ok(reply);
                }
                // The command may be running: sending it again would do it twice.
                Err(error) if is_timeout(&error) => return Err(error),
                Err(_) => {}
            }
        }
        let mut connection = HarnessConnection::open(port, password)?;
        let reply = connection.call(args)?;
        // Without a login it has no name either: the next command shall try again.
        if !reply.starts_with("-NOAUTH") {
            *kept = Some(connection);
        }
        Ok(reply)
    }

    /// The port at its end, while there is one.
    pub(crate) fn port(&self) -> Option<u16> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(kept.as_ref()?.reader.get_ref().local_addr().ok()?.port())
    }

    /// Closes it, for a server that is about to end.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The lines of CLIENT LIST that are not the harness itself.
///
/// # Panics
/// If `list` is something else.
pub(crate) fn without_harness(list: &str) -> Vec<String> {
    assert!(list.starts_with("id="), "CLIENT LIST: {list}");
    let harness = format!("name={HARNESS_NAME}");
    let others = list.lines().filter(|line| !line.split(' ').any(|field| field == harness));
    others.map(str::to_owned).collect()
}

fn encode<S: AsRef<str>>(request: &mut String, args: &[S]) {
    let _ = write!(request, "*{}\r\n", args.len());
    for arg in args {
        let arg = arg.as_ref();
        let _ = write!(request, "${}\r\n{arg}\r\n", arg.len());
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::TimedOut
}

fn not_resp(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: {line:?}"))
}
