//! The replicas of a primary: which of them are fit to be read from, clients of one of them, and shared clients whose reads go to
//! them.
//!
//! ```text
//!  ReadingClient, get_replica_client --> ReplicaGroup --> pools of each replica that is used
//!                                          |   ^
//!                the roles of the servers: |   '--- ReplicaState (state/: who is fit; pure) <-- ReplicaMonitor, INFO replication
//!                       SentinelGroup <----'
//! ```

mod group;
mod lending;
mod member;
mod monitor;
mod primary_args;
mod reading_client;
mod settings;
pub(crate) mod state;
mod status;

pub(crate) use group::{ReplicaContext, ReplicaGroup};
pub use primary_args::PrimaryArgs;
pub(crate) use reading_client::ReadingClient;
pub(crate) use settings::{DEFAULT_CHECK_INTERVAL, DEFAULT_MAX_LAG, ReplicaSettings};
pub use status::{ReplicaReport, ReplicaStatus};
