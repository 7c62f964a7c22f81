//! Ports of a test's own: nobody else's test gets one of them, in this process or another, for as long as it is held.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;

/// Below the range from which systems take the ports of outgoing connections. There, a client that dials a dead server
/// again and again at last connects to itself, and a restart finds its port taken.
const PORTS: Range<u16> = 12_000..32_000;
/// How far the port of the cluster bus is from the port that it belongs to, if nobody says otherwise.
const TO_THE_BUS: u16 = 10_000;

/// A TCP port on 127.0.0.1 for one server, which it keeps while it is down, too.
///
/// The UDP port of the same number is the lock: only one socket can have it, no Redis uses it, and it is free again when
/// the process ends, however it ends.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    _locks: Vec<UdpSocket>,
}

impl ReservedPort {
    /// Any port that nobody has.
    ///
    /// # Panics
    /// If thousands of ports are taken.
    #[must_use]
    pub fn any() -> ReservedPort {
        reserve(PORTS, |port| Some(vec![lock(port)?]))
    }

    /// Any port that nobody has, and with it that of its cluster bus.
    pub(crate) fn with_bus() -> ReservedPort {
        reserve(PORTS.start..PORTS.end - TO_THE_BUS, |port| Some(vec![lock(port)?, lock(port + TO_THE_BUS)?]))
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The number of the port of its cluster bus.
    pub(crate) fn bus(&self) -> u16 {
        self.number + TO_THE_BUS
    }
}

fn reserve(range: Range<u16>, locks: impl Fn(u16) -> Option<Vec<UdpSocket>>) -> ReservedPort {
    let count = u64::from(range.end - range.start);
    // Not in turn: what still dials the last owner of a port shall not meet the next one soon.
    let start = RandomState::new().hash_one(0);
    (0..count)
        .filter_map(|step| u16::try_from(u64::from(range.start) + start.wrapping_add(step) % count).ok())
        .find_map(|number| Some(ReservedPort { number, _locks: locks(number)? }))
        .expect("one of thousands of ports is free")
}

/// None if another test has this port, or if some other program listens there.
fn lock(port: u16) -> Option<UdpSocket> {
    let lock = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: without the lock, `lock` takes the same port twice.
    #[test]
    fn a_port_is_nobody_elses_for_as_long_as_it_is_held() {
        let node = ReservedPort::with_bus();
        assert!(lock(node.number()).is_none() && lock(node.bus()).is_none());
        let (port, bus) = (node.number(), node.bus());
        assert!(bus < PORTS.end, "{bus}");
        drop(node);
        assert!(lock(port).is_some() && lock(bus).is_some());
    }
}
