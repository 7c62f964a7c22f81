//! Seeded commands over all families: templates with holes, sometimes with a word too few, too many or of a wrong kind.

/// A small generator of its own, so that a seed means the same for ever.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % count
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// The holes: a letter and what it stands for. `K`: a key of the template's family, `A`: a key of any.
fn fill(dice: &mut Dice, hole: &str, family: &str) -> String {
    match hole {
        "%K" => format!("{family}{}", dice.below(4)),
        "%A" => format!("{}{}", dice.pick(&["s", "l", "h", "e", "z", "x"]), dice.below(4)),
        "%V" => dice.pick(&["", "a", "bb", "hello world", "3", "10", "-7", "3.5", "\r\n", "9223372036854775807"]).into(),
        "%M" => dice.pick(&["a", "b", "c", "d", "e", "f", "1", "2"]).into(),
        "%I" => dice
            .pick(&["0", "1", "2", "3", "-1", "-2", "5", "-100", "100", "0", "1", "x", "1.5", "", "+1", "9223372036854775807"])
            .into(),
        "%N" => dice.pick(&["1", "2", "3", "1", "2", "0", "-1", "x"]).into(),
        "%F" => dice.pick(&["1", "0.5", "-2.25", "10", "3e2", "1.1", "x", "inf", "nan", ""]).into(),
        "%S" => dice.pick(&["1", "2", "3", "-1.5", "0.1", "1e10", "inf", "-inf", "3", "x", "nan"]).into(),
        "%B" => dice.pick(&["-inf", "+inf", "1", "(1", "2", "(3", "0", "-5", "x"]).into(),
        "%X" => dice.pick(&["-", "+", "[a", "(b", "[c", "(d", "x", "[e"]).into(),
        "%T" => dice.pick(&["100000", "50000", "77777", "-1", "0", "x", "9223372036854775807"]).into(),
        "%P" => dice.pick(&["*", "s*", "?1", "[sl]?", "h[^1]", "z*1", "nothing", "\\*"]).into(),
        "%D" => dice.pick(&["1-1", "2-1", "3", "5-0", "7-7", "0-0", "0", "-", "+", "x", "100-1"]).into(),
        "%G" => dice.pick(&["g1", "g2"]).into(),
        "%C" => dice.pick(&["c1", "c2"]).into(),
        word => word.into(),
    }
}

const ODD_WORDS: [&str; 12] =
    ["NX", "XX", "GET", "COUNT", "0", "-1", "abc", "", "LIMIT", "9223372036854775808", "WITHSCORES", "DB"];

/// One command of this template, in most cases as it stands.
pub(crate) fn command(dice: &mut Dice, family: &str, template: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<String> = template.split(' ').map(|hole| fill(dice, hole, family)).collect();
    match dice.below(20) {
        0 if words.len() > 1 => {
            let at = 1 + dice.below(words.len() - 1);
            words.remove(at);
        }
        1 => words.push(dice.pick(&ODD_WORDS).into()),
        2 if words.len() > 1 => {
            let at = 1 + dice.below(words.len() - 1);
            words[at] = dice.pick(&ODD_WORDS).into();
        }
        // Another type of value.
        3 if words.len() > 1 && template.contains("%K") => {
            let at = template.split(' ').position(|hole| hole == "%K").expect("it is there");
            if at < words.len() {
                words[at] = fill(dice, "%A", family);
            }
        }
        4 => words[0] = words[0].to_ascii_lowercase(),
        _ => {}
    }
    // One that is picked at random would make two histories.
    if words[0].eq_ignore_ascii_case("SPOP") {
        words.truncate(2);
        words.push("100".into());
    }
    // Nothing may wait for ever.
    let waits = words[0].to_ascii_uppercase().starts_with('B') && words.len() > 1;
    if waits {
        let last = words.len() - 1;
        for at in [1, last] {
            if words[at].parse().is_ok_and(|seconds: f64| (0.0..1e9).contains(&seconds)) {
                words[at] = "0.01".into();
            }
        }
    }
    words.into_iter().map(String::into_bytes).collect()
}

/// The families: the prefix of their keys, and their commands.
pub(crate) const FAMILIES: &[(&str, &[&str])] = &[
    ("s", STRINGS),
    ("s", GENERIC),
    ("l", LISTS),
    ("s", CONNECTION),
    ("h", HASHES),
    ("e", SETS),
    ("z", SORTED_SETS),
    ("x", STREAMS),
];

