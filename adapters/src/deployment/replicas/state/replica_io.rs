//! The inputs and outputs of the state of the replicas of a primary.

use crate::deployment::host_port::HostPort;
use crate::deployment::replicas::state::server_report::ServerReport;

/// A fact.
#[derive(Debug)]
pub(crate) enum ReplicaInput {
    /// Who is the primary, and who copies it; told when time has passed, too.
    Servers { primary: Option<HostPort>, replicas: Vec<HostPort> },
    /// Something waits for this server, and does not know why.
    Doubted { place: HostPort },
    /// This server has refused a read, or could not be sent one.
    Refused { place: HostPort },
    /// The answer to `Ask`; each of them gets one.
    Answered { from: HostPort, answer: Result<ServerReport, String> },
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplicaOutput {
    /// Ask this server how far it is.
    Ask(HostPort),
    /// Other servers are fit than before.
    Changed,
    /// This one is no replica any more.
    Left(HostPort),
}
