//! A real twemproxy (Debian calls it `nutcracker`) in front of a test's own server; it knows nothing of the pool.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::ports::ReservedPort;
use crate::redis_server::RedisServer;
use crate::redis_server::connection::REPLY_TIMEOUT;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_ATTEMPTS: u32 = 5;

/// A `nutcracker` child process with ports and a directory of its own; dropping it kills it and removes the directory.
///
/// # Panics
/// If there is no nutcracker on the PATH, or it does not answer within 10 s of its start.
#[derive(Debug)]
pub struct Nutcracker {
    port: ReservedPort,
    /// Where it tells its statistics, which nobody asks for.
    _stats: ReservedPort,
    dir: PathBuf,
    child: Child,
}

impl Nutcracker {
    /// Starts a proxy that hands everything on to `server`, and waits until it answers.
    pub fn before(server: &RedisServer) -> Nutcracker {
        for _ in 0..START_ATTEMPTS {
            let mut proxy = Nutcracker::spawn(server.port());
            let deadline = Instant::now() + START_TIMEOUT;
            // A program that is no test of ours may have taken a port since it was looked at: then it exits.
            while Instant::now() < deadline && matches!(proxy.child.try_wait(), Ok(None)) {
                if proxy.answers().unwrap_or(false) {
                    return proxy;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("nutcracker does not answer");
    }

    fn spawn(server: u16) -> Nutcracker {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("redis-manager-proxy-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("the directory for temporary files is writable");
        let (port, stats) = (ReservedPort::any(), ReservedPort::any());
        let config = format!(
            "pool:\n  listen: 127.0.0.1:{}\n  hash: fnv1a_64\n  distribution: ketama\n  redis: true\n  servers:\n   - 127.0.0.1:{server}:1\n",
            port.number()
        );
        fs::write(dir.join("nutcracker.yml"), config).expect("its directory is writable");
        let log = File::create(dir.join("nutcracker.log")).expect("its directory is writable");
        let mut command = Command::new("nutcracker");
        command.arg("-c").arg(dir.join("nutcracker.yml")).arg("-p").arg(dir.join("nutcracker.pid"));
        command.args(["-a", "127.0.0.1", "-s", &stats.number().to_string()]);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn() {
            Ok(child) => Nutcracker { port, _stats: stats, dir, child },
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
                "this test needs nutcracker, and it is not on the PATH: \
                 `sh tests/run.sh` in the root of the repository installs it and runs the tests"
            ),
            Err(error) => panic!("nutcracker cannot be started: {error}"),
        }
    }

    /// `redis://127.0.0.1:PORT` of the proxy.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port.number())
    }

    /// The proxy answers a PING itself.
    fn answers(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number()))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
        let mut pong = [0; 7];
        stream.read_exact(&mut pong)?;
        Ok(&pong == b"+PONG\r\n")
    }
}

impl Drop for Nutcracker {
    fn drop(&mut self) {
        // Fails only if it is dead already, and then wait() reaps it all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
