//! What users do with a client: commands, pipelines, scripts, streams, blocking pops, on every kind of address.

use std::collections::HashMap;

use redis::{AsyncCommands, RedisResult, Value};
use redis_manager::runtime::Network;
use redis_manager::{PoolArgs, RedisManager};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::{MS, manager_of, one_pool, status};

on_every_runtime! {
    commands_pipelines_scripts_and_streams_work;
    every_kind_of_address_works;
    a_blocking_pop_outlasts_the_command_timeout;
    a_command_that_gets_no_reply_ends_at_its_timeout_and_its_connection_goes;
    server_errors_leave_the_connection_in_the_pool;
    a_command_without_a_response_closes_its_connection_on_return;
}

async fn commands_pipelines_scripts_and_streams_work(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");

    let pong: String = redis::cmd("PING").query_async(&mut client).await.expect("PING");
    assert_eq!(pong, "PONG");
    let () = client.set("key", "value").await.expect("SET");
    assert_eq!(client.get::<_, String>("key").await.expect("GET"), "value");
    assert_eq!(client.get::<_, Option<String>>("nothing").await.expect("GET"), None);
    let large = vec![7_u8; 3 << 20];
    let () = client.set("large", &large).await.expect("SET");
    assert_eq!(client.get::<_, Vec<u8>>("large").await.expect("GET"), large);

    let (a, b): (i64, i64) = redis::pipe().incr("n", 1).incr("n", 2).query_async(&mut client).await.expect("a pipeline");
    assert_eq!((a, b), (1, 3));
    let (n,): (i64,) = redis::pipe().atomic().incr("n", 1).query_async(&mut client).await.expect("a transaction");
    assert_eq!(n, 4);

    let script = redis::Script::new("return tonumber(ARGV[1]) + tonumber(ARGV[2])");
    let sum: i64 = script.arg(2).arg(3).invoke_async(&mut client).await.expect("a script");
    assert_eq!(sum, 5);

    let _id: String = client.xadd("stream", "*", &[("field", "entry")]).await.expect("XADD");
    let read: redis::streams::StreamReadReply = client.xread(&["stream"], &["0"]).await.expect("XREAD");
    assert_eq!(read.keys[0].ids[0].get::<String>("field").as_deref(), Some("entry"));

    let mut found = Vec::new();
    let mut keys = client.scan::<String>().await.expect("SCAN");
    while let Some(key) = keys.next_item().await {
        found.push(key.expect("a key"));
    }
    drop(keys);
    found.sort();
    assert_eq!(found, ["key", "large", "n", "stream"]);
    drop(client);
    until(&runtime, "it idles beside the one that is kept warm", || status(&manager).idle == 2).await;
}

async fn every_kind_of_address_works(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--requirepass", "s3cr&t/@"]);
    let mut args = PoolArgs::default();
    args.client_name = Some(String::from("matrix"));
    let manager = RedisManager::builder().pool_args(args).build(runtime).expect("valid settings");
    let (port, socket) = (server.port(), server.unixsocket());
    let urls = [
        format!("redis://:s3cr%26t%2F%40@127.0.0.1:{port}"),
        format!("valkey://default:s3cr%26t%2F%40@localhost:{port}/3?protocol=resp2"),
        format!("redis://:s3cr%26t%2F%40@127.0.0.1:{port}/2?protocol=resp3"),
        format!("unix://{}?db=5&pass=s3cr%26t%2F%40", socket.display()),
    ];
    for url in &urls {
        manager.add_node_pool(url).await.unwrap_or_else(|error| panic!("{error}"));
        let mut client = manager.get_client(url).await.expect("a client");
        let info: String = redis::cmd("CLIENT").arg("INFO").query_async(&mut client).await.expect("CLIENT INFO");
        let db = if url.contains("/3?") {
            3
        } else if url.contains("/2?") {
            2
        } else if url.contains("db=5") {
            5
        } else {
            0
        };
        assert!(info.contains("name=matrix") && info.contains(&format!(" db={db} ")), "{info}");
        // Not every server's CLIENT INFO says which protocol is spoken; every HELLO does.
        let hello: HashMap<String, Value> = redis::cmd("HELLO").query_async(&mut client).await.expect("HELLO");
        assert_eq!(hello["proto"], Value::Int(if url.contains("resp2") { 2 } else { 3 }), "{hello:?}");
    }
    let told = format!("{:?} {manager:?}", manager.fetch_pool_status());
    assert!(!told.contains("s3cr"), "{told}");
    assert_eq!(manager.fetch_pool_status().len(), urls.len());
}

async fn a_blocking_pop_outlasts_the_command_timeout(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let mut args = PoolArgs::default();
    args.command_timeout = 400 * MS;
    let manager = one_pool(2).pool_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let popped = spawn(&runtime, async move {
        let popped: RedisResult<(String, String)> = client.blpop("queue", 5.0).await;
        popped
    });
    runtime.sleep(600 * MS).await;
    let mut other = manager.get_client(&server.url()).await.expect("a client");
    let () = other.rpush("queue", "job").await.expect("RPUSH");
    assert_eq!(popped.await.expect("BLPOP"), (String::from("queue"), String::from("job")));

    let started_at = runtime.now();
    let nothing: Option<(String, String)> = other.blpop("empty", 0.5).await.expect("BLPOP");
    assert_eq!(nothing, None);
    assert!(runtime.now().saturating_duration_since(started_at) >= 490 * MS);
}

async fn a_command_that_gets_no_reply_ends_at_its_timeout_and_its_connection_goes(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let mut args = PoolArgs::default();
    args.command_timeout = 300 * MS;
    let manager = one_pool(1).pool_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    server.command(&["CLIENT", "PAUSE", "10000", "WRITE"]);
    let error = client.set::<_, _, ()>("key", "value").await.expect_err("the server is paused");
    assert!(error.is_timeout() && error.to_string().contains("outcome unknown"), "{error}");
    let again = client.get::<_, Option<String>>("key").await.expect_err("a late reply may come");
    assert!(again.to_string().contains("connection lost"), "{again}");
    drop(client);
    let mut client = manager.get_client(&server.url()).await.expect("another client");
    let other: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    assert_ne!(id, other);
    drop(client);
    until(&runtime, "one connection at the server", || server.client_count() == 1).await;
}

async fn server_errors_leave_the_connection_in_the_pool(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    let error = redis::cmd("NO-SUCH-COMMAND").exec_async(&mut client).await.expect_err("unknown");
    assert_eq!(error.code(), Some("ERR"));
    let () = client.set("text", "not a number").await.expect("SET");
    client.incr::<_, _, i64>("text", 1).await.expect_err("not a number");
    client.get::<_, i64>("text").await.expect_err("not a number for us either");
    let aborted = redis::pipe().atomic().cmd("INCR").query_async::<()>(&mut client).await;
    aborted.expect_err("EXEC is aborted");
    redis::Cmd::new().exec_async(&mut client).await.expect_err("an empty command is not sent");
    drop(client);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let same: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    assert_eq!(id, same);
}

async fn a_command_without_a_response_closes_its_connection_on_return(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    redis::cmd("BLPOP").arg("queue").arg(0).set_no_response(true).exec_async(&mut client).await.expect("nothing is waited for");
    drop(client);
    let mut client = manager.get_client(&server.url()).await.expect("another client");
    let other: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    assert_ne!(id, other);
    until(&runtime, "nobody pops", || !server.client_list().iter().any(|line| line.contains("cmd=blpop"))).await;
}
