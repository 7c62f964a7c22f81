//! The checks before a command is carried out or queued, in the order of Redis's own.

use super::access::check_rights;
use super::server::{ConnectionId, Server};
use super::spec::CommandSpec;
use super::subcommands::check_subcommand;
use super::table::find_command;
use super::words::{Bytes, Failure, unknown_command, upper, wrong_arity};

pub(super) const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
const MASTER_DOWN: &str = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";

impl Server {
    /// The error of a refused command; a refused EXEC ends its transaction.
    pub(super) fn refuse(&mut self, id: ConnectionId, args: &[Bytes], failure: Failure) -> Failure {
        if upper(&args[0]) != "EXEC" {
            return failure;
        }
        self.session(id).end_transaction();
        let why = failure.0.strip_prefix(b"ERR ").unwrap_or(&failure.0);
        Failure([b"EXECABORT Transaction discarded because of: ", why].concat())
    }

    /// The checks before a command is carried out or queued, in the order of Redis's own.
    pub(super) fn check(&mut self, id: ConnectionId, args: &[Bytes]) -> Result<&'static CommandSpec, Failure> {
        let name = upper(&args[0]);
        let own_name = self.behaviour.renamed_commands.get(&name).unwrap_or(&name);
        let is_disabled = *own_name == name && self.behaviour.disabled_commands.contains(&name);
        let spec = find_command(own_name).filter(|_| !is_disabled).ok_or_else(|| unknown_command(args))?;
        if !spec.takes(args.len()) {
            return Err(wrong_arity(&spec.name.to_ascii_lowercase()));
        }
        check_subcommand(spec.name, args, &self.behaviour)?;
        let loading = self.behaviour.loading || self.replication.is_loading(self.now);
        let read_only = self.behaviour.read_only || self.replication.is_replica();
        let full = self.behaviour.out_of_memory;
        let session = self.sessions.get(&id).expect("an open connection");
        if !session.authenticated && !spec.has('n') {
            return Err("NOAUTH Authentication required.".into());
        }
        if !spec.has('n') {
            let user = self.behaviour.user(&session.user).unwrap_or_default();
            check_rights(&user, spec, args)?;
        }
        if let Some(cluster) = &self.cluster {
            cluster.check_route(&self.databases[session.database], session, &[(spec, args)])?;
        }
        if full && spec.has('m') {
            return Err("OOM command not allowed when used memory > 'maxmemory'.".into());
        }
        if read_only && spec.has('w') {
            return Err(READ_ONLY.into());
        }
        if session.is_subscriber() && !session.resp3 && !spec.has('p') {
            let name = spec.name.to_ascii_lowercase();
            return Err(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            )
            .into());
        }
        if (self.behaviour.master_down || self.replication.is_stale()) && !spec.has('l') {
            return Err(MASTER_DOWN.into());
        }
        if loading && !spec.has('l') {
            return Err("LOADING Redis is loading the dataset in memory".into());
        }
        Ok(spec)
    }
}
