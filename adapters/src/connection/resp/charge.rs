//! What a value is charged with against the limit of a reply.

use redis::Value;

/// Every value is charged with what it takes of the `Vec` that it is in, beside its bytes.
pub(super) const VALUE_CHARGE: usize = size_of::<Value>();

/// Its first byte, CR and LF.
pub(super) const LINE_CHARGE: usize = 3;

/// The least that an announced value takes: a null, `_` CR LF.
pub(super) const LEAST_CHARGE: usize = VALUE_CHARGE + LINE_CHARGE;
