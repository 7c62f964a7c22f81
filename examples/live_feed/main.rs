//! A channel as server-sent events: a page that shows messages, and where some may be missing. Stop the server and start it again.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use futures_core::Stream;
use redis_manager::pub_sub::{Event, SubscriberReceiver, TopicFilter};
use redis_manager::tokio::TokioRuntime;
use redis_manager::{Overflow, RedisManager, Subscriber, SubscriberOptions};
use serde_json::json;

#[path = "../support/server.rs"]
mod server;
#[path = "../support/signal.rs"]
mod signal;

const CHANNEL: &str = "redis-manager:live";
/// How long open pages may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the handlers share.
#[derive(Clone)]
struct LiveFeed {
    manager: RedisManager,
    url: String,
    subscriber: Arc<Subscriber>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse::<u16>())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let server = server::ExampleServer::find()?;
    let manager = RedisManager::builder().default_timeout(Duration::from_secs(1)).build(TokioRuntime::current()?)?;
    manager.add_node_pool(&server.url).await?;
    // A page that is slow loses the oldest messages, and is told so; it does not hold up the others.
    let options = SubscriberOptions::default().ping_interval(Duration::from_secs(1)).overflow(Overflow::DropOldest);
    let subscriber = manager.subscriber_with(&server.url, options)?;
    subscriber.only_receivers();
    subscriber.subscribe([CHANNEL]).await?;
    println!("server      {}, {}", server.kind(), server.url);
    println!("page        http://{}/", listener.local_addr()?);

    let feed = LiveFeed { manager: manager.clone(), url: server.url.clone(), subscriber: Arc::new(subscriber) };
    let ticks = tokio::spawn(publish_ticks(feed.clone()));
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/events", get(events))
        .route("/publish", post(publish))
        .with_state(feed);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until_stopped = async {
        let _ = stopped.await;
    };
    let serving = tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(until_stopped).into_future());
    signal::until_told_to_end().await?;

    // The close ends the receivers, and with them the pages; so the HTTP server has nothing left to wait for.
    ticks.abort();
    manager.close_all_pools().await;
    let _ = stop.send(());
    tokio::time::timeout(CLOSE_TIMEOUT, serving).await???;
    println!("ended       all pages are closed");
    Ok(())
}

/// Each page has a receiver of its own.
async fn events(State(feed): State<LiveFeed>) -> impl IntoResponse {
    Sse::new(PageEvents(feed.subscriber.receiver(TopicFilter::all()))).keep_alive(KeepAlive::default())
}

/// Events as the page reads them.
struct PageEvents(SubscriberReceiver);

impl Stream for PageEvents {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = std::task::ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(event.map(|event| Ok(to_page(&event))))
    }
}

fn to_page(event: &Event) -> sse::Event {
    let (name, data) = match event {
        Event::Message { payload, .. } => ("message", json!({"text": String::from_utf8_lossy(payload)})),
        Event::Gap { lasted, reason, .. } => ("gap", json!({"seconds": lasted.as_secs_f64(), "reason": format!("{reason:?}")})),
        other @ (Event::Subscribed { .. } | Event::Unsubscribed { .. } | _) => ("note", json!({"text": format!("{other:?}")})),
    };
    sse::Event::default().event(name).data(data.to_string())
}

async fn publish(State(feed): State<LiveFeed>, text: String) -> impl IntoResponse {
    match send(&feed, &text).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn send(feed: &LiveFeed, text: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut client = feed.manager.get_shared_client(&feed.url).await?;
    let () = redis::cmd("PUBLISH").arg(CHANNEL).arg(text).query_async(&mut client).await?;
    Ok(())
}

/// A number twice a second, so that there is something to be seen.
async fn publish_ticks(feed: LiveFeed) {
    for tick in 1_u64.. {
        // While the server is away, numbers are lost; the page shows the gap.
        let _ = send(&feed, &format!("tick {tick}")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
