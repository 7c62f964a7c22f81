//! Servers and proxies that know less than Redis does, or refuse us: what can be done without is done without.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, Handshake, PoolArgs, RedisManager};
use redis_manager_tests::nutcracker::Nutcracker;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{until, within};

use crate::{MS, one_pool, status};

on_every_runtime! {
    h17_twemproxy_serves_with_the_least_handshake;
    h17_twemproxy_without_it_is_told_what_to_do;
    h17_where_hello_is_not_known_resp2_is_spoken;
    h17_what_is_sent_for_comfort_may_be_refused;
    h17_the_server_sees_the_library_and_its_version needs LibraryOfClients;
    h14_a_server_that_does_not_know_ping_is_alive;
    h14_a_proxy_that_gives_the_argument_of_a_ping_no_thought_is_alive;
    h14_a_refusal_that_waiting_cannot_mend_is_told_at_once;
}

fn least() -> PoolArgs {
    let mut args = PoolArgs::default();
    args.handshake = Handshake::Least;
    args.client_name = Some(String::from("nobody-asks"));
    args
}

/// Why a node was not added, and after how long. If no dial has ended by then, it is added again.
pub(crate) async fn refusal(
    url: &str,
    args: PoolArgs,
    timeout: Duration,
    runtime: &(impl Network + Clone),
) -> (String, Duration) {
    let manager = one_pool(1).pool_args(args).build(runtime.clone()).expect("valid settings");
    loop {
        let begun_at = runtime.now();
        let error = manager.add_node_pool_timeout(url, timeout).await.expect_err("it must be refused");
        let waited = runtime.now().saturating_duration_since(begun_at);
        let AddNodeError::NoHealthyPools { last_error, .. } = error else { panic!("{error:?}") };
        if let Some(cause) = last_error {
            return (cause.to_string(), waited);
        }
    }
}

/// A command is sent and dropped before its reply, and the client goes back.
async fn cancel_one(manager: &RedisManager, url: &str, server: &RedisServer, runtime: &(impl Network + Clone)) {
    let mut client = manager.get_client(url).await.expect("a client");
    server.stop_process();
    let cut_off = within(runtime, 30 * MS, client.get::<_, Option<String>>("cancelled")).await;
    assert!(cut_off.is_none(), "{cut_off:?}");
    drop(client);
    server.continue_process();
}

/// Seen to bite: with the full handshake, and with a nonce in the PING (the proxy hangs up on both).
async fn h17_twemproxy_serves_with_the_least_handshake(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let proxy = Nutcracker::before(&server);
    let url = proxy.url() + "?protocol=resp2";
    let builder = one_pool(4).pool_args(least()).health_check_interval(50 * MS);
    let manager = builder.build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&url).await.expect("the proxy is up");
    let mut client = manager.get_client(&url).await.expect("a client");
    let mut shared = manager.get_shared_client(&url).await.expect("a shared client");
    let () = client.set("a", "1").await.expect("SET");
    let () = shared.set("b", "2").await.expect("SET");
    let count: i64 = client.incr("n", 41).await.expect("INCR");
    let more: i64 = shared.incr("n", 1).await.expect("INCR");
    assert_eq!((count, more), (41, 42));
    assert_eq!(client.get::<_, String>("a").await.expect("GET"), "1");
    let both: Vec<String> = shared.mget(&["a", "b"]).await.expect("MGET");
    assert_eq!(both, ["1", "2"]);
    drop((client, shared));
    // Checks are answered, too.
    let before = status(&manager);
    runtime.sleep(300 * MS).await;
    let after = status(&manager);
    assert_eq!((after.healthy_pools, before.last_error, after.last_error), (1, None, None));

    cancel_one(&manager, &url, &server, &runtime).await;
    let mut clients = Vec::new();
    for n in 0..4 {
        let mut client = manager.get_client(&url).await.expect("a client");
        let () = client.set(format!("key-{n}"), n).await.expect("SET");
        assert_eq!(client.get::<_, i32>(format!("key-{n}")).await.expect("in step"), n);
        clients.push(client);
    }
}

