//! End to end: tasks that GET 100 bytes from a real server on this machine, through exclusive and shared clients.
//!
//! Each round races all contenders of a kind one after the other, in an order that rotates from round to round; each race
//! is a warm-up and then a window in which every operation is timed. What is printed is the median over the rounds with
//! the least and the most; a ratio is the median of the rounds' own ratios. Connections and commands are the server's
//! own counts, CPU is what this process used. Peers are as they come; only the size of their pools is set.

pub(crate) mod contenders;
mod idle;
pub(crate) mod load;
pub(crate) mod race;
mod server_ceiling;

use std::sync::Arc;
use std::time::Duration;

use redis_manager_tests::redis_server::RedisServer;

use crate::goals::{Goals, Want};
use crate::options::Options;
use crate::runner::{BenchExecutor, Runner};
use contenders::{
    BB8, BB8_UNCHECKED, CONNECTION_MANAGER, DEADPOOL, FRED_EXCLUSIVE, FRED_POOL, FRED_POOL_16, MULTIPLEXED, OURS, OURS_SHARED,
    PIPELINE_LENGTH, POOL_SIZE, RUSTIS,
};
use race::{Contest, RaceResults, print, race, ratio, ratio_of_cpu};

/// What is asked for, of 100 bytes.
const KEY: &str = "bench";
const TASKS: [usize; 4] = [1, 16, 64, 512];
/// Tasks that send pipelines.
const PIPELINING_TASKS: [usize; 1] = [16];

/// Measures and prints everything end to end.
pub(crate) fn run(options: &Options, goals: &mut Goals) {
    let server = Arc::new(RedisServer::start());
    server.command(&["SET", KEY, &"x".repeat(100)]);
    contenders::add_users(&server);
    server_ceiling::print(server.port(), &TASKS, options);
    idle::run(server.port());
    let contest = Contest {
        warm_up: Duration::from_millis(50),
        window: Duration::from_millis(250),
        rounds: 9,
        server: Some(Arc::clone(&server)),
    };
    let contest = if options.quick { contest.quick() } else { contest };
    for kind in [BenchExecutor::TokioTwoWorkers, BenchExecutor::SmolTwoThreads] {
        let runner = Runner::start(kind);
        let handle = runner.handle.clone();
        let port = server.port();
        let contenders = runner.run(async move { contenders::exclusive(kind, &handle, port).await });
        let contenders = contenders.expect("a sound server on this machine accepts connections");
        let cells = race(&runner, contenders, &TASKS, &contest);
        print(&format!("Exclusive clients, pools of {POOL_SIZE}, {kind}"), &cells, OURS);
        if kind == BenchExecutor::TokioTwoWorkers {
            judge_exclusive(&cells, goals);
        }
        let handle = runner.handle.clone();
        let contenders = runner.run(async move { contenders::shared(kind, &handle, port).await });
        let contenders = contenders.expect("a sound server on this machine accepts connections");
        let cells = race(&runner, contenders, &TASKS, &contest);
        print(&format!("Shared clients, {kind}"), &cells, MULTIPLEXED);
        if kind == BenchExecutor::TokioTwoWorkers {
            judge_shared(&cells, goals);
        }
        let handle = runner.handle.clone();
        let contenders = runner.run(async move { contenders::pipelining(&handle, port).await });
        let contenders = contenders.expect("a sound server on this machine accepts connections");
        let cells = race(&runner, contenders, &PIPELINING_TASKS, &contest);
        print(&format!("Shared clients, pipelines of {PIPELINE_LENGTH} GETs, {kind}"), &cells, MULTIPLEXED);
        if kind == BenchExecutor::TokioTwoWorkers {
            judge_pipelines(&cells, goals);
        }
    }
}

fn judge_exclusive(cells: &[RaceResults], goals: &mut Goals) {
    // For each number of tasks.
    let wanted = [(DEADPOOL, [2.2; 4]), (BB8, [2.2; 4]), (BB8_UNCHECKED, [1.0, 1.15, 1.15, 1.15]), (FRED_EXCLUSIVE, [1.05; 4])];
    for (peer, bounds) in wanted {
        for (tasks, bound) in TASKS.into_iter().zip(bounds) {
            let what = format!("exclusive client, get + GET + drop, {tasks} tasks on {POOL_SIZE}: ops/s to {peer}");
            goals.judge(&what, Want::AtLeast(bound), ratio(cells, tasks, OURS, peer));
        }
    }
}

fn judge_shared(cells: &[RaceResults], goals: &mut Goals) {
    let wanted = [
        (MULTIPLEXED, [1.0, 1.1, 1.3, 1.9]),
        (CONNECTION_MANAGER, [1.0; 4]),
        (FRED_POOL, [1.0; 4]),
        (FRED_POOL_16, [1.0; 4]),
        (RUSTIS, [1.0; 4]),
    ];
    for (peer, bounds) in wanted {
        for (tasks, bound) in TASKS.into_iter().zip(bounds) {
            let what = format!("shared client, {tasks} tasks: ops/s to {peer}");
            goals.judge(&what, Want::AtLeast(bound), ratio(cells, tasks, OURS_SHARED, peer));
        }
    }
    for peer in [FRED_POOL, RUSTIS] {
        for tasks in TASKS {
            let what = format!("shared client, {tasks} tasks: CPU for each command to {peer}");
            goals.judge(&what, Want::AtMost(1.0), ratio_of_cpu(cells, tasks, OURS_SHARED, peer));
        }
    }
}

fn judge_pipelines(cells: &[RaceResults], goals: &mut Goals) {
    for tasks in PIPELINING_TASKS {
        let what = format!("shared client, pipelines of {PIPELINE_LENGTH}, {tasks} tasks: ops/s to {MULTIPLEXED}");
        goals.judge(&what, Want::AtLeast(1.3), ratio(cells, tasks, OURS_SHARED, MULTIPLEXED));
    }
}
