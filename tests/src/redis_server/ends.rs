//! Connections to servers as the kernel has them at the end that dials: a server lists one that was closed until it has read
//! its end, and may do so after it has accepted the next.

use std::collections::BTreeSet;
use std::fs;

/// Established, in the table of the kernel.
const ESTABLISHED: &str = "01";

/// Ports of both ends, the dialling one first, of all that are open to these ports at the same time; none without /proc.
pub(crate) fn open_to(ports: &[u16]) -> Option<BTreeSet<(u16, u16)>> {
    let first = read(ports)?;
    // The table is not read in one moment: what is still there when all of it has been read was there all the time.
    let second = read(ports)?;
    Some(first.intersection(&second).copied().collect())
}

fn read(ports: &[u16]) -> Option<BTreeSet<(u16, u16)>> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    Some(table.lines().filter_map(parse).filter(|(_, to)| ports.contains(to)).collect())
}

/// `0: 0100007F:C350 0100007F:2EE0 01 …`
fn parse(line: &str) -> Option<(u16, u16)> {
    let mut fields = line.split_whitespace().skip(1);
    let (from, to, state) = (fields.next()?, fields.next()?, fields.next()?);
    let port = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
    (state == ESTABLISHED).then_some((port(from)?, port(to)?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_open_until_it_is_closed_whatever_the_server_has_read() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = server.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        let own = client.local_addr().expect("it is connected").port();
        let Some(open) = open_to(&[address.port()]) else { return };
        assert_eq!(open, BTreeSet::from([(own, address.port())]));
        drop(client);
        assert_eq!(open_to(&[address.port()]), Some(BTreeSet::new()));
    }
}
