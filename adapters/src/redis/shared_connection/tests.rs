//! A shared connection whose lease is returned while commands begin on another thread.

use std::hint::spin_loop;
use std::sync::atomic::AtomicBool;
use std::thread;

use redis_manager_tests::scripted_server::{Conversation, ScriptedServer};

use super::*;
use crate::RedisManager;
use crate::tokio::TokioRuntime;

const LONG: Duration = Duration::from_secs(3_600);

/// A command that has begun is on a connection that is on loan until the command ends.
#[test]
fn no_command_begins_on_a_connection_that_has_gone_back() {
    let server = ScriptedServer::start(Conversation::serve);
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(async {
        let runtime = TokioRuntime::current().expect("within it");
        let manager = RedisManager::builder().max_connection_size(1).build(runtime).expect("valid settings");
        manager.add_node_pool(&server.url()).await.expect("it logs in");
        let connections = manager.connections(&server.url()).expect("a node");
        for round in 0..1_000 {
            let lease = connections.pool.get().await.expect("it is free");
            let now = connections.runtime.now();
            let connection = SharedConnection::new(lease, &*connections.runtime, now, LONG);
            let (other, begun) = (Arc::clone(&connection), Arc::new(AtomicBool::new(false)));
            let flag = Arc::clone(&begun);
            let sending = thread::spawn(move || {
                while other.begin(now, LONG) {
                    flag.store(true, Ordering::SeqCst);
                    (0..50).for_each(|_| spin_loop());
                    let gone = other.lease.lock().expect("not poisoned").is_none();
                    other.end();
                    if gone {
                        return false;
                    }
                }
                true
            });
            while !begun.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            (0..round % 256).for_each(|_| spin_loop());
            connection.retire();
            assert!(sending.join().expect("no panic"), "its lease has gone back, in round {round}");
            assert!(connection.lease.lock().expect("not poisoned").is_none() && connection.in_flight() == 0);
            assert!(!connection.begin(now, LONG), "it is retired");
        }
    });
    assert_eq!(server.accepted(), 1, "all on one connection");
}
