//! A real primary with replicas and sentinels of a test's own: started, hurt and asked; it knows nothing of the pool.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::certificates::{Authority, Certificate};
use crate::ports::ReservedPort;
use crate::redis_server::RedisServer;
use crate::redis_server::connection::Kept;

/// The name of the primary in the sentinels' configuration.
pub const PRIMARY_NAME: &str = "mymaster";
/// How long a change may take until all know of it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// One primary, two replicas and three sentinels on loopback; dropping it, in a panic too, kills all of them.
///
/// # Panics
/// A test that cannot get what it asks for cannot go on: every method panics if it cannot do what it says.
#[derive(Debug)]
pub struct TestSentinels {
    /// The first one is the primary at the start.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<SentinelProcess>,
    password: Option<String>,
    sentinel_password: Option<String>,
    uses_tls: bool,
}

impl TestSentinels {
    /// Without passwords.
    pub fn start() -> TestSentinels {
        TestSentinels::start_with(None, None)
    }

    /// With passwords of the data nodes and of the sentinels; letters and digits only. Returns when all know of each other.
    pub fn start_with(password: Option<&str>, sentinel_password: Option<&str>) -> TestSentinels {
        TestSentinels::start_all(password, sentinel_password, None)
    }

    /// The same, with TLS for all that the servers, the sentinels and their clients say to each other; the certificate is for
    /// 127.0.0.1.
    pub fn start_tls(authority: &Authority, password: Option<&str>, sentinel_password: Option<&str>) -> TestSentinels {
        let certificate = authority.issue(&["127.0.0.1"]);
        TestSentinels::start_all(password, sentinel_password, Some((authority, &certificate)))
    }

    fn start_all(
        password: Option<&str>,
        sentinel_password: Option<&str>,
        tls: Option<(&Authority, &Certificate)>,
    ) -> TestSentinels {
        let mut args: Vec<&str> = vec!["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        if tls.is_some() {
            args.extend(["--tls-replication", "yes", "--tls-auth-clients", "no"]);
        }
        if let Some(password) = password {
            args.extend(["--requirepass", password, "--masterauth", password]);
        }
        let start_server = |args: &[&str]| match tls {
            None => RedisServer::start_with(args),
            Some((authority, certificate)) => RedisServer::start_tls(authority, certificate, args),
        };
        let primary = start_server(&args);
        let port_of_primary = if tls.is_some() { primary.tls_port() } else { primary.port() };
        let port = port_of_primary.to_string();
        let mut servers = vec![primary];
        for _ in 0..2 {
            let mut of_replica = args.clone();
            of_replica.extend(["--replicaof", "127.0.0.1", &port]);
            servers.push(start_server(&of_replica));
        }
        let start = |_| SentinelProcess::start(port_of_primary, password, sentinel_password, tls);
        let sentinels = (0..3).map(start).collect();
        let (password, sentinel_password) = (password.map(String::from), sentinel_password.map(String::from));
        let all = TestSentinels { servers, sentinels, password, sentinel_password, uses_tls: tls.is_some() };
        all.wait_until_whole();
        all
    }

