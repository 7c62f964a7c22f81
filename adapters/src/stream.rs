//! A byte stream of any runtime. Opening it is the task of `Network`.

use ::tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream with tokio's traits, which the redis crate requires.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A boxed byte stream.
pub type BoxStream = Box<dyn Stream>;
