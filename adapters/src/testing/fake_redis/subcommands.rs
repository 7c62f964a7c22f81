//! The subcommands that exist, and how many words they take: checked before a command is carried out or queued.

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
    ("COMMAND", &[("COUNT", 2), ("DOCS", -2)]),
    ("CONFIG", &[("GET", -3), ("RESETSTAT", 2), ("REWRITE", 2), ("SET", -4)]),
    ("PUBSUB", &[("CHANNELS", -2), ("NUMPAT", 2), ("NUMSUB", -2), ("SHARDCHANNELS", -2), ("SHARDNUMSUB", -2)]),
    ("XGROUP", &[("CREATE", -5), ("CREATECONSUMER", 5), ("DELCONSUMER", 5), ("DESTROY", 4), ("SETID", -5)]),
    ("XINFO", &[("CONSUMERS", 4), ("GROUPS", 3), ("STREAM", -3)]),
];

/// Subcommands that came with 7.2.
const NEWER: [&str; 2] = ["NO-TOUCH", "SETINFO"];

pub(super) fn check_subcommand(name: &str, args: &[Bytes], has_newer: bool) -> Result<(), Failure> {
    let Some((_, all)) = SUBCOMMANDS.iter().find(|(command, _)| *command == name) else { return Ok(()) };
    let Some(given) = args.get(1) else { return Ok(()) };
    let word = upper(given);
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
