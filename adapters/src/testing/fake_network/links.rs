//! What a network consists of: hosts, names, and the connections between the clients and the hosts.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Weak;
use std::task::Waker;
use std::time::Duration;

use redis_manager_core::Instant;
use redis_manager_core::testing::SeededRng;

use crate::testing::fake_network::address::{Host, HostAddress, Reach};
use crate::testing::fake_network::conditions::{Cut, LinkConditions};
use crate::testing::fake_network::pipe::{Pipe, Readable};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A connection.
pub(super) struct Link {
    place: HostAddress,
    to_server: Pipe,
    to_client: Pipe,
    client_open: bool,
    server_open: bool,
    /// Something was written to an end that is closed.
    is_reset: bool,
    /// The server has lost its end without a word: whatever arrives there is answered with a reset once it is back.
    is_forgotten: bool,
}

impl Link {
    fn incoming(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }

    fn outgoing(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.to_server,
            Side::Server => &mut self.to_client,
        }
    }

    fn is_peer_open(&self, side: Side) -> bool {
        match side {
            Side::Client => self.server_open,
            Side::Server => self.client_open,
        }
    }
}

/// The state of a network. What is to be woken after a change is in `woken`.
pub(super) struct NetworkState {
    pub(super) rng: SeededRng,
    pub(super) hosts: BTreeMap<HostAddress, Host>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    next_listener: u64,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) names_made: u32,
    pub(super) resolution_time: Duration,
    pub(super) stream_limit: Option<usize>,
    pub(super) dialling: usize,
    /// The servers of this crate, so that they find each other.
    pub(super) owners: BTreeMap<SocketAddr, Weak<dyn Any + Send + Sync>>,
    /// Servers of different groups do not hear each other; those without one are a group of their own.
    pub(super) groups: BTreeMap<SocketAddr, usize>,
    /// FNV-1a of everything that was sent.
    pub(super) digest: u64,
    pub(super) woken: Vec<Waker>,
}

