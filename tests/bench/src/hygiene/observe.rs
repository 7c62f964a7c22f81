//! What the next borrower and an outside connection see of what the one before has left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use redis_manager::runtime::Timer;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::within;

use super::deeds::{Deed, KEY, LIST, VALUE};
use crate::peers::RedisPool;
use crate::runner::Handle;

/// How long the next borrower waits for a connection, and for each reply.
const PATIENCE: Duration = Duration::from_secs(1);
/// The fields of CLIENT LIST that are a session's, and not a moment's. Servers before 7.4 have no `watch`.
const FIELDS: [&str; 11] = ["db", "multi", "watch", "sub", "psub", "ssub", "flags", "name", "user", "resp", "redir"];

/// One cell of the matrix.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    /// What the next borrower can tell.
    pub(super) leaks: Vec<String>,
    /// What the next borrower waits for in vain.
    pub(super) hangs: Vec<String>,
    /// What kept the first borrower from its deed.
    pub(super) not_done: Vec<String>,
    /// How long the next borrower waited for a connection.
    pub(super) waited: Duration,
}

impl Finding {
    pub(super) fn is_clean(&self) -> bool {
        self.leaks.is_empty() && self.hangs.is_empty()
    }

    fn leak(&mut self, text: String) {
        let text: String = text.chars().take(100).collect();
        if !self.leaks.contains(&text) {
            self.leaks.push(text);
        }
    }

    fn expect(&mut self, what: &str, seen: Option<Result<Value, RedisError>>, expected: &str) {
        match seen {
            None => self.hangs.push(String::from(what)),
            Some(Err(error)) => self.leak(format!("{what} fails: {error}")),
            Some(Ok(Value::ServerError(error))) => self.leak(format!("{what} fails: {error}")),
            Some(Ok(value)) => match String::from_redis_value(value.clone()) {
                Ok(text) if text == expected => {}
                Ok(text) => self.leak(format!("{what} answers {text:?}")),
                Err(_) => self.leak(format!("{what} answers {value:?}")),
            },
        }
    }
}

type SessionView = BTreeMap<String, String>;

/// The sessions at the server, without the harness's own, by what is a session's; only this one, if its id is known.
fn sessions(server: &RedisServer, id: Option<i64>) -> Vec<SessionView> {
    let list = server.command(&["CLIENT", "LIST"]);
    let lines = list.lines().filter(|line| !line.contains(" name=harness "));
    let start = id.map_or(String::from("id="), |id| format!("id={id} "));
    lines
        .filter(|line| line.starts_with(&start))
        .map(|line| {
            let fields = line.split(' ').filter_map(|field| field.split_once('='));
            let kept = fields.filter(|(name, _)| FIELDS.contains(name));
            kept.map(|(name, value)| (String::from(name), String::from(value))).collect()
        })
        .collect()
}

/// Lets a first borrower do the deed, and looks what the next one finds.
pub(super) async fn try_deed(deed: &Deed, pool: &impl RedisPool, server: &RedisServer, handle: &Handle) -> Finding {
    let mut finding = Finding::default();
    let Some(Ok(mut first)) = within(handle, PATIENCE, pool.get()).await else {
        finding.not_done.push(String::from("no connection"));
        return finding;
    };
    let fresh = sessions(server, None);
    let protocol = if fresh.iter().any(|session| session.get("resp").is_some_and(|resp| resp == "3")) { 3 } else { 2 };
    finding.not_done = deed.commit(&mut first, protocol, handle).await;
    drop(first);
    if deed.push {
        // At once: nobody waits for it any more, and a socket that was closed by now is at its end before this arrives.
        server.command(&["RPUSH", LIST, "element"]);
        let left = server.command(&["LLEN", LIST]);
        if left != "1" {
            finding.leak(format!("LLEN {left}: the element was popped for nobody"));
        }
    }

    let asked_at = handle.now();
    let mut next = match within(handle, PATIENCE, pool.get()).await {
        Some(Ok(next)) => next,
        Some(Err(error)) => {
            finding.leak(format!("get fails: {error}"));
            return finding;
        }
        None => {
            finding.hangs.push(String::from("get"));
            return finding;
        }
    };
    finding.waited = handle.now().saturating_duration_since(asked_at);
    let mut id = redis::cmd("CLIENT");
    id.arg("ID");
    // A connection that was closed may be on the server's list for a moment yet, and is no concern of the next borrower.
    let id = match ask(&mut next, handle, &id).await {
        Some(Ok(Value::Int(id))) => Some(id),
        Some(_) | None => None,
    };
    compare(&fresh, &sessions(server, id), &mut finding);
    // The transaction of a WATCH that somebody else left open fails now.
    server.command(&["SET", KEY, VALUE]);
    speak(&mut next, handle, &mut finding).await;
    finding
}

fn compare(fresh: &[SessionView], now: &[SessionView], finding: &mut Finding) {
    let Some(fresh) = fresh.first() else { return };
    for session in now {
        for (name, value) in session {
            let before = fresh.get(name).map_or("", String::as_str);
            if before != value {
                finding.leak(format!("{name}={value}"));
            }
        }
    }
}

/// Everyday commands, each of whose replies is known.
async fn speak(next: &mut (impl ConnectionLike + Send), handle: &Handle, finding: &mut Finding) {
    for round in 1..=3 {
        let token = format!("token {round}");
        let mut echo = redis::cmd("ECHO");
        echo.arg(&token);
        finding.expect("ECHO", ask(next, handle, &echo).await, &token);
        let mut get = redis::cmd("GET");
        get.arg(KEY);
        finding.expect("GET", ask(next, handle, &get).await, VALUE);
        if !finding.hangs.is_empty() {
            return;
        }
    }
    let mut transaction = Pipeline::new();
    transaction.atomic().cmd("ECHO").arg("in a transaction");
    let count = 1;
    let committed = within(handle, PATIENCE, next.req_packed_commands(&transaction, count + 1, 1)).await;
    match committed {
        None => finding.hangs.push(String::from("EXEC")),
        Some(Ok(replies)) if replies == [Value::Array(vec![Value::BulkString(b"in a transaction".to_vec())])] => {}
        Some(Ok(replies)) if replies == [Value::Nil] => finding.leak(String::from("EXEC aborts: a WATCH is open")),
        Some(Ok(replies)) => finding.leak(format!("EXEC answers {replies:?}")),
        Some(Err(error)) => finding.leak(format!("EXEC fails: {error}")),
    }
    let mut eval = redis::cmd("EVAL");
    eval.arg("return ARGV[1]").arg(0).arg("from a script");
    finding.expect("EVAL", ask(next, handle, &eval).await, "from a script");
}

async fn ask(next: &mut (impl ConnectionLike + Send), handle: &Handle, cmd: &Cmd) -> Option<Result<Value, RedisError>> {
    within(handle, PATIENCE, next.req_packed_command(cmd)).await
}
