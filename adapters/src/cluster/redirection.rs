//! What a node's reply says about the right node: redirections, and temporary refusals. Sends nothing.

use redis::{Arg, Cmd, ServerError, ServerErrorKind, Value};

use crate::cluster::map;
use crate::cluster::nodes::Cluster;
use crate::cluster::topology::slot_of;
use crate::connection::resp::answer::Replies;

/// Why a node has not executed a command that another node would execute, or it would itself, later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirection {
    /// The slot, or this key of it, has moved.
    Elsewhere,
    /// Half of its keys have moved, a slot of the cluster has no owner, or the node is loading.
    NotNow,
}

impl Redirection {
    /// `None` if the command was executed, or fails on every node. The error of a script is its own, with any text: the script
    /// was executed.
    pub(crate) fn of(cmd: &Cmd, value: &Value) -> Option<Self> {
        let Value::ServerError(error) = value else { return None };
        let refusal = Self::of_error(error)?;
        let refused = !runs_a_script(cmd) || is_of_the_server(cmd, error);
        refused.then_some(refusal)
    }

    /// The same for replies that no script can give: a transaction was not executed.
    pub(crate) fn of_error(error: &ServerError) -> Option<Self> {
        match error.kind() {
            Some(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::ReadOnly) => Some(Self::Elsewhere),
            Some(
                ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
            ) => Some(Self::NotNow),
            Some(_) | None => None,
        }
    }
}

fn runs_a_script(cmd: &Cmd) -> bool {
    const NAMES: [&[u8]; 6] = [b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"];
    match cmd.args_iter().next() {
        Some(Arg::Simple(name)) => NAMES.iter().any(|other| name.eq_ignore_ascii_case(other)),
        Some(Arg::Cursor | _) | None => false,
    }
}

/// Whether a script's command was answered with an error that servers use before they run a script.
fn is_of_the_server(script: &Cmd, error: &ServerError) -> bool {
    let words = error.details().unwrap_or_default();
    match error.kind() {
        Some(ServerErrorKind::Moved | ServerErrorKind::Ask) => match (script.args_iter().nth(3), read_redirection(error)) {
            (Some(Arg::Simple(key)), Some((slot, _))) => slot_of(key) == slot,
            (_, _) => false,
        },
        Some(ServerErrorKind::TryAgain) => words == "Multiple keys request during rehashing of slot",
        Some(ServerErrorKind::ClusterDown) => words.starts_with("The cluster is down") || words == "Hash slot not served",
        Some(ServerErrorKind::MasterDown) => words.starts_with("Socket with MASTER is down"),
        Some(ServerErrorKind::BusyLoading) => words.ends_with(" is loading the dataset in memory"),
        Some(ServerErrorKind::ReadOnly) => words == "You can't write against a read only replica.",
        Some(_) | None => false,
    }
}

/// `3999 127.0.0.1:6381`, of a MOVED or an ASK.
pub(crate) fn read_redirection(error: &ServerError) -> Option<(u16, &str)> {
    let mut words = error.details()?.split_ascii_whitespace();
    let slot = words.next()?.parse().ok()?;
    // A node that has not learned its own host leaves it out.
    words.next().filter(|to| !to.starts_with(':')).map(|to| (slot, to))
}

/// The same error in a form that the redis crate passes on: it would send the command again after some errors.
pub(crate) fn tell(value: Value) -> Value {
    let Value::ServerError(error) = value else { return value };
    let passed_on = redis::make_extension_error(String::from(error.code()), error.details().map(String::from));
    Value::ServerError(ServerError::try_from(passed_on).unwrap_or(error))
}

/// Notes what a reply of a cluster's node says about slots.
pub(crate) fn note_redirections(cluster: u64, answer: &Replies) {
    let redirected = |error: &ServerError| {
        if error.kind() == Some(ServerErrorKind::Moved)
            && let Some(cluster) = map::find(cluster)
        {
            note_moved(&cluster, error);
        }
    };
    match answer {
        Replies::One(_) | Replies::Many(_) => answer.values().iter().for_each(|value| {
            if let Value::ServerError(error) = value {
                redirected(error);
            }
        }),
        Replies::Refused(refused) => refused.errors.iter().for_each(|(_, error)| redirected(error)),
    }
}

/// Notes where a slot is now, if the error says so.
pub(crate) fn note_moved(cluster: &Cluster, error: &ServerError) {
    if error.kind() == Some(ServerErrorKind::Moved)
        && let Some((slot, to)) = read_redirection(error)
    {
        cluster.moved(slot, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Value {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error is a value")
    }

    /// Seen to bite: without the look at the words.
    #[test]
    fn a_script_that_answers_like_a_server_was_carried_out_all_the_same() {
        let (mut script, mut plain) = (redis::cmd("evalsha"), redis::cmd("GET"));
        script.arg("sha").arg(1).arg("foo");
        plain.arg("foo");
        let moved = answer("MOVED 12182 127.0.0.1:7001");
        let not_now = answer("TRYAGAIN Multiple keys request during rehashing of slot");
        for (text, refusal) in [("MOVED 1 127.0.0.1:7001", Redirection::Elsewhere), ("TRYAGAIN later", Redirection::NotNow)] {
            assert_eq!(Redirection::of(&script, &answer(text)), None, "{text}");
            assert_eq!(Redirection::of(&plain, &answer(text)), Some(refusal), "{text}");
        }
        assert_eq!(Redirection::of(&script, &moved), Some(Redirection::Elsewhere));
        assert_eq!(Redirection::of(&script, &not_now), Some(Redirection::NotNow));
        assert_eq!(Redirection::of(&plain, &answer("ERR no")), None);
        assert!(matches!(tell(moved), Value::ServerError(error) if error.code() == "MOVED" && error.kind().is_none()));
    }
}
