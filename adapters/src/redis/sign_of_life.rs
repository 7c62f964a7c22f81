//! What the reply to a PING proves: that the server or proxy is alive, and perhaps that replies are in step.

use redis::{ServerError, Value};

use crate::redis_node::error::ConnectError;

/// Whether a connection returns the argument of a PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Neither has been seen yet.
    Untried,
    /// It has: any other word is the reply of another command.
    Proven,
    /// A proxy answers in its place and ignores the argument.
    Missing,
}

/// Judges the reply to a PING, with or without a nonce. Any error is a sign of life, for example of a server or proxy that does
/// not support the command. The exception is an error that says that the node cannot serve us.
pub(crate) fn judge(reply: Value, nonce: Option<&str>, echo: Echo) -> Result<Echo, ConnectError> {
    match (reply, nonce) {
        (Value::ServerError(error), _) if is_no_service(&error) => {
            Err(ConnectError::Redis { step: "PING", source: error.into() })
        }
        (Value::ServerError(_), _) => Ok(echo),
        (Value::BulkString(bytes), Some(nonce)) if bytes == nonce.as_bytes() => Ok(Echo::Proven),
        (reply, None) if is_pong(&reply) => Ok(echo),
        // If a nonce was returned before, it would be returned now.
        (reply, Some(_)) if is_pong(&reply) && echo != Echo::Proven => Ok(Echo::Missing),
        (reply, _) => Err(ConnectError::WrongAnswer { answer: format!("{reply:?}") }),
    }
}

fn is_pong(reply: &Value) -> bool {
    matches!(reply, Value::SimpleString(text) if text == "PONG") || matches!(reply, Value::BulkString(bytes) if bytes == b"PONG")
}

/// Whether the error says that the node is not ready, or that we have no access.
fn is_no_service(error: &ServerError) -> bool {
    matches!(error.code(), "DENIED" | "LOADING" | "MASTERDOWN" | "NOAUTH" | "WRONGPASS")
        || error.details().is_some_and(|details| details.contains("max number of clients"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error reply")
    }

    fn nonce() -> Value {
        Value::BulkString(b"nonce".to_vec())
    }

    fn pong() -> Value {
        Value::SimpleString(String::from("PONG"))
    }

    /// Seen to bite: with the errors of today's list only (`BUSY`, `NOPERM`), and with all errors taken for life.
    #[test]
    fn h14_any_error_is_a_sign_of_life_but_those_that_say_that_there_is_no_service() {
        for line in [
            "ERR unknown command 'PING'",
            "ERR wrong number of arguments for 'ping' command",
            "BUSY Redis is busy running a script.",
            "NOPERM this user has no permissions",
            "unsupported command 'ping'",
            "MISCONF Redis is configured to save RDB snapshots",
        ] {
            for echo in [Echo::Untried, Echo::Proven, Echo::Missing] {
                assert_eq!(judge(error(line), Some("nonce"), echo).ok(), Some(echo), "{line}");
                assert_eq!(judge(error(line), None, echo).ok(), Some(echo), "{line}");
            }
        }
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Socket with MASTER is down",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair",
            "DENIED Redis is running in protected mode",
            "ERR max number of clients reached",
        ] {
            assert!(matches!(judge(error(line), Some("nonce"), Echo::Untried), Err(ConnectError::Redis { .. })), "{line}");
        }
    }

    /// Seen to bite: with `PONG` taken for an answer whatever was proven, and with any bulk string taken for the nonce.
    #[test]
    fn a_nonce_that_has_come_back_once_must_come_back_always() {
        let judged = |reply, echo| judge(reply, Some("nonce"), echo).ok();
        assert_eq!(judged(nonce(), Echo::Untried), Some(Echo::Proven));
        assert_eq!(judged(nonce(), Echo::Missing), Some(Echo::Proven));
        assert_eq!(judged(pong(), Echo::Untried), Some(Echo::Missing));
        assert_eq!(judged(pong(), Echo::Missing), Some(Echo::Missing));
        assert_eq!(judged(pong(), Echo::Proven), None);
        for wrong in
            [Value::BulkString(b"another".to_vec()), Value::Okay, Value::Nil, Value::SimpleString(String::from("QUEUED"))]
        {
            assert_eq!(judged(wrong.clone(), Echo::Untried), None, "{wrong:?}");
            assert_eq!(judge(wrong, None, Echo::Untried).ok(), None);
        }
        assert_eq!(judge(pong(), None, Echo::Proven).ok(), Some(Echo::Proven));
        assert_eq!(judge(nonce(), None, Echo::Proven).ok(), None, "nothing was given to come back");
    }
}
