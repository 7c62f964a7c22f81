//! The main job on async-std, by the smol runtime: both are built on the same reactor.

use std::error::Error;

use redis::AsyncCommands;
use redis_manager::RedisManager;
use redis_manager::smol::SmolRuntime;

#[path = "support/server.rs"]
mod server;

fn main() -> Result<(), Box<dyn Error>> {
    async_std::task::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let server = server::ExampleServer::find()?;
    println!("server      {}", server.kind());

    let manager = RedisManager::builder().max_connection_size(10).build(SmolRuntime::new())?;
    manager.add_node_pool(&server.url).await?;

    // Clients move freely into tasks of async-std.
    let (tasks_manager, url) = (manager.clone(), server.url.clone());
    let task = async_std::task::spawn(async move {
        let mut client = tasks_manager.get_client(&url).await?;
        let pong: String = redis::cmd("PING").query_async(&mut client).await?;
        println!("PING        {pong}");
        let () = client.set("redis-manager:quickstart", "hello").await?;
        let value: String = client.get("redis-manager:quickstart").await?;
        println!("SET, GET    {value}");
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    task.await.map_err(|error| error as Box<dyn Error>)?;

    for (node, status) in manager.fetch_pool_status() {
        println!(
            "status      {node}: {}, {} pools, {} active, {} idle",
            status.health, status.total_pools, status.active, status.idle
        );
    }

    manager.close_all_pools().await;
    Ok(())
}
