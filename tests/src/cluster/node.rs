//! One node of a cluster, as a handle that can be cloned and used from any thread; it knows nothing of the others.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ClusterOptions, wait_until_right};
use crate::ports::ReservedPort;
use crate::redis_server::connection::{self, HarnessConnection, Kept};
use crate::redis_server::{RedisServer, ServerSetup};

/// A node of a [`TestCluster`](super::TestCluster): a `redis-server` process with ports and a directory of its own.
///
/// Clones are the same node. Its process ends with the cluster, whoever still has a handle.
///
/// # Panics
/// As [`RedisServer`]: what cannot be done panics, only [`try_command`](TestClusterNode::try_command) does not.
#[derive(Clone)]
pub struct TestClusterNode(Arc<Parts>);

struct Parts {
    id: String,
    port: u16,
    bus_port: u16,
    tls_port: Option<ReservedPort>,
    password: Option<String>,
    dir: PathBuf,
    /// None after the end of the cluster.
    server: Mutex<Option<RedisServer>>,
    /// Whether the process is there and was not stopped.
    is_running: AtomicBool,
    connection: Kept,
    /// The ids of its replicas when the cluster was last looked at while it was a primary.
    replicas: Mutex<Vec<String>>,
}

impl TestClusterNode {
    /// Starts the process, which knows no other node yet.
    pub(super) fn start(options: &ClusterOptions) -> TestClusterNode {
        let (mut bus_port, mut tls_port) = (0, None);
        let server = RedisServer::start_where(|| {
            let port = ReservedPort::with_bus();
            bus_port = port.bus();
            tls_port = options.tls_args.as_ref().map(|_| ReservedPort::any());
            let args = arguments(options, bus_port, tls_port.as_ref());
            ServerSetup { port, tls_port: None, args }
        });
        let id = server.command(&["CLUSTER", "MYID"]);
        assert!(id.len() == 40, "CLUSTER MYID: {id}");
        TestClusterNode(Arc::new(Parts {
            id,
            port: server.port(),
            bus_port,
            tls_port,
            password: server.password.clone(),
            dir: server.dir().to_owned(),
            server: Mutex::new(Some(server)),
            is_running: AtomicBool::new(true),
            connection: Kept::default(),
            replicas: Mutex::new(Vec::new()),
        }))
    }

    /// The id that it has in the cluster: 40 hexadecimal digits; it stays the same over [`restart`](Self::restart).
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The port for plain TCP, which is open in a cluster with TLS too.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The port for TLS, if the cluster has it.
    pub fn tls_port(&self) -> Option<u16> {
        self.0.tls_port.as_ref().map(ReservedPort::number)
    }

