//! How nodes become a cluster, and leave it: CLUSTER MEET, ADDSLOTS, REPLICATE, FORGET; and when it is whole.
//!
//! What makes it quick: everybody meets everybody, so that nobody has to hear of others by gossip; epochs and slots are
//! set before anybody meets; and a replica follows its primary before it meets the others, so that its first word to
//! them says whose replica it is. What is left are the 2 s for which a primary refuses to serve after its start, in any
//! case (CLUSTER_WRITABLE_DELAY in the source of Redis).

use std::sync::{PoisonError, RwLock};

use super::view::{NodesLine, NodesLineRole};
use super::{ClusterOptions, SLOTS, TestCluster, TestClusterNode, view, wait_until_right};

impl TestCluster {
    pub(super) fn form(options: ClusterOptions) -> TestCluster {
        let (primaries, replicas) = (options.primaries, options.replicas);
        assert!(primaries > 0, "a cluster without primaries has no slots");
        let nodes: Vec<TestClusterNode> = (0..primaries + replicas).map(|_| TestClusterNode::start(&options)).collect();
        for (n, node) in nodes.iter().enumerate() {
            must(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        let (primaries, replicas) = nodes.split_at(primaries);
        for (n, node) in primaries.iter().enumerate() {
            let bound = |n| n * usize::from(SLOTS) / primaries.len();
            // One by one, since ADDSLOTSRANGE is unknown before Redis 7.
            let slots: Vec<String> = (bound(n)..bound(n + 1)).map(|slot| slot.to_string()).collect();
            must(node, &["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect::<Vec<_>>());
            meet(node, &primaries[..n]);
        }
        let pairs: Vec<_> = replicas.iter().zip(primaries.iter().cycle()).collect();
        for (replica, primary) in &pairs {
            meet(replica, &[(*primary).clone()]);
        }
        for (replica, primary) in &pairs {
            replicate(replica, primary);
        }
        for (n, replica) in replicas.iter().enumerate() {
            meet(replica, primaries);
            meet(replica, &replicas[..n]);
        }
        let cluster = TestCluster { options, nodes: RwLock::new(nodes) };
        cluster.wait_until_whole();
        // So that it is known who replicates whom before anything happens.
        cluster.look();
        cluster
    }

    /// Starts a node and makes it a primary of the cluster without slots.
    pub fn add_node(&self) -> TestClusterNode {
        self.add(None)
    }

    /// Starts a node and makes it a replica of this primary, in sync.
    pub fn add_replica_of(&self, primary: &TestClusterNode) -> TestClusterNode {
        self.add(Some(primary))
    }

    /// Moves its slots to the other primaries in equal parts and its replicas to one of them, lets all forget it, kills
    /// it and removes it. As long as it has slots, it must be running.
    pub fn remove_node(&self, node: &TestClusterNode) {
        let mut others = self.primaries();
        others.retain(|other| other != node && other.is_running());
        let heir = others.first().expect("a primary remains");
        for slots in self.slots_of(node) {
            let (first, count) = (usize::from(*slots.start()), slots.len());
            for (n, other) in others.iter().enumerate() {
                let bound = |n| first + n * count / others.len();
                if bound(n) < bound(n + 1) {
                    let number = |slot| u16::try_from(slot).expect("a slot");
                    self.move_slots(number(bound(n))..=number(bound(n + 1) - 1), other);
                }
            }
        }
        for replica in self.replicas_of(node).iter().filter(|replica| replica.is_running()) {
            replicate(replica, heir);
        }
        let mut rest = self.nodes();
        rest.retain(|other| other != node);
        // Within a minute at all of them, or they hear of it from each other again.
        for other in rest.iter().filter(|other| other.is_running()) {
            wait_until_right(|| refusal(other, &["CLUSTER", "FORGET", node.id()]).filter(|why| !why.contains("Unknown node")));
        }
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = rest;
        node.end();
        self.wait_until_whole();
    }

    /// Waits until all running nodes say `cluster_state:ok`, know all others, agree on roles and slots, name them
    /// to clients, and replicas are in sync; dead and frozen ones are not asked.
    ///
    /// # Panics
    /// After 20 s, with what is wrong.
    pub fn wait_until_whole(&self) {
        wait_until_right(|| self.flaw());
    }

    fn add(&self, primary: Option<&TestClusterNode>) -> TestClusterNode {
        let node = TestClusterNode::start(&self.options);
        if let Some(primary) = primary {
            meet(&node, std::slice::from_ref(primary));
            replicate(&node, primary);
        }
        let mut running = self.nodes();
        running.retain(TestClusterNode::is_running);
        meet(&node, &running);
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).push(node.clone());
        self.wait_until_whole();
        node
    }

    fn flaw(&self) -> Option<String> {
        let nodes = self.nodes();
        let mut running = nodes.clone();
        running.retain(TestClusterNode::is_running);
        let mut views = Vec::new();
        for node in &running {
            match view_of(node) {
                Ok(view) => views.push(view),
                Err(why) => return Some(format!("{node:?}: {why}")),
            }
        }
        let of_themselves: Vec<&NodesLine> =
            running.iter().zip(&views).filter_map(|(node, view)| line_of(node.id(), &view.lines)).collect();
        running.iter().zip(&views).find_map(|(node, view)| {
            let count = view.lines.len();
            let unknown = (count != nodes.len()).then(|| format!("it knows {count} of {} nodes", nodes.len()));
            let flaw = unknown.or_else(|| of_themselves.iter().find_map(|own| view.flaw_about(own)));
            flaw.map(|flaw| format!("{node:?}: {flaw}"))
        })
    }
}

/// What a node says of the cluster.
struct View {
    /// CLUSTER NODES.
    lines: Vec<NodesLine>,
    /// CLUSTER SLOTS, where clients find who serves.
    slots: String,
}

impl View {
    /// Where it differs from what a node says of itself.
    fn flaw_about(&self, own: &NodesLine) -> Option<String> {
        let line = line_of(&own.id, &self.lines);
        if !line.is_some_and(|line| line.is_well && line.role == own.role && line.slots == own.slots) {
            return Some(format!("{line:?} in place of {own:?}"));
        }
        let primary = self.lines.iter().find(|line| own.is_replica_of(&line.id)).unwrap_or(own);
        let is_named = self.slots.lines().any(|line| line == own.id);
        (!primary.slots.is_empty() && !is_named).then(|| format!("no {own:?} in CLUSTER SLOTS:\n{}", self.slots))
    }
}

/// What it says of the cluster, if it is content with the cluster and, as a replica, in sync.
fn view_of(node: &TestClusterNode) -> Result<View, String> {
    let ask = |args: &[&str]| node.try_command(args).map_err(|error| error.to_string());
    let info = ask(&["CLUSTER", "INFO"])?;
    if !info.contains("cluster_state:ok") {
        return Err(info);
    }
    let text = ask(&["CLUSTER", "NODES"])?;
    let lines = view::parse(&text).ok_or(text)?;
    let own = line_of(node.id(), &lines).ok_or("it does not know itself")?;
    if own.role != NodesLineRole::Primary && !ask(&["INFO", "replication"])?.contains("master_link_status:up") {
        return Err("not in sync".to_owned());
    }
    Ok(View { lines, slots: ask(&["CLUSTER", "SLOTS"])? })
}

fn line_of<'a>(id: &str, lines: &'a [NodesLine]) -> Option<&'a NodesLine> {
    lines.iter().find(|line| line.id == id)
}

fn meet(node: &TestClusterNode, others: &[TestClusterNode]) {
    for other in others {
        let (port, bus_port) = (other.cluster_port().to_string(), other.bus_port().to_string());
        must(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]);
    }
}

/// Makes it a replica, as soon as it knows the primary.
fn replicate(replica: &TestClusterNode, primary: &TestClusterNode) {
    wait_until_right(|| refusal(replica, &["CLUSTER", "REPLICATE", primary.id()]));
}

fn must(node: &TestClusterNode, args: &[&str]) {
    if let Some(refusal) = refusal(node, args) {
        panic!("{refusal}");
    }
}

fn refusal(node: &TestClusterNode, args: &[&str]) -> Option<String> {
    let reply = node.command(args);
    (reply != "OK").then(|| format!("{args:?} to {node:?}: {reply}"))
}
