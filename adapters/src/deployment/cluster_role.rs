//! The role of a node in its cluster.

/// The role of a node in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ClusterRole {
    /// It may own slots, and accepts writes for them.
    Primary,
    /// It copies a primary, and replaces it when it fails.
    Replica,
}