    /// `127.0.0.1:PORT`, as MOVED and CLUSTER SLOTS say it to clients without TLS.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// `redis://127.0.0.1:PORT`, with the password if there is one.
    pub fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.login(), self.0.port)
    }

    /// `rediss://127.0.0.1:PORT`, with the password if there is one.
    ///
    /// # Panics
    /// Without TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://{}127.0.0.1:{}", self.login(), self.tls_port().expect("the cluster was started with TLS"))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.with_server(|server| server.pid())
    }

    /// The directory of this node, where nodes.conf and its log are; it is gone after the drop of the cluster.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Whether its process is there and not frozen.
    pub fn is_running(&self) -> bool {
        self.0.is_running.load(Ordering::SeqCst)
    }

    /// Kills the process with SIGKILL, frozen or not, and reaps it; nothing happens if it is dead already.
    pub fn kill(&self) {
        self.0.is_running.store(false, Ordering::SeqCst);
        self.with_server(RedisServer::kill);
    }

    /// Kills the process if it lives, starts it on the same port as the same node of the cluster, and waits until it
    /// answers; it does not wait for the cluster.
    ///
    /// Its data is gone: a primary that is back before a replica is promoted is an empty primary.
    pub fn restart(&self) {
        self.0.is_running.store(false, Ordering::SeqCst);
        self.with_server(RedisServer::restart);
        self.0.is_running.store(true, Ordering::SeqCst);
    }

    /// Freezes the process with SIGSTOP: its connections stay open and nothing answers.
    pub fn stop_process(&self) {
        self.0.is_running.store(false, Ordering::SeqCst);
        self.with_server(|server| server.stop_process());
    }

    /// Lets a frozen process go on, with SIGCONT.
    pub fn continue_process(&self) {
        self.with_server(|server| server.continue_process());
        self.0.is_running.store(true, Ordering::SeqCst);
    }

    /// Sends one command on the harness's own connection and returns the reply as text, as [`RedisServer::command`].
    pub fn command(&self, args: &[&str]) -> String {
        self.try_command(args).unwrap_or_else(|error| panic!("{args:?} to {self:?}: {error}"))
    }

    /// As [`command`](TestClusterNode::command), for a node that may be down or frozen.
    ///
    /// # Errors
    /// Why there is no reply; a timeout after 5 s.
    pub fn try_command(&self, args: &[&str]) -> io::Result<String> {
        self.0.connection.try_command(self.0.port, self.0.password.as_deref(), args)
    }

    /// CLIENT LIST, a line for each normal client; left out are the harness itself, and connections of other nodes over
    /// which keys came in.
    pub fn client_list(&self) -> Vec<String> {
        let mut list = connection::without_harness(&self.command(&["CLIENT", "LIST", "TYPE", "normal"]));
        list.retain(|line| !line.split(' ').any(|field| field == "cmd=restore-asking"));
        list
    }

    /// How many normal clients are connected; see [`client_list`](TestClusterNode::client_list).
    pub fn client_count(&self) -> usize {
        self.client_list().len()
    }

    /// A connection of its own, for who must not wait for others.
    pub(super) fn connect(&self) -> io::Result<HarnessConnection> {
        HarnessConnection::open(self.0.port, self.0.password.as_deref())
    }

    /// Sends many commands, some at a time, and wants OK for each, or this other reply. What the replicas have not confirmed in
    /// time, as Valkey says, is sent again: it must do no harm twice.
    pub(super) fn command_all(&self, mut commands: Vec<Vec<String>>, or: Option<&str>) {
        wait_until_right(|| {
            let replies = self.connect().and_then(|mut connection| connection.call_all(&commands));
            let replies = replies.unwrap_or_else(|error| panic!("{} commands to {self:?}: {error}", commands.len()));
            let mut replies = replies.iter();
            commands.retain(|args| {
                let reply = replies.next().expect("a reply to each");
                let is_unconfirmed = reply.starts_with("-NOREPLICAS");
                let is_good = is_unconfirmed || reply == "OK" || or.is_some_and(|or| reply == or);
                assert!(is_good, "{args:?} to {self:?}: {reply}");
                is_unconfirmed
            });
            (!commands.is_empty()).then(|| format!("{commands:?} to {self:?} are not confirmed"))
        });
    }

    /// What other nodes call it by.
    pub(super) fn cluster_port(&self) -> u16 {
        self.tls_port().unwrap_or(self.0.port)
    }

    pub(super) fn bus_port(&self) -> u16 {
        self.0.bus_port
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.0.password.as_deref()
    }

    pub(super) fn replicas(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process and removes its directory, for good.
    pub(super) fn end(&self) {
        self.0.is_running.store(false, Ordering::SeqCst);
        *self.0.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn login(&self) -> String {
        self.0.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default()
    }

    fn with_server<T>(&self, act: impl FnOnce(&mut RedisServer) -> T) -> T {
        let mut server = self.0.server.lock().unwrap_or_else(PoisonError::into_inner);
        act(server.as_mut().expect("the cluster has ended"))
    }
}

impl fmt::Debug for TestClusterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address(), &self.0.id[..8])
    }
}

impl PartialEq for TestClusterNode {
    fn eq(&self, other: &TestClusterNode) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for TestClusterNode {}

fn arguments(options: &ClusterOptions, bus_port: u16, tls_port: Option<&ReservedPort>) -> Vec<String> {
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut args = vec!["--cluster-enabled".to_owned(), "yes".to_owned()];
    let mut set = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    set("cluster-node-timeout", options.node_timeout.as_millis().to_string());
    set("cluster-require-full-coverage", yes_or_no(options.requires_full_coverage));
    // With the default, 5 s, a primary waits so long for a second replica before it serves the first.
    set("repl-diskless-sync-delay", "0".to_owned());
    // A replica is not in CLUSTER SLOTS until its primary has sent it anything, be it a ping.
    set("repl-ping-replica-period", "1".to_owned());
    if let Some(password) = &options.password {
        set("requirepass", password.clone());
        set("masterauth", password.clone());
    }
    if let Some(tls_port) = tls_port {
        set("tls-port", tls_port.number().to_string());
        // Without it, the port of the bus would follow from that of TLS.
        set("cluster-port", bus_port.to_string());
        set("tls-cluster", yes_or_no(true));
        set("tls-replication", yes_or_no(true));
    }
    args.extend(options.tls_args.iter().flatten().cloned());
    args.extend(options.args.iter().cloned());
    args
}
