//! Why managers cannot be exported together.

/// Why a manager, or a collector, cannot be exported beside another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The name of a manager is empty, which is no label for Prometheus.
    #[error("the name of a manager is empty")]
    EmptyManagerName,
    /// Another manager of the same [`ExportSource`](crate::export::ExportSource) has this name.
    #[error("another manager is exported by the name {name:?}")]
    ManagerNameTaken {
        /// The name.
        name: String,
    },
    /// The registry has a collector of redis-manager. Two would write the header of each metric twice, which Prometheus
    /// rejects: export all managers by one [`ExportSource`](crate::export::ExportSource).
    #[error("the registry has a collector of redis-manager: export all managers by one ExportSource")]
    CollectorPresent,
}
