//! TLS that cannot be: each kind has its own words, by the deadline, and nothing is left behind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use redis::ProtocolVersion;
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, PoolArgs, RedisManager};
use redis_manager_tests::certificates::Authority;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::until;

use crate::MS;
use crate::tls::{ONLY_TLS_1_2, server_with, shown, trusting};

on_every_runtime! {
    a_certificate_that_is_not_good_is_told_at_once needs Tls;
    a_client_without_a_certificate_is_told_at_once_that_one_is_wanted needs Tls;
    tls_to_a_plain_port_is_told_by_the_deadline;
    no_tls_to_a_port_that_wants_it_is_told_by_the_deadline needs Tls;
    urls_with_tls_are_checked_at_once;
}

/// What it says of a node that cannot be added, and after how long.
async fn refusal(url: &str, args: PoolArgs, timeout: Duration, runtime: &(impl Network + Clone)) -> (String, Duration) {
    let manager = RedisManager::builder().pool_args(args).build(runtime.clone()).expect("valid settings");
    let started_at = runtime.now();
    let error = manager.add_node_pool_timeout(url, timeout).await.expect_err("it must be refused");
    let waited = runtime.now().saturating_duration_since(started_at);
    let AddNodeError::NoHealthyPools { last_error: Some(cause), .. } = error else { panic!("{error:?}") };
    assert!(manager.fetch_pool_status().is_empty());
    (cause.to_string(), waited)
}

/// Wrong CA, wrong name, expired; each over both protocols. Seen to bite: each with `AnyCertificate` as the verifier.
async fn a_certificate_that_is_not_good_is_told_at_once(runtime: impl Network + Clone) {
    let (good, stranger) = (Authority::new(), Authority::new());
    let cases = [
        (stranger.issue(&["localhost"]), "invalid peer certificate: UnknownIssuer; is its CA in tls.ca_certificates?"),
        (good.issue(&["127.0.0.1", "elsewhere"]), "invalid peer certificate: certificate not valid for name \"localhost\""),
        (good.issue_expired(&["localhost"]), "invalid peer certificate: certificate expired"),
    ];
    for (certificate, words) in cases {
        let server = RedisServer::start_tls(&good, &certificate, &ONLY_TLS_1_2[..2]);
        for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
            let mut args = trusting(&good);
            args.protocol = protocol;
            let (cause, waited) = refusal(&server.tls_url(), args, 30_000 * MS, &runtime).await;
            assert!(cause.starts_with("no TLS with localhost: ") && cause.contains(words), "{cause}");
            assert!(waited < 5_000 * MS, "long before the deadline of 30 s: {waited:?}");
        }
        if words.contains("UnknownIssuer") {
            // The platform's roots do not know its CA, either. A machine without any says so at once.
            let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
            let error = manager.add_node_pool(&server.tls_url()).await.expect_err("nobody vouches for it").to_string();
            assert!(error.contains(words) || error.contains("this machine has no root certificates"), "{error}");
        }
        until(&runtime, "no connection is left at the server", || server.client_count() == 0).await;
    }
    let server = RedisServer::start_tls(&good, &good.issue(&["localhost"]), &ONLY_TLS_1_2[..2]);
    let by_address = format!("rediss://127.0.0.1:{}", server.tls_port());
    let (cause, _) = refusal(&by_address, trusting(&good), 30_000 * MS, &runtime).await;
    assert!(cause.contains("certificate not valid for name \"127.0.0.1\""), "{cause}");
}

