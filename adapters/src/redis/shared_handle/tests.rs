//! Replies that no longer belong to their requests.

use redis_manager_tests::scripted_server::{Conversation, ScriptedServer};

use super::*;
use crate::RedisManager;
use crate::tokio::TokioRuntime;

const SECOND: Duration = Duration::from_secs(1);

/// Guards against: a fault of the stream that ends only the request that it hits.
#[test]
fn a_stream_that_is_out_of_step_is_closed_for_all() {
    let server = ScriptedServer::start(|mut client: Conversation| {
        if client.number > 0 {
            return client.serve();
        }
        if client.log_in() && client.hear().is_some() {
            // One reply too many.
            let _ = client.say("$1\r\n1\r\n+OK\r\n");
            while client.hear().is_some() {}
        }
    });
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(async {
        let manager =
            RedisManager::builder().min_idle(0).build(TokioRuntime::current().expect("within it")).expect("valid settings");
        manager.add_node_pool(&server.url()).await.expect("it logs in");
        let connections = manager.connections(&server.url()).expect("a node");
        let mut share = SharedHandle::ready(connections, SECOND).await.expect("a connection");
        let connection = Arc::clone(share.pinned.as_ref().expect("it is ready"));
        let echo = redis::cmd("ECHO").arg(1).clone();
        let expected = Ok(Value::BulkString(b"1".to_vec()));
        assert_eq!(share.req_packed_command(&echo).await, expected, "the first one of two is its own");
        while !connection.socket.is_dead() {
            ::tokio::task::yield_now().await;
        }
        assert_eq!(share.req_packed_command(&echo).await, expected, "on another connection");
    });
    assert_eq!(server.accepted(), 2);
}
