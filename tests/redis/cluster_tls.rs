//! A cluster that is reached over TLS alone: every node that the cluster names, with the login and the CA of the first.

use std::fs;
use std::path::PathBuf;

use redis::AsyncCommands;
use redis_manager::RedisManager;
use redis_manager::runtime::Network;
use redis_manager_tests::certificates::Authority;
use redis_manager_tests::cluster::{TestCluster, TestClusterNode};
use redis_manager_tests::on_every_runtime;

use crate::tls::trusting;

on_every_runtime! {
    every_node_of_a_cluster_is_reached_over_tls needs Tls;
}

/// A directory for the files of the servers, gone after the test.
struct Files(PathBuf);

impl Files {
    fn of(authority: &Authority) -> Files {
        let name = format!("redis-manager-cluster-tls-{}-{:?}", std::process::id(), std::thread::current().id());
        let files = Files(std::env::temp_dir().join(name));
        let certificate = authority.issue(&["127.0.0.1"]);
        fs::create_dir_all(&files.0).expect("a directory for temporary files is writable");
        for (name, text) in [("ca.crt", &authority.pem), ("redis.crt", &certificate.pem), ("redis.key", &certificate.key)] {
            fs::write(files.path(name), text).expect("a directory for temporary files is writable");
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Seen to bite: with members that are reached without the TLS of the startup node.
async fn every_node_of_a_cluster_is_reached_over_tls(runtime: impl Network + Clone) {
    let authority = Authority::new();
    let files = Files::of(&authority);
    let [ca, certificate, key] = ["ca.crt", "redis.crt", "redis.key"].map(|name| files.path(name));
    let args = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"];
    let cluster = TestCluster::options().tls(&args).password("secret").replicas(0).start();
    let startup: Vec<_> = cluster.nodes().iter().map(TestClusterNode::tls_url).collect();
    let builder = RedisManager::builder().use_cluster(true).startup_nodes(startup).pool_args(trusting(&authority));
    let manager = builder.build(runtime).expect("valid settings");
    manager.add_node_pool("rediss://cluster").await.expect("the cluster is up");
    let mut client = manager.get_client("rediss://cluster").await.expect("a client");
    for n in 0..30 {
        let () = client.set(format!("key-{n}"), n).await.expect("SET");
    }
    for primary in cluster.primaries() {
        let key = cluster.key_in(&primary);
        let mut owner = manager.get_client_for_key("rediss://cluster", &key).await.expect("a client of its owner");
        let () = redis::cmd("WATCH").arg(&key).query_async(&mut owner).await.expect("WATCH");
        let (n,): (i64,) = redis::pipe().atomic().incr(&key, 1).query_async(&mut owner).await.expect("EXEC");
        assert_eq!(n, 1);
    }
    let status = manager.cluster_status("rediss://cluster").expect("it is there");
    let tls_ports: Vec<_> = cluster.nodes().iter().filter_map(TestClusterNode::tls_port).collect();
    let is_tls = |address: &str| tls_ports.iter().any(|port| address.ends_with(&format!(":{port}")));
    assert!(status.nodes.iter().all(|node| is_tls(&node.address)), "{status:?}");
    let text = format!("{manager:?} {status:?} {:?}", manager.fetch_pool_status());
    assert!(!text.contains("secret"), "{text}");
    manager.close_all_pools().await;
}
