//! Other nodes beside the one that is watched: added, used, closed and added again, with faults of their own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::NodeConfig;
use crate::lease::Lease;
use crate::manager::Manager;
use crate::runtime::Timer;
use crate::state::rng::Rng;
use crate::state::{CoverPoint, Coverage};
use crate::testing::fake_connection::FakeConnector;
use crate::testing::fake_connection::within;
use crate::testing::fake_runtime::FakeRuntime;
use crate::testing::fake_server::{FakeMode, FakeServer};
use crate::testing::simulation::borrower::{BorrowerLog, lock};
use crate::total_limit::TotalLimit;

/// Their names, each for a server of its own.
const NAMES: [&str; 2] = ["left", "right"];

/// A manager of other nodes, and their servers.
#[derive(Clone)]
pub(super) struct Neighbours {
    runtime: FakeRuntime,
    manager: Manager<FakeConnector>,
    servers: [FakeServer; NAMES.len()],
    shared: Arc<Mutex<BorrowerLog>>,
    rng: Rng,
}

impl Neighbours {
    pub(super) fn new(runtime: &FakeRuntime, config: &NodeConfig, shared: &Arc<Mutex<BorrowerLog>>, seed: u64) -> Self {
        let (own, mut rng) = (Arc::new(runtime.clone()), Rng::new(seed ^ 0x4E16_4B0A));
        // Just so many that there is a floor for each, and that one of them can be warm; or some more.
        let fewest = NAMES.len().max(config.min_idle() * config.connection_pools_per_node_at_start());
        let manager = match rng.index(3) {
            0 => Manager::new(config.clone(), own),
            _ => Manager::with_total_limit(config.clone(), TotalLimit::new(fewest + rng.index(4)), own)
                .expect("the total is enough for one node that is warm"),
        };
        let servers = NAMES.map(|_| FakeServer::new(runtime));
        Self { runtime: runtime.clone(), manager, servers, shared: Arc::clone(shared), rng }
    }

    /// C1 across nodes, at every step; and the rare turns that only nodes take that share a limit.
    ///
    /// Seen to bite: with a quota that is not kept by dials (`with_room`), and with a closing node that is not counted.
    pub(super) fn check(&self) -> Result<Coverage, String> {
        let (known, coverage) = self.manager.seen();
        match self.manager.total_connections() {
            Some(total) if known > total.taken || total.taken > total.limit => {
                Err(format!("C1: the nodes that are known have {known} connections, all of them together {total:?}"))
            }
            Some(_) | None => Ok(coverage.among(&[CoverPoint::Yielded, CoverPoint::ProbeAllowed])),
        }
    }

    /// One of those who add, use and close them; `number` tells them apart.
    pub(super) fn one_of_many(&self, number: u64) -> Self {
        let mut other = self.clone();
        other.rng = Rng::new(number ^ other.rng.index(usize::MAX) as u64);
        other
    }

    pub(super) async fn go_on(mut self, rounds: usize) {
        for _ in 0..rounds {
            if lock(&self.shared).stop {
                return;
            }
            self.do_something().await;
            let rest = self.rng.up_to(Duration::from_millis(30));
            self.runtime.sleep(rest).await;
        }
    }

    async fn do_something(&mut self) {
        let pick = self.rng.index(NAMES.len());
        let (name, server) = (NAMES[pick], self.servers[pick].clone());
        let timeout = self.rng.up_to(Duration::from_millis([20, 400, 3_000][self.rng.clone().index(3)]));
        let manager = self.manager.clone();
        match self.rng.index(12) {
            // It may fail, and then nothing is left of it; whoever asks will see.
            0 | 1 => drop(manager.add(name, timeout, || server.connector()).await),
            2 => {
                let patience = self.rng.up_to(Duration::from_millis(5));
                let adding = manager.add(name, timeout, || server.connector());
                drop(within(self.runtime.sleep(patience), adding).await);
            }
            3..=6 => {
                if let Ok(lease) = manager.get(name, timeout).await {
                    self.ask(lease).await;
                }
            }
            7 => {
                if let Ok(lease) = manager.try_get(name) {
                    self.ask(lease).await;
                }
            }
            8 => manager.close_node(name, timeout).await,
            9 => server.set_mode([FakeMode::Up, FakeMode::Refusing, FakeMode::Silent, FakeMode::Void][self.rng.index(4)]),
            10 => server.kill(),
            _ => {
                server.set_mode(FakeMode::Up);
                match self.rng.index(2) {
                    0 => manager.start_cleanup(),
                    _ => manager.stop_cleanup(),
                }
                self.look();
            }
        }
    }

    async fn ask(&mut self, mut lease: Lease<FakeConnector>) {
        let token = self.rng.index(usize::MAX) as u64;
        let asked = within(self.runtime.sleep(Duration::from_millis(50)), lease.echo(token)).await;
        if let Some(Ok(answer)) = asked
            && answer != token
        {
            lock(&self.shared).broken = Some(format!("a wrong reply of a neighbour: {answer} for {token}"));
        }
    }

    /// T1: each picture adds up.
    fn look(&self) {
        for (name, (node, metrics)) in self.manager.status_and_metrics() {
            let open = node.active + node.idle + node.checking;
            if metrics.open() != open as u64 || metrics.connects.started < metrics.opened() + node.connecting as u64 {
                lock(&self.shared).broken = Some(format!("T6: the metrics of {name} do not add up: {node:?}, {metrics:?}"));
            }
            let active: usize = node.pools.iter().map(|pool| pool.active_calls).sum();
            let idle: usize = node.pools.iter().map(|pool| pool.idle).sum();
            if (active, idle, node.pools.len()) != (node.active, node.idle, node.total_pools) {
                lock(&self.shared).broken = Some(format!("T1: the pools of {name} do not add up: {node:?}"));
            }
        }
    }

    /// Closes them all; an error if anything is left, or if one of them could not have been used.
    pub(super) fn close(&self) -> Result<(), String> {
        self.servers.iter().for_each(|server| server.set_mode(FakeMode::Up));
        // The slowest pace of probes, so that those who fail fast need not.
        self.runtime.advance(Duration::from_secs(10));
        for (name, server) in NAMES.iter().zip(&self.servers) {
            let patience = Duration::from_secs(30);
            let added = self.runtime.block_on(self.manager.add(name, patience, || server.connector()));
            added.map_err(|error| format!("liveness: a neighbour that is up cannot be added: {error}"))?;
            let lent = self.runtime.block_on(self.manager.get(name, patience)).map(drop);
            lent.map_err(|error| format!("liveness: a neighbour that is up does not lend: {error}"))?;
        }
        self.runtime.block_on(self.manager.close(Duration::from_secs(1)));
        match self.servers.iter().map(FakeServer::connections).sum() {
            0 => Ok(()),
            left => Err(format!("E1: {left} connections to neighbours are left when the manager says that it is closed")),
        }
    }

    /// How many connections they hold.
    pub(super) fn held(&self) -> usize {
        self.servers.iter().map(FakeServer::held).sum()
    }
}
