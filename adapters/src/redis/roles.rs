//! The roles that logins of a node have found, primary or replica, and what a READONLY means after that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Value;
use redis_manager_core::Instant;

/// The first pause between two renewals of connections that lead to a replica again; it doubles each time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After this time without a READONLY, the next one counts as the first: a server that does not report its role never shows
/// that it is a primary again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The role that a server reported when a connection to it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It was not asked, or did not report one.
    Unknown,
    Primary,
    Replica,
}

impl Role {
    /// Reads the answer to ROLE.
    pub(crate) fn of(answer: &Value) -> Self {
        let Value::Array(fields) = answer else { return Self::Unknown };
        match fields.first() {
            Some(Value::BulkString(name)) if name == b"master" => Self::Primary,
            Some(Value::BulkString(name)) if name == b"slave" => Self::Replica,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// The results of the logins of one node.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    found: Mutex<RoleHistory>,
}

#[derive(Debug, Default)]
struct RoleHistory {
    /// A primary was found once: a replica is the wrong server.
    primary: bool,
    /// Set when connections to a replica were renewed: when the next renewal may be, and the pause.
    pause: Option<(Instant, Duration)>,
}

impl Roles {
    /// Notes the role that a login found.
    pub(crate) fn note(&self, role: Role) {
        if role == Role::Primary {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            *found = RoleHistory { primary: true, pause: None };
        }
    }

    /// Whether a READONLY on a connection to a server of this role is a reason to renew all connections.
    ///
    /// If the server was a primary, it has been demoted: yes. If it was a replica and no primary was ever found, the user
    /// writes to a replica: no. If it was a replica and a primary was found before, the name still leads to the old server:
    /// yes, from time to time. The same for a server that does not report its role.
    pub(crate) fn is_evidence(&self, role: Role, now: Instant) -> bool {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match (role, found.pause) {
            (Role::Replica, _) if !found.primary => false,
            (Role::Replica | Role::Unknown, Some((until, _))) if now < until => false,
            (Role::Primary, Some(_)) => true,
            (Role::Primary | Role::Replica | Role::Unknown, pause) => {
                let recent = pause.filter(|(until, _)| role == Role::Replica || now < *until + FORGOTTEN_AFTER);
                let pause = recent.map_or(SHORTEST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
                found.pause = Some((now + pause, pause));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_role_is_read_from_what_a_server_says() {
        let said = |name: &str| Value::Array(vec![Value::BulkString(name.into()), Value::Int(0)]);
        for (answer, role) in [
            (said("master"), Role::Primary),
            (said("slave"), Role::Replica),
            (said("sentinel"), Role::Unknown),
            (Value::Array(Vec::new()), Role::Unknown),
            (Value::Nil, Role::Unknown),
        ] {
            assert_eq!(Role::of(&answer), role, "{answer:?}");
        }
    }

    /// Seen to bite: with every READONLY taken as evidence.
    #[test]
    fn writes_to_a_replica_are_evidence_of_nothing_where_no_primary_was_found() {
        let roles = Roles::default();
        roles.note(Role::Replica);
        roles.note(Role::Unknown);
        assert!((0..100).all(|second| !roles.is_evidence(Role::Replica, at(second))));
        roles.note(Role::Primary);
        assert!(roles.is_evidence(Role::Replica, at(200)), "it was promoted, and is a replica again");
    }

    #[test]
    fn a_server_that_does_not_say_what_it_is_is_asked_again_at_the_same_pace_and_forgiven_after_a_while() {
        let roles = Roles::default();
        let renewed =
            |from: u64, to: u64| -> Vec<u64> { (from..to).filter(|now| roles.is_evidence(Role::Unknown, at(*now))).collect() };
        assert_eq!(renewed(100, 200), [100, 101, 103, 107, 115, 131, 161, 191]);
        assert_eq!(renewed(400, 404), [400, 401, 403]);
    }

    /// Seen to bite: with a pause that does not double, that has no bound, that outlives a primary.
    #[test]
    fn a_name_that_leads_to_a_demoted_server_is_asked_again_after_1_2_4_and_at_most_30_seconds() {
        let roles = Roles::default();
        roles.note(Role::Primary);
        assert!(roles.is_evidence(Role::Primary, at(100)), "it was demoted");
        let renewed =
            |from: u64, to: u64| -> Vec<u64> { (from..to).filter(|now| roles.is_evidence(Role::Replica, at(*now))).collect() };
        assert_eq!(renewed(100, 230), [101, 103, 107, 115, 131, 161, 191, 221]);
        roles.note(Role::Replica);
        assert_eq!(renewed(230, 260), [251]);
        roles.note(Role::Primary);
        assert!(roles.is_evidence(Role::Primary, at(300)) && !roles.is_evidence(Role::Replica, at(300)));
        assert_eq!(renewed(300, 305), [301, 303]);
    }
}
