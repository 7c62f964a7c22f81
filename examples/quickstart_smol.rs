//! The main job on smol: add a node, borrow a client, use it, look at the pools, close.

use std::error::Error;

use redis::AsyncCommands;
use redis_manager::RedisManager;
use redis_manager::smol::SmolRuntime;

#[path = "support/server.rs"]
mod server;

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let server = server::ExampleServer::find()?;
        println!("server    {}", server.kind());

        let manager = RedisManager::builder().max_connection_size(10).build(SmolRuntime::new())?;
        manager.add_node_pool(&server.url).await?;

        let mut client = manager.get_client(&server.url).await?;
        let pong: String = redis::cmd("PING").query_async(&mut client).await?;
        println!("PING      {pong}");

        let () = client.set("redis-manager:quickstart", "hello").await?;
        let value: String = client.get("redis-manager:quickstart").await?;
        println!("SET, GET  {value}");

        for (node, status) in manager.fetch_pool_status() {
            println!(
                "status    {node}: {}, {} pools, {} active, {} idle",
                status.health, status.total_pools, status.active, status.idle
            );
        }

        drop(client); // gives it back
        manager.close_all_pools().await;
        Ok(())
    })
}
