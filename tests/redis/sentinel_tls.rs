//! A primary behind sentinels with TLS and passwords on both: found, and followed to its successor.

use std::time::Duration;

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, FailureKind, PoolArgs, ReadFrom, RedisManager, SentinelArgs};
use redis_manager_tests::certificates::Authority;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::sentinel::{PRIMARY_NAME, TestSentinels};
use redis_manager_tests::tasks::until;

use crate::tls::trusting;
use crate::{MS, SLACK};

on_every_runtime! {
    tls_and_passwords_are_used_with_sentinels_and_data_nodes_and_kept_over_a_failover needs Tls;
}

const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

fn manager(args: PoolArgs, runtime: impl Network) -> RedisManager {
    let builder = RedisManager::builder().pool_args(args.command_timeout(COMMAND_TIMEOUT)).max_connection_size(8);
    builder.build(runtime).expect("valid settings")
}

/// Guards against: sentinels that are asked without TLS, and replicas that are dialled without it.
async fn tls_and_passwords_are_used_with_sentinels_and_data_nodes_and_kept_over_a_failover(runtime: impl Network + Clone) {
    let authority = Authority::new();
    let mut all = TestSentinels::start_tls(&authority, Some("ofthedata"), Some("ofthesentinels"));
    let strangers = manager(PoolArgs::default(), runtime.clone());
    let error = strangers.add_node_pool_timeout(&all.url(), 700 * MS).await.expect_err("its CA is not trusted");
    assert!(matches!(error.kind(), FailureKind::Tls | FailureKind::NoSentinel), "{error}");
    let insecure = strangers.add_node_pool(&format!("{}#insecure", all.url())).await.expect_err("certificates are checked");
    assert!(matches!(insecure, AddNodeError::InvalidUrl { .. }) && insecure.to_string().contains("#insecure"), "{insecure}");

    let manager = manager(trusting(&authority), runtime.clone());
    manager.add_node_pool(&all.url()).await.expect("all is as it should be");
    let args = SentinelArgs::new(PRIMARY_NAME, all.addresses()).tls(true).sentinel_tls(true).read_from(ReadFrom::PreferReplica);
    let args = args.password(String::from("ofthedata")).sentinel_password(String::from("ofthesentinels"));
    manager.add_sentinel("orders", args.replica_check_interval(100 * MS)).await.expect("the same by settings");
    let mut client = manager.get_client(&all.url()).await.expect("a client");
    assert_eq!(client.incr::<_, _, i64>("count", 1).await.expect("INCR"), 1);
    until(&runtime, "two replicas are read from", || {
        let status = manager.replica_status("orders").expect("it is there");
        status.replicas.iter().filter(|replica| replica.error.is_none()).count() == 2
    })
    .await;
    drop(manager.get_replica_client("orders").await.expect("a client of a replica"));
    let mut shared = manager.get_shared_client("orders").await.expect("a client");

    let old = all.primary().expect("sentinels answer");
    all.servers[old].kill();
    let (new, switched_at) = all.wait_for_failover(old);
    while let Err(error) = shared.incr::<_, _, i64>("other", 1).await {
        assert!(switched_at.elapsed() < 5 * SLACK, "writes do not go on: {error}");
    }
    println!("writes go on {:?} after the switch", switched_at.elapsed());
    for name in ["orders", &all.url()] {
        let mut client = manager.get_client(name).await.expect("a client of the new one");
        assert_eq!(client.incr::<_, _, i64>("again", 1).await.map(|count| count > 0), Ok(true));
        let status = manager.sentinel_status(name).expect("it is there");
        assert_eq!(status.primary, Some(format!("127.0.0.1:{}", all.told_port(new))));
        let shown = format!("{status:?} {:?} {:?}", manager.fetch_pool_status(), manager.replica_status(name));
        assert!(!shown.contains("ofthe"), "{shown}");
    }
    drop((client, shared));
    manager.close_all_pools().await;
}
