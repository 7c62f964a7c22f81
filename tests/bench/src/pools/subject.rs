//! A pool whose type does not matter, and the lists of those that are compared.

use std::time::Duration;

use super::cancels;
use super::contenders::{self, BenchPool};
use super::cycles::{self, Hold, Scenario};
use super::{allocations, waiters, wakes};
use crate::runner::{BenchExecutor, Done, Handle};

pub(crate) const OURS: &str = "redis-manager";
pub(crate) const DEADPOOL: &str = "deadpool";
pub(super) const DEADPOOL_WITH_TIMEOUT: &str = "deadpool, with a wait timeout";
const BB8: &str = "bb8";
const MOBC: &str = "mobc";
const QP: &str = "qp";
pub(super) const STD_FLOOR: &str = "floor: two std locks";
const TRIED_FLOOR: &str = "floor: two std locks, 64 tries first";
const PARKING_LOT_FLOOR: &str = "floor: two parking_lot locks";

/// All that is measured of a pool.
pub(super) trait Measured: Send + Sync {
    fn race(&self, handle: &Handle, scenario: Scenario, window: Duration) -> Done<cycles::CycleSample>;
    fn park(&self, handle: &Handle, waiters: usize) -> Done<waiters::WaiterSample>;
    fn cancel(&self, racing: &Subject, handle: &Handle, times: u32) -> Done<cancels::CancelSample>;
    fn count_allocations(&self, handle: &Handle) -> Done<allocations::AllocationSample>;
    fn count_wakes(&self, handle: &Handle, scenario: Scenario, cycles: u64) -> Done<wakes::WakeSample>;
    fn as_any(&self) -> &dyn std::any::Any;
}

impl<P: BenchPool> Measured for P {
    fn race(&self, handle: &Handle, scenario: Scenario, window: Duration) -> Done<cycles::CycleSample> {
        cycles::race(self, handle, scenario, window)
    }

    fn park(&self, handle: &Handle, waiters: usize) -> Done<waiters::WaiterSample> {
        waiters::park(self, handle, waiters)
    }

    fn cancel(&self, racing: &Subject, handle: &Handle, times: u32) -> Done<cancels::CancelSample> {
        let racing = racing.pool.as_any().downcast_ref::<P>().expect("both pools are of one kind");
        cancels::cancel(self, racing, handle, times)
    }

    fn count_allocations(&self, handle: &Handle) -> Done<allocations::AllocationSample> {
        allocations::count(self, handle)
    }

    fn count_wakes(&self, handle: &Handle, scenario: Scenario, cycles: u64) -> Done<wakes::WakeSample> {
        wakes::count(self, handle, scenario, cycles)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A pool by name.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) pool: Box<dyn Measured>,
}

impl Subject {
    fn new(name: &'static str, pool: impl BenchPool) -> Subject {
        Subject { name, pool: Box::new(pool) }
    }
}

/// Every pool that runs on this executor, each of this size.
pub(super) async fn pools(kind: BenchExecutor, handle: &Handle, size: usize) -> Vec<Subject> {
    let mut all = vec![
        Subject::new(OURS, contenders::ours(handle, size)),
        Subject::new(DEADPOOL, contenders::deadpool(size)),
        Subject::new(DEADPOOL_WITH_TIMEOUT, contenders::deadpool_with_timeout(kind, size)),
        Subject::new(QP, contenders::qp(size)),
    ];
    if kind.is_tokio() {
        all.push(Subject::new(BB8, contenders::bb8(size).await));
        all.push(Subject::new(MOBC, contenders::mobc(size)));
    }
    all
}

/// Those, and the floors where nobody has to wait.
pub(super) async fn pools_and_floors(kind: BenchExecutor, handle: &Handle, scenario: Scenario) -> Vec<Subject> {
    let mut all = pools(kind, handle, scenario.size).await;
    if scenario.hold == Hold::Never {
        all.push(Subject::new(STD_FLOOR, contenders::std_floor(scenario.size)));
        all.push(Subject::new(TRIED_FLOOR, contenders::tried_floor(scenario.size)));
        all.push(Subject::new(PARKING_LOT_FLOOR, contenders::parking_lot_floor(scenario.size)));
    }
    all
}
