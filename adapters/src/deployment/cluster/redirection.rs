//! What a node's reply says about the right node: redirections, and refusals for the moment. Sends nothing.

use redis::{Arg, Cmd, ServerError, ServerErrorKind, Value};

use crate::connection::resp::answer::Replies;
use crate::deployment::router::slot_of;

/// Why a node has not carried out a command that another node would, or it would itself, later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirection {
    /// The slot has moved, to this place.
    Moved { slot: u16, to: RedirectionTarget },
    /// This key of the slot has moved already, or is to be made there.
    Ask { to: RedirectionTarget },
    /// The node is a replica: the owner is another one.
    ReadOnly,
    /// Half of its keys have moved, a slot of the cluster has no owner, or the node is loading.
    NotNow,
}

/// Host and port in a redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedirectionTarget {
    Address(String),
    /// The host of the node that was asked, with this port.
    Port(u16),
}

impl RedirectionTarget {
    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        Some(if host.is_empty() || host == "?" { Self::Port(port) } else { Self::Address(String::from(text)) })
    }

    /// The address, told by the node at `asked`.
    pub(crate) fn address(&self, asked: &str) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::Port(port) => format!("{}:{port}", asked.rsplit_once(':').map_or(asked, |(host, _)| host)),
        }
    }
}

impl Redirection {
    /// `None` if the command was carried out, or fails on every node. The error of a script is its own, with any text: the script
    /// was carried out.
    pub(crate) fn of(cmd: &Cmd, value: &Value) -> Option<Self> {
        let Value::ServerError(error) = value else { return None };
        let redirection = Self::of_error(error)?;
        let refused = !runs_a_script(cmd) || is_of_the_server(cmd, error);
        refused.then_some(redirection)
    }

    /// The same for replies that no script can give: a transaction was not carried out.
    pub(crate) fn of_error(error: &ServerError) -> Option<Self> {
        match error.kind() {
            // A malformed one is a reason to look at the topology, and to try again.
            Some(ServerErrorKind::Moved) => {
                Some(read_redirection(error).map_or(Self::NotNow, |(slot, to)| Self::Moved { slot, to }))
            }
            Some(ServerErrorKind::Ask) => Some(read_redirection(error).map_or(Self::NotNow, |(_, to)| Self::Ask { to })),
            Some(ServerErrorKind::ReadOnly) => Some(Self::ReadOnly),
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
        Some(ServerErrorKind::MasterDown) => words.starts_with("Link with MASTER is down"),
        Some(ServerErrorKind::BusyLoading) => words.ends_with(" is loading the dataset in memory"),
        Some(ServerErrorKind::ReadOnly) => words == "You can't write against a read only replica.",
        Some(_) | None => false,
    }
}

/// `3999 127.0.0.1:6381`, of a MOVED or an ASK.
fn read_redirection(error: &ServerError) -> Option<(u16, RedirectionTarget)> {
    read_slot_and_target(error.details()?)
}

/// The whole text of an error: `MOVED 3999 127.0.0.1:6381`.
pub(crate) fn read_moved(text: &str) -> Option<(u16, RedirectionTarget)> {
    read_slot_and_target(text.strip_prefix("MOVED ")?)
}

fn read_slot_and_target(text: &str) -> Option<(u16, RedirectionTarget)> {
    let mut words = text.split_ascii_whitespace();
    let slot = words.next()?.parse().ok()?;
    Some((slot, RedirectionTarget::read(words.next()?)?))
}

/// The slots that have moved, by the replies to a request whose redirections are not followed: slot and address.
pub(crate) fn moves_in(answer: &Replies) -> Vec<(u16, String)> {
    let moved = |error: &ServerError| match Redirection::of_error(error) {
        Some(Redirection::Moved { slot, to: RedirectionTarget::Address(to) }) => Some((slot, to)),
        Some(_) | None => None,
    };
    match answer {
        Replies::One(Value::ServerError(error)) => moved(error).into_iter().collect(),
        Replies::One(_) => Vec::new(),
        Replies::Many(values) => {
            let errors = values.iter().filter_map(|value| if let Value::ServerError(error) = value { Some(error) } else { None });
            errors.filter_map(moved).collect()
        }
        Replies::Refused(refused) => refused.errors.iter().filter_map(|(_, error)| moved(error)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Value {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error is a value")
    }

    fn at(address: &str) -> RedirectionTarget {
        RedirectionTarget::Address(String::from(address))
    }

    /// Seen to bite: without the look at the words.
    #[test]
    fn k1_a_script_that_answers_like_a_server_was_carried_out_all_the_same() {
        let (mut script, mut plain) = (redis::cmd("evalsha"), redis::cmd("GET"));
        script.arg("sha").arg(1).arg("foo");
        plain.arg("foo");
        let moved = answer("MOVED 12182 127.0.0.1:7001");
        let not_now = answer("TRYAGAIN Multiple keys request during rehashing of slot");
        let elsewhere = Redirection::Moved { slot: 1, to: at("127.0.0.1:7001") };
        for (text, redirection) in [("MOVED 1 127.0.0.1:7001", elsewhere), ("TRYAGAIN later", Redirection::NotNow)] {
            assert_eq!(Redirection::of(&script, &answer(text)), None, "{text}");
            assert_eq!(Redirection::of(&plain, &answer(text)), Some(redirection), "{text}");
        }
        assert_eq!(Redirection::of(&script, &moved), Some(Redirection::Moved { slot: 12182, to: at("127.0.0.1:7001") }));
        assert_eq!(Redirection::of(&script, &not_now), Some(Redirection::NotNow));
        assert_eq!(Redirection::of(&plain, &answer("ERR no")), None);
    }

    /// Seen to bite: with a host that is left out taken for a host without a name, and with a malformed one taken for an answer.
    #[test]
    fn k1_a_redirection_is_read_in_every_form() {
        let get = redis::cmd("GET");
        for (text, to) in [
            ("MOVED 7 10.0.0.1:7001", at("10.0.0.1:7001")),
            ("MOVED 7 node-1.example:7001", at("node-1.example:7001")),
            ("MOVED 7 ::1:7001", at("::1:7001")),
            ("MOVED 7 :7001", RedirectionTarget::Port(7001)),
            ("MOVED 7 ?:7001", RedirectionTarget::Port(7001)),
        ] {
            assert_eq!(Redirection::of(&get, &answer(text)), Some(Redirection::Moved { slot: 7, to }), "{text}");
        }
        assert_eq!(RedirectionTarget::Port(7).address("10.0.0.1:1"), "10.0.0.1:7");
        assert_eq!(RedirectionTarget::Port(7).address("::1:1"), "::1:7");
        let ask = answer("ASK 7 10.0.0.1:7001");
        assert_eq!(Redirection::of(&get, &ask), Some(Redirection::Ask { to: at("10.0.0.1:7001") }));
        for text in ["MOVED 7", "MOVED 7 nowhere", "MOVED x 10.0.0.1:1", "MOVED 7 10.0.0.1:0", "MOVED 70000 10.0.0.1:1"] {
            assert_eq!(Redirection::of(&get, &answer(text)), Some(Redirection::NotNow), "{text}");
        }
    }
}
