//! TLS against a real server: who is let in, sessions that are resumed, and that a pool is a pool there, too.

use redis::AsyncCommands;
use redis_manager::runtime::{Network, Timer};
use redis_manager::tls::{ClientCertificate, Pem};
use redis_manager::{ConfigError, GetClientError, PoolArgs, RedisManager, RedisManagerBuilder};
use redis_manager_tests::certificates::{Authority, Certificate};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, within};
use redis_manager_tests::tls_wire::{TlsHandshake, TlsWire};

use crate::{MS, echo, one_pool, status};

on_every_runtime! {
    a_private_ca_is_enough needs Tls;
    a_client_shows_its_certificate_where_it_is_wanted needs Tls;
    names_and_addresses_are_checked_and_can_be_replaced needs Tls;
    an_insecure_url_needs_the_switch needs Tls;
    connections_resume_sessions_of_their_own_node needs Tls;
    a_server_that_comes_back_is_connected_to_again needs Tls;
    a_server_whose_certificate_goes_bad_is_told_to_all_who_wait_and_probed_on needs Tls;
    leases_end_as_without_tls needs Tls;
    an_orderly_end_that_the_runtime_has_not_noticed_is_seen needs Tls;
    what_cannot_be_read_is_named_by_build;
}

const NO_CLIENT_CERTIFICATES: [&str; 2] = ["--tls-auth-clients", "no"];
pub(crate) const ONLY_TLS_1_2: [&str; 4] = ["--tls-auth-clients", "no", "--tls-protocols", "TLSv1.2"];

/// A server for `localhost`, and who vouches for it.
pub(crate) fn server_with(args: &[&str]) -> (Authority, RedisServer) {
    let authority = Authority::new();
    let server = RedisServer::start_tls(&authority, &authority.issue(&["localhost"]), args);
    (authority, server)
}

pub(crate) fn trusting(authority: &Authority) -> PoolArgs {
    let mut args = PoolArgs::default();
    args.tls.ca_certificates = Some(Pem::bytes(authority.pem.as_str()));
    args
}

pub(crate) fn shown(certificate: &Certificate) -> Option<ClientCertificate> {
    Some(ClientCertificate::new(Pem::bytes(certificate.pem.as_str()), Pem::bytes(certificate.key.as_str())))
}

async fn manager_with(builder: RedisManagerBuilder, url: &str, runtime: impl Network) -> RedisManager {
    let manager = builder.build(runtime).expect("valid settings");
    manager.add_node_pool(url).await.expect("the server is up");
    manager
}

/// Seen to bite: with the process's default provider instead of our own; with a `poll_flush` that does nothing (at
/// times); with the URL's scheme left as it was (the redis crate refuses it).
async fn a_private_ca_is_enough(runtime: impl Network + Clone) {
    // What the application has installed is of no use, and of no matter.
    let useless = rustls::crypto::CryptoProvider { cipher_suites: Vec::new(), ..rustls::crypto::ring::default_provider() };
    let _ = useless.install_default();
    for args in [&NO_CLIENT_CERTIFICATES[..], &ONLY_TLS_1_2] {
        let (authority, server) = server_with(args);
        for url in [server.tls_url(), server.tls_url().replace("rediss", "valkeys") + "/1?protocol=resp2"] {
            let manager = manager_with(one_pool(3).pool_args(trusting(&authority)), &url, runtime.clone()).await;
            let mut clients = Vec::new();
            for n in 0..3 {
                clients.push(manager.get_client(&url).await.unwrap_or_else(|error| panic!("client {n}: {error}")));
            }
            let large = "x".repeat(3_000_000);
            for (n, client) in clients.iter_mut().enumerate() {
                assert_eq!(echo(client, &format!("token-{n}")).await.expect("a sound client"), format!("token-{n}"));
                let _: () = client.set("large", &large).await.expect("a large command");
                assert_eq!(client.get::<_, String>("large").await.expect("a large reply").len(), large.len());
            }
            let more = manager.get_client_timeout(&url, 30 * MS).await;
            assert!(matches!(more, Err(GetClientError::Timeout { .. })), "one more than the limit: {more:?}");
            assert_eq!(server.client_count(), 3);
            let phases = manager.command_metrics().pop_first().expect("one node").1.connect_phases;
            assert!(phases.tls.count() >= 3 && phases.tls.count() == phases.dial.count(), "{phases:?}");
            drop(clients);

            let shared = manager.get_shared_client(&url).await.expect("a shared client");
            let tasks: Vec<_> = (0..64)
                .map(|n| {
                    let mut shared = shared.clone();
                    let echo = async move { redis::cmd("ECHO").arg(n).query_async(&mut shared).await };
                    spawn(&runtime, echo)
                })
                .collect();
            for (n, task) in tasks.into_iter().enumerate() {
                let reply: redis::RedisResult<usize> = task.await;
                assert_eq!(reply.expect("its own reply"), n);
            }
            manager.close_all_pools().await;
            until(&runtime, "no connection is left at the server", || server.client_count() == 0).await;
        }
    }
}

