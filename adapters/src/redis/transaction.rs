//! Optimistic transactions: WATCH, look, MULTI, EXEC, and again if a watched key was changed in between.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ToRedisArgs, Value};

use crate::error::{GetClientError, RedisErrorExt, Sent};
use crate::redis_node::Client;

/// Why a transaction gave no replies, apart from what its body and Redis say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Others changed the watched keys during every attempt. Nothing was changed.
    #[error("the watched keys were changed by others in each of {attempts} attempts")]
    Conflict {
        /// How often it was tried.
        attempts: usize,
    },
    /// The result type cannot hold as many replies as the pipeline has. Found before EXEC: nothing was changed.
    #[error("not executed: the replies are not of the type that is asked for: {0}")]
    WrongType(#[source] RedisError),
    /// EXEC was carried out, and the replies are not of the type that is asked for.
    #[error("EXEC was carried out, but the replies are not of the type that is asked for: {0}")]
    ExecutedWrongType(#[source] RedisError),
    /// A command failed, or the connection.
    ///
    /// If the words are `outcome unknown`, the transaction may have been carried out. It was carried out if only some of its
    /// commands failed (`INCR` of a list, say: Redis rolls nothing back).
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// A conflict is the answer of the server; a type that cannot hold the replies is found before anything is sent.
impl RedisErrorExt for TransactionError {
    fn was_sent(&self) -> Sent {
        match self {
            Self::Redis(error) => error.was_sent(),
            Self::WrongType(_) => Sent::NotSent,
            Self::Conflict { .. } | Self::ExecutedWrongType(_) => Sent::Sent,
        }
    }

    fn is_unavailable(&self) -> bool {
        self.redis().is_some_and(RedisErrorExt::is_unavailable)
    }

    fn node(&self) -> Option<&str> {
        self.redis()?.node()
    }

    fn get_client_error(&self) -> Option<&GetClientError> {
        self.redis()?.get_client_error()
    }
}

impl TransactionError {
    fn redis(&self) -> Option<&RedisError> {
        match self {
            Self::Redis(error) => Some(error),
            Self::Conflict { .. } | Self::WrongType(_) | Self::ExecutedWrongType(_) => None,
        }
    }
}

/// What the body of a transaction answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared<T> {
    /// The pipeline is to be executed; its replies are the result. One without commands is not sent.
    Execute,
    /// There is nothing to execute: this is the result, and the keys are watched no longer. The pipeline is not sent.
    Nothing(T),
}

/// One attempt at a transaction, which belongs to its body; see [`Client::transaction`].
pub struct Attempt<'c> {
    /// None once it was dropped.
    lent: Option<Lent<'c>>,
    /// Where that goes then.
    returned: Arc<Mutex<Option<Lent<'c>>>>,
}

struct Lent<'c> {
    client: &'c mut Client,
    pipeline: Pipeline,
}

impl<'c> Attempt<'c> {
    fn new(client: &'c mut Client, watch: Option<&Arc<Cmd>>, returned: &Arc<Mutex<Option<Lent<'c>>>>) -> Self {
        client.set_watch(watch.cloned());
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        Self { lent: Some(Lent { client, pipeline }), returned: Arc::clone(returned) }
    }

    /// To look at the watched keys with. It refuses to write them.
    pub fn client(&mut self) -> &mut Client {
        self.lent().client
    }

    /// What is to be executed.
    pub fn pipeline(&mut self) -> &mut Pipeline {
        &mut self.lent().pipeline
    }

    fn lent(&mut self) -> &mut Lent<'c> {
        self.lent.as_mut().expect("it is there until the attempt is dropped")
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.client.set_watch(None);
            *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = Some(lent);
        }
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.lent.as_ref().map(|lent| &*lent.client);
        f.debug_struct("Attempt").field("client", &client).finish_non_exhaustive()
    }
}

impl Client {
    /// How often [`transaction`](Client::transaction) tries at most.
    pub const TRANSACTION_ATTEMPTS: usize = 16;

