//! Optimistic transactions: WATCH, look, MULTI, EXEC, and again if somebody else was quicker.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, ToRedisArgs, Value};

use crate::redis_node::Client;

/// Why a transaction was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Others changed the watched keys during every attempt. Nothing was changed.
    #[error("the watched keys were changed by others in each of {attempts} attempts")]
    Conflict {
        /// How often it was tried.
        attempts: usize,
    },
    /// A command failed, or the connection, or the replies are of another type than was asked for.
    ///
    /// If the words are `outcome unknown`, the transaction may have been carried out. It was carried out if only one of its
    /// commands failed (`INCR` of a list, say: Redis rolls nothing back) or the replies could not be converted.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// One attempt at a transaction, for its body; see [`Client::transaction`].
#[non_exhaustive]
pub struct Attempt<'a, 'env> {
    /// To look at the watched keys with.
    pub client: &'a mut Client,
    /// What is to be executed.
    pub pipeline: &'a mut Pipeline,
    /// What the body borrows lives longer than the attempt.
    environment: PhantomData<&'a &'env ()>,
}

impl fmt::Debug for Attempt<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What a body makes of an attempt.
pub type Preparation<'a> = Pin<Box<dyn Future<Output = RedisResult<()>> + Send + 'a>>;

impl Client {
    /// How often [`transaction`](Client::transaction) tries at most.
    pub const TRANSACTION_ATTEMPTS: usize = 16;

    /// Carries out a transaction that depends on `keys`: watches them, calls `body` to look at them and to put commands
    /// into a pipeline, and executes that pipeline at once if nobody has changed them since; otherwise begins again, up to
    /// [`TRANSACTION_ATTEMPTS`](Client::TRANSACTION_ATTEMPTS) times. Gives the replies to the commands of the pipeline.
    ///
    /// Between attempts it pauses for a random time, 1 ms at first and 50 ms at most. While one of them is being disturbed,
    /// transactions of this manager whose first key is the same go one after the other: none waits for that for more than
    /// half a second an attempt.
    ///
    /// ```no_run
    /// # async fn example(manager: redis_manager::RedisManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use redis::AsyncCommands;
    ///
    /// let mut client = manager.get_client("redis://localhost").await?;
    /// let (stock,): (i64,) = client
    ///     .transaction("stock", |attempt| {
    ///         Box::pin(async move {
    ///             let stock: i64 = attempt.client.get("stock").await?;
    ///             attempt.pipeline.set("stock", stock - 1).ignore().get("stock");
    ///             Ok(())
    ///         })
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Conflict`](TransactionError::Conflict) after the last attempt; what `body` returns, at once; what Redis says. A
    /// connection that is lost ends the transaction: it is never tried again on another one.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; dropped while it is being executed, it may be carried out or not.
    pub async fn transaction<'env, T: FromRedisValue>(
        &mut self,
        keys: impl ToRedisArgs + Send + Sync,
        body: impl for<'a> FnMut(Attempt<'a, 'env>) -> Preparation<'a> + Send,
    ) -> Result<T, TransactionError> {
        self.transaction_attempts(Self::TRANSACTION_ATTEMPTS, keys, body).await
    }

    /// The same with another number of attempts; at least one is made.
    ///
    /// # Errors
    ///
    /// As [`transaction`](Client::transaction).
    ///
    /// # Cancel safety
    ///
    /// As [`transaction`](Client::transaction).
    pub async fn transaction_attempts<'env, T: FromRedisValue>(
        &mut self,
        attempts: usize,
        keys: impl ToRedisArgs + Send + Sync,
        mut body: impl for<'a> FnMut(Attempt<'a, 'env>) -> Preparation<'a> + Send,
    ) -> Result<T, TransactionError> {
        let attempts = attempts.max(1);
        let mut watch = redis::cmd("WATCH");
        watch.arg(&keys);
        let watches = keys.num_of_args() > 0;
        let mut contender = if watches { self.contender(&watch) } else { None };
        for number in 1..=attempts {
            if let Some(contender) = &mut contender {
                self.wait_in_line(contender).await;
            }
            if watches {
                watch.exec_async(self).await?;
            }
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            let attempt = Attempt { client: self, pipeline: &mut pipeline, environment: PhantomData };
            let prepared = body(attempt).await;
            // The body may have put another one in its place.
            pipeline.atomic();
            if prepared.is_err() || pipeline.is_empty() {
                let unwatched = redis::cmd("UNWATCH").exec_async(self).await;
                prepared?;
                unwatched?;
                return Ok(T::from_redis_value(Value::Array(Vec::new())).map_err(RedisError::from)?);
            }
            // No answer: somebody has changed a key.
            if let Some(replies) = pipeline.query_async::<Option<T>>(self).await? {
                return Ok(replies);
            }
            if let Some(contender) = contender.as_mut().filter(|_| number < attempts) {
                self.pause(contender).await;
            }
        }
        Err(TransactionError::Conflict { attempts })
    }
}
