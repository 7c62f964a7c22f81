//! What a borrower's commands leave on a connection, known from their names before they are sent.

use std::time::Duration;

use redis::{Arg, Cmd, Pipeline, ProtocolVersion, RedisResult};

use crate::redis_node::PoolArgs;
use crate::redis_node::commands::{Effect, effect_of};
use crate::redis_node::patience::Patience;
use crate::redis_node::pool_args::UnknownCommands;
use crate::redis_node::replies::{Form, Mismatch};
pub(crate) use crate::redis_node::traces::Traces;

/// What is known of a command or pipeline before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// How long its reply may take.
    pub(crate) patience: Patience,
    /// What it leaves on the session if the worst comes of it.
    pub(crate) leaves: Traces,
    /// What is gone from the session once it has been answered without an error.
    pub(crate) ends: Traces,
    /// Why it must not be sent, and for which command of a pipeline.
    pub(crate) mismatch: Option<(Mismatch, Option<usize>)>,
}

impl Request {
    /// A request that leaves nothing, bounded by somebody else.
    pub(crate) const UNBOUNDED: Self =
        Self { patience: Patience::Ordinary(None), leaves: Traces::NONE, ends: Traces::NONE, mismatch: None };

    pub(crate) fn of_command(cmd: &Cmd, session: Session) -> Self {
        let mut request = Self::of(cmd, session, Form::Alone);
        if cmd.is_no_response() {
            // Nobody waits for its reply: it may still be carried out, or answered.
            request.leaves |= Traces::LASTING;
        }
        request
    }

    /// A pipeline may take as long as all of its commands that block, one after the other; inside MULTI the server does
    /// not block.
    pub(crate) fn of_pipeline(pipeline: &Pipeline, session: Session) -> Self {
        let atomic = pipeline.is_transaction();
        let mut now = session;
        if atomic {
            now.traces = (now.traces | Traces::MULTI).without(Traces::UNSURE);
        }
        let form = if atomic { Form::InTransaction } else { Form::InPipeline };
        let mut whole = Self { patience: session.ordinary(), ..Self::UNBOUNDED };
        for (index, cmd) in pipeline.cmd_iter().enumerate() {
            let next = Self::of(cmd, now, form);
            whole.patience = whole.patience.then(next.patience);
            whole.leaves |= next.leaves;
            whole.ends = (whole.ends | next.ends).without(next.leaves);
            whole.mismatch = whole.mismatch.or(next.mismatch.map(|(mismatch, _)| (mismatch, Some(index))));
            now.traces = (now.traces | next.leaves).without(next.ends);
        }
        if atomic {
            // It is sent as one piece, EXEC included.
            whole.ends |= Traces::WATCH | Traces::MULTI;
            whole.leaves = whole.leaves.without(Traces::WATCH | Traces::MULTI);
        }
        whole
    }

    /// As it was asked for: `count` replies behind the first `offset`.
    pub(crate) fn of_packed_commands(pipeline: &Pipeline, offset: usize, count: usize, session: Session) -> Self {
        let mut request = Self::of_pipeline(pipeline, session);
        let whole = Mismatch::of_pipeline(pipeline, offset, count, session);
        request.mismatch = request.mismatch.or(whole.map(|mismatch| (mismatch, None)));
        request
    }

    /// An error if the command has not the one reply that is waited for.
    pub(crate) fn check(self, cmd: &Cmd) -> RedisResult<()> {
        self.mismatch.map_or(Ok(()), |(mismatch, _)| Err(mismatch.refuse(Some(cmd))))
    }

    /// An error if the pipeline has not the replies that are waited for.
    pub(crate) fn check_pipeline(self, pipeline: &Pipeline) -> RedisResult<()> {
        let Some((mismatch, at)) = self.mismatch else { return Ok(()) };
        Err(mismatch.refuse(at.and_then(|at| pipeline.cmd_iter().nth(at))))
    }

