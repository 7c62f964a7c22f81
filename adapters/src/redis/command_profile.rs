//! What a borrower's commands leave on a connection, derived from their names before they are sent.

use redis::{Cmd, Pipeline, RedisResult};

use crate::connection::resp::request::Outgoing;
use crate::redis_node::commands::{Effect, effect_of};
use crate::redis_node::dirty_flags::DirtyFlags;
use crate::redis_node::pool_args::UnknownCommands;
use crate::redis_node::replies::{Mismatch, RequestForm};
use crate::redis_node::reply_timeout::ReplyTimeout;
use crate::redis_node::session::Session;

/// What is known of a command or pipeline before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandProfile {
    /// How long its reply may take.
    pub(crate) reply_timeout: ReplyTimeout,
    /// The state that it leaves on the session in the worst case.
    pub(crate) leaves: DirtyFlags,
    /// The state that it removes from the session if the reply is no error.
    pub(crate) ends: DirtyFlags,
    /// Why it must not be sent, and for which command of a pipeline.
    pub(crate) mismatch: Option<(Mismatch, Option<usize>)>,
}

impl CommandProfile {
    /// A request that leaves nothing, bounded elsewhere.
    pub(crate) const UNBOUNDED: Self =
        Self { reply_timeout: ReplyTimeout::Ordinary(None), leaves: DirtyFlags::NONE, ends: DirtyFlags::NONE, mismatch: None };

    pub(crate) fn of_command(cmd: &Cmd, session: Session) -> Self {
        let mut request = Self::of(cmd, session, RequestForm::Alone);
        if cmd.is_no_response() {
            // The caller does not wait for the reply: the command may be executed, or answered, later.
            request.leaves |= DirtyFlags::LASTING;
        }
        request
    }

    /// A pipeline may take as long as all of its commands that block, one after the other; inside MULTI the server does
    /// not block.
    pub(crate) fn of_pipeline(pipeline: &Pipeline, session: Session) -> Self {
        let atomic = pipeline.is_transaction();
        let mut now = session;
        if atomic {
            now.traces = (now.traces | DirtyFlags::MULTI).without(DirtyFlags::UNSURE);
        }
        let form = if atomic { RequestForm::InTransaction } else { RequestForm::InPipeline };
        let mut whole = Self { reply_timeout: session.ordinary(), ..Self::UNBOUNDED };
        for (index, cmd) in pipeline.cmd_iter().enumerate() {
            let next = Self::of(cmd, now, form);
            whole.reply_timeout = whole.reply_timeout.then(next.reply_timeout);
            whole.leaves |= next.leaves;
            whole.ends = (whole.ends | next.ends).without(next.leaves);
            whole.mismatch = whole.mismatch.or(next.mismatch.map(|(mismatch, _)| (mismatch, Some(index))));
            now.traces = (now.traces | next.leaves).without(next.ends);
        }
        if atomic {
            // It is sent as one piece, EXEC included.
            whole.ends |= DirtyFlags::WATCH | DirtyFlags::MULTI;
            whole.leaves = whole.leaves.without(DirtyFlags::WATCH | DirtyFlags::MULTI);
        }
        whole
    }

    /// A pipeline of which `count` replies after the first `offset` are requested.
    pub(crate) fn of_packed_commands(pipeline: &Pipeline, offset: usize, count: usize, session: Session) -> Self {
        let mut request = Self::of_pipeline(pipeline, session);
        let whole = Mismatch::of_pipeline(pipeline, offset, count, session);
        request.mismatch = request.mismatch.or(whole.map(|mismatch| (mismatch, None)));
        request
    }

