//! Where commands have their keys.

use super::cmd;
use crate::deployment::router::command_index::keys_of;

/// The keys with blanks between them.
pub(super) fn keys_in(line: &str) -> String {
    let keys: Vec<_> = keys_of(&cmd(line)).map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    keys.join(" ")
}

/// Commands and their keys.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("GET a", "a"),
    ("get a b", "a"),
    ("DEL a b c", "a b c"),
    ("MSET a 1 b 2", "a b"),
    ("MSETEX 2 a 1 b 2 EX 10", "a b"),
    ("BLPOP a b 0", "a b"),
    ("LCS a b LEN", "a b"),
    ("RENAME a b", "a b"),
    ("BITOP AND d a b", "d a b"),
    ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
    ("ZINTER 2 a b WITHSCORES", "a b"),
    ("SINTERCARD 1 a LIMIT 5", "a"),
    ("LMPOP 2 a b LEFT", "a b"),
    ("BLMPOP 0 2 a b LEFT", "a b"),
    ("EVAL script 2 a b c", "a b"),
    ("EVAL script 0 c", ""),
    ("EVAL script 3 a b", ""),
    ("EVAL script -1 a b", ""),
    ("EVAL script +1 a", ""),
    ("EVAL script 99999999999999999999999 a", ""),
    ("FCALL_RO name 1 a", "a"),
    ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
    ("XREAD COUNT 2 streams a b 0", "a"),
    ("XREAD COUNT 2", ""),
    ("XREADGROUP GROUP streams me STREAMS a >", "a"),
    ("XGROUP CREATE a group $", "a"),
    ("OBJECT ENCODING a", "a"),
    ("OBJECT HELP", ""),
    ("memory usage a", "a"),
    ("MEMORY STATS", ""),
    ("SORT a BY w_* LIMIT 0 5 GET store STORE d", "a d"),
    ("SORT a BY store ALPHA", "a"),
    ("SORT a GET store ALPHA", "a"),
    ("SORT a BY STORE", "a"),
    ("SORT a STORE d STORE e", "a e"),
    ("SORT_RO a BY w_*", "a"),
    ("GEORADIUS a 1 2 3 km STORE d", "a d"),
    ("GEORADIUSBYMEMBER a store 3 km STOREDIST d", "a d"),
    ("MIGRATE host 6379 a 0 100", "a"),
    ("MIGRATE host 6379 \"\" 0 100 COPY KEYS a b", "a b"),
    ("MIGRATE host 6379 \"\" 0 100 AUTH keys KEYS a b", "a b"),
    ("MIGRATE host 6379 \"\" 0 100 AUTH2 keys keys KEYS a b", "a b"),
    ("STRALGO LCS KEYS a b", "a b"),
    ("JSON.MGET a b $", "a b"),
    ("JSON.MSET a $ 1 b $ 2", "a b"),
    ("JSON.DEBUG MEMORY a", "a"),
    ("TS.MADD a * 1 b * 2", "a b"),
    ("TDIGEST.MERGE d 2 a b", "d a b"),
    ("SPUBLISH a message", "a"),
    ("SSUBSCRIBE a b", "a b"),
    ("PUBLISH channel message", ""),
    ("FT.SEARCH index query", ""),
    ("CLIENT KILL a", ""),
    ("CLIENT", ""),
    ("NOSUCHCOMMAND a b", "a"),
    ("NOSUCHCOMMAND", ""),
    ("CLIENT NOSUCHSUBCOMMAND a", ""),
    ("a-name-that-is-longer-than-any-in-the-tables a", "a"),
    ("", ""),
];

/// Seen to bite: with a step of 1 for MSET, with the timeout of BLPOP as a key, and with a number of keys that is believed.
#[test]
fn each_form_of_command_has_its_keys_in_its_own_places() {
    for (line, expected) in KEYS {
        assert_eq!(keys_in(line), *expected, "{line}");
    }
}

/// A cursor is neither a key nor a number of keys.
#[test]
fn a_cursor_is_no_key() {
    let mut scan = redis::cmd("HSCAN");
    scan.arg("a").cursor_arg(5).arg("COUNT").arg(10);
    assert_eq!(keys_of(&scan).collect::<Vec<_>>(), [b"a"]);
    let mut eval = redis::cmd("EVAL");
    eval.arg("script").cursor_arg(1).arg("a");
    assert_eq!(keys_of(&eval).count(), 0);
}
