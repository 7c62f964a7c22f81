//! Why the primary is not known.

use crate::deployment::sentinel::state::answer::SentinelFault;
use crate::deployment::sentinel::state::sentinel_state::KnownSentinel;
use crate::error::{ConnectFailure, FailureKind};

/// Why no sentinel tells a primary of this name.
pub(crate) fn why_unknown(primary_name: &str, sentinels: &[KnownSentinel]) -> ConnectFailure {
    let unaware = sentinels.iter().filter(|sentinel| sentinel.said.is_some()).count();
    if unaware > 0 {
        let words =
            format!("no sentinel knows a primary named {primary_name:?} ({unaware} of {} have answered)", sentinels.len());
        return ConnectFailure::new(words, FailureKind::UnknownName, unaware * 2 > sentinels.len());
    }
    let faults: Vec<_> = sentinels.iter().filter_map(|sentinel| Some((&sentinel.place, sentinel.fault.as_ref()?))).collect();
    let reasons: Vec<_> = faults.iter().map(|(place, fault)| format!("{place}: {fault}")).collect();
    let is_login = |fault: &SentinelFault| matches!(fault, SentinelFault::Unreachable { kind: FailureKind::Authentication, .. });
    let all = |holds: &dyn Fn(&SentinelFault) -> bool| !faults.is_empty() && faults.iter().all(|(_, fault)| holds(fault));
    let kind = if all(&is_login) { FailureKind::Authentication } else { FailureKind::NoSentinel };
    let words = format!("no sentinel of {primary_name:?} can be asked: {}", reasons.join("; "));
    ConnectFailure::new(words, kind, all(&SentinelFault::is_permanent))
}

/// Why none of the given servers is the primary.
pub(crate) fn why_no_primary(servers: &[KnownSentinel]) -> ConnectFailure {
    let answered = servers.iter().filter(|server| server.said.is_some()).count();
    let faults: Vec<_> = servers.iter().filter_map(|server| Some((&server.place, server.fault.as_ref()?))).collect();
    let reasons: Vec<_> = faults.iter().map(|(place, fault)| format!("; {place}: {fault}")).collect();
    let reasons = reasons.concat();
    if answered > 0 {
        let words = format!("none of the {answered} servers that have answered says that it is a primary{reasons}");
        return ConnectFailure::new(words, FailureKind::NotPrimary, false);
    }
    let kind = faults.first().map_or(FailureKind::Unavailable, |(_, fault)| fault.kind());
    let is_permanent = !faults.is_empty() && faults.iter().all(|(_, fault)| fault.is_permanent());
    ConnectFailure::new(format!("no server can be asked{reasons}"), kind, is_permanent)
}
