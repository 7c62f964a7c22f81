//! A real `redis-server` process of a test's own: started, killed, frozen and asked; it knows nothing of the pool.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) mod connection;
mod ends;

use crate::certificates::{Authority, Certificate};
use crate::ports::ReservedPort;
use connection::{HarnessConnection, Kept, REPLY_TIMEOUT};

/// How long a server may take to answer its first PING; a loaded machine needs far less.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// On ports of their own; a program that is no test of ours may still have one of them.
const START_ATTEMPTS: u32 = 5;

/// What a server is started with: its ports are its own until it is dropped.
#[derive(Debug)]
pub(crate) struct ServerSetup {
    pub(crate) port: ReservedPort,
    /// One that speaks TLS, with the files that are written for it.
    pub(crate) tls_port: Option<ReservedPort>,
    pub(crate) args: Vec<String>,
}

impl ServerSetup {
    fn new(args: &[&str]) -> ServerSetup {
        ServerSetup { port: ReservedPort::any(), tls_port: None, args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    fn with_tls(args: &[&str]) -> ServerSetup {
        ServerSetup { tls_port: Some(ReservedPort::any()), ..ServerSetup::new(args) }
    }
}

/// A `redis-server` child process with a port and a directory of its own; dropping it kills it and removes both.
///
/// # Panics
/// A test that cannot get what it asks for cannot go on: every method but [`try_command`](RedisServer::try_command)
/// panics, with the server's log where that helps, if there is no redis-server on the PATH, if the process does not
/// answer within 10 s of its start or within 5 s of a command, or if what is asked for needs a process and it is dead.
#[derive(Debug)]
pub struct RedisServer {
    /// What the harness logs in with, and what [`url`](RedisServer::url) holds: the value of `--requirepass` at the
    /// start; a test that changes the password sets it here too. Letters and digits only.
    pub password: Option<String>,
    setup: ServerSetup,
    dir: PathBuf,
    child: Option<Child>,
    connection: Kept,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    pub fn start() -> RedisServer {
        RedisServer::start_with(&[])
    }

    /// As [`start`](RedisServer::start), with arguments added, such as `["--requirepass", "secret"]`.
    pub fn start_with(args: &[&str]) -> RedisServer {
        RedisServer::start_where(|| ServerSetup::new(args))
    }

    /// As [`start_with`](RedisServer::start_with), with a second port that speaks TLS and shows `certificate`. What
    /// clients show is checked with `authority`: `["--tls-auth-clients", "no"]` asks for nothing.
    pub fn start_tls(authority: &Authority, certificate: &Certificate, args: &[&str]) -> RedisServer {
        RedisServer::start_prepared(|| ServerSetup::with_tls(args), |server| server.write_files(authority, certificate))
    }

    /// Whether the redis-server on the PATH can be started with a port that speaks TLS.
    pub(crate) fn has_tls() -> bool {
        let authority = Authority::new();
        let mut server = RedisServer::new(ServerSetup::with_tls(&[]));
        server.write_files(&authority, &authority.issue(&["localhost"]));
        server.spawn_on_same_port();
        server.poll_until_up().is_ok()
    }

    /// As [`start_with`](RedisServer::start_with), on ports and with arguments that are chosen anew at each attempt.
    pub(crate) fn start_where(choose: impl FnMut() -> ServerSetup) -> RedisServer {
        RedisServer::start_prepared(choose, |_| ())
    }

    fn start_prepared(mut choose: impl FnMut() -> ServerSetup, prepare: impl Fn(&RedisServer)) -> RedisServer {
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            let mut server = RedisServer::new(choose());
            prepare(&server);
            server.spawn_on_same_port();
            match server.poll_until_up() {
                Ok(()) => return server,
                Err(NotUp::Exited) => last = Some(server),
                Err(NotUp::Silent) => server.give_up("does not answer"),
            }
        }
        last.expect("there is at least one attempt").give_up("exits at once")
    }

    fn new(setup: ServerSetup) -> RedisServer {
        let (password, dir, connection) = (password_in(&setup.args), new_dir(), Kept::default());
        RedisServer { password, setup, dir, child: None, connection }
    }

    fn write_files(&self, authority: &Authority, certificate: &Certificate) {
        for (name, text) in [("ca.crt", &authority.pem), ("redis.crt", &certificate.pem), ("redis.key", &certificate.key)] {
            fs::write(self.dir.join(name), text).expect("the directory of the server is writable");
        }
    }

    /// The TCP port on 127.0.0.1; it stays the same over [`restart`](RedisServer::restart).
    pub fn port(&self) -> u16 {
        self.setup.port.number()
    }

    /// `redis://127.0.0.1:PORT`, with the password if there is one.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port()),
            None => format!("redis://127.0.0.1:{}", self.port()),
        }
    }

    /// The port that speaks TLS; it stays the same, too.
    pub fn tls_port(&self) -> u16 {
        self.setup.tls_port.as_ref().expect("start_tls() was asked for").number()
    }

    /// `rediss://localhost:PORT`, which is 127.0.0.1.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls_port())
    }

    /// The path of the unix socket, on which every server listens too.
    pub fn unixsocket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    /// The directory of this server, where its log is; it is gone after the drop.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server was killed and not started again").id()
    }

    /// Kills the process with SIGKILL, frozen or not, and reaps it; nothing happens if it is dead already.
    pub fn kill(&mut self) {
        self.connection.close();
        if let Some(mut child) = self.child.take() {
            // Fails only if it is dead already, and then wait() reaps it all the same.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills the process, starts it on the same port with the same arguments, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn_on_same_port();
        self.wait_until_up();
    }

    /// Starts the process again, on the same port with the same arguments, without waiting for it.
    pub fn spawn_on_same_port(&mut self) {
        assert!(self.child.is_none(), "redis-server still runs: kill() it first");
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("the directory of the server is writable");
        let also_log = log.try_clone().expect("a descriptor is free");
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"]);
        command.arg("--dir").arg(&self.dir);
        command.arg("--unixsocket").arg(self.unixsocket());
        if let Some(port) = &self.setup.tls_port {
            command.args(["--tls-port", &port.number().to_string()]);
            for (arg, name) in [("cert", "redis.crt"), ("key", "redis.key"), ("ca-cert", "ca.crt")] {
                command.arg(format!("--tls-{arg}-file")).arg(self.dir.join(name));
            }
        }
        command.args(&self.setup.args).stdin(Stdio::null()).stdout(log).stderr(also_log);
        match command.spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
                "these tests need redis-server, and it is not on the PATH: \
                 `sh tests/run.sh` in the root of the repository installs it and runs them"
            ),
            Err(error) => panic!("redis-server cannot be started: {error}"),
        }
    }

    /// Waits until the server answers; a refusal such as NOAUTH or LOADING is an answer.
    pub fn wait_until_up(&mut self) {
        match self.poll_until_up() {
            Ok(()) => {}
            Err(NotUp::Exited) => self.give_up("has exited"),
            Err(NotUp::Silent) => self.give_up("does not answer"),
        }
    }

    /// Freezes the process with SIGSTOP: its connections stay open and nothing answers.
    pub fn stop_process(&self) {
        self.signal("STOP");
        // The signal is sent, but not yet taken: a test that goes on now could still get a reply.
        let deadline = Instant::now() + REPLY_TIMEOUT;
        while self.is_running_on_linux() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a frozen process go on, with SIGCONT.
    pub fn continue_process(&self) {
        self.signal("CONT");
    }

    /// Sends one command on the harness's own connection and returns the reply as text.
    ///
    /// An error begins with `-`, nil is `(nil)`, and an array has one line for each element. The connection is kept, and
    /// opened again if it turns out to be dead.
    pub fn command(&self, args: &[&str]) -> String {
        self.try_command(args).unwrap_or_else(|error| panic!("{args:?} on port {}: {error}", self.port()))
    }

    /// As [`command`](RedisServer::command), for a server that may be down or frozen.
    ///
    /// # Errors
    /// Why there is no reply; a timeout after 5 s.
    pub fn try_command(&self, args: &[&str]) -> io::Result<String> {
        self.connection.try_command(self.port(), self.password.as_deref(), args)
    }

    /// CLIENT LIST, a line for each normal client; the harness itself is left out.
    pub fn client_list(&self) -> Vec<String> {
        let list = self.command(&["CLIENT", "LIST", "TYPE", "normal"]);
        connection::without_harness(&list)
    }

    /// How many normal clients are connected, without the harness itself. A connection that was closed counts until the
    /// server has read its end: wait for a number, or ask [`open_count`](RedisServer::open_count).
    pub fn client_count(&self) -> usize {
        self.client_list().len()
    }

    /// How many connections of this process to these servers are open at once, as the end that dials has it, without the
    /// harness itself: what is never to be exceeded, not even for a moment.
    pub fn open_count(servers: &[&RedisServer]) -> usize {
        let ports: Vec<u16> = servers.iter().map(|server| server.port()).collect();
        let own: Vec<_> = servers.iter().filter_map(|server| Some((server.connection.port()?, server.port()))).collect();
        ends::open_to(&ports).iter().filter(|ends| !own.contains(ends)).count()
    }

    fn poll_until_up(&mut self) -> Result<(), NotUp> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let child = self.child.as_mut().ok_or(NotUp::Exited)?;
            if !matches!(child.try_wait(), Ok(None)) {
                self.child = None;
                return Err(NotUp::Exited);
            }
            let pid = child.id();
            if HarnessConnection::open(self.port(), self.password.as_deref())
                .and_then(|mut connection| connection.answers_as(pid))
                .unwrap_or(false)
            {
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Err(NotUp::Silent)
    }

    fn give_up(&self, why: &str) -> ! {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        panic!("redis-server on port {} with {:?} {why}; its log:\n{log}", self.port(), self.setup.args)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("redis.log")
    }

    fn signal(&self, name: &str) {
        // The shell's own kill: not every machine has the program.
        let script = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.is_ok_and(|status| status.success()), "`{script}` failed");
    }

    /// False without /proc: there the caller has to trust the signal.
    fn is_running_on_linux(&self) -> bool {
        // The state follows the name, which is in parentheses and may hold anything.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('T'))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

enum NotUp {
    Exited,
    Silent,
}

fn password_in(args: &[String]) -> Option<String> {
    let position = args.iter().position(|arg| arg == "--requirepass")?;
    args.get(position + 1).cloned()
}

fn new_dir() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Short, because the path of a unix socket may have 107 bytes only.
    let dir = std::env::temp_dir().join(format!("redis-manager-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).expect("the directory for temporary files is writable");
    dir
}
