//! The server of a quickstart: the one you name, else a redis-server of our own, else a small one in this process.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "local_redis.rs"]
mod local_redis;

use local_redis::LocalRedis;

/// A server that answers, for as long as this lives.
pub(crate) struct ExampleServer {
    pub(crate) url: String,
    kind: ServerKind,
}

enum ServerKind {
    Named,
    Process(Child),
    Inside { _server: LocalRedis },
}

impl ExampleServer {
    /// Uses `REDIS_URL` if it is set, else starts a `redis-server` found on the PATH, else a small server in this process.
    pub(crate) fn find() -> Result<Self, Box<dyn Error>> {
        if let Ok(url) = std::env::var("REDIS_URL") {
            return Ok(Self { url, kind: ServerKind::Named });
        }
        if let Some(server) = Self::start_process()? {
            return Ok(server);
        }
        let server = LocalRedis::start()?;
        Ok(Self { url: server.url(), kind: ServerKind::Inside { _server: server } })
    }

    /// Which of the three it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            ServerKind::Named => "the one that REDIS_URL names",
            ServerKind::Process(_) => "a redis-server from the PATH",
            ServerKind::Inside { .. } => "a small one inside this process (no redis-server on the PATH)",
        }
    }

    /// None if there is no redis-server on the PATH.
    fn start_process() -> Result<Option<Self>, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
        let mut program = Command::new("redis-server");
        program.args(options).arg(port.to_string()).stdout(Stdio::null());
        // A ctrl-c on the terminal is for the example alone.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut program, 0);
        let Ok(child) = program.spawn() else { return Ok(None) };
        let mut server = Self { url: format!("redis://127.0.0.1:{port}"), kind: ServerKind::Process(child) };
        let give_up_at = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ServerKind::Process(child) = &mut server.kind else { break };
            if let Some(status) = child.try_wait()? {
                return Err(format!("redis-server ended at once: {status}").into());
            }
            if Instant::now() > give_up_at {
                return Err("redis-server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(server))
    }
}

impl Drop for ExampleServer {
    fn drop(&mut self) {
        if let ServerKind::Process(child) = &mut self.kind {
            // It has nothing to save; if it is gone already, so much the better.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
