//! A real Redis Cluster of a test's own: formed, hurt, resharded and asked; it knows nothing of the pool.
//!
//! All is plain blocking code over the harness's own RESP connections (redis-cli is not needed), so it can be used from
//! every runtime; what waits, such as [`wait_for_promotion`](TestCluster::wait_for_promotion), belongs on a thread of
//! its own if tasks of the same thread shall go on meanwhile. Everything takes `&self`: share it by reference or `Arc`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

mod failover;
mod forming;
mod moving;
mod node;
mod slots;
mod view;

pub use node::TestClusterNode;
pub use slots::{SLOTS, SlotRange, key_for_slot, slot_of};

use view::{NodesLine, NodesLineRole};

/// How long a change may take until all nodes know of it; they need a second or two.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What a [`TestCluster`] is made of.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    primaries: usize,
    replicas: usize,
    node_timeout: Duration,
    requires_full_coverage: bool,
    password: Option<String>,
    tls_args: Option<Vec<String>>,
    args: Vec<String>,
}

impl ClusterOptions {
    /// How many primaries share the slots; 3 unless told, which is the least that can elect.
    pub fn primaries(mut self, primaries: usize) -> ClusterOptions {
        self.primaries = primaries;
        self
    }

    /// How many replicas there are in all, dealt to the primaries in turn; 3 unless told.
    pub fn replicas(mut self, replicas: usize) -> ClusterOptions {
        self.replicas = replicas;
        self
    }

    /// `cluster-node-timeout`: how long a node is silent until others hold it for dead; 2 s unless told.
    pub fn node_timeout(mut self, node_timeout: Duration) -> ClusterOptions {
        self.node_timeout = node_timeout;
        self
    }

    /// `cluster-require-full-coverage`: whether all slots refuse to serve when one has no node; yes unless told, as in
    /// Redis.
    pub fn require_full_coverage(mut self, yes: bool) -> ClusterOptions {
        self.requires_full_coverage = yes;
        self
    }

    /// `requirepass` and `masterauth` of all nodes; letters and digits only.
    pub fn password(mut self, password: &str) -> ClusterOptions {
        self.password = Some(password.to_owned());
        self
    }

    /// Opens a TLS port on each node and lets the nodes talk TLS among themselves, with these arguments, such as
    /// `["--tls-cert-file", path, "--tls-key-file", path, "--tls-ca-cert-file", path]`.
    pub fn tls(mut self, args: &[&str]) -> ClusterOptions {
        self.tls_args = Some(args.iter().map(|arg| (*arg).to_owned()).collect());
        self
    }

    /// Arguments for each node, such as `["--maxclients", "100"]`.
    pub fn args(mut self, args: &[&str]) -> ClusterOptions {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Starts the nodes, makes a cluster of them, and waits until all of them agree that it is one: a good 2 s.
    ///
    /// # Panics
    /// If there is no redis-server, or no cluster within 20 s.
    pub fn start(self) -> TestCluster {
        TestCluster::form(self)
    }
}

/// A cluster of `redis-server` processes; dropping it, in a panic too, kills them and removes their directories.
///
/// # Panics
/// A test that cannot get what it asks for cannot go on: every method panics if it cannot do what it says.
#[derive(Debug)]
pub struct TestCluster {
    options: ClusterOptions,
    nodes: RwLock<Vec<TestClusterNode>>,
}

impl TestCluster {
    /// Three primaries with a replica each; see [`ClusterOptions::start`].
    pub fn start() -> TestCluster {
        TestCluster::options().start()
    }

    /// What can be chosen.
    pub fn options() -> ClusterOptions {
        ClusterOptions {
            primaries: 3,
            replicas: 3,
            node_timeout: Duration::from_secs(2),
            requires_full_coverage: true,
            password: None,
            tls_args: None,
            args: Vec::new(),
        }
    }

    /// Whether there is a redis-server to start; for programs that would rather say so than panic.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub fn check_requirements() -> Result<(), String> {
        match Command::new("redis-server").arg("--version").output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("redis-server does not run: {}", String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(format!(
                "this needs redis-server 7 on the PATH ({error}): on Debian and its kin, `apt-get install redis-server`"
            )),
        }
    }

    /// All nodes, dead ones too: first the primaries of the start, then the replicas, then those that were added.
    pub fn nodes(&self) -> Vec<TestClusterNode> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> TestClusterNode {
        let node = self.nodes().into_iter().find(|node| node.id() == id);
        node.unwrap_or_else(|| panic!("no node {id} in {self:?}"))
    }

    /// `redis://127.0.0.1:PORT` of all nodes, as a client wants them to start from.
    pub fn urls(&self) -> Vec<String> {
        self.nodes().iter().map(TestClusterNode::url).collect()
    }

