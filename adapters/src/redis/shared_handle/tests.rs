//! Errors after which replies may no longer belong to their requests.

use std::io;

use redis_manager_tests::scripted_server::{Conversation, ScriptedServer};

use super::*;
use crate::RedisManager;
use crate::redis_node::reply_timeout::ReplyTimeout;
use crate::tokio::TokioRuntime;

const SECOND: Duration = Duration::from_secs(1);

/// The redis driver ends by itself with most errors. A driver that does not end is as bad.
#[test]
fn a_stream_that_is_out_of_step_is_closed_for_all() {
    let server = ScriptedServer::start(Conversation::serve);
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(async {
        let manager =
            RedisManager::builder().min_idle(0).build(TokioRuntime::current().expect("within it")).expect("valid settings");
        manager.add_node_pool(&server.url()).await.expect("it logs in");
        let connections = manager.connections(&server.url()).expect("a node");
        let mut share = SharedHandle::ready(connections, SECOND).await.expect("a connection");
        let connection = Arc::clone(&share.seat.as_ref().expect("it is ready").connection);
        let request = CommandProfile { reply_timeout: ReplyTimeout::Ordinary(Some(SECOND)), ..CommandProfile::UNBOUNDED };
        for (kind, is_closed) in [(io::ErrorKind::Other, false), (io::ErrorKind::InvalidData, true)] {
            let error = match is_closed {
                true => RedisError::from(io::Error::from(kind)),
                false => RedisError::from((ErrorKind::Client, "the request is not valid")),
            };
            let answer: RedisResult<Value> = share.ask(request, RequestRef::Ours, async move |_| Err(error)).await;
            assert_eq!(answer.expect_err("an error").to_string().contains("outcome unknown"), is_closed);
            assert_eq!(connection.socket.is_dead(), is_closed);
        }
        let answer = share
            .ask(request, RequestRef::Ours, async |handle| handle.send_packed_command(redis::cmd("ECHO").arg(1)).await)
            .await;
        assert_eq!(answer, Ok(Value::BulkString(b"1".to_vec())), "on another connection");
    });
    assert_eq!(server.accepted(), 2);
}
