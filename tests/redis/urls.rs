//! What a URL says reaches the server as it stands.

use redis_manager::RedisManager;
use redis_manager::runtime::Network;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::until;

on_every_runtime! {
    the_database_and_the_login_of_a_url_are_those_that_the_server_sees;
}

/// What CLIENT LIST says of the one connection of a node with this URL.
async fn seen(server: &RedisServer, url: &str, runtime: &(impl Network + Clone)) -> String {
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(url).await.unwrap_or_else(|error| panic!("{error}"));
    drop(manager.get_client(url).await.expect("a client"));
    let list = server.client_list();
    manager.close_all_pools().await;
    // The list of the next one must not have these.
    until(runtime, "the server has noticed the end of the connections", || server.client_count() == 0).await;
    list.into_iter().next().expect("it is there")
}

/// Guards against: the db parameter of a host passed over, with a + read as a space.
async fn the_database_and_the_login_of_a_url_are_those_that_the_server_sees(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let (host, socket) = (format!("127.0.0.1:{}", server.port()), server.unixsocket().display().to_string());
    server.command(&["ACL", "SETUSER", "clerk", "on", ">a+b c&d", "+@all", "~*"]);
    server.command(&["ACL", "SETUSER", "guest", "on", "nopass", "+@all", "~*"]);
    for (url, fields) in [
        (format!("redis://{host}?db=2"), ["db=2", "user=default"]),
        (format!("redis://{host}/3?db=3&protocol=resp2"), ["db=3", "user=default"]),
        (format!("redis://clerk:a+b%20c&d@{host}/4"), ["db=4", "user=clerk"]),
        (format!("redis://guest@{host}"), ["db=0", "user=guest"]),
        (format!("unix://{socket}?user=clerk&pass=a+b%20c%26d&db=5"), ["db=5", "user=clerk"]),
        (format!("unix:{socket}?us%65r=guest"), ["db=0", "user=guest"]),
    ] {
        let line = seen(&server, &url, &runtime).await;
        let all: Vec<&str> = line.split(' ').collect();
        assert!(fields.iter().all(|field| all.contains(field)), "{url}: {line}");
    }
}