impl NetworkState {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: SeededRng::new(seed ^ 0x6e65_7477_6f72_6b73),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            next_listener: 1,
            names: BTreeMap::new(),
            names_made: 0,
            resolution_time: Duration::ZERO,
            stream_limit: None,
            dialling: 0,
            owners: BTreeMap::new(),
            groups: BTreeMap::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            woken: Vec::new(),
        }
    }

    pub(super) fn host(&mut self, place: &HostAddress) -> &mut Host {
        self.hosts.entry(place.clone()).or_default()
    }

    /// The end that dialled holds a stream for each of these.
    pub(super) fn open_at_client(&self) -> usize {
        self.links.values().filter(|link| link.client_open).count()
    }

    pub(super) fn open_to(&self, place: &HostAddress) -> usize {
        self.links.values().filter(|link| link.place == *place && link.client_open).count()
    }

    /// How long a dial takes to be answered: there and back.
    pub(super) fn round_trip(&mut self, place: &HostAddress) -> Duration {
        let LinkConditions { latency, jitter, .. } = self.host(place).conditions.clone();
        let jitter = if jitter.is_zero() { Duration::ZERO } else { self.rng.up_to(jitter) };
        latency * 2 + jitter
    }

    /// The answer to a dial, or None while there is none.
    pub(super) fn dial(&mut self, place: &HostAddress) -> Option<io::Result<u64>> {
        let host = self.host(place);
        let is_silent = host.reach == Reach::Silent || host.holds_to_server || host.holds_to_client;
        match host.reach {
            _ if is_silent => None,
            Reach::Unreachable => Some(Err(io::ErrorKind::HostUnreachable.into())),
            Reach::Plain if host.listener.is_some() => Some(Ok(self.connect(place))),
            Reach::Plain | Reach::Refusing | Reach::Silent => Some(Err(match place {
                HostAddress::Tcp(_) => io::ErrorKind::ConnectionRefused.into(),
                HostAddress::Unix(_) if host.listener.is_none() => io::ErrorKind::NotFound.into(),
                HostAddress::Unix(_) => io::ErrorKind::ConnectionRefused.into(),
            })),
        }
    }

    fn connect(&mut self, place: &HostAddress) -> u64 {
        let id = self.next_link;
        self.next_link += 1;
        let host = self.host(place);
        host.dials += 1;
        host.backlog.push_back(id);
        let cut_after = host.cut_next.take();
        let acceptor = host.acceptor.take();
        let mut to_server = Pipe::default();
        to_server.is_held = host.is_frozen;
        self.woken.extend(acceptor);
        let mut to_client = Pipe::default();
        to_client.cut_after = cut_after;
        let link = Link {
            place: place.clone(),
            to_server,
            to_client,
            client_open: true,
            server_open: true,
            is_reset: false,
            is_forgotten: false,
        };
        self.links.insert(id, link);
        id
    }

    /// A listener of its own number, unless there is one.
    pub(super) fn listen(&mut self, place: &HostAddress) -> Option<u64> {
        let number = self.next_listener;
        let host = self.host(place);
        if host.listener.is_some() {
            return None;
        }
        host.listener = Some(number);
        self.next_listener += 1;
        Some(number)
    }

    /// A listener takes the next connection, or waits.
    pub(super) fn accept(&mut self, place: &HostAddress, waker: &Waker) -> Option<u64> {
        let host = self.host(place);
        let id = host.backlog.pop_front();
        if id.is_none() {
            host.acceptor = Some(waker.clone());
        }
        id
    }

    pub(super) fn read(&mut self, now: Instant, id: u64, side: Side, target: &mut [u8], waker: &Waker) -> Readable {
        let Some(link) = self.links.get_mut(&id) else { return Readable::Cut(Cut::Reset) };
        let pipe = link.incoming(side);
        let found = pipe.read(now, target, waker);
        if let Readable::Bytes(count) = found {
            self.woken.extend(pipe.take_writer());
            if side == Side::Client {
                self.hosts.entry(link.place.clone()).or_default().bytes_read += count as u64;
            }
        }
        found
    }

    /// Bytes that were taken; 0 if there is no room, so that the writer waits.
    pub(super) fn write(&mut self, now: Instant, id: u64, side: Side, bytes: &[u8], waker: Option<&Waker>) -> io::Result<usize> {
        let Some(link) = self.links.get_mut(&id) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let conditions = &self.hosts.entry(link.place.clone()).or_default().conditions;
        if link.is_forgotten {
            if !link.to_client.is_held {
                link.to_client.cut(now, Cut::Reset, conditions, &mut self.rng);
                self.woken.extend(link.to_client.take_reader());
            }
            return Ok(bytes.len());
        }
        if !link.is_peer_open(side) {
            // As a kernel has it: the first write after the end of the peer is answered with a reset, the next one fails.
            let is_known = std::mem::replace(&mut link.is_reset, true);
            let incoming = link.incoming(side);
            incoming.cut(now, Cut::Reset, conditions, &mut self.rng);
            self.woken.extend(incoming.take_reader());
            return if is_known { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) };
        }
        let pipe = link.outgoing(side);
        if pipe.is_cut() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (taken, cut) = pipe.write(now, bytes, waker.is_none(), conditions, &mut self.rng);
        let place = [now.as_nanos(), id * 2 + u64::from(side == Side::Server)];
        for byte in place.iter().flat_map(|number| number.to_le_bytes()).chain(bytes[..taken].iter().copied()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.woken.extend(pipe.take_reader());
        if let (0, false, Some(waker)) = (taken, bytes.is_empty(), waker) {
            pipe.wait_for_room(waker);
        }
        if let Some(cut) = cut {
            self.cut(now, id, cut, true);
        }
        Ok(taken)
    }

    /// Both sides read the cut: after what is under way, or without it if that is a reset.
    fn cut(&mut self, now: Instant, id: u64, cut: Cut, is_in_order: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let conditions = &self.hosts.entry(link.place.clone()).or_default().conditions;
        for side in [Side::Client, Side::Server] {
            let pipe = link.incoming(side);
            if cut == Cut::Reset && !is_in_order {
                pipe.lose_what_is_under_way(now);
            }
            pipe.cut(now, cut, conditions, &mut self.rng);
            self.woken.extend(pipe.take_reader());
            self.woken.extend(pipe.take_writer());
        }
    }

    /// A side has no more to write.
    pub(super) fn end_writing(&mut self, now: Instant, id: u64, side: Side) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let conditions = &self.hosts.entry(link.place.clone()).or_default().conditions;
        let pipe = link.outgoing(side);
        pipe.cut(now, Cut::End, conditions, &mut self.rng);
        self.woken.extend(pipe.take_reader());
    }

    /// A side is dropped: the other one reads the end, or a reset if something was sent that was not read.
    pub(super) fn close(&mut self, now: Instant, id: u64, side: Side) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_open = match side {
            Side::Client => &mut link.client_open,
            Side::Server => &mut link.server_open,
        };
        if !std::mem::replace(is_open, false) {
            return;
        }
        if !link.client_open && !link.server_open {
            // A task may still read an end that another one has closed.
            if let Some(mut link) = self.links.remove(&id) {
                self.woken.extend([link.to_server.take_reader(), link.to_client.take_reader()].into_iter().flatten());
            }
            return;
        }
        let conditions = &self.hosts.entry(link.place.clone()).or_default().conditions;
        let how = if link.incoming(side).has_unread(now) { Cut::Reset } else { Cut::End };
        // A task that reads this end must not wait any longer.
        let incoming = link.incoming(side);
        incoming.cut(now, Cut::End, conditions, &mut self.rng);
        let (room, reader) = (incoming.take_writer(), incoming.take_reader());
        self.woken.extend(reader);
        // A server that has lost its ends says nothing when they are dropped.
        let is_silent = link.is_forgotten && side == Side::Server;
        let pipe = link.outgoing(side);
        if !is_silent {
            pipe.cut(now, how, conditions, &mut self.rng);
        }
        self.woken.extend(pipe.take_reader());
        self.woken.extend(room);
    }

    /// The process of the server ends: its kernel closes its ends, and the port.
    pub(super) fn end_server(&mut self, now: Instant, place: &HostAddress) {
        self.stop_listening(place);
        for id in self.ids_of(place) {
            self.close(now, id, Side::Server);
        }
    }

    /// The port is closed; the connections that nobody has accepted are the result.
    pub(super) fn stop_listening(&mut self, place: &HostAddress) -> VecDeque<u64> {
        let host = self.host(place);
        host.listener = None;
        let acceptor = host.acceptor.take();
        let waiting = std::mem::take(&mut host.backlog);
        self.woken.extend(acceptor);
        waiting
    }

    /// All connections to a host are cut.
    pub(super) fn cut_all(&mut self, now: Instant, place: &HostAddress, cut: Cut) {
        for id in self.ids_of(place) {
            self.cut(now, id, cut, false);
        }
    }

    /// The server loses its ends without a word.
    pub(super) fn forget_all(&mut self, place: &HostAddress) {
        for link in self.links.values_mut().filter(|link| link.place == *place) {
            link.is_forgotten = true;
        }
    }

    /// Connections that are open now, and those to come, pass nothing in a direction, or pass it again.
    pub(super) fn hold(&mut self, place: &HostAddress, to_server: bool, to_client: bool) {
        let host = self.host(place);
        (host.holds_to_server, host.holds_to_client) = (to_server, to_client);
        self.hold_links(place);
    }

    /// The server at this place reads nothing, or reads again.
    pub(super) fn freeze(&mut self, place: &HostAddress, is_frozen: bool) {
        self.host(place).is_frozen = is_frozen;
        self.hold_links(place);
    }

    fn hold_links(&mut self, place: &HostAddress) {
        let host = self.host(place);
        let (to_server, to_client) = (host.holds_to_server || host.is_frozen, host.holds_to_client);
        for link in self.links.values_mut().filter(|link| link.place == *place) {
            (link.to_server.is_held, link.to_client.is_held) = (to_server, to_client);
            let readers = [link.to_server.take_reader(), link.to_client.take_reader()];
            self.woken.extend(readers.into_iter().flatten());
        }
    }

    /// Connections that are open now are cut after so many more bytes to the client.
    pub(super) fn cut_open_after(&mut self, place: &HostAddress, cut_after: Option<(usize, Cut)>) {
        for link in self.links.values_mut().filter(|link| link.place == *place) {
            link.to_client.cut_after = cut_after;
        }
    }

    fn ids_of(&self, place: &HostAddress) -> Vec<u64> {
        self.links.iter().filter(|(_, link)| link.place == *place).map(|(id, _)| *id).collect()
    }

    /// Who waits for what, for the panic of a runtime on which nothing happens any more.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for (id, link) in &self.links {
            for (who, pipe, is_open) in
                [("the client", &link.to_client, link.client_open), ("the server", &link.to_server, link.server_open)]
            {
                if is_open && pipe.has_waiting_reader() {
                    let held = if pipe.is_held { ", held back" } else { "" };
                    text += &format!(
                        "\n  connection {id} to {}: {who} reads, {} bytes are under way{held}",
                        link.place,
                        pipe.unread()
                    );
                }
            }
        }
        for (place, host) in self.hosts.iter().filter(|(_, host)| host.acceptor.is_some()) {
            text += &format!("\n  {place}: a listener accepts, {} connections were made", host.dials);
        }
        text
    }
}
