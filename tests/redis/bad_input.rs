//! What bad input gets: a typed error that names the setting or the node, by its deadline, and nothing left behind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, ConfigError, GetClientError, PoolArgs, RedisManager};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::ports::ReservedPort;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::until;

use crate::{MS, manager_of, one_pool};

on_every_runtime! {
    knobs_out_of_range_are_named;
    what_is_no_url_is_refused_at_once;
    an_unreachable_node_is_told_at_the_deadline_and_leaves_nothing_behind;
    a_server_that_is_not_redis_is_told_by_the_deadline;
    a_server_that_refuses_for_good_is_told_at_once;
    a_node_that_was_never_added_is_unknown;
    a_node_that_could_not_be_added_can_be_added_later;
}

async fn knobs_out_of_range_are_named(runtime: impl Network + Clone) {
    let build = |builder: redis_manager::RedisManagerBuilder| builder.build(runtime.clone()).expect_err("must be refused");
    let error = build(RedisManager::builder().max_connection_size(0));
    assert!(matches!(error, ConfigError::OutOfRange { setting: "max_connection_size", .. }), "{error:?}");
    let error = build(RedisManager::builder().cleanup_interval(Duration::ZERO));
    assert!(matches!(error, ConfigError::OutOfRange { setting: "cleanup_interval", .. }), "{error:?}");
    let error = build(RedisManager::builder().min_idle(51));
    assert!(
        matches!(error, ConfigError::Contradiction { setting: "min_idle", limit_setting: "max_connection_size", .. }),
        "{error:?}"
    );
    let error = build(RedisManager::builder().probe_backoff(50 * MS, 20_000 * MS, 20_000 * MS));
    assert!(
        matches!(error, ConfigError::Contradiction { setting: "probe_backoff", limit_setting: "default_timeout", .. }),
        "{error:?}"
    );
    let mut args = PoolArgs::default();
    args.connect_timeout = Duration::ZERO;
    let error = build(RedisManager::builder().pool_args(args));
    assert!(matches!(error, ConfigError::OutOfRange { setting: "connect_timeout", .. }), "{error:?}");
}

async fn what_is_no_url_is_refused_at_once(runtime: impl Network + Clone) {
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    for url in ["", "localhost:6379", "http://localhost", "redis://:hush@localhost/db", "redis://:hush@localhost:99999"] {
        let started_at = runtime.now();
        let error = manager.add_node_pool(url).await.expect_err(url);
        assert!(matches!(error, AddNodeError::InvalidUrl { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        assert!(runtime.now().saturating_duration_since(started_at) < 1_000 * MS);
    }
    assert!(manager.fetch_pool_status().is_empty());
}

async fn an_unreachable_node_is_told_at_the_deadline_and_leaves_nothing_behind(runtime: impl Network + Clone) {
    let unused = ReservedPort::any();
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    let urls = [
        (format!("redis://:hush@127.0.0.1:{}", unused.number()), "cannot connect to 127.0.0.1"),
        (String::from("redis://:hush@no-such-host.invalid"), "cannot look up no-such-host.invalid"),
        (String::from("unix:///no/such/socket?pass=hush"), "cannot connect to /no/such/socket"),
    ];
    for (url, cause) in urls {
        let started_at = runtime.now();
        let error = manager.add_node_pool_timeout(&url, 150 * MS).await.expect_err("nobody is there");
        let waited = runtime.now().saturating_duration_since(started_at);
        assert!(matches!(error, AddNodeError::NoHealthyPools { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hush"), "{text}");
        // A name server may take longer than the deadline to say no.
        assert!(text.contains(cause) || url.contains("invalid"), "{text}");
        assert!(waited >= 150 * MS && waited < 650 * MS, "told at its deadline: {waited:?}");
        let unknown = manager.get_client(&url).await.expect_err("it was not kept");
        assert!(matches!(&unknown, GetClientError::UnknownNode { node } if !node.contains("hush")), "{unknown:?}");
    }
    assert!(manager.fetch_pool_status().is_empty());
}

/// A server that does what `serve` does with each connection, in a thread of its own for as long as the test runs.
fn stranger(serve: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    format!("redis://:hush@127.0.0.1:{port}")
}

async fn a_server_that_is_not_redis_is_told_by_the_deadline(runtime: impl Network + Clone) {
    let read_on = |mut stream: TcpStream| while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {};
    let http = |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    };
    let hang_up = |stream: TcpStream| drop(stream);
    let half_a_reply = |mut stream: TcpStream| {
        let _ = stream.write_all(b"%7\r\n$6\r\nser");
        while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {}
    };
    let parrot = |mut stream: TcpStream| {
        while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {
            let _ = stream.write_all(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        }
    };
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    for serve in [read_on as fn(TcpStream), http, hang_up, half_a_reply, parrot] {
        let url = stranger(serve);
        let started_at = runtime.now();
        let error = manager.add_node_pool_timeout(&url, 300 * MS).await.expect_err("that is not Redis");
        let waited = runtime.now().saturating_duration_since(started_at);
        assert!(matches!(error, AddNodeError::NoHealthyPools { .. }), "{error:?}");
        assert!(waited < 800 * MS, "told by its deadline: {waited:?}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    assert!(manager.fetch_pool_status().is_empty());
}

async fn a_server_that_refuses_for_good_is_told_at_once(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    let port = server.port();
    let urls = [
        format!("redis://:wrong@127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}?protocol=resp2"),
        format!("redis://nobody:wrong@127.0.0.1:{port}?protocol=resp2"),
        format!("redis://:right@127.0.0.1:{port}/99"),
    ];
    for url in urls {
        let started_at = runtime.now();
        let error = manager.add_node_pool(&url).await.expect_err("refused");
        assert!(matches!(error, AddNodeError::NoHealthyPools { last_error: Some(_), .. }), "{error:?}");
        assert!(runtime.now().saturating_duration_since(started_at) < 5_000 * MS, "{url}: long before the deadline of 10 s");
        assert!(!format!("{error:?}").contains(":wrong@"), "{error:?}");
    }
    until(&runtime, "no connection is left at the server", || server.client_count() == 0).await;
}

async fn a_node_that_was_never_added_is_unknown(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let url = "redis://:hush@127.0.0.1:1";
    let errors = [
        manager.get_client(url).await.expect_err("unknown"),
        manager.try_get_client(url).expect_err("unknown"),
        manager.node(url).expect_err("unknown"),
    ];
    for error in errors {
        assert_eq!(error, GetClientError::UnknownNode { node: String::from("redis://:***@127.0.0.1:1") });
    }
    manager.close_node_pools(url).await;
}

async fn a_node_that_could_not_be_added_can_be_added_later(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    server.kill();
    let manager = one_pool(2).build(runtime.clone()).expect("valid settings");
    let url = server.url();
    let error = manager.add_node_pool_timeout(&url, 60 * MS).await.expect_err("it is down");
    assert!(matches!(error, AddNodeError::NoHealthyPools { .. }), "{error:?}");
    server.restart();
    manager.add_node_pool(&url).await.expect("it is up");
    let _client = manager.get_client(&url).await.expect("a client");

    // One who waits long enough need not ask again.
    let late = one_pool(2).build(runtime.clone()).expect("valid settings");
    server.kill();
    let mut adding = Box::pin(late.add_node_pool_timeout(&url, 10_000 * MS));
    assert!(redis_manager_tests::tasks::within(&runtime, 100 * MS, &mut adding).await.is_none());
    server.spawn_on_same_port();
    adding.await.expect("it came up while we waited");
}
