//! The faults that strike a simulated server, its clock and its runtime, and what sets them off.

use std::time::Duration;

use crate::state::rng::Rng;
use crate::testing::fake_runtime::FakeRuntime;
use crate::testing::fake_server::{FakeMode, FakeServer, FormerServer};

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server behaves in this way from now on.
    Mode(FakeMode),
    /// The server dies: its connections are lost, dials are refused.
    Kill,
    /// All connections are lost; the server goes on.
    DropConnections,
    /// All connections are lost and nobody notices.
    ForgetConnections,
    /// The path was cut and is open again; the server keeps the connections of that time for so long.
    HalfOpen(Duration),
    /// The name leads to another server.
    Move(FormerServer),
    /// Another server takes its place: connections that exist lead to a replica from now on.
    Demote,
    /// Dials take so long.
    ConnectLatency(Duration),
    /// Requests take so long.
    Latency(Duration),
    /// Closes block the task that performs them for so long.
    CloseLatency(Duration),
    /// The server takes no more connections than this.
    MostClients(usize),
    /// The clock jumps ahead.
    Jump(Duration),
    /// A task that nobody woke is polled.
    SpuriousWake,
    /// The monitors of connections that are gone are called.
    LateMonitors,
    /// A task is dropped where it is.
    KillTask,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// So long after the one before it.
    After(Duration),
    /// As soon as a dial is under way.
    WhileConnecting,
    /// As soon as a grant is not collected yet.
    WhileGranted,
    /// As soon as somebody waits.
    WhileWaiting,
    /// As soon as a connection is out for a check.
    WhileChecking,
}

impl Fault {
    pub(super) fn draw(rng: &mut Rng, may_kill_tasks: bool) -> Self {
        let short = [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(30), Duration::from_millis(400)];
        match rng.index(if may_kill_tasks { 27 } else { 24 }) {
            0 | 1 => Self::Mode(FakeMode::Refusing),
            2 | 3 => Self::Mode(FakeMode::Silent),
            4 => Self::Mode(FakeMode::Void),
            5 => Self::Mode([FakeMode::Rejecting, FakeMode::Loading][rng.index(2)]),
            6..=8 => Self::Mode(FakeMode::Up),
            9 => Self::Kill,
            10 => Self::DropConnections,
            11 => Self::ForgetConnections,
            12 => Self::ConnectLatency(short[rng.index(4)] * 4),
            13 => Self::Latency(short[rng.index(4)]),
            14 => Self::MostClients(rng.index(4)),
            15 => Self::MostClients(usize::MAX),
            16 => Self::Jump(Duration::from_secs(1 + rng.index(3_600) as u64)),
            17 => Self::SpuriousWake,
            18 => Self::LateMonitors,
            19 | 20 => Self::HalfOpen(Duration::from_secs([1, 60][rng.index(2)])),
            21 => Self::Move([FormerServer::Answers, FormerServer::Silent][rng.index(2)]),
            22 => Self::CloseLatency([short[0], short[2], short[3], Duration::from_secs(3)][rng.index(4)]),
            23 => Self::Demote,
            _ => Self::KillTask,
        }
    }

    pub(super) fn strike(self, server: &FakeServer, runtime: &FakeRuntime) {
        match self {
            Self::Mode(mode) => server.set_mode(mode),
            Self::Kill => server.kill(),
            Self::DropConnections => server.drop_connections(),
            Self::ForgetConnections => server.forget_connections(),
            Self::HalfOpen(kept_for) => server.half_open(kept_for),
            Self::Move(former) => server.move_elsewhere(former),
            Self::Demote => server.demote(),
            Self::ConnectLatency(latency) => server.set_connect_latency(latency),
            Self::Latency(latency) => server.set_latency(latency),
            Self::CloseLatency(latency) => server.set_close_latency(latency),
            Self::MostClients(most) => server.set_most_clients(most),
            Self::Jump(length) => runtime.jump_without_running(length),
            Self::SpuriousWake => runtime.wake_a_task(),
            Self::LateMonitors => server.call_late_monitors(),
            Self::KillTask => drop(runtime.kill_a_task()),
        }
    }
}

impl Trigger {
    /// At any other time there is hardly a task but borrowers and the driver.
    pub(super) fn draw_for_a_kill(rng: &mut Rng) -> Self {
        match rng.index(4) {
            0 => Self::WhileConnecting,
            1 | 2 => Self::WhileChecking,
            _ => Self::draw(rng),
        }
    }

    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.index(10) {
            0 => Self::WhileConnecting,
            1 => Self::WhileGranted,
            2 => Self::WhileWaiting,
            3 => Self::WhileChecking,
            _ => {
                let most = Duration::from_millis([5, 50, 500, 2_000][rng.index(4)]);
                Self::After(rng.up_to(most))
            }
        }
    }
}
