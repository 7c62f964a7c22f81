//! What a test does to a fake cluster.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::Spawn;

use super::FakeCluster;
use super::moves::{SlotMigration, move_gradually};
use crate::testing::fake_redis::{Failover, FakeClusterSettings, SLOTS};

impl FakeCluster {
    /// Ends a node as `kill -9` does; its data and its view of the cluster stay for [`restart`](Self::restart).
    pub fn kill(&self, number: usize) {
        self.node(number).kill();
    }

    /// Starts a node again that was killed. As in Redis it takes no commands for the first 2 s if it is still a primary.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another server listens there meanwhile.
    pub fn restart(&self, number: usize) -> io::Result<()> {
        self.node(number).start_again()
    }

    /// Starts a node again at another address, as an orchestrator does it: its clients are cut, its data stays, and the others hear of
    /// its new place from it. Its name resolves to the new address.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if a server listens there.
    pub fn change_address(&self, number: usize, address: SocketAddr) -> io::Result<()> {
        let redis = self.node(number);
        let group = self.shared.network.group_of(redis.address());
        self.shared.network.set_group(redis.address(), None);
        redis.move_to(address);
        self.shared.network.set_group(address, group);
        let name = self.name_of(number);
        self.shared.network.set_name(&name, [address.ip()]);
        let hostname = if self.shared.shape.announce_hostnames { name.as_str() } else { "" };
        redis.shared().act(|server, _| server.announce(&address.ip().to_string(), address.port(), hostname));
        redis.start_again()
    }

    /// Stops a node as SIGSTOP does.
    pub fn freeze(&self, number: usize) {
        self.node(number).freeze();
    }

    /// The node goes on. It may carry out what was sent to it meanwhile before it hears that it has lost its slots.
    pub fn thaw(&self, number: usize) {
        self.node(number).thaw();
    }

    /// Nodes of different groups do not hear each other any more; those in no group are one more. Clients reach all of them.
    pub fn partition(&self, groups: &[&[usize]]) {
        self.heal();
        for (group, numbers) in groups.iter().enumerate() {
            for number in *numbers {
                self.shared.network.set_group(self.node(*number).address(), Some(group));
            }
        }
    }

    /// All nodes hear each other again. Black holes stay.
    pub fn heal(&self) {
        for member in self.shared.members().iter() {
            self.shared.network.set_group(member.redis.address(), None);
        }
    }

    /// Tells a replica to take the place of its primary. False if it is no replica.
    pub fn failover(&self, replica: usize, how: Failover) -> bool {
        self.node(replica).shared().act(|server, now| server.fail_over(now, how))
    }

    /// Moves slots to a node, whoever owns them. Gradual moves go on while time passes, see [`moves_under_way`](Self::moves_under_way);
    /// they stop where they are when a node ends, has lost its slots, or does not hear the other one.
    ///
    /// # Panics
    ///
    /// If a slot is above 16,383.
    pub fn move_slots(&self, slots: RangeInclusive<u16>, to: usize, how: SlotMigration) {
        assert!(*slots.end() < SLOTS, "slot {} of {SLOTS}", slots.end());
        drop(self.node(to));
        match how {
            SlotMigration::Atomic => self.shared.move_at_once(&slots, to),
            SlotMigration::Gradual(pace) => {
                self.shared.move_has_begun();
                self.shared.network.spawn(Box::pin(move_gradually(Arc::downgrade(&self.shared), slots, to, pace)));
            }
        }
    }

    /// Gradual moves that have not ended.
    #[must_use]
    pub fn moves_under_way(&self) -> usize {
        self.shared.moves_under_way()
    }

    /// Starts a node that has joined: a primary without slots. The result is its number.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if a server listens at its name already.
    pub fn add_node(&self) -> io::Result<usize> {
        let number = self.start_node()?;
        self.shared.exchange();
        Ok(number)
    }

    /// Starts a node that has joined as a replica of another one.
    ///
    /// # Errors
    ///
    /// As [`add_node`](Self::add_node).
    pub fn add_replica(&self, primary: usize) -> io::Result<usize> {
        let primary = self.id_of(primary);
        let number = self.add_node()?;
        self.node(number).shared().act(|server, now| server.replicate_node(now, &primary));
        Ok(number)
    }

    /// Ends a node for good: all others forget it. Slots that it still owns have no owner then. Its number is not given again.
    pub fn remove_node(&self, number: usize) {
        let id = self.id_of(number);
        self.kill(number);
        self.shared.members()[number].is_removed = true;
        for other in self.shared.servers() {
            other.act(|server, now| server.forget_node(now, &id));
        }
    }

    /// Changes settings of one node, or of all with None: timeouts, coverage, the preferred endpoint.
    pub fn set(&self, number: Option<usize>, change: impl Fn(&mut FakeClusterSettings)) {
        let servers = match number {
            Some(number) => vec![Arc::clone(self.node(number).shared())],
            None => self.shared.servers(),
        };
        for server in servers {
            server.act(|server, now| server.set_cluster(now, &change));
        }
    }

    /// The host name that a node announces from now on; empty: none.
    pub fn announce_hostname(&self, number: usize, hostname: &str) {
        let redis = self.node(number);
        let address = redis.address();
        redis.shared().act(|server, _| server.announce(&address.ip().to_string(), address.port(), hostname));
    }

    /// How long a write is under way to each replica, from now on.
    pub fn set_replication_delay(&self, delay: Duration) {
        for server in 0..self.shared.members().len() {
            self.node(server).set_replication_delay(delay);
        }
    }
}
