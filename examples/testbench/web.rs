//! The HTTP side: page, events, metrics, health and buttons; for this machine only, and its buttons for its own page only.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use redis_manager::export::{ExportSource, TextFormat};

use crate::bench::BenchState;
use crate::feed::{Feed, PageStream};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// Only what is served here runs in the page.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'";
/// A page of another origin cannot send it without being asked for by CORS, which nothing here answers.
const BUTTON_HEADER: &str = "x-testbench";

#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) bench: Arc<BenchState>,
    pub(crate) feed: Arc<Feed>,
}

pub(crate) fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(|| file(HTML, include_str!("page/index.html"))))
        .route("/page.css", get(|| file(CSS, include_str!("page/page.css"))))
        .route("/page.js", get(|| file(JAVASCRIPT, include_str!("page/page.js"))))
        .route("/uplot.min.css", get(|| file(CSS, include_str!("page/uplot.min.css"))))
        .route("/uplot.min.js", get(|| file(JAVASCRIPT, include_str!("page/uplot.min.js"))))
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/press/{button}", post(press))
        .layer(from_fn(local_only))
        .with_state(web)
}

async fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

/// Refuses other names of this machine: a web page whose name was made to lead here cannot read anything.
async fn local_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "127.0.0.1" | "localhost") {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only as 127.0.0.1 or localhost\n").into_response()
    }
}

async fn events(State(web): State<Web>) -> Sse<KeptAlive> {
    Sse::new(web.feed.open(&web.bench)).keep_alive(KeepAlive::default())
}

type KeptAlive = axum::response::sse::KeepAliveStream<PageStream>;

async fn metrics(State(web): State<Web>) -> Response {
    let format = TextFormat::Prometheus;
    let source = ExportSource::new().manager("testbench", &web.bench.manager);
    match source.map(|source| format.encode(source)) {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health(State(web): State<Web>) -> Response {
    let report = web.bench.manager.health();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&report) {
        Ok(json) => (status, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn press(State(web): State<Web>, Path(button): Path<String>, headers: HeaderMap) -> Response {
    if !headers.contains_key(BUTTON_HEADER) {
        return (StatusCode::FORBIDDEN, format!("a button wants the header {BUTTON_HEADER}\n")).into_response();
    }
    match web.bench.press(&button).await {
        Ok(name) => {
            web.feed.note("button", &format!("button: {name}"));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(why) => (StatusCode::CONFLICT, why).into_response(),
    }
}
