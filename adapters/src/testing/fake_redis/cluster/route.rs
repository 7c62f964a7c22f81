//! Whether a command belongs here: the redirections of a cluster, in the order in which Redis finds them.

use super::super::keyspace::FakeDatabase;
use super::super::server::{ConnectionId, Server};
use super::super::session::FakeSession;
use super::super::spec::CommandSpec;
use super::super::table::find_command;
use super::super::words::{Bytes, Failure, upper};
use super::slots::slot_of;
use super::state::{FakeClusterState, FakeKnownNode, PreferredEndpoint};

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
const DOWN: &str = "CLUSTERDOWN The cluster is down";
const DOWN_FOR_WRITES: &str = "CLUSTERDOWN The cluster is down and only accepts read commands";
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";

/// The words by which a command belongs to a slot, and whether they are channels.
fn words_of<'a>(spec: &CommandSpec, args: &'a [Bytes]) -> (Vec<&'a Bytes>, bool) {
    match spec.name {
        "SPUBLISH" => (args[1..2].iter().collect(), true),
        "SSUBSCRIBE" | "SUNSUBSCRIBE" => (args[1..].iter().collect(), true),
        _ => (spec.keys(args), false),
    }
}

impl FakeClusterState {
    /// The place of a node as this one tells it: the host, which may be empty or `?`.
    pub(super) fn endpoint<'a>(&self, node: &'a FakeKnownNode) -> &'a str {
        match self.settings.preferred_endpoint {
            PreferredEndpoint::Ip => &node.ip,
            PreferredEndpoint::Hostname if node.hostname.is_empty() => "?",
            PreferredEndpoint::Hostname => &node.hostname,
            PreferredEndpoint::UnknownEndpoint => "",
        }
    }

    fn redirection(&self, word: &str, slot: u16, to: usize) -> Failure {
        let node = &self.nodes[to];
        format!("{word} {slot} {}:{}", self.endpoint(node), node.port).into()
    }

    /// An error if these commands, one or those of a transaction, are not to be carried out here.
    pub(in super::super) fn check_route(
        &self,
        database: &FakeDatabase,
        session: &FakeSession,
        commands: &[(&CommandSpec, &[Bytes])],
    ) -> Result<(), Failure> {
        let mut first: Option<(u16, &Bytes)> = None;
        let (mut several, mut missing, mut existing) = (false, false, false);
        let (mut writes, mut is_sharded, mut migrates) = (false, false, false);
        for (spec, args) in commands {
            let (words, are_channels) = words_of(spec, args);
            writes |= spec.has('w');
            is_sharded |= are_channels;
            migrates |= spec.name == "MIGRATE";
            for word in words {
                let slot = slot_of(word);
                match first {
                    None if self.owner(slot).is_none() => return Err(NOT_SERVED.into()),
                    None => first = Some((slot, word)),
                    Some((of_first, _)) if of_first != slot => return Err(CROSS_SLOT.into()),
                    Some((_, known)) => several |= known != word,
                }
                let is_there = are_channels || database.contains(word);
                missing |= !is_there;
                existing |= is_there;
            }
        }
        let Some((slot, _)) = first else { return Ok(()) };
        let owner = self.owner(slot).expect("looked at with the first key");
        if !self.is_ok {
            if !self.settings.allow_reads_when_down || is_sharded {
                return Err(DOWN.into());
            }
            if writes {
                return Err(DOWN_FOR_WRITES.into());
            }
        }
        let (to, from) = (self.migrating.get(&slot), self.importing.get(&slot));
        let moves = (owner == 0 && to.is_some()) || from.is_some();
        if moves && migrates {
            return Ok(());
        }
        if owner == 0
            && let (Some(to), true) = (to, missing)
        {
            return Err(if existing { TRY_AGAIN.into() } else { self.redirection("ASK", slot, *to) });
        }
        if from.is_some() && session.is_asking {
            return if several && missing { Err(TRY_AGAIN.into()) } else { Ok(()) };
        }
        let reads = (session.reads_replica && !writes || is_sharded) && self.me().primary.is_some();
        if owner == 0 || reads && self.served() == Some(owner) {
            return Ok(());
        }
        Err(self.redirection("MOVED", slot, owner))
    }
}

impl Server {
    /// The same for what a transaction has queued.
    pub(in super::super) fn check_queue(&self, id: ConnectionId, queued: &[Vec<Bytes>]) -> Result<(), Failure> {
        let (Some(cluster), Some(session)) = (&self.cluster, self.sessions.get(&id)) else { return Ok(()) };
        let own_name = |name: String| self.behaviour.renamed_commands.get(&name).cloned().unwrap_or(name);
        let spec = |args: &Vec<Bytes>| find_command(&own_name(upper(&args[0])));
        let commands: Vec<_> = queued.iter().filter_map(|args| Some((spec(args)?, args.as_slice()))).collect();
        cluster.check_route(&self.databases[session.database], session, &commands)
    }
}
