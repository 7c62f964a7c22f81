//! One seed: the servers, the manager, the borrowers, the faults, and what must hold at the end.

use std::sync::Arc;
use std::time::Duration;

use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::runtime::{Spawn, Timer};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime, LinkConditions, Schedule, SeededRng};
use redis_manager::{NodeHandle, PoolArgs, RedisManager};

use crate::borrower::SimulatedCaller;
use crate::journal::JournalChecker;
use crate::ledger::{CalmPicture, Fate, Ledger};
use crate::plan::{FAULTS_FOR, NodeFault, PlannedFault, SimulatedSeed};

const SECOND: Duration = Duration::from_secs(1);

/// After the last fault everything works again within this: the back-off without callers, a dial that is sent again, a check.
const HEALED_WITHIN: Duration = Duration::from_secs(15);

/// What a seed was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeedReport {
    pub(crate) steps: u64,
    pub(crate) operations: u64,
    pub(crate) failures: u64,
    pub(crate) cancels: u64,
    /// Acknowledged writes that the servers have lost, as they may.
    pub(crate) lost: u64,
    pub(crate) digest: u64,
}

impl SeedReport {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.operations += other.operations;
        self.failures += other.failures;
        self.cancels += other.cancels;
        self.lost += other.lost;
    }
}

struct SeedWorld {
    plan: SimulatedSeed,
    runtime: FakeRuntime,
    network: FakeNetwork,
    servers: Arc<Vec<FakeRedis>>,
    manager: RedisManager,
    nodes: Vec<NodeHandle>,
    ledger: Arc<Ledger>,
}

/// Lives through a seed; the error is the first rule that was broken.
pub(crate) fn simulate(plan: &SimulatedSeed) -> Result<SeedReport, String> {
    let world = SeedWorld::new(plan)?;
    world.live()?;
    world.heal()?;
    world.compare()?;
    world.end()
}

impl SeedWorld {
    fn new(plan: &SimulatedSeed) -> Result<Self, String> {
        let runtime = FakeRuntime::with_schedule(plan.seed, Schedule::from_seed(plan.seed));
        let network = FakeNetwork::new(&runtime);
        let args = PoolArgs::default().command_timeout(plan.command_timeout).connect_timeout(plan.default_timeout);
        let mut builder = RedisManager::builder()
            .max_pools_per_node(plan.pools)
            .max_connection_size(plan.pool_size)
            .min_idle(plan.min_idle)
            .default_timeout(plan.default_timeout)
            .health_check_interval(plan.check_interval)
            .health_check_timeout(Duration::from_millis(300))
            .pool_args(args);
        if let Some(total) = plan.total {
            builder = builder.max_total_connections(total);
        }
        let manager = builder.build(network.clone()).map_err(|error| format!("{error}"))?;
        let mut servers = Vec::new();
        let mut nodes = Vec::new();
        for number in 0..plan.nodes {
            let server = FakeRedis::start(&network, &format!("node{number}:6379")).map_err(|error| format!("{error}"))?;
            if plan.has_password {
                server.set(|behaviour| behaviour.password = Some(String::from("planted")));
            }
            server.host().set_conditions(plan.conditions.clone());
            let login = if plan.has_password { ":planted@" } else { "" };
            let protocol = if plan.is_resp3 { "resp3" } else { "resp2" };
            let url = format!("redis://{login}node{number}:6379?protocol={protocol}");
            let node = runtime.block_on(manager.add_node_pool_timeout(&url, 20 * SECOND)).map_err(|error| format!("{error}"))?;
            runtime.block_on(set_up(&node)).map_err(|error| format!("at the start: {error}"))?;
            servers.push(server);
            nodes.push(node);
        }
        let (servers, ledger) = (Arc::new(servers), Arc::default());
        Ok(Self { plan: plan.clone(), runtime, network, servers, manager, nodes, ledger })
    }

