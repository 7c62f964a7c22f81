//! The main job on tokio: add a node, borrow a client, use it, look at the pools, close.

use std::error::Error;

use redis::AsyncCommands;
use redis_manager::RedisManager;
use redis_manager::tokio::TokioRuntime;

#[path = "support/server.rs"]
mod server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = server::ExampleServer::find()?;
    println!("server      {}", server.kind());

    let manager =
        RedisManager::builder().connection_pools_per_node_at_start(2).max_connection_size(50).build(TokioRuntime::current()?)?;
    manager.add_node_pool(&server.url).await?;
    manager.start_cleanup();

    let mut client = manager.get_client(&server.url).await?;
    let pong: String = redis::cmd("PING").query_async(&mut client).await?;
    println!("PING        {pong}");

    let () = client.set("redis-manager:quickstart", "hello").await?;
    let value: String = client.get("redis-manager:quickstart").await?;
    println!("SET, GET    {value}");

    // Pipelines go to the server in one round trip.
    let (first, second): (i64, i64) = redis::pipe()
        .atomic()
        .del("redis-manager:counter")
        .ignore()
        .incr("redis-manager:counter", 1)
        .incr("redis-manager:counter", 1)
        .query_async(&mut client)
        .await?;
    println!("MULTI, EXEC {first}, {second}");

    for (node, status) in manager.fetch_pool_status() {
        println!(
            "status      {node}: {}, {} pools, {} active, {} idle",
            status.health, status.total_pools, status.active, status.idle
        );
    }

    drop(client); // gives it back
    manager.close_all_pools().await;
    Ok(())
}