    /// The nodes that are primaries now, dead ones too as long as nobody took their place.
    pub fn primaries(&self) -> Vec<TestClusterNode> {
        let lines = self.look();
        let is_owner =
            |line: &NodesLine| line.slots.iter().flat_map(Clone::clone).any(|slot| owner_in(&lines, slot) == Some(&line.id));
        let is_primary = |node: &TestClusterNode| lines.get(node.id()).is_some_and(|line| line.role == NodesLineRole::Primary);
        let is_dead = |node: &TestClusterNode| !node.is_running();
        let mut nodes = self.nodes();
        nodes.retain(|node| is_primary(node) && (!is_dead(node) || lines.get(node.id()).is_some_and(is_owner)));
        nodes
    }

    /// The nodes that are replicas now.
    pub fn replicas(&self) -> Vec<TestClusterNode> {
        let lines = self.look();
        let mut nodes = self.nodes();
        nodes.retain(|node| lines.get(node.id()).is_some_and(|line| line.role != NodesLineRole::Primary));
        nodes
    }

    /// The primary that has this slot now; during a failover the dead one, until a replica has taken it over.
    pub fn owner_of_slot(&self, slot: u16) -> TestClusterNode {
        let lines = self.look();
        let owner = owner_in(&lines, slot);
        self.node(owner.unwrap_or_else(|| panic!("nobody has slot {slot}: {lines:?}")))
    }

    /// The primary that has the slot of this key now.
    pub fn primary_of(&self, key: &str) -> TestClusterNode {
        self.owner_of_slot(slot_of(key))
    }

    /// A replica that this primary has now.
    pub fn replica_of(&self, primary: &TestClusterNode) -> TestClusterNode {
        let replicas = self.replicas_of(primary);
        replicas.into_iter().next().unwrap_or_else(|| panic!("{primary:?} has no replica: {:?}", self.look()))
    }

    /// All replicas that this primary has now.
    pub fn replicas_of(&self, primary: &TestClusterNode) -> Vec<TestClusterNode> {
        let lines = self.look();
        let mut nodes = self.nodes();
        nodes.retain(|node| lines.get(node.id()).is_some_and(|line| line.is_replica_of(primary.id())));
        nodes
    }

    /// The slots that this node has now.
    pub fn slots_of(&self, node: &TestClusterNode) -> Vec<RangeInclusive<u16>> {
        self.look().get(node.id()).map(|line| line.slots.clone()).unwrap_or_default()
    }

    /// A key that is on this primary now, always the same one as long as its slots are the same; whatever is put before
    /// it has no effect on where it is.
    pub fn key_in(&self, primary: &TestClusterNode) -> String {
        let slots = self.slots_of(primary);
        let first = slots.first().unwrap_or_else(|| panic!("{primary:?} has no slots"));
        key_for_slot(*first.start())
    }

    /// How many normal clients each running node has, by address; without the harness and the nodes themselves.
    pub fn client_counts(&self) -> BTreeMap<String, usize> {
        let running = self.nodes().into_iter().filter(TestClusterNode::is_running);
        running.map(|node| (node.address(), node.client_count())).collect()
    }

    /// What each node says of itself if it runs, and otherwise what the others say of it; by id.
    fn look(&self) -> BTreeMap<String, NodesLine> {
        let mut lines: BTreeMap<String, NodesLine> = BTreeMap::new();
        let mut of_themselves = BTreeMap::new();
        for node in self.nodes().iter().filter(|node| node.is_running()) {
            // It may have died or have been frozen since.
            let view = node.try_command(&["CLUSTER", "NODES"]).ok().and_then(|text| view::parse(&text));
            for line in view.into_iter().flatten() {
                if line.id == node.id() {
                    of_themselves.insert(line.id.clone(), line);
                } else if lines.get(&line.id).is_none_or(|known| known.epoch <= line.epoch) {
                    lines.insert(line.id.clone(), line);
                }
            }
        }
        lines.extend(of_themselves);
        self.remember_replicas(&lines);
        lines
    }

    fn remember_replicas(&self, lines: &BTreeMap<String, NodesLine>) {
        for node in self.nodes() {
            let replicas = lines.values().filter(|line| line.is_replica_of(node.id()));
            let replicas: Vec<String> = replicas.map(|line| line.id.clone()).collect();
            if !replicas.is_empty() {
                *node.replicas() = replicas;
            }
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in self.nodes() {
            node.end();
        }
    }
}

/// Of several that claim it, the one with the highest epoch has it.
fn owner_in(lines: &BTreeMap<String, NodesLine>, slot: u16) -> Option<&String> {
    let owners = lines.values().filter(|line| line.role == NodesLineRole::Primary && line.has(slot));
    owners.max_by_key(|line| line.epoch).map(|line| &line.id)
}

/// Looks until nothing is wrong any more.
///
/// # Panics
/// After 20 s, with what was wrong at last.
fn wait_until_right(mut wrong: impl FnMut() -> Option<String>) {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    while let Some(what) = wrong() {
        assert!(Instant::now() < deadline, "still after {SETTLE_TIMEOUT:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}
