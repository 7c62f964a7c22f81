//! What the fake server can be told to do otherwise than a healthy one; its commands obey.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::words::Bytes;

/// Answers a command itself, with raw bytes, or leaves it to the server.
pub type Script = Box<dyn FnMut(&[Vec<u8>]) -> Option<Vec<u8>> + Send>;

/// How the server behaves; all of it may be changed at any time.
pub struct Behaviour {
    /// As after a start with much data: most commands get `LOADING`.
    pub loading: bool,
    /// As a replica: writes get `READONLY`, and ROLE says so.
    pub read_only: bool,
    /// As a replica that has lost its primary, with `replica-serve-stale-data no`: most commands get `MASTERDOWN`.
    pub master_down: bool,
    /// As at `maxmemory` without eviction: commands that need memory get `OOM`.
    pub out_of_memory: bool,
    /// No connection is taken at all: [`connected`](super::Server::connected) answers None.
    pub refuses_connections: bool,
    /// As without a password on an address that all can reach: each connection gets `DENIED` and is closed.
    pub protected: bool,
    /// The connections beyond it get an error and are closed. 10 000, as in Redis.
    pub max_clients: usize,
    /// The password of the user `default`; None: it needs none.
    pub password: Option<String>,
    /// The other users, by name. One of the name `default` replaces that user.
    pub users: BTreeMap<String, FakeUser>,
    /// Commands, in upper case, that this server does not have.
    pub disabled_commands: BTreeSet<String>,
    /// Commands that go by another name: from the new name to the own one, both in upper case. Add the own name to
    /// `disabled_commands`, as `rename-command` does.
    pub renamed_commands: BTreeMap<String, String>,
    /// What INFO and HELLO say; from 7.2 on CLIENT SETINFO and NO-TOUCH exist.
    pub version: String,
    /// May answer any command in the place of the server.
    pub script: Option<Script>,
    wrong_replies: VecDeque<Bytes>,
}

/// A user of the fake server's access control.
#[derive(Clone, Debug, Default)]
pub struct FakeUser {
    /// Any of them will do; without one any password is right.
    pub passwords: Vec<String>,
    /// The commands, in upper case, that it may use; None: all.
    pub commands: Option<BTreeSet<String>>,
    /// Commands, and subcommands in the form `CLUSTER|SLOTS`, in upper case, that it may not use.
    pub refused: BTreeSet<String>,
    /// Patterns of the keys that it may use; None: all.
    pub keys: Option<Vec<String>>,
    /// A disabled user cannot log in.
    pub disabled: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            loading: false,
            read_only: false,
            master_down: false,
            out_of_memory: false,
            refuses_connections: false,
            protected: false,
            max_clients: 10_000,
            password: None,
            users: BTreeMap::new(),
            disabled_commands: BTreeSet::new(),
            renamed_commands: BTreeMap::new(),
            version: String::from("7.0.15"),
            script: None,
            wrong_replies: VecDeque::new(),
        }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Behaviour {
    /// The next command is answered with these bytes and not carried out; said twice, the next two.
    pub fn wrong_reply(&mut self, bytes: impl Into<Vec<u8>>) {
        self.wrong_replies.push_back(bytes.into());
    }

    /// What is answered in the place of the server's reply, if something is.
    pub(super) fn replacement(&mut self, args: &[Bytes]) -> Option<Bytes> {
        self.wrong_replies.pop_front().or_else(|| self.script.as_mut().and_then(|script| script(args)))
    }

    /// The user of this name with its rights.
    pub(super) fn user(&self, name: &str) -> Option<FakeUser> {
        let default = || FakeUser { passwords: self.password.iter().cloned().collect(), ..FakeUser::default() };
        self.users.get(name).cloned().or_else(|| (name == "default").then(default))
    }

    /// Whether the version is at least this one.
    pub(super) fn is_at_least(&self, major: u64, minor: u64) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse::<u64>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
    }
}
