//! What is exported: which managers, by which names and labels.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::export::error::ExportError;
use crate::export::reading::{ManagerReading, NodeLimits, NodeReading};
use crate::manager::{ManagerReader, RedisManager};

type PoolLabel = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Which managers are exported, and how. It does not keep them alive: of a manager whose last handle was dropped, nothing is
/// exported any more.
///
/// `ExportSource::from(&manager)` is one manager without a label `manager`. Several are told apart by their names:
///
#[cfg_attr(all(feature = "prometheus", feature = "tokio"), doc = "```no_run")]
#[cfg_attr(not(all(feature = "prometheus", feature = "tokio")), doc = "```ignore")]
/// use redis_manager::RedisManager;
/// use redis_manager::export::{ExportError, ExportSource, PrometheusCollector};
///
/// fn collector(sessions: &RedisManager, orders: &RedisManager) -> Result<PrometheusCollector, ExportError> {
///     let source = ExportSource::new().manager("sessions", sessions)?.manager("orders", orders)?;
///     Ok(PrometheusCollector::new(source.pool_label(|url| url.trim_start_matches("redis://").to_owned())))
/// }
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing is exported without an exporter"]
pub struct ExportSource {
    managers: Vec<ExportedManager>,
    seed_names: bool,
    all_buckets: bool,
    pool_label: Option<PoolLabel>,
}

#[derive(Clone)]
struct ExportedManager {
    name: Option<Arc<str>>,
    reader: ManagerReader,
}

impl From<&RedisManager> for ExportSource {
    fn from(manager: &RedisManager) -> Self {
        Self { managers: vec![ExportedManager { name: None, reader: manager.reader() }], ..Self::default() }
    }
}

impl ExportSource {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a manager. All of its series have the label `manager` with this name.
    ///
    /// # Errors
    ///
    /// [`ManagerNameTaken`](ExportError::ManagerNameTaken) if another one has the name,
    /// [`EmptyManagerName`](ExportError::EmptyManagerName) if it is empty.
    pub fn manager(mut self, name: &str, manager: &RedisManager) -> Result<Self, ExportError> {
        if name.is_empty() {
            return Err(ExportError::EmptyManagerName);
        }
        if self.names().any(|taken| taken == Some(name)) {
            return Err(ExportError::ManagerNameTaken { name: String::from(name) });
        }
        self.managers.push(ExportedManager { name: Some(Arc::from(name)), reader: manager.reader() });
        Ok(self)
    }

    /// Whether the metrics with the short names (`redis_pool_size` and so on) are exported, too. Default false.
    pub fn seed_names(mut self, seed_names: bool) -> Self {
        self.seed_names = seed_names;
        self
    }

    /// Whether all 43 bounds of histograms are exported. Default false: 15 of them, which are 10 and 33 µs, the same times 10, 100
    /// and so on, and 100 s.
    pub fn all_buckets(mut self, all_buckets: bool) -> Self {
        self.all_buckets = all_buckets;
        self
    }

    /// Sets what `db.client.connection.pool.name` is for a node, by its name as
    /// [`fetch_pool_status`](RedisManager::fetch_pool_status) has it. Default: that name. Nodes of one manager that get the same
    /// label are numbered: the second one is `label #2`.
    ///
    /// It is called for each node at each export. A panic in it ends the export.
    pub fn pool_label(mut self, pool_label: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.pool_label = Some(Arc::new(pool_label));
        self
    }

    fn names(&self) -> impl Iterator<Item = Option<&str>> {
        self.managers.iter().map(|manager| manager.name.as_deref())
    }

    pub(crate) fn has_seed_names(&self) -> bool {
        self.seed_names
    }

    /// Of how many bounds of a histogram one is exported.
    pub(crate) fn bucket_step(&self) -> usize {
        if self.all_buckets { 1 } else { 3 }
    }

    /// All nodes as they are now. Managers that are gone are left out.
    pub(crate) fn read(&self) -> Vec<ManagerReading> {
        let read = |exported: &ExportedManager| {
            let (config, pictures) = exported.reader.read()?;
            let limits = NodeLimits {
                max_connections: config.max_connections_per_node(),
                min_idle: config.min_idle() * config.connection_pools_per_node_at_start(),
            };
            let mut numbers = HashMap::new();
            let nodes = pictures.into_iter().map(|(name, picture)| {
                let node: Arc<str> = Arc::from(name);
                let pool = self.pool_label.as_ref().map(|label| numbered(label(&node), &mut numbers));
                NodeReading { pool: pool.map_or_else(|| Arc::clone(&node), Arc::from), node, picture, limits }
            });
            Some(ManagerReading { manager: exported.name.clone(), nodes: nodes.collect() })
        };
        self.managers.iter().filter_map(read).collect()
    }
}

/// The label itself the first time, then with a number that no other label ends with.
fn numbered(label: String, numbers: &mut HashMap<String, usize>) -> String {
    let mut unique = label.clone();
    while numbers.contains_key(&unique) {
        let number = numbers.entry(label.clone()).or_insert(1);
        *number += 1;
        unique = format!("{label} #{number}");
    }
    numbers.insert(unique.clone(), 1);
    unique
}

impl fmt::Debug for ExportSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().collect();
        let mut shown = f.debug_struct("ExportSource");
        shown.field("managers", &names).field("seed_names", &self.seed_names).field("all_buckets", &self.all_buckets);
        shown.finish_non_exhaustive()
    }
}
