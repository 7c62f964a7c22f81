//! Every command of the fake server: one line each.

use super::keyspace::DataCommand;
use super::spec::KeyWords::{All, AllButLast, Counted, None as NoKey, One, Pairs, Two};
use super::spec::{CommandSpec, KeyWords, Run, ServerCommand};
use super::{access, admin, blocking, clients, counters, expiry, generic, lists, pub_sub, strings, transactions};

const fn data(name: &'static str, arity: i32, flags: &'static str, key_words: KeyWords, run: DataCommand) -> CommandSpec {
    CommandSpec { name, arity, flags, key_words, run: Run::Data(run) }
}

const fn own(name: &'static str, arity: i32, flags: &'static str, key_words: KeyWords, run: ServerCommand) -> CommandSpec {
    CommandSpec { name, arity, flags, key_words, run: Run::Server(run) }
}

/// The command of this name in upper case.
pub(super) fn find_command(name: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|spec| spec.name == name)
}

#[rustfmt::skip]
pub(super) const COMMANDS: &[CommandSpec] = &[
    own("ACL", -2, "l", NoKey, access::acl),
    own("AUTH", -2, "nl", NoKey, access::auth),
    own("CLIENT", -2, "l", NoKey, clients::client),
    own("COMMAND", -1, "l", NoKey, admin::command),
    own("CONFIG", -2, "l", NoKey, admin::config),
    own("COPY", -3, "wm", Two, admin::copy),
    own("DEBUG", -2, "l", NoKey, admin::refused),
    own("DISCARD", 1, "li", NoKey, transactions::discard),
    own("ECHO", 2, "l", NoKey, clients::echo),
    own("EVAL", -3, "", Counted(2), admin::refused),
    own("EVALSHA", -3, "", Counted(2), admin::refused),
    own("EVALSHA_RO", -3, "", Counted(2), admin::refused),
    own("EVAL_RO", -3, "", Counted(2), admin::refused),
    own("EXEC", 1, "li", NoKey, transactions::exec),
    own("FCALL", -3, "", Counted(2), admin::refused),
    own("FCALL_RO", -3, "", Counted(2), admin::refused),
    own("FLUSHALL", -1, "w", NoKey, admin::flushall),
    own("FUNCTION", -2, "", NoKey, admin::refused),
    own("HELLO", -1, "nl", NoKey, access::hello),
    own("INFO", -1, "l", NoKey, admin::info),
    own("MOVE", 3, "w", One, admin::move_key),
    own("MULTI", 1, "li", NoKey, transactions::multi),
    own("PING", -1, "lp", NoKey, clients::ping),
    own("PSUBSCRIBE", -2, "lp", NoKey, pub_sub::psubscribe),
    own("PUBLISH", 3, "l", NoKey, pub_sub::publish),
    own("PUBSUB", -2, "l", NoKey, pub_sub::pubsub),
    own("PUNSUBSCRIBE", -1, "lp", NoKey, pub_sub::punsubscribe),
    own("QUIT", -1, "nlpi", NoKey, clients::quit),
    own("RESET", 1, "nlpi", NoKey, clients::reset),
    own("ROLE", 1, "l", NoKey, admin::role),
    own("SCRIPT", -2, "", NoKey, admin::refused),
    own("SELECT", 2, "l", NoKey, clients::select),
    own("SPUBLISH", 3, "l", NoKey, pub_sub::spublish),
    own("SSUBSCRIBE", -2, "lp", NoKey, pub_sub::ssubscribe),
    own("SUBSCRIBE", -2, "lp", NoKey, pub_sub::subscribe),
    own("SUNSUBSCRIBE", -1, "lp", NoKey, pub_sub::sunsubscribe),
    own("TIME", 1, "l", NoKey, admin::time),
    own("UNSUBSCRIBE", -1, "lp", NoKey, pub_sub::unsubscribe),
    own("UNWATCH", 1, "l", NoKey, transactions::unwatch),
    own("WAIT", 3, "", NoKey, admin::wait),
    own("WATCH", -2, "li", All, transactions::watch),

    data("DBSIZE", 1, "", NoKey, generic::dbsize),
    data("DEL", -2, "w", All, generic::del),
    data("EXISTS", -2, "", All, generic::exists),
    data("EXPIRE", -3, "w", One, expiry::expire),
    data("EXPIREAT", -3, "w", One, expiry::expireat),
    data("EXPIRETIME", 2, "", One, expiry::expiretime),
    data("FLUSHDB", -1, "w", NoKey, generic::flushdb),
    data("KEYS", 2, "", NoKey, generic::keys),
    data("PERSIST", 2, "w", One, expiry::persist),
    data("PEXPIRE", -3, "w", One, expiry::pexpire),
    data("PEXPIREAT", -3, "w", One, expiry::pexpireat),
    data("PEXPIRETIME", 2, "", One, expiry::pexpiretime),
    data("PTTL", 2, "", One, expiry::pttl),
    data("RANDOMKEY", 1, "", NoKey, generic::randomkey),
    data("RENAME", 3, "w", Two, generic::rename),
    data("RENAMENX", 3, "w", Two, generic::renamenx),
    data("TOUCH", -2, "", All, generic::exists),
    data("TTL", 2, "", One, expiry::ttl),
    data("TYPE", 2, "", One, generic::type_of),
    data("UNLINK", -2, "w", All, generic::del),

    data("APPEND", 3, "wm", One, strings::append),
    data("DECR", 2, "wm", One, counters::decr),
    data("DECRBY", 3, "wm", One, counters::decrby),
    data("GET", 2, "", One, strings::get),
    data("GETDEL", 2, "w", One, strings::getdel),
    data("GETEX", -2, "w", One, strings::getex),
    data("GETRANGE", 4, "", One, strings::getrange),
    data("GETSET", 3, "wm", One, strings::getset),
    data("INCR", 2, "wm", One, counters::incr),
    data("INCRBY", 3, "wm", One, counters::incrby),
    data("INCRBYFLOAT", 3, "wm", One, counters::incrbyfloat),
    data("MGET", -2, "", All, strings::mget),
    data("MSET", -3, "wm", Pairs, strings::mset),
    data("MSETNX", -3, "wm", Pairs, strings::msetnx),
    data("PSETEX", 4, "wm", One, strings::psetex),
    data("SET", -3, "wm", One, strings::set),
    data("SETEX", 4, "wm", One, strings::setex),
    data("SETNX", 3, "wm", One, strings::setnx),
    data("SETRANGE", 4, "wm", One, strings::setrange),
    data("STRLEN", 2, "", One, strings::strlen),
    data("SUBSTR", 4, "", One, strings::getrange),

    data("BLMOVE", 6, "wm", Two, blocking::blmove),
    data("BLMPOP", -5, "w", Counted(2), blocking::blmpop),
    data("BLPOP", -3, "w", AllButLast, blocking::blpop),
    data("BRPOP", -3, "w", AllButLast, blocking::brpop),
    data("BRPOPLPUSH", 4, "wm", Two, blocking::brpoplpush),
    data("BZMPOP", -5, "w", Counted(2), blocking::bzmpop),
    data("BZPOPMAX", -3, "w", AllButLast, blocking::bzpopmax),
    data("BZPOPMIN", -3, "w", AllButLast, blocking::bzpopmin),
    data("LINDEX", 3, "", One, lists::lindex),
    data("LINSERT", 5, "wm", One, lists::linsert),
    data("LLEN", 2, "", One, lists::llen),
    data("LMOVE", 5, "wm", Two, lists::lmove),
    data("LMPOP", -4, "w", Counted(1), blocking::lmpop),
    data("LPOP", -2, "w", One, lists::lpop),
    data("LPOS", -3, "", One, lists::lpos),
    data("LPUSH", -3, "wm", One, lists::lpush),
    data("LPUSHX", -3, "wm", One, lists::lpushx),
    data("LRANGE", 4, "", One, lists::lrange),
    data("LREM", 4, "w", One, lists::lrem),
    data("LSET", 4, "wm", One, lists::lset),
    data("LTRIM", 4, "w", One, lists::ltrim),
    data("RPOP", -2, "w", One, lists::rpop),
    data("RPOPLPUSH", 3, "wm", Two, lists::rpoplpush),
    data("RPUSH", -3, "wm", One, lists::rpush),
    data("RPUSHX", -3, "wm", One, lists::rpushx),
    data("ZMPOP", -4, "w", Counted(1), blocking::zmpop),
];