/// That those without one are refused is in `tls_refusals`. Seen to bite: without `with_client_cert_resolver`.
async fn a_client_shows_its_certificate_where_it_is_wanted(runtime: impl Network + Clone) {
    for args in [&[][..], &["--tls-auth-clients", "yes", "--tls-protocols", "TLSv1.2"]] {
        let (authority, server) = server_with(args);
        let mut args = trusting(&authority);
        args.tls.client_certificate = shown(&authority.issue(&["a client"]));
        let manager = manager_with(one_pool(2).pool_args(args), &server.tls_url(), runtime.clone()).await;
        let mut client = manager.get_client(&server.tls_url()).await.expect("a client");
        assert_eq!(echo(&mut client, "let in").await.expect("a sound client"), "let in");
    }
}

/// That others are refused is in `tls_refusals`. Seen to bite: without the use of `server_name`.
async fn names_and_addresses_are_checked_and_can_be_replaced(runtime: impl Network + Clone) {
    let authority = Authority::new();
    for (names, host, server_name) in [
        (["localhost", "127.0.0.1"], "127.0.0.1", None),
        (["localhost", "127.0.0.1"], "localhost", None),
        (["redis.example", "10.1.2.3"], "127.0.0.1", Some("redis.example")),
        (["redis.example", "10.1.2.3"], "localhost", Some("10.1.2.3")),
    ] {
        let server = RedisServer::start_tls(&authority, &authority.issue(&names), &NO_CLIENT_CERTIFICATES);
        let mut args = trusting(&authority);
        args.tls.server_name = server_name.map(String::from);
        let url = format!("rediss://{host}:{}", server.tls_port());
        let manager = manager_with(one_pool(1).pool_args(args), &url, runtime.clone()).await;
        let mut client = manager.get_client(&url).await.expect("a client");
        assert_eq!(echo(&mut client, host).await.expect("a sound client"), host);
    }
}

