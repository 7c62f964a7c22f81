//! The pools that are compared without any I/O, and what they all lend: a connection that costs nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redis_manager::pool::{Condition, Connector, Lease, NodeConfig, NodePool};

use crate::runner::{BenchExecutor, Handle};

/// A connection to nowhere: one word on the heap, as the connections of most pools are a pointer wide.
pub(crate) type Nothing = Box<u64>;

/// A pool of them. Handles are cheap to clone; those of peers that lend by reference are leaked, for one run.
pub(crate) trait BenchPool: Clone + Send + Sync + 'static {
    /// What it lends.
    type Lease: Send + 'static;

    /// Waits for a connection.
    fn get(&self) -> impl Future<Output = Self::Lease> + Send;

    /// The size in bytes of the pool's own future of a get.
    fn future_size(&self) -> usize;
}

/// A connector that costs nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NothingConnector;

impl Connector for NothingConnector {
    type Connection = Nothing;
    type Error = Infallible;

    async fn connect(&self) -> Result<Nothing, Infallible> {
        Ok(Box::new(1))
    }

    async fn check(&self, _: &mut Nothing) -> Result<(), Infallible> {
        Ok(())
    }

    fn inspect(&self, _: &mut Nothing) -> Condition {
        Condition::Clean
    }
}

/// redis-manager: one node with one pool.
pub(crate) type OurPool = NodePool<NothingConnector>;

/// The settings of [`OurPool`].
pub(crate) fn node_config(size: usize) -> NodeConfig {
    let settings = NodeConfig::builder().max_connection_size(size).max_pools_per_node(1).min_idle(0);
    let settings = settings.max_waiters(1_000_000).default_timeout(Duration::from_secs(60));
    settings.build().expect("the settings of the benchmark are within their ranges")
}

pub(crate) fn ours(handle: &Handle, size: usize) -> OurPool {
    NodePool::new(NothingConnector, node_config(size), handle.runtime())
}

impl BenchPool for OurPool {
    type Lease = Lease<NothingConnector>;

    async fn get(&self) -> Lease<NothingConnector> {
        NodePool::get(self).await.expect("a pool that is open lends")
    }

    fn future_size(&self) -> usize {
        size_of_val(&NodePool::get(self))
    }
}

impl deadpool::managed::Manager for NothingConnector {
    type Type = Nothing;
    type Error = Infallible;

    async fn create(&self) -> Result<Nothing, Infallible> {
        Ok(Box::new(1))
    }

    async fn recycle(&self, _: &mut Nothing, _: &deadpool::managed::Metrics) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

pub(crate) type DeadpoolPool = deadpool::managed::Pool<NothingConnector>;

pub(crate) fn deadpool(size: usize) -> DeadpoolPool {
    DeadpoolPool::builder(NothingConnector).max_size(size).build().expect("deadpool without timeouts needs no runtime")
}

/// The same with a deadline for each get, as ours has one; it then needs to know the executor's timers.
pub(crate) fn deadpool_with_timeout(kind: BenchExecutor, size: usize) -> DeadpoolPool {
    let runtime = if kind.is_tokio() { deadpool::Runtime::Tokio1 } else { deadpool::Runtime::Smol2 };
    let builder =
        DeadpoolPool::builder(NothingConnector).max_size(size).wait_timeout(Some(Duration::from_secs(60))).runtime(runtime);
    builder.build().expect("deadpool knows the timers of this runtime")
}

impl BenchPool for DeadpoolPool {
    type Lease = deadpool::managed::Object<NothingConnector>;

    async fn get(&self) -> Self::Lease {
        DeadpoolPool::get(self).await.expect("a pool that is open lends")
    }

    fn future_size(&self) -> usize {
        size_of_val(&DeadpoolPool::get(self))
    }
}

impl bb8::ManageConnection for NothingConnector {
    type Connection = Nothing;
    type Error = Infallible;

    async fn connect(&self) -> Result<Nothing, Infallible> {
        Ok(Box::new(1))
    }

    async fn is_valid(&self, _: &mut Nothing) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Nothing) -> bool {
        false
    }
}

pub(crate) type Bb8Pool = &'static bb8::Pool<NothingConnector>;

pub(crate) async fn bb8(size: usize) -> Bb8Pool {
    let size = u32::try_from(size).expect("a pool of the benchmark is small");
    let builder = bb8::Pool::builder().max_size(size).connection_timeout(Duration::from_secs(60));
    let Ok(pool) = builder.build(NothingConnector).await;
    Box::leak(Box::new(pool))
}

impl BenchPool for Bb8Pool {
    type Lease = bb8::PooledConnection<'static, NothingConnector>;

    async fn get(&self) -> Self::Lease {
        bb8::Pool::get(self).await.expect("a pool that is open lends")
    }

