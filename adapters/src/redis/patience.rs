//! How long a command may take: ordinary ones `command_timeout`, those that block on the server their own time on top.

use std::time::Duration;

use redis::{Arg, Cmd, Pipeline};

use crate::redis_node::connection::Patience;

/// Where a command that blocks carries its timeout.
enum Timeout {
    /// The last argument, in seconds.
    LastSeconds,
    /// The first argument, in seconds.
    FirstSeconds,
    /// The last argument, in milliseconds.
    LastMillis,
    /// The argument of this number, counted from the name, in milliseconds.
    Millis(usize),
    /// After the word BLOCK among the options, in milliseconds; without it the command does not block. The options begin
    /// at the argument of this number and end with the word STREAMS.
    AfterBlock(usize),
}

/// The commands that wait on the server by their nature, as listed in the server's own documentation.
const BLOCKING: [(&str, Timeout); 13] = [
    ("BLMOVE", Timeout::LastSeconds),
    ("BLMPOP", Timeout::FirstSeconds),
    ("BLPOP", Timeout::LastSeconds),
    ("BRPOP", Timeout::LastSeconds),
    ("BRPOPLPUSH", Timeout::LastSeconds),
    ("BZMPOP", Timeout::FirstSeconds),
    ("BZPOPMAX", Timeout::LastSeconds),
    ("BZPOPMIN", Timeout::LastSeconds),
    ("MIGRATE", Timeout::Millis(5)),
    ("WAIT", Timeout::LastMillis),
    ("WAITAOF", Timeout::LastMillis),
    ("XREAD", Timeout::AfterBlock(1)),
    ("XREADGROUP", Timeout::AfterBlock(4)),
];

pub(crate) fn of_command(cmd: &Cmd, command_timeout: Duration) -> Patience {
    let mut args = cmd.args_iter();
    let Some(Arg::Simple(name)) = args.next() else { return Patience::Ordinary(command_timeout) };
    let Some((_, timeout)) = BLOCKING.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)) else {
        return Patience::Ordinary(command_timeout);
    };
    let seconds = |arg: Option<Arg<&[u8]>>| number(arg).and_then(|number| Duration::try_from_secs_f64(number).ok());
    let millis = |arg: Option<Arg<&[u8]>>| seconds(arg).map(|length| length / 1_000);
    let own = match timeout {
        Timeout::LastSeconds => seconds(args.last()),
        Timeout::FirstSeconds => seconds(args.next()),
        Timeout::LastMillis => millis(args.last()),
        Timeout::Millis(number) => millis(args.nth(number - 1)),
        Timeout::AfterBlock(options) => {
            let is = |arg: &Arg<&[u8]>, word: &[u8]| matches!(arg, Arg::Simple(text) if text.eq_ignore_ascii_case(word));
            let mut options = args.skip(options - 1).take_while(|arg| !is(arg, b"STREAMS"));
            let block = options.find(|arg| is(arg, b"BLOCK"));
            block.and_then(|_| millis(options.next()))
        }
    };
    match own {
        // Not a number: the server will say so without waiting.
        None => Patience::Ordinary(command_timeout),
        Some(Duration::ZERO) => Patience::Blocking(None),
        Some(own) => Patience::Blocking(Some(own.saturating_add(command_timeout))),
    }
}

/// A pipeline may take as long as the most patient of its commands; inside MULTI the server does not block.
pub(crate) fn of_pipeline(pipeline: &Pipeline, command_timeout: Duration) -> Patience {
    let ordinary = Patience::Ordinary(command_timeout);
    if pipeline.is_transaction() {
        return ordinary;
    }
    pipeline.cmd_iter().map(|cmd| of_command(cmd, command_timeout)).fold(ordinary, |most, next| match (most, next) {
        (most, Patience::Ordinary(_)) => most,
        (Patience::Ordinary(_), blocking) => blocking,
        (Patience::Blocking(None), _) | (_, Patience::Blocking(None)) => Patience::Blocking(None),
        // One after the other.
        (Patience::Blocking(Some(one)), Patience::Blocking(Some(other))) => Patience::Blocking(Some(one.saturating_add(other))),
    })
}

fn number(arg: Option<Arg<&[u8]>>) -> Option<f64> {
    let Arg::Simple(bytes) = arg? else { return None };
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience(words: &str) -> Patience {
        let mut words = words.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap_or_default());
        cmd.arg(words.collect::<Vec<_>>());
        of_command(&cmd, SECOND)
    }

    #[test]
    fn commands_that_block_get_their_own_timeout_on_top() {
        let blocking = |millis| Patience::Blocking(Some(Duration::from_millis(millis) + SECOND));
        assert_eq!(patience("GET key"), Patience::Ordinary(SECOND));
        assert_eq!(patience("blpop a b 2.5"), blocking(2_500));
        assert_eq!(patience("BLMPOP 3 1 key LEFT"), blocking(3_000));
        assert_eq!(patience("WAIT 1 500"), blocking(500));
        assert_eq!(patience("XREAD COUNT 5 BLOCK 700 STREAMS s 0"), blocking(700));
        assert_eq!(patience("XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), Patience::Blocking(None));
        assert_eq!(patience("XREAD COUNT 5 STREAMS s 0"), Patience::Ordinary(SECOND));
        assert_eq!(patience("XREAD STREAMS block 0"), Patience::Ordinary(SECOND));
        assert_eq!(patience("XREADGROUP GROUP block 0 STREAMS s >"), Patience::Ordinary(SECOND));
        assert_eq!(patience("MIGRATE host 1 key 0 900 KEYS 0"), blocking(900));
        assert_eq!(patience("BRPOP key 0"), Patience::Blocking(None));
        assert_eq!(patience("BRPOP key soon"), Patience::Ordinary(SECOND));
    }

    #[test]
    fn a_pipeline_adds_up_what_blocks_in_it() {
        let mut pipeline = redis::pipe();
        pipeline.cmd("BLPOP").arg("a").arg(1).cmd("GET").arg("b").cmd("BLPOP").arg("a").arg(2);
        assert_eq!(of_pipeline(&pipeline, SECOND), Patience::Blocking(Some(SECOND * 5)));
        pipeline.atomic();
        assert_eq!(of_pipeline(&pipeline, SECOND), Patience::Ordinary(SECOND));
    }
}
