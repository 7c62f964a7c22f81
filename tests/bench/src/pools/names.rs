//! A connection by the name of its node, among one, a hundred and ten thousand nodes; and the floors of such times.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_manager::RedisManager;
use redis_manager::pool::Manager;
use redis_manager_tests::redis_server::RedisServer;

use super::contenders::{self, BenchPool, NothingConnector, OurPool};
use super::subject::{DEADPOOL, DEADPOOL_WITH_TIMEOUT, OURS};
use crate::goals::{Goals, Want};
use crate::measure::Spread;
use crate::options::Options;
use crate::runner::{BenchExecutor, Handle, Runner};
use crate::table;

const NODES: [usize; 3] = [1, 100, 10_000];
/// Among so many nodes of a real server the goal is set.
const JUDGED: usize = 100;

/// The nanoseconds of an expression and the drop of its value; a tenth as many go before, unmeasured. A macro, because
/// futures that are lent from closures are not known to be `Send`.
macro_rules! nanoseconds {
    ($times:expr, |$turn:ident| $each:expr) => {{
        for $turn in 0..$times / 10 {
            let _ = black_box($each);
        }
        let start = Instant::now();
        for $turn in 0..$times {
            let _ = black_box($each);
        }
        start.elapsed().as_nanos() as f64 / $times as f64
    }};
}

/// Nanoseconds by row, round by round; the rows in the order in which they first came.
#[derive(Default)]
struct Rows(Vec<(String, Vec<f64>)>);

impl Rows {
    fn push(&mut self, name: &str, nanoseconds: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(nanoseconds),
            None => self.0.push((String::from(name), vec![nanoseconds])),
        }
    }

    fn of(&self, name: &str) -> Option<&Vec<f64>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, values)| values)
    }

    fn to_deadpool(&self, values: &[f64]) -> Option<Spread> {
        Some(Spread::of_ratios(values, self.of(DEADPOOL)?))
    }
}

/// Nodes that cost nothing, by name.
struct Named {
    manager: Manager<NothingConnector>,
    names: Vec<String>,
}

/// Databases of a real server, each a node of its own, as users have them.
struct Urls {
    manager: RedisManager,
    urls: Vec<String>,
}

/// Measures and prints what a look-up by name costs, each node asked in turn.
pub(super) fn run(options: &Options, goals: &mut Goals) {
    let runner = Runner::start(BenchExecutor::TokioTwoWorkers);
    let handle = runner.handle.clone();
    let (rounds, times) = if options.quick { (1, 1_000) } else { (9, 200_000) };
    let wanted = if options.quick { &NODES[..2] } else { &NODES[..] };
    let (possible, impossible): (Vec<_>, Vec<_>) = wanted.iter().copied().partition(|nodes| nodes + 500 <= descriptors());
    let server = Arc::new(RedisServer::start_with(&["--databases", "10000", "--maxclients", "15000"]));
    let rows = runner.run(async move {
        let (mut named, mut urls) = (Vec::new(), Vec::new());
        for nodes in NODES {
            named.push(Named::new(&handle, nodes).await);
        }
        for nodes in possible {
            urls.push(Urls::new(&handle, &server, nodes).await);
        }
        let mut rows = Rows::default();
        for _ in 0..rounds {
            nameless(&handle, times, &mut rows).await;
            for Named { manager, names } in &named {
                let name = format!("{OURS}, Manager::get, {}", count(names.len()));
                let timeout = Duration::from_secs(1);
                let get = nanoseconds!(times, |turn| manager.get(&names[turn % names.len()], timeout).await.expect("it lends"));
                rows.push(&name, get);
            }
            for Urls { manager, urls } in &urls {
                let get = nanoseconds!(times, |turn| manager.get_client(&urls[turn % urls.len()]).await.expect("it lends"));
                rows.push(&by_url(urls.len()), get);
            }
            floors(times, &mut rows);
        }
        for Urls { manager, .. } in &urls {
            manager.close_all_pools().await;
        }
        rows
    });
    let row = |(name, values): &(String, Vec<f64>)| {
        let ratio = rows.to_deadpool(values).map(|ratio| ratio.to_string()).unwrap_or_default();
        vec![name.clone(), Spread::of(values).to_string(), ratio]
    };
    let cells: Vec<_> = rows.0.iter().map(row).collect();
    table::print("Get and drop by name, one task, tokio, two workers", &["", "ns", "to deadpool"], &cells);
    for nodes in impossible {
        println!("\nThis process may not open the sockets of {nodes} nodes: see ulimit -n.");
    }
    let ratio = rows.of(&by_url(JUDGED)).and_then(|values| rows.to_deadpool(values));
    goals.judge("get + drop through RedisManager::get_client(url), 100 nodes: time to deadpool", Want::AtMost(0.5), ratio);
}

fn by_url(nodes: usize) -> String {
    format!("{OURS}, RedisManager::get_client(url), {} of a real server", count(nodes))
}

fn count(nodes: usize) -> String {
    if nodes == 1 { String::from("1 node") } else { format!("{nodes} nodes") }
}

/// The pools without a name.
async fn nameless(handle: &Handle, times: usize, rows: &mut Rows) {
    let deadpool = contenders::deadpool(8);
    rows.push(DEADPOOL, nanoseconds!(times, |_turn| BenchPool::get(&deadpool).await));
    let deadpool = contenders::deadpool_with_timeout(BenchExecutor::TokioTwoWorkers, 8);
    rows.push(DEADPOOL_WITH_TIMEOUT, nanoseconds!(times, |_turn| BenchPool::get(&deadpool).await));
    let ours: OurPool = contenders::ours(handle, 8);
    rows.push(&format!("{OURS}, NodePool::get"), nanoseconds!(times, |_turn| BenchPool::get(&ours).await));
}

/// What every pool is made of.
fn floors(times: usize, rows: &mut Rows) {
    rows.push("floor: one Instant::now", nanoseconds!(times, |_turn| Instant::now()));
    let shared = Arc::new(1_u64);
    rows.push("floor: one Arc, cloned and dropped", nanoseconds!(times, |_turn| Arc::clone(&shared)));
}

impl Named {
    async fn new(handle: &Handle, nodes: usize) -> Named {
        let manager = Manager::new(contenders::node_config(8), handle.runtime());
        let names: Vec<String> = (0..nodes).map(|node| format!("redis://10.0.{}.{}:6379", node / 256, node % 256)).collect();
        for name in &names {
            manager
                .add(name, Duration::from_secs(10), || NothingConnector)
                .await
                .expect("a node that costs nothing can be added");
        }
        Named { manager, names }
    }
}

impl Urls {
    async fn new(handle: &Handle, server: &RedisServer, nodes: usize) -> Urls {
        let manager = handle.build(RedisManager::builder().max_connection_size(8));
        let urls: Vec<String> = (0..nodes).map(|db| format!("{}/{db}", server.url())).collect();
        for url in &urls {
            manager.add_node_pool(url).await.expect("a sound server on this machine accepts connections");
        }
        Urls { manager, urls }
    }
}

/// How many files and sockets this process may have open; many where that cannot be read.
fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(usize::MAX)
}
