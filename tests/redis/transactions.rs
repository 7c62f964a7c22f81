//! Optimistic transactions.

use redis::{AsyncCommands, RedisError};
use redis_manager::runtime::Network;
use redis_manager::{Client, Prepared, TransactionError};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::spawn;

use crate::{assert_full_capacity, manager_of, status};

on_every_runtime! {
    transactions_of_many_tasks_lose_nothing;
    transactions_of_many_tasks_on_one_key_all_get_their_turn;
    a_transaction_that_others_disturb_is_given_up;
    a_transaction_does_not_survive_its_connection;
    a_transaction_that_changes_nothing_leaves_nothing;
    a_transaction_stays_one_when_its_body_replaces_the_pipeline;
    a_body_ends_a_transaction_with_its_own_error_and_with_its_own_answer;
    a_result_type_that_cannot_hold_the_replies_is_found_before_exec_where_it_can_be;
    a_write_to_a_watched_key_by_the_client_is_refused_at_once;
}

async fn transactions_of_many_tasks_lose_nothing(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (manager, url) = (manager.clone(), server.url());
            spawn(&runtime, async move {
                for _ in 0..20 {
                    let mut client = manager.get_client(&url).await.expect("a client");
                    // What it borrows does not keep the task from being spawned.
                    let key = String::from("stock");
                    let done: Result<(i64,), TransactionError> = client
                        .transaction_attempts(1_000, &key, async |mut attempt| {
                            let stock: Option<i64> = attempt.client().get(&key).await?;
                            attempt.pipeline().set(&key, stock.unwrap_or(0) + 1).ignore().get(&key);
                            Ok(Prepared::Execute)
                        })
                        .await;
                    let (stock,) = done.expect("it gets its turn");
                    assert!(stock > 0);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    assert_eq!(server.command(&["GET", "stock"]), (8 * 20).to_string());
    assert_full_capacity(&manager, &server, 4).await;
}

/// Seen to bite: without pauses between the attempts, four of ten are given up; with nothing but pauses that grow up to
/// 50 ms, one or two of a hundred.
async fn transactions_of_many_tasks_on_one_key_all_get_their_turn(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 32, runtime.clone()).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (manager, url) = (manager.clone(), server.url());
            spawn(&runtime, async move {
                let mut client = manager.get_client(&url).await.expect("a client");
                let (mut given_up, mut most) = (0, 0);
                for _ in 0..20 {
                    let mut tries = 0;
                    let key = String::from("stock");
                    let done: Result<(), _> = client
                        .transaction("stock", |mut attempt| {
                            tries += 1;
                            let key = key.clone();
                            async move {
                                let stock: Option<i64> = attempt.client().get(&key).await?;
                                attempt.pipeline().set(key, stock.unwrap_or(0) + 1).ignore();
                                Ok(Prepared::Execute)
                            }
                        })
                        .await;
                    match done {
                        Ok(()) => {}
                        Err(TransactionError::Conflict { .. }) => given_up += 1,
                        Err(error) => panic!("{error}"),
                    }
                    most = most.max(tries);
                }
                (given_up, most)
            })
        })
        .collect();
    let (mut given_up, mut most) = (0, 0);
    for task in tasks {
        let (conflicts, tries) = task.await;
        given_up += conflicts;
        most = most.max(tries);
    }
    assert_eq!(given_up, 0, "of 640, {most} attempts at most");
    assert_eq!(server.command(&["GET", "stock"]), "640");
}

