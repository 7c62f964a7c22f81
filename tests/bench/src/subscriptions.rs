//! One subscriber that is sent 100 000 messages a second, beside those of redis-rs, fred and rustis.
//!
//! A thread publishes the time, in pipelines of a millisecond each. Its own CPU time is not counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::pin::Pin;
use std::thread;
use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use futures_core::Stream;
use redis::{AsyncConnectionConfig, PushInfo, PushKind};
use redis_manager::RedisManager;
use redis_manager::pub_sub::{Event, Subscriber};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::within;
use rustis::commands::PubSubCommands;

use crate::end_to_end::load::cpu_time;
use crate::goals::{Goals, Want};
use crate::measure::{Spread, percentile};
use crate::options::Options;
use crate::peers::Refusal;
use crate::runner::{BenchExecutor, Handle, Runner};
use crate::table;

const CHANNEL: &str = "bench";
const PER_SECOND: usize = 100_000;
/// The time in nanoseconds is in front.
const PAYLOAD: usize = 64;
/// After so long without a message, the rest is missing.
const SILENCE: Duration = Duration::from_secs(2);

const OURS: usize = 0;
const NAMES: [&str; 4] = ["redis-manager Subscriber", "redis-rs, push sender", "fred Client", "rustis PubSubStream"];

/// What one subscriber has received.
struct FeedSample {
    per_second: f64,
    /// Microseconds of CPU for each message.
    cpu: f64,
    /// Microseconds.
    p99: f64,
    missing: usize,
}

/// A subscription, whatever the client.
enum FeedReader {
    Ours { subscriber: Box<Subscriber>, _manager: RedisManager },
    Redis { receiver: tokio::sync::mpsc::UnboundedReceiver<PushInfo>, _connection: redis::aio::MultiplexedConnection },
    Fred { receiver: tokio::sync::broadcast::Receiver<fred::types::Message>, _client: fred::clients::Client },
    Rustis(Box<rustis::client::PubSubStream>),
}

impl FeedReader {
    async fn subscribe(contender: usize, handle: &Handle, port: u16) -> Result<FeedReader, Refusal> {
        let url = format!("redis://127.0.0.1:{port}");
        Ok(match contender {
            OURS => {
                let manager = handle.build(RedisManager::builder().max_pools_per_node(1).max_connection_size(2));
                manager.add_node_pool(&url).await?;
                let subscriber = manager.subscriber(&url)?;
                subscriber.subscribe([CHANNEL]).await?;
                FeedReader::Ours { subscriber: Box::new(subscriber), _manager: manager }
            }
            1 => {
                let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
                let client = redis::Client::open(format!("{url}/?protocol=resp3"))?;
                let config = AsyncConnectionConfig::new().set_push_sender(sender);
                let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                connection.subscribe(CHANNEL).await?;
                FeedReader::Redis { receiver, _connection: connection }
            }
            2 => {
                let mut builder = fred::types::Builder::from_config(fred::types::config::Config::from_url(&url)?);
                // 32 by default; a reader that is slower loses messages.
                builder.with_performance_config(|config| config.broadcast_channel_capacity = 1 << 17);
                let client = builder.build()?;
                client.init().await?;
                let receiver = client.message_rx();
                client.subscribe(CHANNEL).await?;
                FeedReader::Fred { receiver, _client: client }
            }
            _ => FeedReader::Rustis(Box::new(rustis::client::Client::connect(url).await?.subscribe(CHANNEL).await?)),
        })
    }

    /// The time in the next message; `None` at the end.
    async fn next(&mut self) -> Option<u64> {
        loop {
            match self {
                FeedReader::Ours { subscriber, .. } => {
                    if let Event::Message { payload, .. } = subscriber.next().await? {
                        return Some(stamp_of(&payload));
                    }
                }
                FeedReader::Redis { receiver, .. } => {
                    let push = receiver.recv().await?;
                    if let (PushKind::Message, Some(redis::Value::BulkString(payload))) = (push.kind, push.data.last()) {
                        return Some(stamp_of(payload));
                    }
                }
                FeedReader::Fred { receiver, .. } => {
                    if let Ok(message) = receiver.recv().await {
                        return message.value.as_bytes().map(stamp_of);
                    }
                }
                FeedReader::Rustis(stream) => {
                    let message = std::future::poll_fn(|cx| Pin::new(&mut **stream).poll_next(cx)).await?.ok()?;
                    return Some(stamp_of(message.payload()));
                }
            }
        }
    }
}

fn stamp_of(payload: &[u8]) -> u64 {
    payload[..20].iter().fold(0, |stamp, digit| stamp * 10 + u64::from(digit - b'0'))
}

/// Measures and prints all of them.
pub(crate) fn run(options: &Options, goals: &mut Goals) {
    let server = RedisServer::start();
    let (rounds, window) = if options.quick { (1, Duration::from_millis(300)) } else { (7, Duration::from_secs(3)) };
    let runner = Runner::start(BenchExecutor::TokioTwoWorkers);
    let mut seen: [Vec<FeedSample>; 4] = Default::default();
    for round in 0..rounds {
        for turn in 0..NAMES.len() {
            let contender = (turn + round) % NAMES.len();
            let (handle, port) = (runner.handle.clone(), server.port());
            let sample = runner.run(async move { race(contender, &handle, port, window).await });
            seen[contender].push(sample.expect("a sound server on this machine"));
        }
    }
    print(&seen, goals);
}