/// Seen to bite: with the words for a port that wants TLS alone.
async fn h17_twemproxy_without_it_is_told_what_to_do(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let proxy = Nutcracker::before(&server);
    for (suffix, args) in [("", PoolArgs::default()), ("?protocol=resp2", PoolArgs::default()), ("", least())] {
        let (cause, _) = refusal(&(proxy.url() + suffix), args, 300 * MS, &runtime).await;
        assert!(cause.contains("a proxy that supports neither HELLO nor CLIENT"), "{suffix}: {cause}");
        assert!(cause.contains("?protocol=resp2 with pool_args.handshake = Handshake::Least"), "{suffix}: {cause}");
    }
}

/// Seen to bite: without the second `open`, and with `demands_resp3` always false.
async fn h17_where_hello_is_not_known_resp2_is_spoken(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", "", "--requirepass", "right"]);
    server.command(&["ACL", "SETUSER", "alice", "on", ">wonder", "allkeys", "allcommands"]);
    let place = format!("127.0.0.1:{}", server.port());
    for url in [format!("redis://:right@{place}"), format!("redis://alice:wonder@{place}/3")] {
        let manager = one_pool(1).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&url).await.expect("RESP2 does as well");
        let mut client = manager.get_client(&url).await.expect("a client");
        let () = client.set("where", &url).await.expect("SET");
        let user: String = redis::cmd("ACL").arg("WHOAMI").query_async(&mut client).await.expect("a user");
        assert_eq!(user, if url.contains("alice") { "alice" } else { "default" });
        let error = client.into_pub_sub().expect_err("RESP2 has no pushes");
        assert!(error.to_string().contains("need RESP3"), "{error}");
    }
    assert_eq!(server.command(&["SELECT", "3"]), "OK");
    assert_eq!(server.command(&["GET", "where"]), format!("redis://alice:wonder@{place}/3"));

    let demanding = format!("redis://:right@{place}?protocol=resp3");
    let (cause, waited) = refusal(&demanding, PoolArgs::default(), 30_000 * MS, &runtime).await;
    assert!(cause.contains("does not support HELLO 3, and the URL requires RESP3"), "{cause}");
    assert!(!cause.contains("right"), "{cause}");
    assert!(waited < 5_000 * MS, "told at once: {waited:?}");
    let (cause, waited) = refusal(&format!("redis://:wrong@{place}"), PoolArgs::default(), 30_000 * MS, &runtime).await;
    assert!(cause.contains("AUTH failed: ") && cause.contains("WRONGPASS"), "{cause}");
    assert!(waited < 5_000 * MS, "told at once: {waited:?}");
}

/// Seen to bite: with `CLIENT SETNAME` as a need.
async fn h17_what_is_sent_for_comfort_may_be_refused(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--rename-command", "CLIENT", ""]);
    let mut args = PoolArgs::default();
    args.client_name = Some(String::from("billing"));
    for suffix in ["", "?protocol=resp2"] {
        let url = server.url() + suffix;
        let manager = one_pool(1).pool_args(args.clone()).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&url).await.expect("a name is no need");
        let mut client = manager.get_client(&url).await.expect("a client");
        let () = client.set("a", 1).await.expect("SET");
    }
    // Where it is not refused, it shows.
    let server = RedisServer::start();
    let manager = one_pool(1).pool_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let list = server.client_list();
    assert!(list.iter().all(|line| line.contains(" name=billing ")) && list.len() == 1, "{list:?}");
}

/// Seen to bite: with `BUSY` and `NOPERM` as the only errors that are signs of life, and with a connection that is lent again
/// without its nonce.
async fn h14_a_server_that_does_not_know_ping_is_alive(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--rename-command", "PING", ""]);
    for suffix in ["", "?protocol=resp2"] {
        let url = server.url() + suffix;
        let manager = one_pool(1).health_check_interval(40 * MS).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&url).await.expect("it answers");
        let ids = || server.client_list().iter().filter_map(|line| line.split(' ').next().map(String::from)).collect::<Vec<_>>();
        until(&runtime, "the one before has gone", || ids().len() == 1).await;
        let old = ids();
        runtime.sleep(300 * MS).await;
        assert_eq!(ids(), old, "checks are answered");
        assert_eq!(status(&manager).last_error, None);
        cancel_one(&manager, &url, &server, &runtime).await;
        until(&runtime, "what cannot be proven clean is closed", || ids() != old && ids().len() == 1).await;
        let mut client = manager.get_client(&url).await.expect("a client");
        let () = client.set("a", 1).await.expect("SET");
    }
}

