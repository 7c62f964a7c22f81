//! How much a connection has received, to compare with later.

/// How much has been received at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedMark {
    pub(super) reads: u32,
    pub(super) pushes: u32,
}

impl ReceivedMark {
    /// Whether anything has been received since `earlier`.
    pub(crate) fn is_beyond(self, earlier: Self) -> bool {
        self.reads != earlier.reads
    }

    /// Whether data that is no push has been received since `earlier`: it belongs to a reply, which may be incomplete.
    pub(crate) fn has_reply_since(self, earlier: Self) -> bool {
        self.is_beyond(earlier) && self.pushes == earlier.pushes
    }
}
