//! A manager on the fake network, with a server that the test writes itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::tokio::io::AsyncReadExt;
use redis_manager_core::testing::FakeRuntime;
use redis_manager_core::{Health, Spawn};

use crate::testing::{Cut, FakeNetwork, FakeStream};
use crate::{Handshake, PoolArgs, RedisManager};

const URL: &str = "redis://redis.test?protocol=resp2";

/// Answers every command that arrives with PONG.
async fn answer(mut stream: FakeStream, commands: Arc<AtomicU64>) {
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        let begun = bytes[..count].iter().filter(|byte| **byte == b'*').count();
        commands.fetch_add(begun as u64, Ordering::Relaxed);
        if stream.send(&b"+PONG\r\n".repeat(begun)).is_err() {
            break;
        }
    }
}

fn serve(network: &FakeNetwork, commands: &Arc<AtomicU64>) {
    let listener = network.listen("10.0.0.1:6379".parse().expect("an address")).expect("free");
    network.set_name("redis.test", [[10, 0, 0, 1].into()]);
    let (network, commands) = (network.clone(), Arc::clone(commands));
    network.clone().spawn(Box::pin(async move {
        loop {
            let stream = listener.accept().await;
            network.spawn(Box::pin(answer(stream, Arc::clone(&commands))));
        }
    }));
}

fn manager(network: &FakeNetwork) -> RedisManager {
    let args = PoolArgs::default().handshake(Handshake::Least);
    RedisManager::builder().pool_args(args).build(network.clone()).expect("valid settings")
}

#[test]
fn a_manager_works_on_the_fake_network_and_heals_in_virtual_time() {
    let runtime = FakeRuntime::new(7);
    let network = FakeNetwork::new(&runtime);
    let commands = Arc::new(AtomicU64::new(0));
    serve(&network, &commands);
    let manager = manager(&network);
    let node = runtime.block_on(manager.add_node_pool(URL)).expect("it serves");
    let ping = || {
        runtime.block_on(async {
            let mut client = node.get_client().await?;
            redis::cmd("PING").query_async::<String>(&mut client).await
        })
    };
    assert_eq!(ping().expect("served"), "PONG");
    let mut shared = runtime.block_on(node.get_shared_client()).expect("served");
    assert_eq!(runtime.block_on(redis::cmd("PING").query_async::<String>(&mut shared)).expect("served"), "PONG");

    let host = network.host("10.0.0.1:6379".parse().expect("an address"));
    host.refuse();
    host.cut(Cut::Reset);
    runtime.advance(Duration::from_millis(1));
    let begun_at = runtime.now();
    assert!(ping().is_err(), "down");
    assert_eq!(runtime.now().saturating_duration_since(begun_at), Duration::from_secs(10));
    assert_eq!(node.status().health, Health::Down);
    host.heal();
    assert_eq!(ping().expect("healed"), "PONG");
    assert!(commands.load(Ordering::Relaxed) >= 5, "{commands:?}");
    runtime.block_on(manager.close_all_pools());
    assert_eq!(network.open_streams(), 0);
}