    fn of(cmd: &Cmd, session: Session, form: Form) -> Self {
        let effect = effect_of(cmd);
        let (leaves, ends) = match effect {
            Effect::None | Effect::Empty | Effect::Container(..) | Effect::Blocks(_) | Effect::Takes(_) => {
                (Traces::NONE, Traces::NONE)
            }
            Effect::Unknown => match session.unknown_commands {
                UnknownCommands::Check => (Traces::CHECK, Traces::NONE),
                UnknownCommands::Trust => (Traces::NONE, Traces::NONE),
                UnknownCommands::Refuse => (Traces::CHECK | Traces::UNKNOWN, Traces::NONE),
            },
            Effect::MayClose => (Traces::CHECK, Traces::NONE),
            Effect::Watch => (Traces::WATCH, Traces::NONE),
            Effect::Unwatch => (Traces::NONE, Traces::WATCH),
            Effect::Multi => (Traces::MULTI, Traces::NONE),
            Effect::EndMulti => (Traces::NONE, Traces::WATCH | Traces::MULTI),
            // Queued, it may never be carried out.
            Effect::Select if session.is_home(cmd) && !session.traces.has(Traces::MULTI) => (Traces::NONE, Traces::DATABASE),
            Effect::Select => (Traces::DATABASE, Traces::NONE),
            Effect::Lasting => (Traces::LASTING, Traces::NONE),
            Effect::Protocol => (Traces::LASTING | Traces::PROTOCOL, Traces::NONE),
            Effect::Subscribes => (Traces::LASTING | Traces::LISTENS, Traces::NONE),
            Effect::Uncounted => (Traces::LASTING | Traces::ASTRAY, Traces::NONE),
            // Replies come, but for how long?
            Effect::Reply if !cmd.is_no_response() => (Traces::LASTING, Traces::NONE),
            Effect::Reply => (Traces::LASTING | Traces::ASTRAY, Traces::NONE),
        };
        let mismatch = Mismatch::of_command(cmd, effect, form, session).map(|mismatch| (mismatch, None));
        Self { patience: session.patience(effect, cmd), leaves, ends, mismatch }
    }
}

/// What a request finds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) traces: Traces,
    /// The database that the node's URL names.
    pub(crate) home: i64,
    pub(crate) command_timeout: Duration,
    /// As it was when the connection was made.
    pub(crate) protocol: ProtocolVersion,
    pub(crate) unknown_commands: UnknownCommands,
}

impl Session {
    /// Of a new connection.
    pub(crate) fn fresh(args: &PoolArgs, protocol: ProtocolVersion, home: i64) -> Self {
        let &PoolArgs { command_timeout, unknown_commands, .. } = args;
        Self { traces: Traces::NONE, home, command_timeout, protocol, unknown_commands }
    }

    /// Whether a transaction is known to be open.
    pub(crate) fn is_in_transaction(self) -> bool {
        self.traces.has(Traces::MULTI) && !self.traces.has(Traces::UNSURE)
    }

    fn ordinary(self) -> Patience {
        Patience::Ordinary(Some(self.command_timeout))
    }

    fn patience(self, effect: Effect, cmd: &Cmd) -> Patience {
        let (timeout, blocks) = match effect {
            // Inside MULTI it is only queued.
            Effect::Blocks(_) | Effect::Takes(_) if self.is_in_transaction() => return self.ordinary(),
            Effect::Blocks(timeout) => (timeout, true),
            Effect::Takes(timeout) => (timeout, false),
            Effect::None | Effect::Watch | Effect::Unwatch | Effect::Multi | Effect::EndMulti => return self.ordinary(),
            Effect::Select | Effect::Lasting | Effect::Container(..) | Effect::Protocol => return self.ordinary(),
            Effect::Empty | Effect::Unknown | Effect::MayClose => return self.ordinary(),
            Effect::Subscribes | Effect::Uncounted | Effect::Reply => return self.ordinary(),
        };
        match timeout.read(cmd) {
            None if blocks && timeout.is_certain() => Patience::Blocking(Some(self.command_timeout)),
            None => self.ordinary(),
            Some(Duration::ZERO) if blocks => Patience::Blocking(None),
            Some(own) if blocks => Patience::Blocking(Some(own.saturating_add(self.command_timeout))),
            Some(own) => Patience::Ordinary(Some(own.saturating_add(self.command_timeout))),
        }
    }