    /// The borrowers work, and the faults come and go.
    fn live(&self) -> Result<(), String> {
        for number in 0..self.plan.borrowers {
            let borrower = SimulatedCaller {
                network: self.network.clone(),
                nodes: self.nodes.clone(),
                ledger: Arc::clone(&self.ledger),
                plan: self.plan.clone(),
                rng: SeededRng::new(self.plan.seed.wrapping_mul(31).wrapping_add(number as u64)),
            };
            self.runtime.spawn(Box::pin(borrower.work(FAULTS_FOR)));
        }
        for node in 0..self.plan.nodes {
            let (network, servers, ledger) = (self.network.clone(), Arc::clone(&self.servers), Arc::clone(&self.ledger));
            // Timers may be late by some milliseconds.
            let Some(length) = self.plan.calm_until(node).checked_sub(Duration::from_millis(100)) else {
                self.ledger.lock().calm.insert(node, CalmPicture::default());
                continue;
            };
            self.runtime.spawn(Box::pin(async move {
                network.sleep(length).await;
                let until = network.now();
                let open = servers[node].connections().iter().map(|connection| connection.id).collect();
                ledger.lock().calm.insert(node, CalmPicture { until, open });
            }));
        }
        for planned in self.plan.faults.clone() {
            let (network, servers, plan) = (self.network.clone(), Arc::clone(&self.servers), self.plan.clone());
            self.runtime.spawn(Box::pin(async move {
                network.sleep(planned.at).await;
                let server = &servers[planned.node];
                begin(server, &planned, &plan);
                network.sleep(planned.lasts).await;
                mend(server, &plan);
            }));
        }
        // The last fault, and the last call, end within this.
        self.runtime.advance(FAULTS_FOR + 2 * self.plan.default_timeout + 2 * self.plan.command_timeout + 5 * SECOND);
        self.breached()
    }

    fn breached(&self) -> Result<(), String> {
        match self.ledger.lock().breaches.first() {
            Some(breach) => Err(breach.clone()),
            None => Ok(()),
        }
    }

    /// Everything works again, with all connections that there may be.
    fn heal(&self) -> Result<(), String> {
        for server in self.servers.iter() {
            mend(server, &self.plan);
            server.host().set_conditions(LinkConditions::default());
        }
        // A connection to a machine that lost its power is found by a health check, or by its use.
        self.runtime.advance(HEALED_WITHIN + 2 * self.plan.check_interval);
        let most =
            (self.plan.pools * self.plan.pool_size).min(self.plan.total.map_or(usize::MAX, |total| total / self.plan.nodes));
        for (number, node) in self.nodes.iter().enumerate() {
            let all = self.runtime.block_on(async {
                let mut clients = Vec::new();
                for _ in 0..most {
                    let mut client = node.get_client().await.map_err(|error| format!("after the heal, {number}: {error}"))?;
                    let () =
                        redis::cmd("PING").exec_async(&mut client).await.map_err(|error| format!("after the heal: {error}"))?;
                    clients.push(client);
                }
                Ok::<_, String>(clients)
            })?;
            if all.len() != most {
                return Err(format!("{} of {most} connections", all.len()));
            }
        }
        self.runtime.advance(SECOND);
        for node in &self.nodes {
            let status = node.status();
            if status.active != 0 || status.waiting != 0 || status.lost != 0 {
                return Err(format!("at rest: {status:?}"));
            }
        }
        Ok(())
    }

    /// What the servers have is what the borrowers were told.
    fn compare(&self) -> Result<(), String> {
        let records = self.ledger.lock();
        for (number, server) in self.servers.iter().enumerate() {
            let calm = records.calm.get(&number).expect("its time has come");
            JournalChecker { traces: &records.traces, plan: &self.plan, calm }
                .check(&server.journal())
                .map_err(|what| format!("node {number}: {what}"))?;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let of_node: Vec<(u64, Fate)> =
                records.once.iter().filter(|(_, (at, _))| *at == number).map(|(token, (_, fate))| (*token, *fate)).collect();
            let (counted, sold, left) =
                self.runtime.block_on(ask(node, &of_node)).map_err(|error| format!("at the end: {error}"))?;
            for ((token, fate), count) in of_node.iter().zip(counted) {
                let is_right = match fate {
                    Fate::Unknown => matches!(count, None | Some(1)),
                    Fate::Acknowledged => count == Some(1),
                    Fate::NotCarriedOut => count.is_none(),
                };
                if !is_right {
                    return Err(format!("once:{token} is {count:?}, and {fate:?}"));
                }
            }
            let (certain, perhaps) = records.sold.get(&number).copied().unwrap_or_default();
            if sold < certain || sold > certain + perhaps {
                return Err(format!("{sold} were sold of {certain} to {}", certain + perhaps));
            }
            let queued = records.queued.get(&number).copied().unwrap_or_default();
            let (least, most) = (queued.popped + left, queued.popped + queued.perhaps_popped + left);
            if queued.pushed > most || queued.pushed + queued.perhaps_pushed < least {
                return Err(format!("{left} are left in a queue of {queued:?}"));
            }
        }
        Ok(())
    }

