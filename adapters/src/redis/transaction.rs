//! Optimistic transactions: WATCH, read, MULTI, EXEC, and again if a watched key was changed meanwhile.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ToRedisArgs, Value};

use crate::error::{GetClientError, RedisErrorExt, Sent};
use crate::redis_node::Client;

/// Why a transaction has no replies, apart from errors of its body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Other clients changed the watched keys during every attempt. Nothing was changed by this transaction.
    #[error("other clients changed the watched keys in each of {attempts} attempts")]
    Conflict {
        /// Number of attempts.
        attempts: usize,
    },
    /// The result type does not match the number of replies. Found before EXEC: nothing was changed.
    #[error("not executed: the replies do not have the requested type: {0}")]
    WrongType(#[source] RedisError),
    /// EXEC was executed, but its replies do not convert into the result type.
    #[error("EXEC was executed, but the replies do not have the requested type: {0}")]
    ExecutedWrongType(#[source] RedisError),
    /// A command or the connection failed.
    ///
    /// If the error says `outcome unknown`, the transaction may have been executed. It was executed if only some of its
    /// commands failed (for example `INCR` of a list): Redis rolls nothing back.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// A conflict is a reply of the server. A wrong type is found before anything is sent.
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

    fn is_closed(&self) -> bool {
        self.redis().is_some_and(RedisErrorExt::is_closed)
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

/// The result of a transaction's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared<T> {
    /// Execute the pipeline; its replies are the result. An empty pipeline is not sent.
    Execute,
    /// Nothing to execute: the value is the result, and the watch ends. The pipeline is not sent.
    Nothing(T),
}

/// One attempt at a transaction, owned by its body; see [`Client::transaction`].
pub struct Attempt<'c> {
    /// `None` after it was dropped.
    lent: Option<Lent<'c>>,
    /// Where the client and the pipeline go then.
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

    /// The client, to read the watched keys. It refuses to write them.
    pub fn client(&mut self) -> &mut Client {
        self.lent().client
    }

    /// The pipeline of commands to execute.
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
    /// The largest number of attempts of [`transaction`](Client::transaction).
    pub const TRANSACTION_ATTEMPTS: usize = 16;

    /// Executes a transaction that depends on `keys`. It watches the keys, calls `body` to read them and to fill a pipeline,
    /// and executes that pipeline if the keys were not changed meanwhile. After a conflict it begins again, up to
    /// [`TRANSACTION_ATTEMPTS`](Client::TRANSACTION_ATTEMPTS) (16) times. Returns the replies to the commands of the pipeline,
    /// or the value of [`Nothing`](Prepared::Nothing).
    ///
    /// Between attempts it pauses for a random time, 1 ms at first and 50 ms at most. While one of them has conflicts,
    /// transactions of this manager with the same first key run one after the other. Each attempt waits for its turn for at
    /// most 500 ms.
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
    /// /// The rest of the stock.
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
    /// An async closure that borrows what it needs, as above. If the borrowed values allow it, the future is `Send` and can be
    /// spawned. An async closure that changes or owns its captures (`tries += 1`, `async move` with a `String`) does not
    /// compile: its futures would borrow from it. Use a closure that returns a future:
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
    /// The bound is not `AsyncFnMut`: in stable Rust the future of a generic one is not known to be `Send` if the closure
    /// borrows. The attempt must be dropped before the body ends.
    ///
    /// The attempt's client refuses to write one of `keys`, since every attempt would then conflict with itself. It also
    /// refuses commands that end the watch (`UNWATCH`, `MULTI`, `EXEC`, an atomic pipeline, another transaction). The error is
    /// of the kind [`Client`](redis::ErrorKind::Client), and nothing is sent. Scripts are not checked.
    ///
    /// # Errors
    ///
    /// - The error of `body`, at once and unchanged.
    /// - A [`RedisError`], converted into `E`: the server's error, or that of a lost connection. A lost connection ends the
    ///   transaction; it is never tried again on another one.
    /// - [`TransactionError::Conflict`], converted into `E`, after the last attempt.
    /// - [`TransactionError::WrongType`], converted into `E`, before EXEC: `T` cannot hold the number of replies.
    /// - [`TransactionError::ExecutedWrongType`], converted into `E`, after EXEC: the replies do not convert into `T`.
    ///
    /// Without an error type of its own, a caller uses `TransactionError` for `E`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. If it is dropped during EXEC, the transaction may or may not be executed.
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

    /// The same as [`transaction`](Client::transaction), with another number of attempts; 0 is treated as 1.
    ///
    /// # Errors
    ///
    /// The error of `body`; a [`RedisError`], [`TransactionError::Conflict`], [`TransactionError::WrongType`] or
    /// [`TransactionError::ExecutedWrongType`], converted into `E`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. If it is dropped during EXEC, the transaction may or may not be executed.
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
            let text = "not sent: in the body of a transaction, another transaction would end the watch of its keys";
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
            // The body may have replaced it.
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
                // If it fails, the connection is cleaned or closed when it is returned.
                let _unwatched = redis::cmd("UNWATCH").exec_async(client).await;
                return result;
            }
            // No replies: a key was changed.
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
    RedisError::from((ErrorKind::Client, "not executed: the body of the transaction did not drop its attempt"))
}

/// Why a type cannot hold the replies of a pipeline, whatever they are. Only their number is known. The type is wrong if it
/// rejects that many replies of each of four kinds, and each time rejects all of them together rather than one.
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

/// A fake server that gives these replies to EXEC.
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
