//! A byte stream of any runtime, as a value; how it is opened is said elsewhere.

use ::tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream, as the redis crate wants it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A byte stream of whatever kind.
pub type BoxStream = Box<dyn Stream>;
