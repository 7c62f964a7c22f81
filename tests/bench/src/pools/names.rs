//! A connection by the name of its node, among one, a hundred and ten thousand nodes; and one Instant::now.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_manager::{Manager, RedisManager};
use redis_manager_tests::redis_server::RedisServer;

use super::contenders::{self, Free, Pool};
use super::subject::{DEADPOOL, OURS};
use crate::goals::{Goals, Want};
use crate::measure::Spread;
use crate::options::Options;
use crate::runner::{Handle, Kind, Runner};
use crate::table;

const NODES: [usize; 3] = [1, 100, 10_000];
/// With a server, through the manager that users have.
const URLS: usize = 100;

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

/// Measures and prints what a look-up by name costs, each node asked in turn.
pub(super) fn run(options: &Options, goals: &mut Goals) {
    let runner = Runner::start(Kind::TokioTwoWorkers);
    let handle = runner.handle.clone();
    let (rounds, times) = if options.quick { (1, 1_000) } else { (9, 200_000) };
    let server = Arc::new(RedisServer::start_with(&["--databases", "100"]));
    let series = runner.run(async move {
        let mut managers = Vec::new();
        for nodes in NODES {
            managers.push(manager_of(&handle, nodes).await);
        }
        let urls: Vec<String> = (0..URLS).map(|db| format!("{}/{db}", server.url())).collect();
        let of_urls = handle.build(RedisManager::builder().max_connection_size(8));
        for url in &urls {
            of_urls.add_node_pool(url).await.expect("a sound server on this machine accepts connections");
        }
        let deadpool = contenders::deadpool(8);
        let ours = contenders::ours(&handle, 8);
        let mut series: Vec<Vec<f64>> = vec![Vec::new(); NODES.len() + 4];
        for _ in 0..rounds {
            series[0].push(nanoseconds!(times, |_turn| Pool::get(&deadpool).await));
            series[1].push(nanoseconds!(times, |_turn| Pool::get(&ours).await));
            for (column, (manager, names)) in managers.iter().enumerate() {
                let timeout = Duration::from_secs(1);
                series[2 + column].push(nanoseconds!(times, |turn| {
                    manager.get(&names[turn % names.len()], timeout).await.expect("an open node lends")
                }));
            }
            series[5].push(nanoseconds!(times, |turn| {
                of_urls.get_client(&urls[turn % urls.len()]).await.expect("an open node lends")
            }));
            series[6].push(nanoseconds!(times, |_turn| Instant::now()));
        }
        of_urls.close_all_pools().await;
        drop(server);
        series
    });
    let names = [
        format!("{DEADPOOL}, a pool without a name"),
        format!("{OURS}, NodePool::get"),
        format!("{OURS}, Manager::get, 1 node"),
        format!("{OURS}, Manager::get, 100 nodes"),
        format!("{OURS}, Manager::get, 10 000 nodes"),
        format!("{OURS}, RedisManager::get_client(url), 100 nodes of a real server"),
        String::from("floor: one Instant::now"),
    ];
    let row = |(name, values): (&String, &Vec<f64>)| {
        vec![name.clone(), Spread::of(values).to_string(), Spread::of_ratios(values, &series[0]).to_string()]
    };
    let rows: Vec<_> = names.iter().zip(&series).map(row).collect();
    table::print("Get and drop by name, one task, tokio, two workers", &["", "ns", "to deadpool"], &rows);
    let ratio = Some(Spread::of_ratios(&series[5], &series[0]));
    goals.judge("get + drop through RedisManager::get_client(url), 100 nodes: time to deadpool", Want::AtMost(0.5), ratio);
}

async fn manager_of(handle: &Handle, nodes: usize) -> (Manager<Free>, Vec<String>) {
    let manager = Manager::new(contenders::node_config(8), handle.runtime());
    let names: Vec<String> = (0..nodes).map(|node| format!("redis://10.0.{}.{}:6379", node / 256, node % 256)).collect();
    for name in &names {
        manager.add(name, Duration::from_secs(10), || Free).await.expect("a node that costs nothing can be added");
    }
    (manager, names)
}
