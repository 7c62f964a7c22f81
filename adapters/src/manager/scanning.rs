//! All keys of a node or a cluster, as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use redis::aio::ConnectionLike;
use redis::{RedisError, RedisResult};

use crate::deployment::{KeyBatch, KeySource, ScanOptions};
use crate::error::GetClientError;
use crate::manager::RedisManager;
use crate::redis_node::SharedClient;

/// The keys of a node or a cluster, made by [`RedisManager::scan`]. A [`Stream`] of keys; [`next`](KeyScan::next) needs no other
/// crate. Every key that is there from the beginning to the end is returned at least once, and may be returned more than once.
///
/// In a cluster the nodes are scanned one after the other. A slot that moves meanwhile is scanned at its new node, too; if a primary
/// dies, its slots are scanned at the replica that takes its place. An error ends the scan: no node could be scanned for
/// `command_timeout`. On a plain node a lost connection is an error, since a cursor belongs to one server.
///
/// # Cancel safety
///
/// [`next`](KeyScan::next) may be dropped at any time: no key is lost by that.
#[must_use = "a scan does nothing until it is polled"]
pub struct KeyScan {
    keys: VecDeque<Vec<u8>>,
    state: ScanState,
}

enum ScanState {
    Idle(Box<dyn KeySource>),
    Asking(KeyBatch),
    Ended,
}

impl KeyScan {
    fn new(source: Box<dyn KeySource>) -> Self {
        Self { keys: VecDeque::new(), state: ScanState::Idle(source) }
    }

    /// The next key; `None` at the end.
    pub async fn next(&mut self) -> Option<RedisResult<Vec<u8>>> {
        std::future::poll_fn(|cx| self.poll_key(cx)).await
    }

    fn poll_key(&mut self, cx: &mut Context<'_>) -> Poll<Option<RedisResult<Vec<u8>>>> {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return Poll::Ready(Some(Ok(key)));
            }
            self.state = match std::mem::replace(&mut self.state, ScanState::Ended) {
                ScanState::Ended => return Poll::Ready(None),
                ScanState::Idle(source) => ScanState::Asking(source.next_batch()),
                ScanState::Asking(mut batch) => match batch.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = ScanState::Asking(batch);
                        return Poll::Pending;
                    }
                    Poll::Ready((source, Ok(Some(keys)))) => {
                        self.keys = keys.into();
                        ScanState::Idle(source)
                    }
                    Poll::Ready((_, Ok(None))) => return Poll::Ready(None),
                    Poll::Ready((_, Err(error))) => return Poll::Ready(Some(Err(error))),
                },
            };
        }
    }
}

impl Stream for KeyScan {
    type Item = RedisResult<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_key(cx)
    }
}

impl std::fmt::Debug for KeyScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyScan").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl RedisManager {
    /// All keys of a node or a cluster, over the connections of its shared clients.
    ///
    /// # Errors
    ///
    /// As [`get_shared_client`](RedisManager::get_shared_client), within `default_timeout`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    ///
    /// ```no_run
    /// # async fn example(manager: redis_manager::RedisManager) -> Result<(), redis::RedisError> {
    /// use redis_manager::ScanOptions;
    ///
    /// let mut scan = manager.scan("orders", ScanOptions::default().pattern("order:*").count(500)).await?;
    /// while let Some(key) = scan.next().await {
    ///     println!("{}", String::from_utf8_lossy(&key?));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn scan(&self, url: &str, options: ScanOptions) -> Result<KeyScan, GetClientError> {
        if let Some(deployment) = self.deployments.find(url)
            && let Some(source) = deployment.scan(options.clone())?
        {
            return Ok(KeyScan::new(source));
        }
        let client = self.get_shared_client(url).await?;
        Ok(KeyScan::new(Box::new(NodeScan { client, options, cursor: Some(0) })))
    }
}

/// The scan of a plain node.
struct NodeScan {
    client: SharedClient,
    options: ScanOptions,
    /// `None` at the end.
    cursor: Option<u64>,
}

impl NodeScan {
    async fn step(&mut self) -> RedisResult<Option<Vec<Vec<u8>>>> {
        while let Some(cursor) = self.cursor {
            let reply = self.client.req_packed_command(&self.options.command(cursor)).await?.extract_error()?;
            let (cursor, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(reply).map_err(RedisError::from)?;
            self.cursor = (cursor != 0).then_some(cursor);
            if !keys.is_empty() {
                return Ok(Some(keys));
            }
        }
        Ok(None)
    }
}

impl KeySource for NodeScan {
    fn next_batch(mut self: Box<Self>) -> KeyBatch {
        Box::pin(async move {
            let batch = self.step().await;
            (self as Box<dyn KeySource>, batch)
        })
    }
}