/// In TLS 1.3 the server says so only after the handshake. Seen to bite: without the verdict's `note` (a broken pipe is
/// told, at the deadline).
async fn a_client_without_a_certificate_is_told_at_once_that_one_is_wanted(runtime: impl Network + Clone) {
    for (protocols, words) in [
        ("TLSv1.3", "received fatal alert: CertificateRequired; the server requires tls.client_certificate"),
        ("TLSv1.2", "received fatal alert: HandshakeFailure; the server may require tls.client_certificate"),
    ] {
        let (authority, server) = server_with(&["--tls-protocols", protocols]);
        for suffix in ["", "?protocol=resp2"] {
            let url = server.tls_url() + suffix;
            let (cause, waited) = refusal(&url, trusting(&authority), 30_000 * MS, &runtime).await;
            assert!(cause.contains(words), "{protocols} {suffix}: {cause}");
            assert!(waited < 5_000 * MS, "long before the deadline of 30 s: {waited:?}");
        }
        // One that it does not know.
        let mut args = trusting(&authority);
        args.tls.client_certificate = shown(&Authority::new().issue(&["a stranger"]));
        let (cause, waited) = refusal(&server.tls_url(), args, 30_000 * MS, &runtime).await;
        assert!(cause.contains("the server does not accept tls.client_certificate"), "{cause}");
        assert!(waited < 5_000 * MS, "long before the deadline of 30 s: {waited:?}");
    }
}

/// A server that does what `serve` does with each connection, in a thread of its own for as long as the test runs.
fn stranger(serve: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A real redis-server waits for the end of what it takes for a line. Seen to bite: with a `Connector::unanswered` that
/// knows nothing.
async fn tls_to_a_plain_port_is_told_by_the_deadline(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let http = stranger(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        let _ = stream.read(&mut [0; 512]);
    });
    let hang_up = stranger(|mut stream| drop(stream.read(&mut [0; 512])));
    let silent = "the TLS handshake got no answer; does this port use TLS? a port without TLS needs redis://";
    let garbage = "does this port use TLS? a port without TLS needs redis://";
    let ended = "the connection ended in the handshake";
    for (port, words, at_once) in [(server.port(), silent, false), (http, garbage, true), (hang_up, ended, false)] {
        let mut args = trusting(&Authority::new());
        args.connect_timeout = 400 * MS;
        let url = format!("rediss://localhost:{port}");
        let (cause, waited) = refusal(&url, args, 1_000 * MS, &runtime).await;
        assert!(cause.contains(words), "{cause}");
        assert!(waited < 1_500 * MS && (waited >= 1_000 * MS || at_once), "{words}: {waited:?}");
    }
    until(&runtime, "no connection is left at the server", || server.client_count() == 0).await;
}

/// Seen to bite: without `NoAnswer`, and without the look at the first byte.
async fn no_tls_to_a_port_that_wants_it_is_told_by_the_deadline(runtime: impl Network + Clone) {
    let (_, server) = server_with(&[]);
    // Others than Redis say in TLS that they want TLS.
    let alert = stranger(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 70]);
    });
    for (port, words, at_once) in [
        (server.tls_port(), "closed the connection without an answer; the port may need TLS (rediss://)", false),
        (alert, "this port needs rediss://", true),
    ] {
        for suffix in ["", "?protocol=resp2"] {
            let url = format!("redis://localhost:{port}{suffix}");
            let (cause, waited) = refusal(&url, PoolArgs::default(), 1_000 * MS, &runtime).await;
            assert!(cause.contains(words), "{url}: {cause}");
            assert!(waited < 1_500 * MS && (waited >= 1_000 * MS || at_once), "{url}: {waited:?}");
        }
    }
}

/// Seen to bite: with any fragment taken for none.
async fn urls_with_tls_are_checked_at_once(runtime: impl Network + Clone) {
    let manager = RedisManager::builder().build(runtime).expect("valid settings");
    for (url, words) in [
        ("rediss://:hush@localhost#insecure", "allow_insecure_tls(true)"),
        ("rediss://:hush@localhost#secure", "only #insecure may follow"),
        ("rediss://:hush@-not-a-name-:6379", "is not a valid name of a TLS server"),
        ("valkeys://:hush@localhost/db", "the database \"db\" is not a number"),
        ("rediss://:hush@localhost:0", "port 0"),
    ] {
        let error = manager.add_node_pool(url).await.expect_err(url);
        let AddNodeError::InvalidUrl { reason, .. } = &error else { panic!("{error:?}") };
        assert!(reason.contains(words), "{error}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