async fn a_transaction_that_others_disturb_is_given_up(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let mut tries = 0;
    let done: Result<(), _> = client
        .transaction(&["a", "b"], |mut attempt| {
            tries += 1;
            server.command(&["INCR", "b"]);
            attempt.pipeline().set("a", 1).ignore();
            async { Ok(Prepared::Execute) }
        })
        .await;
    assert!(matches!(done, Err(TransactionError::Conflict { attempts: 16 })), "{done:?}");
    assert_eq!((tries, server.command(&["EXISTS", "a"]).as_str()), (16, "0"));
    let failed: Result<(), _> = client
        .transaction("a", async |mut attempt| {
            let _number: i64 = redis::cmd("ECHO").arg("text").query_async(attempt.client()).await?;
            Ok(Prepared::Execute)
        })
        .await;
    assert!(matches!(failed, Err(TransactionError::Redis(_))), "{failed:?}");
    server.command(&["SET", "a", "theirs"]);
    let set: Option<()> = redis::pipe().atomic().set("own", 1).ignore().query_async(&mut client).await.expect("EXEC");
    assert!(set.is_some(), "nothing is watched any more");
}

async fn a_transaction_does_not_survive_its_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let mut tries = 0;
    let done: Result<(), _> = client
        .transaction("key", |mut attempt| {
            tries += 1;
            let server = &server;
            async move {
                let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(attempt.client()).await?;
                server.command(&["CLIENT", "KILL", "ID", &id.to_string()]);
                attempt.pipeline().set("key", "mine");
                Ok(Prepared::Execute)
            }
        })
        .await;
    assert!(matches!(done, Err(TransactionError::Redis(_))), "{done:?}");
    assert_eq!((tries, server.command(&["EXISTS", "key"]).as_str()), (1, "0"));
}

async fn a_transaction_that_changes_nothing_leaves_nothing(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let done: Result<(), TransactionError> = client.transaction("key", async |_| Ok(Prepared::Execute)).await;
    done.expect("nothing to do");
    server.command(&["SET", "key", "theirs"]);
    let set: Option<()> = redis::pipe().atomic().set("own", 1).ignore().query_async(&mut client).await.expect("EXEC");
    assert!(set.is_some(), "nothing is watched any more");
    let no_keys: &[&str] = &[];
    let done: Result<(i64,), TransactionError> = client
        .transaction(no_keys, async |mut attempt| {
            attempt.pipeline().incr("n", 1);
            Ok(Prepared::Execute)
        })
        .await;
    assert_eq!(done.expect("a transaction without keys"), (1,));
    drop(client);
    assert_eq!(status(&manager).idle, 1, "and nothing was to be cleaned");
}

/// Seen to bite: commands of a plain pipeline are carried out whatever has become of the watched keys.
async fn a_transaction_stays_one_when_its_body_replaces_the_pipeline(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let done: Result<(), _> = client
        .transaction("key", async |mut attempt| {
            server.command(&["INCR", "key"]);
            *attempt.pipeline() = redis::pipe();
            attempt.pipeline().incr("n", 1).ignore();
            Ok(Prepared::Execute)
        })
        .await;
    assert!(matches!(done, Err(TransactionError::Conflict { .. })), "{done:?}");
    assert_eq!(server.command(&["EXISTS", "n"]), "0");
}

/// What a service makes of a transaction.
#[derive(Debug)]
enum ShopError {
    SoldOut,
    Other,
}

impl From<RedisError> for ShopError {
    fn from(_: RedisError) -> Self {
        Self::Other
    }
}

impl From<TransactionError> for ShopError {
    fn from(_: TransactionError) -> Self {
        Self::Other
    }
}

async fn stock_of(client: &mut Client, item: &str) -> Result<Option<i64>, RedisError> {
    client.get(item).await
}

/// How many are left; none of what is not sold.
async fn buy(client: &mut Client, item: &str) -> Result<Option<(i64,)>, ShopError> {
    client
        .transaction(item, async |mut attempt| match stock_of(attempt.client(), item).await? {
            None => {
                attempt.pipeline().set("never", 1);
                Ok(Prepared::Nothing(None))
            }
            Some(0) => Err(ShopError::SoldOut),
            Some(_) => {
                attempt.pipeline().decr(item, 1);
                Ok(Prepared::Execute)
            }
        })
        .await
}

