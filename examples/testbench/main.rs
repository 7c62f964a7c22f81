//! A server, load and faults, with a live page, metrics for Prometheus and a health endpoint, on 127.0.0.1.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_manager::tokio::TokioRuntime;
use redis_manager::{PoolArgs, RedisManager};
use serde_json::Value;

mod arguments;
mod bench;
mod feed;
mod load;
mod proxy;
mod quantiles;
mod server;
mod web;

use arguments::{BenchArguments, USAGE};
use bench::{BenchState, MAX_CONNECTIONS};
use feed::Feed;
use proxy::FaultProxy;
use server::LoadedServer;

/// How long open pages may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match BenchArguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("testbench: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: BenchArguments) -> Result<(), Box<dyn Error>> {
    let address = ("127.0.0.1", arguments.port);
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| format!("port {}: {error}", arguments.port))?;
    let server = LoadedServer::start()?;
    let kind = server.kind();
    let proxy = match bench::upstream_of(server.url()) {
        Some(upstream) => Some(FaultProxy::start(&upstream).await?),
        None => None,
    };
    let url = proxy.as_ref().map_or(server.url().to_owned(), |proxy| bench::through(server.url(), proxy.address()));
    let manager = manager()?;
    let events = manager.events()?;
    manager.add_node_pool(&url).await?;
    manager.start_cleanup();
    let bench = Arc::new(BenchState::new(manager.clone(), url.clone(), server, proxy));
    let feed = Arc::new(Feed::default());
    println!("server      {kind}");
    println!("page        http://{}/  (also /metrics and /health)", listener.local_addr()?);

    load::start(&manager, &url, &bench.counts);
    tokio::spawn(feed::send_events(Arc::clone(&feed), events));
    let (quiet, began_at, mut samples) = (arguments.quiet, Instant::now(), 0_u64);
    tokio::spawn(feed::send_samples(Arc::clone(&feed), Arc::clone(&bench), move |sample| {
        samples += 1;
        if !quiet && samples.is_multiple_of(2) {
            println!("{}", line(began_at.elapsed(), sample));
        }
    }));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = web::router(web::Web { bench: Arc::clone(&bench), feed: Arc::clone(&feed) });
    let serving = tokio::spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(async {
                let _ = stopped.await;
            })
            .into_future(),
    );
    until_the_end(arguments.run_for).await?;

    let metrics = manager.metrics().remove(&url);
    manager.close_all_pools_timeout(CLOSE_TIMEOUT).await;
    let _ = stop.send(());
    feed.close();
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, serving).await;
    let (succeeded, failed) = bench.counts.read();
    println!("ended       after {:.1?}", began_at.elapsed());
    println!("calls       {succeeded} succeeded, {failed} failed");
    if let Some(metrics) = metrics {
        println!("connections {} opened, {} failed dials", metrics.opened(), metrics.connects.failed.total());
        println!("waits       {:?}", metrics.wait_time);
        println!("queue       {} callers at most, {:.1?} down in all", metrics.most_waiting, metrics.time_down);
    }
    Ok(())
}

/// Timeouts are short, so that a fault shows within seconds.
fn manager() -> Result<RedisManager, Box<dyn Error>> {
    let second = Duration::from_secs(1);
    let args = PoolArgs::default().command_timeout(second).connect_timeout(second).client_name("testbench");
    let manager = RedisManager::builder()
        .connection_pools_per_node_at_start(1)
        .max_connection_size(MAX_CONNECTIONS / 2)
        .max_pools_per_node(2)
        .min_idle(6)
        .max_waiters(2_000)
        .default_timeout(second)
        .health_check_interval(2 * second)
        .health_check_timeout(second / 2)
        .cleanup_interval(5 * second)
        .max_idle_time(10 * second)
        .use_time_sampling(1)
        .event_buffer(4_096)
        .pool_args(args)
        .build(TokioRuntime::current()?)?;
    Ok(manager)
}

fn line(elapsed: Duration, sample: &Value) -> String {
    let node = &sample["node"];
    let count = |name: &str| node[name].as_u64().unwrap_or(0);
    let rate = |name: &str| sample[name].as_f64().unwrap_or(0.0);
    format!(
        "{:>6.1}s  {:<8} used {:>2}  idle {:>2}  waiting {:>3}  {:>5.0} commands/s  {:>4.0} errors/s  p99 {:>7.2} ms  {}",
        elapsed.as_secs_f64(),
        node["health"].as_str().unwrap_or("closed"),
        count("active"),
        count("idle"),
        count("waiting"),
        rate("commands"),
        rate("errors"),
        sample["latency"][1].as_f64().unwrap_or(0.0),
        sample["fault"].as_str().unwrap_or_default(),
    )
}

async fn until_the_end(run_for: Option<Duration>) -> std::io::Result<()> {
    let time_is_up = async {
        match run_for {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    };
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            () = time_is_up => Ok(()),
            _ = terminated.recv() => Ok(()),
            pressed = tokio::signal::ctrl_c() => pressed,
        }
    }
    #[cfg(not(unix))]
    tokio::select! {
        () = time_is_up => Ok(()),
        pressed = tokio::signal::ctrl_c() => pressed,
    }
}