/// A server that does what `serve` does with each connection, in a thread of its own for as long as the test runs.
pub(crate) fn stranger(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers `+PONG` to whatever is a PING, and an error to all else.
fn serve_pongs(mut stream: TcpStream) {
    let mut bytes = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..read]);
        for command in text.split('*').skip(1) {
            let reply: &[u8] = if command.contains("PING") { b"+PONG\r\n" } else { b"-ERR unknown command\r\n" };
            if stream.write_all(reply).is_err() {
                return;
            }
        }
    }
}

/// Seen to bite: with `PONG` as a wrong answer.
async fn h14_a_proxy_that_gives_the_argument_of_a_ping_no_thought_is_alive(runtime: impl Network + Clone) {
    let port = stranger(serve_pongs);
    let manager = one_pool(2).health_check_interval(40 * MS).build(runtime.clone()).expect("valid settings");
    let url = format!("redis://127.0.0.1:{port}");
    manager.add_node_pool(&url).await.expect("it lives");
    runtime.sleep(200 * MS).await;
    until(&runtime, "the check under way has ended", || status(&manager).idle == 1).await;
    let status = status(&manager);
    assert_eq!((status.healthy_pools, status.last_error), (1, None));
}

/// Seen to bite: with the codes of today (`NOAUTH`, `WRONGPASS`), and with the commands of the login unjudged.
async fn h14_a_refusal_that_waiting_cannot_mend_is_told_at_once(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "alice", "on", ">wonder", "allkeys", "+get"]);
    let no_select = RedisServer::start_with(&["--rename-command", "SELECT", ""]);
    let (place, other) = (format!("127.0.0.1:{}", server.port()), format!("127.0.0.1:{}", no_select.port()));
    for suffix in ["", "?protocol=resp2"] {
        for (url, words) in [
            (format!("redis://alice:wonder@{place}/3"), "no permissions to run the 'select' command"),
            (format!("redis://{place}/99"), "DB index is out of range"),
            (format!("redis://{other}/3"), "SELECT failed: "),
            (format!("redis://alice:wrong@{place}"), "WRONGPASS"),
        ] {
            let (cause, waited) = refusal(&(url + suffix), PoolArgs::default(), 30_000 * MS, &runtime).await;
            assert!(cause.contains(words), "{suffix}: {words}: {cause}");
            assert!(waited < 5_000 * MS, "{words}: told at once: {waited:?}");
        }
    }
    // What is not needed, a user need not be allowed: no PING, no CLIENT.
    let manager = one_pool(1).build(runtime).expect("valid settings");
    let url = format!("redis://alice:wonder@{place}");
    manager.add_node_pool(&url).await.expect("GET is all that she may");
    let mut client = manager.get_client(&url).await.expect("a client");
    assert_eq!(client.get::<_, Option<String>>("a").await.expect("GET"), None);
}

/// Guards against: a name that is not by the convention, and a version that is not that of the lock file.
async fn h17_the_server_sees_the_library_and_its_version(runtime: impl Network + Clone) {
    let lock = include_str!("../../Cargo.lock");
    let (_, entry) = lock.split_once("name = \"redis\"\nversion = \"").expect("the redis crate is a dependency");
    let version: Vec<&str> = entry.split(['.', '"']).take(2).collect();
    let shown = format!("lib-name=redis-rs(redis-manager_v{}) lib-ver={}", env!("CARGO_PKG_VERSION"), version.join("."));
    let server = RedisServer::start();
    for protocol in ["resp2", "resp3"] {
        let url = format!("{}?protocol={protocol}", server.url());
        let manager = one_pool(1).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&url).await.expect("the server is up");
        let clients = server.client_list();
        assert!(clients.iter().any(|client| client.contains(&shown)), "{shown} in {clients:?}");
    }
}
