//! Another place to dial for an address that a cluster tells.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type MapFunction = dyn Fn(&str, u16) -> Option<(String, u16)> + Send + Sync;

/// Where a node is dialled whose told address cannot be reached from here, behind NAT or a tunnel. Set by
/// [`ClusterArgs::address_map`](crate::ClusterArgs::address_map). Two are equal if they are clones of one.
#[derive(Clone)]
pub struct AddressMap {
    map: Arc<MapFunction>,
}

impl AddressMap {
    pub(crate) fn new(map: impl Fn(&str, u16) -> Option<(String, u16)> + Send + Sync + 'static) -> Self {
        Self { map: Arc::new(map) }
    }

    /// Where to dial instead. Calls code of users: not under a lock. A panic in it is none.
    pub(crate) fn dialled(&self, host: &str, port: u16) -> Option<(String, u16)> {
        catch_unwind(AssertUnwindSafe(|| (self.map)(host, port))).ok().flatten()
    }
}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressMap").finish_non_exhaustive()
    }
}

impl PartialEq for AddressMap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.map, &other.map)
    }
}

impl Eq for AddressMap {}
