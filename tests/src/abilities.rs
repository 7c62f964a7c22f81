//! What the redis-server on the PATH can do, found out by asking it, and the tests that are skipped for what it cannot.

use std::fs::File;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::{env, thread};

use crate::redis_server::RedisServer;

/// What not every server can, and some tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// It speaks TLS.
    Tls,
    /// It knows BLMPOP.
    Blmpop,
    /// A replica that must not answer from old data refuses PING, too.
    MasterdownToPing,
    /// QUIT is a command like any other, which can be renamed.
    RenameQuit,
    /// CLIENT LIST shows the library of each client.
    LibraryOfClients,
    /// It has sharded channels.
    ShardedChannels,
    /// A replica tells who its primary is to a client that asks for that (`CLIENT CAPA redirect`).
    Redirect,
}

impl Ability {
    /// All of them.
    pub const ALL: [Ability; 7] = [
        Ability::Tls,
        Ability::Blmpop,
        Ability::MasterdownToPing,
        Ability::RenameQuit,
        Ability::LibraryOfClients,
        Ability::ShardedChannels,
        Ability::Redirect,
    ];

    /// Whether the server has said that it cannot; it is asked once.
    ///
    /// # Panics
    /// As [`RedisServer`].
    #[must_use]
    pub fn is_missing(self) -> bool {
        static TLS: LazyLock<bool> = LazyLock::new(RedisServer::has_tls);
        static BLMPOP: LazyLock<bool> = LazyLock::new(|| command_info("BLMPOP").starts_with("blmpop\n"));
        // The flag of those that are allowed then.
        static MASTERDOWN: LazyLock<bool> = LazyLock::new(|| command_info("PING").lines().all(|flag| flag != "stale"));
        static QUIT: LazyLock<bool> = LazyLock::new(|| command_info("QUIT").starts_with("quit\n"));
        static LIBRARY: LazyLock<bool> =
            LazyLock::new(|| RedisServer::start().command(&["CLIENT", "LIST"]).contains("lib-name="));
        static SHARDED: LazyLock<bool> = LazyLock::new(|| command_info("SSUBSCRIBE").starts_with("ssubscribe\n"));
        static REDIRECT: LazyLock<bool> = LazyLock::new(|| RedisServer::start().command(&["CLIENT", "CAPA", "redirect"]) == "OK");
        let is_there = match self {
            Ability::Tls => &TLS,
            Ability::Blmpop => &BLMPOP,
            Ability::MasterdownToPing => &MASTERDOWN,
            Ability::RenameQuit => &QUIT,
            Ability::LibraryOfClients => &LIBRARY,
            Ability::ShardedChannels => &SHARDED,
            Ability::Redirect => &REDIRECT,
        };
        !**is_there
    }
}

/// A line for the name, the number of arguments, each flag, and more.
fn command_info(name: &str) -> String {
    RedisServer::start().command(&["COMMAND", "INFO", name])
}

/// Writes down that this test, or a part of it, is skipped: in the file that the variable `SKIPPED_TESTS` names, for who
/// counts them, or else on standard error.
///
/// # Panics
/// If that file cannot be written.
pub fn note_skipped(missing: Ability) {
    let line = format!("skipped: {}: the server lacks {missing:?}\n", thread::current().name().unwrap_or("a test"));
    let written = match env::var_os("SKIPPED_TESTS") {
        Some(path) => File::options().create(true).append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes())),
        // Not by a macro: the test runner keeps back what those print.
        None => io::stderr().write_all(line.as_bytes()),
    };
    written.expect("what is skipped can be written down");
}
