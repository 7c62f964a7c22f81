//! The server that the testbench loads: one that is named, a process of its own, or a small one inside; killed and restarted here.

use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../support/local_redis.rs"]
mod local_redis;

use local_redis::LocalRedis;

const START_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct LoadedServer {
    url: String,
    kind: LoadedKind,
}

enum LoadedKind {
    Named,
    Process { port: u16, child: Option<Child> },
    Inside(Option<LocalRedis>),
}

impl LoadedServer {
    /// `REDIS_URL` if it is set, else a `redis-server` found on the PATH, else a small server in this process.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        if let Ok(url) = std::env::var("REDIS_URL") {
            return Ok(Self { url, kind: LoadedKind::Named });
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        match spawn(port) {
            Ok(child) => {
                let kind = LoadedKind::Process { port, child: Some(child) };
                let mut server = Self { url: format!("redis://127.0.0.1:{port}"), kind };
                server.wait_until_it_listens(port)?;
                Ok(server)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mini = LocalRedis::start()?;
                Ok(Self { url: mini.url(), kind: LoadedKind::Inside(Some(mini)) })
            }
            Err(error) => Err(format!("redis-server: {error}").into()),
        }
    }

    /// Where it listens itself, without the proxy.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            LoadedKind::Named => "the one that REDIS_URL names",
            LoadedKind::Process { .. } => "a redis-server from the PATH",
            LoadedKind::Inside(_) => "a small one inside this process (no redis-server on the PATH)",
        }
    }

    /// Why it cannot be killed, if it cannot.
    pub(crate) fn not_ours(&self) -> Option<&'static str> {
        match self.kind {
            LoadedKind::Named => Some("REDIS_URL names the server: the testbench does not kill it"),
            LoadedKind::Process { .. } | LoadedKind::Inside(_) => None,
        }
    }

    /// Ends it at once; its connections break, and its data is gone.
    pub(crate) fn kill(&mut self) {
        match &mut self.kind {
            LoadedKind::Named => {}
            LoadedKind::Process { child, .. } => {
                if let Some(mut child) = child.take() {
                    // If it is gone already, so much the better.
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
            LoadedKind::Inside(mini) => drop(mini.take()),
        }
    }

    /// Starts it again after `kill`; a small one inside has another port then.
    pub(crate) fn start_again(&mut self) -> Result<(), Box<dyn Error>> {
        self.kill();
        match &mut self.kind {
            LoadedKind::Named => Ok(()),
            LoadedKind::Process { port, child } => {
                let port = *port;
                *child = Some(spawn(port)?);
                self.wait_until_it_listens(port)
            }
            LoadedKind::Inside(mini) => {
                let started = LocalRedis::start()?;
                self.url = started.url();
                *mini = Some(started);
                Ok(())
            }
        }
    }

    fn wait_until_it_listens(&mut self, port: u16) -> Result<(), Box<dyn Error>> {
        let give_up_at = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let LoadedKind::Process { child: Some(child), .. } = &mut self.kind
                && let Some(status) = child.try_wait()?
            {
                return Err(format!("redis-server ended at once: {status}").into());
            }
            if Instant::now() > give_up_at {
                return Err("redis-server does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for LoadedServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16) -> io::Result<Child> {
    let mut program = Command::new("redis-server");
    let options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
    program.args(options).arg(port.to_string()).stdout(Stdio::null());
    // A ctrl-c on the terminal is for the testbench alone.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut program, 0);
    program.spawn()
}
