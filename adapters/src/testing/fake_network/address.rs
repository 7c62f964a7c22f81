//! Where a host is, and what is known of the way to it.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::Waker;

use crate::testing::fake_network::conditions::{Cut, LinkConditions};

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a dial finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// A listener, or a refusal where there is none.
    #[default]
    Plain,
    Refusing,
    Silent,
    Unreachable,
}

#[derive(Default)]
pub(super) struct Host {
    pub(super) conditions: LinkConditions,
    pub(super) reach: Reach,
    /// Nothing passes in these directions, also on new connections.
    pub(super) holds_to_server: bool,
    pub(super) holds_to_client: bool,
    /// The server does not read: its kernel still accepts connections.
    pub(super) is_frozen: bool,
    /// For the next connection: it is cut after so many bytes to the client.
    pub(super) cut_next: Option<(usize, Cut)>,
    /// The number of the listener.
    pub(super) listener: Option<u64>,
    pub(super) backlog: VecDeque<u64>,
    pub(super) acceptor: Option<Waker>,
    pub(super) dials: u64,
    /// Bytes that clients have read.
    pub(super) bytes_read: u64,
}
