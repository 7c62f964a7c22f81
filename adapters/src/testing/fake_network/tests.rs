//! The fake network carries bytes as TCP does, and fails on request.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use redis_manager_core::testing::FakeRuntime;
use redis_manager_core::{Instant, Timer};

use crate::PoolArgs;
use crate::network::Network;
use crate::stream::BoxStream;
use crate::testing::{Cut, Direction, FakeListener, FakeNetwork, FakeStream, LinkConditions};

const MS: Duration = Duration::from_millis(1);

fn world(seed: u64) -> (FakeRuntime, FakeNetwork, SocketAddr) {
    let runtime = FakeRuntime::new(seed);
    let network = FakeNetwork::new(&runtime);
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
    (runtime, network, address)
}

async fn dial(network: &FakeNetwork, address: SocketAddr) -> io::Result<BoxStream> {
    network.connect_tcp(address, &PoolArgs::default().tcp_options()).await
}

async fn pair(network: &FakeNetwork, listener: &FakeListener, address: SocketAddr) -> (BoxStream, FakeStream) {
    let client = dial(network, address).await.expect("a listener");
    (client, listener.accept().await)
}

/// Seen to bite: with the latency of one way left out of the arrival.
#[test]
fn bytes_arrive_in_order_after_the_latency() {
    let (runtime, network, address) = world(1);
    let listener = network.listen(address).expect("free");
    network.host(address).set_conditions(LinkConditions::default().latency(10 * MS).jitter(5 * MS).max_segment(3));
    runtime.block_on(async {
        let (mut client, mut server) = pair(&network, &listener, address).await;
        let text: Vec<u8> = (0..=255).collect();
        let sent_at = network.now();
        client.write_all(&text).await.expect("open");
        let mut read = vec![0; 256];
        server.read_exact(&mut read).await.expect("open");
        let took = network.now().saturating_duration_since(sent_at);
        assert_eq!(read, text);
        assert!(took >= 10 * MS && took <= 15 * MS, "{took:?}");
        drop(client);
        assert_eq!(server.read(&mut read).await.expect("an end"), 0);
    });
}

/// Seen to bite: without a limit by the bandwidth, and without the window.
#[test]
fn bandwidth_and_window_slow_a_writer_down() {
    let (runtime, network, address) = world(1);
    let listener = network.listen(address).expect("free");
    let conditions = LinkConditions::default().latency(Duration::ZERO).bandwidth(1_000_000).window(1_000);
    network.host(address).set_conditions(conditions);
    runtime.block_on(async {
        let (mut client, mut server) = pair(&network, &listener, address).await;
        assert_eq!(client.write(&[0; 5_000]).await.expect("open"), 1_000, "the window");
        let begun_at = network.now();
        let mut read = vec![0; 1_000];
        server.read_exact(&mut read).await.expect("open");
        assert_eq!(network.now().saturating_duration_since(begun_at), MS);
        assert_eq!(client.write(&[0; 5_000]).await.expect("open"), 1_000, "there is room again");
    });
}

#[test]
fn dials_are_refused_silent_unreachable_or_out_of_descriptors() {
    let (runtime, network, address) = world(1);
    let host = network.host(address);
    let kind = |runtime: &FakeRuntime| runtime.block_on(dial(&network, address)).map(drop).map_err(|error| error.kind());
    assert_eq!(kind(&runtime), Err(io::ErrorKind::ConnectionRefused), "nobody listens");
    let _listener = network.listen(address).expect("free");
    assert_eq!(kind(&runtime), Ok(()));
    host.refuse();
    assert_eq!(kind(&runtime), Err(io::ErrorKind::ConnectionRefused));
    host.make_unreachable();
    assert_eq!(kind(&runtime), Err(io::ErrorKind::HostUnreachable));
    host.silence();
    let healer = host.clone();
    let sleep = runtime.sleep(1_500 * MS);
    redis_manager_core::Spawn::spawn(
        &runtime,
        Box::pin(async move {
            sleep.await;
            healer.heal();
        }),
    );
    let begun_at = runtime.now();
    assert_eq!(kind(&runtime), Ok(()), "the third SYN is answered");
    assert_eq!(runtime.now().saturating_duration_since(begun_at).as_secs(), 3);
    network.set_stream_limit(0);
    let error = runtime.block_on(dial(&network, address)).map(drop).expect_err("none left");
    assert_eq!(error.raw_os_error(), Some(24));
    let error = network.listen(address).expect_err("taken");
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::AddrInUse, "10.0.0.1:6379 is served already"));
}

