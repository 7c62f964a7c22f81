//! What the page is sent: a sample twice a second, and the events of the pools, many of one kind as one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::sse;
use futures_core::Stream;
use redis_manager::{EventReader, Histogram, RequestResult};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::bench::BenchState;
use crate::quantiles::MovingHistogram;

pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(500);
const SAMPLES_KEPT: usize = 240;
const EVENTS_KEPT: usize = 100;
/// A page that is so far behind is cut off, and connects again.
const UNREAD: usize = 64;

/// The pages that are open, and what a new one is sent first.
#[derive(Default)]
pub(crate) struct Feed(Mutex<FeedState>);

#[derive(Default)]
struct FeedState {
    pages: Vec<mpsc::Sender<sse::Event>>,
    samples: VecDeque<Value>,
    events: VecDeque<Value>,
}

/// What one page is sent.
pub(crate) struct PageStream(mpsc::Receiver<sse::Event>);

impl Stream for PageStream {
    type Item = Result<sse::Event, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|event| event.map(Ok))
    }
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, bench: &BenchState) -> PageStream {
        let (sender, receiver) = mpsc::channel(UNREAD);
        let mut state = self.lock();
        let hello = json!({"buttons": bench.buttons(), "samples": state.samples, "events": state.events});
        // There is room.
        let _ = sender.try_send(frame("hello", &hello));
        state.pages.push(sender);
        PageStream(receiver)
    }

    fn send(&self, name: &str, value: Value) {
        let mut state = self.lock();
        let event = frame(name, &value);
        state.pages.retain(|page| page.try_send(event.clone()).is_ok());
        let (kept, most) = match name {
            "sample" => (&mut state.samples, SAMPLES_KEPT),
            _ => (&mut state.events, EVENTS_KEPT),
        };
        kept.push_back(value);
        if kept.len() > most {
            kept.pop_front();
        }
    }

    /// An event that is none of a pool.
    pub(crate) fn note(&self, kind: &str, text: &str) {
        self.send("event", json!({"t": seconds(), "kind": kind, "text": text, "count": 1}));
    }

    /// Ends what all pages are sent.
    pub(crate) fn close(&self) {
        self.lock().pages.clear();
    }
}

fn frame(name: &str, value: &Value) -> sse::Event {
    sse::Event::default().event(name).data(value.to_string())
}

fn seconds() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

/// Sends the events, four times a second at most, until the manager is gone.
pub(crate) async fn send_events(feed: Arc<Feed>, mut events: EventReader) {
    let mut batch: Vec<(String, String, u64)> = Vec::new();
    let mut flush_at = Instant::now();
    loop {
        let read = tokio::select! {
            read = events.next_event() => read,
            () = tokio::time::sleep_until(flush_at), if !batch.is_empty() => {
                for (kind, text, count) in batch.drain(..) {
                    feed.send("event", json!({"t": seconds(), "kind": kind, "text": text, "count": count}));
                }
                continue;
            }
        };
        let (kind, text) = match read {
            None => return,
            Some(Err(missed)) => (String::from("missed"), missed.to_string()),
            Some(Ok(read)) => {
                let value = serde_json::to_value(&read.event).unwrap_or_default();
                (value["kind"].as_str().unwrap_or("other").to_owned(), read.to_string())
            }
        };
        if matches!(kind.as_str(), "granted" | "dial_started" | "checked") {
            continue;
        }
        if batch.is_empty() {
            flush_at = Instant::now() + Duration::from_millis(250);
        }
        // Each change of health is shown.
        match batch.iter_mut().find(|(known, ..)| *known == kind && kind != "health_changed") {
            Some(known) => (known.1, known.2) = (text, known.2 + 1),
            None => batch.push((kind, text, 1)),
        }
    }
}

/// Sends the samples; `line` gets each, too.
pub(crate) async fn send_samples(feed: Arc<Feed>, bench: Arc<BenchState>, mut line: impl FnMut(&Value)) {
    let (mut waits, mut commands) = (MovingHistogram::default(), MovingHistogram::default());
    let (mut before, mut ended_before) = (bench.counts.read(), 0);
    let mut ticks = tokio::time::interval_at(Instant::now() + SAMPLE_EVERY, SAMPLE_EVERY);
    let mut at = Instant::now();
    loop {
        ticks.tick().await;
        let took = at.elapsed().as_secs_f64().max(0.001);
        at = Instant::now();
        let counts = bench.counts.read();
        let (mut status, mut commands_ended) = (Value::Null, 0);
        match bench.manager.node(&bench.url) {
            Ok(node) => {
                let (now, metrics) = node.status_and_metrics();
                status = serde_json::to_value(now).unwrap_or_default();
                waits.read(&metrics.wait_time);
                let metrics = node.command_metrics();
                let mut all = Histogram::default();
                metrics.durations.values().for_each(|of_name| all.merge(of_name));
                commands.read(&all);
                commands_ended = metrics.requests().map(|(_, counts)| counts.ended.of(RequestResult::Ok)).sum();
            }
            Err(_) => {
                waits.clear();
                commands.clear();
            }
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / took;
        let sample = json!({
            "t": seconds(), "node": status, "max": crate::bench::MAX_CONNECTIONS, "fault": bench.fault(),
            "calls": rate(counts.0, before.0), "errors": rate(counts.1, before.1), "commands": rate(commands_ended, ended_before),
            "wait": [waits.quantile(0.5), waits.quantile(0.99)], "latency": [commands.quantile(0.5), commands.quantile(0.99)],
        });
        (before, ended_before) = (counts, commands_ended);
        line(&sample);
        feed.send("sample", sample);
    }
}
