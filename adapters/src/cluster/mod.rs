//! Redis Cluster: who owns which slot, clients whose commands find their node, and leases on the owner of a key.
//!
//! ```text
//!  Client --> ClusterConnection of the redis crate --> Wire (one for each node) --> shared connections of that node's pools
//!  (lease)    routes, splits, follows redirections      |                            (ours: dialled, checked, healed)
//!                                                       v
//!  Watch ------------------------------------------> Cluster: topology and members
//!  (asks nodes who owns what)
//! ```
//!
//! The redis crate decides where a command goes and what becomes of a redirection. Everything that touches a socket is
//! ours: it sees a cluster whose connections never hang, for what it would wait for is answered from the topology here.

mod args;
mod asking;
mod attempt;
mod connector;
mod error;
mod manager;
mod map;
mod members;
mod pieces;
mod reads;
mod refusal;
mod rerouting;
mod routed;
mod signal;
mod status;
mod topology;
mod watch;
mod wire;

pub use args::ClusterArgs;
pub(crate) use attempt::Attempt;
pub(crate) use connector::ClusterConnector;
pub(crate) use manager::{Clusters, Plan};
pub(crate) use refusal::note_redirections;
pub(crate) use routed::RoutedShare;
pub use status::{ClusterNode, ClusterStatus};
pub use topology::ClusterRole;
