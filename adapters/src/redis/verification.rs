//! The choice of a URL about the verification of the server's certificate.

/// How much of a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Its signatures, its dates, its name.
    Full,
    /// Nothing.
    Off,
}
