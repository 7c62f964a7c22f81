//! The keys that a command certainly writes, for the body of a transaction: such a write conflicts with the transaction itself.

use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, RedisResult};

use crate::redis_node::commands::{Effect, effect_of};
use crate::redis_node::replies::name_of;

/// Where the written keys of a command are.
#[derive(Clone, Copy, Debug)]
enum WrittenKeys {
    /// The argument of this number; 1 is the first.
    At(usize),
    FirstTwo,
    Every,
    AllButLast,
    EveryOther,
    /// After their count, which is the argument of this number.
    CountedAt(usize),
    WholeDatabase,
}

/// Commands that write or remove a key unless they fail or find nothing to do. Not listed are commands that may only read:
/// scripts and functions, SORT, BITFIELD, GEORADIUS, and commands about the consumer groups of a stream.
const WRITES: [(WrittenKeys, &str); 9] = [
    (
        WrittenKeys::At(1),
        "APPEND ARDEL ARDELRANGE ARINSERT ARMSET ARSET DECR DECRBY DELEX DELIFEQ EXPIRE EXPIREAT GEOADD
         GEOSEARCHSTORE GETDEL GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HINCRBY HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPEXPIREAT
         HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT INCREX JSON.ARRAPPEND JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.CLEAR
         JSON.DEL JSON.FORGET JSON.MERGE JSON.NUMINCRBY JSON.NUMMULTBY JSON.SET JSON.STRAPPEND JSON.TOGGLE LINSERT LPOP LPUSH
         LPUSHX LREM LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX RESTORE RPOP RPUSH RPUSHX SADD SDIFFSTORE
         SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SPOP SREM SUNIONSTORE VADD VREM VSETATTR XADD XDEL XTRIM ZADD
         ZDIFFSTORE ZINCRBY ZINTERSTORE ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE
         ZUNIONSTORE",
    ),
    (WrittenKeys::At(2), "BITOP COPY"),
    (WrittenKeys::FirstTwo, "BLMOVE BRPOPLPUSH LMOVE RENAME RENAMENX RPOPLPUSH SMOVE"),
    (WrittenKeys::Every, "DEL UNLINK"),
    (WrittenKeys::AllButLast, "BLPOP BRPOP BZPOPMAX BZPOPMIN"),
    (WrittenKeys::EveryOther, "MSET MSETNX"),
    (WrittenKeys::CountedAt(1), "LMPOP ZMPOP"),
    (WrittenKeys::CountedAt(2), "BLMPOP BZMPOP"),
    (WrittenKeys::WholeDatabase, "FLUSHALL FLUSHDB"),
];

/// An error if the body of a transaction that watches the keys of `watch` must not send the command.
pub(crate) fn check_in_body(watch: &Cmd, cmd: &Cmd) -> RedisResult<()> {
    let ends_watch = match effect_of(cmd) {
        Effect::Unwatch | Effect::Multi | Effect::EndMulti | Effect::Protocol => true,
        Effect::None
        | Effect::Empty
        | Effect::Unknown
        | Effect::Watch
        | Effect::Select
        | Effect::Blocks(_)
        | Effect::Takes(_)
        | Effect::MayClose
        | Effect::Lasting
        | Effect::Subscribes
        | Effect::Uncounted
        | Effect::Reply
        | Effect::Container(..) => false,
    };
    if ends_watch {
        Err(refuse("not sent: in the body of a transaction the command would end the watch of its keys", cmd))
    } else if writes_one_of(watch, cmd) {
        let text = "not sent: the body of a transaction must not write a watched key, since every attempt would then conflict; put \
                    the command into the pipeline of the attempt";
        Err(refuse(text, cmd))
    } else {
        Ok(())
    }
}

/// The same for a pipeline.
pub(crate) fn check_pipeline_in_body(watch: &Cmd, pipeline: &Pipeline) -> RedisResult<()> {
    if pipeline.is_transaction() {
        let text = "not sent: an atomic pipeline in the body of a transaction would end the watch of its keys; put its commands \
                    into the pipeline of the attempt";
        return Err(RedisError::from((ErrorKind::Client, text)));
    }
    pipeline.cmd_iter().try_for_each(|cmd| check_in_body(watch, cmd))
}

fn refuse(text: &'static str, cmd: &Cmd) -> RedisError {
    RedisError::from((ErrorKind::Client, text, name_of(cmd)))
}

fn writes_one_of(watch: &Cmd, cmd: &Cmd) -> bool {
    let name = name_of(cmd);
    let mut writes = WRITES.iter().filter(|(_, names)| names.split_ascii_whitespace().any(|one| one == name));
    writes.any(|(keys, _)| {
        let mut written: Box<dyn Iterator<Item = &[u8]>> = match *keys {
            WrittenKeys::At(number) => Box::new(words(cmd).skip(number).take(1)),
            WrittenKeys::FirstTwo => Box::new(words(cmd).skip(1).take(2)),
            WrittenKeys::Every => Box::new(words(cmd).skip(1)),
            WrittenKeys::AllButLast => Box::new(words(cmd).skip(1).take(words(cmd).count().saturating_sub(2))),
            WrittenKeys::EveryOther => Box::new(words(cmd).skip(1).step_by(2)),
            WrittenKeys::CountedAt(number) => Box::new(words(cmd).skip(number + 1).take(count_at(cmd, number))),
            WrittenKeys::WholeDatabase => return true,
        };
        written.any(|key| words(watch).skip(1).any(|watched| watched == key))
    })
}

fn count_at(cmd: &Cmd, number: usize) -> usize {
    words(cmd).nth(number).and_then(|word| str::from_utf8(word).ok()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn words(cmd: &Cmd) -> impl Iterator<Item = &[u8]> {
    cmd.args_iter().map(|arg| match arg {
        Arg::Simple(word) => word,
        Arg::Cursor | _ => &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmd(words: &str) -> Cmd {
        let mut cmd = Cmd::new();
        words.split(' ').for_each(|word| {
            cmd.arg(word);
        });
        cmd
    }

    /// Guards against: with every argument taken for a key, and with the first one only.
    #[test]
    fn only_what_writes_a_watched_key_or_ends_the_watch_is_refused_in_a_body() {
        let watch = cmd("WATCH a b");
        let refused = "SET a 1|set b 1|DEL x b|MSET x 1 b 2|RENAME x a|RPOPLPUSH x a|BITOP AND a x y|COPY x a|BLPOP x a 1|\
                       LMPOP 2 x a LEFT|FLUSHDB|UNWATCH|MULTI|EXEC|DISCARD|RESET";
        for words in refused.split('|') {
            assert!(check_in_body(&watch, &cmd(words)).is_err(), "{words}");
        }
        let sent = "GET a|SET x a|SADD x a b|MSET x a|BITOP AND x a b|COPY a x|BLPOP x y 1|ZUNIONSTORE x 2 a b|LMPOP 1 x a|\
                    EVAL script 1 a|XACK a b c|WATCH c|PING|SELECT 1|no-such-command a";
        for words in sent.split('|') {
            assert!(check_in_body(&watch, &cmd(words)).is_ok(), "{words}");
        }
    }
}
