//! Where commands that only read are sent.

use std::fmt;

/// Where commands that only read are sent. Default [`Primary`](ReadFrom::Primary). Writes always go to the primary.
///
/// What a replica answers may be older than what was written last, by as much as its replication lags: usually milliseconds,
/// without a bound while its link to the primary is broken (a server with `replica-serve-stale-data no` refuses then, and the
/// read goes elsewhere). A client that must read its own writes reads from the primary, or sends `WAIT` after the write.
///
/// A replica that does not answer checks, cannot be dialled, or has refused a read within the last second gets none. Among the
/// others reads take turns. A read that was not sent goes to another node within its deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFrom {
    /// To the primary.
    #[default]
    Primary,
    /// To a replica; to the primary if there is none that can be read from.
    PreferReplica,
    /// To a replica only; a read waits for one until its deadline.
    Replica,
    /// To the primary and its replicas in turn.
    Any,
    /// To nodes in this availability zone, in turn; to any other replica or the primary if there is none. The zone is what the
    /// server reports (`availability-zone` of Valkey 8.1 and later).
    Zone(String),
}

/// `primary`, `prefer replica`, `replica`, `any`, `zone eu-1a`.
impl fmt::Display for ReadFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::PreferReplica => f.write_str("prefer replica"),
            Self::Replica => f.write_str("replica"),
            Self::Any => f.write_str("any"),
            Self::Zone(zone) => write!(f, "zone {zone}"),
        }
    }
}
