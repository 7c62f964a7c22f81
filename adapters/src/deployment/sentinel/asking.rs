//! What a sentinel is asked, or a server where there are no sentinels.

use std::time::Duration;

use redis::{Cmd, Value};
use redis_manager_core::Runtime;

use crate::deployment::host_port::HostPort;
use crate::deployment::kept_connection::{AskFailure, KeptConnection};
use crate::deployment::replicas::state::server_report::ServerReport;
use crate::deployment::sentinel::state::answer::{ReportedReplica, SentinelAnswer, SentinelFault, read_answer};

/// Asks a sentinel who the primary of a name is, within `limit`.
///
/// # Errors
///
/// Why it gave no usable answer.
pub(crate) async fn ask_sentinel(
    sentinel: &KeptConnection,
    runtime: &dyn Runtime,
    name: &str,
    limit: Duration,
) -> Result<SentinelAnswer, SentinelFault> {
    let question = |word: &str, is_about_name: bool| {
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg(word);
        if is_about_name {
            cmd.arg(name);
        }
        cmd
    };
    let questions: [Cmd; 5] = [
        question("GET-MASTER-ADDR-BY-NAME", true),
        question("MASTER", true),
        question("SENTINELS", true),
        question("REPLICAS", true),
        question("MYID", false),
    ];
    let replies: Vec<Value> = sentinel.ask(runtime, &questions, limit).await.map_err(fault_of)?;
    read_answer(&replies, |words| sentinel.connector.secrets.clean(words))
}

/// Asks a server whether it is the primary itself, within `limit`. A replica answers that it knows none: of its primary it has a
/// name of its own.
///
/// # Errors
///
/// Why it gave no usable answer.
pub(crate) async fn ask_server(
    server: &KeptConnection,
    runtime: &dyn Runtime,
    place: &HostPort,
    limit: Duration,
) -> Result<SentinelAnswer, SentinelFault> {
    let replies = server.ask(runtime, &ServerReport::questions(), limit).await.map_err(fault_of)?;
    let report = ServerReport::read_replies(&replies, |words| server.connector.secrets.clean(words));
    let report = report.map_err(|words| SentinelFault::Refused { words })?;
    let replicas = report.followers.into_iter().map(|place| ReportedReplica { place, is_down: false });
    let primary = report.is_primary.then(|| place.clone());
    Ok(SentinelAnswer { primary, replicas: replicas.collect(), ..SentinelAnswer::default() })
}

fn fault_of(failure: AskFailure) -> SentinelFault {
    match failure {
        AskFailure::Silent => SentinelFault::Silent,
        AskFailure::Unreachable(failure) => {
            let (kind, is_permanent) = (failure.kind(), failure.is_permanent());
            SentinelFault::Unreachable { words: failure.to_string(), kind, is_permanent }
        }
        AskFailure::Lost(words) => SentinelFault::Refused { words },
    }
}
