//! A web service with axum: an extractor that lends a client, errors as responses, `/health`, `/metrics`, a worker for jobs, and
//! an orderly end by SIGTERM or ctrl-c.
//!
//! ```sh
//! cargo run --example axum_service
//! curl -X POST http://127.0.0.1:8080/pages/home/visits
//! curl -X POST http://127.0.0.1:8080/jobs -d 'write a letter'
//! curl http://127.0.0.1:8080/health
//! ```

use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use redis::AsyncCommands;
use redis_manager::export::TextFormat;
use redis_manager::tokio::TokioRuntime;
use redis_manager::{Client, GetClientError, NodeHandle, OnNodeDown, RedisErrorExt, RedisManager, Sent};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[path = "support/server.rs"]
mod server;
#[path = "support/signal.rs"]
mod signal;

const JOBS: &str = "redis-manager:axum:jobs";

type ServiceResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ServiceResult<()> {
    let server = server::ExampleServer::find().map_err(|error| error.to_string())?;
    println!("server      {}", server.kind());
    let service = Service::start(&server.url)?;
    let address = std::env::var("LISTEN").unwrap_or_else(|_| String::from("127.0.0.1:8080"));
    let listener = TcpListener::bind(&address).await?;
    println!("page        http://{}/  until SIGTERM or ctrl-c; this is process {}", listener.local_addr()?, std::process::id());
    let report = service.run(listener, signal::until_told_to_end()).await?;
    println!("ended       {:?} after the signal, {} jobs done", report.took, report.jobs_done);
    Ok(())
}

/// What every request has at hand. Cheap to clone.
#[derive(Clone)]
struct AppState {
    manager: RedisManager,
    node: NodeHandle,
}

/// A client for one request. It goes back to its pool when the handler is done.
struct BorrowedClient(Client);

impl FromRequestParts<AppState> for BorrowedClient {
    type Rejection = ServiceError;

    async fn from_request_parts(_parts: &mut Parts, state: &AppState) -> Result<BorrowedClient, ServiceError> {
        Ok(BorrowedClient(state.node.get_client().await?))
    }
}

/// Any error of Redis, as a response.
struct ServiceError(redis::RedisError);

impl<E: Into<redis::RedisError>> From<E> for ServiceError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        // The details are for the log alone.
        eprintln!("a request failed: {error}");
        if !error.is_unavailable() {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        } else if error.was_sent() == Sent::Unknown {
            (StatusCode::GATEWAY_TIMEOUT, "it may have been done, or not\n").into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "nothing was done, try again\n").into_response()
        }
    }
}

/// The service before it listens.
struct Service {
    state: AppState,
    worker: JoinHandle<redis::RedisResult<usize>>,
}

/// How it ended.
struct ServiceReport {
    took: Duration,
    jobs_done: usize,
}

impl Service {
    fn start(url: &str) -> ServiceResult<Service> {
        let builder = RedisManager::builder().default_timeout(Duration::from_secs(2)).on_node_down(OnNodeDown::FailFast);
        let manager = builder.build(TokioRuntime::current()?)?;
        // Does not wait: a service may start before its Redis. `/health` says when it is ready.
        let node = manager.add_node_pool_lazy(url)?;
        let worker = tokio::spawn(work(manager.clone(), node.clone()));
        Ok(Service { state: AppState { manager, node }, worker })
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/pages/{page}/visits", post(visit))
            .route("/jobs", post(add_job))
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .with_state(self.state.clone())
    }

    /// Serves until `told_to_end` is ready. No request is cut off: first no new one is taken, then those under way end, then the
    /// pools close, which ends the worker.
    async fn run(
        self,
        listener: TcpListener,
        told_to_end: impl Future<Output = std::io::Result<()>> + Send + 'static,
    ) -> ServiceResult<ServiceReport> {
        let (told, told_at) = tokio::sync::oneshot::channel();
        let signal = async move {
            // Where signals cannot be waited for it ends at once: it could not be ended in order later.
            let _ = told_to_end.await;
            let _ = told.send(Instant::now());
        };
        axum::serve(listener, self.router()).with_graceful_shutdown(signal).await?;
        let told_at = told_at.await?;
        self.state.manager.close_all_pools().await;
        let jobs_done = self.worker.await??;
        Ok(ServiceReport { took: told_at.elapsed(), jobs_done })
    }
}

