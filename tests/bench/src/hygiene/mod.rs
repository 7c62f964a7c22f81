//! The matrix of what a borrower can leave behind: on a pool of one, somebody does something to the session and gives
//! the connection back; what does the next borrower see?
//!
//! Each cell has a fresh pool. The next borrower and an outside connection look for what is left: the fields of CLIENT
//! LIST, whether ECHO answers its own token and GET its own value, a transaction, a script. Nothing is known beforehand
//! of any contender: what is printed is what was seen.

mod deeds;
mod observe;

use std::future::Future;
use std::sync::Arc;

use redis_manager_tests::redis_server::RedisServer;

use crate::peers::{Bb8, Check, Deadpool, Ours, RedisPool, Refusal};
use crate::runner::{BenchExecutor, Handle, Runner};
use crate::table;
use deeds::{DEEDS, Deed, Place};
use observe::{Finding, try_deed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HygieneContender {
    OursResp3,
    OursResp2,
    OursOnSmol,
    Deadpool,
    Bb8,
}

impl HygieneContender {
    const ALL: [HygieneContender; 5] = [
        HygieneContender::OursResp3,
        HygieneContender::OursResp2,
        HygieneContender::OursOnSmol,
        HygieneContender::Deadpool,
        HygieneContender::Bb8,
    ];

    fn name(self) -> &'static str {
        match self {
            HygieneContender::OursResp3 => "redis-manager, RESP3",
            HygieneContender::OursResp2 => "redis-manager, RESP2",
            HygieneContender::OursOnSmol => "redis-manager, smol",
            HygieneContender::Deadpool => "deadpool-redis",
            HygieneContender::Bb8 => "bb8-redis",
        }
    }

    fn is_ours(self) -> bool {
        match self {
            HygieneContender::OursResp3 | HygieneContender::OursResp2 | HygieneContender::OursOnSmol => true,
            HygieneContender::Deadpool | HygieneContender::Bb8 => false,
        }
    }

    fn kind(self) -> BenchExecutor {
        if self == HygieneContender::OursOnSmol { BenchExecutor::SmolTwoThreads } else { BenchExecutor::TokioTwoWorkers }
    }

    fn run(self, deed: Deed, server: &Arc<RedisServer>) -> Finding {
        let runner = Runner::start(self.kind());
        let (handle, server) = (runner.handle.clone(), Arc::clone(server));
        let node = server.url();
        runner.run(async move {
            match self {
                HygieneContender::OursResp3 | HygieneContender::OursOnSmol => {
                    in_fresh_pool(deed, Ours::connect(&handle, node + "?protocol=resp3", 1), &server, &handle).await
                }
                HygieneContender::OursResp2 => {
                    in_fresh_pool(deed, Ours::connect(&handle, node + "?protocol=resp2", 1), &server, &handle).await
                }
                HygieneContender::Deadpool => {
                    in_fresh_pool(deed, async { Deadpool::new(&node, 1, self.kind()) }, &server, &handle).await
                }
                HygieneContender::Bb8 => in_fresh_pool(deed, Bb8::connect(&node, 1, Check::AtCheckout), &server, &handle).await,
            }
        })
    }
}

async fn in_fresh_pool<P: RedisPool>(
    deed: Deed,
    pool: impl Future<Output = Result<P, Refusal>>,
    server: &RedisServer,
    handle: &Handle,
) -> Finding {
    match pool.await {
        Ok(pool) => try_deed(&deed, &pool, server, handle).await,
        Err(error) => Finding { not_done: vec![format!("no pool: {error}")], ..Finding::default() },
    }
}

/// Prints the matrix. Returns whether every cell of redis-manager was tried and is clean.
pub(crate) fn run() -> bool {
    let mut rows = Vec::new();
    let mut details = Vec::new();
    let mut ours_are_clean = true;
    for deed in DEEDS {
        let mut row = vec![String::from(deed.name)];
        for contender in HygieneContender::ALL {
            // A server of its own: what a cell leaves behind shall not reach the next cell.
            let server = Arc::new(start_server(deed.place));
            Deed::prepare(&server);
            let finding = contender.run(deed, &server);
            if contender.is_ours() && !(finding.is_clean() && finding.not_done.is_empty()) {
                ours_are_clean = false;
            }
            row.push(verdict(&finding));
            details.extend(detail(deed, contender, &finding));
        }
        rows.push(row);
    }
    let mut head = vec!["what the borrower before did"];
    head.extend(HygieneContender::ALL.map(HygieneContender::name));
    table::print("What the next borrower of a pool of one sees", &head, &rows);
    println!("\nIn full, where it is not clean:\n");
    for line in details {
        println!("- {line}");
    }
    println!("\nredis-manager: {}", if ours_are_clean { "every cell is clean" } else { "NOT every cell is clean" });
    ours_are_clean
}

fn verdict(finding: &Finding) -> String {
    let what = |cell: &str, what: &[String]| format!("{cell} ({})", what.first().map_or("", |what| head(what)));
    match finding {
        Finding { hangs, .. } if !hangs.is_empty() => what("hangs", hangs),
        Finding { leaks, .. } if !leaks.is_empty() => what("leaks", leaks),
        Finding { not_done, .. } if !not_done.is_empty() => String::from("not done"),
        Finding { waited, .. } if waited.as_millis() >= 100 => format!("clean (after {} ms)", waited.as_millis()),
        Finding { .. } => String::from("clean"),
    }
}

/// As much as a cell can hold.
fn head(text: &str) -> &str {
    text.char_indices().nth(28).map_or(text, |(end, _)| &text[..end])
}

fn detail(deed: Deed, contender: HygieneContender, finding: &Finding) -> Option<String> {
    let part = |name: &str, what: &[String]| (!what.is_empty()).then(|| format!("{name} {}", what.join("; ")));
    let parts = [part("leaks", &finding.leaks), part("hangs at", &finding.hangs), part("not done:", &finding.not_done)];
    let text: Vec<String> = parts.into_iter().flatten().collect();
    (!text.is_empty()).then(|| format!("{}, {}: {}", deed.name, contender.name(), text.join("; ")))
}

fn start_server(place: Place) -> RedisServer {
    match place {
        Place::Standalone => RedisServer::start(),
        Place::ClusterNode => {
            let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
            server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
            while !server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            server
        }
    }
}
