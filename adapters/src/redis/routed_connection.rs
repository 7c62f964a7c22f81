//! What sends each request to the node that it belongs to: the inside of the clients of a whole deployment.

use std::time::Duration;

use redis::{Cmd, Pipeline, RedisFuture, Value};

use crate::redis_node::metrics::RequestWay;

/// Sends requests to the nodes of a deployment. Its clones send to the same ones.
pub(crate) trait RoutedConnection: Send + Sync {
    fn ask<'a>(&'a mut self, way: RequestWay, cmd: &'a Cmd) -> RedisFuture<'a, Value>;

    fn ask_all<'a>(
        &'a mut self,
        way: RequestWay,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>>;

    fn clone_routed(&self) -> Box<dyn RoutedConnection>;

    /// The name of the deployment, without secrets.
    fn name(&self) -> &str;

    /// The database that it uses.
    fn db(&self) -> i64;

    /// The time since the first of the clones was made.
    fn age(&self) -> Duration;
}

impl Clone for Box<dyn RoutedConnection> {
    fn clone(&self) -> Self {
        self.clone_routed()
    }
}
