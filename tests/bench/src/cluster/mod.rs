//! Clusters: tasks that GET 100 bytes of 1 000 keys from three primaries on this machine, one by one, by pipelines and by MGET,
//! through the clients of whole clusters, and through leases on the owner of a key.
//!
//! Measured as everything end to end; see there.

mod contenders;

use std::time::Duration;

use redis_manager_tests::cluster::TestCluster;
use redis_manager_tests::redis_server::RedisServer;

use crate::end_to_end::race::{Contest, RaceResults, print, race, ratio, ratio_of_cpu};
use crate::goals::{Goals, Want};
use crate::options::Options;
use crate::runner::{BenchExecutor, Runner};
use contenders::{FRED, LEASE_FOR_KEY, LEASE_OF_NODE, LEASE_OF_THREE, OURS_ROUTED, REDIS_RS, RUSTIS};

const TASKS: [usize; 4] = [1, 16, 64, 512];
const LEASE_TASKS: [usize; 2] = [16, 64];
const BATCH_TASKS: [usize; 1] = [16];

/// Measures and prints everything of clusters.
pub(crate) fn run(options: &Options, goals: &mut Goals) {
    let cluster = TestCluster::options().replicas(0).start();
    // As many servers: a server of its own for every third of the keys costs the machine more than one for all.
    let nodes = [(); 3].map(|()| RedisServer::start());
    contenders::fill(&cluster, &nodes);
    let runner = Runner::start(BenchExecutor::TokioTwoWorkers);
    let contest = Contest { warm_up: Duration::from_millis(50), window: Duration::from_millis(250), rounds: 9, server: None };
    let contest = if options.quick { contest.quick() } else { contest };

    let (handle, urls) = (runner.handle.clone(), cluster.urls());
    let all = runner.run(async move { contenders::single(&handle, urls).await }).expect("a sound cluster accepts connections");
    let cells = race(&runner, all, &TASKS, &contest);
    print("Clients of a cluster, GET, tokio, two workers", &cells, OURS_ROUTED);
    for (tasks, bound) in TASKS.into_iter().zip([1.1, 1.2, 1.3, 1.3]) {
        let best = best_of(&cells, tasks, &[REDIS_RS, FRED, RUSTIS]);
        goals.judge(
            &format!("client of a cluster, GET, {tasks} tasks: ops/s to the best, {best}"),
            Want::AtLeast(bound),
            ratio(&cells, tasks, OURS_ROUTED, best),
        );
        for peer in [REDIS_RS, FRED, RUSTIS] {
            let what = format!("client of a cluster, GET, {tasks} tasks: CPU for each command to {peer}");
            goals.judge(&what, Want::AtMost(1.0), ratio_of_cpu(&cells, tasks, OURS_ROUTED, peer));
        }
    }

    let (handle, urls, node_urls) = (runner.handle.clone(), cluster.urls(), nodes.iter().map(RedisServer::url).collect());
    let all = runner
        .run(async move { contenders::leases(&handle, urls, node_urls).await })
        .expect("a sound cluster accepts connections");
    let cells = race(&runner, all, &LEASE_TASKS, &contest);
    print("Leases on the owner of a key beside those of plain nodes, tokio, two workers", &cells, LEASE_FOR_KEY);
    for tasks in LEASE_TASKS {
        let what = format!("get_client_for_key + GET + drop, {tasks} tasks: ops/s to get_client on one node");
        goals.judge(&what, Want::AtLeast(0.85), ratio(&cells, tasks, LEASE_FOR_KEY, LEASE_OF_NODE));
        let what = format!("get_client_for_key + GET + drop, {tasks} tasks: ops/s to get_client on three nodes");
        goals.judge(&what, Want::AtLeast(0.85), ratio(&cells, tasks, LEASE_FOR_KEY, LEASE_OF_THREE));
    }

    for (title, batch, peers) in [
        ("pipelines of 100 GETs over all slots", contenders::Batch::Pipeline, &[FRED][..]),
        ("MGET of 100 keys over all slots", contenders::Batch::MultiGet, &[REDIS_RS, RUSTIS][..]),
    ] {
        let (handle, urls) = (runner.handle.clone(), cluster.urls());
        let all = runner.run(async move { contenders::batches(&handle, urls, batch).await });
        let cells = race(&runner, all.expect("a sound cluster accepts connections"), &BATCH_TASKS, &contest);
        print(&format!("Clients of a cluster, {title}, tokio, two workers"), &cells, OURS_ROUTED);
        for tasks in BATCH_TASKS {
            let best = best_of(&cells, tasks, peers);
            let what = format!("client of a cluster, {title}, {tasks} tasks: ops/s to the best, {best}");
            goals.judge(&what, Want::AtLeast(1.3), ratio(&cells, tasks, OURS_ROUTED, best));
        }
    }
}

/// The one that we are the least ahead of.
fn best_of<'a>(cells: &[RaceResults], tasks: usize, peers: &[&'a str]) -> &'a str {
    let median = |peer: &str| ratio(cells, tasks, OURS_ROUTED, peer).map_or(f64::INFINITY, |ratio| ratio.median);
    let best = peers.iter().min_by(|one, other| median(one).total_cmp(&median(other)));
    best.copied().unwrap_or_default()
}
