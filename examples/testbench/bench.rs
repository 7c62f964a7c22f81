//! The state of the testbench, and what its buttons do to it.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis_manager::RedisManager;
use serde_json::{Value, json};

use crate::load::LoadCounts;
use crate::proxy::{FaultProxy, ProxyMode};
use crate::server::LoadedServer;

/// The most connections of the node, in two pools.
pub(crate) const MAX_CONNECTIONS: usize = 32;
/// With those of the load more than 80 % of them, and still no caller waits.
const MOST: usize = 26;
const FLOOD_CALLERS: usize = 150;
/// More than half of the connections could serve at once.
const FULL_CALLERS: usize = 24;
const FLOOD_HOLDS: Duration = Duration::from_millis(60);
const SLOW: Duration = Duration::from_millis(150);

/// The buttons: name, text, what it does.
const BUTTONS: [(&str, &str, &str); 11] = [
    ("kill", "Kill", "ends the server; again, or Restart: starts it"),
    ("restart", "Restart", "ends the server and starts it at once"),
    ("freeze", "Freeze", "holds all bytes; again: they arrive"),
    ("black-hole", "Black hole", "bytes vanish; again: ends"),
    ("slow", "Slow server", "replies come 150 ms later; again: ends"),
    ("full", "Full server", "refuses new connections and closes half, and more callers come; again: ends"),
    ("flood", "Flood of callers", "150 more callers; again: ends"),
    ("hold-most", "Hold most", "26 leases are kept; again: given back"),
    ("hold-all", "Hold all", "all leases are kept; again: given back"),
    ("close-node", "Close the node", "closes its pools; again: adds it"),
    ("heal", "Heal", "ends every fault"),
];

pub(crate) struct BenchState {
    pub(crate) manager: RedisManager,
    /// Of the node: by way of the proxy, if there is one.
    pub(crate) url: String,
    pub(crate) counts: Arc<LoadCounts>,
    server: Mutex<LoadedServer>,
    not_ours: Option<&'static str>,
    proxy: Option<FaultProxy>,
    /// The name of the fault that is on.
    fault: Mutex<Option<&'static str>>,
    /// The borrowers of a fault end when it changes.
    fault_number: AtomicU64,
    /// One press at a time.
    pressing: tokio::sync::Mutex<()>,
}

impl BenchState {
    pub(crate) fn new(manager: RedisManager, url: String, server: LoadedServer, proxy: Option<FaultProxy>) -> Self {
        let not_ours = server.not_ours();
        let (fault, fault_number, counts) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        let pressing = tokio::sync::Mutex::default();
        Self { manager, url, counts, server: Mutex::new(server), not_ours, proxy, fault, fault_number, pressing }
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn buttons(&self) -> Vec<Value> {
        let each =
            BUTTONS.iter().map(|(name, text, does)| json!({"name": name, "text": text, "does": does, "off": self.off(name)}));
        each.collect()
    }

    /// Why a button cannot work with this server.
    fn off(&self, name: &str) -> Option<&'static str> {
        match name {
            "kill" | "restart" => self.not_ours,
            "freeze" | "black-hole" | "slow" | "full" if self.proxy.is_none() => {
                Some("the proxy of the testbench passes TCP without TLS only")
            }
            _ => None,
        }
    }

    /// Does what the button says. The fault that was on is ended before; the same button again only ends it.
    pub(crate) async fn press(self: &Arc<Self>, name: &str) -> Result<&'static str, String> {
        let Some((name, ..)) = BUTTONS.iter().find(|(known, ..)| *known == name) else { return Err(format!("no button {name}")) };
        if let Some(why) = self.off(name) {
            return Err(why.into());
        }
        let _one = self.pressing.lock().await;
        let before = self.fault();
        self.heal(before).await.map_err(|error| error.to_string())?;
        if before == Some(name) || *name == "heal" {
            return Ok(name);
        }
        if let Some(mode) = mode_of(name) {
            self.set_mode(mode);
        }
        match *name {
            "kill" => self.server.lock().unwrap_or_else(PoisonError::into_inner).kill(),
            "restart" => {
                self.set_mode(ProxyMode::Refuse);
                self.start_server().map_err(|error| error.to_string())?;
                return Ok(name);
            }
            "full" => {
                self.proxy.iter().for_each(FaultProxy::close_half);
                // Without a need for more connections none is made, and nothing fails.
                self.borrow(FULL_CALLERS, Some(FLOOD_HOLDS));
            }
            "flood" => self.borrow(FLOOD_CALLERS, Some(FLOOD_HOLDS)),
            "hold-most" => self.borrow(MOST, None),
            "hold-all" => self.borrow(MAX_CONNECTIONS, None),
            "close-node" => self.manager.close_node_pools(&self.url).await,
            _ => {}
        }
        self.set_fault(Some(name));
        Ok(name)
    }

    async fn heal(&self, fault: Option<&str>) -> Result<(), Box<dyn Error>> {
        self.fault_number.fetch_add(1, Ordering::Relaxed);
        match fault {
            Some("kill") => self.start_server()?,
            Some("close-node") => drop(self.manager.add_node_pool_lazy(&self.url)?),
            _ => self.set_mode(ProxyMode::Pass),
        }
        self.set_fault(None);
        Ok(())
    }

    fn start_server(&self) -> Result<(), Box<dyn Error>> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.start_again()?;
        if let (Some(proxy), Some(address)) = (&self.proxy, upstream_of(server.url())) {
            proxy.set_upstream(&address);
        }
        drop(server);
        self.set_mode(ProxyMode::Pass);
        Ok(())
    }

    fn set_fault(&self, fault: Option<&'static str>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn set_mode(&self, mode: ProxyMode) {
        self.proxy.iter().for_each(|proxy| proxy.set_mode(mode));
    }

    /// Callers that borrow again and again, each time for so long; `None`: until the fault ends.
    fn borrow(self: &Arc<Self>, callers: usize, hold: Option<Duration>) {
        let number = self.fault_number.load(Ordering::Relaxed);
        for _ in 0..callers {
            let bench = Arc::clone(self);
            tokio::spawn(async move {
                let is_on = || bench.fault_number.load(Ordering::Relaxed) == number && !bench.manager.is_closing();
                while is_on() {
                    let lease = bench.manager.get_client(&bench.url).await;
                    bench.counts.note(lease.is_ok());
                    tokio::time::sleep(hold.unwrap_or(FLOOD_HOLDS)).await;
                    while hold.is_none() && lease.is_ok() && is_on() {
                        tokio::time::sleep(FLOOD_HOLDS).await;
                    }
                }
            });
        }
    }
}

fn mode_of(name: &str) -> Option<ProxyMode> {
    match name {
        "kill" => Some(ProxyMode::Refuse),
        "freeze" => Some(ProxyMode::Freeze),
        "black-hole" => Some(ProxyMode::BlackHole),
        "slow" => Some(ProxyMode::Slow(SLOW)),
        "full" => Some(ProxyMode::Full),
        _ => None,
    }
}

/// The host and port of a URL that the proxy can stand in for.
pub(crate) fn upstream_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    matches!(scheme, "redis" | "valkey").then(|| if has_port { host.to_owned() } else { format!("{host}:6379") })
}

/// The same URL with the address of the proxy.
pub(crate) fn through(url: &str, proxy: std::net::SocketAddr) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let user = authority.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
    format!("{scheme}://{user}{proxy}{path}")
}