    /// Ports of the sentinels.
    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(SentinelProcess::told_port).collect()
    }

    /// The port that the sentinels tell of a server.
    pub fn told_port(&self, index: usize) -> u16 {
        if self.uses_tls { self.servers[index].tls_port() } else { self.servers[index].port() }
    }

    fn index_of(&self, told: u16) -> Option<usize> {
        (0..self.servers.len()).find(|index| self.told_port(*index) == told)
    }

    /// Host and port of each sentinel.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinel_ports().iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The URL of the primary behind the sentinels, with all passwords.
    pub fn url(&self) -> String {
        let login = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let query = self.sentinel_password.as_ref().map(|password| format!("?sentinel_password={password}")).unwrap_or_default();
        let scheme = if self.uses_tls { "rediss+sentinel" } else { "redis+sentinel" };
        format!("{scheme}://{login}{}/{PRIMARY_NAME}{query}", self.addresses().join(","))
    }

    /// The index of the server that a sentinel names as the primary; none if none answers.
    pub fn primary(&self) -> Option<usize> {
        let told = self.sentinels.iter().filter(|sentinel| sentinel.is_running()).find_map(|sentinel| sentinel.primary_port())?;
        self.index_of(told)
    }

    /// Waits until a sentinel names another primary than `old`; which, and when.
    pub fn wait_for_failover(&self, old: usize) -> (usize, Instant) {
        let old = self.told_port(old);
        let begun_at = Instant::now();
        loop {
            let running = self.sentinels.iter().filter(|sentinel| sentinel.is_running());
            let told = running.filter_map(|sentinel| sentinel.switched_port()).find(|port| *port != old);
            if let Some(index) = told.and_then(|told| self.index_of(told)) {
                return (index, Instant::now());
            }
            assert!(begun_at.elapsed() < SETTLE_TIMEOUT, "no failover within {SETTLE_TIMEOUT:?}");
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until all servers and sentinels agree about one primary with two replicas that follow it.
    pub fn wait_until_whole(&self) {
        let begun_at = Instant::now();
        while !self.is_whole() {
            assert!(begun_at.elapsed() < SETTLE_TIMEOUT, "not whole within {SETTLE_TIMEOUT:?}");
            thread::sleep(10 * POLL_INTERVAL);
        }
    }

    fn is_whole(&self) -> bool {
        let Some(primary) = self.primary() else { return false };
        let replication = self.servers[primary].command(&["INFO", "replication"]);
        let follow = replication.matches("state=online").count() == self.servers.len() - 1;
        follow && self.sentinels.iter().all(|sentinel| sentinel.knows_all(self.told_port(primary)))
    }

    /// Kills a sentinel with SIGKILL.
    pub fn kill_sentinel(&mut self, index: usize) {
        self.sentinels[index].kill();
    }

    /// Starts a sentinel again, with what it has written to its configuration.
    pub fn restart_sentinel(&mut self, index: usize) {
        self.sentinels[index].spawn();
    }

    /// Freezes a sentinel with SIGSTOP.
    pub fn stop_sentinel(&self, index: usize) {
        self.sentinels[index].signal("STOP");
    }

    /// Lets a frozen sentinel go on.
    pub fn continue_sentinel(&self, index: usize) {
        self.sentinels[index].signal("CONT");
    }

    /// What one sentinel says to a command, as text.
    pub fn ask_sentinel(&self, index: usize, args: &[&str]) -> String {
        self.sentinels[index].ask(args).unwrap_or_default()
    }
}

/// One `redis-server --sentinel` process.
#[derive(Debug)]
struct SentinelProcess {
    /// Without TLS, for the test itself.
    port: ReservedPort,
    tls_port: Option<ReservedPort>,
    password: Option<String>,
    dir: PathBuf,
    child: Option<Child>,
    connection: Kept,
}

impl SentinelProcess {
    fn start(
        primary_port: u16,
        password: Option<&str>,
        sentinel_password: Option<&str>,
        tls: Option<(&Authority, &Certificate)>,
    ) -> SentinelProcess {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("redis-manager-sentinel-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("the directory for temporary files is writable");
        let port = ReservedPort::any();
        let mut lines = vec![
            format!("port {}", port.number()),
            String::from("bind 127.0.0.1"),
            format!("dir {}", dir.display()),
            String::from("logfile sentinel.log"),
            format!("sentinel monitor {PRIMARY_NAME} 127.0.0.1 {primary_port} 2"),
            format!("sentinel down-after-milliseconds {PRIMARY_NAME} 500"),
            format!("sentinel failover-timeout {PRIMARY_NAME} 3000"),
            format!("sentinel parallel-syncs {PRIMARY_NAME} 2"),
        ];
        let tls_port = tls.map(|(authority, certificate)| {
            for (name, text) in [("ca.crt", &authority.pem), ("redis.crt", &certificate.pem), ("redis.key", &certificate.key)] {
                fs::write(dir.join(name), text).expect("the directory is writable");
            }
            let tls_port = ReservedPort::any();
            let dir = dir.display();
            lines.extend([
                format!("tls-port {}", tls_port.number()),
                format!("tls-cert-file {dir}/redis.crt"),
                format!("tls-key-file {dir}/redis.key"),
                format!("tls-ca-cert-file {dir}/ca.crt"),
                String::from("tls-auth-clients no"),
                String::from("tls-replication yes"),
            ]);
            tls_port
        });
        lines.extend(password.map(|password| format!("sentinel auth-pass {PRIMARY_NAME} {password}")));
        lines.extend(sentinel_password.map(|password| format!("requirepass {password}\nsentinel sentinel-pass {password}")));
        fs::write(dir.join("sentinel.conf"), lines.join("\n") + "\n").expect("the directory is writable");
        let password = sentinel_password.map(String::from);
        let mut sentinel = SentinelProcess { port, tls_port, password, dir, child: None, connection: Kept::default() };
        sentinel.spawn();
        sentinel
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "the sentinel still runs");
        let mut command = Command::new("redis-server");
        command.arg(self.dir.join("sentinel.conf")).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is on the PATH"));
        let begun_at = Instant::now();
        while self.ask(&["PING"]).is_none() {
            assert!(begun_at.elapsed() < SETTLE_TIMEOUT, "a sentinel does not start");
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn kill(&mut self) {
        self.connection.close();
        if let Some(mut child) = self.child.take() {
            // Fails only if it is dead already, and then wait() reaps it all the same.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The one that other sentinels tell.
    fn told_port(&self) -> u16 {
        self.tls_port.as_ref().unwrap_or(&self.port).number()
    }

    fn is_running(&self) -> bool {
        self.child.is_some()
    }

    fn ask(&self, args: &[&str]) -> Option<String> {
        self.connection.try_command(self.port.number(), self.password.as_deref(), args).ok()
    }

    /// As clients ask for it: the promoted replica from its promotion on.
    fn primary_port(&self) -> Option<u16> {
        self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME])?.lines().nth(1)?.parse().ok()
    }

    /// From `+switch-master` on another one.
    fn switched_port(&self) -> Option<u16> {
        let reply = self.ask(&["SENTINEL", "MASTER", PRIMARY_NAME])?;
        let mut lines = reply.lines();
        lines.find(|line| *line == "port")?;
        lines.next()?.parse().ok()
    }

    fn knows_all(&self, primary: u16) -> bool {
        let Some(reply) = self.ask(&["SENTINEL", "MASTER", PRIMARY_NAME]) else { return false };
        let lines: Vec<_> = reply.lines().collect();
        let value = |name: &str| lines.iter().position(|line| *line == name).and_then(|at| lines.get(at + 1)).copied();
        let replicas = self.ask(&["SENTINEL", "REPLICAS", PRIMARY_NAME]).unwrap_or_default();
        value("port") == Some(&primary.to_string())
            && value("flags") == Some("master")
            && value("num-other-sentinels") == Some("2")
            && value("num-slaves") == Some("2")
            && !replicas.contains("s_down")
            && replicas.matches("master-link-status\nok").count() == 2
    }

    fn signal(&self, name: &str) {
        let Some(child) = &self.child else { return };
        let script = format!("kill -{name} {}", child.id());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.is_ok_and(|status| status.success()), "`{script}` failed");
    }
}

impl Drop for SentinelProcess {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
