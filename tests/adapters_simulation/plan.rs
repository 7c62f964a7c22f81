//! What a seed is: settings, borrowers, and what goes wrong when.

use std::time::Duration;

use redis_manager::testing::{Cut, Direction, LinkConditions, SeededRng};

const MS: Duration = Duration::from_millis(1);

/// Virtual time in which things go wrong.
pub(crate) const FAULTS_FOR: Duration = Duration::from_secs(8);

#[derive(Clone, Debug)]
pub(crate) struct SimulatedSeed {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) borrowers: usize,
    pub(crate) pools: usize,
    pub(crate) pool_size: usize,
    pub(crate) min_idle: usize,
    pub(crate) total: Option<usize>,
    pub(crate) is_resp3: bool,
    pub(crate) has_password: bool,
    pub(crate) command_timeout: Duration,
    pub(crate) default_timeout: Duration,
    pub(crate) check_interval: Duration,
    pub(crate) conditions: LinkConditions,
    pub(crate) faults: Vec<PlannedFault>,
}

#[derive(Clone, Debug)]
pub(crate) struct PlannedFault {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) node: usize,
    pub(crate) fault: NodeFault,
}

/// What goes wrong with a node. All but the cuts end after a while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NodeFault {
    Kill,
    Vanish,
    Freeze,
    Refuse,
    Silence,
    BlackHole(Direction),
    Cut(Cut),
    CutAfter(usize, Cut),
    Slow(Duration),
    Latency(Duration),
    Trickle,
    Loading,
    ReadOnly,
    OutOfMemory,
    Full,
    OtherPassword,
    /// As a replica without its primary.
    MasterDown,
    /// ECHO is answered by what is no reply.
    Garbage,
    /// PING is answered by another word than the one that was sent.
    OtherNonce,
}

impl SimulatedSeed {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SeededRng::new(seed);
        let nodes = 1 + rng.index(3);
        let pools = 1 + rng.index(2);
        let pool_size = 1 + rng.index(4);
        let faults = (0..2 + rng.index(7)).map(|_| Self::fault(&mut rng, nodes)).collect();
        Self {
            seed,
            nodes,
            borrowers: 2 + rng.index(7),
            pools,
            pool_size,
            min_idle: rng.index(2),
            total: (rng.index(4) == 0).then(|| nodes * (1 + rng.index(3))),
            is_resp3: rng.index(3) > 0,
            has_password: rng.index(3) == 0,
            command_timeout: [200 * MS, 1_000 * MS, 3_000 * MS][rng.index(3)],
            default_timeout: [500 * MS, 2_000 * MS, 5_000 * MS][rng.index(3)],
            check_interval: [500 * MS, 2_000 * MS, 60_000 * MS][rng.index(3)],
            conditions: Self::conditions(&mut rng),
            faults,
        }
    }

    /// Until then nothing is wrong with a node.
    pub(crate) fn calm_until(&self, node: usize) -> Duration {
        self.faults.iter().filter(|planned| planned.node == node).map(|planned| planned.at).min().unwrap_or(FAULTS_FOR)
    }

    fn conditions(rng: &mut SeededRng) -> LinkConditions {
        let latency = [Duration::ZERO, Duration::from_micros(100), MS, 5 * MS][rng.index(4)];
        let mut conditions = LinkConditions::default().latency(latency).jitter([Duration::ZERO, latency][rng.index(2)]);
        if rng.index(3) == 0 {
            conditions = conditions.max_segment([1, 7, 100][rng.index(3)]);
        }
        if rng.index(4) == 0 {
            conditions = conditions.bandwidth([20_000, 1_000_000][rng.index(2)]);
        }
        conditions
    }

    fn fault(rng: &mut SeededRng, nodes: usize) -> PlannedFault {
        let cut = [Cut::End, Cut::Reset][rng.index(2)];
        let direction = [Direction::ToServer, Direction::ToClient, Direction::Both][rng.index(3)];
        let fault = match rng.index(22) {
            0 => NodeFault::Kill,
            1 => NodeFault::Vanish,
            2 | 3 => NodeFault::Freeze,
            4 => NodeFault::Refuse,
            5 => NodeFault::Silence,
            6 => NodeFault::BlackHole(direction),
            7 => NodeFault::Cut(cut),
            8 | 9 => NodeFault::CutAfter(rng.index(40), cut),
            10 => NodeFault::Slow([5 * MS, 50 * MS, 400 * MS][rng.index(3)]),
            11 => NodeFault::Latency([50 * MS, 300 * MS][rng.index(2)]),
            12 => NodeFault::Trickle,
            13 => NodeFault::Loading,
            14 => NodeFault::ReadOnly,
            15 => NodeFault::OutOfMemory,
            16 => NodeFault::Full,
            17 => NodeFault::MasterDown,
            18 | 19 => NodeFault::Garbage,
            20 => NodeFault::OtherNonce,
            _ => NodeFault::OtherPassword,
        };
        PlannedFault {
            at: MS * u32::try_from(rng.index(FAULTS_FOR.as_millis() as usize)).unwrap_or(0),
            lasts: MS * u32::try_from(20 + rng.index(4_000)).unwrap_or(0),
            node: rng.index(nodes),
            fault,
        }
    }
}
