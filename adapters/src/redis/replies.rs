//! The number of replies to a request: a request with another number than expected is refused before it is sent.
//!
//! Replies are assigned to requests by counting. A request with more replies than expected leaves the rest to later requests,
//! and one with fewer takes theirs.

use redis::{Arg, Cmd, ErrorKind, Pipeline, ProtocolVersion, RedisError};

use crate::redis_node::commands::Effect;
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::session::Session;

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestForm {
    Alone,
    /// In a pipeline: one reply is expected for each command.
    InPipeline,
    /// In an atomic pipeline.
    InTransaction,
}

/// Why the replies would not be the expected ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Another number of replies is requested than the pipeline has.
    Count,
    /// The request has no commands.
    Empty,
    /// The command has no reply, or more than one.
    Uncounted,
    /// A command without a response in a pipeline. Pipelines wait for all replies.
    NoResponse,
    /// A transaction would begin or end within another.
    Transaction,
    /// After an earlier command there are replies that belong to no command.
    Astray,
}

impl Mismatch {
    /// For one command and its effect.
    pub(crate) fn of_command(cmd: &Cmd, effect: Effect, form: RequestForm, session: Session) -> Option<Self> {
        if is_astray(session) {
            return Some(Self::Astray);
        }
        let alone = form == RequestForm::Alone;
        match effect {
            _ if !alone && cmd.is_no_response() => Some(Self::NoResponse),
            Effect::Empty => Some(Self::Empty),
            Effect::Subscribes => {
                let is_one = cmd.args_iter().len() == 2 && alone && !session.traces.has(DirtyFlags::MULTI);
                (!is_one).then_some(Self::Uncounted)
            }
            Effect::Uncounted => (!alone).then_some(Self::Uncounted),
            Effect::Reply => {
                let is_counted = is_on(cmd) || (alone && cmd.is_no_response());
                (!is_counted).then_some(Self::Uncounted)
            }
            Effect::Multi | Effect::EndMulti | Effect::Protocol if form == RequestForm::InTransaction => Some(Self::Transaction),
            Effect::None
            | Effect::Unknown
            | Effect::Watch
            | Effect::Unwatch
            | Effect::Multi
            | Effect::EndMulti
            | Effect::Select
            | Effect::Blocks(_)
            | Effect::Takes(_)
            | Effect::MayClose
            | Effect::Lasting
            | Effect::Protocol
            | Effect::Container(..) => None,
        }
    }

    /// For a pipeline as a whole, of which `count` replies after the first `offset` are requested: they must be all replies, or
    /// the one to EXEC.
    pub(crate) fn of_pipeline(pipeline: &Pipeline, offset: usize, count: usize, session: Session) -> Option<Self> {
        let atomic = pipeline.is_transaction();
        let right = if atomic { (pipeline.len() + 1, 1) } else { (0, pipeline.len()) };
        if pipeline.is_empty() && !atomic {
            Some(Self::Empty)
        } else if (offset, count) != right {
            Some(Self::Count)
        } else if atomic && session.is_in_transaction() {
            Some(Self::Transaction)
        } else {
            None
        }
    }

    /// The error. It names the command, if there is one.
    pub(crate) fn refuse(self, cmd: Option<&Cmd>) -> RedisError {
        let text = match self {
            Self::Count => {
                "not sent: request exactly the replies of a pipeline: one for each command, from the first one on; of an atomic \
                 pipeline, the reply to EXEC"
            }
            Self::Empty => "not sent: an empty command or pipeline has no reply",
            Self::Uncounted => "not sent: the command does not have exactly one reply",
            Self::NoResponse => "not sent: a pipeline waits for the replies to all of its commands, and this one has no response",
            Self::Transaction => {
                "not sent: an atomic pipeline is one transaction: it cannot contain another one, or be part of one"
            }
            Self::Astray => "not sent: an earlier command makes replies on this connection ambiguous; get another client",
        };
        match cmd {
            Some(cmd) => RedisError::from((ErrorKind::Client, text, name_of(cmd))),
            None => RedisError::from((ErrorKind::Client, text)),
        }
    }
}

/// The name of a command in upper case, for errors.
pub(crate) fn name_of(cmd: &Cmd) -> String {
    match cmd.args_iter().next() {
        Some(Arg::Simple(word)) => String::from_utf8_lossy(word).to_uppercase(),
        Some(Arg::Cursor | _) | None => String::new(),
    }
}

/// Whether the next data on the stream may be no reply. Only RESP3 marks published messages.
fn is_astray(session: Session) -> bool {
    let traces = session.traces;
    let is_plain = session.protocol == ProtocolVersion::RESP2 || traces.has(DirtyFlags::PROTOCOL);
    traces.has(DirtyFlags::ASTRAY) || (traces.has(DirtyFlags::LISTENS) && is_plain)
}