    /// Nothing is left behind.
    fn end(self) -> Result<SeedReport, String> {
        self.runtime.block_on(self.manager.close_all_pools());
        drop((self.nodes, self.manager));
        self.runtime.advance(SECOND);
        if self.network.open_streams() != 0 {
            return Err(format!("{} streams are left", self.network.open_streams()));
        }
        let (runtime, network) = (self.runtime, self.network);
        drop(self.servers);
        runtime.advance(60 * SECOND);
        if runtime.tasks() != 0 {
            return Err(format!("{} tasks are left, with {} timers; {:?}", runtime.tasks(), runtime.timers(), self.plan.faults));
        }
        let records = self.ledger.lock();
        let (operations, failures, cancels) = (records.operations, records.failures, records.cancels);
        Ok(SeedReport { steps: runtime.steps(), operations, failures, cancels, lost: 0, digest: network.digest() })
    }
}

/// Each database says which one it is.
async fn set_up(node: &NodeHandle) -> RedisResult<()> {
    let mut client = node.get_client().await?;
    let () = client.set("database", 0).await?;
    redis::cmd("SELECT").arg(3).exec_async(&mut client).await?;
    client.set("database", 3).await
}

/// What a node has: the counts of these tokens, what was sold, and how long the queue is.
async fn ask(node: &NodeHandle, tokens: &[(u64, Fate)]) -> RedisResult<(Vec<Option<u64>>, u64, u64)> {
    let mut client = node.get_client().await?;
    let mut counted = Vec::new();
    for part in tokens.chunks(100) {
        let keys: Vec<String> = part.iter().map(|(token, _)| format!("once:{token}")).collect();
        let counts: Vec<Option<u64>> = client.mget(keys).await?;
        counted.extend(counts);
    }
    let sold: Option<u64> = client.get("sold").await?;
    Ok((counted, sold.unwrap_or(0), client.llen("queue").await?))
}

fn begin(server: &FakeRedis, planned: &PlannedFault, plan: &SimulatedSeed) {
    let host = server.host();
    match planned.fault {
        NodeFault::Kill => server.kill(),
        NodeFault::Vanish => server.vanish(),
        NodeFault::Freeze => server.freeze(),
        NodeFault::Refuse => host.refuse(),
        NodeFault::Silence => host.silence(),
        NodeFault::BlackHole(direction) => host.black_hole(direction),
        NodeFault::Cut(cut) => host.cut(cut),
        NodeFault::CutAfter(bytes, cut) => host.cut_after(bytes, cut),
        NodeFault::Slow(delay) => server.set_delay(delay),
        NodeFault::Latency(latency) => host.set_conditions(plan.conditions.clone().latency(latency)),
        NodeFault::Trickle => host.set_conditions(plan.conditions.clone().bandwidth(500).max_segment(3)),
        NodeFault::Loading => server.set(|behaviour| behaviour.loading = true),
        NodeFault::ReadOnly => server.set(|behaviour| behaviour.read_only = true),
        NodeFault::OutOfMemory => server.set(|behaviour| behaviour.out_of_memory = true),
        NodeFault::Full => server.set(|behaviour| behaviour.max_clients = 1),
        NodeFault::MasterDown => server.set(|behaviour| behaviour.master_down = true),
        NodeFault::Garbage => answer(server, |command| (command[0] == b"ECHO").then(|| b"?\r\n".to_vec())),
        NodeFault::OtherNonce => answer(server, |command| {
            let is_ping = command[0] == b"PING" && command.len() == 2;
            is_ping.then(|| b"$16\r\n0000000000000000\r\n".to_vec())
        }),
        NodeFault::OtherPassword => server.set(|behaviour| behaviour.password = Some(String::from("another"))),
    }
}

fn answer(server: &FakeRedis, script: fn(&[Vec<u8>]) -> Option<Vec<u8>>) {
    server.set(|behaviour| behaviour.script = Some(Box::new(script)));
}

/// Ends every fault of a server, also one that another has begun.
fn mend(server: &FakeRedis, plan: &SimulatedSeed) {
    server.host().heal();
    server.start_again().expect("nobody else listens there");
    server.thaw();
    server.set_delay(Duration::ZERO);
    server.host().set_conditions(plan.conditions.clone());
    let password = plan.has_password.then(|| String::from("planted"));
    server.set(|behaviour| {
        (behaviour.loading, behaviour.read_only, behaviour.out_of_memory) = (false, false, false);
        (behaviour.master_down, behaviour.script) = (false, None);
        behaviour.max_clients = 10_000;
        behaviour.password = password;
    });
}