    /// Carries out a transaction that depends on `keys`: watches them, calls `body` to look at them and to put commands
    /// into a pipeline, and executes that pipeline at once if the keys are still as they were; otherwise begins again, up to
    /// [`TRANSACTION_ATTEMPTS`](Client::TRANSACTION_ATTEMPTS) times. Gives the replies to the commands of the pipeline, or
    /// what the body answers if there is [`Nothing`](Prepared::Nothing) to execute.
    ///
    /// Between attempts it pauses for a random time, 1 ms at first and 50 ms at most. While one of them is being disturbed,
    /// transactions of this manager whose first key is the same go one after the other: none waits for that for more than
    /// half a second an attempt.
    ///
    /// ```no_run
    /// use redis::{AsyncCommands, RedisError};
    /// use redis_manager::{Client, Prepared, TransactionError};
    ///
    /// #[derive(Debug)]
    /// enum ShopError {
    ///     SoldOut,
    ///     Redis(RedisError),
    ///     Transaction(TransactionError),
    /// }
    /// # impl From<RedisError> for ShopError {
    /// #     fn from(error: RedisError) -> Self { Self::Redis(error) }
    /// # }
    /// # impl From<TransactionError> for ShopError {
    /// #     fn from(error: TransactionError) -> Self { Self::Transaction(error) }
    /// # }
    ///
    /// /// How many are left.
    /// async fn buy(client: &mut Client, item: &str, count: i64) -> Result<(i64,), ShopError> {
    ///     client
    ///         .transaction(item, async |mut attempt| {
    ///             let stock: i64 = attempt.client().get(item).await?;
    ///             if stock < count {
    ///                 return Err(ShopError::SoldOut);
    ///             }
    ///             if count == 0 {
    ///                 return Ok(Prepared::Nothing((stock,)));
    ///             }
    ///             attempt.pipeline().decr(item, count);
    ///             Ok(Prepared::Execute)
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # The body
    ///
    /// An async closure that borrows what it needs, as above. The future is `Send`, and can be spawned, if what is borrowed
    /// is. An async closure that changes or owns what it captures (`tries += 1`, `async move` with a `String`) does not
    /// compile, as it lends that to its futures; a closure that returns a future does the same:
    ///
    /// ```no_run
    /// # async fn example(mut client: redis_manager::Client, key: String) -> Result<(), redis_manager::TransactionError> {
    /// # use redis_manager::{Prepared, TransactionError};
    /// let mut tries = 0;
    /// let (stock,): (i64,) = client
    ///     .transaction(&key, |mut attempt| {
    ///         tries += 1;
    ///         let key = key.clone();
    ///         async move {
    ///             attempt.pipeline().incr(key, 1);
    ///             Ok::<_, TransactionError>(Prepared::Execute)
    ///         }
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The bound is not `AsyncFnMut`: in stable Rust, the future of a generic one cannot be shown to be `Send` as soon as the
    /// closure borrows. The attempt is dropped before the body ends.
    ///
    /// Its client refuses to write one of `keys`, which would make every attempt conflict with itself, and to end the watch
    /// (`UNWATCH`, `MULTI`, `EXEC`, an atomic pipeline, another transaction), with an error of the kind
    /// [`Client`](redis::ErrorKind::Client); nothing is sent then. Scripts are not looked into.
    ///
    /// # Errors
    ///
    /// What `body` returns, at once and as it is. What Redis says, as `E` has it from a [`RedisError`]. As `E` has them from a
    /// [`TransactionError`]: [`Conflict`](TransactionError::Conflict) after the last attempt,
    /// [`WrongType`](TransactionError::WrongType) before EXEC if `T` is a tuple of another length, say, or a number, and
    /// [`ExecutedWrongType`](TransactionError::ExecutedWrongType) if only the replies show it. Without an error type of its
    /// own, a caller takes `TransactionError` for `E`. A connection that is lost ends the transaction: it is never tried again
    /// on another one.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; dropped while it is being executed, it may be carried out or not.
    pub async fn transaction<'c, T, E, F>(
        &'c mut self,
        keys: impl ToRedisArgs + Send + Sync,
        body: impl FnMut(Attempt<'c>) -> F,
    ) -> Result<T, E>
    where
        T: FromRedisValue,
        E: From<RedisError> + From<TransactionError>,
        F: Future<Output = Result<Prepared<T>, E>>,
    {
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
    pub async fn transaction_attempts<'c, T, E, F>(
        &'c mut self,
        attempts: usize,
        keys: impl ToRedisArgs + Send + Sync,
        mut body: impl FnMut(Attempt<'c>) -> F,
    ) -> Result<T, E>
    where
        T: FromRedisValue,
        E: From<RedisError> + From<TransactionError>,
        F: Future<Output = Result<Prepared<T>, E>>,
    {
        if self.is_watching() {
            let text = "not sent: in the body of a transaction another one would end the watch of its keys";
            return Err(E::from(RedisError::from((ErrorKind::Client, text))));
        }
        let attempts = attempts.max(1);
        let watches = keys.num_of_args() > 0;
        let watch = watches.then(|| Arc::new(redis::cmd("WATCH").arg(&keys).clone()));
        let mut client = self;
        let mut contender = watch.as_ref().and_then(|watch| client.contender(watch));
        let returned = Arc::default();
        for number in 1..=attempts {
            if let Some(contender) = &mut contender {
                client.wait_in_line(contender).await;
            }
            if let Some(watch) = &watch {
                watch.exec_async(client).await?;
            }
            let prepared = body(Attempt::new(client, watch.as_ref(), &returned)).await;
            let lent = returned.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut pipeline;
            Lent { client, pipeline } = lent.ok_or_else(attempt_kept)?;
            // The body may have put another one in its place.
            pipeline.atomic();
            let without_exec = match prepared {
                Err(error) => Some(Err(error)),
                Ok(Prepared::Nothing(answer)) => Some(Ok(answer)),
                Ok(Prepared::Execute) if pipeline.is_empty() => {
                    Some(T::from_redis_value(Value::Array(Vec::new())).map_err(|error| wrong_type(error.into())))
                }
                Ok(Prepared::Execute) => cannot_hold::<T>(&pipeline).await.map(|error| Err(wrong_type(error))),
            };
            if let Some(result) = without_exec {
                // If that fails, the connection is cleaned or closed when it comes back.
                let _unwatched = redis::cmd("UNWATCH").exec_async(client).await;
                return result;
            }
            // No answer: a key was changed.
            if let Some(replies) = pipeline.query_async::<Option<Value>>(client).await? {
                let executed = |error| E::from(TransactionError::ExecutedWrongType(RedisError::from(error)));
                return T::from_redis_value(replies).map_err(executed);
            }
            if let Some(contender) = contender.as_mut().filter(|_| number < attempts) {
                client.pause(contender).await;
            }
        }
        Err(E::from(TransactionError::Conflict { attempts }))
    }
}

fn wrong_type<E: From<TransactionError>>(error: RedisError) -> E {
    E::from(TransactionError::WrongType(error))
}

fn attempt_kept() -> RedisError {
    RedisError::from((ErrorKind::Client, "not executed: the body of the transaction has kept its attempt"))
}

/// Why a type cannot hold the replies of a pipeline, whatever they are. Only their number is known: the type is taken for
/// wrong if it does not accept so many of any of four kinds, and every time rejects all of them and not one.
async fn cannot_hold<T: FromRedisValue>(pipeline: &Pipeline) -> Option<RedisError> {
    let mut last = None;
    for reply in [Value::Int(1), Value::BulkString(b"1".to_vec()), Value::Array(Vec::new()), Value::Nil] {
        let mut rehearsal = Rehearsal(vec![reply; pipeline.len()]);
        let whole = pipeline.query_async::<Value>(&mut rehearsal).await.ok()?;
        let error = pipeline.query_async::<T>(&mut rehearsal).await.err()?;
        if !error.to_string().contains(&format!("(value was {whole:?})")) {
            return None;
        }
        last.get_or_insert(error);
    }
    last
}

/// A server that gives these replies in the one to EXEC.
struct Rehearsal(Vec<Value>);

impl ConnectionLike for Rehearsal {
    fn req_packed_command<'a>(&'a mut self, _cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async { Ok(Value::Nil) })
    }

    fn req_packed_commands<'a>(&'a mut self, _: &'a Pipeline, _offset: usize, _count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async { Ok(vec![Value::Array(self.0.clone())]) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}