const STRINGS: &[&str] = &[
    "SET %K %V",
    "SET %K %V",
    "SET %K 10",
    "SET %K %V NX",
    "SET %K %V XX",
    "SET %K %V GET",
    "SET %K %V XX GET",
    "SET %K %V EX %T",
    "SET %K %V PX %T",
    "SET %K %V EXAT 4000000000",
    "SET %K %V PXAT 4000000000000",
    "SET %K %V KEEPTTL",
    "SET %K %V NX GET",
    "SET %K %V EX 10 KEEPTTL",
    "GET %K",
    "GET %K",
    "GET %A",
    "SETNX %K %V",
    "SETEX %K %T %V",
    "PSETEX %K %T %V",
    "GETSET %K %V",
    "GETDEL %K",
    "GETEX %K",
    "GETEX %K EX %T",
    "GETEX %K PERSIST",
    "GETEX %K PX 5000",
    "MGET %K %A %K",
    "MSET %K %V %K %V",
    "MSETNX %K %V %K %V",
    "INCR %K",
    "DECR %K",
    "INCRBY %K %I",
    "DECRBY %K %I",
    "INCRBYFLOAT %K %F",
    "APPEND %K %V",
    "STRLEN %K",
    "GETRANGE %K %I %I",
    "SETRANGE %K %N %V",
    "SUBSTR %K %I %I",
    "DECRBY %K -9223372036854775808",
];
const GENERIC: &[&str] = &[
    "DEL %A",
    "DEL %A %A",
    "UNLINK %A",
    "EXISTS %A %A %A",
    "TOUCH %A %A",
    "TYPE %A",
    "EXPIRE %A %T",
    "EXPIRE %A 1000 NX",
    "EXPIRE %A %T XX",
    "EXPIRE %A 2000 GT",
    "PEXPIRE %A %T LT",
    "PEXPIRE %A 5000000 NX XX",
    "EXPIRE %A 5 GT LT",
    "EXPIREAT %A 4000000000",
    "PEXPIREAT %A 4000000000000",
    "EXPIREAT %A 1 LT",
    "TTL %A",
    "PTTL %A",
    "EXPIRETIME %A",
    "PEXPIRETIME %A",
    "PERSIST %A",
    "RENAME %A %A",
    "RENAMENX %A %A",
    "COPY %A %A",
    "COPY %A %A REPLACE",
    "COPY %A %A DB 1",
    "COPY %A %A DB 99",
    "KEYS %P",
    "RANDOMKEY",
    "DBSIZE",
    "MOVE %A 1",
    "MOVE %A 0",
    "EXISTS %A",
];
const LISTS: &[&str] = &[
    "LPUSH %K %M %M",
    "RPUSH %K %M %M %M",
    "RPUSH %K %M",
    "LPUSHX %K %M",
    "RPUSHX %K %M",
    "LPOP %K",
    "RPOP %K",
    "LPOP %K %N",
    "RPOP %K %N",
    "LLEN %K",
    "LRANGE %K %I %I",
    "LRANGE %K 0 -1",
    "LINDEX %K %I",
    "LSET %K %I %M",
    "LREM %K %I %M",
    "LTRIM %K %I %I",
    "LINSERT %K BEFORE %M %M",
    "LINSERT %K AFTER %M %M",
    "LMOVE %K %K LEFT RIGHT",
    "LMOVE %K %K RIGHT RIGHT",
    "RPOPLPUSH %K %K",
    "LPOS %K %M",
    "LPOS %K %M RANK %I",
    "LPOS %K %M COUNT %N",
    "LPOS %K %M COUNT 0 MAXLEN 2",
    "LMPOP 1 %K LEFT",
    "LMPOP %N %K %K RIGHT COUNT %N",
    "LMPOP 2 %K %K LEFT COUNT 2",
    "BLPOP %K 0.01",
    "BRPOP %K %K 0.01",
    "BLMOVE %K %K LEFT RIGHT 0.01",
    "BRPOPLPUSH %K %K 0.01",
    "BLMPOP 0.01 2 %K %K LEFT",
    "BLMPOP 0.01 1 %K RIGHT COUNT %N",
    "BLPOP %K -1",
    "BLPOP %K x",
];
const CONNECTION: &[&str] = &[
    "PING",
    "PING %V",
    "ECHO %V",
    "SELECT 0",
    "SELECT 16",
    "SELECT x",
    "CLIENT GETNAME",
    "CLIENT SETNAME %M",
    "CLIENT SETINFO LIB-NAME x",
    "CLIENT REPLY ON",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-EVICT x",
    "CLIENT NO-TOUCH ON",
    "CLIENT TRACKING OFF",
    "CLIENT UNBLOCK 999999",
    "CLIENT KILL ID 999999",
    "CLIENT KILL 1.2.3.4:5",
    "CLIENT LIST",
    "CLIENT INFO",
    "CLIENT ID",
    "CLIENT NOTHING",
    "CLIENT",
    "AUTH %M",
    "AUTH nobody %M",
    "HELLO 4",
    "HELLO x",
    "HELLO 2 AUTH nobody x",
    "HELLO 2 NOTHING",
    "ACL WHOAMI",
    "ACL NOTHING",
    "TIME",
    "ROLE",
    "WAIT 0 10",
    "WAIT x 10",
    "CONFIG GET maxclients",
    "CONFIG GET databases",
    "CONFIG SET nothing x",
    "CONFIG NOTHING",
    "NOTHING %V %V",
    "nothing",
    "INFO server",
    "INFO keyspace",
    "PUBLISH %M %V",
    "SPUBLISH %M %V",
    "PUBSUB CHANNELS",
    "PUBSUB NUMSUB %M",
    "PUBSUB NUMPAT",
    "PUBSUB NOTHING",
    "PUBSUB SHARDCHANNELS",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH %A %A",
    "UNWATCH",
    "MULTI",
    "EXEC",
    "EXEC",
    "COMMAND COUNT",
    "FLUSHDB NOTHING",
    "FLUSHDB ASYNC",
    "FLUSHALL",
    "CLIENT PAUSE x",
    "CLIENT UNPAUSE",
    "CLIENT GETREDIR",
    "COMMAND DOCS nothing",
];
const HASHES: &[&str] = &[
    "HSET %K %M %V",
    "HSET %K %M 5 %M %V",
    "HSET %K %M %I",
    "HMSET %K %M %V %M %V",
    "HSETNX %K %M %V",
    "HGET %K %M",
    "HMGET %K %M %M",
    "HDEL %K %M",
    "HDEL %K %M %M",
    "HEXISTS %K %M",
    "HLEN %K",
    "HSTRLEN %K %M",
    "HKEYS %K",
    "HVALS %K",
    "HGETALL %K",
    "HINCRBY %K %M %I",
    "HINCRBYFLOAT %K %M %F",
    "HRANDFIELD %K",
    "HRANDFIELD %K %N",
    "HRANDFIELD %K 100",
    "HRANDFIELD %K 100 WITHVALUES",
    "HRANDFIELD %K -3 WITHVALUES",
    "HSCAN %K 0",
    "HSCAN %K 0 COUNT 1000 MATCH %P",
    "HSCAN %K x",
    "HSCAN %K 0 COUNT 0",
];
const SETS: &[&str] = &[
    "SADD %K %M %M",
    "SADD %K %M",
    "SADD %K %M %M %M",
    "SREM %K %M",
    "SCARD %K",
    "SISMEMBER %K %M",
    "SMISMEMBER %K %M %M",
    "SMEMBERS %K",
    "SMOVE %K %K %M",
    "SPOP %K 100",
    "SRANDMEMBER %K",
    "SRANDMEMBER %K 100",
    "SRANDMEMBER %K -4",
    "SINTER %K %K",
    "SUNION %K %K",
    "SDIFF %K %K",
    "SINTERSTORE %K %K %K",
    "SUNIONSTORE %K %K %K",
    "SDIFFSTORE %K %K %K",
    "SINTERCARD 2 %K %K",
    "SINTERCARD %N %K %K LIMIT %N",
    "SSCAN %K 0",
    "SSCAN %K 0 MATCH %P COUNT 100",
    "SCAN 0 COUNT 1000",
    "SCAN 0 COUNT 1000 MATCH %P",
    "SCAN 0 COUNT 1000 TYPE set",
    "SCAN x",
    "SCAN 0 COUNT x",
];
const SORTED_SETS: &[&str] = &[
    "ZADD %K %S %M",
    "ZADD %K 1 %M 2 %M 3 %M",
    "ZADD %K 2 %M 2 %M",
    "ZADD %K NX %S %M",
    "ZADD %K XX CH %S %M",
    "ZADD %K GT CH %S %M",
    "ZADD %K LT %S %M",
    "ZADD %K INCR %S %M",
    "ZADD %K NX XX 1 a",
    "ZADD %K GT NX 1 a",
    "ZADD %K INCR 1 a 2 b",
    "ZADD %K CH 1",
    "ZINCRBY %K %S %M",
    "ZREM %K %M %M",
    "ZSCORE %K %M",
    "ZMSCORE %K %M %M",
    "ZCARD %K",
    "ZCOUNT %K %B %B",
    "ZLEXCOUNT %K %X %X",
    "ZRANGE %K %I %I",
    "ZRANGE %K 0 -1 WITHSCORES",
    "ZRANGE %K %B %B BYSCORE",
    "ZRANGE %K %B %B BYSCORE REV LIMIT %I %I WITHSCORES",
    "ZRANGE %K %X %X BYLEX",
    "ZRANGE %K %X %X BYLEX REV LIMIT 0 2",
    "ZRANGE %K 0 -1 REV WITHSCORES",
    "ZRANGE %K 0 -1 LIMIT 0 1",
    "ZRANGE %K - + BYLEX WITHSCORES",
    "ZRANGEBYSCORE %K %B %B",
    "ZRANGEBYSCORE %K %B %B WITHSCORES LIMIT %I %I",
    "ZREVRANGE %K %I %I WITHSCORES",
    "ZREVRANGEBYSCORE %K %B %B LIMIT 1 2",
    "ZRANGEBYLEX %K %X %X",
    "ZREVRANGEBYLEX %K %X %X LIMIT 0 2",
    "ZRANK %K %M",
    "ZREVRANK %K %M",
    "ZPOPMIN %K",
    "ZPOPMAX %K",
    "ZPOPMIN %K %N",
    "ZPOPMAX %K %N",
    "ZREMRANGEBYRANK %K %I %I",
    "ZREMRANGEBYSCORE %K %B %B",
    "ZREMRANGEBYLEX %K %X %X",
    "ZSCAN %K 0",
    "ZSCAN %K 0 COUNT 100",
    "ZMPOP 2 %K %K MIN",
    "ZMPOP %N %K %K MAX COUNT %N",
    "BZPOPMIN %K 0.01",
    "BZPOPMAX %K %K 0.01",
    "BZMPOP 0.01 1 %K MIN",
    "BZMPOP 0.01 2 %K %K MAX COUNT 2",
    "ZUNIONSTORE %K 2 %K %K",
    "ZUNIONSTORE %K 2 %K e1 WEIGHTS 2 %F AGGREGATE MAX",
    "ZINTERSTORE %K 2 %K %K",
    "ZINTERSTORE %K %N %K %K AGGREGATE MIN",
];
const STREAMS: &[&str] = &[
    "XADD %K %D f %V",
    "XADD %K 1-* f %V",
    "XADD %K 9-* f v",
    "XADD %K %D f %V g %V",
    "XADD %K NOMKSTREAM %D f v",
    "XADD %K MAXLEN 3 %D f v",
    "XADD %K MAXLEN = 3 50-* f v",
    "XADD %K MAXLEN ~ 3 50-* f v",
    "XADD %K MINID 3 60-* f v",
    "XADD %K 70-* f",
    "XADD %K 2-* f v",
    "XLEN %K",
    "XRANGE %K - +",
    "XRANGE %K %D %D",
    "XRANGE %K (1-1 + COUNT %N",
    "XREVRANGE %K + -",
    "XREVRANGE %K %D %D COUNT %N",
    "XREAD STREAMS %K 0",
    "XREAD COUNT %N STREAMS %K %K 0 %D",
    "XREAD BLOCK 1 STREAMS %K $",
    "XREAD STREAMS %K >",
    "XDEL %K %D %D",
    "XTRIM %K MAXLEN %N",
    "XTRIM %K MINID %D",
    "XTRIM %K MAXLEN ~ 2 LIMIT 10",
    "XTRIM %K MAXLEN 2 LIMIT 10",
    "XGROUP CREATE %K %G 0",
    "XGROUP CREATE %K %G $ MKSTREAM",
    "XGROUP CREATE %K %G %D MKSTREAM",
    "XGROUP SETID %K %G %D",
    "XGROUP DESTROY %K %G",
    "XGROUP CREATECONSUMER %K %G %C",
    "XGROUP DELCONSUMER %K %G %C",
    "XGROUP NOTHING %K",
    "XREADGROUP GROUP %G %C STREAMS %K >",
    "XREADGROUP GROUP %G %C COUNT %N STREAMS %K >",
    "XREADGROUP GROUP %G %C NOACK STREAMS %K >",
    "XREADGROUP GROUP %G %C STREAMS %K 0",
    "XREADGROUP GROUP %G %C BLOCK 1 STREAMS %K >",
    "XREADGROUP GROUP %G %C STREAMS %K $",
    "XREADGROUP GROUP %G %C STREAMS %K %K > >",
    "XACK %K %G %D %D",
    "XPENDING %K %G",
    "XPENDING %K %G - + 10",
    "XPENDING %K %G - + %N %C",
    "XPENDING %K %G IDLE 0 - + 10",
    "XCLAIM %K %G %C 0 %D %D",
    "XCLAIM %K %G %C 0 1-1 FORCE JUSTID",
    "XCLAIM %K %G %C 0 2-1 RETRYCOUNT 5",
    "XCLAIM %K %G %C x %D",
    "XAUTOCLAIM %K %G %C 0 0",
    "XAUTOCLAIM %K %G %C 0 0 COUNT 1 JUSTID",
    "XINFO STREAM %K",
    "XINFO GROUPS %K",
    "XINFO CONSUMERS %K %G",
    "XINFO NOTHING %K",
    "XSETID %K %D",
    "XSETID %K 100-1",
    "XSETID %K 200-1 ENTRIESADDED 9 MAXDELETEDID 1-1",
];
