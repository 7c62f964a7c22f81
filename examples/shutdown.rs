//! A service that is told to end by SIGTERM or ctrl-c: with a listener, a worker that waits for jobs, and a task that holds
//! a client, it ends in a fraction of a second, and no job is lost on its way.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::tokio::TokioRuntime;
use redis_manager::{GetClientError, PubSubEnd, RedisManager};

#[path = "support/server.rs"]
mod server;
#[path = "support/signal.rs"]
mod signal;

const JOBS: &str = "redis-manager:jobs";
const NEWS: &str = "redis-manager:news";

type ExampleResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExampleResult<()> {
    let server = server::ExampleServer::find().map_err(|error| error.to_string())?;
    println!("server      {}", server.kind());
    let manager = RedisManager::builder().build(TokioRuntime::current()?)?;
    manager.add_node_pool(&server.url).await?;
    let () = manager.get_client(&server.url).await?.del(JOBS).await?;

    let listener = tokio::spawn(listen(manager.clone(), server.url.clone()));
    let worker = tokio::spawn(work(manager.clone(), server.url.clone()));
    let holder = tokio::spawn(hold(manager.clone(), server.url.clone()));
    let told = Arc::new(AtomicBool::new(false));
    let producer = tokio::spawn(produce(manager.clone(), server.url.clone(), Arc::clone(&told)));

    println!("running     until SIGTERM or ctrl-c; this is process {}", std::process::id());
    signal::until_told_to_end().await?;

    // The pattern: take in no more work, then close, then wait for the tasks, which the close has ended.
    let told_at = Instant::now();
    told.store(true, Ordering::Relaxed);
    let pushed = producer.await??;
    manager.close_all_pools().await;
    let (heard, done, held_for) = (listener.await??, worker.await??, holder.await??);
    println!("ended       {:?} after the signal", told_at.elapsed());

    println!("listener    {heard} messages, then the end of its subscription");
    println!("holder      gave its client back after {held_for:?}");
    let left = left(&server.url).await?;
    println!("jobs        {pushed} pushed, {done} done, {left} left for the next process");
    if pushed != done + left {
        return Err("a job was lost".into());
    }
    Ok(())
}

/// Its messages end when the pools close, and it can tell that from a connection that is lost.
async fn listen(manager: RedisManager, url: String) -> ExampleResult<usize> {
    let mut heard = 0;
    loop {
        let mut news = match manager.get_client(&url).await {
            Ok(client) => client.into_pub_sub()?,
            Err(GetClientError::Closed { .. }) => return Ok(heard),
            Err(error) => return Err(error.into()),
        };
        news.subscribe(NEWS).await?;
        while let Some(_message) = news.next_message().await {
            heard += 1;
        }
        if news.end() == Some(PubSubEnd::Closed) {
            return Ok(heard);
        }
    }
}

/// Waits at the server for one job after the other. The wait ends when the pools close; a job that is on its way then
/// still arrives.
async fn work(manager: RedisManager, url: String) -> ExampleResult<usize> {
    let mut done = 0;
    let mut client = manager.get_client(&url).await?;
    loop {
        let popped: redis::RedisResult<Option<(String, u64)>> = client.blpop(JOBS, 0.0).await;
        match popped {
            Ok(Some(_job)) => done += 1,
            Ok(None) => {}
            Err(_) if manager.is_closing() => return Ok(done),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Holds a client while it waits for something else, and gives it back when the manager closes.
async fn hold(manager: RedisManager, url: String) -> ExampleResult<Duration> {
    let since = Instant::now();
    let client = manager.get_client(&url).await?;
    let something_else = std::future::pending::<()>();
    tokio::select! {
        () = something_else => {}
        () = manager.closed() => {}
    }
    drop(client);
    Ok(since.elapsed())
}

/// Makes the jobs and the news, over a shared client, until it is told to end.
async fn produce(manager: RedisManager, url: String, told: Arc<AtomicBool>) -> ExampleResult<usize> {
    let mut shared = manager.get_shared_client(&url).await?;
    let mut pushed = 0;
    while !told.load(Ordering::Relaxed) {
        let () = shared.rpush(JOBS, pushed).await?;
        pushed += 1;
        if pushed % 100 == 0 {
            let _listeners: usize = shared.publish(NEWS, pushed).await?;
        }
    }
    Ok(pushed)
}

/// What the next process finds.
async fn left(url: &str) -> ExampleResult<usize> {
    let manager = RedisManager::builder().build(TokioRuntime::current()?)?;
    manager.add_node_pool(url).await?;
    let mut client = manager.get_client(url).await?;
    let left = client.llen(JOBS).await?;
    let () = client.del(JOBS).await?;
    Ok(left)
}