#[test]
fn names_resolve_to_several_addresses_that_change() {
    let (runtime, network, address) = world(1);
    let look_up = || runtime.block_on(network.resolve("redis.test", 6379)).map_err(|error| error.to_string());
    assert!(look_up().expect_err("unknown").contains("not known"));
    let other = IpAddr::V6("fd00::1".parse().expect("an address"));
    network.set_name("redis.test", [other, address.ip()]);
    assert_eq!(look_up(), Ok(vec![SocketAddr::new(other, 6379), address]));
    network.set_name("redis.test", [address.ip()]);
    network.set_resolution_time(30 * MS);
    let begun_at = runtime.now();
    assert_eq!(look_up(), Ok(vec![address]));
    assert_eq!(runtime.now(), begun_at + 30 * MS);
}

/// Seen to bite: with what is under way lost at a cut by a count of bytes.
#[test]
fn a_reply_is_cut_in_the_middle() {
    for cut in [Cut::End, Cut::Reset] {
        let (runtime, network, address) = world(1);
        let listener = network.listen(address).expect("free");
        network.host(address).cut_next_after(5, cut);
        runtime.block_on(async {
            let (mut client, server) = pair(&network, &listener, address).await;
            server.send(b"+OK\r\n+never\r\n").expect("open");
            let mut read = Vec::new();
            let end = client.read_to_end(&mut read).await.map_err(|error| error.kind());
            assert_eq!(read, b"+OK\r\n");
            assert_eq!(end.is_ok(), cut == Cut::End);
            assert!(server.send(b"+more\r\n").is_err(), "it is cut for the server, too");
        });
    }
}

#[test]
fn a_black_hole_delays_what_is_sent_until_it_heals() {
    let (runtime, network, address) = world(1);
    let listener = network.listen(address).expect("free");
    let host = network.host(address);
    let (mut client, server) = runtime.block_on(pair(&network, &listener, address));
    host.black_hole(Direction::ToClient);
    server.send(b"x").expect("open");
    let mut read = [0];
    let healer = host.clone();
    let sleep = runtime.sleep(Duration::from_secs(9));
    redis_manager_core::Spawn::spawn(
        &runtime,
        Box::pin(async move {
            sleep.await;
            healer.heal();
        }),
    );
    let begun_at = runtime.now();
    runtime.block_on(client.read_exact(&mut read)).expect("healed");
    assert_eq!(runtime.now(), begun_at + Duration::from_secs(9));
}

/// As Linux has it: an end that is closed while it has something to read is reset; a write to a closed end is answered by a reset.
#[test]
fn a_closed_end_resets_what_was_not_read() {
    let (runtime, network, address) = world(1);
    let listener = network.listen(address).expect("free");
    runtime.block_on(async {
        let (mut client, server) = pair(&network, &listener, address).await;
        client.write_all(b"unread").await.expect("open");
        network.sleep(MS).await;
        drop(server);
        let kind = client.read(&mut [0]).await.expect_err("reset").kind();
        assert_eq!(kind, io::ErrorKind::ConnectionReset);
        let (mut client, server) = pair(&network, &listener, address).await;
        drop(server);
        assert_eq!(client.read(&mut [0]).await.expect("an end"), 0);
        client.write_all(b"late").await.expect("as a kernel takes it");
        assert_eq!(client.write_all(b"later").await.expect_err("known by now").kind(), io::ErrorKind::BrokenPipe);
    });
    assert_eq!(network.open_streams(), 0);
}

#[test]
fn the_same_seed_gives_the_same_arrivals() {
    let arrivals = |seed| {
        let (runtime, network, address) = world(seed);
        let listener = network.listen(address).expect("free");
        network.host(address).set_conditions(LinkConditions::default().jitter(5 * MS).max_segment(4));
        runtime.block_on(async {
            let (client, mut server) = pair(&network, &listener, address).await;
            let mut client = client;
            client.write_all(&[7; 100]).await.expect("open");
            let mut seen: Vec<(usize, Instant)> = Vec::new();
            while seen.iter().map(|(count, _)| count).sum::<usize>() < 100 {
                let count = server.read(&mut [0; 64]).await.expect("open");
                seen.push((count, network.now()));
            }
            seen
        })
    };
    assert_eq!(arrivals(5), arrivals(5));
    assert_ne!(arrivals(5), arrivals(6));
}

#[test]
#[should_panic(expected = "connection 1 to 10.0.0.1:6379: the client reads, 0 bytes are under way")]
fn a_deadlock_names_who_reads_from_whom() {
    let (runtime, network, address) = world(1);
    let listener = network.listen(address).expect("free");
    let (mut client, _server) = runtime.block_on(pair(&network, &listener, address));
    let _ = runtime.block_on(client.read(&mut [0]));
}