/// Calls of a command so far, as the server counts them.
fn calls(server: &RedisServer, name: &str) -> usize {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls="))).unwrap_or("0");
    line.split(',').next().and_then(|number| number.trim().parse().ok()).expect("a number")
}

async fn a_body_ends_a_transaction_with_its_own_error_and_with_its_own_answer(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    server.command(&["SET", "lamp", "1"]);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let story = spawn(&runtime, async move {
        let item = String::from("lamp");
        assert_eq!(buy(&mut client, &item).await.expect("one is left"), Some((0,)));
        assert!(matches!(buy(&mut client, &item).await, Err(ShopError::SoldOut)));
        assert_eq!(buy(&mut client, "chair").await.expect("it is not sold"), None);
        client
    });
    let client = story.await;
    assert_eq!((calls(&server, "exec"), calls(&server, "unwatch")), (1, 2));
    assert_eq!(server.command(&["EXISTS", "never"]), "0");
    drop(client);
    assert_eq!(status(&manager).idle, 1, "and nothing was to be cleaned");
}

async fn a_result_type_that_cannot_hold_the_replies_is_found_before_exec_where_it_can_be(runtime: impl Network + Clone) {
    async fn incr_twice<T: redis::FromRedisValue>(client: &mut Client) -> Result<T, TransactionError> {
        client
            .transaction("n", async |mut attempt| {
                attempt.pipeline().incr("n", 1).incr("n", 1).del("nothing").ignore();
                Ok(Prepared::Execute)
            })
            .await
    }
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    for done in [
        incr_twice::<(i64,)>(&mut client).await.map(drop),
        incr_twice::<(i64, i64, i64)>(&mut client).await.map(drop),
        incr_twice::<i64>(&mut client).await.map(drop),
        incr_twice::<String>(&mut client).await.map(drop),
    ] {
        assert!(matches!(done, Err(TransactionError::WrongType(_))), "{done:?}");
    }
    assert_eq!((calls(&server, "exec"), calls(&server, "unwatch")), (0, 4));
    assert_eq!(incr_twice::<(i64, i64)>(&mut client).await.expect("two"), (1, 2));
    assert_eq!(incr_twice::<Vec<String>>(&mut client).await.expect("two"), ["3", "4"]);
    assert_eq!(incr_twice::<Option<(i64, String)>>(&mut client).await.expect("two"), Some((5, String::from("6"))));
    let late = incr_twice::<(i64, Vec<String>)>(&mut client).await;
    assert!(matches!(late, Err(TransactionError::ExecutedWrongType(_))), "{late:?}");
    assert_eq!(server.command(&["GET", "n"]), "8", "it was carried out");
}

async fn a_write_to_a_watched_key_by_the_client_is_refused_at_once(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    for kind in ["command", "pipeline", "atomic", "transaction"] {
        let mut tries = 0;
        let done: Result<(), TransactionError> = client
            .transaction("stock", |mut attempt| {
                tries += 1;
                async move {
                    let () = attempt.client().incr("other", 1).await?;
                    match kind {
                        "command" => attempt.client().incr("stock", 1).await?,
                        "pipeline" => redis::pipe().incr("stock", 1).exec_async(attempt.client()).await?,
                        "atomic" => redis::pipe().atomic().get("stock").exec_async(attempt.client()).await?,
                        _ => {
                            attempt.client().transaction("x", async |_| Ok::<_, TransactionError>(Prepared::Nothing(()))).await?
                        }
                    }
                    Ok(Prepared::Execute)
                }
            })
            .await;
        let error = done.expect_err(kind).to_string();
        assert!(error.contains("not sent: ") && error.contains("the body of a transaction"), "{kind}: {error}");
        assert_eq!((tries, server.command(&["EXISTS", "stock"]).as_str()), (1, "0"), "{kind}");
    }
    assert_eq!(server.command(&["GET", "other"]), "4");
    let () = client.incr("stock", 1).await.expect("after the transaction");
}