    /// Whether a SELECT names the database that the connection began with.
    fn is_home(self, cmd: &Cmd) -> bool {
        match cmd.args_iter().nth(1) {
            Some(Arg::Simple(number)) => number == self.home.to_string().as_bytes(),
            Some(Arg::Cursor | _) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FRESH: Session = Session {
        traces: Traces::NONE,
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

    fn request(words: &str) -> Request {
        Request::of_command(&cmd(words), FRESH)
    }

    #[test]
    fn commands_that_block_get_their_own_timeout_on_top() {
        let ordinary = Patience::Ordinary(Some(SECOND));
        let blocking = |millis| Patience::Blocking(Some(Duration::from_millis(millis) + SECOND));
        for (words, patience) in [
            ("GET key", ordinary),
            ("blpop a b 2.5", blocking(2_500)),
            ("BLMPOP 3 1 key LEFT", blocking(3_000)),
            ("WAIT 1 500", blocking(500)),
            ("XREAD COUNT 5 BLOCK 700 STREAMS s 0", blocking(700)),
            ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", Patience::Blocking(None)),
            ("XREADGROUP BLOCK 0 GROUP g c STREAMS s >", Patience::Blocking(None)),
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
            ("TS.READ series $ BLOCK 0 1", Patience::Blocking(None)),
            ("MIGRATE host 1 key 0 900 KEYS 0", Patience::Ordinary(Some(Duration::from_millis(1_900)))),
            ("BRPOP key 0", Patience::Blocking(None)),
            ("BRPOP key soon", Patience::Blocking(Some(SECOND))),
        ] {
            assert_eq!(request(words).patience, patience, "{words}");
        }
        let in_multi = Session { traces: Traces::MULTI, ..FRESH };
        assert_eq!(Request::of_command(&cmd("BLPOP a 0"), in_multi).patience, ordinary, "it is only queued");
        let unsure = Session { traces: Traces::MULTI | Traces::UNSURE, ..FRESH };
        assert_eq!(Request::of_command(&cmd("BLPOP a 2"), unsure).patience, blocking(2_000), "it may block");
    }

    #[test]
    fn a_pipeline_adds_up_what_blocks_in_it() {
        let mut pipeline = redis::pipe();
        pipeline.cmd("BLPOP").arg("a").arg(1).cmd("GET").arg("b").cmd("BLPOP").arg("a").arg(2);
        assert_eq!(Request::of_pipeline(&pipeline, FRESH).patience, Patience::Blocking(Some(SECOND * 5)));
        pipeline.atomic();
        assert_eq!(Request::of_pipeline(&pipeline, FRESH).patience, Patience::Ordinary(Some(SECOND)));
    }

    #[test]
    fn names_tell_what_is_left_in_any_case_and_by_subcommand() {
        for (words, leaves, ends) in [
            ("GET watch", Traces::NONE, Traces::NONE),
            ("watch a", Traces::WATCH, Traces::NONE),
            ("UnWatch", Traces::NONE, Traces::WATCH),
            ("MULTI", Traces::MULTI, Traces::NONE),
            ("exec", Traces::NONE, Traces::WATCH | Traces::MULTI),
            ("SELECT 5", Traces::DATABASE, Traces::NONE),
            ("SELECT 2", Traces::NONE, Traces::DATABASE),
            ("client id", Traces::NONE, Traces::NONE),
            ("CLIENT SETNAME x", Traces::LASTING, Traces::NONE),
            ("client no-such-thing", Traces::LASTING, Traces::NONE),
            ("client", Traces::NONE, Traces::NONE),
            ("SCRIPT LOAD x", Traces::NONE, Traces::NONE),
            ("SCRIPT DEBUG YES", Traces::LASTING | Traces::ASTRAY, Traces::NONE),
            ("hello 2", Traces::LASTING | Traces::PROTOCOL, Traces::NONE),
            ("HIMPORT PREPARE u name", Traces::LASTING, Traces::NONE),
            ("himport discard u", Traces::LASTING, Traces::NONE),
            ("HIMPORT DISCARDALL", Traces::LASTING, Traces::NONE),
            ("HIMPORT SET key u value", Traces::NONE, Traces::NONE),
            ("CLIENT KILL ID 7", Traces::CHECK, Traces::NONE),
            ("ACL DELUSER me", Traces::CHECK, Traces::NONE),
            ("ACL WHOAMI", Traces::NONE, Traces::NONE),
            ("CLUSTER FAILOVER", Traces::CHECK, Traces::NONE),
            ("CLUSTER SLOTS", Traces::NONE, Traces::NONE),
            ("no-such-command", Traces::CHECK, Traces::NONE),
        ] {
            assert_eq!((request(words).leaves, request(words).ends), (leaves, ends), "{words}");
        }
        let mut unanswered = cmd("SET a b");
        unanswered.set_no_response(true);
        assert_eq!(Request::of_command(&unanswered, FRESH).leaves, Traces::LASTING);
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
            let Request { leaves, ends, .. } = Request::of_pipeline(&pipeline, FRESH);
            (leaves, ends)
        };
        let both = Traces::WATCH | Traces::MULTI;
        assert_eq!(of(&["WATCH a", "MULTI", "SET a b", "EXEC"], false), (both, both));
        assert_eq!(of(&["EXEC", "WATCH a"], false), (Traces::WATCH, Traces::MULTI));
        assert_eq!(of(&["SET a b"], true), (Traces::NONE, both));
        assert_eq!(of(&["WATCH a"], true), (Traces::NONE, both));
        // Whether a SELECT back home is carried out shows only after EXEC.
        assert_eq!(of(&["SELECT 5", "SELECT 2"], true), (Traces::DATABASE, both));
        assert_eq!(of(&["SELECT 5", "SELECT 2"], false), (Traces::DATABASE, Traces::DATABASE));
    }
}
