//! The options of a TCP socket, and how they are set on an open one.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// When the kernel probes a silent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// After so long without traffic. 1 s to 32 767 s.
    pub idle: Duration,
    /// Then so often. 1 s to 32 767 s.
    pub interval: Duration,
    /// The connection is dead after so many probes without an answer. Count, 1 to 127.
    pub retries: u32,
}

/// The options of a TCP socket; a part of [`PoolArgs`](crate::PoolArgs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets the options on an open socket.
    ///
    /// # Errors
    ///
    /// What the operating system says of it.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(Keepalive { idle, interval, retries }) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
            #[cfg(not(windows))]
            let keepalive = keepalive.with_retries(retries);
            #[cfg(windows)]
            let _ = retries;
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Some(timeout) = self.user_timeout {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        Ok(())
    }
}