/// Seen to bite: without the look at `allow_insecure`, and with one config for both kinds.
async fn an_insecure_url_needs_the_switch(runtime: impl Network + Clone) {
    let authority = Authority::new();
    let certificate = authority.issue_expired(&["somebody.else"]);
    let server = RedisServer::start_tls(&authority, &certificate, &NO_CLIENT_CERTIFICATES);
    let url = server.tls_url() + "#insecure";
    let careful = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    let refused = careful.add_node_pool(&url).await.expect_err("it must be asked for").to_string();
    assert!(refused.starts_with("invalid node URL") && refused.contains("allow_insecure_tls(true)"), "{refused}");

    let builder = one_pool(1).allow_insecure_tls(true).pool_args(trusting(&authority));
    let manager = manager_with(builder, &url, runtime).await;
    let mut client = manager.get_client(&url).await.expect("a client");
    assert_eq!(echo(&mut client, "whoever").await.expect("a sound client"), "whoever");
    // The switch alone changes nothing, nor does another node's URL.
    let error = manager.add_node_pool(&server.tls_url()).await.expect_err("its certificate has expired");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

/// Seen to bite: with `Resumption::disabled()`; and, in the second half, with one memory of sessions for all nodes.
async fn connections_resume_sessions_of_their_own_node(runtime: impl Network + Clone) {
    for args in [&NO_CLIENT_CERTIFICATES[..], &ONLY_TLS_1_2] {
        let (authority, first) = server_with(args);
        let second = RedisServer::start_tls(&authority, &authority.issue(&["localhost"]), args);
        let manager = one_pool(2).min_idle(0).pool_args(trusting(&authority)).build(runtime.clone()).expect("valid settings");
        let wires = [TlsWire::to(first.tls_port()), TlsWire::to(second.tls_port())];
        let urls = wires.each_ref().map(|wire| format!("rediss://localhost:{}", wire.port()));
        for url in &urls {
            manager.add_node_pool(url).await.expect("the server is up");
        }
        for _ in 0..6 {
            for url in &urls {
                let mut client = manager.get_client(url).await.expect("a client");
                assert_eq!(echo(&mut client, "again").await.expect("a sound client"), "again");
                client.discard();
            }
        }
        for wire in &wires {
            let handshakes = wire.handshakes();
            assert_eq!(handshakes.first(), Some(&TlsHandshake::Full), "{args:?}");
            assert!(handshakes.len() >= 6, "{handshakes:?}");
            assert!(handshakes[1..].iter().all(|handshake| *handshake == TlsHandshake::Resumed), "{args:?}: {handshakes:?}");
        }
    }
}

/// Seen to bite: with an end of the stream that is not passed on.
async fn a_server_that_comes_back_is_connected_to_again(runtime: impl Network + Clone) {
    let (authority, mut server) = server_with(&NO_CLIENT_CERTIFICATES);
    let url = server.tls_url();
    let manager = manager_with(one_pool(2).min_idle(2).pool_args(trusting(&authority)), &url, runtime.clone()).await;
    server.kill();
    until(&runtime, "both connections are known to be dead", || status(&manager).idle == 0).await;
    let url_of_task = url.clone();
    let waiting = manager.clone();
    let waiting = spawn(&runtime, async move { waiting.get_client_timeout(&url_of_task, 9_000 * MS).await });
    server.restart();
    // The sessions that we know are unknown to it.
    let mut client = waiting.await.expect("the server is back");
    assert_eq!(echo(&mut client, "back").await.expect("a sound client"), "back");
}

/// H7 and H3. Seen to bite: with a `TlsError::is_permanent` of false (each waits for its deadline).
async fn a_server_whose_certificate_goes_bad_is_told_to_all_who_wait_and_probed_on(runtime: impl Network + Clone) {
    let authority = Authority::new();
    let good = authority.issue(&["localhost"]);
    let mut server = RedisServer::start_tls(&authority, &good, &NO_CLIENT_CERTIFICATES);
    let url = server.tls_url();
    let builder = one_pool(2).probe_backoff(10 * MS, 20 * MS, 100 * MS).pool_args(trusting(&authority));
    let manager = manager_with(builder, &url, runtime.clone()).await;
    let show = |server: &RedisServer, certificate: &Certificate| {
        std::fs::write(server.dir().join("redis.crt"), &certificate.pem).expect("the directory is writable");
        std::fs::write(server.dir().join("redis.key"), &certificate.key).expect("the directory is writable");
    };
    server.kill();
    until(&runtime, "the connection is known to be dead", || status(&manager).idle == 0).await;
    show(&server, &authority.issue_expired(&["localhost"]));
    let started_at = runtime.now();
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (manager, url) = (manager.clone(), url.clone());
            spawn(&runtime, async move { manager.get_client_timeout(&url, 60_000 * MS).await })
        })
        .collect();
    server.restart();
    for answer in asking {
        let error = answer.await.expect_err("the certificate has expired");
        let GetClientError::NoHealthyPools { last_error: Some(cause), .. } = &error else { panic!("{error:?}") };
        assert!(cause.contains("invalid peer certificate: certificate expired"), "{cause}");
    }
    assert!(runtime.now().saturating_duration_since(started_at) < 20_000 * MS, "long before the deadline");

    server.kill();
    show(&server, &good);
    server.restart();
    until_it_lends(&manager, &url, &runtime).await;
}

async fn until_it_lends(manager: &RedisManager, url: &str, runtime: &impl Timer) {
    for _ in 0..400 {
        if manager.get_client_timeout(url, 100 * MS).await.is_ok() {
            return;
        }
        runtime.sleep(10 * MS).await;
    }
    panic!("the node is never tried again");
}

/// The flag of death, the end of a blocking command, and the abort handle go through the encrypted stream. Seen to bite:
/// with an end of the stream that is not passed on.
async fn leases_end_as_without_tls(runtime: impl Network + Clone) {
    let (authority, server) = server_with(&NO_CLIENT_CERTIFICATES);
    let url = server.tls_url();
    let manager = manager_with(one_pool(2).pool_args(trusting(&authority)), &url, runtime.clone()).await;
    let mut client = manager.get_client(&url).await.expect("a client");
    let blocked = async { redis::cmd("BLPOP").arg("list").arg(0).query_async::<()>(&mut client).await };
    assert!(within(&runtime, 100 * MS, blocked).await.is_none());
    drop(client);
    until(&runtime, "the socket is closed", || !server.client_list().iter().any(|line| line.contains("cmd=blpop"))).await;
    server.command(&["RPUSH", "list", "kept"]);
    assert_eq!(server.command(&["LLEN", "list"]), "1", "not popped for nobody");

    let mut client = manager.get_client(&url).await.expect("a client");
    assert_eq!(echo(&mut client, "sound").await.expect("a sound client"), "sound");
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("an id");
    drop(client);
    server.command(&["CLIENT", "KILL", "ID", &id.to_string()]);
    let killed = format!("id={id} ");
    until(&runtime, "another one idles in its place, without being asked for", || {
        let clients = server.client_list();
        clients.len() == 1 && !clients[0].starts_with(&killed)
    })
    .await;

    let held = manager.get_client(&url).await.expect("a client");
    manager.close_all_pools_timeout(50 * MS).await;
    until(&runtime, "no connection is left at the server", || server.client_count() == 0).await;
    drop(held);
}

