//! Connections to servers at the end that dials: a server lists one that was closed until it has read its end, and may do so
//! after it has accepted the next; here a socket is gone when `close` returns.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{BorrowedFd, RawFd};

use socket2::SockRef;

/// Ports of both ends, our own one first, of all connections of this process that are open to these ports at the same time.
pub(crate) fn open_to(ports: &[u16]) -> BTreeSet<(u16, u16)> {
    let first = look(ports);
    // Not all are looked at in one moment: one that is still there afterwards was there all the time.
    let second = look(ports);
    first.intersection(&second).copied().collect()
}

fn look(ports: &[u16]) -> BTreeSet<(u16, u16)> {
    let descriptors = fs::read_dir("/dev/fd").expect("descriptors are listed");
    let numbers = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(ends_of).filter(|(_, to)| ports.contains(to)).collect()
}

/// None for what is no connection over IP.
fn ends_of(number: RawFd) -> Option<(u16, u16)> {
    // SAFETY: another thread may close it at any time, or open something else under its number: it is only asked for its
    // addresses, in which case they are missing, or those of something else.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let socket = SockRef::from(&descriptor);
    let to = socket.peer_addr().ok()?.as_socket()?.port();
    Some((socket.local_addr().ok()?.as_socket()?.port(), to))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_open_until_it_is_closed_whatever_the_server_has_read() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = server.local_addr().expect("it is bound").port();
        let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let own = client.local_addr().expect("it is connected").port();
        assert_eq!(open_to(&[port]), BTreeSet::from([(own, port)]));
        drop(client);
        assert_eq!(open_to(&[port]), BTreeSet::new());
    }
}