fn print(seen: &[Vec<FeedSample>; 4], goals: &mut Goals) {
    let of = |contender: usize, field: fn(&FeedSample) -> f64| -> Vec<f64> { seen[contender].iter().map(field).collect() };
    let row = |contender: usize| {
        let missing: usize = seen[contender].iter().map(|sample| sample.missing).sum();
        let fields: [fn(&FeedSample) -> f64; 3] = [|sample| sample.per_second, |sample| sample.cpu, |sample| sample.p99];
        let cells = fields.into_iter().map(|field| Spread::of(&of(contender, field)).to_string());
        [String::from(NAMES[contender])].into_iter().chain(cells).chain([missing.to_string()]).collect()
    };
    let rows: Vec<Vec<String>> = (0..NAMES.len()).map(row).collect();
    let title = format!("One subscriber of {PER_SECOND} messages a second, tokio, two workers");
    table::print(&title, &["subscriber", "messages/s", "us of CPU each", "p99 delay in us", "missing"], &rows);
    let best = |field: fn(&FeedSample) -> f64, better: fn(f64, f64) -> f64| -> Vec<f64> {
        let of_round = |round: usize| (1..NAMES.len()).map(|contender| field(&seen[contender][round])).reduce(better);
        (0..seen[OURS].len()).filter_map(of_round).collect()
    };
    let mut judge = |what: &str, want, field: fn(&FeedSample) -> f64, better: fn(f64, f64) -> f64| {
        goals.judge(what, want, Some(Spread::of_ratios(&of(OURS, field), &best(field, better))));
    };
    judge("subscriber: messages/s to the best peer", Want::AtLeast(0.99), |sample| sample.per_second, f64::max);
    judge("subscriber: CPU for each message to the best peer", Want::AtMost(1.0), |sample| sample.cpu, f64::min);
    judge("subscriber: p99 delay to the best peer", Want::AtMost(1.0), |sample| sample.p99, f64::min);
}

async fn race(contender: usize, handle: &Handle, port: u16, window: Duration) -> Result<FeedSample, Refusal> {
    let mut reader = FeedReader::subscribe(contender, handle, port).await?;
    let base = Instant::now();
    // Connections, caches and the publisher's first pipelines are not measured.
    let warm_up = thread::spawn(move || publish(port, base, window / 10));
    while within(handle, SILENCE / 10, reader.next()).await.flatten().is_some() {}
    let _ = warm_up.join();
    let cpu_before = cpu_time();
    let publisher = thread::spawn(move || publish(port, base, window));
    let mut delays: Vec<u32> = Vec::with_capacity(PER_SECOND * 4);
    let (mut first, mut last) = (None, base);
    let most = PER_SECOND * window.as_millis() as usize / 1_000;
    let mut watched_at = base;
    while delays.len() < most {
        // A timer for each message would be measured, too.
        let next = if delays.len().is_multiple_of(1_000) || watched_at.elapsed() > SILENCE {
            watched_at = Instant::now();
            within(handle, SILENCE, reader.next()).await.flatten()
        } else {
            reader.next().await
        };
        let Some(stamp) = next else { break };
        last = Instant::now();
        first.get_or_insert(last);
        let delay = last.duration_since(base).saturating_sub(Duration::from_nanos(stamp));
        delays.push(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
    }
    let cpu = cpu_time().saturating_sub(cpu_before);
    let (published, own_cpu) = publisher.join().unwrap_or_default();
    let elapsed = last.duration_since(first.unwrap_or(base)).as_secs_f64();
    delays.sort_unstable();
    let count = delays.len() as f64;
    let missing = published.saturating_sub(delays.len());
    let cpu = cpu.saturating_sub(own_cpu).as_secs_f64() * 1e6 / count.max(1.0);
    Ok(FeedSample { per_second: count / elapsed.max(1e-9), cpu, p99: percentile(&delays, 0.99), missing })
}

/// Publishes the time since `base` for so long, and returns how many messages, and the CPU time of this thread.
fn publish(port: u16, base: Instant, window: Duration) -> (usize, Duration) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server is up");
    stream.set_nodelay(true).expect("a TCP socket");
    let cpu_before = thread_cpu_time();
    let begun_at = Instant::now();
    let a_pipeline = PER_SECOND / 1_000;
    let (mut published, mut replies) = (0, vec![0; 64 * 1_024]);
    for turn in 0..window.as_millis() as u32 {
        let due = begun_at + Duration::from_millis(1) * turn;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut pipeline = Vec::with_capacity(a_pipeline * 128);
        for _ in 0..a_pipeline {
            let stamp = base.elapsed().as_nanos();
            let padding = PAYLOAD - 20;
            let _ = write!(pipeline, "*3\r\n$7\r\nPUBLISH\r\n$5\r\n{CHANNEL}\r\n${PAYLOAD}\r\n{stamp:020}{:padding$}\r\n", "");
        }
        stream.write_all(&pipeline).expect("the server reads");
        let mut lines = 0;
        while lines < a_pipeline {
            let length = stream.read(&mut replies).expect("the server answers");
            assert!(length > 0, "the server has ended");
            lines += replies[..length].iter().filter(|byte| **byte == b'\n').count();
        }
        published += a_pipeline;
    }
    (published, thread_cpu_time().saturating_sub(cpu_before))
}

/// By Linux's count; nothing where there is none.
fn thread_cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}
