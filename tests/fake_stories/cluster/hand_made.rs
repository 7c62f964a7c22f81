//! Servers that answer about a cluster what a test wants them to: no fake cluster would say it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{AddNodeError, ClusterArgs, NodeHandle, RedisManager};

use crate::cluster::cluster_story::CLUSTER;
use crate::story::SECOND;

type WordsScript = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Some servers on a network, and a manager that has not added anything.
pub(crate) struct HandMadeCluster {
    pub(crate) runtime: FakeRuntime,
    pub(crate) network: FakeNetwork,
    pub(crate) manager: RedisManager,
    pub(crate) nodes: Vec<FakeRedis>,
}

impl HandMadeCluster {
    /// Servers at `a.test:7000`, `b.test:7000` and so on.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let manager = RedisManager::builder().default_timeout(2 * SECOND).build(network.clone()).expect("valid settings");
        let nodes = ('a'..).take(count).map(|letter| format!("{letter}.test:7000"));
        let nodes = nodes.map(|name| FakeRedis::start(&network, &name).expect("a free address")).collect();
        Self { runtime, network, manager, nodes }
    }

    /// A node answers requests in their words, in capitals as they are sent, with bytes of the protocol.
    pub(crate) fn answer(&self, number: usize, script: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        let script: WordsScript = Arc::new(script);
        self.nodes[number].set(|behaviour| {
            behaviour.script = Some(Box::new(move |words| {
                let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
                script(&words.join(" ")).map(String::into_bytes)
            }));
        });
    }

    /// Adds it as a cluster, from the first node on.
    pub(crate) fn add(&self, args: ClusterArgs) -> Result<NodeHandle, AddNodeError> {
        self.runtime.block_on(self.manager.add_cluster(CLUSTER, ["redis://a.test:7000"], args))
    }

    /// Dials of all nodes so far.
    pub(crate) fn dials(&self) -> u64 {
        self.nodes.iter().map(|node| node.host().connections_made()).sum()
    }

    pub(crate) fn count_of(&self, number: usize, words: &str) -> usize {
        let is_it =
            |command: &[Vec<u8>]| command.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ") == words;
        self.nodes[number].journal().iter().filter(|seen| is_it(&seen.command)).count()
    }

    /// Closes everything: no stream and no task is left.
    pub(crate) fn end(self) {
        let Self { runtime, network, manager, nodes } = self;
        runtime.block_on(manager.close_all_pools());
        drop(manager);
        runtime.advance(Duration::from_secs(1));
        assert_eq!(network.open_streams(), 0);
        drop(nodes);
        runtime.advance(Duration::from_secs(60));
        assert_eq!(runtime.tasks(), 0);
    }
}

/// The reply to CLUSTER SLOTS: first and last slot, host, port.
pub(crate) fn slots(ranges: &[(i64, i64, &str, i64)]) -> String {
    let mut reply = format!("*{}\r\n", ranges.len());
    for (first, last, host, port) in ranges {
        let id = format!("{host}:{port}");
        let host = if host.is_empty() { String::from("$-1\r\n") } else { bulk(host) };
        write!(reply, "*3\r\n:{first}\r\n:{last}\r\n*3\r\n{host}:{port}\r\n{}", bulk(&id)).expect("a string");
    }
    reply
}

pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

pub(crate) fn refused() -> String {
    String::from("-NOPERM this user has no permissions to run it\r\n")
}