/// One command over the connection that all requests share: the best way for commands that do not block.
async fn visit(State(state): State<AppState>, Path(page): Path<String>) -> Result<String, ServiceError> {
    let mut shared = state.node.get_shared_client().await?;
    let visits: u64 = shared.incr(format!("redis-manager:axum:visits:{page}"), 1).await?;
    Ok(format!("{visits}\n"))
}

/// A client of its own, as for transactions and commands that block.
async fn add_job(BorrowedClient(mut client): BorrowedClient, job: String) -> Result<(StatusCode, String), ServiceError> {
    let waiting: u64 = client.rpush(JOBS, job).await?;
    Ok((StatusCode::ACCEPTED, format!("{waiting}\n")))
}

/// For readiness probes.
async fn health(State(state): State<AppState>) -> Response {
    let report = state.manager.health();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&report) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// For Prometheus.
async fn metrics(State(state): State<AppState>) -> Response {
    let format = TextFormat::OpenMetrics;
    match format.encode(&state.manager) {
        Ok(body) => ([(header::CONTENT_TYPE, format.content_type())], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Takes one job after the other until the manager closes. A wait at the server costs nothing, and ends with the close; a job that
/// is on its way then still arrives.
async fn work(manager: RedisManager, node: NodeHandle) -> redis::RedisResult<usize> {
    let mut done = 0;
    loop {
        let mut client = match node.get_client().await {
            Ok(client) => client,
            Err(GetClientError::Closed { .. }) => return Ok(done),
            // It is down. The pools heal by themselves.
            Err(_) => {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(100)) => continue,
                    () = manager.closed() => return Ok(done),
                }
            }
        };
        loop {
            let popped: redis::RedisResult<Option<(String, String)>> = client.blpop(JOBS, 0.0).await;
            match popped {
                Ok(Some((_, job))) => {
                    println!("job         {job}");
                    done += 1;
                }
                Ok(None) => {}
                // Another client, or the end.
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use redis_manager_tests::redis_server::RedisServer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    /// The status and the body of a reply.
    async fn request(address: std::net::SocketAddr, line: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.expect("the service listens");
        let head = format!("{line} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).await.expect("a sound socket");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("text");
        let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, reply.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }

    async fn until_ready(address: std::net::SocketAddr) {
        for _ in 0..1_000 {
            if request(address, "GET /health", "").await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is not ready");
    }

    /// Guards against: a refused client as an error 500, a health that is always green, and an end that waits for the worker.
    #[tokio::test(flavor = "multi_thread")]
    async fn requests_are_served_refused_in_an_outage_and_served_again_and_the_end_loses_no_job() {
        let mut redis = RedisServer::start();
        let service = Service::start(&redis.url()).expect("valid settings");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (end, told_to_end) = oneshot::channel::<()>();
        let serving = tokio::spawn(service.run(listener, async { told_to_end.await.map_err(std::io::Error::other) }));
        until_ready(address).await;
        for visits in 1..=3 {
            assert_eq!(request(address, "POST /pages/home/visits", "").await, (200, format!("{visits}\n")));
        }
        for _ in 0..10 {
            assert_eq!(request(address, "POST /jobs", "a letter").await.0, 202);
        }
        for _ in 0..1_000 {
            if redis.command(&["LLEN", JOBS]) == "0" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let metrics = request(address, "GET /metrics", "").await;
        assert!(metrics.0 == 200 && metrics.1.contains("db_client_connection_count"), "{metrics:?}");

        redis.kill();
        for _ in 0..1_000 {
            if request(address, "GET /health", "").await.0 == 503 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(request(address, "GET /health", "").await.0, 503);
        assert_eq!(request(address, "POST /pages/home/visits", "").await.0, 503);
        assert_eq!(request(address, "POST /jobs", "a letter").await.0, 503);
        redis.restart();
        until_ready(address).await;
        assert_eq!(request(address, "POST /pages/home/visits", "").await, (200, String::from("1\n")), "it keeps nothing on disk");

        for _ in 0..10 {
            assert_eq!(request(address, "POST /jobs", "a letter").await.0, 202);
        }
        end.send(()).expect("it is running");
        let report = serving.await.expect("no panic").expect("an orderly end");
        assert_eq!(report.jobs_done + redis.command(&["LLEN", JOBS]).parse::<usize>().expect("a number"), 20);
        println!("ended {:?} after the signal", report.took);
        assert!(report.took < Duration::from_secs(5), "{:?}", report.took);
    }
}