/// As a list of bytes is shown.
fn in_numbers(text: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
    bytes.join(", ")
}

/// Seen to bite: with the words of rustls's reader of keys in the error, and with a `Debug` of PEM that shows it.
async fn what_cannot_be_read_is_named_by_build(runtime: impl Network + Clone) {
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["one"]), authority.issue(&["other"]));
    let in_one_line = one.key.replace('\n', "");
    let with = |change: &dyn Fn(&mut redis_manager::tls::TlsArgs)| {
        let mut args = PoolArgs::default();
        change(&mut args.tls);
        let shown = format!("{args:?}");
        let error = RedisManager::builder().pool_args(args).build(runtime.clone()).expect_err("of no use");
        let text = format!("{shown} {error} {error:?}");
        let secret = &one.key[40..60];
        assert!(!text.contains(secret) && !text.contains(in_numbers(secret).as_str()), "{text}");
        error
    };
    let pair = |certificates: &str, key: &str| Some(ClientCertificate::new(Pem::bytes(certificates), Pem::bytes(key)));
    let missing = with(&|tls| tls.ca_certificates = Some(Pem::file("/no/such/file.pem")));
    assert!(missing.to_string().starts_with("tls.ca_certificates is File(\"/no/such/file.pem\"): No such file"), "{missing}");
    let errors = [
        ("tls.ca_certificates", with(&|tls| tls.ca_certificates = Some(Pem::bytes("")))),
        ("tls.ca_certificates", with(&|tls| tls.ca_certificates = Some(Pem::bytes(one.key.as_str())))),
        ("tls.ca_certificates", with(&|tls| tls.ca_certificates = Some(Pem::bytes(in_one_line.as_str())))),
        ("tls.client_certificate.certificates", with(&|tls| tls.client_certificate = pair("nonsense", &one.key))),
        ("tls.client_certificate.key", with(&|tls| tls.client_certificate = pair(&one.pem, &one.pem))),
        ("tls.client_certificate.key", with(&|tls| tls.client_certificate = pair(&one.pem, &in_one_line))),
        ("tls.client_certificate.key", with(&|tls| tls.client_certificate = pair(&other.pem, &one.key))),
    ];
    for (expected, error) in errors {
        assert!(matches!(&error, ConfigError::Unusable { setting, .. } if *setting == expected), "{error:?}");
    }
    let error = with(&|tls| tls.server_name = Some(String::from("not a name")));
    assert!(matches!(error, ConfigError::Unreadable { setting: "tls.server_name", .. }), "{error:?}");
}

/// On one thread the runtime has no time to notice the end. Session tickets that wait to be read are no end.
///
/// Guards against: any data of TLS taken for a ticket.
async fn an_orderly_end_that_the_runtime_has_not_noticed_is_seen(runtime: impl Network + Clone) {
    for args in [&NO_CLIENT_CERTIFICATES[..], &ONLY_TLS_1_2] {
        let (authority, server) = server_with(args);
        let url = server.tls_url();
        let manager = manager_with(one_pool(2).min_idle(0).pool_args(trusting(&authority)), &url, runtime.clone()).await;
        for _ in 0..5 {
            drop(manager.get_client(&url).await.expect("a client"));
            until(&runtime, "one idles", || status(&manager).idle > 0).await;
            std::thread::sleep(10 * MS);
            assert!(manager.try_get_client(&url).is_ok(), "it is alive");
            until(&runtime, "it idles again", || status(&manager).idle > 0).await;
            // No other one can be opened meanwhile.
            server.command(&["CONFIG", "SET", "maxclients", "1"]);
            server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            std::thread::sleep(10 * MS);
            assert!(manager.try_get_client(&url).is_err(), "there is none to lend");
            server.command(&["CONFIG", "SET", "maxclients", "1000"]);
        }
    }
}
