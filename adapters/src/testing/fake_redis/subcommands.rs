//! The subcommands that exist, and how many words they take: checked before a command is carried out or queued.

use super::behaviour::Behaviour;
use super::words::{Bytes, Failure, upper, wrong_arity};

/// The command, its subcommands, and the number of words as in the table of commands.
const SUBCOMMANDS: &[(&str, &[(&str, i32)])] = &[
    ("ACL", &[("USERS", 2), ("WHOAMI", 2)]),
    (
        "CLIENT",
        &[
            ("CACHING", 3),
            ("GETNAME", 2),
            ("GETREDIR", 2),
            ("ID", 2),
            ("INFO", 2),
            ("KILL", -3),
            ("LIST", -2),
            ("NO-EVICT", 3),
            ("NO-TOUCH", 3),
            ("PAUSE", -3),
            ("REPLY", 3),
            ("SETINFO", 4),
            ("SETNAME", 3),
            ("TRACKING", -3),
            ("UNBLOCK", -3),
            ("UNPAUSE", 2),
        ],
    ),
    (
        "CLUSTER",
        &[
            ("ADDSLOTS", -3),
            ("ADDSLOTSRANGE", -4),
            ("BUMPEPOCH", 2),
            ("COUNT-FAILURE-REPORTS", 3),
            ("COUNTKEYSINSLOT", 3),
            ("DELSLOTS", -3),
            ("DELSLOTSRANGE", -4),
            ("FAILOVER", -2),
            ("FORGET", 3),
            ("GETKEYSINSLOT", 4),
            ("INFO", 2),
            ("KEYSLOT", 3),
            ("MYID", 2),
            ("NODES", 2),
            ("REPLICAS", 3),
            ("REPLICATE", 3),
            ("SAVECONFIG", 2),
            ("SETSLOT", -4),
            ("SHARDS", 2),
            ("SLAVES", 3),
            ("SLOTS", 2),
        ],
    ),
    ("COMMAND", &[("COUNT", 2), ("DOCS", -2)]),
    ("CONFIG", &[("GET", -3), ("RESETSTAT", 2), ("REWRITE", 2), ("SET", -4)]),
    ("PUBSUB", &[("CHANNELS", -2), ("NUMPAT", 2), ("NUMSUB", -2), ("SHARDCHANNELS", -2), ("SHARDNUMSUB", -2)]),
    ("XGROUP", &[("CREATE", -5), ("CREATECONSUMER", 5), ("DELCONSUMER", 5), ("DESTROY", 4), ("SETID", -5)]),
    ("XINFO", &[("CONSUMERS", 4), ("GROUPS", 3), ("STREAM", -3)]),
];

/// Subcommands that came with 7.2.
const NEWER: [&str; 2] = ["NO-TOUCH", "SETINFO"];

/// Whether a command has subcommands.
pub(super) fn has_subcommands(name: &str) -> bool {
    SUBCOMMANDS.iter().any(|(command, _)| *command == name)
}

pub(super) fn check_subcommand(name: &str, args: &[Bytes], behaviour: &Behaviour) -> Result<(), Failure> {
    let Some((_, all)) = SUBCOMMANDS.iter().find(|(command, _)| *command == name) else { return Ok(()) };
    let Some(given) = args.get(1) else { return Ok(()) };
    let has_newer = behaviour.is_at_least(7, 2);
    let word = upper(given);
    if name == "CLUSTER" && word == "SHARDS" && !behaviour.is_at_least(7, 0) {
        let why = b"'. Try CLUSTER HELP.".as_slice();
        return Err(Failure([b"ERR Unknown subcommand or wrong number of arguments for '", given.as_slice(), why].concat()));
    }
    let found = all.iter().find(|(name, _)| *name == word).filter(|_| has_newer || !NEWER.contains(&word.as_str()));
    let Some((_, arity)) = found else { return Err(unknown_subcommand(name, given)) };
    let words = i32::try_from(args.len()).unwrap_or(i32::MAX);
    if if *arity < 0 { words < -arity } else { words != *arity } {
        return Err(wrong_arity(&format!("{name}|{word}").to_ascii_lowercase()));
    }
    Ok(())
}

pub(super) fn unknown_subcommand(command: &str, word: &[u8]) -> Failure {
    let word = &word[..word.len().min(128)];
    Failure([b"ERR unknown subcommand '", word, b"'. Try ", command.as_bytes(), b" HELP."].concat())
}
