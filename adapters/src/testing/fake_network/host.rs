//! What a test does to the way to one address.

use std::fmt;
use std::sync::Arc;

use crate::testing::fake_network::SharedNetwork;
use crate::testing::fake_network::address::{HostAddress, Reach};
use crate::testing::fake_network::conditions::{Cut, Direction, LinkConditions};

/// The way to one address of a [`FakeNetwork`](super::FakeNetwork), served or not.
#[derive(Clone)]
pub struct FakeHost {
    network: Arc<SharedNetwork>,
    place: HostAddress,
}

impl FakeHost {
    pub(super) fn new(network: Arc<SharedNetwork>, place: HostAddress) -> Self {
        Self { network, place }
    }

    /// Sets latency, bandwidth and the like, for what is sent from now on.
    pub fn set_conditions(&self, conditions: LinkConditions) {
        self.network.change(|links| links.host(&self.place).conditions = conditions);
    }

    /// Dials are refused, also where a server listens. Open connections stay open.
    pub fn refuse(&self) {
        self.set_reach(Reach::Refusing);
    }

    /// Dials are not answered. Open connections stay open.
    pub fn silence(&self) {
        self.set_reach(Reach::Silent);
    }

    /// Dials fail with `HostUnreachable`. Open connections stay open.
    pub fn make_unreachable(&self) {
        self.set_reach(Reach::Unreachable);
    }

    /// Nothing arrives in this direction, and dials are not answered, until [`heal`](Self::heal). What is sent meanwhile arrives
    /// then, as TCP sends it again.
    pub fn black_hole(&self, direction: Direction) {
        let (to_server, to_client) = (direction.is_to_server(), direction.is_to_client());
        self.network.change(|links| links.hold(&self.place, to_server, to_client));
    }

    /// Ends `refuse`, `silence`, `make_unreachable`, `black_hole`, and cuts that are still to come. A dial under way is sent again 1 s after its begin, then after
    /// 2 s more, 4 s and so on, as TCP does it.
    pub fn heal(&self) {
        self.set_reach(Reach::Plain);
        self.network.change(|links| {
            links.hold(&self.place, false, false);
            links.cut_open_after(&self.place, None);
            links.host(&self.place).cut_next = None;
        });
    }

    /// Whether bytes arrive in both directions.
    pub(crate) fn passes(&self) -> bool {
        self.network.change(|links| {
            let host = links.host(&self.place);
            !host.holds_to_server && !host.holds_to_client
        })
    }

    /// Cuts all connections now.
    pub fn cut(&self, cut: Cut) {
        let now = self.network.runtime.now();
        self.network.change(|links| links.cut_all(now, &self.place, cut));
    }

    /// Cuts each open connection when the server has sent so many more bytes on it: a reply that arrives in part.
    pub fn cut_after(&self, bytes: usize, cut: Cut) {
        self.network.change(|links| links.cut_open_after(&self.place, Some((bytes, cut))));
    }

    /// The same for the next connection that is made.
    pub fn cut_next_after(&self, bytes: usize, cut: Cut) {
        self.network.change(|links| links.host(&self.place).cut_next = Some((bytes, cut)));
    }

    /// Connections that the clients hold open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.network.change(|links| links.open_to(&self.place))
    }

    /// Connections that were ever made.
    #[must_use]
    pub fn connections_made(&self) -> u64 {
        self.network.change(|links| links.host(&self.place).dials)
    }

    /// Bytes from the server that clients have read, of all connections that were ever made.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.network.change(|links| links.host(&self.place).bytes_read)
    }

    /// The process of the server has ended.
    pub(crate) fn end_server(&self) {
        let now = self.network.runtime.now();
        self.network.change(|links| links.end_server(now, &self.place));
    }

    /// The machine of the server has lost its power: no end says a word.
    pub(crate) fn lose_server(&self) {
        self.network.change(|links| {
            links.forget_all(&self.place);
            links.hold(&self.place, true, true);
        });
        self.end_server();
    }

    /// The process of the server is stopped, or goes on.
    pub(crate) fn freeze_server(&self, is_frozen: bool) {
        self.network.change(|links| links.freeze(&self.place, is_frozen));
    }

    fn set_reach(&self, reach: Reach) {
        self.network.change(|links| links.host(&self.place).reach = reach);
    }
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHost").field("address", &self.place.to_string()).finish_non_exhaustive()
    }
}
