//! Secrets are planted in all that users send, and looked for in all that is exported and told.

use std::time::Duration;

use redis_manager_tests::log_recorder::LogRecorder;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::wait_until;

use crate::export::facade::MetricsReporter;
use crate::export::prometheus::TextFormat;
use crate::export::source::ExportSource;
use crate::export::tests::facade::KeepingRecorder;
use crate::export::tests::open_telemetry::Collected;
use crate::manager::RedisManager;
use crate::smol::SmolRuntime;
use redis_manager_core::Health;

/// Each word of them is in no word of ours. The name of a user is shown, a password is not.
const PASSWORD: &str = "zq8xjv5k";
const PLANTED: [&str; 8] = ["zq8xjv5k", "qkeyq", "qvalueq", "qargumentq", "qscriptq", "qchannelq", "qcommandq", "qpayloadq"];

/// Seen to bite: with the URL of a node as it was given for its name in `Address::of`.
#[test]
fn t5_no_exporter_report_event_or_line_of_the_log_has_a_secret_key_or_value() {
    let log = LogRecorder::global();
    let mut server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "clerk", "on", &format!(">{PASSWORD}"), "+@all", "~*", "&*"]);
    let url = format!("redis://clerk:{PASSWORD}@127.0.0.1:{}", server.port());
    let builder = RedisManager::builder().use_time_sampling(1).event_buffer(4_096).slow_acquire(Duration::from_millis(10));
    let manager = builder.build(SmolRuntime::new()).expect("valid");
    let mut events = manager.events().expect("it is on");
    ::smol::block_on(use_it(&manager, &url, &server));
    server.kill();
    wait_until("it is down", || manager.fetch_pool_status().values().all(|status| status.health == Health::Down));

    let source = || ExportSource::new().manager("one", &manager).expect("a name").seed_names(true);
    let recorder = KeepingRecorder::default();
    metrics::with_local_recorder(&recorder, || MetricsReporter::new(source()).report());
    let json = |shown: serde_json::Result<String>| shown.expect("plain data");
    let mut shown = vec![
        TextFormat::OpenMetrics.encode(source()).expect("no error"),
        TextFormat::Prometheus.encode(source()).expect("no error"),
        format!("{recorder:?}"),
        format!("{:?}", Collected::of(source()).collect()),
        format!("{0} {0:?} {1}", manager.health(), json(serde_json::to_string(&manager.health()))),
        format!("{:?} {}", manager.command_metrics(), json(serde_json::to_string(&manager.command_metrics()))),
        format!("{:?} {manager:?}", manager.status_and_metrics()),
    ];
    assert!(shown[0].contains("db_operation_name=\"other\"") && shown[0].contains("error_type=\"noscript\""), "{}", shown[0]);
    ::smol::block_on(manager.close_all_pools());
    drop(manager);
    let told = shown.len();
    while let Some(read) = ::smol::block_on(events.next_event()) {
        let event = read.expect("none is missed");
        shown.push(format!("{event} {event:?} {}", json(serde_json::to_string(&event))));
    }
    let lines = log.lines_with(&format!(":{}", server.port()));
    assert!(shown.len() > told + 4 && lines.iter().any(|line| line.contains("node is down")), "{lines:#?}");
    for text in shown.iter().chain(&lines) {
        let lower = text.to_lowercase();
        for secret in PLANTED {
            assert!(!lower.contains(secret), "{secret} is in {text}");
        }
    }
}

/// Sends each secret in a request that succeeds, and in one that the server refuses and quotes.
async fn use_it(manager: &RedisManager, url: &str, server: &RedisServer) {
    let node = manager.add_node_pool(url).await.expect("the server is up");
    let mut client = node.get_client().await.expect("a client");
    let mut shared = node.get_shared_client().await.expect("a shared client");
    let requests: [&[&str]; 6] = [
        &["SET", "qkeyq", "qvalueq"],
        &["GET", "qkeyq"],
        &["LPUSH", "qkeyq", "qargumentq"],
        &["qcommandq", "qargumentq"],
        &["EVAL", "return qscriptq.qscriptq", "1", "qkeyq", "qargumentq"],
        &["EVALSHA", "qscriptq", "1", "qkeyq"],
    ];
    for words in requests {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        let _ = cmd.query_async::<redis::Value>(&mut client).await;
        let _ = cmd.query_async::<redis::Value>(&mut shared).await;
    }
    let mut subscriber = client.into_pub_sub().expect("nothing is left behind");
    subscriber.subscribe("qchannelq").await.expect("SUBSCRIBE");
    server.command(&["PUBLISH", "qchannelq", "qpayloadq"]);
    let message = subscriber.next_message().await;
    assert!(format!("{message:?}").contains("qchannelq"), "{message:?}");
}