/// Whether the second argument is ON.
fn is_on(cmd: &Cmd) -> bool {
    matches!(cmd.args_iter().nth(2), Some(Arg::Simple(word)) if word.eq_ignore_ascii_case(b"ON"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::redis_node::command_profile::CommandProfile;
    use crate::redis_node::pool_args::UnknownCommands;

    const FRESH: Session = Session {
        traces: DirtyFlags::NONE,
        home: 0,
        command_timeout: Duration::from_secs(1),
        protocol: ProtocolVersion::RESP3,
        unknown_commands: UnknownCommands::Check,
    };

    fn cmd(words: &str) -> Cmd {
        let mut cmd = Cmd::new();
        for word in words.split_whitespace() {
            match word {
                "(no-response)" => cmd.set_no_response(true),
                word => cmd.arg(word),
            };
        }
        cmd
    }

    fn pipeline(commands: &str, atomic: bool) -> Pipeline {
        let mut pipeline = Pipeline::new();
        commands.split('|').for_each(|words| {
            pipeline.add_command(cmd(words));
        });
        if atomic {
            pipeline.atomic();
        }
        pipeline
    }

    /// Requests the replies as the redis crate does.
    fn is_sent(commands: &str, atomic: bool, session: Session) -> bool {
        let pipeline = pipeline(commands, atomic);
        let (offset, count) = if atomic { (pipeline.len() + 1, 1) } else { (0, pipeline.len()) };
        CommandProfile::of_packed_commands(&pipeline, offset, count, session).check_pipeline(&pipeline).is_ok()
    }

    /// Guards against: with offset and count taken together, and with either left out.
    #[test]
    fn l10_a_pipeline_is_asked_for_all_of_its_replies_and_an_atomic_one_for_the_one_to_exec() {
        for (atomic, offset, count) in [(false, 0, 3), (true, 4, 1)] {
            let pipeline = pipeline("GET a|GET b|GET c", atomic);
            for (asked_offset, asked_count) in
                (0..7).flat_map(|offset| (0..7).map(move |count| (offset, count))).chain([(usize::MAX, 1), (0, usize::MAX)])
            {
                let request = CommandProfile::of_packed_commands(&pipeline, asked_offset, asked_count, FRESH);
                let right = (asked_offset, asked_count) == (offset, count);
                assert_eq!(request.check_pipeline(&pipeline).is_ok(), right, "{atomic} {asked_offset} {asked_count}");
            }
        }
    }

    #[test]
    fn l10_what_has_not_one_reply_for_each_command_is_sent_in_no_pipeline() {
        let rows = [
            "SUBSCRIBE a",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE a b",
            "MONITOR",
            "SYNC",
            "PSYNC ? -1",
            "REPLCONF ACK 1",
            "CLUSTER SYNCSLOTS ACK",
            "SCRIPT DEBUG YES",
            "CLIENT REPLY OFF",
            "client reply skip",
            "CLIENT REPLY OFF (no-response)",
            "SET a b (no-response)",
            "",
        ];
        for words in rows {
            for atomic in [false, true] {
                for row in [words.to_string(), format!("GET a|{words}"), format!("{words}|GET a")] {
                    assert!(!is_sent(&row, atomic, FRESH), "{row}, {atomic}");
                }
            }
        }
        for words in ["CLIENT REPLY ON", "GET a", "HELLO 2", "no-such-command", "MULTI|GET a|EXEC"] {
            assert!(is_sent(words, false, FRESH), "{words}");
        }
        assert!(CommandProfile::of_packed_commands(&Pipeline::new(), 0, 0, FRESH).check_pipeline(&Pipeline::new()).is_err());
    }

    #[test]
    fn l10_an_atomic_pipeline_is_within_no_transaction_and_has_none_within() {
        for words in ["MULTI", "GET a|EXEC", "DISCARD|GET a", "reset"] {
            assert!(!is_sent(words, true, FRESH), "{words}");
        }
        let open = Session { traces: DirtyFlags::MULTI, ..FRESH };
        assert!(!is_sent("GET a", true, open));
        assert!(is_sent("GET a|EXEC", false, open));
        // It may have ended: a caller that cannot be sure must be able to go on.
        assert!(is_sent("GET a", true, Session { traces: DirtyFlags::MULTI | DirtyFlags::UNSURE, ..FRESH }));
    }

    #[test]
    fn l10_a_command_alone_is_sent_if_it_has_the_reply_that_is_waited_for() {
        let is_sent = |words, session| CommandProfile::of_command(&cmd(words), session).check(&cmd(words)).is_ok();
        for words in ["MONITOR", "SUBSCRIBE a", "CLIENT REPLY ON", "CLIENT REPLY OFF (no-response)", "SET a b (no-response)"] {
            assert!(is_sent(words, FRESH), "{words}");
        }
        for words in ["", "SUBSCRIBE a b", "SUBSCRIBE", "UNSUBSCRIBE", "CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
            assert!(!is_sent(words, FRESH), "{words}");
        }
        assert!(!is_sent("SUBSCRIBE a", Session { traces: DirtyFlags::MULTI, ..FRESH }), "one in the reply to EXEC");
    }

    /// Guards against: with a check that looks at the protocol only as it was at first.
    #[test]
    fn l10_nothing_is_sent_any_more_where_replies_may_be_to_no_command() {
        for (protocol, before, sent) in [
            (ProtocolVersion::RESP3, "MONITOR", false),
            (ProtocolVersion::RESP3, "CLIENT REPLY OFF (no-response)", false),
            (ProtocolVersion::RESP3, "SCRIPT DEBUG YES", false),
            (ProtocolVersion::RESP3, "SUBSCRIBE a", true),
            (ProtocolVersion::RESP3, "SUBSCRIBE a|HELLO 2", false),
            (ProtocolVersion::RESP3, "RESET|SUBSCRIBE a", false),
            (ProtocolVersion::RESP2, "SUBSCRIBE a", false),
            (ProtocolVersion::RESP2, "HELLO 3", true),
        ] {
            let mut session = Session { protocol, ..FRESH };
            for words in before.split('|') {
                session.traces |= CommandProfile::of_command(&cmd(words), session).leaves;
            }
            let error = CommandProfile::of_command(&cmd("get a"), session).check(&cmd("get a"));
            assert_eq!(error.is_ok(), sent, "{protocol:?} {before}");
            if let Err(error) = error {
                assert_eq!((error.kind(), error.detail()), (ErrorKind::Client, Some("GET")), "{error}");
            }
        }
    }
}