    fn future_size(&self) -> usize {
        size_of_val(&bb8::Pool::get(self))
    }
}

#[mobc::async_trait]
impl mobc::Manager for NothingConnector {
    type Connection = Nothing;
    type Error = Infallible;

    async fn connect(&self) -> Result<Nothing, Infallible> {
        Ok(Box::new(1))
    }

    async fn check(&self, connection: Nothing) -> Result<Nothing, Infallible> {
        Ok(connection)
    }
}

pub(crate) type Mobc = mobc::Pool<NothingConnector>;

pub(crate) fn mobc(size: usize) -> Mobc {
    let size = size as u64;
    mobc::Pool::builder().max_open(size).max_idle(size).get_timeout(Some(Duration::from_secs(60))).build(NothingConnector)
}

impl BenchPool for Mobc {
    type Lease = mobc::Connection<NothingConnector>;

    async fn get(&self) -> Self::Lease {
        mobc::Pool::get(self).await.unwrap_or_else(|_| panic!("a pool that is open lends"))
    }

    fn future_size(&self) -> usize {
        size_of_val(&mobc::Pool::get(self))
    }
}

#[mobc::async_trait]
impl qp::resource::Manage for NothingConnector {
    type Output = Nothing;
    type Error = Infallible;

    async fn try_create(&self) -> Result<Nothing, Infallible> {
        Ok(Box::new(1))
    }
}

pub(crate) type Qp = &'static qp::Pool<NothingConnector>;

pub(crate) fn qp(size: usize) -> Qp {
    Box::leak(Box::new(qp::Pool::new(NothingConnector, size)))
}

impl BenchPool for Qp {
    type Lease = qp::Pooled<'static, NothingConnector>;

    async fn get(&self) -> Self::Lease {
        let Ok(lease) = qp::Pool::acquire(self).await;
        lease
    }

    fn future_size(&self) -> usize {
        size_of_val(&qp::Pool::acquire(self))
    }
}

/// The floor under every pool: a queue behind std's lock, locked twice. It cannot wait.
pub(crate) type StdFloor = &'static Mutex<VecDeque<Nothing>>;

/// The same, with so many tries before it goes to sleep for the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TriedFloor(StdFloor);

const TRIES: usize = 64;

/// The same behind parking_lot's lock.
pub(crate) type ParkingLotFloor = &'static parking_lot::Mutex<VecDeque<Nothing>>;

fn stock(size: usize) -> VecDeque<Nothing> {
    (0..size).map(|_| Box::new(1)).collect()
}

pub(crate) fn std_floor(size: usize) -> StdFloor {
    Box::leak(Box::new(Mutex::new(stock(size))))
}

pub(crate) fn tried_floor(size: usize) -> TriedFloor {
    TriedFloor(std_floor(size))
}

pub(crate) fn parking_lot_floor(size: usize) -> ParkingLotFloor {
    Box::leak(Box::new(parking_lot::Mutex::new(stock(size))))
}

/// A connection of a floor, which is pushed back when it is dropped.
pub(crate) struct Floored<F: Floor>(F, Option<Nothing>);

/// A queue behind a lock.
pub(crate) trait Floor: Copy + Send + Sync + 'static {
    fn pop(&self) -> Option<Nothing>;
    fn push(&self, connection: Nothing);
}

impl Floor for StdFloor {
    fn pop(&self) -> Option<Nothing> {
        self.lock().expect("nobody panics under the lock").pop_back()
    }

    fn push(&self, connection: Nothing) {
        self.lock().expect("nobody panics under the lock").push_back(connection);
    }
}

impl TriedFloor {
    fn lock(&self) -> MutexGuard<'static, VecDeque<Nothing>> {
        for _ in 0..TRIES {
            match self.0.try_lock() {
                Ok(guard) => return guard,
                Err(_) => std::hint::spin_loop(),
            }
        }
        self.0.lock().expect("nobody panics under the lock")
    }
}

impl Floor for TriedFloor {
    fn pop(&self) -> Option<Nothing> {
        self.lock().pop_back()
    }

    fn push(&self, connection: Nothing) {
        self.lock().push_back(connection);
    }
}

impl Floor for ParkingLotFloor {
    fn pop(&self) -> Option<Nothing> {
        self.lock().pop_back()
    }

    fn push(&self, connection: Nothing) {
        self.lock().push_back(connection);
    }
}

impl<F: Floor> Drop for Floored<F> {
    fn drop(&mut self) {
        if let Some(connection) = self.1.take() {
            self.0.push(connection);
        }
    }
}

impl<F: Floor> BenchPool for F {
    type Lease = Floored<F>;

    fn get(&self) -> impl Future<Output = Self::Lease> + Send {
        ready(Floored(*self, Some(self.pop().expect("a floor is asked for no more than it has"))))
    }

    fn future_size(&self) -> usize {
        0
    }
}