    /// The command as a request.
    pub(crate) fn request(self, cmd: &Cmd) -> Outgoing<'_> {
        if self.leaves.has(DirtyFlags::LISTENS) {
            Outgoing::Subscription { cmd, confirmations: cmd.args_iter().len().saturating_sub(1) }
        } else {
            Outgoing::Command(cmd)
        }
    }

    /// An error unless the command has exactly one reply.
    pub(crate) fn check(self, cmd: &Cmd) -> RedisResult<()> {
        self.mismatch.map_or(Ok(()), |(mismatch, _)| Err(mismatch.refuse(Some(cmd))))
    }

    /// An error unless the pipeline has exactly the requested replies.
    pub(crate) fn check_pipeline(self, pipeline: &Pipeline) -> RedisResult<()> {
        let Some((mismatch, at)) = self.mismatch else { return Ok(()) };
        Err(mismatch.refuse(at.and_then(|at| pipeline.cmd_iter().nth(at))))
    }

    fn of(cmd: &Cmd, session: Session, form: RequestForm) -> Self {
        let effect = effect_of(cmd);
        let (leaves, ends) = match effect {
            Effect::None | Effect::Empty | Effect::Container(..) | Effect::Blocks(_) | Effect::Takes(_) => {
                (DirtyFlags::NONE, DirtyFlags::NONE)
            }
            Effect::Unknown => match session.unknown_commands {
                UnknownCommands::Check => (DirtyFlags::CHECK, DirtyFlags::NONE),
                UnknownCommands::Trust => (DirtyFlags::NONE, DirtyFlags::NONE),
                UnknownCommands::Refuse => (DirtyFlags::CHECK | DirtyFlags::UNKNOWN, DirtyFlags::NONE),
            },
            Effect::MayClose => (DirtyFlags::CHECK, DirtyFlags::NONE),
            Effect::Watch => (DirtyFlags::WATCH, DirtyFlags::NONE),
            Effect::Unwatch => (DirtyFlags::NONE, DirtyFlags::WATCH),
            Effect::Multi => (DirtyFlags::MULTI, DirtyFlags::NONE),
            Effect::EndMulti => (DirtyFlags::NONE, DirtyFlags::WATCH | DirtyFlags::MULTI),
            // A queued command may never be executed.
            Effect::Select if session.is_home(cmd) && !session.traces.has(DirtyFlags::MULTI) => {
                (DirtyFlags::NONE, DirtyFlags::DATABASE)
            }
            Effect::Select => (DirtyFlags::DATABASE, DirtyFlags::NONE),
            Effect::Lasting => (DirtyFlags::LASTING, DirtyFlags::NONE),
            Effect::Protocol => (DirtyFlags::LASTING | DirtyFlags::PROTOCOL, DirtyFlags::NONE),
            Effect::Subscribes => (DirtyFlags::LASTING | DirtyFlags::LISTENS, DirtyFlags::NONE),
            Effect::Uncounted => (DirtyFlags::LASTING | DirtyFlags::ASTRAY, DirtyFlags::NONE),
            // Replies arrive, but it is not known for how long.
            Effect::Reply if !cmd.is_no_response() => (DirtyFlags::LASTING, DirtyFlags::NONE),
            Effect::Reply => (DirtyFlags::LASTING | DirtyFlags::ASTRAY, DirtyFlags::NONE),
        };
        let mismatch = Mismatch::of_command(cmd, effect, form, session).map(|mismatch| (mismatch, None));
        Self { reply_timeout: session.reply_timeout(effect, cmd), leaves, ends, mismatch }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redis::ProtocolVersion;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FRESH: Session = Session {
        traces: DirtyFlags::NONE,
        home: 2,
        command_timeout: SECOND,
        protocol: ProtocolVersion::RESP3,
        unknown_commands: UnknownCommands::Check,
    };

    fn cmd(words: &str) -> Cmd {
        let mut words = words.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap_or_default());
        cmd.arg(words.collect::<Vec<_>>());
        cmd
    }

    fn request(words: &str) -> CommandProfile {
        CommandProfile::of_command(&cmd(words), FRESH)
    }

    #[test]
    fn commands_that_block_get_their_own_timeout_on_top() {
        let ordinary = ReplyTimeout::Ordinary(Some(SECOND));
        let blocking = |millis| ReplyTimeout::Blocking(Some(Duration::from_millis(millis) + SECOND));
        for (words, reply_timeout) in [
            ("GET key", ordinary),
            ("blpop a b 2.5", blocking(2_500)),
            ("BLMPOP 3 1 key LEFT", blocking(3_000)),
            ("WAIT 1 500", blocking(500)),
            ("XREAD COUNT 5 BLOCK 700 STREAMS s 0", blocking(700)),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", ReplyTimeout::Blocking(None)),
            ("XREADGROUP BLOCK 0 GROUP g c STREAMS s >", ReplyTimeout::Blocking(None)),
            ("xreadgroup noack group block streams count 5 block 700 streams s >", blocking(700)),
            ("XREAD COUNT 5 STREAMS s 0", ordinary),
            ("XREAD STREAMS block 0", ordinary),
            ("XREADGROUP GROUP block 0 STREAMS s >", ordinary),
            ("XREAD MAXCOUNT 5 MAXSIZE 100 BLOCK 700 STREAMS s 0", blocking(700)),
            ("BLMOVEM a b LEFT RIGHT 2.5", blocking(2_500)),
            ("blmovem a b LEFT RIGHT 3 COUNT 100 BULK", blocking(3_000)),
            ("BZMOVE a b MIN 2", blocking(2_000)),
            ("TS.READ series 0", ordinary),
            ("TS.READ BLOCK 700", ordinary),
            ("TS.READ BLOCK 0 MAX_COUNT 5", ordinary),
            ("ts.read block 0 max_count 5 block 700 2", blocking(700)),
            ("TS.READ series $ BLOCK 0 1", ReplyTimeout::Blocking(None)),
            ("MIGRATE host 1 key 0 900 KEYS 0", ReplyTimeout::Ordinary(Some(Duration::from_millis(1_900)))),
            ("BRPOP key 0", ReplyTimeout::Blocking(None)),
            ("BRPOP key soon", ReplyTimeout::Blocking(Some(SECOND))),
        ] {
            assert_eq!(request(words).reply_timeout, reply_timeout, "{words}");
        }
        let in_multi = Session { traces: DirtyFlags::MULTI, ..FRESH };
        assert_eq!(CommandProfile::of_command(&cmd("BLPOP a 0"), in_multi).reply_timeout, ordinary, "it is only queued");
        let unsure = Session { traces: DirtyFlags::MULTI | DirtyFlags::UNSURE, ..FRESH };
        assert_eq!(CommandProfile::of_command(&cmd("BLPOP a 2"), unsure).reply_timeout, blocking(2_000), "it may block");
    }

    #[test]
    fn a_pipeline_adds_up_what_blocks_in_it() {
        let mut pipeline = redis::pipe();
        pipeline.cmd("BLPOP").arg("a").arg(1).cmd("GET").arg("b").cmd("BLPOP").arg("a").arg(2);
        assert_eq!(CommandProfile::of_pipeline(&pipeline, FRESH).reply_timeout, ReplyTimeout::Blocking(Some(SECOND * 5)));
        pipeline.atomic();
        assert_eq!(CommandProfile::of_pipeline(&pipeline, FRESH).reply_timeout, ReplyTimeout::Ordinary(Some(SECOND)));
    }

    #[test]
    fn names_tell_what_is_left_in_any_case_and_by_subcommand() {
        for (words, leaves, ends) in [
            ("GET watch", DirtyFlags::NONE, DirtyFlags::NONE),
            ("watch a", DirtyFlags::WATCH, DirtyFlags::NONE),
            ("UnWatch", DirtyFlags::NONE, DirtyFlags::WATCH),
            ("MULTI", DirtyFlags::MULTI, DirtyFlags::NONE),
            ("exec", DirtyFlags::NONE, DirtyFlags::WATCH | DirtyFlags::MULTI),
            ("SELECT 5", DirtyFlags::DATABASE, DirtyFlags::NONE),
            ("SELECT 2", DirtyFlags::NONE, DirtyFlags::DATABASE),
            ("client id", DirtyFlags::NONE, DirtyFlags::NONE),
            ("CLIENT SETNAME x", DirtyFlags::LASTING, DirtyFlags::NONE),
            ("client no-such-thing", DirtyFlags::LASTING, DirtyFlags::NONE),
            ("client", DirtyFlags::NONE, DirtyFlags::NONE),
            ("SCRIPT LOAD x", DirtyFlags::NONE, DirtyFlags::NONE),
            ("SCRIPT DEBUG YES", DirtyFlags::LASTING | DirtyFlags::ASTRAY, DirtyFlags::NONE),
            ("hello 2", DirtyFlags::LASTING | DirtyFlags::PROTOCOL, DirtyFlags::NONE),
            ("HIMPORT PREPARE u name", DirtyFlags::LASTING, DirtyFlags::NONE),
            ("himport discard u", DirtyFlags::LASTING, DirtyFlags::NONE),
            ("HIMPORT DISCARDALL", DirtyFlags::LASTING, DirtyFlags::NONE),
            ("HIMPORT SET key u value", DirtyFlags::NONE, DirtyFlags::NONE),
            ("CLIENT KILL ID 7", DirtyFlags::CHECK, DirtyFlags::NONE),
            ("ACL DELUSER me", DirtyFlags::CHECK, DirtyFlags::NONE),
            ("ACL WHOAMI", DirtyFlags::NONE, DirtyFlags::NONE),
            ("CLUSTER FAILOVER", DirtyFlags::CHECK, DirtyFlags::NONE),
            ("CLUSTER SLOTS", DirtyFlags::NONE, DirtyFlags::NONE),
            ("no-such-command", DirtyFlags::CHECK, DirtyFlags::NONE),
        ] {
            assert_eq!((request(words).leaves, request(words).ends), (leaves, ends), "{words}");
        }
        let mut unanswered = cmd("SET a b");
        unanswered.set_no_response(true);
        assert_eq!(CommandProfile::of_command(&unanswered, FRESH).leaves, DirtyFlags::LASTING);
    }

    #[test]
    fn a_pipeline_is_read_from_its_first_command_to_its_last() {
        let of = |commands: &[&str], atomic: bool| {
            let mut pipeline = redis::pipe();
            for words in commands {
                pipeline.add_command(cmd(words));
            }
            if atomic {
                pipeline.atomic();
            }
            let CommandProfile { leaves, ends, .. } = CommandProfile::of_pipeline(&pipeline, FRESH);
            (leaves, ends)
        };
        let both = DirtyFlags::WATCH | DirtyFlags::MULTI;
        assert_eq!(of(&["WATCH a", "MULTI", "SET a b", "EXEC"], false), (both, both));
        assert_eq!(of(&["EXEC", "WATCH a"], false), (DirtyFlags::WATCH, DirtyFlags::MULTI));
        assert_eq!(of(&["SET a b"], true), (DirtyFlags::NONE, both));
        assert_eq!(of(&["WATCH a"], true), (DirtyFlags::NONE, both));
        // Whether a SELECT back home is carried out shows only after EXEC.
        assert_eq!(of(&["SELECT 5", "SELECT 2"], true), (DirtyFlags::DATABASE, both));
        assert_eq!(of(&["SELECT 5", "SELECT 2"], false), (DirtyFlags::DATABASE, DirtyFlags::DATABASE));
    }
}
